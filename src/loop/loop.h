/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A single-threaded event loop on epoll: watches, timers, deferred work. The structs are embedded in their owners; the
 * loop never allocates for them. An owner may only be freed from a deferred call (dw_defer), which runs after the
 * batch of events, so that a late event in the same batch never meets freed memory.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "core/macros.h"

struct dw_loop;

struct dw_watch {
	int fd;                                 /* -1 = not registered */
	uint32_t events;                        /* what epoll was told */
	void (*fn)(void *arg, uint32_t events); /* EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP | EPOLLERR */
	void *arg;
};

struct dw_timer {
	uint64_t at_ms; /* monotonic */
	uint32_t index; /* place in the heap + 1; 0 = not armed */
	void (*fn)(void *arg);
	void *arg;
};

struct dw_defer {
	struct dw_defer *next;
	bool queued;
	void (*fn)(void *arg);
	void *arg;
};

struct dw_loop {
	int epoll_fd;
	uint64_t now_ms; /* monotonic, read once per batch */
	bool stop;
	struct dw_timer **heap;
	uint32_t heap_n, heap_cap;
	struct dw_defer *deferred;
	/* What is left of the batch being dispatched, so that dw_watch_del can drop its events. loop.c only. */
	struct epoll_event *batch;
	int batch_n;
};

/* 0 or negative errno. */
int dw_loop_init(struct dw_loop *l);
void dw_loop_done(struct dw_loop *l);
/* Runs until l->stop. */
int dw_loop_run(struct dw_loop *l);
/* One batch, waiting at most max_wait_ms (-1 = as long as timers allow). For tests. */
int dw_loop_once(struct dw_loop *l, int max_wait_ms);

/* events may be 0 (only HUP and ERR are reported). Negative errno on failure. */
int dw_watch_add(struct dw_loop *l, struct dw_watch *w, int fd, uint32_t events, void (*fn)(void *, uint32_t),
		 void *arg);
int dw_watch_set(struct dw_loop *l, struct dw_watch *w, uint32_t events); /* no system call when nothing changes */
/* Unregisters; does not close. A pending event of this batch is dropped. Harmless when not registered. */
void dw_watch_del(struct dw_loop *l, struct dw_watch *w);

/* (Re)arms; -ENOMEM when the heap can not grow (then it is not armed). */
int dw_timer_set(struct dw_loop *l, struct dw_timer *t, uint64_t at_ms, void (*fn)(void *), void *arg);
void dw_timer_del(struct dw_loop *l, struct dw_timer *t);

/* Queues once; runs after the current batch. */
void dw_defer(struct dw_loop *l, struct dw_defer *d, void (*fn)(void *), void *arg);
