/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/proc_log.h"

#include <string.h>

#include "daemon/bounds.h"
#include "daemon/output_share.h"

/* A process that says little is most of them. */
#define CHUNK_FIRST 512u
#define CHUNK       4096u

struct proc_chunk {
	struct proc_chunk *prev, *next;
	uint64_t start;
	uint32_t n, cap;
	enum proc_stream stream;
	bool head;
	char data[];
};

/* What of a part's memory is counted: the first bytes are the process's own, whatever others hold. */
static size_t counted(size_t cost)
{
	return cost > DAEMON_PROC_OWN ? cost - DAEMON_PROC_OWN : 0;
}

static bool charge(struct proc_log *l, size_t *cost, size_t n)
{
	const size_t add = counted(*cost + n) - counted(*cost);
	if (add && l->share && !output_share_take(l->share, add))
		return false;
	*cost += n;
	return true;
}

static void uncharge(struct proc_log *l, size_t *cost, size_t n)
{
	const size_t sub = counted(*cost) - counted(*cost - n);
	if (sub && l->share)
		output_share_give(l->share, sub);
	*cost -= n;
}

static size_t *cost_of(struct proc_log *l, bool head)
{
	return head ? &l->head_cost : &l->tail_cost;
}

void proc_log_init(struct proc_log *l, size_t head_max, size_t tail_max, atomic_size_t *share)
{
	*l = (struct proc_log){ .head_max = head_max, .tail_max = tail_max, .share = share };
}

void proc_log_done(struct proc_log *l)
{
	dw_assert(!l->readers);
	for (struct proc_chunk *c = l->first, *next; c; c = next) {
		next = c->next;
		free(c);
	}
	if (l->share)
		output_share_give(l->share, counted(l->head_cost) + counted(l->tail_cost));
	*l = (struct proc_log){ 0 };
}

size_t proc_log_cost(const struct proc_log *l)
{
	return l->head_cost + l->tail_cost;
}

static void move_readers(struct proc_log *l, const struct proc_chunk *from, struct proc_chunk *to)
{
	for (struct proc_reader *r = l->readers; r; r = r->next)
		if (r->chunk == from)
			r->chunk = to;
}

static void drop_oldest(struct proc_log *l)
{
	struct proc_chunk *c = l->tail_first;
	/* Chunks of the head stand between those of the tail while the other stream still has room in it. */
	do
		l->tail_first = l->tail_first->next;
	while (l->tail_first && l->tail_first->head);
	*(c->prev ? &c->prev->next : &l->first) = c->next;
	*(c->next ? &c->next->prev : &l->last) = c->prev;
	move_readers(l, c, c->next);
	uncharge(l, &l->tail_cost, sizeof(*c) + c->cap);
	free(c);
}

/* Makes room for n more bytes of memory in the tail. */
static bool charge_tail(struct proc_log *l, size_t n)
{
	for (;;) {
		if (l->tail_cost + n <= l->tail_max && charge(l, &l->tail_cost, n))
			return true;
		if (!l->tail_first)
			return false;
		drop_oldest(l);
	}
}

/* The last chunk takes no more: streams that alternate would leave most of each empty. */
static void settle(struct proc_log *l)
{
	struct proc_chunk *c = l->last;
	if (!c || c->cap - c->n < 64)
		return;
	struct proc_chunk *less = realloc(c, sizeof(*c) + c->n);
	if (!less)
		return;
	uncharge(l, cost_of(l, less->head), less->cap - less->n);
	less->cap = less->n;
	*(less->prev ? &less->prev->next : &l->first) = less;
	l->last = less;
	if (l->tail_first == c)
		l->tail_first = less;
	move_readers(l, c, less);
}

static struct proc_chunk *chunk_new(struct proc_log *l, enum proc_stream stream, bool head)
{
	const uint32_t cap = l->end < CHUNK ? CHUNK_FIRST : CHUNK;
	const size_t size = sizeof(struct proc_chunk) + cap;
	settle(l);
	if (head ? !charge(l, &l->head_cost, size) : !charge_tail(l, size))
		return NULL;
	struct proc_chunk *c = malloc(size);
	if (!c) {
		uncharge(l, cost_of(l, head), size);
		return NULL;
	}
	*c = (struct proc_chunk){ .prev = l->last, .start = l->end, .cap = cap, .stream = stream, .head = head };
	*(l->last ? &l->last->next : &l->first) = c;
	l->last = c;
	if (!head && !l->tail_first)
		l->tail_first = c;
	return c;
}

/* Takes some of the n bytes; returns how many are done with. */
static size_t add_some(struct proc_log *l, enum proc_stream stream, const char *data, size_t n)
{
	const bool head = !l->truncated[stream] && l->head_n[stream] < l->head_max;
	struct proc_chunk *c = l->last;
	if (!c || c->stream != stream || c->head != head || c->n == c->cap || c->start + c->n != l->end)
		c = chunk_new(l, stream, head);
	/* From here on it goes to the tail. */
	if (!head)
		l->truncated[stream] = true;
	if (!c && head) {
		l->truncated[stream] = true;
		return 0;
	}
	if (head)
		n = DW_MIN(n, l->head_max - l->head_n[stream]);
	if (c) {
		n = DW_MIN(n, c->cap - c->n);
		memcpy(c->data + c->n, data, n);
		c->n += (uint32_t)n;
	}
	l->head_n[stream] += head ? n : 0;
	l->end += n;
	return n;
}

void proc_log_add(struct proc_log *l, enum proc_stream stream, const void *data, size_t n)
{
	const char *p = data;
	while (n) {
		const size_t done = add_some(l, stream, p, n);
		p += done;
		n -= done;
	}
}

void proc_log_forget_read(struct proc_log *l)
{
	uint64_t had = l->end;
	for (const struct proc_reader *r = l->readers; r; r = r->next)
		had = r->cut ? had : DW_MIN(had, r->at);
	while (l->tail_first && l->tail_first->start + l->tail_first->n <= had)
		drop_oldest(l);
}

void proc_log_cut(struct proc_log *l)
{
	for (struct proc_reader *r = l->readers; r; r = r->next)
		r->cut |= r->at < l->end;
	proc_log_forget_read(l);
}

void proc_reader_open(struct proc_log *l, struct proc_reader *r, uint64_t at)
{
	*r = (struct proc_reader){ .next = l->readers, .at = DW_MIN(at, l->end) };
	l->readers = r;
}

void proc_reader_close(struct proc_log *l, struct proc_reader *r)
{
	for (struct proc_reader **at = &l->readers; *at; at = &(*at)->next) {
		if (*at == r) {
			*at = r->next;
			break;
		}
	}
}

/* The first chunk that ends behind the reader; NULL when there is none. From the end, because that is where most are. */
static struct proc_chunk *find(const struct proc_log *l, uint64_t at)
{
	struct proc_chunk *c = l->last;
	if (!c || c->start + c->n <= at)
		return NULL;
	while (c->prev && c->prev->start + c->prev->n > at)
		c = c->prev;
	return c;
}

size_t proc_reader_next(struct proc_log *l, struct proc_reader *r, void *buf, size_t max, enum proc_stream *ret_stream,
			uint64_t *ret_lost)
{
	struct proc_chunk *c = r->chunk ? r->chunk : find(l, r->at);
	while (c && c->start + c->n <= r->at)
		c = c->next;
	const uint64_t from = c ? DW_MAX(c->start, r->at) : l->end;
	*ret_lost = from - r->at;
	r->at = from;
	if (c)
		r->chunk = c;
	if (!c || *ret_lost)
		return 0;
	size_t n = 0;
	*ret_stream = c->stream;
	while (n < max && c && c->stream == *ret_stream && c->start <= r->at) {
		const size_t skip = (size_t)(r->at - c->start);
		const size_t some = DW_MIN(c->n - skip, max - n);
		memcpy((char *)buf + n, c->data + skip, some);
		n += some;
		r->at += some;
		r->chunk = c;
		if (skip + some == c->n)
			c = c->next;
	}
	return n;
}

size_t proc_log_head_next(const struct proc_log *l, struct proc_head_at *at, enum proc_stream stream, char *buf,
			  size_t max)
{
	size_t n = 0;
	if (!at->begun)
		*at = (struct proc_head_at){ .chunk = l->first, .begun = true };
	while (n < max && at->chunk) {
		const struct proc_chunk *c = at->chunk;
		const bool wanted = c->head && c->stream == stream;
		const size_t some = wanted ? DW_MIN(c->n - at->at, max - n) : 0;
		memcpy(buf + n, c->data + at->at, some);
		n += some;
		at->at += some;
		if (!wanted || at->at == c->n) {
			at->chunk = c->next;
			at->at = 0;
		}
	}
	return n;
}
