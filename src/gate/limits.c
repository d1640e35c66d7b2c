/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/limits.h"

#include <string.h>

#include "core/defence.h"

/* What everybody may have, however full the gate is otherwise, as long as there is anything left. */
#define SHARE_MIN 16u
/* Of connections for DNS a sandbox needs few. */
#define CONNS_SHARE 64u

uint32_t gate_limit_share(uint32_t most, uint32_t used)
{
	const uint32_t left = most > used ? most - used : 0;

	return DW_MIN(DW_MAX(left / 4, SHARE_MIN), left);
}

enum dw_reason gate_limit_flow(struct gate *g, struct gate_sandbox *s)
{
	const uint32_t total = gate_flows_total(g);

	if (s->limits.bytes && s->bytes_out + s->bytes_in >= s->limits.bytes)
		return DW_REASON_LIMIT_BYTES;
	if (s->flow_n >= s->limits.flows)
		return DW_REASON_LIMIT_FLOWS;
	if (s->half_open_n >= s->limits.half_open)
		return DW_REASON_LIMIT_HALF_OPEN;
	if (s->flow_n >= gate_limit_share(GATE_FLOWS_MAX, total))
		return DW_REASON_GATE_RESOURCES;
	if (!dw_bucket_take(&s->flow_rate, s->limits.flows_per_second, g->loop.now_ms))
		return DW_REASON_LIMIT_FLOW_RATE;
	return DW_REASON_NONE;
}

enum dw_reason gate_limit_dns_conn(const struct gate_sandbox *s, uint32_t total)
{
	const uint32_t left = total < GATE_DNS_TCP_MAX ? GATE_DNS_TCP_MAX - total : 0;

	if (s->dns_tcp_n >= GATE_DNS_TCP_PER_SANDBOX)
		return DW_REASON_LIMIT_DNS_RATE;
	/* Scarce: one in so many of what is free, so that there is one for everybody who has none. */
	if (left == 0 || s->dns_tcp_n >= DW_MAX(left / CONNS_SHARE, 1u))
		return DW_REASON_GATE_RESOURCES;
	return DW_REASON_NONE;
}

enum dw_reason gate_limit_query(struct gate *g, struct gate_sandbox *s)
{
	return dw_bucket_take(&s->query_rate, s->limits.dns_per_second, g->loop.now_ms) ? DW_REASON_NONE
											: DW_REASON_LIMIT_DNS_RATE;
}

enum dw_reason gate_limit_name(struct gate *g, struct gate_sandbox *s, const char *name, uint32_t rule)
{
	if (!dw_policy_rule_is_pattern(s->policy, rule) || !dw_defended(DW_DEFENCE_DNS_NAMES))
		return DW_REASON_NONE;
	return dw_name_window_take(&s->names, gate_hash_bytes(g->seed, name, strlen(name)), s->limits.names_per_minute,
				   g->loop.now_ms)
		       ? DW_REASON_NONE
		       : DW_REASON_LIMIT_DNS_NAMES;
}

bool gate_limit_bytes(struct gate_sandbox *s, uint64_t out, uint64_t in)
{
	s->bytes_out += out;
	s->bytes_in += in;
	return !s->limits.bytes || s->bytes_out + s->bytes_in < s->limits.bytes;
}
