/* SPDX-License-Identifier: Apache-2.0 */
/* A new policy, or none any more: what happens to the UDP flows that are there. */
#include "gate/limits.h"
#include "gate/udp.h"

static struct dw_decision deny(enum dw_reason reason, uint32_t rule)
{
	return (struct dw_decision){ .verdict = DW_DENY, .reason = reason, .rule = rule };
}

/* The first of the proven names that this decision refuses; else the decision. */
static struct dw_decision judge_names(const struct gate_udp_flow *f, const struct dw_decision *d)
{
	const struct inspect in = {
		.policy = f->sandbox->policy,
		.pins = f->sandbox->pins,
		.dst = f->key.dst,
		.port = f->key.dport,
		.mode = d->inspect,
	};

	for (size_t i = 0; i < UDP_NAMES_MAX && f->names[i]; i++) {
		struct dw_decision named = inspect_name(&in, INSPECT_PROTO_TLS, f->names[i]);
		if (named.verdict == DW_DENY)
			return named;
	}
	return *d;
}

/* Now allowed by its name only: what did it show? */
static struct dw_decision judge_strict(const struct gate_udp_flow *f, const struct dw_decision *d)
{
	if (f->loose)
		return deny(DW_REASON_UNDECIDED, d->rule);
	if (f->ech && !dw_policy_allows_ech(f->sandbox->policy))
		return deny(DW_REASON_ECH, d->rule);
	if (!f->names[0] && f->key.dport == 443)
		return deny(DW_REASON_QUIC_REQUIRED, d->rule);
	return judge_names(f, d);
}

static struct dw_decision judge(const struct gate_udp_flow *f)
{
	const struct gate_sandbox *s = f->sandbox;
	const struct dw_floor *floor = &f->g->floor;
	struct dw_decision d = dw_decide_flow(s->policy, floor, DW_PROTO_UDP, &f->key.dst, f->key.dport, s->pins);

	d = dw_decide_observed(s->policy, floor, &f->key.dst, d);
	if (d.verdict == DW_DENY || !f->sent)
		return d;
	switch (d.inspect) {
	case DW_INSPECT_STRICT:
		return judge_strict(f, &d);
	case DW_INSPECT_DENY_NAMES:
		return dw_decide_observed(s->policy, floor, &f->key.dst, judge_names(f, &d));
	case DW_INSPECT_NONE:
	case DW_INSPECT_OBSERVE:
		break;
	}
	return d;
}

/*
 * Whether the floor or the policy took away the address that is dialled in place of the client's. It was reached by one
 * name: neither another name of the client's address nor an entry for that address speaks for it.
 */
static bool dial_gone(const struct gate_udp_flow *f, const struct dw_decision *d)
{
	if (!f->dialled || dw_addr_eq(&f->dial, &f->key.dst))
		return false;
	if (dw_policy_observes(f->sandbox->policy))
		return !target_may_dial(&f->target, &f->dial);
	return d->verdict != DW_ALLOW_BY_NAME || !f->dial_name ||
	       dw_decide_name(f->sandbox->policy, f->dial_name, f->key.dport).verdict == DW_DENY ||
	       !target_may_dial(&f->target, &f->dial);
}

static void rejudge(struct gate_udp_flow *f)
{
	struct dw_decision d = judge(f);

	if (d.verdict != DW_DENY && dial_gone(f, &d))
		d = deny(DW_REASON_NAME_GONE, d.rule);
	if (d.verdict == DW_DENY) {
		/* It is one of the old policy's, which the record of the end can not name any more. */
		f->decision.rule = DW_RULE_NONE;
		udp_refuse(f, &d, f->names[0] ? f->names[0] : f->dial_name, f->conns || f->loose);
		return;
	}
	f->decision = d; /* its rule is one of the new policy's */
	if (f->state == UDP_RESOLVING) {
		/* The question that is out was the old policy's: ask with the names that count now. */
		udp_dial(f);
	} else if (d.inspect == DW_INSPECT_NONE && f->held) {
		/* Nobody looks from here on; a later policy must not take the beginning for the rest. */
		f->loose = true;
		DW_IGNORE(udp_go_on(f));
	}
}

void gate_udp_rejudge(struct gate *g, struct gate_sandbox *s)
{
	const struct dw_decision spent = deny(DW_REASON_LIMIT_BYTES, DW_RULE_NONE);
	const bool is_spent = !gate_limit_bytes(s, 0, 0);
	struct gate_udp_flow *next;

	for (struct gate_udp_flow *f = s->udp_flows; f; f = next) {
		next = f->next;
		if (is_spent) {
			f->decision.rule = DW_RULE_NONE;
			udp_refuse(f, &spent, f->names[0] ? f->names[0] : f->dial_name, false);
		} else {
			rejudge(f);
		}
	}
}

void gate_udp_close_all(struct gate *g, struct gate_sandbox *s)
{
	struct gate_udp_flow *next;

	for (struct gate_udp_flow *f = s->udp_flows; f; f = next) {
		next = f->next;
		udp_end(f);
	}
}
