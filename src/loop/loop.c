/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop.
 *
 * One round: wait, read the clock, dispatch the batch, run due timers, run deferred work. Two rules make embedded
 * structs safe without generation numbers: nothing that owns a watch, timer or defer is freed before the deferred
 * phase, and dw_watch_del also erases the events of that watch that wait in the same batch. So a watch that is
 * deleted and added again with another descriptor inside one batch never sees an event of the old one.
 *
 * Work per round is bounded: a timer that arms itself for now, and a defer that queues itself, run again in the next
 * round, so that descriptors get their turn.
 */
#include "loop/loop.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "sys/clock.h"

/* Events taken per round; more wait in the kernel. Large enough to make one system call serve many flows. */
#define BATCH_MAX  128
#define HEAP_FIRST 64u
/* A clock that a test moves wakes nobody: timers look for themselves. */
#define MOVABLE_WAIT_MS 20u

int dw_loop_init(struct dw_loop *l)
{
	*l = (struct dw_loop){ .epoll_fd = epoll_create1(EPOLL_CLOEXEC) };
	if (l->epoll_fd < 0)
		return -errno;
	l->now_ms = dw_clock_mono_ms();
	return 0;
}

void dw_loop_done(struct dw_loop *l)
{
	if (l->epoll_fd >= 0)
		close(l->epoll_fd);
	free(l->heap);
	*l = (struct dw_loop){ .epoll_fd = -1 };
}

int dw_watch_add(struct dw_loop *l, struct dw_watch *w, int fd, uint32_t events, void (*fn)(void *, uint32_t),
		 void *arg)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return -errno;
	*w = (struct dw_watch){ .fd = fd, .events = events, .fn = fn, .arg = arg };
	return 0;
}

int dw_watch_set(struct dw_loop *l, struct dw_watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	if (w->events == events)
		return 0;
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, w->fd, &ev) < 0)
		return -errno;
	w->events = events;
	return 0;
}

void dw_watch_del(struct dw_loop *l, struct dw_watch *w)
{
	/* A zeroed struct was never registered either: its fd reads as 0. */
	if (w->fd < 0 || !w->fn)
		return;
	/* Fails only when the owner closed the descriptor first; then the kernel has forgotten it already. */
	DW_IGNORE(epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL));
	for (int i = 0; i < l->batch_n; i++) {
		if (l->batch[i].data.ptr == w)
			l->batch[i].data.ptr = NULL;
	}
	w->fd = -1;
	w->events = 0;
}

/* The heap: parent <= children by at_ms; every timer knows its place. */

static void heap_put(struct dw_loop *l, uint32_t i, struct dw_timer *t)
{
	l->heap[i] = t;
	t->index = i + 1;
}

static void heap_up(struct dw_loop *l, uint32_t i, struct dw_timer *t)
{
	while (i > 0 && l->heap[(i - 1) / 2]->at_ms > t->at_ms) {
		heap_put(l, i, l->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	heap_put(l, i, t);
}

static void heap_down(struct dw_loop *l, uint32_t i, struct dw_timer *t)
{
	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= l->heap_n)
			break;
		if (child + 1 < l->heap_n && l->heap[child + 1]->at_ms < l->heap[child]->at_ms)
			child++;
		if (l->heap[child]->at_ms >= t->at_ms)
			break;
		heap_put(l, i, l->heap[child]);
		i = child;
	}
	heap_put(l, i, t);
}

static void heap_place(struct dw_loop *l, uint32_t i, struct dw_timer *t)
{
	if (i > 0 && l->heap[(i - 1) / 2]->at_ms > t->at_ms)
		heap_up(l, i, t);
	else
		heap_down(l, i, t);
}

static int heap_grow(struct dw_loop *l)
{
	uint32_t cap = l->heap_cap ? l->heap_cap * 2 : HEAP_FIRST;
	struct dw_timer **heap = NULL;

	if (l->heap_n < l->heap_cap)
		return 0;
	if (cap > l->heap_cap)
		heap = reallocarray(l->heap, cap, sizeof(*heap));
	if (!heap)
		return -ENOMEM;
	l->heap = heap;
	l->heap_cap = cap;
	return 0;
}

int dw_timer_set(struct dw_loop *l, struct dw_timer *t, uint64_t at_ms, void (*fn)(void *), void *arg)
{
	if (t->index == 0) {
		int r = heap_grow(l);

		if (r < 0)
			return r;
		l->heap_n++;
		t->index = l->heap_n;
	}
	t->at_ms = at_ms;
	t->fn = fn;
	t->arg = arg;
	heap_place(l, t->index - 1, t);
	return 0;
}

void dw_timer_del(struct dw_loop *l, struct dw_timer *t)
{
	uint32_t i = t->index;

	if (i == 0)
		return;
	dw_assert(i <= l->heap_n && l->heap[i - 1] == t);
	t->index = 0;
	l->heap_n--;
	if (i - 1 < l->heap_n)
		heap_place(l, i - 1, l->heap[l->heap_n]);
}

void dw_defer(struct dw_loop *l, struct dw_defer *d, void (*fn)(void *), void *arg)
{
	if (d->queued)
		return;
	*d = (struct dw_defer){ .next = l->deferred, .queued = true, .fn = fn, .arg = arg };
	l->deferred = d;
}

static void run_timers(struct dw_loop *l)
{
	uint32_t budget = l->heap_n;

	while (budget-- > 0 && l->heap_n > 0 && l->heap[0]->at_ms <= l->now_ms) {
		struct dw_timer *t = l->heap[0];

		dw_timer_del(l, t);
		t->fn(t->arg);
	}
}

static void run_deferred(struct dw_loop *l)
{
	struct dw_defer *fifo = NULL;

	/* The list is newest first; the oldest runs first. What is queued meanwhile is for the next round. */
	while (l->deferred) {
		struct dw_defer *d = l->deferred;

		l->deferred = d->next;
		d->next = fifo;
		fifo = d;
	}
	while (fifo) {
		struct dw_defer *d = fifo;

		fifo = d->next; /* before the call: it may free d */
		d->queued = false;
		d->fn(d->arg);
	}
}

static int wait_ms(const struct dw_loop *l, int max_wait_ms)
{
	uint64_t now;
	uint64_t left;

	if (l->deferred || l->stop)
		return 0;
	if (l->heap_n == 0)
		return max_wait_ms;
	/* Not now_ms: the last round may have taken a while. */
	now = dw_clock_mono_ms();
	left = l->heap[0]->at_ms > now ? l->heap[0]->at_ms - now : 0;
	left = DW_MIN(left, (uint64_t)INT_MAX);
	if (dw_clock_is_movable())
		left = DW_MIN(left, MOVABLE_WAIT_MS);
	if (max_wait_ms >= 0)
		left = DW_MIN(left, (uint64_t)max_wait_ms);
	return (int)left;
}

int dw_loop_once(struct dw_loop *l, int max_wait_ms)
{
	struct epoll_event batch[BATCH_MAX];
	int n = epoll_wait(l->epoll_fd, batch, BATCH_MAX, wait_ms(l, max_wait_ms));

	if (n < 0 && errno != EINTR)
		return -errno;
	l->now_ms = dw_clock_mono_ms();
	l->batch = batch;
	l->batch_n = DW_MAX(n, 0);
	for (int i = 0; i < l->batch_n; i++) {
		struct dw_watch *w = batch[i].data.ptr;

		if (w)
			w->fn(w->arg, batch[i].events);
	}
	l->batch = NULL;
	l->batch_n = 0;
	run_timers(l);
	run_deferred(l);
	return 0;
}

int dw_loop_run(struct dw_loop *l)
{
	while (!l->stop) {
		int r = dw_loop_once(l, -1);

		if (r < 0)
			return r;
	}
	return 0;
}
