/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/store_volumes.h"

#include "daemon/store_internal.h"

static void read_row(sqlite3_stmt *st, struct volume_row *v)
{
	*v = (struct volume_row){
		.archive_bytes = sqlite3_column_int64(st, 3),
		.bytes = sqlite3_column_int64(st, 4),
		.files = sqlite3_column_int64(st, 5),
		.created_us = sqlite3_column_int64(st, 6),
	};
	sql_copy(st, 0, v->id, sizeof(v->id));
	sql_copy(st, 1, v->owner, sizeof(v->owner));
	sql_copy(st, 2, v->name, sizeof(v->name));
}

static void reset(sqlite3_stmt *st)
{
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
}

/* The lock is held. */
static int count(struct sql_db *d, const char *owner, int64_t *ret, struct dw_err *err)
{
	sqlite3_stmt *st = d->stmt[STATE_ST_VOLUME_COUNT];
	sql_text(st, 1, owner);
	int r = 0;
	if (sqlite3_step(st) == SQLITE_ROW)
		*ret = sqlite3_column_int64(st, 0);
	else
		r = sql_fail(d, "counting volumes", err);
	reset(st);
	return r;
}

int store_volume_insert(struct store *s, const struct volume_row *v, int64_t max, struct dw_err *err)
{
	struct sql_db *d = &s->state;
	int64_t n = 0;
	pthread_mutex_lock(&d->lock);
	int r = count(d, v->owner, &n, err);
	if (r == 0 && n >= max)
		r = dw_err_set(err, DW_ERR_LIMIT, "too_many_volumes", "there are %lld volumes: delete one first",
			       (long long)n);
	if (r == 0) {
		sqlite3_stmt *st = d->stmt[STATE_ST_VOLUME_INSERT];
		sql_text(st, 1, v->id);
		sql_text(st, 2, v->owner);
		sql_text(st, 3, v->name);
		sqlite3_bind_int64(st, 4, v->archive_bytes);
		sqlite3_bind_int64(st, 5, v->bytes);
		sqlite3_bind_int64(st, 6, v->files);
		sqlite3_bind_int64(st, 7, v->created_us);
		r = sql_run(d, st, "storing the volume", err);
	}
	pthread_mutex_unlock(&d->lock);
	return r;
}

int store_volume_remove(struct store *s, const char *id, struct dw_err *err)
{
	pthread_mutex_lock(&s->state.lock);
	sqlite3_stmt *st = s->state.stmt[STATE_ST_VOLUME_REMOVE];
	sql_text(st, 1, id);
	int r = sql_run(&s->state, st, "removing the volume", err);
	pthread_mutex_unlock(&s->state.lock);
	return r;
}

int store_volume_get(struct store *s, const char *id, const char *owner, struct volume_row *ret, struct dw_err *err)
{
	pthread_mutex_lock(&s->state.lock);
	sqlite3_stmt *st = s->state.stmt[STATE_ST_VOLUME_GET];
	sql_text(st, 1, id);
	sql_text(st, 2, owner);
	int step = sqlite3_step(st), r = 0;
	if (step == SQLITE_ROW) {
		read_row(st, ret);
		r = 1;
	} else if (step != SQLITE_DONE) {
		r = sql_fail(&s->state, "reading the volume's record", err);
	}
	reset(st);
	pthread_mutex_unlock(&s->state.lock);
	return r;
}

int store_volume_each(struct store *s, const char *owner, uint64_t offset, uint64_t limit,
		      void (*visit)(void *arg, const struct volume_row *v), void *arg, uint64_t *ret_total,
		      struct dw_err *err)
{
	struct sql_db *d = &s->state;
	int64_t total = 0;
	pthread_mutex_lock(&d->lock);
	int r = count(d, owner, &total, err), step = SQLITE_DONE;
	sqlite3_stmt *st = d->stmt[STATE_ST_VOLUME_LIST];
	sql_text(st, 1, owner);
	sqlite3_bind_int64(st, 2, (sqlite3_int64)DW_MIN(limit, (uint64_t)INT64_MAX));
	sqlite3_bind_int64(st, 3, (sqlite3_int64)DW_MIN(offset, (uint64_t)INT64_MAX));
	while (r == 0 && (step = sqlite3_step(st)) == SQLITE_ROW) {
		struct volume_row v;
		read_row(st, &v);
		visit(arg, &v);
	}
	if (r == 0 && step != SQLITE_DONE)
		r = sql_fail(d, "listing volumes", err);
	reset(st);
	pthread_mutex_unlock(&d->lock);
	*ret_total = (uint64_t)total;
	return r;
}
