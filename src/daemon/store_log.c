/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network log: a queue that never makes its producer wait, one writer that empties it in batches of one transaction
 * each, and bounds per sandbox and in all, so that a sandbox that is refused in a loop can only push out its own history.
 */
#include "daemon/store_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/clock.h"
#include "daemon/log.h"

/* A producer's event counts as recent enough for this long before it is written: one transaction for many events. */
#define BATCH_WAIT_MS 100

static void bind_int(sqlite3_stmt *st, int at, const json_t *e, const char *key)
{
	const json_t *v = json_object_get(e, key);
	if (json_is_number(v))
		sqlite3_bind_int64(st, at, (sqlite3_int64)json_number_value(v));
	else
		sqlite3_bind_null(st, at);
}

static int insert(struct sql_db *d, struct log_event_item *item)
{
	/* Columns of text, in the statement's order; the rest is numbers. */
	static const struct {
		int at;
		const char *key;
	} texts[] = { { 1, "sandbox" }, { 3, "proto" },  { 4, "addr" },  { 6, "qtype" },    { 7, "name" },
		      { 8, "verdict" }, { 9, "reason" }, { 10, "rule" }, { 11, "message" }, { 17, "would" } };
	sqlite3_stmt *st = d->stmt[LOG_ST_INSERT];
	const json_t *e = item->event;
	const bool closed = json_is_true(json_object_get(e, "closed"));
	for (size_t i = 0; i < DW_COUNT(texts); i++)
		sql_text(st, texts[i].at, log_event_text(e, texts[i].key));
	sqlite3_bind_int64(st, 2, log_event_time(e));
	bind_int(st, 5, e, "port");
	sqlite3_bind_int64(st, 12, log_event_count(e));
	sqlite3_bind_int64(st, 13, closed);
	bind_int(st, 14, e, "bytes_out");
	bind_int(st, 15, e, "bytes_in");
	bind_int(st, 16, e, "duration_ms");
	bind_int(st, 18, e, "flow");
	if (closed)
		sqlite3_bind_int64(st, 19, log_event_time(e));
	if (sql_run(d, st, "storing a decision", NULL) < 0)
		return -1;
	item->row = sqlite3_last_insert_rowid(d->db);
	return 1;
}

/* The end of a flow, put into the row of its decision. 1 when there is no such row (it was trimmed, or never came). */
static int end_flow(struct sql_db *d, struct log_event_item *item)
{
	sqlite3_stmt *st = d->stmt[LOG_ST_END_FLOW];
	const json_t *e = item->event;
	int64_t row = 0;
	sql_text(st, 1, log_event_text(e, "sandbox"));
	bind_int(st, 2, e, "flow");
	bind_int(st, 3, e, "bytes_out");
	bind_int(st, 4, e, "bytes_in");
	bind_int(st, 5, e, "duration_ms");
	sqlite3_bind_int64(st, 6, log_event_time(e));
	sql_text(st, 7, log_event_text(e, "would"));
	if (log_sql_number(d, st, &row, "storing the end of a flow", NULL) < 0)
		return -1;
	item->row = row;
	item->changed = row != 0;
	return row ? 0 : 1;
}

/* The rows of flows that will get no other end: of this sandbox, or (NULL) of all. */
static int end_flows(struct store_log *l, const char *sandbox)
{
	struct sql_db *d = &l->db;
	sqlite3_stmt *st = d->stmt[sandbox ? LOG_ST_END_SANDBOX : LOG_ST_END_ALL];
	int step;
	sqlite3_bind_int64(st, 1, clock_wall_us());
	if (sandbox)
		sql_text(st, 2, sandbox);
	while ((step = sqlite3_step(st)) == SQLITE_ROW)
		follow_note_end(l, (const char *)sqlite3_column_text(st, 1), sqlite3_column_int64(st, 0));
	int r = step == SQLITE_DONE ? 0 : sql_fail(d, "storing the end of flows", NULL);
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	return r;
}

/* -1, or how many rows it added. */
static int write_item(struct store_log *l, struct log_event_item *item)
{
	const json_t *e = item->event;
	switch (item->kind) {
	case LOG_ITEM_SANDBOX_ENDED:
		/* Whatever end has not come was lost on the way. */
		return end_flows(l, log_event_text(e, "sandbox"));
	case LOG_ITEM_GATE_ENDED:
		return end_flows(l, NULL);
	case LOG_ITEM_EVENT:
		break;
	}
	const bool closed = json_is_true(json_object_get(e, "closed"));
	if (closed && json_is_integer(json_object_get(e, "flow"))) {
		int r = end_flow(&l->db, item);
		return r <= 0 ? r : insert(&l->db, item);
	}
	/* The end of several that are told together was said before, as their decision. */
	if (item->observing && !closed && observed_add(l, e) < 0)
		return -1;
	return insert(&l->db, item);
}

static int64_t trim(struct sql_db *d, enum log_statement which, const char *sandbox, int64_t n)
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
		if (list->kind == LOG_ITEM_EVENT && strcmp(log_event_text(list->event, "sandbox"), sandbox) == 0)
			return true;
	return false;
}

static int64_t trim_batch(struct store_log *l, const struct log_event_item *list, int64_t rows)
{
	for (const struct log_event_item *i = list; i; i = i->next) {
		const char *sandbox = i->kind == LOG_ITEM_EVENT ? log_event_text(i->event, "sandbox") : NULL;
		if (sandbox && !seen_before(list, i, sandbox))
			rows -= trim(&l->db, LOG_ST_TRIM_SANDBOX, sandbox, DAEMON_LOG_ROWS_SANDBOX);
	}
	/* A batch more than needed, so that it is not done for every event. */
	if (rows > (int64_t)DAEMON_LOG_ROWS)
		rows -= trim(&l->db, LOG_ST_TRIM_ALL, NULL,
			     rows - (int64_t)DAEMON_LOG_ROWS + (int64_t)DAEMON_LOG_BATCH);
	return rows;
}

static void write_batch(struct store_log *l, struct log_event_item *list)
{
	struct sql_db *d = &l->db;
	pthread_mutex_lock(&d->lock);
	const int64_t observed_before = l->observed_rows;
	int r = sql_run(d, d->stmt[LOG_ST_BEGIN], "", NULL);
	int64_t rows = l->rows;
	for (struct log_event_item *i = list; i && r >= 0; i = i->next) {
		r = write_item(l, i);
		rows += DW_MAX(r, 0);
		follow_note(l, i);
	}
	if (r >= 0) {
		rows = trim_batch(l, list, rows);
		r = observed_trim(l);
	}
	if (r >= 0)
		r = sql_run(d, d->stmt[LOG_ST_COMMIT], "", NULL);
	if (r >= 0) {
		l->rows = rows;
	} else {
		log_event(LOG_LEVEL_ERROR, "network log not written", "error", sqlite3_errmsg(d->db), NULL);
		DW_IGNORE(sql_run(d, d->stmt[LOG_ST_ROLLBACK], "", NULL)); /* fails when nothing was begun */
		l->observed_rows = observed_before;
	}
	follow_publish(l, r >= 0);
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
	if (log_sql_open(&l->db, path, err) < 0 ||
	    log_sql_number(&l->db, l->db.stmt[LOG_ST_COUNT], &l->rows, "counting the network log", err) < 0 ||
	    log_sql_number(&l->db, l->db.stmt[LOG_ST_OBSERVED_COUNT], &l->observed_rows, "counting", err) < 0)
		return -1;
	/* Flows of a previous life ended with it. */
	if (end_flows(l, NULL) < 0)
		return sql_fail(&l->db, path, err);
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

/* Takes item and what is in it. */
static void enqueue(struct store_log *l, struct log_event_item *item_take, bool bounded)
{
	struct log_event_item *item = item_take;
	pthread_mutex_lock(&l->lock);
	if (item && (!bounded || l->bytes + item->bytes <= DAEMON_LOG_QUEUE_BYTES)) {
		*l->tail = item;
		l->tail = &item->next;
		l->bytes += item->bytes;
		/* The first one ends the long wait, a full batch the short one. */
		if (l->added++ == l->done || l->added - l->done >= DAEMON_LOG_BATCH)
			pthread_cond_signal(&l->wake);
		item = NULL;
	} else {
		l->dropped++;
	}
	pthread_mutex_unlock(&l->lock);
	free_list(item);
}

static struct log_event_item *item_new(enum log_item_kind kind, json_t *event_take, size_t bytes)
{
	struct log_event_item *item = malloc(sizeof(*item));
	if (item)
		*item = (struct log_event_item){ .kind = kind, .event = event_take, .bytes = bytes };
	else
		json_decref(event_take);
	return item;
}

void store_log_add(struct store *s, json_t *event, size_t bytes, bool observing)
{
	struct log_event_item *item = NULL;
	if (log_event_text(event, "sandbox") && log_event_text(event, "verdict"))
		item = item_new(LOG_ITEM_EVENT, event, bytes);
	else
		json_decref(event);
	if (item)
		item->observing = observing;
	enqueue(&s->log, item, true);
}

/* These two are as many as there are sandboxes and lives of the gate: no bound needed. */
void store_log_end(struct store *s, const char *id)
{
	json_t *event = json_pack("{ss}", "sandbox", id);
	enqueue(&s->log, event ? item_new(LOG_ITEM_SANDBOX_ENDED, event, 0) : NULL, false);
}

void store_log_gate_ended(struct store *s)
{
	enqueue(&s->log, item_new(LOG_ITEM_GATE_ENDED, NULL, 0), false);
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

void store_log_counts(struct store *s, size_t *ret_bytes, uint64_t *ret_dropped)
{
	struct store_log *l = &s->log;
	pthread_mutex_lock(&l->lock);
	*ret_bytes = l->bytes;
	*ret_dropped = l->dropped;
	pthread_mutex_unlock(&l->lock);
}
