/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/check.h"

#include <errno.h>
#include <string.h>

static struct dw_decision refusal(enum dw_reason reason, uint32_t rule)
{
	return (struct dw_decision){ .verdict = DW_DENY, .reason = reason, .rule = rule };
}

static void add_step(struct check_row *r, enum check_step_kind kind, const struct dw_addr *a, struct dw_decision d)
{
	r->step[r->step_n++] = (struct check_step){ .kind = kind, .addr = a ? *a : (struct dw_addr){ 0 }, .d = d };
	r->d = d;
}

static struct dw_decision query(const struct check *c, const char *name)
{
	return dw_decide_observed(c->policy, &c->floor, NULL, dw_decide_query(c->policy, name));
}

static struct dw_decision answer(const struct check *c, const struct dw_addr *a)
{
	const enum dw_reason why = dw_decide_answer(c->policy, &c->floor, a);

	if (why != DW_REASON_NONE)
		return refusal(why, DW_RULE_NONE);
	return (struct dw_decision){ .verdict = DW_ALLOW, .rule = DW_RULE_NONE };
}

int check_play_lookups(struct check *c, struct dw_err *err)
{
	c->pins = dw_pins_new();
	if (!c->pins)
		return dw_err_errno(err, ENOMEM, "playing the lookups");
	for (size_t i = 0; i < c->lookup_n; i++) {
		struct check_lookup *l = &c->lookup[i];
		l->query = query(c, l->name);
		for (size_t j = 0; j < l->addr_n; j++) {
			l->answer[j] = l->query.verdict == DW_DENY ? l->query : answer(c, &l->addr[j]);
			if (l->answer[j].verdict != DW_DENY && !dw_pins_add(c->pins, l->name, &l->addr[j], UINT64_MAX))
				return dw_err_errno(err, ENOMEM, "playing the lookups");
		}
	}
	return 0;
}

static const struct check_lookup *lookup_of(const struct check *c, const struct target *t)
{
	if (t->addr.family != DW_AF_NONE)
		return NULL;
	for (size_t i = 0; i < c->lookup_n; i++) {
		if (strcmp(c->lookup[i].name, t->name) == 0)
			return &c->lookup[i];
	}
	return NULL;
}

/* What a flow that has to prove a name may not open with, whatever the name. */
static enum dw_reason opening_refused(const struct target *t)
{
	if (t->proto == DW_PROTO_UDP && t->port == 443 && t->opening != TARGET_QUIC)
		return DW_REASON_QUIC_REQUIRED;
	if (t->proto == DW_PROTO_TCP && t->port == 443 && t->opening != TARGET_TLS)
		return DW_REASON_TLS_REQUIRED;
	if (t->proto == DW_PROTO_TCP && t->port == 80 && t->opening != TARGET_HTTP)
		return DW_REASON_HTTP_REQUIRED;
	if (t->opening != TARGET_OPAQUE && !*t->name)
		return t->opening == TARGET_HTTP ? DW_REASON_HOST_MISSING : DW_REASON_SNI_MISSING;
	return DW_REASON_NONE;
}

/* flow: the decision on the flow's address, or, with addr NULL, on its name alone. */
static struct dw_decision opening(const struct check *c, const struct target *t, const struct dw_addr *addr,
				  struct dw_decision flow)
{
	const bool strict = flow.inspect == DW_INSPECT_STRICT || flow.inspect == DW_INSPECT_OBSERVE;
	const bool http = t->opening == TARGET_HTTP;
	struct dw_pin pin;

	if (strict && opening_refused(t) != DW_REASON_NONE)
		return refusal(opening_refused(t), flow.rule);
	if (t->opening == TARGET_OPAQUE || !*t->name)
		return flow;
	const struct dw_decision d = dw_decide_name(c->policy, t->name, t->port);
	if (d.verdict == DW_DENY && (strict || d.reason == DW_REASON_DENY_ENTRY))
		return refusal(http ? DW_REASON_HOST_NOT_ALLOWED : DW_REASON_SNI_NOT_ALLOWED, d.rule);
	if (!strict)
		return flow;
	if (addr && !dw_pins_find(c->pins, t->name, addr, &pin))
		return refusal(http ? DW_REASON_HOST_MISMATCH : DW_REASON_SNI_MISMATCH, d.rule);
	flow.rule = d.rule;
	return flow;
}

static void judge_opening(const struct check *c, const struct target *t, const struct dw_addr *addr,
			  struct check_row *r)
{
	const struct dw_decision flow = r->d;

	if (flow.verdict == DW_DENY || flow.inspect == DW_INSPECT_NONE)
		return;
	if (t->opening == TARGET_UNSAID) {
		r->note = flow.verdict == DW_ALLOW_BY_NAME ? CHECK_NOTE_MUST_PROVE : CHECK_NOTE_NONE;
		return;
	}
	struct dw_decision d = dw_decide_observed(c->policy, &c->floor, addr, opening(c, t, addr, flow));
	/* The first thing that would have been refused is the one that is told. */
	if (flow.reason == DW_REASON_OBSERVED && d.verdict != DW_DENY)
		d = flow;
	add_step(r, CHECK_NAME, addr, d);
}

static void judge_flow(const struct check *c, const struct target *t, const struct dw_addr *addr, struct check_row *r)
{
	const struct dw_decision d = dw_decide_flow(c->policy, &c->floor, t->proto, addr, t->port, c->pins);

	add_step(r, CHECK_FLOW, addr, dw_decide_observed(c->policy, &c->floor, addr, d));
	judge_opening(c, t, addr, r);
}

/* A flow to a name whose addresses nobody knows. */
static void judge_name(const struct check *c, const struct target *t, struct check_row *r)
{
	const struct dw_decision d = dw_decide_name(c->policy, t->name, t->port);

	add_step(r, CHECK_NAME, NULL, dw_decide_observed(c->policy, &c->floor, NULL, d));
	if (r->d.verdict == DW_DENY)
		return;
	const size_t before = r->step_n;
	judge_opening(c, t, NULL, r);
	/* One step for a reader: what was asked of the name and of how it is shown. */
	if (r->step_n > before) {
		r->step[before - 1] = r->step[before];
		r->step_n = before;
	}
	r->note = r->d.verdict == DW_DENY ? CHECK_NOTE_NONE : CHECK_NOTE_NO_ADDRESS;
}

/* The client has its answer when one address is in it. */
static void judge_query(const struct check_lookup *l, struct check_row *r)
{
	const struct dw_decision asked = r->d;
	const struct dw_decision *withheld = NULL;
	bool given = l->addr_n == 0;

	for (size_t i = 0; i < l->addr_n; i++) {
		add_step(r, CHECK_ANSWER, &l->addr[i], l->answer[i]);
		if (l->answer[i].verdict != DW_DENY)
			given = true;
		else if (!withheld)
			withheld = &l->answer[i];
	}
	r->d = given ? asked : *withheld;
}

size_t check_rows(const struct check *c, const struct target *t)
{
	const struct check_lookup *l = t->port ? lookup_of(c, t) : NULL;

	return l && l->query.verdict != DW_DENY && l->addr_n ? l->addr_n : 1;
}

void check_row(const struct check *c, const struct target *t, size_t i, struct check_row *ret)
{
	const struct check_lookup *l = lookup_of(c, t);

	*ret = (struct check_row){ .target = t };
	if (t->addr.family != DW_AF_NONE) {
		judge_flow(c, t, &t->addr, ret);
		return;
	}
	add_step(ret, CHECK_QUERY, NULL, query(c, t->name));
	if (ret->d.verdict == DW_DENY)
		return;
	if (!l) {
		if (t->port)
			judge_name(c, t, ret);
		else
			ret->note = CHECK_NOTE_NO_ADDRESS;
		return;
	}
	if (!t->port) {
		judge_query(l, ret);
		return;
	}
	if (i >= l->addr_n)
		return;
	ret->addr = l->addr[i];
	add_step(ret, CHECK_ANSWER, &l->addr[i], l->answer[i]);
	if (ret->d.verdict != DW_DENY)
		judge_flow(c, t, &l->addr[i], ret);
}
