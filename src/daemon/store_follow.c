/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readers of a log as it grows. The writer gives each follower the rows of a batch after its commit, as text that waits in a bounded
 * queue: a reader that is slow loses rows, is told how many, and holds up nobody. Rows of the past are read page by page as the
 * reader takes them. A follower is entered under the database's lock, where batches are written and published too: what was
 * committed before is past (up to its id `past_end`), what comes later is in its queue, and nothing is both.
 */
#include "daemon/store_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct frame {
	struct frame *next;
	size_t n;
	char text[];
};

struct store_follower {
	/* Under the database's lock. */
	struct store_follower *next;
	struct frame *noted, **noted_tail; /* of the batch that is being written */
	size_t noted_bytes;
	uint64_t noted_lost;
	bool noted_end;
	struct store_log *log;
	struct log_filter filter;
	int wake_fd;

	/* The reader's own. */
	int64_t past_at, past_end; /* rows of the past after this id, up to that one */
	struct frame *current;
	size_t current_at;

	pthread_mutex_t lock; /* of what follows; taken after the database's */
	struct frame *head, **tail;
	size_t bytes;
	uint64_t dropped;
	bool ended, said_end;
};

static void wake(struct store_follower *f)
{
	const uint64_t one = 1;
	DW_IGNORE(
		write(f->wake_fd, &one, sizeof(one))); /* only a counter at its end could fail, and that is awake too */
}

/* id 0: an event without one. data is JSON. NULL when memory is out. */
static struct frame *frame_new(const char *event, int64_t id, const char *data)
{
	char number[48] = "";
	if (id)
		snprintf(number, sizeof(number), "id: %lld\n", (long long)id);
	const size_t n = strlen(number) + strlen(event) + strlen(data) + sizeof("event: \ndata: \n\n") - 1;
	struct frame *f = malloc(sizeof(*f) + n + 1);
	if (!f)
		return NULL;
	f->next = NULL;
	f->n = n;
	snprintf(f->text, n + 1, "%sevent: %s\ndata: %s\n\n", number, event, data);
	return f;
}

/* ended: the row again, because its flow has ended. Without an id: a reader that has newer rows would come back after this one. */
static struct frame *frame_of_row(sqlite3_stmt *st, bool ended)
{
	auto_json json_t *row = log_sql_row(st);
	dw_autofree char *text = row ? json_dumps(row, JSON_COMPACT) : NULL;
	if (!text)
		return NULL;
	return ended ? frame_new("end", 0, text) : frame_new("decision", sqlite3_column_int64(st, 0), text);
}

static struct frame *frame_dropped(uint64_t n)
{
	char text[48];
	snprintf(text, sizeof(text), "{\"count\":%llu}", (unsigned long long)n);
	return frame_new("dropped", 0, text);
}

static void append_locked(struct store_follower *f, struct frame *frame)
{
	*f->tail = frame;
	f->tail = &frame->next;
	f->bytes += frame->n;
}

/* Takes frame; its reader is not woken. */
static void push(struct store_follower *f, struct frame *frame_take)
{
	struct frame *frame = frame_take;
	frame->next = NULL;
	pthread_mutex_lock(&f->lock);
	bool room = f->bytes + frame->n <= DAEMON_FOLLOW_BYTES;
	if (room && f->dropped) {
		struct frame *lost = frame_dropped(f->dropped);
		room = lost != NULL;
		if (lost) {
			append_locked(f, lost);
			f->dropped = 0;
		}
	}
	if (room)
		append_locked(f, DW_TAKE(frame));
	else
		f->dropped++;
	pthread_mutex_unlock(&f->lock);
	free(frame);
}

/* The row for this follower, when it is one that it wants. */
static void note_row(struct store_follower *f, int64_t row, bool ended)
{
	sqlite3_stmt *st = f->log->db.stmt[LOG_ST_ONE];
	struct frame *frame = NULL;
	log_sql_bind_filter(st, &f->filter);
	sqlite3_bind_int64(st, LOG_FILTER_PARAMS + 1, row);
	const bool wanted = sqlite3_step(st) == SQLITE_ROW;
	if (wanted && f->noted_bytes < DAEMON_FOLLOW_BYTES)
		frame = frame_of_row(st, ended);
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	if (frame) {
		*f->noted_tail = frame;
		f->noted_tail = &frame->next;
		f->noted_bytes += frame->n;
	} else if (wanted) {
		f->noted_lost++;
	}
}

void follow_note(struct store_log *l, const struct log_event_item *item)
{
	const char *sandbox = item->event && l->followers ? log_event_text(item->event, "sandbox") : NULL;
	for (struct store_follower *f = l->followers; f && sandbox; f = f->next) {
		if (strcmp(f->filter.sandbox, sandbox) != 0)
			continue;
		if (item->kind == LOG_ITEM_SANDBOX_ENDED)
			f->noted_end = true;
		else if (item->row)
			note_row(f, item->row, item->changed);
	}
}

void follow_note_end(struct store_log *l, const char *sandbox, int64_t row)
{
	for (struct store_follower *f = l->followers; f && sandbox; f = f->next)
		if (strcmp(f->filter.sandbox, sandbox) == 0)
			note_row(f, row, true);
}

static void lose(struct store_follower *f, uint64_t n)
{
	pthread_mutex_lock(&f->lock);
	f->dropped += n;
	pthread_mutex_unlock(&f->lock);
}

static void take_noted(struct store_follower *f, bool committed)
{
	const bool news = f->noted || f->noted_lost;
	for (struct frame *frame = f->noted, *next; frame; frame = next) {
		next = frame->next;
		if (committed)
			push(f, frame);
		else
			free(frame);
	}
	if (committed && f->noted_lost)
		lose(f, f->noted_lost);
	if (committed && news)
		wake(f);
	/* True whether or not the batch could be written. */
	if (f->noted_end)
		store_follow_ended(f);
	f->noted = NULL;
	f->noted_tail = &f->noted;
	f->noted_bytes = 0;
	f->noted_lost = 0;
	f->noted_end = false;
}

void follow_publish(struct store_log *l, bool committed)
{
	for (struct store_follower *f = l->followers; f; f = f->next)
		take_noted(f, committed);
}

void store_follow_ended(struct store_follower *f)
{
	pthread_mutex_lock(&f->lock);
	f->ended = true;
	pthread_mutex_unlock(&f->lock);
	wake(f);
}

/* Where the past begins for it; the database's lock is held. */
static int find_past(struct store_follower *f, const struct follow_from *from, struct dw_err *err)
{
	static const char what[] = "reading the network log";
	struct sql_db *d = &f->log->db;
	if (log_sql_number(d, d->stmt[LOG_ST_MAX], &f->past_end, what, err) < 0)
		return -1;
	if (from->resume || !from->limit) {
		f->past_at = from->resume ? from->after : f->past_end;
		return 0;
	}
	sqlite3_stmt *st = d->stmt[LOG_ST_NTH];
	log_sql_bind_filter(st, &f->filter);
	sqlite3_bind_int64(st, LOG_FILTER_PARAMS + 1, (int64_t)from->limit - 1);
	/* 0 when there are fewer rows than that: all of them. */
	if (log_sql_number(d, st, &f->past_at, what, err) < 0)
		return -1;
	f->past_at = DW_MAX(f->past_at - 1, 0);
	return 0;
}

static unsigned count_of(const struct store_log *l, const char *sandbox)
{
	unsigned n = 0;
	for (const struct store_follower *f = l->followers; f; f = f->next)
		n += strcmp(f->filter.sandbox, sandbox) == 0;
	return n;
}

static int enter(struct store_follower *f, const struct follow_from *from, struct dw_err *err)
{
	struct store_log *l = f->log;
	pthread_mutex_lock(&l->db.lock);
	int r = 0;
	if (l->followers_n >= DAEMON_FOLLOWERS || count_of(l, f->filter.sandbox) >= DAEMON_FOLLOWERS_SANDBOX)
		r = dw_err_set(err, DW_ERR_LIMIT, "too_many_followers",
			       "more than %u connections follow the log of this sandbox, or more than %u logs",
			       DAEMON_FOLLOWERS_SANDBOX, DAEMON_FOLLOWERS);
	else
		r = find_past(f, from, err);
	if (r == 0) {
		f->next = l->followers;
		l->followers = f;
		l->followers_n++;
	}
	pthread_mutex_unlock(&l->db.lock);
	return r;
}

static void leave(struct store_follower *f)
{
	struct store_log *l = f->log;
	pthread_mutex_lock(&l->db.lock);
	for (struct store_follower **at = &l->followers; *at; at = &(*at)->next) {
		if (*at == f) {
			*at = f->next;
			l->followers_n--;
			break;
		}
	}
	pthread_mutex_unlock(&l->db.lock);
}

int store_follow_open(struct store *s, const struct log_filter *filter, const struct follow_from *from,
		      struct store_follower **ret, struct dw_err *err)
{
	DW_AUTO(store_follow_close) struct store_follower *f = calloc(1, sizeof(*f));
	if (!f)
		return dw_err_errno(err, ENOMEM, "following the network log");
	f->log = &s->log;
	f->filter = *filter;
	f->tail = &f->head;
	f->noted_tail = &f->noted;
	pthread_mutex_init(&f->lock, NULL);
	f->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (f->wake_fd < 0)
		return dw_err_errno(err, errno, "following the network log");
	if (enter(f, from, err) < 0)
		return -1;
	*ret = DW_TAKE(f);
	return 0;
}

void store_follow_close(struct store_follower *f)
{
	leave(f);
	while (f->head) {
		struct frame *next = f->head->next;
		free(f->head);
		f->head = next;
	}
	free(f->current);
	if (f->wake_fd >= 0)
		close(f->wake_fd);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

int store_follow_fd(const struct store_follower *f)
{
	return f->wake_fd;
}

/* The next page of the past, as one frame; NULL when there is none left. */
static struct frame *next_past(struct store_follower *f)
{
	struct sql_db *d = &f->log->db;
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);
	if (!out)
		return NULL;
	unsigned rows = 0;
	pthread_mutex_lock(&d->lock);
	sqlite3_stmt *st = d->stmt[LOG_ST_RANGE];
	log_sql_bind_filter(st, &f->filter);
	sqlite3_bind_int64(st, LOG_FILTER_PARAMS + 1, f->past_at);
	sqlite3_bind_int64(st, LOG_FILTER_PARAMS + 2, f->past_end);
	sqlite3_bind_int64(st, LOG_FILTER_PARAMS + 3, DAEMON_FOLLOW_PAGE);
	for (; sqlite3_step(st) == SQLITE_ROW; rows++) {
		dw_autofree struct frame *frame = frame_of_row(st, false);
		f->past_at = sqlite3_column_int64(st, 0);
		if (frame)
			fwrite(frame->text, 1, frame->n, out);
	}
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	pthread_mutex_unlock(&d->lock);
	if (rows < DAEMON_FOLLOW_PAGE)
		f->past_at = f->past_end;
	struct frame *page = fclose(out) == 0 && n ? malloc(sizeof(*page) + n + 1) : NULL;
	if (page) {
		page->next = NULL;
		page->n = n;
		memcpy(page->text, text, n + 1);
	} else if (rows) {
		lose(f, rows);
	}
	free(text);
	return page;
}

/* *ret_last: this was the end. NULL: nothing now. */
static struct frame *next_live(struct store_follower *f, bool *ret_last)
{
	struct frame *frame;
	uint64_t count;
	DW_IGNORE(read(f->wake_fd, &count, sizeof(count))); /* empty when nobody woke us */
	pthread_mutex_lock(&f->lock);
	frame = f->head;
	if (frame) {
		f->head = frame->next;
		f->bytes -= frame->n;
		if (!f->head)
			f->tail = &f->head;
	} else if (f->dropped) {
		frame = frame_dropped(f->dropped);
		if (frame)
			f->dropped = 0;
	} else if (f->ended && !f->said_end) {
		frame = frame_new("end_of_log", 0, "{}");
		f->said_end = frame != NULL;
	}
	*ret_last = !frame && f->said_end;
	pthread_mutex_unlock(&f->lock);
	return frame;
}

ssize_t store_follow_read(struct store_follower *f, char *buf, size_t n)
{
	bool last = false;
	while (!f->current && f->past_at < f->past_end) {
		f->current = next_past(f);
		f->current_at = 0;
	}
	if (!f->current) {
		f->current = next_live(f, &last);
		f->current_at = 0;
	}
	if (!f->current)
		return last ? -1 : 0;
	const size_t take = DW_MIN(n, f->current->n - f->current_at);
	memcpy(buf, f->current->text + f->current_at, take);
	f->current_at += take;
	if (f->current_at == f->current->n) {
		free(f->current);
		f->current = NULL;
	}
	return (ssize_t)take;
}
