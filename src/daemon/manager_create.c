/* SPDX-License-Identifier: Apache-2.0 */
/* Making a sandbox: each step has its undo, and clients see it only when every step is done. */
#include "daemon/manager_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/template_find.h"
#include "daemon/test_fail.h"

/* Takes the record and the policy from spec. */
static struct sandbox *entry_new(struct manager *m, struct create_spec *spec)
{
	struct sandbox *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->m = m;
	s->refs = 1;
	s->making = true;
	s->agent_fd = -1;
	pthread_mutex_init(&s->gate_lock, NULL);
	s->record = spec->record;
	if (!s->record.generation)
		s->record.generation = 1;
	s->pause_on_timeout = spec->pause_on_timeout;
	s->auto_resume = spec->auto_resume;
	s->of_build = spec->builder;
	spec->record = (struct record){ 0 };
	s->network = spec->network;
	spec->network.policy_fd = -1;
	return s;
}

/* A documented status of its own: clients tell an unknown template from a malformed request. */
static int template_error(struct dw_err *err)
{
	if (strcmp(err->code, "unknown_template") == 0)
		err->kind = DW_ERR_NOT_FOUND;
	return -1;
}

static int make(struct sandbox *s, const struct create_spec *from, struct dw_err *err)
{
	const struct dw_sandbox_spec spec = {
		.template_name = s->record.template_name,
		.root_fd = from->root_fd,
		.layer_fd = from->layer_fd,
		.attach = from->attach,
		.attach_n = from->attach_n,
		.hostname = s->record.id,
		/* The disk is a tmpfs and counts as memory: without its share a full disk would be an OOM kill, never ENOSPC. */
		.memory_mb = s->record.memory_mb + from->disk_mb,
		.pids_max = from->pids,
		.cpu_percent = 100 * s->record.vcpus,
		.disk_mb = from->disk_mb,
		.builder = from->builder,
	};
	struct dw_sandbox_handle h;
	if (dw_runtime_create(s->m->config.runtime, &spec, &h, err) < 0)
		return template_error(err);
	s->slot = h.slot;
	s->agent_fd = h.agent_fd;
	s->addr4 = h.addr4;
	s->addr6 = h.addr6;
	dw_addr_format(&h.addr4, s->record.guest_ip);
	return 0;
}

static void enter_table(struct sandbox *s)
{
	struct manager *m = s->m;
	pthread_mutex_lock(&m->lock);
	for (unsigned i = 0; i < MANAGER_EXITS; i++) {
		if (m->exits[i] == s->slot) {
			s->exited = true;
			m->exits[i] = 0;
		}
	}
	manager_link(s);
	pthread_mutex_unlock(&m->lock);
}

/* An id that no entry has; those in the store are too few to be met by chance, and the store would refuse one. */
static void pick_id(struct sandbox *s)
{
	struct manager *m = s->m;
	bool taken;
	do {
		char token[RECORD_ID_RANDOM + 1];
		random_token(token, RECORD_ID_RANDOM);
		snprintf(s->record.id, sizeof(s->record.id), RECORD_ID_PREFIX "%s", token);
		pthread_mutex_lock(&m->lock);
		taken = manager_find(m, s->record.id) != NULL;
		pthread_mutex_unlock(&m->lock);
	} while (taken);
}

/* Visible from here on. -1 when it has ended meanwhile, or the daemon is stopping. */
static int publish(struct sandbox *s, struct record *ret, struct dw_err *err)
{
	struct manager *m = s->m;
	int r = 0;
	pthread_mutex_lock(&m->lock);
	if (m->stop) {
		r = dw_err_set(err, DW_ERR_UNAVAILABLE, "stopping", "the server is stopping");
	} else if (s->exited) {
		r = dw_err_set(err, DW_ERR_INTERNAL, "internal", "the sandbox ended as it started");
	} else {
		s->making = false;
		metrics_begin(&s->metrics, clock_mono_ms());
		s->due_ms = clock_mono_ms() + (int64_t)s->record.timeout_s * 1000;
		m->alive++;
		m->created++;
		record_copy(ret, &s->record);
		pthread_cond_signal(&m->wake);
	}
	pthread_mutex_unlock(&m->lock);
	return r;
}

/* Its row, new or (again) that of the one that had its id. */
static int store_it(struct sandbox *s, bool again, struct dw_err *err)
{
	struct store *store = s->m->config.store;
	if (test_fails(again ? "daemon.restore_store" : "daemon.store", err) < 0)
		return -1;
	return again ? store_sandbox_restore(store, &s->record, err) : store_sandbox_insert(store, &s->record, err);
}

static void unstore(struct sandbox *s, bool again)
{
	struct store *store = s->m->config.store;
	struct dw_err err = { 0 };
	if (!again) {
		store_sandbox_remove(store, s->record.id);
		return;
	}
	s->record.state = RECORD_KILLED;
	s->record.killed_us = clock_wall_us();
	snprintf(s->record.reason, sizeof(s->record.reason), "restore");
	if (store_sandbox_kill(store, &s->record, &err) < 0)
		log_event(LOG_LEVEL_ERROR, "end of sandbox not stored", "id", s->record.id, "error", err.message, NULL);
}

/* The steps after the sandbox exists. Each may fail; undo() covers them all. */
static int connect_and_store(struct sandbox *s, bool again, struct record *ret, struct dw_err *err)
{
	if (test_fails(again ? "daemon.restore_attach" : "daemon.attach", err) < 0 ||
	    manager_gate_attach(s, DAEMON_GATE_WAIT_MS, err) < 0)
		return -1;
	if (store_it(s, again, err) < 0)
		return -1;
	if (test_fails(again ? "daemon.restore_publish" : "daemon.publish", err) < 0 || publish(s, ret, err) < 0) {
		unstore(s, again);
		return -1;
	}
	return 0;
}

static void undo(struct sandbox *s)
{
	struct manager *m = s->m;
	struct dw_err err = { 0 };
	if (manager_gate_detach(s, &err) < 0)
		log_event(LOG_LEVEL_WARN, "policy not detached", "id", s->record.id, "error", err.message, NULL);
	if (dw_runtime_destroy(m->config.runtime, s->slot, &err) < 0)
		log_event(LOG_LEVEL_ERROR, "sandbox not destroyed", "id", s->record.id, "error", err.message, NULL);
	pthread_mutex_lock(&m->lock);
	manager_unlink(s);
	pthread_mutex_unlock(&m->lock);
	manager_unref(s);
}

/* What its template runs at the start. One that can not is no sandbox of that template. */
static int run_start(struct manager *m, const struct create_spec *spec, const char *id, struct dw_err *err)
{
	struct dw_err ignored = { 0 };
	if (!spec->start_cmd ||
	    template_start(m->config.procs, m, m->config.stop_fd, id, spec->start_cmd, spec->ready_check, err) == 0)
		return 0;
	DW_IGNORE(manager_kill(m, id, "start command failed", &ignored)); /* its time-out does */
	return -1;
}

static int create(struct manager *m, struct create_spec *spec, bool again, struct record *ret, struct dw_err *err)
{
	if (template_find(m->config.store, m->config.data_dir, m->config.template_mb, spec, err) < 0)
		return -1;
	if (spec->root_fd < 0 && dw_runtime_template_check(m->config.runtime, spec->record.template_name, err) < 0)
		return template_error(err);
	struct sandbox *s = entry_new(m, spec);
	if (!s)
		return dw_err_errno(err, ENOMEM, "making a sandbox");
	if (!again)
		pick_id(s);
	if (make(s, spec, err) < 0) {
		manager_unref(s);
		return -1;
	}
	s->record.state = RECORD_RUNNING;
	s->record.started_us = clock_wall_us();
	s->record.end_us = s->record.started_us + (int64_t)s->record.timeout_s * 1000000;
	enter_table(s);
	if (connect_and_store(s, again, ret, err) < 0) {
		undo(s);
		return -1;
	}
	log_event(LOG_LEVEL_INFO, again ? "sandbox restored" : "sandbox created", "id", ret->id, "template",
		  ret->template_name, "ip", ret->guest_ip, NULL);
	if (run_start(m, spec, ret->id, err) == 0)
		return 0;
	record_done(ret);
	return -1;
}

int manager_create(struct manager *m, struct create_spec *spec, struct record *ret, struct dw_err *err)
{
	return create(m, spec, false, ret, err);
}

int manager_recreate(struct manager *m, struct create_spec *spec, struct record *ret, struct dw_err *err)
{
	return create(m, spec, true, ret, err);
}
