/* SPDX-License-Identifier: Apache-2.0 */
/* What a flow has shown: kept, told, and under a policy that only observes let through. */
#include <string.h>

#include "gate/flow.h"

static void set_proven(struct gate_flow *f, const struct inspect_result *r)
{
	f->proto = r->proto;
	free(f->name);
	/* Without memory the record goes without it, and a new policy judges the flow as one that named nothing. */
	f->name = *r->name ? strdup(r->name) : NULL;
}

bool flow_observes(const struct gate_flow *f)
{
	return dw_policy_observes(f->sandbox->policy);
}

/* The same is told once of a flow, and not more than a few things. */
static bool worth_telling(struct gate_flow *f, const struct inspect_result *r)
{
	const uint64_t h = gate_hash_bytes(f->g->seed, r->name, strlen(r->name)) ^ r->decision.reason;

	for (size_t i = 0; i < f->observed_n; i++) {
		if (f->observed[i] == h)
			return false;
	}
	if (f->observed_n == FLOW_HOSTS_MAX)
		return false;
	f->observed[f->observed_n++] = h;
	return true;
}

/* Would the name, asked again, get the same refusal? Then it stands for what the flow showed. */
static bool name_tells_all(const struct inspect_result *r)
{
	return r->decision.reason == DW_REASON_SNI_NOT_ALLOWED || r->decision.reason == DW_REASON_SNI_MISMATCH ||
	       r->decision.reason == DW_REASON_HOST_NOT_ALLOWED || r->decision.reason == DW_REASON_HOST_MISMATCH;
}

/* A hello again, and with the name that the flow has shown last. */
static bool same_name(const struct gate_flow *f, const struct inspect_result *r)
{
	return f->proto == INSPECT_PROTO_TLS && r->proto == INSPECT_PROTO_TLS &&
	       (f->name ? strcmp(f->name, r->name) == 0 : !*r->name);
}

bool flow_observe(struct gate_flow *f, const struct inspect_result *r)
{
	struct dw_decision d = r->decision;

	if (!flow_observes(f))
		return false;
	/* What there was no room to look at passes like what there was no time for. */
	if (d.reason == DW_REASON_GATE_RESOURCES)
		d.reason = DW_REASON_UNDECIDED;
	d = dw_decide_observed(f->sandbox->policy, &f->g->floor, &f->key.dst, d);
	if (d.verdict == DW_DENY)
		return false;
	/* Looked at for its name alone: what it showed, or that it showed nothing, would have been refused by nobody. */
	if (f->decision.inspect == DW_INSPECT_DENY_NAMES && !dw_policy_denies_names(f->sandbox->policy)) {
		flow_record_allow(f);
		return true;
	}
	const bool first = !f->recorded;
	/* The same name again, after a HelloRetryRequest, is what was there already. */
	f->loose = f->loose || (!first && !same_name(f, r)) || !name_tells_all(r);
	if (first || r->proto == INSPECT_PROTO_TLS)
		set_proven(f, r);
	if (!worth_telling(f, r))
		return true;
	if (!first) {
		flow_record_also(f, &d, r->name);
		return true;
	}
	/*
	 * An address that is only observed itself would have been refused before anything was said; but where an entry for a name
	 * would not have been enough either, that tells more.
	 */
	if (f->decision.reason != DW_REASON_OBSERVED)
		f->decision = d;
	else if (!name_tells_all(r) && d.would != DW_REASON_UNDECIDED)
		f->decision.would = d.would;
	flow_record_allow(f);
	return true;
}

/* A flow whose pin was stale may be on its way to an address of another name than the one it turns out to want. */
static bool misdialled(const struct gate_flow *f, const struct inspect_result *r)
{
	return f->decision.inspect != DW_INSPECT_DENY_NAMES && *r->name && target_misdialled(&f->target, r->name);
}

/* The second hello of a connection names what the first one did (RFC 8446 section 4.1.2), or it is for another server. */
static bool renamed(const struct gate_flow *f, const struct inspect_result *r)
{
	return f->proto == INSPECT_PROTO_TLS && r->proto == INSPECT_PROTO_TLS && !same_name(f, r);
}

bool flow_prove(struct gate_flow *f, struct inspect_result *r)
{
	const bool strict = f->decision.inspect != DW_INSPECT_DENY_NAMES;

	if (misdialled(f, r) || (strict && renamed(f, r))) {
		const bool tls = r->proto == INSPECT_PROTO_TLS;
		r->decision = (struct dw_decision){
			.reason = tls ? DW_REASON_SNI_MISMATCH : DW_REASON_HOST_MISMATCH,
			.rule = r->decision.rule,
		};
		r->answer = tls ? INSPECT_ANSWER_ALERT : INSPECT_ANSWER_HTTP;
		r->code = tls ? 49 : 403;
		return false;
	}
	/* Which of two names the server took, nobody knows. And on port 443 TLS is the first thing, or it would be refused. */
	f->loose = f->loose || r->loose || renamed(f, r) ||
		   (f->proto == INSPECT_PROTO_OPAQUE && r->proto == INSPECT_PROTO_TLS && f->key.dport == 443);
	f->ech = f->ech || r->ech;
	set_proven(f, r);
	if (r->decision.verdict == DW_ALLOW_BY_NAME && f->decision.reason != DW_REASON_OBSERVED)
		f->decision.rule = r->decision.rule;
	flow_record_allow(f);
	return true;
}
