/* SPDX-License-Identifier: Apache-2.0 */
/* Two of the manager's threads: one takes apart what is due, one hears of sandboxes that ended by themselves. */
#include "daemon/manager_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <time.h>

#include "daemon/clock.h"
#include "daemon/log.h"

/* The entry that is due first; NULL when there is none to wait for. */
static struct sandbox *first_due(struct manager *m)
{
	struct sandbox *first = NULL;
	for (size_t b = 0; b < MANAGER_BUCKETS; b++)
		for (struct sandbox *s = m->bucket[b]; s; s = s->chain)
			if (!s->making && !s->dying && (!first || s->due_ms < first->due_ms))
				first = s;
	return first;
}

static void wait_until(struct manager *m, int64_t due_ms)
{
	int64_t wait = due_ms - clock_mono_ms();
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	/* At most a minute: due times count suspended time, this clock does not. */
	wait = DW_MIN(DW_MAX(wait, 1), 60000);
	t.tv_sec += wait / 1000;
	t.tv_nsec += (long)(wait % 1000) * 1000000L;
	t.tv_sec += t.tv_nsec / 1000000000L;
	t.tv_nsec %= 1000000000L;
	pthread_cond_timedwait(&m->wake, &m->lock, &t);
}

static void *reaper_main(void *arg)
{
	struct manager *m = arg;
	pthread_mutex_lock(&m->lock);
	while (!m->stop) {
		struct sandbox *s = first_due(m);
		if (!s || s->due_ms > clock_mono_ms()) {
			wait_until(m, s ? s->due_ms : INT64_MAX / 2);
			continue;
		}
		if (s->record.state == RECORD_RUNNING && s->pause_on_timeout) {
			manager_pause_due(s);
			continue;
		}
		manager_condemn(s, "timeout");
		s->dying = true;
		s->refs++;
		pthread_mutex_unlock(&m->lock);
		struct dw_err err = { 0 };
		/* It logs what went wrong, and is tried again. */
		DW_IGNORE(manager_take_apart(s, &err));
		pthread_mutex_lock(&m->lock);
	}
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

static struct sandbox *by_slot(struct manager *m, uint32_t slot)
{
	for (size_t b = 0; b < MANAGER_BUCKETS; b++)
		for (struct sandbox *s = m->bucket[b]; s; s = s->chain)
			if (s->slot == slot)
				return s;
	return NULL;
}

static void slot_exited(struct manager *m, uint32_t slot)
{
	pthread_mutex_lock(&m->lock);
	struct sandbox *s = by_slot(m, slot);
	if (!s)
		m->exits[m->exits_at++ % MANAGER_EXITS] = slot;
	else if (s->making)
		s->exited = true;
	else if (!s->dying)
		manager_condemn(s, "exited");
	pthread_mutex_unlock(&m->lock);
}

/* False when the keeper is gone. */
static bool take_exits(struct manager *m)
{
	uint32_t slot;
	int r;
	while ((r = dw_runtime_next_exit(m->config.runtime, &slot)) > 0)
		slot_exited(m, slot);
	return r == 0;
}

static void *watcher_main(void *arg)
{
	struct manager *m = arg;
	struct pollfd p[] = {
		{ .fd = dw_runtime_event_fd(m->config.runtime), .events = POLLIN },
		{ .fd = m->stop_fd, .events = POLLIN },
	};
	for (;;) {
		if (poll(p, DW_COUNT(p), -1) < 0 && errno != EINTR)
			log_event(LOG_LEVEL_ERROR, "poll failed", "errno", LOG_NUM(errno), NULL);
		if (p[1].revents)
			return NULL;
		if (p[0].revents && !take_exits(m)) {
			m->config.on_keeper_lost(m->config.arg);
			return NULL;
		}
	}
}

int manager_threads_start(struct manager *m, struct dw_err *err)
{
	int e = pthread_create(&m->reaper, NULL, reaper_main, m);
	if (!e) {
		m->threads++;
		e = pthread_create(&m->watcher, NULL, watcher_main, m);
	}
	if (!e) {
		m->threads++;
		e = pthread_create(&m->sampler, NULL, manager_sampler_main, m);
	}
	if (e)
		return dw_err_errno(err, e, "starting a thread");
	m->threads++;
	return 0;
}

void manager_threads_stop(struct manager *m)
{
	const uint64_t one = 1;
	pthread_mutex_lock(&m->lock);
	m->stop = true;
	pthread_cond_signal(&m->wake);
	pthread_mutex_unlock(&m->lock);
	if (m->stop_fd >= 0)
		DW_IGNORE(write(m->stop_fd, &one, sizeof(one))); /* a counter of one: it can not be full */
	if (m->threads > 0)
		pthread_join(m->reaper, NULL);
	if (m->threads > 1)
		pthread_join(m->watcher, NULL);
	if (m->threads > 2)
		pthread_join(m->sampler, NULL);
	m->threads = 0;
}
