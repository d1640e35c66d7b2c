/* SPDX-License-Identifier: Apache-2.0 */
/* What special.c knows of blocks beyond dw_addr_classify (policy.h). */
#pragma once

#include "policy/policy.h"

struct dw_addr_block {
	enum dw_addr_class class;
	uint8_t len; /* prefix length of the most specific special block that holds the address */
};

struct dw_addr_block dw_addr_block_of(const struct dw_addr *a);

/*
 * Whether every address of the prefix is loopback, reserved, embedded or a sandbox's: an allow entry for it could never
 * do anything, not even by an operator's exception.
 */
bool dw_prefix_never_opens(const struct dw_prefix *p);

/* The address with an IPv4-mapped form turned into IPv4 and unused bytes cleared; unset for unknown families. */
struct dw_addr dw_addr_normal(const struct dw_addr *a);
