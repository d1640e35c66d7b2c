/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/store_snapshots.h"

#include <errno.h>
#include <string.h>

#include "daemon/store_internal.h"

void snapshot_row_done(struct snapshot_row *r)
{
	json_decref(r->volumes);
	r->volumes = NULL;
}

static void reset(sqlite3_stmt *st)
{
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
}

static void read_row(sqlite3_stmt *st, struct snapshot_row *r)
{
	const char *volumes = (const char *)sqlite3_column_text(st, 8);
	*r = (struct snapshot_row){
		.seq = sqlite3_column_int64(st, 0),
		.bytes = sqlite3_column_int64(st, 5),
		.pause_ms = sqlite3_column_int64(st, 6),
		.created_us = sqlite3_column_int64(st, 7),
		.volumes = volumes ? json_loads(volumes, 0, NULL) : NULL,
	};
	sql_copy(st, 1, r->id, sizeof(r->id));
	sql_copy(st, 2, r->sandbox, sizeof(r->sandbox));
	sql_copy(st, 3, r->owner, sizeof(r->owner));
	sql_copy(st, 4, r->template_name, sizeof(r->template_name));
}

int store_snapshot_insert(struct store *s, const struct snapshot_row *r, uint64_t max, struct dw_err *err)
{
	dw_autofree char *volumes = r->volumes ? json_dumps(r->volumes, JSON_COMPACT) : strdup("[]");
	if (!volumes)
		return dw_err_errno(err, ENOMEM, "storing the snapshot");
	pthread_mutex_lock(&s->state.lock);
	sqlite3_stmt *st = s->state.stmt[STATE_ST_SNAPSHOT_INSERT];
	sql_text(st, 1, r->id);
	sql_text(st, 2, r->sandbox);
	sql_text(st, 3, r->owner);
	sql_text(st, 4, r->template_name);
	sqlite3_bind_int64(st, 5, r->bytes);
	sqlite3_bind_int64(st, 6, r->pause_ms);
	sqlite3_bind_int64(st, 7, r->created_us);
	sql_text(st, 8, volumes);
	sqlite3_bind_int64(st, 9, (sqlite3_int64)max);
	int ret = sql_run(&s->state, st, "storing the snapshot", err);
	if (ret == 0 && sqlite3_changes(s->state.db) != 1)
		ret = dw_err_set(err, DW_ERR_LIMIT, "too_many_snapshots",
				 "there are %llu snapshots already, which is as many as an owner may have here: delete "
				 "one first",
				 (unsigned long long)max);
	pthread_mutex_unlock(&s->state.lock);
	return ret;
}

int store_snapshot_remove(struct store *s, const char *id, bool *ret_gone, struct dw_err *err)
{
	pthread_mutex_lock(&s->state.lock);
	sqlite3_stmt *st = s->state.stmt[STATE_ST_SNAPSHOT_REMOVE];
	sql_text(st, 1, id);
	int r = sql_run(&s->state, st, "removing the snapshot", err);
	*ret_gone = r == 0 && sqlite3_changes(s->state.db) > 0;
	pthread_mutex_unlock(&s->state.lock);
	return r;
}

int store_snapshot_get(struct store *s, const char *id, const char *owner, struct snapshot_row *ret, struct dw_err *err)
{
	pthread_mutex_lock(&s->state.lock);
	sqlite3_stmt *st = s->state.stmt[STATE_ST_SNAPSHOT_GET];
	sql_text(st, 1, id);
	sql_text(st, 2, owner);
	int step = sqlite3_step(st), r = 0;
	if (step == SQLITE_ROW) {
		read_row(st, ret);
		r = 1;
	} else if (step != SQLITE_DONE) {
		r = sql_fail(&s->state, "reading the snapshot's record", err);
	}
	reset(st);
	pthread_mutex_unlock(&s->state.lock);
	return r;
}

int store_snapshot_each(struct store *s, const char *owner, const char *sandbox, int64_t before, uint64_t limit,
			void (*visit)(void *arg, const struct snapshot_row *r), void *arg, struct dw_err *err)
{
	struct sql_db *d = &s->state;
	int step;
	pthread_mutex_lock(&d->lock);
	sqlite3_stmt *st = d->stmt[STATE_ST_SNAPSHOT_LIST];
	sql_text(st, 1, owner);
	sql_text(st, 2, sandbox);
	sqlite3_bind_int64(st, 3, before);
	sqlite3_bind_int64(st, 4, (sqlite3_int64)DW_MIN(limit, (uint64_t)INT64_MAX));
	while ((step = sqlite3_step(st)) == SQLITE_ROW) {
		auto_snapshot_row struct snapshot_row r = { 0 };
		read_row(st, &r);
		visit(arg, &r);
	}
	int ret = step == SQLITE_DONE ? 0 : sql_fail(d, "listing snapshots", err);
	reset(st);
	pthread_mutex_unlock(&d->lock);
	return ret;
}

int store_snapshot_sums(struct store *s, const char *owner, uint64_t *ret_count, uint64_t *ret_bytes,
			struct dw_err *err)
{
	struct sql_db *d = &s->state;
	int r = 0;
	pthread_mutex_lock(&d->lock);
	sqlite3_stmt *st = d->stmt[STATE_ST_SNAPSHOT_COUNT];
	sql_text(st, 1, owner);
	if (sqlite3_step(st) == SQLITE_ROW) {
		*ret_count = (uint64_t)sqlite3_column_int64(st, 0);
		*ret_bytes = (uint64_t)sqlite3_column_int64(st, 1);
	} else {
		r = sql_fail(d, "counting snapshots", err);
	}
	reset(st);
	pthread_mutex_unlock(&d->lock);
	return r;
}

int store_snapshots_use_template(struct store *s, const char *template_name, struct dw_err *err)
{
	struct sql_db *d = &s->state;
	pthread_mutex_lock(&d->lock);
	sqlite3_stmt *st = d->stmt[STATE_ST_SNAPSHOT_TEMPLATE];
	sql_text(st, 1, template_name);
	int r = sqlite3_step(st) == SQLITE_ROW ? sqlite3_column_int(st, 0) : sql_fail(d, "looking for snapshots", err);
	reset(st);
	pthread_mutex_unlock(&d->lock);
	return r;
}
