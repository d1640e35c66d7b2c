/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limits of one sandbox as the gate counts them, and how the gate's own bounds are shared out: a sandbox may have at
 * most a quarter of what is still free of them, so that whatever others hold there is room for one more.
 */
#pragma once

#include "gate/gate.h"
#include "policy/limits.h"

/*
 * How many of `most` things, of which `used` are taken by anybody, one sandbox may have itself: a quarter of what is free, 16
 * in any case while there are any.
 */
uint32_t gate_limit_share(uint32_t most, uint32_t used);

/* May one more flow start now? NONE, or the LIMIT_* (GATE_RESOURCES: the gate's own bound). NONE takes a token of the rate. */
enum dw_reason gate_limit_flow(struct gate *g, struct gate_sandbox *s);

/* DNS connections of all sandboxes: descriptors. */
#define GATE_DNS_TCP_MAX 4096u
/* May this sandbox have one more, when all of them have total? NONE, LIMIT_DNS_RATE (its own bound) or GATE_RESOURCES. */
enum dw_reason gate_limit_dns_conn(const struct gate_sandbox *s, uint32_t total);

/* May this query be served? Takes a token. NONE or LIMIT_DNS_RATE. Called before the query is judged. */
enum dw_reason gate_limit_query(struct gate *g, struct gate_sandbox *s);
/* May this allowed name go upstream? NONE or LIMIT_DNS_NAMES (only where the rule is a pattern). */
enum dw_reason gate_limit_name(struct gate *g, struct gate_sandbox *s, const char *name, uint32_t rule);

/* Counts bytes that were relayed, in either direction. False: the quota is spent, and the flow has to end with LIMIT_BYTES. */
bool gate_limit_bytes(struct gate_sandbox *s, uint64_t out, uint64_t in);
