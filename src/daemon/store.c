/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/store_internal.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

static const char *const migrations[] = {
	"CREATE TABLE sandbox ("
	" seq INTEGER PRIMARY KEY AUTOINCREMENT,"
	" id TEXT NOT NULL UNIQUE,"
	" template TEXT NOT NULL, name TEXT NOT NULL,"
	" state TEXT NOT NULL CHECK (state IN ('running', 'killed')),"
	" reason TEXT NOT NULL,"
	" timeout_s INTEGER NOT NULL, vcpus INTEGER NOT NULL, memory_mb INTEGER NOT NULL,"
	" started_us INTEGER NOT NULL, end_us INTEGER NOT NULL, killed_us INTEGER NOT NULL,"
	" guest_ip TEXT NOT NULL,"
	" metadata TEXT NOT NULL, envs TEXT NOT NULL, network TEXT NOT NULL, security TEXT NOT NULL,"
	" lifecycle TEXT NOT NULL"
	") STRICT;"
	"CREATE INDEX sandbox_running ON sandbox (id) WHERE state = 'running';",
	"ALTER TABLE sandbox ADD COLUMN generation INTEGER NOT NULL DEFAULT 1;",
	"ALTER TABLE sandbox ADD COLUMN owner TEXT NOT NULL DEFAULT 'local';",
	"CREATE TABLE volume ("
	" seq INTEGER PRIMARY KEY AUTOINCREMENT,"
	" id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, name TEXT NOT NULL,"
	" archive_bytes INTEGER NOT NULL, bytes INTEGER NOT NULL, files INTEGER NOT NULL, created_us INTEGER NOT NULL"
	") STRICT;"
	"CREATE INDEX volume_owner ON volume (owner, seq);"
	"ALTER TABLE sandbox ADD COLUMN volumes TEXT NOT NULL DEFAULT '[]';",
	/* store_templates.c: doc is JSON of what nothing is looked up by. */
	"CREATE TABLE template ("
	" seq INTEGER PRIMARY KEY AUTOINCREMENT,"
	" id TEXT NOT NULL UNIQUE,"
	" owner TEXT NOT NULL,"
	" alias TEXT NOT NULL,"
	" ready INTEGER NOT NULL,"
	" created_us INTEGER NOT NULL,"
	" doc TEXT NOT NULL"
	") STRICT;"
	"CREATE INDEX template_alias ON template (owner, alias);"
	"CREATE TABLE build ("
	" seq INTEGER PRIMARY KEY AUTOINCREMENT,"
	" id TEXT NOT NULL UNIQUE,"
	" owner TEXT NOT NULL,"
	" doc TEXT NOT NULL"
	") STRICT;",
	"CREATE TABLE snapshot ("
	" seq INTEGER PRIMARY KEY AUTOINCREMENT,"
	" id TEXT NOT NULL UNIQUE, sandbox TEXT NOT NULL, owner TEXT NOT NULL, template TEXT NOT NULL,"
	" bytes INTEGER NOT NULL, pause_ms INTEGER NOT NULL, created_us INTEGER NOT NULL, volumes TEXT NOT NULL"
	") STRICT;"
	"CREATE INDEX snapshot_owner ON snapshot (owner, seq);"
	"CREATE INDEX snapshot_sandbox ON snapshot (sandbox, seq);",
};

#define COLUMNS                                                                                                     \
	"id, template, name, state, reason, timeout_s, vcpus, memory_mb, started_us, end_us, killed_us, guest_ip, " \
	"metadata, envs, network, security, lifecycle, generation, owner, volumes"

/* In the order of store_volumes.c. */
#define VOLUME_COLUMNS "id, owner, name, archive_bytes, bytes, files, created_us"

/* In the order of store_snapshots.c. */
#define SNAPSHOT_COLUMNS "seq, id, sandbox, owner, template, bytes, pause_ms, created_us, volumes"

/* Indexed by column of COLUMNS. */
enum column {
	COL_ID = 0,
	COL_TEMPLATE,
	COL_NAME,
	COL_STATE,
	COL_REASON,
	COL_TIMEOUT,
	COL_VCPUS,
	COL_MEMORY,
	COL_STARTED,
	COL_END,
	COL_KILLED,
	COL_GUEST_IP,
	COL_METADATA,
	COL_ENVS,
	COL_NETWORK,
	COL_SECURITY,
	COL_LIFECYCLE,
	COL_GENERATION,
	COL_OWNER,
	COL_VOLUMES,
	COL__COUNT,
};

/* clang-format off */
static const char *const statements[] = {
	[STATE_ST_INSERT] = "INSERT INTO sandbox (" COLUMNS ") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
	[STATE_ST_KILL] = "UPDATE sandbox SET state = 'killed', reason = ?2, timeout_s = ?3, end_us = ?4, killed_us = ?5 "
		    "WHERE id = ?1 AND state = 'running'",
	[STATE_ST_NETWORK] = "UPDATE sandbox SET network = ?2, generation = ?3 WHERE id = ?1",
	[STATE_ST_REMOVE] = "DELETE FROM sandbox WHERE id = ?1",
	[STATE_ST_LEFTOVERS] = "UPDATE sandbox SET state = 'killed', reason = ?1, killed_us = ?2 WHERE state = 'running'",
	[STATE_ST_GET] = "SELECT " COLUMNS " FROM sandbox WHERE id = ?1",
	[STATE_ST_OWNER] = "SELECT owner FROM sandbox WHERE id = ?1",
	[STATE_ST_KILLED] = "SELECT " COLUMNS " FROM sandbox WHERE state = 'killed' ORDER BY seq",
	[STATE_ST_TRIM] = "DELETE FROM sandbox WHERE state = 'killed' AND seq <= (SELECT max(seq) FROM sandbox) - ?1",
	[STATE_ST_VOLUME_INSERT] = "INSERT INTO volume (" VOLUME_COLUMNS ") VALUES (?,?,?,?,?,?,?)",
	[STATE_ST_VOLUME_REMOVE] = "DELETE FROM volume WHERE id = ?1",
	[STATE_ST_VOLUME_GET] = "SELECT " VOLUME_COLUMNS " FROM volume WHERE id = ?1 AND (?2 IS NULL OR owner = ?2)",
	[STATE_ST_VOLUME_LIST] = "SELECT " VOLUME_COLUMNS " FROM volume WHERE ?1 IS NULL OR owner = ?1 "
				 "ORDER BY seq DESC LIMIT ?2 OFFSET ?3",
	[STATE_ST_VOLUME_COUNT] = "SELECT count(*) FROM volume WHERE ?1 IS NULL OR owner = ?1",
	[STATE_ST_RESTORE] = "UPDATE sandbox SET state = 'running', reason = '', killed_us = 0, started_us = ?2, end_us = ?3, "
			     "guest_ip = ?4, timeout_s = ?5, network = ?6, generation = ?7 WHERE id = ?1",
	[STATE_ST_SNAPSHOT_INSERT] = "INSERT INTO snapshot (id, sandbox, owner, template, bytes, pause_ms, created_us, volumes) "
				     "SELECT ?1,?2,?3,?4,?5,?6,?7,?8 "
				     "WHERE (SELECT count(*) FROM snapshot WHERE owner = ?3) < ?9",
	[STATE_ST_SNAPSHOT_REMOVE] = "DELETE FROM snapshot WHERE id = ?1",
	[STATE_ST_SNAPSHOT_GET] = "SELECT " SNAPSHOT_COLUMNS " FROM snapshot WHERE id = ?1 AND (?2 IS NULL OR owner = ?2)",
	[STATE_ST_SNAPSHOT_LIST] = "SELECT " SNAPSHOT_COLUMNS " FROM snapshot WHERE owner = ?1 AND (?2 IS NULL OR sandbox = ?2) "
				   "AND (?3 = 0 OR seq < ?3) ORDER BY seq DESC LIMIT ?4",
	[STATE_ST_SNAPSHOT_COUNT] = "SELECT (SELECT count(*) FROM snapshot WHERE owner = ?1), "
				    "(SELECT coalesce(sum(bytes), 0) FROM snapshot)",
	[STATE_ST_SNAPSHOT_TEMPLATE] = "SELECT EXISTS (SELECT 1 FROM snapshot WHERE template = ?1)",
};
/* clang-format on */
_Static_assert(DW_COUNT(statements) == STATE_ST__COUNT, "a statement for each");

/* Kills between two looks for records that are too old. */
#define TRIM_EVERY 1024u

/* In place of SQLite's own, which lets whoever writes page 1,000 wait for the disk: after each commit, with the lock held. */
static int on_commit(void *arg, sqlite3 *db, const char *name, int pages)
{
	struct store *s = arg;
	s->unsettled = pages;
	/* One that fails is tried again after the next commit. */
	if (pages >= DAEMON_WAL_PAGES_MAX)
		DW_IGNORE(sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL));
	return SQLITE_OK;
}

void store_settle(struct store *s)
{
	pthread_mutex_lock(&s->state.lock);
	if (s->unsettled >= DAEMON_WAL_PAGES) {
		DW_IGNORE(sqlite3_wal_checkpoint_v2(s->state.db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL));
		s->unsettled = 0;
	}
	pthread_mutex_unlock(&s->state.lock);
}

int store_open(const char *dir, struct store **ret, struct dw_err *err)
{
	char path[PATH_MAX];
	struct store *s = calloc(1, sizeof(*s));
	if (!s)
		return dw_err_errno(err, ENOMEM, "opening the store");
	snprintf(path, sizeof(path), "%.*s/state.db", PATH_MAX - 64, dir);
	int r = sql_open(&s->state, path, migrations, DW_COUNT(migrations), statements, STATE_ST__COUNT, err);
	if (r == 0) {
		sqlite3_wal_hook(s->state.db, on_commit, s);
		snprintf(path, sizeof(path), "%.*s/log.db", PATH_MAX - 64, dir);
		r = store_log_open(&s->log, path, err);
	}
	if (r < 0) {
		store_close(s);
		return -1;
	}
	*ret = s;
	return 0;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	store_log_close(&s->log);
	sql_close(&s->state);
	free(s);
}

/* The JSON members as text, alive while a statement is bound to them. */
struct texts {
	char *metadata, *envs, *network, *security, *lifecycle, *volumes;
};

static char *dump(const json_t *j)
{
	return j ? json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY) : strdup("null");
}

static void texts_done(struct texts *t)
{
	free(t->metadata);
	free(t->envs);
	free(t->network);
	free(t->security);
	free(t->lifecycle);
	free(t->volumes);
}

static void bind_record(sqlite3_stmt *st, const struct record *r, const struct texts *t)
{
	/* Parameters count from 1. */
	sql_text(st, COL_ID + 1, r->id);
	sql_text(st, COL_TEMPLATE + 1, r->template_name);
	sql_text(st, COL_NAME + 1, r->name);
	sql_text(st, COL_STATE + 1, record_state_name(r->state));
	sql_text(st, COL_REASON + 1, r->reason);
	sqlite3_bind_int64(st, COL_TIMEOUT + 1, r->timeout_s);
	sqlite3_bind_int64(st, COL_VCPUS + 1, r->vcpus);
	sqlite3_bind_int64(st, COL_MEMORY + 1, r->memory_mb);
	sqlite3_bind_int64(st, COL_STARTED + 1, r->started_us);
	sqlite3_bind_int64(st, COL_END + 1, r->end_us);
	sqlite3_bind_int64(st, COL_KILLED + 1, r->killed_us);
	sql_text(st, COL_GUEST_IP + 1, r->guest_ip);
	sql_text(st, COL_METADATA + 1, t->metadata);
	sql_text(st, COL_ENVS + 1, t->envs);
	sql_text(st, COL_NETWORK + 1, t->network);
	sql_text(st, COL_SECURITY + 1, t->security);
	sql_text(st, COL_LIFECYCLE + 1, t->lifecycle);
	sqlite3_bind_int64(st, COL_GENERATION + 1, (sqlite3_int64)r->generation);
	sql_text(st, COL_OWNER + 1, r->owner);
	sql_text(st, COL_VOLUMES + 1, t->volumes);
}

int store_sandbox_insert(struct store *s, const struct record *r, struct dw_err *err)
{
	__attribute__((cleanup(texts_done))) struct texts t = {
		.metadata = dump(r->doc->metadata),
		.envs = dump(r->doc->envs),
		.network = dump(r->doc->network),
		.security = dump(r->doc->security),
		.lifecycle = dump(r->doc->lifecycle),
		.volumes = r->doc->volumes ? dump(r->doc->volumes) : strdup("[]"),
	};
	pthread_mutex_lock(&s->state.lock);
	sqlite3_stmt *st = s->state.stmt[STATE_ST_INSERT];
	bind_record(st, r, &t);
	int ret = sql_run(&s->state, st, "storing the sandbox", err);
	pthread_mutex_unlock(&s->state.lock);
	return ret;
}

static int trim(struct store *s, struct dw_err *err)
{
	sqlite3_bind_int64(s->state.stmt[STATE_ST_TRIM], 1, DAEMON_KILLED_ROWS);
	return sql_run(&s->state, s->state.stmt[STATE_ST_TRIM], "removing old records", err);
}

int store_sandbox_kill(struct store *s, const struct record *r, struct dw_err *err)
{
	pthread_mutex_lock(&s->state.lock);
	sqlite3_stmt *st = s->state.stmt[STATE_ST_KILL];
	sql_text(st, 1, r->id);
	sql_text(st, 2, r->reason);
	sqlite3_bind_int64(st, 3, r->timeout_s);
	sqlite3_bind_int64(st, 4, r->end_us);
	sqlite3_bind_int64(st, 5, r->killed_us);
	int ret = sql_run(&s->state, st, "storing the end of the sandbox", err);
	if (ret == 0 && ++s->kills % TRIM_EVERY == 0)
		ret = trim(s, err);
	pthread_mutex_unlock(&s->state.lock);
	return ret;
}

int store_sandbox_restore(struct store *s, const struct record *r, struct dw_err *err)
{
	/* What is in force, whatever the row says: a change that failed may not have been put back. */
	dw_autofree char *network = dump(r->doc->network);
	if (!network)
		return dw_err_errno(err, ENOMEM, "storing the sandbox");
	pthread_mutex_lock(&s->state.lock);
	sqlite3_stmt *st = s->state.stmt[STATE_ST_RESTORE];
	sql_text(st, 1, r->id);
	sqlite3_bind_int64(st, 2, r->started_us);
	sqlite3_bind_int64(st, 3, r->end_us);
	sql_text(st, 4, r->guest_ip);
	sqlite3_bind_int64(st, 5, r->timeout_s);
	sql_text(st, 6, network);
	sqlite3_bind_int64(st, 7, (sqlite3_int64)r->generation);
	int ret = sql_run(&s->state, st, "storing the sandbox", err);
	if (ret == 0 && sqlite3_changes(s->state.db) != 1)
		ret = dw_err_set(err, DW_ERR_NOT_FOUND, "sandbox_not_found", "the sandbox's record is gone");
	pthread_mutex_unlock(&s->state.lock);
	return ret;
}

int store_sandbox_network(struct store *s, const char *id, const char *network, uint64_t generation, struct dw_err *err)
{
	pthread_mutex_lock(&s->state.lock);
	sqlite3_stmt *st = s->state.stmt[STATE_ST_NETWORK];
	sql_text(st, 1, id);
	sql_text(st, 2, network);
	sqlite3_bind_int64(st, 3, (sqlite3_int64)generation);
	int ret = sql_run(&s->state, st, "storing the policy", err);
	pthread_mutex_unlock(&s->state.lock);
	return ret;
}

void store_sandbox_remove(struct store *s, const char *id)
{
	pthread_mutex_lock(&s->state.lock);
	sqlite3_stmt *st = s->state.stmt[STATE_ST_REMOVE];
	sql_text(st, 1, id);
	/* A row that stays is found again at the next start and marked killed. */
	DW_IGNORE(sql_run(&s->state, st, "", NULL));
	pthread_mutex_unlock(&s->state.lock);
}

int store_kill_leftovers(struct store *s, const char *reason, int64_t now_us, int *ret_n, struct dw_err *err)
{
	pthread_mutex_lock(&s->state.lock);
	sqlite3_stmt *st = s->state.stmt[STATE_ST_LEFTOVERS];
	sql_text(st, 1, reason);
	sqlite3_bind_int64(st, 2, now_us);
	int ret = sql_run(&s->state, st, "marking sandboxes of a previous life", err);
	if (ret == 0)
		*ret_n = sqlite3_changes(s->state.db);
	if (ret == 0)
		ret = trim(s, err);
	pthread_mutex_unlock(&s->state.lock);
	return ret;
}

/* NULL for null, as records have it. */
static json_t *load(sqlite3_stmt *st, int col)
{
	const char *text = (const char *)sqlite3_column_text(st, col);
	json_t *j = text ? json_loads(text, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL) : NULL;
	if (!json_is_null(j))
		return j;
	json_decref(j);
	return NULL;
}

static int read_row(sqlite3_stmt *st, struct record *r, struct dw_err *err)
{
	*r = (struct record){
		.state = strcmp((const char *)sqlite3_column_text(st, COL_STATE), "running") == 0 ? RECORD_RUNNING
												  : RECORD_KILLED,
		.timeout_s = (uint32_t)sqlite3_column_int64(st, COL_TIMEOUT),
		.vcpus = (uint32_t)sqlite3_column_int64(st, COL_VCPUS),
		.memory_mb = (uint32_t)sqlite3_column_int64(st, COL_MEMORY),
		.generation = (uint64_t)sqlite3_column_int64(st, COL_GENERATION),
		.started_us = sqlite3_column_int64(st, COL_STARTED),
		.end_us = sqlite3_column_int64(st, COL_END),
		.killed_us = sqlite3_column_int64(st, COL_KILLED),
	};
	sql_copy(st, COL_ID, r->id, sizeof(r->id));
	sql_copy(st, COL_TEMPLATE, r->template_name, sizeof(r->template_name));
	sql_copy(st, COL_NAME, r->name, sizeof(r->name));
	sql_copy(st, COL_REASON, r->reason, sizeof(r->reason));
	sql_copy(st, COL_GUEST_IP, r->guest_ip, sizeof(r->guest_ip));
	sql_copy(st, COL_OWNER, r->owner, sizeof(r->owner));
	r->doc = record_doc_new();
	if (!r->doc)
		return dw_err_errno(err, ENOMEM, "reading the sandbox's record");
	r->doc->metadata = load(st, COL_METADATA);
	r->doc->envs = load(st, COL_ENVS);
	r->doc->network = load(st, COL_NETWORK);
	r->doc->security = load(st, COL_SECURITY);
	r->doc->lifecycle = load(st, COL_LIFECYCLE);
	r->doc->volumes = load(st, COL_VOLUMES);
	return 0;
}

int store_sandbox_get(struct store *s, const char *id, struct record *ret, struct dw_err *err)
{
	pthread_mutex_lock(&s->state.lock);
	sqlite3_stmt *st = s->state.stmt[STATE_ST_GET];
	sql_text(st, 1, id);
	int step = sqlite3_step(st);
	int r = 0;
	if (step == SQLITE_ROW)
		r = read_row(st, ret, err) == 0 ? 1 : -1;
	else if (step != SQLITE_DONE)
		r = sql_fail(&s->state, "reading the sandbox's record", err);
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	pthread_mutex_unlock(&s->state.lock);
	return r;
}

int store_sandbox_owner(struct store *s, const char *id, char ret[static DAEMON_OWNER_MAX + 1], struct dw_err *err)
{
	pthread_mutex_lock(&s->state.lock);
	sqlite3_stmt *st = s->state.stmt[STATE_ST_OWNER];
	sql_text(st, 1, id);
	const int step = sqlite3_step(st);
	int r = 0;
	if (step == SQLITE_ROW) {
		sql_copy(st, 0, ret, DAEMON_OWNER_MAX + 1);
		r = 1;
	} else if (step != SQLITE_DONE) {
		r = sql_fail(&s->state, "reading the sandbox's record", err);
	}
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	pthread_mutex_unlock(&s->state.lock);
	return r;
}

int store_killed_each(struct store *s, void (*visit)(void *arg, const struct record *r), void *arg, struct dw_err *err)
{
	pthread_mutex_lock(&s->state.lock);
	sqlite3_stmt *st = s->state.stmt[STATE_ST_KILLED];
	int step, ret = 0;
	while (ret == 0 && (step = sqlite3_step(st)) == SQLITE_ROW) {
		auto_record struct record r = { 0 };
		ret = read_row(st, &r, err);
		if (ret == 0)
			visit(arg, &r);
	}
	if (ret == 0 && step != SQLITE_DONE)
		ret = sql_fail(&s->state, "listing killed sandboxes", err);
	sqlite3_reset(st);
	pthread_mutex_unlock(&s->state.lock);
	return ret;
}
