/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sandboxes that are alive, and the way to those that were.
 *
 * Life of an entry: making (in the table for the gate's sake, invisible to clients) -> running -> killed (still in the table while it is
 * taken apart) -> out of the table, readable from the store. A kill marks the entry first, so that nothing new starts in
 * it, then ends its processes, then its policy. One reaper thread does what is due: time-outs, ends by themselves, queued
 * kills; a kill that was asked for and waited for runs in the caller's thread.
 */
#pragma once

#include <stdatomic.h>

#include "daemon/create_spec.h"
#include "daemon/gatectl.h"
#include "daemon/store.h"
#include "runtime/runtime.h"

struct manager;
struct sandbox; /* one alive; reference counted */

struct manager_config {
	struct dw_runtime *runtime;
	struct gatectl *gate;
	struct store *store;
	struct dw_limits limits;           /* where a network has none of its own; 0: the gate's default */
	void (*on_keeper_lost)(void *arg); /* from a thread: every sandbox is gone, the daemon can not go on */
	void *arg;
};

/* Starts the threads. */
int DW_MUST_USE manager_new(const struct manager_config *config, struct manager **ret, struct dw_err *err);
/* Marks every sandbox killed in the store, with reason; the runtime destroys them when it stops. No create from here on. */
void manager_kill_all(struct manager *m, const char *reason);
/* Ends the threads. Nobody may use a sandbox any more. */
void manager_free(struct manager *m);

/* Makes the sandbox that spec describes; takes from spec. *ret (drop it) as clients see it. On failure nothing of it is left. */
int DW_MUST_USE manager_create(struct manager *m, struct create_spec *spec, struct record *ret, struct dw_err *err);
/* Any that ever was: NOT_FOUND otherwise. */
int DW_MUST_USE manager_info(struct manager *m, const char *id, struct record *ret, struct dw_err *err);
/* Returns when no process of it runs any more; fine when it was killed before. */
int DW_MUST_USE manager_kill(struct manager *m, const char *id, const char *reason, struct dw_err *err);
/* Killed for clients at once, taken apart soon. */
int DW_MUST_USE manager_kill_async(struct manager *m, const char *id, const char *reason, struct dw_err *err);
/* The end becomes now + timeout_s; extend_only: unless that would be sooner. NOT_FOUND, GONE. */
int DW_MUST_USE manager_set_timeout(struct manager *m, const char *id, uint32_t timeout_s, bool extend_only,
				    struct dw_err *err);

/* How a network changes. make runs while no other change of the same sandbox does. */
struct manager_change {
	/*
	 * now: the present network, NULL for none; borrowed, and not to be referenced (record.h). The results become the manager's.
	 * *ret_text: the network as JSON text, malloc'ed; one that is left NULL is written out.
	 */
	int (*make)(void *arg, const json_t *now, json_t **ret_network, char **ret_text, struct network_spec *ret_spec,
		    struct dw_err *err);
	void *arg;
	uint64_t generation; /* only if it is this one now; 0: whichever it is */
};

/* What a change has put in the place of what. */
struct manager_changed {
	char *text; /* the new network as JSON, malloc'ed */
	uint64_t generation;
	struct manager_old *old; /* not NULL */
};
/* arg: a struct manager_old. Takes a while when that was large, and may wait for the disk: for when the client has its answer. */
void manager_old_free(void *arg);

/*
 * Changes its network: in force, and every live flow judged by it, when this returns 0. *ret is set on success only. NOT_FOUND,
 * GONE, UNAVAILABLE, CONFLICT "generation_conflict", what make says; on failure the old policy stays.
 */
int DW_MUST_USE manager_change_network(struct manager *m, const char *id, const struct manager_change *change,
				       struct manager_changed *ret, struct dw_err *err);
/* Whether it is alive and its policy only observes. */
bool manager_observes(struct manager *m, const char *id);

/* For an operation in a running sandbox: NOT_FOUND, GONE, LIMIT. Each enter needs its leave. */
int DW_MUST_USE manager_enter(struct manager *m, const char *id, struct sandbox **ret, struct dw_err *err);
void manager_leave(struct sandbox *s);
/* Valid between enter and leave. */
int sandbox_agent_fd(const struct sandbox *s);
/* A copy, owned by the caller; NULL when memory is out. */
json_t *sandbox_envs(struct sandbox *s);
/* Bytes of output that results of its commands hold. The caller has entered it. */
atomic_size_t *sandbox_output_share(struct sandbox *s);
/* GONE: "sandbox_killed", or "sandbox_gone" when nobody killed it but no answer came. Returns -1. */
int sandbox_lost(struct sandbox *s, struct dw_err *err);

/* Calls visit for each running one, oldest first. r is borrowed for the call. */
int DW_MUST_USE manager_running_each(struct manager *m, void (*visit)(void *arg, const struct record *r), void *arg,
				     struct dw_err *err);
unsigned manager_running_count(struct manager *m);

/* The gate has started again: attach the policies of all that are alive. */
void manager_gate_restarted(struct manager *m);
