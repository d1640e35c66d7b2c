/* SPDX-License-Identifier: Apache-2.0 */
/* A new policy, or none any more: what happens to the flows that are there. */
#include "gate/flow.h"
#include "gate/limits.h"

static struct dw_decision deny(enum dw_reason reason, uint32_t rule)
{
	return (struct dw_decision){ .verdict = DW_DENY, .reason = reason, .rule = rule };
}

/* The flow has had its first bytes judged, or was never to be looked at. */
static bool past_inspection(const struct gate_flow *f)
{
	return f->state == FLOW_HTTP || f->state == FLOW_WATCH || f->state == FLOW_RELAY || f->state == FLOW_CLOSING;
}

/* Now allowed by its name only: what did it show when it started? */
static struct dw_decision judge_strict(const struct gate_flow *f, const struct dw_decision *d)
{
	/* What a watched flow holds back will go up without another look at how the flow began. */
	const bool sent = f->up.bytes || relay_pending(&f->up) || (f->state == FLOW_WATCH && f->up.n);
	struct inspect in = flow_inspect(f);
	struct dw_decision named;

	if (f->loose && sent)
		return deny(DW_REASON_UNDECIDED, d->rule);
	if (f->ech && !dw_policy_allows_ech(f->sandbox->policy))
		return deny(DW_REASON_ECH, d->rule);
	if (f->proto != INSPECT_PROTO_UNSEEN && f->key.dport == 443 && f->proto != INSPECT_PROTO_TLS)
		return deny(DW_REASON_TLS_REQUIRED, d->rule);
	if (f->proto != INSPECT_PROTO_UNSEEN && f->key.dport == 80 && f->proto != INSPECT_PROTO_HTTP)
		return deny(DW_REASON_HTTP_REQUIRED, d->rule);
	in.mode = d->inspect;
	switch (f->proto) {
	case INSPECT_PROTO_TLS:
	case INSPECT_PROTO_HTTP:
		if (!f->name)
			return deny(f->proto == INSPECT_PROTO_TLS ? DW_REASON_SNI_MISSING : DW_REASON_HOST_MISSING,
				    d->rule);
		named = inspect_name(&in, f->proto, f->name);
		return named.verdict == DW_DENY ? named : *d;
	case INSPECT_PROTO_OPAQUE:
		return *d;
	case INSPECT_PROTO_UNSEEN:
		break;
	}
	/* Its first bytes were nobody's business and are gone. Only one that has sent none can still prove anything. */
	return sent ? deny(DW_REASON_UNDECIDED, d->rule) : *d;
}

static struct dw_decision judge(const struct gate_flow *f)
{
	struct dw_decision d = flow_judge(f->g, f->sandbox, DW_PROTO_TCP, &f->key);

	if (d.verdict == DW_DENY || !past_inspection(f))
		return d;
	if (d.inspect == DW_INSPECT_STRICT)
		return judge_strict(f, &d);
	if (d.inspect == DW_INSPECT_DENY_NAMES && f->name) {
		struct inspect in = flow_inspect(f);
		in.mode = d.inspect;
		struct dw_decision named = inspect_name(&in, f->proto, f->name);
		if (named.verdict == DW_DENY)
			return named;
	}
	return d;
}

static void rejudge(struct gate_flow *f)
{
	struct dw_decision d = judge(f);

	if (d.verdict != DW_DENY && f->dialled && target_gone(&f->target, &d))
		d = deny(DW_REASON_NAME_GONE, d.rule);
	if (d.verdict == DW_DENY) {
		flow_record(f, &d, flow_name(f));
		/* It is one of the old policy's, which the record of the end can not name any more. */
		f->decision.rule = DW_RULE_NONE;
		flow_answer_held(f);
		flow_abort(f);
		return;
	}
	const enum dw_inspect was = f->decision.inspect;
	f->decision = d; /* its rule is one of the new policy's */
	if ((f->state == FLOW_INSPECT || f->state == FLOW_HTTP || f->state == FLOW_WATCH) &&
	    d.inspect == DW_INSPECT_NONE) {
		relay_open(&f->up);
		relay_open(&f->down);
		/* Nobody looks from here on; a later policy must not take the beginning for the rest. */
		f->loose = true;
		flow_record_allow(f);
		flow_set_state(f, FLOW_RELAY);
		flow_run(f);
	} else if (f->state == FLOW_RELAY && was == DW_INSPECT_NONE && d.inspect != DW_INSPECT_NONE &&
		   f->up.bytes == 0 && !relay_pending(&f->up) && !f->up.eof) {
		f->up.held = true;
		f->loose = false;
		f->guess = (struct dw_http_guess){ 0 };
		f->http = (struct http_flow){ 0 };
		f->tls = (struct starttls){ 0 };
		f->answer_due = f->answer_ends = false;
		flow_set_state(f, FLOW_INSPECT);
		flow_run(f);
	} else if (f->state == FLOW_RESOLVING) {
		/* The question that is out was the old policy's: ask with the names that count now. */
		flow_dial(f);
	}
}

void gate_flows_rejudge(struct gate *g, struct gate_sandbox *s)
{
	const bool spent = !gate_limit_bytes(s, 0, 0);
	struct gate_flow *next;

	for (struct gate_flow *f = s->flows; f; f = next) {
		next = f->next;
		if (spent)
			flow_refuse_quota(f);
		else
			rejudge(f);
	}
}

void gate_flows_close_all(struct gate *g, struct gate_sandbox *s)
{
	struct gate_flow *next;

	for (struct gate_flow *f = s->flows; f; f = next) {
		next = f->next;
		flow_abort(f);
	}
}
