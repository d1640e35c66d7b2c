/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network log: a queue that never makes its producer wait, one writer that empties it in batches of one transaction
 * each, and bounds per sandbox and in all, so that a sandbox that is refused in a loop can only push out its own history.
 */
#include "daemon/store_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/clock.h"
#include "daemon/log.h"

static const char *const migrations[] = {
	"CREATE TABLE decision ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" sandbox TEXT NOT NULL,"
	" time_us INTEGER NOT NULL,"
	" protocol TEXT, addr TEXT, port INTEGER, qtype TEXT, name TEXT,"
	" verdict TEXT NOT NULL, reason TEXT, rule TEXT, message TEXT,"
	" count INTEGER NOT NULL, closed INTEGER NOT NULL,"
	" bytes_out INTEGER, bytes_in INTEGER, duration_ms INTEGER"
	") STRICT;"
	"CREATE INDEX decision_sandbox ON decision (sandbox, id);",
};

enum statement {
	ST_INSERT = 0,
	ST_TRIM_SANDBOX,
	ST_TRIM_ALL,
	ST_COUNT,
	ST_LIST,
	ST_BEGIN,
	ST_COMMIT,
	ST_ROLLBACK,
	ST__COUNT,
};

#define COLUMNS                                                                                                  \
	"time_us, protocol, addr, port, qtype, name, verdict, reason, rule, message, count, closed, bytes_out, " \
	"bytes_in, duration_ms"

/* clang-format off */
static const char *const statements[] = {
	[ST_INSERT] = "INSERT INTO decision (sandbox, " COLUMNS ") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
	/* Everything of this sandbox up to the newest row that is beyond the limit. */
	[ST_TRIM_SANDBOX] = "DELETE FROM decision WHERE sandbox = ?1 AND id <= (SELECT id FROM decision WHERE sandbox = ?1 "
			    "ORDER BY id DESC LIMIT 1 OFFSET ?2)",
	[ST_TRIM_ALL] = "DELETE FROM decision WHERE id IN (SELECT id FROM decision ORDER BY id LIMIT ?1)",
	[ST_COUNT] = "SELECT count(*) FROM decision",
	[ST_LIST] = "SELECT " COLUMNS " FROM decision WHERE sandbox = ?1 AND (?2 = 0 OR verdict = 'deny') "
		    "ORDER BY id DESC LIMIT ?3",
	[ST_BEGIN] = "BEGIN",
	[ST_COMMIT] = "COMMIT",
	[ST_ROLLBACK] = "ROLLBACK",
};
/* clang-format on */
_Static_assert(DW_COUNT(statements) == ST__COUNT, "a statement for each");

/* A producer's event counts as recent enough for this long before it is written: one transaction for many events. */
#define BATCH_WAIT_MS 100

static const char *member_text(const json_t *e, const char *key)
{
	return jsonx_plain_string(json_object_get(e, key));
}

static void bind_int(sqlite3_stmt *st, int at, const json_t *e, const char *key)
{
	const json_t *v = json_object_get(e, key);
	if (json_is_number(v))
		sqlite3_bind_int64(st, at, (sqlite3_int64)json_number_value(v));
	else
		sqlite3_bind_null(st, at);
}

static int64_t event_time(const json_t *e)
{
	double t = json_number_value(json_object_get(e, "time"));
	/* Also false for a NaN; a time far off would be no number of microseconds. */
	return t > 0 && t < 1e11 ? (int64_t)(t * 1e6) : clock_wall_us();
}

static int insert(struct sql_db *d, const json_t *e)
{
	sqlite3_stmt *st = d->stmt[ST_INSERT];
	const json_t *count = json_object_get(e, "count");
	sql_text(st, 1, member_text(e, "sandbox"));
	sqlite3_bind_int64(st, 2, event_time(e));
	sql_text(st, 3, member_text(e, "proto"));
	sql_text(st, 4, member_text(e, "addr"));
	bind_int(st, 5, e, "port");
	sql_text(st, 6, member_text(e, "qtype"));
	sql_text(st, 7, member_text(e, "name"));
	sql_text(st, 8, member_text(e, "verdict"));
	sql_text(st, 9, member_text(e, "reason"));
	sql_text(st, 10, member_text(e, "rule"));
	sql_text(st, 11, member_text(e, "message"));
	sqlite3_bind_int64(st, 12, json_is_integer(count) ? json_integer_value(count) : 1);
	sqlite3_bind_int64(st, 13, json_is_true(json_object_get(e, "closed")));
	bind_int(st, 14, e, "bytes_out");
	bind_int(st, 15, e, "bytes_in");
	bind_int(st, 16, e, "duration_ms");
	return sql_run(d, st, "storing a decision", NULL);
}

static int64_t trim(struct sql_db *d, enum statement which, const char *sandbox, int64_t n)
{
	sqlite3_stmt *st = d->stmt[which];
	if (sandbox) {
		sql_text(st, 1, sandbox);
		sqlite3_bind_int64(st, 2, n);
	} else {
		sqlite3_bind_int64(st, 1, n);
	}
	return sql_run(d, st, "trimming the network log", NULL) == 0 ? sqlite3_changes(d->db) : 0;
}

/* Once per sandbox of the batch: later items of the same sandbox skip it. */
static bool seen_before(const struct log_event_item *list, const struct log_event_item *item, const char *sandbox)
{
	for (; list != item; list = list->next)
		if (strcmp(member_text(list->event, "sandbox"), sandbox) == 0)
			return true;
	return false;
}

static void write_batch(struct store_log *l, const struct log_event_item *list)
{
	struct sql_db *d = &l->db;
	pthread_mutex_lock(&d->lock);
	int r = sql_run(d, d->stmt[ST_BEGIN], "", NULL);
	int64_t rows = l->rows;
	for (const struct log_event_item *i = list; i && r == 0; i = i->next, rows++)
		r = insert(d, i->event);
	for (const struct log_event_item *i = list; i && r == 0; i = i->next) {
		const char *sandbox = member_text(i->event, "sandbox");
		if (!seen_before(list, i, sandbox))
			rows -= trim(d, ST_TRIM_SANDBOX, sandbox, DAEMON_LOG_ROWS_SANDBOX);
	}
	/* A batch more than needed, so that it is not done for every event. */
	if (r == 0 && rows > (int64_t)DAEMON_LOG_ROWS)
		rows -= trim(d, ST_TRIM_ALL, NULL, rows - (int64_t)DAEMON_LOG_ROWS + (int64_t)DAEMON_LOG_BATCH);
	if (r == 0)
		r = sql_run(d, d->stmt[ST_COMMIT], "", NULL);
	if (r == 0) {
		l->rows = rows;
	} else {
		log_event(LOG_LEVEL_ERROR, "network log not written", "error", sqlite3_errmsg(d->db), NULL);
		DW_IGNORE(sql_run(d, d->stmt[ST_ROLLBACK], "", NULL)); /* fails when nothing was begun */
	}
	pthread_mutex_unlock(&d->lock);
}

static void free_list(struct log_event_item *list)
{
	while (list) {
		struct log_event_item *next = list->next;
		json_decref(list->event);
		free(list);
		list = next;
	}
}

/* Up to one batch from the head; the lock is held. */
static struct log_event_item *take_batch(struct store_log *l, uint64_t *ret_n)
{
	struct log_event_item *list = l->head, **end = &list;
	uint64_t n = 0;
	for (; *end && n < DAEMON_LOG_BATCH; end = &(*end)->next, n++)
		l->bytes -= (*end)->bytes;
	l->head = *end;
	if (!l->head)
		l->tail = &l->head;
	*end = NULL;
	*ret_n = n;
	return list;
}

/* Waits for events, and then a little for more of them; the lock is held. */
static void wait_for_batch(struct store_log *l)
{
	while (!l->head && !l->stop)
		pthread_cond_wait(&l->wake, &l->lock);
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += BATCH_WAIT_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	while (!l->stop && !l->urgent && l->added - l->done < DAEMON_LOG_BATCH)
		if (pthread_cond_timedwait(&l->wake, &l->lock, &until) == ETIMEDOUT)
			return;
}

static void *writer_main(void *arg)
{
	struct store_log *l = arg;
	pthread_mutex_lock(&l->lock);
	for (;;) {
		wait_for_batch(l);
		if (!l->head && l->stop)
			break;
		uint64_t n, dropped = l->dropped;
		struct log_event_item *list = take_batch(l, &n);
		l->dropped = 0;
		pthread_mutex_unlock(&l->lock);
		if (dropped)
			log_event(LOG_LEVEL_WARN, "network log events dropped", "count", LOG_NUM(dropped), NULL);
		write_batch(l, list);
		free_list(list);
		pthread_mutex_lock(&l->lock);
		l->done += n;
		if (!l->head)
			l->urgent = false;
		pthread_cond_broadcast(&l->written);
	}
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

int store_log_open(struct store_log *l, const char *path, struct dw_err *err)
{
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->wake, &attr);
	pthread_cond_init(&l->written, NULL);
	pthread_condattr_destroy(&attr);
	l->tail = &l->head;
	if (sql_open(&l->db, path, migrations, DW_COUNT(migrations), statements, ST__COUNT, err) < 0)
		return -1;
	sqlite3_stmt *st = l->db.stmt[ST_COUNT];
	if (sqlite3_step(st) != SQLITE_ROW)
		return sql_fail(&l->db, "counting the network log", err);
	l->rows = sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	int e = pthread_create(&l->writer, NULL, writer_main, l);
	if (e)
		return dw_err_errno(err, e, "starting the writer of the network log");
	l->started = true;
	return 0;
}

void store_log_close(struct store_log *l)
{
	if (l->started) {
		pthread_mutex_lock(&l->lock);
		l->stop = true;
		pthread_cond_signal(&l->wake);
		pthread_mutex_unlock(&l->lock);
		pthread_join(l->writer, NULL);
	}
	free_list(l->head);
	sql_close(&l->db);
}

void store_log_add(struct store *s, json_t *event, size_t bytes)
{
	struct store_log *l = &s->log;
	const bool usable = member_text(event, "sandbox") && member_text(event, "verdict");
	struct log_event_item *item = usable ? malloc(sizeof(*item)) : NULL;
	if (item)
		*item = (struct log_event_item){ .event = event, .bytes = bytes };
	pthread_mutex_lock(&l->lock);
	if (item && l->bytes + bytes <= DAEMON_LOG_QUEUE_BYTES) {
		*l->tail = item;
		l->tail = &item->next;
		l->bytes += bytes;
		/* The first one ends the long wait, a full batch the short one. */
		if (l->added++ == l->done || l->added - l->done >= DAEMON_LOG_BATCH)
			pthread_cond_signal(&l->wake);
		item = NULL;
		event = NULL;
	} else {
		l->dropped++;
	}
	pthread_mutex_unlock(&l->lock);
	free(item);
	json_decref(event);
}

void store_log_flush(struct store *s)
{
	struct store_log *l = &s->log;
	pthread_mutex_lock(&l->lock);
	const uint64_t want = l->added;
	while (l->done < want) {
		l->urgent = true;
		pthread_cond_signal(&l->wake);
		pthread_cond_wait(&l->written, &l->lock);
	}
	pthread_mutex_unlock(&l->lock);
}

static json_t *column_json(sqlite3_stmt *st, int col)
{
	if (sqlite3_column_type(st, col) == SQLITE_INTEGER)
		return json_integer(sqlite3_column_int64(st, col));
	return json_string((const char *)sqlite3_column_text(st, col));
}

static json_t *row_json(sqlite3_stmt *st)
{
	static const char *const keys[] = { "time",  "protocol", "addr",      "port",     "qtype",
					    "name",  "verdict",  "reason",    "rule",     "message",
					    "count", "closed",   "bytes_out", "bytes_in", "duration_ms" };
	char time[CLOCK_ISO_SIZE];
	json_t *row = json_object();
	json_object_set_new(row, keys[0], json_string(clock_iso(sqlite3_column_int64(st, 0), time)));
	for (int i = 1; i < (int)DW_COUNT(keys); i++)
		if (sqlite3_column_type(st, i) != SQLITE_NULL)
			json_object_set_new(row, keys[i], column_json(st, i));
	json_object_set_new(row, "closed", json_boolean(sqlite3_column_int(st, 11)));
	return row;
}

int store_log_list(struct store *s, const char *id, unsigned limit, bool deny_only, json_t **ret, struct dw_err *err)
{
	struct sql_db *d = &s->log.db;
	auto_json json_t *rows = json_array();
	pthread_mutex_lock(&d->lock);
	sqlite3_stmt *st = d->stmt[ST_LIST];
	sql_text(st, 1, id);
	sqlite3_bind_int(st, 2, deny_only);
	sqlite3_bind_int64(st, 3, limit);
	int step;
	while ((step = sqlite3_step(st)) == SQLITE_ROW)
		json_array_insert_new(rows, 0, row_json(st));
	int r = step == SQLITE_DONE ? 0 : sql_fail(d, "reading the network log", err);
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	pthread_mutex_unlock(&d->lock);
	if (r == 0)
		*ret = DW_TAKE(rows);
	return r;
}
