/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate from the daemon's side: start it, keep it alive, talk to it (proto/gatep.h).
 *
 * A supervisor thread waits for the gate to end and starts it again: at once, then with a growing pause when it keeps ending. A
 * reader thread per life takes answers (matched by seq) and events. Between two lives nothing leaves any sandbox; calls
 * wait a little for the next life and then fail with UNAVAILABLE "gate_unavailable". Each life has an instance number, so that
 * the owner of policies knows which life has which policy.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/err.h"
#include "daemon/jsonx.h"
#include "daemon/options.h"
#include "policy/limits.h"

struct gatectl;

struct gatectl_config {
	const char *path;              /* of declaw-gate */
	const struct options *options; /* resolvers and private ranges; borrowed for good */
	int gate_netns_fd;             /* borrowed for good */
	int uplink_netns_fd;           /* taken */
	/* From the reader thread. Takes the decision event; bytes is about its size. */
	void (*on_decision)(void *arg, json_t *event, size_t bytes);
	/* From the supervisor, when a life has ended and all its events were given. */
	void (*on_end)(void *arg);
	/* From the supervisor, in a new life: attach again what is alive. */
	void (*on_restart)(void *arg);
	void *arg;
};

/* Starts a gate and waits until it serves. 0, or -1 with err and no process left. */
int DW_MUST_USE gatectl_start(const struct gatectl_config *config, struct gatectl **ret, struct dw_err *err);
/* on_decision and on_restart may run before this call, which starts the supervision; with it they get their arg. */
int DW_MUST_USE gatectl_supervise(struct gatectl *g, void *arg, struct dw_err *err);
/* Ends the gate and the threads. */
void gatectl_stop(struct gatectl *g);

bool gatectl_is_up(struct gatectl *g);
/* Number of the present life; 0 while there is none. */
uint64_t gatectl_instance(struct gatectl *g);

struct gatectl_attach {
	const char *sandbox;
	struct dw_addr addr4, addr6; /* addr6 of no family: it has none */
	uint64_t generation;
	int policy_fd;           /* borrowed for the call */
	struct dw_limits limits; /* 0: the gate's default */
	unsigned wait_ms;        /* for a gate that is just being started again; the supervisor itself must not wait */
};

/* The policy is in force when this returns 0. *ret_instance: in which life. Already attached there counts as done. */
int DW_MUST_USE gatectl_attach(struct gatectl *g, const struct gatectl_attach *a, uint64_t *ret_instance,
			       struct dw_err *err);
/* Replaces the policy of an attached sandbox; in force, and every live flow judged by it, when this returns 0. */
int DW_MUST_USE gatectl_update(struct gatectl *g, const struct gatectl_attach *a, struct dw_err *err);
/* What the gate has of it: *ret is its answer, owned. UNAVAILABLE without a gate; NOT_FOUND when it is not attached. */
int DW_MUST_USE gatectl_query(struct gatectl *g, const char *sandbox, json_t **ret, struct dw_err *err);
/* Not attached, or no gate (then nothing is attached): fine. */
int gatectl_detach(struct gatectl *g, const char *sandbox, struct dw_err *err);
/* Returns when every event that the gate sent before has been given to on_decision. Harmless without a gate. */
void gatectl_barrier(struct gatectl *g);
