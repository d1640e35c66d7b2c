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
	struct dw_decision d = flow_judge(f->g, f->sandbox, DW_PROTO_UDP, &f->key);

	if (d.verdict == DW_DENY || !f->sent)
		return d;
	switch (d.inspect) {
	case DW_INSPECT_STRICT:
		return judge_strict(f, &d);
	case DW_INSPECT_DENY_NAMES:
		return dw_decide_observed(f->sandbox->policy, &f->g->floor, &f->key.dst, judge_names(f, &d));
	case DW_INSPECT_NONE:
	case DW_INSPECT_OBSERVE:
		break;
	}
	return d;
}

static void rejudge(struct gate_udp_flow *f)
{
	struct dw_decision d = judge(f);

	if (d.verdict != DW_DENY && f->dialled && target_gone(&f->target, &d))
		d = deny(DW_REASON_NAME_GONE, d.rule);
	if (d.verdict == DW_DENY) {
		/* It is one of the old policy's, which the record of the end can not name any more. */
		f->decision.rule = DW_RULE_NONE;
		udp_refuse(f, &d, udp_name(f), f->conns || f->loose);
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
			udp_refuse(f, &spent, udp_name(f), false);
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
