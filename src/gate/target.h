/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which address is dialled for the one that the sandbox chose; the same for TCP and UDP.
 *
 * An address that an address rule allows is dialled as it is. An address that is allowed because a name was resolved to it
 * stands for that name: while one of its pins is fresh it is dialled; after that its names are asked again, and what is
 * dialled is the very address the sandbox chose if a name still has it, else another address the name has now. An
 * address that its name has given up is never dialled.
 */
#pragma once

#include "gate/gate.h"

#define TARGET_NAMES_MAX   4u /* pinned names asked again for one flow */
#define TARGET_DEADLINE_MS (TARGET_NAMES_MAX * GATE_DNS_TIMEOUT_MS)

enum target_status {
	TARGET_FAILED = 0, /* why says why */
	TARGET_READY,      /* dial and name are set */
	TARGET_ASKING,     /* done is called, once, with one of the others; never inside the call that gave this */
};

struct target {
	/* Set by the owner before target_find(). */
	struct gate *g;
	const struct gate_sandbox *sandbox;
	enum dw_proto proto;
	struct dw_addr dst; /* as the sandbox chose it */
	uint16_t port;
	void (*done)(void *arg, enum target_status status);
	void *arg;

	struct dw_addr dial;
	const char *name; /* whose address `dial` is, owned by the pins; NULL: the address stands for itself */
	enum dw_reason why;

	const char *ask[TARGET_NAMES_MAX]; /* names to ask, owned by the pins */
	uint8_t ask_n, ask_i;
	bool answered;          /* at least one of them had an answer */
	const char *spare_name; /* has `spare`, should no name have the chosen address any more */
	struct dw_addr spare;
	struct gate_resolve *resolve;
};

/* verdict: what the policy says of the flow now; not DENY. May be called again: a question that is out is given up. */
enum target_status target_find(struct target *t, enum dw_verdict verdict);
/* done will not be called any more. Harmless when nothing is asked. */
void target_cancel(struct target *t);
/* The name that a refusal is about; NULL for none. */
const char *target_name(const struct target *t);

/* Whether an address of a name that allows the flow may be dialled for it. */
bool target_may_dial(const struct target *t, const struct dw_addr *a);

/* Of a target that was READY. */
/*
 * Whether the floor or the policy, which says d of the flow now, took away the address that is dialled in place of the chosen one. It was
 * reached by one name: neither another name of the chosen address nor an entry for that address speaks for it.
 */
bool target_gone(const struct target *t, const struct dw_decision *d);
/* Whether a name that the flow has proven is not the one whose address is dialled in place of the chosen one. */
bool target_misdialled(const struct target *t, const char *name);

/* The floor once more, right before an address is dialled. NONE, or why not. */
enum dw_reason target_check(struct gate *g, const struct dw_addr *a);
