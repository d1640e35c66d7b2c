/* SPDX-License-Identifier: Apache-2.0 */
/* One IP address and one prefix type for both families; parse, format, compare. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/macros.h"

enum dw_family {
	DW_AF_NONE = 0, /* unset */
	DW_AF_4 = 4,
	DW_AF_6 = 6,
};

/* Longest text of an address ("ffff:...:255.255.255.255") and of a prefix, NUL included. */
#define DW_ADDR_STRLEN   46
#define DW_PREFIX_STRLEN 50

struct dw_addr {
	uint8_t family; /* enum dw_family; 0 = unset */
	uint8_t b[16];  /* network order; IPv4 uses b[0..3], the rest is zero */
};

struct dw_prefix {
	struct dw_addr addr; /* host bits are zero */
	uint8_t len;         /* 0..32 or 0..128 */
};

/*
 * Strict text forms only: dotted quad in decimal without leading zeros, IPv6 as RFC 4291 section 2.2 without a zone.
 * Returns false for everything else ("127.1", "0x7f.1", "010.0.0.1", "fe80::1%eth0") and leaves ret alone.
 * An IPv4-mapped IPv6 address (::ffff:a.b.c.d) is returned as the IPv4 address it is.
 */
bool DW_MUST_USE dw_addr_parse(const char *s, size_t n, struct dw_addr *ret);

/* "addr/len"; host bits are cleared. For an IPv4-mapped prefix of at least /96 the IPv4 prefix is returned. */
bool DW_MUST_USE dw_prefix_parse(const char *s, size_t n, struct dw_prefix *ret);

/* RFC 5952 text; returns buf. An unset address gives "-". */
const char *dw_addr_format(const struct dw_addr *a, char buf[static DW_ADDR_STRLEN]);
const char *dw_prefix_format(const struct dw_prefix *p, char buf[static DW_PREFIX_STRLEN]);

struct dw_addr dw_addr_from4(const void *four_bytes);
/* Turns ::ffff:a.b.c.d into IPv4. */
struct dw_addr dw_addr_from6(const void *sixteen_bytes);

/* AF_INET and AF_INET6 only; another family gives an unset address and port 0. */
struct dw_addr dw_addr_from_sockaddr(const struct sockaddr_storage *ss, uint16_t *ret_port);
/* Fills ss; returns its length in bytes, 0 for an unset address. port in host order. */
socklen_t dw_addr_to_sockaddr(const struct dw_addr *a, uint16_t port, struct sockaddr_storage *ss);

bool dw_addr_eq(const struct dw_addr *a, const struct dw_addr *b);
uint32_t dw_addr_hash(const struct dw_addr *a);
bool dw_prefix_contains(const struct dw_prefix *p, const struct dw_addr *a);
/* Whether every address of inner is in outer. */
bool dw_prefix_covers(const struct dw_prefix *outer, const struct dw_prefix *inner);
/* Addresses in bits: 32 or 128. */
static inline uint8_t dw_addr_bits(const struct dw_addr *a)
{
	return a->family == DW_AF_4 ? 32 : 128;
}
