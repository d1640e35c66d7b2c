/* SPDX-License-Identifier: Apache-2.0 */
/* What a policy is asked about, as a user writes it. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/err.h"
#include "policy/host.h"
#include "policy/policy.h"

/* What a flow's first bytes are. */
enum target_opening {
	TARGET_UNSAID = 0, /* the address alone is asked about */
	TARGET_OPAQUE,     /* neither TLS nor HTTP nor QUIC */
	TARGET_TLS,
	TARGET_HTTP,
	TARGET_QUIC,
};

struct target {
	char name[DW_HOST_SIZE]; /* canonical; "": none */
	struct dw_addr addr;     /* unset: none */
	uint16_t port;           /* 0: none */
	enum dw_proto proto;     /* DNS: only the name is asked about */
	enum target_opening opening;
};

#define TARGET_FORMS "NAME, NAME:PORT[/PROTO], [NAME@]ADDR:PORT[/PROTO], ADDR/icmp"

/*
 * NAME              a DNS query
 * NAME:PORT[/P]     a flow to the name, that shows it; P is tcp, udp, tls, http or quic; without P, what the port usually carries
 * ADDR:PORT[/P]     a flow to an address, that names nothing; without P, the address alone
 * NAME@ADDR:PORT[/P]  a flow to an address, that shows the name
 * ADDR/icmp
 * IPv6 addresses with a port stand in brackets. -1 with err: why not.
 */
int DW_MUST_USE target_parse(const char *s, size_t n, struct target *ret, struct dw_err *err);
