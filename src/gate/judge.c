/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/flow.h"
#include "gate/limits.h"

struct dw_decision flow_judge(const struct gate *g, const struct gate_sandbox *s, enum dw_proto proto,
			      const struct flow_key *k)
{
	struct dw_decision d = dw_decide_flow(s->policy, &g->floor, proto, &k->dst, k->dport, s->pins);

	return dw_decide_observed(s->policy, &g->floor, &k->dst, d);
}

struct dw_decision flow_judge_new(struct gate *g, struct gate_sandbox *s, enum dw_proto proto, const struct flow_key *k)
{
	struct dw_decision d = flow_judge(g, s, proto, k);

	if (d.verdict == DW_DENY)
		return d;
	enum dw_reason limit = gate_limit_flow(g, s);
	return limit == DW_REASON_NONE ? d : (struct dw_decision){ .reason = limit, .rule = DW_RULE_NONE };
}
