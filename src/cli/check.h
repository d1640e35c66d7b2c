/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of a target, decided step by step by the functions that the gate decides with, in the gate's order:
 *
 *   query   may the name be looked up            dw_decide_query
 *   answer  is an address passed on, and pinned  dw_decide_answer, dw_pins_add
 *   flow    may a flow to the address start      dw_decide_flow
 *   name    may it go on with what it shows      dw_decide_name, dw_pins_find
 *
 * Each result goes through dw_decide_observed. A policy has no other part in a flow. What is not played here is what depends on more
 * than the policy: limits, whether the far side answers, names that move, bytes that can be read in two ways.
 */
#pragma once

#include "cli/target.h"
#include "policy/pins.h"

#define CHECK_ANSWERS_MAX 64u /* addresses of one lookup; more than a DNS answer of the gate carries */

enum check_step_kind {
	CHECK_QUERY = 0,
	CHECK_ANSWER,
	CHECK_FLOW,
	CHECK_NAME,
	CHECK__COUNT,
};

struct check_step {
	enum check_step_kind kind;
	struct dw_addr addr; /* ANSWER, FLOW */
	struct dw_decision d;
};

/* A lookup that the sandbox has made before. */
struct check_lookup {
	char name[DW_HOST_SIZE];
	struct dw_addr addr[CHECK_ANSWERS_MAX];
	size_t addr_n;
	struct dw_decision query;
	struct dw_decision answer[CHECK_ANSWERS_MAX];
};

struct check {
	const struct dw_policy *policy;
	struct dw_floor floor;
	struct check_lookup *lookup;
	size_t lookup_n;
	struct dw_pins *pins;
};

/* What the answer leaves open. */
enum check_note {
	CHECK_NOTE_NONE = 0,
	CHECK_NOTE_NO_ADDRESS, /* no lookup was played: the name's addresses were not judged */
	CHECK_NOTE_MUST_PROVE, /* the flow has to prove its name as it starts */
	CHECK_NOTE__COUNT,
};

struct check_row {
	const struct target *target;
	struct dw_addr addr; /* of the flow, where the target does not name it */
	struct dw_decision d;
	enum check_note note;
	struct check_step step[CHECK_ANSWERS_MAX + 3];
	size_t step_n;
};

/* Makes the lookups, as if the sandbox had just started: fills query, answer and pins. -1 with err: memory. */
int DW_MUST_USE check_play_lookups(struct check *c, struct dw_err *err);

/* How many results a target has: one for each address of a lookup of its name, else one. */
size_t check_rows(const struct check *c, const struct target *t);
void check_row(const struct check *c, const struct target *t, size_t i, struct check_row *ret);
