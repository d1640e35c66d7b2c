/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/target.h"

#include <string.h>

#include "wire/dns.h"

static enum target_status ask_next(struct target *t);

static enum target_status ready(struct target *t, const struct dw_addr *a, const char *name)
{
	t->dial = *a;
	t->name = name;
	return TARGET_READY;
}

/* The pinned names that make this flow allowed; true when one of them is fresh (then *ret_fresh is one). */
static bool collect_names(struct target *t, const char **ret_fresh)
{
	const struct gate_sandbox *s = t->sandbox;
	const uint64_t now = t->g->loop.now_ms;
	struct dw_pin pin;
	uint32_t iter = 0;

	t->ask_n = t->ask_i = 0;
	for (unsigned i = 0; i < DW_PINS_WALK_MAX && dw_pins_next(s->pins, &t->dst, &iter, &pin); i++) {
		if (dw_decide_name(s->policy, pin.name, t->port).verdict == DW_DENY)
			continue;
		if (now < pin.expires_ms) {
			*ret_fresh = pin.name;
			return true;
		}
		if (t->ask_n < TARGET_NAMES_MAX)
			t->ask[t->ask_n++] = pin.name;
	}
	return false;
}

enum target_status target_find(struct target *t, enum dw_verdict verdict)
{
	const char *fresh = NULL;

	target_cancel(t);
	t->ask_n = t->ask_i = 0;
	t->answered = false;
	t->name = t->spare_name = NULL;
	if (verdict != DW_ALLOW_BY_NAME)
		return ready(t, &t->dst, NULL);
	if (collect_names(t, &fresh))
		return ready(t, &t->dst, fresh);
	return ask_next(t);
}

void target_cancel(struct target *t)
{
	if (t->resolve)
		gate_resolve_cancel(t->resolve);
	t->resolve = NULL;
}

const char *target_name(const struct target *t)
{
	return t->name ? t->name : t->ask_n ? t->ask[0] : NULL;
}

/*
 * A name's address on the flow's port. A private one may be in an answer because an address entry opens some port of it;
 * that port is all of it that can be dialled, whatever the name may be used for.
 */
bool target_may_dial(const struct target *t, const struct dw_addr *a)
{
	const struct dw_policy *policy = t->sandbox->policy;
	const struct dw_floor *floor = &t->g->floor;

	if (dw_decide_answer(policy, floor, a) != DW_REASON_NONE)
		return false;
	return !dw_floor_is_private(floor, a) ||
	       dw_decide_flow(policy, floor, t->proto, a, t->port, NULL).verdict != DW_DENY;
}

/* Another address than the chosen one. */
static bool stands_in(const struct target *t)
{
	return !dw_addr_eq(&t->dial, &t->dst);
}

bool target_gone(const struct target *t, const struct dw_decision *d)
{
	const struct dw_policy *policy = t->sandbox->policy;

	if (!stands_in(t))
		return false;
	if (dw_policy_observes(policy))
		return !target_may_dial(t, &t->dial);
	return d->verdict != DW_ALLOW_BY_NAME || !t->name ||
	       dw_decide_name(policy, t->name, t->port).verdict == DW_DENY || !target_may_dial(t, &t->dial);
}

bool target_misdialled(const struct target *t, const char *name)
{
	return t->name && strcmp(name, t->name) != 0 && stands_in(t);
}

static void take_answer(struct target *t, const char *name, const struct gate_resolve_result *r, bool *ret_same)
{
	const uint64_t expires = t->g->loop.now_ms + (uint64_t)r->ttl * 1000;

	for (size_t i = 0; i < r->answer->addr_n; i++) {
		const struct dw_addr *a = &r->answer->addr[i];
		if (!target_may_dial(t, a))
			continue;
		if (dw_addr_eq(a, &t->dst)) {
			/* Without the pin's new time the name is asked once more; nothing else is lost. */
			DW_IGNORE(dw_pins_add(t->sandbox->pins, name, a, expires));
			*ret_same = true;
			return;
		}
		if (!t->spare_name) {
			t->spare = *a;
			t->spare_name = name;
		}
	}
}

static void on_resolved(void *arg, const struct gate_resolve_result *r)
{
	struct target *t = arg;
	const char *name = t->ask[t->ask_i++];
	bool same = false;

	t->resolve = NULL;
	if (r->status == GATE_RESOLVE_OK) {
		t->answered = true;
		if (r->answer)
			take_answer(t, name, r, &same);
	}
	enum target_status status = same ? ready(t, &t->dst, name) : ask_next(t);
	if (status != TARGET_ASKING)
		t->done(t->arg, status);
}

static enum target_status ask_next(struct target *t)
{
	const uint16_t qtype = t->dst.family == DW_AF_4 ? DW_DNS_A : DW_DNS_AAAA;

	for (; t->ask_i < t->ask_n; t->ask_i++) {
		t->resolve = gate_resolve_start(t->g, t->ask[t->ask_i], qtype, on_resolved, t);
		if (t->resolve)
			return TARGET_ASKING;
	}
	if (t->spare_name)
		return ready(t, &t->spare, t->spare_name);
	t->why = t->answered ? DW_REASON_NAME_GONE : DW_REASON_RESOLVER_FAILED;
	return TARGET_FAILED;
}

/*
 * The machine's addresses may have changed since the pin was made, or since the flow was judged. And an address can be the
 * machine's own by a route alone, which no list of addresses shows.
 */
enum dw_reason target_check(struct gate *g, const struct dw_addr *a)
{
	struct dw_floor floor = g->floor;
	enum dw_reason below = dw_floor_check(&floor, a);

	if (below != DW_REASON_NONE)
		return below;
	int local = gate_hostaddr_is_local(g, a);
	if (local < 0)
		return DW_REASON_GATE_RESOURCES;
	if (!local)
		return DW_REASON_NONE;
	/* As if it were in the list: the operator may have excepted it. */
	floor.host = a;
	floor.host_n = 1;
	return dw_floor_check(&floor, a);
}
