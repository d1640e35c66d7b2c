/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/manager_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "daemon/clock.h"
#include "daemon/limits_spec.h"
#include "daemon/log.h"

static int not_found(struct dw_err *err)
{
	return dw_err_set(err, DW_ERR_NOT_FOUND, "sandbox_not_found", "there is no sandbox with this id");
}

static struct sandbox **slot_of(struct manager *m, const char *id)
{
	uint32_t h = 2166136261u;
	for (const char *p = id; *p; p++)
		h = (h ^ (uint8_t)*p) * 16777619u;
	struct sandbox **at = &m->bucket[h % MANAGER_BUCKETS];
	while (*at && strcmp((*at)->record.id, id) != 0)
		at = &(*at)->chain;
	return at;
}

struct sandbox *manager_find(struct manager *m, const char *id)
{
	return *slot_of(m, id);
}

static void sandbox_free(struct sandbox *s)
{
	if (s->agent_fd >= 0)
		close(s->agent_fd);
	network_spec_done(&s->network);
	metrics_done(&s->metrics);
	pthread_mutex_destroy(&s->gate_lock);
	record_done(&s->record);
	free(s);
}

void manager_unref_locked(struct sandbox *s, bool *ret_last)
{
	*ret_last = --s->refs == 0;
}

void manager_unref(struct sandbox *s)
{
	bool last;
	pthread_mutex_lock(&s->m->lock);
	manager_unref_locked(s, &last);
	pthread_mutex_unlock(&s->m->lock);
	if (last)
		sandbox_free(s);
}

void manager_unlink(struct sandbox *s)
{
	*slot_of(s->m, s->record.id) = s->chain;
	pthread_cond_broadcast(&s->m->change);
}

void manager_link(struct sandbox *s)
{
	*slot_of(s->m, s->record.id) = s;
}

void manager_condemn(struct sandbox *s, const char *reason)
{
	s->due_ms = 0;
	if (s->record.state != RECORD_KILLED) {
		s->record.state = RECORD_KILLED;
		s->record.killed_us = clock_wall_us();
		/* A paused one had no end before it. */
		if (!s->record.end_us)
			s->record.end_us = s->record.killed_us;
		snprintf(s->record.reason, sizeof(s->record.reason), "%s", reason);
		s->m->alive--;
		s->m->ended++;
		/* Who waits to pause or resume it need not. */
		pthread_cond_broadcast(&s->m->change);
	}
	pthread_cond_signal(&s->m->wake);
}

struct gatectl_attach manager_attachment(const struct sandbox *s, const struct network_spec *network)
{
	return (struct gatectl_attach){
		.sandbox = s->record.id,
		.addr4 = s->addr4,
		.addr6 = s->addr6,
		.policy_fd = network->policy_fd,
		.limits = limits_spec_over(&network->limits, &s->m->config.limits),
	};
}

int manager_gate_attach(struct sandbox *s, unsigned wait_ms, struct dw_err *err)
{
	int r = 0;
	pthread_mutex_lock(&s->gate_lock);
	const uint64_t now = gatectl_instance(s->m->config.gate);
	if (!s->detached && (!now || s->attached_in != now)) {
		struct gatectl_attach a = manager_attachment(s, &s->network);
		a.generation = s->record.generation;
		a.wait_ms = wait_ms;
		r = gatectl_attach(s->m->config.gate, &a, &s->attached_in, err);
		if (r < 0)
			s->attached_in = 0;
	}
	pthread_mutex_unlock(&s->gate_lock);
	return r;
}

int manager_gate_detach(struct sandbox *s, struct dw_err *err)
{
	pthread_mutex_lock(&s->gate_lock);
	s->detached = true;
	int r = gatectl_detach(s->m->config.gate, s->record.id, err);
	pthread_mutex_unlock(&s->gate_lock);
	return r;
}

/* Says that its end did not work out, and lets the reaper try again. */
static int take_apart_failed(struct sandbox *s, struct dw_err *err)
{
	struct manager *m = s->m;
	log_event(LOG_LEVEL_ERROR, "sandbox not destroyed", "id", s->record.id, "error", err->message, NULL);
	pthread_mutex_lock(&m->lock);
	s->dying = false;
	s->due_ms = clock_mono_ms() + 5000;
	pthread_cond_broadcast(&m->change);
	pthread_mutex_unlock(&m->lock);
	manager_unref(s);
	return -1;
}

int manager_take_apart(struct sandbox *s, struct dw_err *err)
{
	struct manager *m = s->m;
	struct dw_err later = { 0 };
	if (dw_runtime_destroy(m->config.runtime, s->slot, err) < 0)
		return take_apart_failed(s, err);
	/* It has no process left, so a policy that stays a moment longer lets nobody through. */
	if (manager_gate_detach(s, &later) < 0)
		log_event(LOG_LEVEL_WARN, "policy not detached", "id", s->record.id, "error", later.message, NULL);
	/* The gate's answer stood behind its last event. */
	store_log_end(m->config.store, s->record.id);
	/* dying: nobody else changes the record. */
	if (store_sandbox_kill(m->config.store, &s->record, &later) < 0)
		log_event(LOG_LEVEL_ERROR, "end of sandbox not stored", "id", s->record.id, "error", later.message,
			  NULL);
	log_event(LOG_LEVEL_INFO, "sandbox killed", "id", s->record.id, "reason", s->record.reason, NULL);
	bool last;
	pthread_mutex_lock(&m->lock);
	s->dying = false;
	manager_unlink(s);
	manager_unref_locked(s, &last); /* the table's; the caller's is still there */
	pthread_mutex_unlock(&m->lock);
	manager_unref(s);
	return 0;
}

/* What the store knows of one that is not alive. 0 and *ret, or -1: NOT_FOUND, INTERNAL. */
static int info_from_store(struct manager *m, const char *id, struct record *ret, struct dw_err *err)
{
	int r = store_sandbox_get(m->config.store, id, ret, err);
	if (r == 0)
		return not_found(err);
	/* Whatever its row says (its last update may have failed): it is not in the table, so it does not run. */
	if (r > 0)
		ret->state = RECORD_KILLED;
	return r < 0 ? -1 : 0;
}

/* NOT_FOUND or GONE for one that is not alive. Returns -1. */
static int refuse_dead(struct manager *m, const char *id, struct dw_err *err)
{
	auto_record struct record r = { 0 };
	if (info_from_store(m, id, &r, err) < 0)
		return -1;
	return dw_err_set(err, DW_ERR_GONE, "sandbox_killed", "the sandbox was killed (%s)", r.reason);
}

/* The entry with a reference, when it is visible (alive_only: and alive), else NULL. */
static struct sandbox *lookup(struct manager *m, const char *id, bool alive_only)
{
	pthread_mutex_lock(&m->lock);
	struct sandbox *s = manager_find(m, id);
	if (s && (s->making || (alive_only && s->record.state == RECORD_KILLED)))
		s = NULL;
	if (s)
		s->refs++;
	pthread_mutex_unlock(&m->lock);
	return s;
}

int manager_info(struct manager *m, const char *id, struct record *ret, struct dw_err *err)
{
	struct sandbox *s = lookup(m, id, false);
	if (!s)
		return info_from_store(m, id, ret, err);
	pthread_mutex_lock(&m->lock);
	record_copy(ret, &s->record);
	pthread_mutex_unlock(&m->lock);
	manager_unref(s);
	return 0;
}

int manager_check_owner(struct manager *m, const char *id, const char *owner, struct dw_err *err)
{
	char whose[DAEMON_OWNER_MAX + 1] = "";
	struct sandbox *s = lookup(m, id, false);
	if (s) {
		/* Nothing changes it. */
		snprintf(whose, sizeof(whose), "%s", s->record.owner);
		manager_unref(s);
	} else if (store_sandbox_owner(m->config.store, id, whose, err) < 0) {
		return -1;
	}
	return *whose && strcmp(whose, owner) == 0 ? 0 : not_found(err);
}

/* To kill one that has ended is fine; NOT_FOUND when there never was one. */
static int kill_ended(struct manager *m, const char *id, struct dw_err *err)
{
	auto_record struct record dead = { 0 };
	return info_from_store(m, id, &dead, err);
}

int manager_kill_final(struct manager *m, const char *id, const char *reason, struct record *ret, struct dw_err *err)
{
	struct sandbox *s = lookup(m, id, false);
	if (!s)
		return info_from_store(m, id, ret, err);
	pthread_mutex_lock(&m->lock);
	/* Whoever takes it apart already does it for this caller too. */
	while (s->dying)
		pthread_cond_wait(&m->change, &m->lock);
	bool mine = manager_find(m, id) == s;
	if (mine) {
		manager_condemn(s, reason);
		s->dying = true;
		s->refs++; /* for the look at what it was */
	}
	pthread_mutex_unlock(&m->lock);
	const int r = mine ? manager_take_apart(s, err) : 0;
	/* It is detached, so no change of its policy is under way, and it has left the table, so there will be none. */
	if (r == 0)
		record_copy(ret, &s->record);
	manager_unref(s);
	return r;
}

int manager_kill(struct manager *m, const char *id, const char *reason, struct dw_err *err)
{
	auto_record struct record final = { 0 };
	return manager_kill_final(m, id, reason, &final, err);
}

int manager_kill_async(struct manager *m, const char *id, const char *reason, struct dw_err *err)
{
	struct sandbox *s = lookup(m, id, false);
	if (!s)
		return kill_ended(m, id, err);
	pthread_mutex_lock(&m->lock);
	manager_condemn(s, reason);
	pthread_mutex_unlock(&m->lock);
	manager_unref(s);
	return 0;
}

int manager_set_timeout(struct manager *m, const char *id, uint32_t timeout_s, bool extend_only, struct dw_err *err)
{
	struct sandbox *s;
	if (manager_reach(m, id, &s, err) < 0)
		return -1;
	const int64_t due = clock_mono_ms() + (int64_t)timeout_s * 1000;
	int r = 0;
	pthread_mutex_lock(&m->lock);
	if (s->record.state == RECORD_KILLED) {
		r = dw_err_set(err, DW_ERR_GONE, "sandbox_killed", "the sandbox was killed (%s)", s->record.reason);
	} else if (s->record.state == RECORD_PAUSED || s->freeze_until_ms) {
		/* No time passes for it, or its time is up and it is just being paused. */
		if (!extend_only || timeout_s > s->record.timeout_s)
			s->record.timeout_s = timeout_s;
	} else if (!extend_only || due > s->due_ms) {
		s->due_ms = due;
		s->record.timeout_s = timeout_s;
		s->record.end_us = clock_wall_us() + (int64_t)timeout_s * 1000000;
		pthread_cond_signal(&m->wake);
	}
	pthread_mutex_unlock(&m->lock);
	manager_unref(s);
	return r;
}

int manager_look(struct manager *m, const char *id, struct sandbox **ret, struct dw_err *err)
{
	struct sandbox *s = lookup(m, id, true);
	if (!s)
		return refuse_dead(m, id, err);
	*ret = s;
	return 0;
}

static int refuse_build(const struct sandbox *s, struct dw_err *err)
{
	if (!s->of_build)
		return 0;
	return dw_err_set(
		err, DW_ERR_CONFLICT, "build_sandbox",
		"the sandbox belongs to build %s, and only the server works in it; its network and its log can "
		"be read, and deleting it ends the build",
		s->record.name);
}

int manager_reach(struct manager *m, const char *id, struct sandbox **ret, struct dw_err *err)
{
	struct sandbox *s;
	if (manager_look(m, id, &s, err) < 0)
		return -1;
	if (refuse_build(s, err) < 0) {
		manager_unref(s);
		return -1;
	}
	*ret = s;
	return 0;
}

/* Takes the caller's reference, and gives it back as *ret. */
static int enter(struct sandbox *s, struct sandbox **ret, struct dw_err *err)
{
	struct manager *m = s->m;
	pthread_mutex_lock(&m->lock);
	const int awake = manager_awake_locked(s, err);
	bool room = s->ops < DAEMON_OPS_PER_SANDBOX;
	if (awake == 0 && room)
		s->ops++;
	pthread_mutex_unlock(&m->lock);
	if (awake < 0 || !room) {
		manager_unref(s);
		return awake < 0 ? -1
				 : dw_err_set(err, DW_ERR_LIMIT, "too_many_operations",
					      "more than %u operations at one time in this sandbox",
					      DAEMON_OPS_PER_SANDBOX);
	}
	*ret = s;
	return 0;
}

int manager_enter(struct manager *m, const char *id, struct sandbox **ret, struct dw_err *err)
{
	struct sandbox *s;
	return manager_reach(m, id, &s, err) < 0 ? -1 : enter(s, ret, err);
}

int manager_enter_build(struct manager *m, const char *id, struct sandbox **ret, struct dw_err *err)
{
	struct sandbox *s;
	return manager_look(m, id, &s, err) < 0 ? -1 : enter(s, ret, err);
}

void manager_leave(struct sandbox *s)
{
	pthread_mutex_lock(&s->m->lock);
	s->ops--;
	pthread_mutex_unlock(&s->m->lock);
	manager_unref(s);
}

bool manager_observes(struct manager *m, const char *id)
{
	pthread_mutex_lock(&m->lock);
	const struct sandbox *s = manager_find(m, id);
	const bool observes = s && s->network.observe;
	pthread_mutex_unlock(&m->lock);
	return observes;
}

void sandbox_hold(struct sandbox *s)
{
	pthread_mutex_lock(&s->m->lock);
	s->refs++;
	pthread_mutex_unlock(&s->m->lock);
}

void sandbox_release(struct sandbox *s)
{
	manager_unref(s);
}

enum record_state sandbox_state(struct sandbox *s)
{
	pthread_mutex_lock(&s->m->lock);
	const enum record_state state = s->record.state;
	pthread_mutex_unlock(&s->m->lock);
	return state;
}

int sandbox_agent_fd(const struct sandbox *s)
{
	return s->agent_fd;
}

atomic_uint *sandbox_ports(struct sandbox *s)
{
	return &s->ports;
}

atomic_size_t *sandbox_output_share(struct sandbox *s)
{
	return &s->output_held;
}

json_t *sandbox_envs(struct sandbox *s)
{
	/* Under the lock, because a new policy replaces the whole doc. */
	pthread_mutex_lock(&s->m->lock);
	json_t *copy = json_deep_copy(s->record.doc->envs);
	pthread_mutex_unlock(&s->m->lock);
	return copy;
}

int sandbox_lost(struct sandbox *s, struct dw_err *err)
{
	char reason[sizeof(s->record.reason)] = "";
	pthread_mutex_lock(&s->m->lock);
	const bool killed = s->record.state == RECORD_KILLED;
	const bool paused =
		s->record.state == RECORD_PAUSED || s->pausing == PAUSING_FREEZE || s->pausing == PAUSING_SNAPSHOT;
	if (killed)
		snprintf(reason, sizeof(reason), "%s", s->record.reason);
	pthread_mutex_unlock(&s->m->lock);
	if (killed)
		return dw_err_set(err, DW_ERR_GONE, "sandbox_killed", "the sandbox was killed (%s)", reason);
	if (paused)
		return dw_err_set(err, DW_ERR_CONFLICT, "sandbox_paused",
				  "the sandbox was paused, and the operation did not end in its time");
	return dw_err_set(err, DW_ERR_GONE, "sandbox_gone", "the sandbox gave no answer to the operation");
}

void manager_gate_restarted(struct manager *m)
{
	size_t n = 0, cap = 0;
	struct sandbox **all = NULL;
	pthread_mutex_lock(&m->lock);
	for (size_t b = 0; b < MANAGER_BUCKETS; b++)
		for (struct sandbox *s = m->bucket[b]; s; s = s->chain)
			cap++;
	all = calloc(cap + 1, sizeof(struct sandbox *));
	for (size_t b = 0; b < MANAGER_BUCKETS && all; b++)
		for (struct sandbox *s = m->bucket[b]; s; s = s->chain) {
			s->refs++;
			all[n++] = s;
		}
	pthread_mutex_unlock(&m->lock);
	size_t attached = 0;
	bool alive = true;
	for (size_t i = 0; i < n; i++) {
		struct dw_err err = { 0 };
		/* When this gate has ended too, its successor gets them all. */
		alive = alive && gatectl_is_up(m->config.gate);
		if (alive && manager_gate_attach(all[i], 0, &err) == 0)
			attached++;
		else if (alive)
			log_event(LOG_LEVEL_ERROR, "policy not attached again: nothing leaves the sandbox", "id",
				  all[i]->record.id, "error", err.message, NULL);
		manager_unref(all[i]);
	}
	free(all);
	log_event(LOG_LEVEL_INFO, "policies attached again", "count", LOG_NUM(attached), "of", LOG_NUM(n), NULL);
}

void manager_kill_all(struct manager *m, const char *reason)
{
	manager_threads_stop(m);
	pthread_mutex_lock(&m->lock);
	for (size_t b = 0; b < MANAGER_BUCKETS; b++)
		for (struct sandbox *s = m->bucket[b]; s; s = s->chain)
			if (!s->making)
				manager_condemn(s, reason);
	pthread_mutex_unlock(&m->lock);
	int n;
	struct dw_err err = { 0 };
	/* In one statement; what it does not reach is marked at the next start. */
	if (store_kill_leftovers(m->config.store, reason, clock_wall_us(), &n, &err) < 0)
		log_event(LOG_LEVEL_ERROR, "end of sandboxes not stored", "error", err.message, NULL);
}

int manager_new(const struct manager_config *config, struct manager **ret, struct dw_err *err)
{
	struct manager *m = calloc(1, sizeof(*m));
	if (!m)
		return dw_err_errno(err, ENOMEM, "starting");
	m->config = *config;
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->wake, &attr);
	pthread_cond_init(&m->change, NULL);
	pthread_condattr_destroy(&attr);
	m->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (m->stop_fd < 0 || manager_threads_start(m, err) < 0) {
		if (m->stop_fd < 0)
			dw_err_errno(err, errno, "starting");
		manager_free(m);
		return -1;
	}
	*ret = m;
	return 0;
}

void manager_free(struct manager *m)
{
	if (!m)
		return;
	manager_threads_stop(m);
	for (size_t b = 0; b < MANAGER_BUCKETS; b++)
		while (m->bucket[b]) {
			struct sandbox *s = m->bucket[b];
			m->bucket[b] = s->chain;
			sandbox_free(s);
		}
	if (m->stop_fd >= 0)
		close(m->stop_fd);
	free(m);
}
