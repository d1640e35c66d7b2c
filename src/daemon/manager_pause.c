/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pausing and resuming. One change of a sandbox at a time: whoever makes it sets `pausing`, others wait for it, and a kill does not
 * wait: it decides the end, and who changes finds that. A request pauses in its own thread; at a deadline the reaper does, which
 * has others to look after, so it asks once and comes back.
 */
#include "daemon/manager_internal.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "daemon/clock.h"
#include "daemon/log.h"

/* Between two looks of the reaper whether all has halted. Usually it has at the first. */
#define LOOK_AGAIN_MS 5

static int refuse_paused(struct dw_err *err)
{
	return dw_err_set(err, DW_ERR_CONFLICT, "sandbox_paused", "the sandbox is paused; resume it first");
}

static int not_pausable(struct dw_err *err, const char *why)
{
	return dw_err_set(err, DW_ERR_CONFLICT, "not_pausable", "the sandbox can not be paused: %s", why);
}

/* Waits until nobody else changes it. The lock is held. GONE when it was killed meanwhile. */
int manager_take_turn(struct sandbox *s, struct dw_err *err)
{
	while (s->pausing && s->record.state != RECORD_KILLED)
		pthread_cond_wait(&s->m->change, &s->m->lock);
	if (s->record.state == RECORD_KILLED)
		return dw_err_set(err, DW_ERR_GONE, "sandbox_killed", "the sandbox was killed (%s)", s->record.reason);
	return 0;
}

/* Ends a change. The lock is held. */
void manager_end_turn(struct sandbox *s)
{
	s->pausing = PAUSING_NOT;
	s->freeze_until_ms = 0;
	pthread_cond_broadcast(&s->m->change);
	pthread_cond_signal(&s->m->wake);
}

/* Its processes have halted. The lock is held. False when it was killed meanwhile. */
static bool become_paused(struct sandbox *s)
{
	const bool alive = s->record.state == RECORD_RUNNING;
	if (alive) {
		s->record.state = RECORD_PAUSED;
		s->record.paused_us = clock_wall_us();
		/* The time-out counts what it runs. */
		s->record.end_us = 0;
		s->due_ms = MANAGER_NEVER;
	}
	manager_end_turn(s);
	return alive;
}

/* What the keeper says of a sandbox that has ended is what clients hear of one. Returns -1. */
int manager_keeper_error(struct sandbox *s, struct dw_err *err)
{
	if (err->kind == DW_ERR_NOT_FOUND)
		return sandbox_lost(s, err);
	if (err->kind == DW_ERR_UNPROCESSABLE)
		return not_pausable(err, "this host has no freezer for processes");
	return -1;
}

/* Until everything inside has halted. */
int manager_freeze(struct sandbox *s, struct dw_err *err)
{
	struct dw_runtime *rt = s->m->config.runtime;
	const int64_t until = clock_mono_ms() + DAEMON_FREEZE_MS;
	for (int ms = 1;; ms = DW_MIN(2 * ms, 20)) {
		bool frozen;
		if (dw_runtime_freeze(rt, s->slot, &frozen, err) < 0)
			return manager_keeper_error(s, err);
		if (frozen)
			return 0;
		struct pollfd stop = { .fd = s->m->config.stop_fd, .events = POLLIN };
		if (clock_mono_ms() >= until || poll(&stop, 1, ms) > 0)
			break;
	}
	struct dw_err ignored = { 0 };
	DW_IGNORE(
		dw_runtime_thaw(rt, s->slot, &ignored)); /* it fails for one that has ended, which then is the answer */
	return not_pausable(err, "a process inside does not come to a halt");
}

int manager_pause(struct manager *m, const char *id, struct dw_err *err)
{
	struct sandbox *s;
	if (manager_reach(m, id, &s, err) < 0)
		return -1;
	pthread_mutex_lock(&m->lock);
	int r = manager_take_turn(s, err);
	if (r == 0 && s->record.state == RECORD_PAUSED)
		r = not_pausable(err, "it is paused");
	if (r == 0)
		s->pausing = PAUSING_FREEZE;
	pthread_mutex_unlock(&m->lock);
	if (r == 0) {
		r = manager_freeze(s, err);
		pthread_mutex_lock(&m->lock);
		bool paused = false;
		if (r == 0)
			paused = become_paused(s);
		else
			manager_end_turn(s);
		pthread_mutex_unlock(&m->lock);
		if (r == 0 && !paused)
			r = sandbox_lost(s, err);
	}
	if (r == 0)
		log_event(LOG_LEVEL_INFO, "sandbox paused", "id", id, "reason", "asked", NULL);
	manager_unref(s);
	return r;
}

/* It goes on, and its time-out counts from now. The lock is held. */
static void become_running(struct sandbox *s)
{
	if (s->record.state == RECORD_PAUSED) {
		s->record.state = RECORD_RUNNING;
		s->record.paused_us = 0;
		s->record.end_us = clock_wall_us() + (int64_t)s->record.timeout_s * 1000000;
		s->due_ms = clock_mono_ms() + (int64_t)s->record.timeout_s * 1000;
	}
	manager_end_turn(s);
}

/* The lock is held, and let go of while the keeper works. running_is_fine: 0 for one that is not paused. */
static int resume_locked(struct sandbox *s, bool running_is_fine, struct dw_err *err)
{
	if (manager_take_turn(s, err) < 0)
		return -1;
	if (s->record.state == RECORD_RUNNING)
		return running_is_fine ? 0
				       : dw_err_set(err, DW_ERR_CONFLICT, "not_paused", "the sandbox is not paused");
	s->pausing = PAUSING_THAW;
	pthread_mutex_unlock(&s->m->lock);
	int r = dw_runtime_thaw(s->m->config.runtime, s->slot, err);
	if (r < 0)
		r = manager_keeper_error(s, err);
	pthread_mutex_lock(&s->m->lock);
	if (r == 0)
		become_running(s);
	else
		manager_end_turn(s);
	if (r == 0 && s->record.state == RECORD_KILLED)
		r = manager_take_turn(s, err);
	if (r == 0)
		log_event(LOG_LEVEL_INFO, "sandbox resumed", "id", s->record.id, "by",
			  running_is_fine ? "an operation" : "request", NULL);
	return r;
}

int manager_resume(struct manager *m, const char *id, struct dw_err *err)
{
	struct sandbox *s;
	if (manager_reach(m, id, &s, err) < 0)
		return -1;
	pthread_mutex_lock(&m->lock);
	int r = resume_locked(s, false, err);
	pthread_mutex_unlock(&m->lock);
	manager_unref(s);
	return r;
}

int manager_awake_locked(struct sandbox *s, struct dw_err *err)
{
	const bool paused = s->record.state == RECORD_PAUSED || s->pausing == PAUSING_FREEZE;
	if (!paused)
		return 0;
	return s->auto_resume ? resume_locked(s, true, err) : refuse_paused(err);
}

/* What the keeper said the last time it was asked. The lock is held. */
static void look(struct sandbox *s, int asked, bool frozen, const struct dw_err *err)
{
	const int64_t now = clock_mono_ms();
	if (s->record.state != RECORD_RUNNING) {
		manager_end_turn(s);
	} else if (asked == 0 && frozen) {
		become_paused(s);
		log_event(LOG_LEVEL_INFO, "sandbox paused", "id", s->record.id, "reason", "timeout", NULL);
	} else if (asked == 0 && now < s->freeze_until_ms) {
		s->due_ms = now + LOOK_AGAIN_MS;
	} else {
		/* Its time is up all the same, and what can not be halted must not go on. */
		log_event(LOG_LEVEL_WARN, "sandbox not paused at its deadline: it is killed", "id", s->record.id,
			  "error", asked < 0 ? err->message : "it does not come to a halt", NULL);
		manager_end_turn(s);
		manager_condemn(s, "timeout");
	}
}

void manager_pause_due(struct sandbox *s)
{
	struct manager *m = s->m;
	struct dw_err err = { 0 };
	bool frozen = false;
	if (s->pausing && !s->freeze_until_ms) {
		/* A request does, or undoes, the same at this moment. */
		s->due_ms = clock_mono_ms() + LOOK_AGAIN_MS;
		return;
	}
	if (!s->pausing) {
		s->pausing = PAUSING_FREEZE;
		s->freeze_until_ms = clock_mono_ms() + DAEMON_FREEZE_MS;
	}
	s->refs++;
	pthread_mutex_unlock(&m->lock);
	const int asked = dw_runtime_freeze(m->config.runtime, s->slot, &frozen, &err);
	pthread_mutex_lock(&m->lock);
	look(s, asked, frozen, &err);
	pthread_mutex_unlock(&m->lock);
	manager_unref(s);
	pthread_mutex_lock(&m->lock);
}
