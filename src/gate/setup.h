/* SPDX-License-Identifier: Apache-2.0 */
/* The pieces of gate_setup(): each works on the network namespace the process is in. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"

/* netlink.c: all idempotent. 0 or negative errno. */
struct mnl_socket;
int gate_nl_open(struct mnl_socket **ret);
void gate_nl_close(struct mnl_socket *nl);
DW_DEFINE_CLEANUP(struct mnl_socket *, gate_nl_close)
int gate_nl_link_up(struct mnl_socket *nl, uint32_t ifindex, uint32_t txqueuelen); /* 0: leave the queue alone */
/* Packets marked `mark` are routed by `table`. */
int gate_nl_rule(struct mnl_socket *nl, int family, uint32_t mark, uint32_t table);
/* The default route of a table: type RTN_UNICAST or RTN_LOCAL through ifindex, or RTN_BLACKHOLE (ifindex 0). */
int gate_nl_default(struct mnl_socket *nl, int family, uint8_t type, uint32_t table, uint32_t ifindex, uint32_t metric);

/* nft.c: replaces the ruleset in one transaction. port6 0: no IPv6 on this machine. */
int gate_nft_apply(uint16_t port4, uint16_t port6, struct dw_err *err);
