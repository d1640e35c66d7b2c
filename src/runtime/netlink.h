/* SPDX-License-Identifier: Apache-2.0 */
/* The link between a sandbox and the gate namespace, by rtnetlink. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/macros.h"

struct mnl_socket;

/* One request socket in the network namespace that the caller is in. */
struct dw_nl {
	struct mnl_socket *sock;
	uint32_t seq;
	int ioctl_fd; /* for names and indexes, in the same namespace */
	bool v6;      /* whether sandboxes get IPv6; never true where the kernel has none */
};

/* Whether this kernel has IPv6. */
bool dw_net_have_ipv6(void);

/* All return 0 or -errno. no_ipv6: sandboxes have IPv4 alone. */
int DW_MUST_USE dw_nl_open(bool no_ipv6, struct dw_nl *ret);
void dw_nl_close(struct dw_nl *nl);

/* In a fresh gate namespace: loopback up, and what new links inherit. */
int DW_MUST_USE dw_net_gate_init(struct dw_nl *nl);

/* In the gate namespace: the veth pair, its far end "eth0" made directly in the other namespace. */
int DW_MUST_USE dw_net_link_make(struct dw_nl *nl, uint32_t slot, int sandbox_netns_fd);
/* In the gate namespace: the near end up, routes to the sandbox's addresses, permanent neighbours. */
int DW_MUST_USE dw_net_link_gate(struct dw_nl *nl, uint32_t slot);
/* In the gate namespace: whether the near end (still) exists. */
bool dw_net_link_exists(const struct dw_nl *nl, uint32_t slot);

/* In the sandbox's namespace: sysctls (needs the host's /proc), loopback and eth0 up, addresses. */
int DW_MUST_USE dw_net_sandbox_addresses(struct dw_nl *nl, uint32_t slot);
/* Datagrams leave by this interface one by one, and are counted so (netfeature.c). */
int DW_MUST_USE dw_net_no_udp_segments(const struct dw_nl *nl, const char *ifname);
/* In the sandbox's namespace: default routes and permanent neighbours. */
int DW_MUST_USE dw_net_sandbox_routes(struct dw_nl *nl);
/*
 * In the sandbox's namespace, after the addresses: until the kernel has taken both ends of the link into service. It does that
 * in work of its own, a moment after both are up, and drops what is sent before: mostly the answer to a first DNS query, which
 * a client misses for five seconds. A kernel that does not say so within half a second is not waited for any longer.
 */
void dw_net_sandbox_settle(struct dw_nl *nl);
