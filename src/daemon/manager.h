/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sandboxes that are alive, and the way to those that were.
 *
 * Life of an entry: making (in the table for the gate's sake, invisible to clients) -> running <-> paused -> killed (still in the table while
 * it is taken apart) -> out of the table, readable from the store. A kill marks the entry first, so that nothing new starts in
 * it, then ends its processes, then its policy. One reaper thread does what is due: time-outs, ends by themselves, queued
 * kills; a kill that was asked for and waited for runs in the caller's thread.
 */
#pragma once

#include <stdatomic.h>

#include "daemon/create_spec.h"
#include "daemon/gatectl.h"
#include "daemon/metrics.h"
#include "daemon/store.h"
#include "runtime/runtime.h"

struct manager;
struct procs;
struct sandbox; /* one alive; reference counted */

struct manager_config {
	struct dw_runtime *runtime;
	struct gatectl *gate;
	struct store *store;
	struct procs *procs;               /* for what a template runs at the start */
	const char *data_dir;              /* with the templates */
	uint32_t template_mb;              /* of a sandbox of one of these: template_mb_max */
	struct dw_limits limits;           /* where a network has none of its own; 0: the gate's default */
	int stop_fd;                       /* readable when the daemon stops */
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
/* Whether it, alive or not, is owner's. NOT_FOUND, as for an unknown one, when not: who may not see it can not tell the two apart. */
int DW_MUST_USE manager_check_owner(struct manager *m, const char *id, const char *owner, struct dw_err *err);
/* Returns when no process of it runs any more; fine when it was killed before. */
int DW_MUST_USE manager_kill(struct manager *m, const char *id, const char *reason, struct dw_err *err);
/* And *ret: what it was at its end, to be dropped. No change that was answered is missing in it. */
int DW_MUST_USE manager_kill_final(struct manager *m, const char *id, const char *reason, struct record *ret,
				   struct dw_err *err);
/* Killed for clients at once, taken apart soon. */
int DW_MUST_USE manager_kill_async(struct manager *m, const char *id, const char *reason, struct dw_err *err);
/*
 * Returns when nothing inside runs any more; its memory stays, and its time stands still. NOT_FOUND, GONE, CONFLICT "not_pausable": it is
 * paused already, or something in it can not be halted.
 */
int DW_MUST_USE manager_pause(struct manager *m, const char *id, struct dw_err *err);
/* It goes on, for its time-out from now. NOT_FOUND, GONE, CONFLICT "not_paused". */
int DW_MUST_USE manager_resume(struct manager *m, const char *id, struct dw_err *err);
struct snapshots;
struct snapshot_row;
/*
 * Its files as they are at one moment, kept. It stands still meanwhile, paused or not, and is as it was afterwards. *ret is to be dropped. NOT_FOUND,
 * GONE, CONFLICT "not_pausable", LIMIT, TOO_LARGE, UNPROCESSABLE: what can not be kept.
 */
int DW_MUST_USE manager_snapshot(struct manager *m, struct snapshots *in, const char *id, struct snapshot_row *ret,
				 struct dw_err *err);
/* Nobody else restores it until manager_release. CONFLICT "restore_in_progress", LIMIT. */
int DW_MUST_USE manager_claim(struct manager *m, const char *id, struct dw_err *err);
void manager_release(struct manager *m, const char *id);
/* As manager_create, under the id in spec's record, whose sandbox was killed, and with its generation. The caller has claimed it. */
int DW_MUST_USE manager_recreate(struct manager *m, struct create_spec *spec, struct record *ret, struct dw_err *err);

/* The end becomes now + timeout_s; extend_only: unless that would be sooner. A paused one has it when it goes on. NOT_FOUND, GONE. */
int DW_MUST_USE manager_set_timeout(struct manager *m, const char *id, uint32_t timeout_s, bool extend_only,
				    struct dw_err *err);

/* Its last hour, oldest first, and a sample of this moment: *ret is malloc'ed, *ret_n at least 1. NOT_FOUND, GONE. */
int DW_MUST_USE manager_metrics(struct manager *m, const char *id, struct metrics_sample **ret, size_t *ret_n,
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

/* For an operation in a sandbox: NOT_FOUND, GONE, LIMIT, CONFLICT "sandbox_paused", unless its lifecycle says that this wakes it. Each enter needs its leave. */
int DW_MUST_USE manager_enter(struct manager *m, const char *id, struct sandbox **ret, struct dw_err *err);
/* The same for the server itself, in a sandbox that it builds a template in: nobody else enters one (CONFLICT "build_sandbox"). */
int DW_MUST_USE manager_enter_build(struct manager *m, const char *id, struct sandbox **ret, struct dw_err *err);
void manager_leave(struct sandbox *s);
/* Valid between enter and leave. */
int sandbox_agent_fd(const struct sandbox *s);
/* For what outlives the operation that began it: a reference to one that the caller has entered, and its end. It counts as no operation. */
void sandbox_hold(struct sandbox *s);
void sandbox_release(struct sandbox *s);
enum record_state sandbox_state(struct sandbox *s);
/* A copy, owned by the caller; NULL when memory is out. */
json_t *sandbox_envs(struct sandbox *s);
/* Open connections to its ports. The caller has entered or holds it. */
atomic_uint *sandbox_ports(struct sandbox *s);
/* Bytes of output that results of its commands hold. The caller has entered or holds it. */
atomic_size_t *sandbox_output_share(struct sandbox *s);
/* GONE: "sandbox_killed", or "sandbox_gone" when nobody killed it but no answer came; CONFLICT "sandbox_paused". Returns -1. */
int sandbox_lost(struct sandbox *s, struct dw_err *err);

/* Calls visit for each that is alive, running or paused, oldest first. r is borrowed for the call. */
int DW_MUST_USE manager_alive_each(struct manager *m, void (*visit)(void *arg, const struct record *r), void *arg,
				   struct dw_err *err);
unsigned manager_alive_count(struct manager *m);

struct manager_counts {
	unsigned running, paused;
	uint64_t created, ended; /* since the start */
};
void manager_counts(struct manager *m, struct manager_counts *ret);

/* The gate has started again: attach the policies of all that are alive. */
void manager_gate_restarted(struct manager *m);
