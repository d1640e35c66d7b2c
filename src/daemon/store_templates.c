/* SPDX-License-Identifier: Apache-2.0 */
/* Rarely used, so each call prepares its own statement. */
#include "daemon/store_templates.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/store_internal.h"

#define TEMPLATE_COLUMNS "id, owner, alias, ready, created_us, doc"

struct call {
	struct sql_db *db;
	sqlite3_stmt *st;
	const char *what;
};

/* Takes the lock; call_end gives it back. */
static int call_begin(struct call *c, struct store *s, const char *sql, const char *what, struct dw_err *err)
{
	*c = (struct call){ .db = &s->state, .what = what };
	pthread_mutex_lock(&s->state.lock);
	if (sqlite3_prepare_v2(s->state.db, sql, -1, &c->st, NULL) == SQLITE_OK)
		return 0;
	return sql_fail(&s->state, what, err);
}

static void call_end(struct call *c)
{
	if (!c->db)
		return;
	sqlite3_finalize(c->st);
	pthread_mutex_unlock(&c->db->lock);
	c->db = NULL;
}
#define auto_call __attribute__((cleanup(call_end)))

static int call_run(struct call *c, struct dw_err *err)
{
	return sqlite3_step(c->st) == SQLITE_DONE ? 0 : sql_fail(c->db, c->what, err);
}

static char *template_doc(const struct template *t)
{
	auto_json json_t *doc =
		json_pack("{si si si sI ss ss ss sO?}", "vcpus", (int)t->vcpus, "memory_mb", (int)t->memory_mb,
			  "disk_mb", (int)t->disk_mb, "size", (json_int_t)t->size_bytes, "source", t->source,
			  "start_cmd", t->start_cmd, "ready_check", t->ready_check, "envs", t->envs);
	return doc ? json_dumps(doc, JSON_COMPACT) : NULL;
}

static void copy_member(const json_t *doc, const char *key, char *buf, size_t size)
{
	const char *text = json_string_value(json_object_get(doc, key));
	snprintf(buf, size, "%s", text ? text : "");
}

static json_t *column_json(sqlite3_stmt *st, int col)
{
	const char *text = (const char *)sqlite3_column_text(st, col);
	return text ? json_loads(text, JSON_ALLOW_NUL, NULL) : NULL;
}

static uint32_t doc_number(const json_t *doc, const char *key)
{
	return (uint32_t)json_integer_value(json_object_get(doc, key));
}

static int read_template(sqlite3_stmt *st, struct template *ret, struct dw_err *err)
{
	auto_json json_t *doc = column_json(st, 5);
	if (!doc)
		return dw_err_set(err, DW_ERR_INTERNAL, "internal", "the template's record can not be read");
	*ret = (struct template){
		.state = sqlite3_column_int(st, 3) ? TEMPLATE_READY : TEMPLATE_BUILDING,
		.created_us = sqlite3_column_int64(st, 4),
		.vcpus = doc_number(doc, "vcpus"),
		.memory_mb = doc_number(doc, "memory_mb"),
		.disk_mb = doc_number(doc, "disk_mb"),
		.size_bytes = (uint64_t)json_integer_value(json_object_get(doc, "size")),
	};
	sql_copy(st, 0, ret->id, sizeof(ret->id));
	sql_copy(st, 1, ret->owner, sizeof(ret->owner));
	sql_copy(st, 2, ret->alias, sizeof(ret->alias));
	copy_member(doc, "source", ret->source, sizeof(ret->source));
	copy_member(doc, "start_cmd", ret->start_cmd, sizeof(ret->start_cmd));
	copy_member(doc, "ready_check", ret->ready_check, sizeof(ret->ready_check));
	const json_t *envs = json_object_get(doc, "envs");
	ret->envs = json_is_object(envs) ? json_incref((json_t *)(uintptr_t)envs) : NULL;
	return 0;
}

int store_template_insert(struct store *s, const struct template *t, struct dw_err *err)
{
	auto_call struct call c = { 0 };
	dw_autofree char *doc = template_doc(t);
	if (!doc)
		return dw_err_errno(err, ENOMEM, "storing the template");
	if (call_begin(&c, s, "INSERT INTO template (" TEMPLATE_COLUMNS ") VALUES (?,?,?,?,?,?)",
		       "storing the template", err) < 0)
		return -1;
	sql_text(c.st, 1, t->id);
	sql_text(c.st, 2, t->owner);
	sql_text(c.st, 3, t->alias);
	sqlite3_bind_int(c.st, 4, t->state == TEMPLATE_READY);
	sqlite3_bind_int64(c.st, 5, t->created_us);
	sql_text(c.st, 6, doc);
	return call_run(&c, err);
}

static int release_alias(struct store *s, const struct template *t, struct dw_err *err)
{
	auto_call struct call c = { 0 };
	if (call_begin(&c, s,
		       "UPDATE template SET alias = '' WHERE owner = ?1 AND alias = ?2 AND ready = 1 AND id <> ?3",
		       "moving the alias", err) < 0)
		return -1;
	sql_text(c.st, 1, t->owner);
	sql_text(c.st, 2, t->alias);
	sql_text(c.st, 3, t->id);
	return call_run(&c, err);
}

int store_template_ready(struct store *s, const struct template *t, struct dw_err *err)
{
	dw_autofree char *doc = template_doc(t);
	if (!doc)
		return dw_err_errno(err, ENOMEM, "storing the template");
	{
		auto_call struct call c = { 0 };
		if (call_begin(&c, s, "UPDATE template SET ready = 1, doc = ?2 WHERE id = ?1", "storing the template",
			       err) < 0)
			return -1;
		sql_text(c.st, 1, t->id);
		sql_text(c.st, 2, doc);
		if (call_run(&c, err) < 0)
			return -1;
	}
	/* Between the two both have it, and the newer one is found. */
	return t->alias[0] ? release_alias(s, t, err) : 0;
}

int store_template_remove(struct store *s, const char *id, struct dw_err *err)
{
	auto_call struct call c = { 0 };
	if (call_begin(&c, s, "DELETE FROM template WHERE id = ?1", "removing the template", err) < 0)
		return -1;
	sql_text(c.st, 1, id);
	return call_run(&c, err);
}

int store_template_find(struct store *s, const char *owner, const char *name, struct template *ret, struct dw_err *err)
{
	auto_call struct call c = { 0 };
	if (call_begin(&c, s,
		       "SELECT " TEMPLATE_COLUMNS " FROM template WHERE owner = ?1 AND (id = ?2 OR (alias = ?2 AND "
		       "alias <> '')) ORDER BY ready DESC, seq DESC LIMIT 1",
		       "finding the template", err) < 0)
		return -1;
	sql_text(c.st, 1, owner);
	sql_text(c.st, 2, name);
	const int step = sqlite3_step(c.st);
	if (step == SQLITE_ROW)
		return read_template(c.st, ret, err) == 0 ? 1 : -1;
	return step == SQLITE_DONE ? 0 : sql_fail(c.db, c.what, err);
}

int store_template_by_id(struct store *s, const char *id, struct template *ret, struct dw_err *err)
{
	auto_call struct call c = { 0 };
	if (call_begin(&c, s, "SELECT " TEMPLATE_COLUMNS " FROM template WHERE id = ?1", "finding the template", err) <
	    0)
		return -1;
	sql_text(c.st, 1, id);
	const int step = sqlite3_step(c.st);
	if (step == SQLITE_ROW)
		return read_template(c.st, ret, err) == 0 ? 1 : -1;
	return step == SQLITE_DONE ? 0 : sql_fail(c.db, c.what, err);
}

int store_template_each(struct store *s, const char *owner, void (*visit)(void *arg, const struct template *t),
			void *arg, struct dw_err *err)
{
	auto_call struct call c = { 0 };
	if (call_begin(&c, s, "SELECT " TEMPLATE_COLUMNS " FROM template WHERE ?1 IS NULL OR owner = ?1 ORDER BY seq",
		       "listing templates", err) < 0)
		return -1;
	sql_text(c.st, 1, owner);
	int step;
	while ((step = sqlite3_step(c.st)) == SQLITE_ROW) {
		auto_template struct template t = { 0 };
		if (read_template(c.st, &t, err) < 0)
			return -1;
		visit(arg, &t);
	}
	return step == SQLITE_DONE ? 0 : sql_fail(c.db, c.what, err);
}

/* All but the newest; owner: NULL = of everybody. By counting rows: numbers that others have used up would push out the rest. */
static int trim_builds(struct store *s, const char *owner, unsigned keep, struct dw_err *err)
{
	auto_call struct call c = { 0 };
	if (call_begin(&c, s,
		       "DELETE FROM build WHERE (?1 IS NULL OR owner = ?1) AND seq <= (SELECT seq FROM build "
		       "WHERE ?1 IS NULL OR owner = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
		       "removing old builds", err) < 0)
		return -1;
	sql_text(c.st, 1, owner);
	sqlite3_bind_int64(c.st, 2, keep);
	return call_run(&c, err);
}

int store_build_put(struct store *s, const struct build_record *b, struct dw_err *err)
{
	auto_json json_t *doc =
		json_pack("{si ss ss sI sI ss sI sO?}", "status", (int)b->status, "template", b->template_id, "sandbox",
			  b->sandbox_id, "created", (json_int_t)b->created_us, "ended", (json_int_t)b->ended_us,
			  "error", b->error, "logs_from", (json_int_t)b->logs_from, "logs", b->logs);
	dw_autofree char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
	if (!text)
		return dw_err_errno(err, ENOMEM, "storing the build");
	{
		auto_call struct call c = { 0 };
		if (call_begin(&c, s,
			       "INSERT INTO build (id, owner, doc) VALUES (?,?,?) "
			       "ON CONFLICT (id) DO UPDATE SET doc = excluded.doc",
			       "storing the build", err) < 0)
			return -1;
		sql_text(c.st, 1, b->id);
		sql_text(c.st, 2, b->owner);
		sql_text(c.st, 3, text);
		if (call_run(&c, err) < 0)
			return -1;
	}
	if (trim_builds(s, b->owner, DAEMON_BUILD_ROWS, err) < 0)
		return -1;
	return trim_builds(s, NULL, DAEMON_BUILD_ROWS_ALL, err);
}

int store_build_get(struct store *s, const char *owner, const char *id, struct build_record *ret, struct dw_err *err)
{
	auto_call struct call c = { 0 };
	if (call_begin(&c, s, "SELECT doc FROM build WHERE id = ?1 AND owner = ?2", "reading the build", err) < 0)
		return -1;
	sql_text(c.st, 1, id);
	sql_text(c.st, 2, owner);
	const int step = sqlite3_step(c.st);
	if (step != SQLITE_ROW)
		return step == SQLITE_DONE ? 0 : sql_fail(c.db, c.what, err);
	auto_json json_t *doc = column_json(c.st, 0);
	if (!doc)
		return dw_err_set(err, DW_ERR_INTERNAL, "internal", "the build's record can not be read");
	*ret = (struct build_record){
		.status = (enum build_status)json_integer_value(json_object_get(doc, "status")),
		.created_us = json_integer_value(json_object_get(doc, "created")),
		.ended_us = json_integer_value(json_object_get(doc, "ended")),
		.logs_from = (uint64_t)json_integer_value(json_object_get(doc, "logs_from")),
		.logs = json_incref(json_object_get(doc, "logs")),
	};
	snprintf(ret->id, sizeof(ret->id), "%s", id);
	snprintf(ret->owner, sizeof(ret->owner), "%s", owner);
	copy_member(doc, "template", ret->template_id, sizeof(ret->template_id));
	copy_member(doc, "sandbox", ret->sandbox_id, sizeof(ret->sandbox_id));
	copy_member(doc, "error", ret->error, sizeof(ret->error));
	return 1;
}

int store_builds_leftover(struct store *s, const char *error, int64_t now_us, struct dw_err *err)
{
	static const char update[] =
		"UPDATE build SET doc = json_set(doc, '$.status', ?1, '$.error', ?2, '$.ended', ?3) "
		"WHERE json_extract(doc, '$.status') = ?4";
	{
		auto_call struct call c = { 0 };
		if (call_begin(&c, s, update, "marking builds of a previous life", err) < 0)
			return -1;
		sqlite3_bind_int(c.st, 1, BUILD_FAILED);
		sql_text(c.st, 2, error);
		sqlite3_bind_int64(c.st, 3, now_us);
		sqlite3_bind_int(c.st, 4, BUILD_BUILDING);
		if (call_run(&c, err) < 0)
			return -1;
	}
	auto_call struct call c = { 0 };
	if (call_begin(&c, s, "DELETE FROM template WHERE ready = 0", "removing templates of a previous life", err) < 0)
		return -1;
	return call_run(&c, err);
}
