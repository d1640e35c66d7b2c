/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Special-purpose address blocks (IANA special-purpose registries, RFC 6890) and the floor built on them. In each table
 * longer prefixes come first, so the first hit is the most specific one. Outside 2000::/3 nothing of IPv6 is global
 * unicast, so there the last word is "reserved", not "public".
 */
#include "policy/special.h"

#include <assert.h>
#include <string.h>

#include "core/defence.h"
#include "core/netplan.h"

struct block4 {
	uint32_t net;
	uint8_t len;
	enum dw_addr_class class;
};

struct block6 {
	uint64_t hi, lo;
	uint8_t len;
	enum dw_addr_class class;
};

#define IP4(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

/* clang-format off */
static const struct block4 blocks4[] = {
	{ IP4(100, 100, 100, 200), 32, DW_CLASS_METADATA }, /* Alibaba; inside the sandboxes' range */
	{ IP4(168, 63, 129, 16),   32, DW_CLASS_METADATA }, /* Azure */
	{ IP4(169, 254, 169, 254), 32, DW_CLASS_METADATA }, /* nearly everybody */
	{ IP4(169, 254, 170, 2),   32, DW_CLASS_METADATA }, /* AWS container credentials */
	{ IP4(169, 254, 170, 23),  32, DW_CLASS_METADATA }, /* AWS pod identity */
	{ IP4(192, 0, 0, 192),     32, DW_CLASS_METADATA }, /* Oracle */
	{ IP4(192, 0, 0, 0),       24, DW_CLASS_PRIVATE },  /* IETF protocol assignments */
	{ IP4(192, 0, 2, 0),       24, DW_CLASS_PRIVATE },  /* documentation */
	{ IP4(198, 51, 100, 0),    24, DW_CLASS_PRIVATE },
	{ IP4(203, 0, 113, 0),     24, DW_CLASS_PRIVATE },
	{ IP4(169, 254, 0, 0),     16, DW_CLASS_LINK_LOCAL },
	{ IP4(192, 168, 0, 0),     16, DW_CLASS_PRIVATE },
	{ IP4(198, 18, 0, 0),      15, DW_CLASS_PRIVATE },  /* benchmarking */
	{ DW_NET4_FIRST, DW_NET4_LEN,  DW_CLASS_SANDBOX },
	{ IP4(172, 16, 0, 0),      12, DW_CLASS_PRIVATE },
	{ IP4(100, 64, 0, 0),      10, DW_CLASS_PRIVATE },  /* CGNAT */
	{ IP4(0, 0, 0, 0),          8, DW_CLASS_RESERVED },
	{ IP4(10, 0, 0, 0),         8, DW_CLASS_PRIVATE },
	{ IP4(127, 0, 0, 0),        8, DW_CLASS_LOOPBACK },
	{ IP4(224, 0, 0, 0),        3, DW_CLASS_RESERVED }, /* multicast, class E, broadcast */
	{ IP4(0, 0, 0, 0),          0, DW_CLASS_PUBLIC },
};

static const struct block6 blocks6[] = {
	{ 0, 0,                                                   128, DW_CLASS_RESERVED },
	{ 0, 1,                                                   128, DW_CLASS_LOOPBACK },
	{ UINT64_C(0xfd00004200000000), 0x42,                     128, DW_CLASS_METADATA }, /* Scaleway */
	{ UINT64_C(0xfd0000c100000000), 0xa9fea9fe,               128, DW_CLASS_METADATA }, /* Oracle */
	{ UINT64_C(0xfd000ec200000000), 0x23,                     128, DW_CLASS_METADATA }, /* AWS pod identity */
	{ UINT64_C(0xfd000ec200000000), 0x254,                    128, DW_CLASS_METADATA }, /* AWS */
	{ UINT64_C(0xfd2000ce00000000), 0x254,                    128, DW_CLASS_METADATA }, /* Google */
	{ 0, 0,                                                    96, DW_CLASS_EMBEDDED }, /* IPv4-compatible */
	{ 0, UINT64_C(0x0000ffff00000000),                         96, DW_CLASS_EMBEDDED }, /* mapped, not yet unwrapped */
	{ 0, UINT64_C(0xffff000000000000),                         96, DW_CLASS_EMBEDDED }, /* translated, RFC 2765 */
	{ UINT64_C(0x0064ff9b00000000), 0,                         96, DW_CLASS_EMBEDDED }, /* NAT64 */
	{ UINT64_C(0xfd64637700000000), 0,               DW_NET6_LEN, DW_CLASS_SANDBOX },
	{ UINT64_C(0x0064ff9b00010000), 0,                         48, DW_CLASS_EMBEDDED }, /* local NAT64 */
	{ UINT64_C(0x2001000200000000), 0,                         48, DW_CLASS_PRIVATE },  /* benchmarking */
	{ UINT64_C(0x2001000000000000), 0,                         32, DW_CLASS_EMBEDDED }, /* Teredo */
	{ UINT64_C(0x20010db800000000), 0,                         32, DW_CLASS_PRIVATE },  /* documentation */
	{ UINT64_C(0x2001000000000000), 0,                         23, DW_CLASS_RESERVED }, /* IETF assignments */
	{ UINT64_C(0x3fff000000000000), 0,                         20, DW_CLASS_RESERVED }, /* documentation, RFC 9637 */
	{ UINT64_C(0x2002000000000000), 0,                         16, DW_CLASS_EMBEDDED }, /* 6to4 */
	{ UINT64_C(0xfe80000000000000), 0,                         10, DW_CLASS_LINK_LOCAL },
	{ UINT64_C(0xfec0000000000000), 0,                         10, DW_CLASS_PRIVATE },  /* site-local */
	{ UINT64_C(0xfc00000000000000), 0,                          7, DW_CLASS_PRIVATE },  /* ULA */
	{ UINT64_C(0x2000000000000000), 0,                          3, DW_CLASS_PUBLIC },
	{ 0, 0,                                                     0, DW_CLASS_RESERVED },
};
/* clang-format on */

static uint32_t load4(const struct dw_addr *a)
{
	return IP4(a->b[0], a->b[1], a->b[2], a->b[3]);
}

static uint64_t load8(const uint8_t *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof(v));
	return __builtin_bswap64(v);
}

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "load8 swaps");

static bool same4(uint32_t a, uint32_t b, unsigned len)
{
	return len == 0 || (a ^ b) >> (32 - len) == 0;
}

static bool same6(uint64_t ahi, uint64_t alo, uint64_t bhi, uint64_t blo, unsigned len)
{
	if (len == 0)
		return true;
	if (len <= 64)
		return (ahi ^ bhi) >> (64 - len) == 0;
	return ahi == bhi && (alo ^ blo) >> (128 - len) == 0;
}

struct dw_addr dw_addr_normal(const struct dw_addr *a)
{
	if (a->family == DW_AF_4)
		return dw_addr_from4(a->b);
	if (a->family == DW_AF_6)
		return dw_addr_from6(a->b);
	return (struct dw_addr){ 0 };
}

struct dw_addr_block dw_addr_block_of(const struct dw_addr *a)
{
	if (a->family == DW_AF_4) {
		uint32_t v = load4(a);
		for (size_t i = 0; i < DW_COUNT(blocks4); i++) {
			if (same4(v, blocks4[i].net, blocks4[i].len))
				return (struct dw_addr_block){ blocks4[i].class, blocks4[i].len };
		}
	} else if (a->family == DW_AF_6) {
		uint64_t hi = load8(a->b), lo = load8(a->b + 8);
		for (size_t i = 0; i < DW_COUNT(blocks6); i++) {
			if (same6(hi, lo, blocks6[i].hi, blocks6[i].lo, blocks6[i].len))
				return (struct dw_addr_block){ blocks6[i].class, blocks6[i].len };
		}
	}
	return (struct dw_addr_block){ DW_CLASS_RESERVED, 0 };
}

enum dw_addr_class dw_addr_classify(const struct dw_addr *a)
{
	struct dw_addr n = dw_addr_normal(a);
	return dw_addr_block_of(&n).class;
}

static bool never_opens(enum dw_addr_class class)
{
	return class == DW_CLASS_RESERVED || class == DW_CLASS_LOOPBACK || class == DW_CLASS_EMBEDDED ||
	       class == DW_CLASS_SANDBOX;
}

/* Whether some address of such a block can be reached by an allow entry. */
static bool opens(enum dw_addr_class class)
{
	return class == DW_CLASS_PUBLIC || class == DW_CLASS_PRIVATE;
}

/*
 * The tables run from specific to general: rows inside the prefix come before the row that holds it, which decides,
 * unless a row inside can be opened.
 */
bool dw_prefix_never_opens(const struct dw_prefix *p)
{
	if (p->addr.family == DW_AF_4) {
		uint32_t v = load4(&p->addr);
		for (size_t i = 0; i < DW_COUNT(blocks4); i++) {
			const struct block4 *b = &blocks4[i];
			if (!same4(v, b->net, DW_MIN(p->len, b->len)))
				continue;
			if (b->len <= p->len || opens(b->class))
				return never_opens(b->class);
		}
		return false;
	}
	uint64_t hi = load8(p->addr.b), lo = load8(p->addr.b + 8);
	for (size_t i = 0; i < DW_COUNT(blocks6); i++) {
		const struct block6 *b = &blocks6[i];
		if (!same6(hi, lo, b->hi, b->lo, DW_MIN(p->len, b->len)))
			continue;
		if (b->len <= p->len || opens(b->class))
			return never_opens(b->class);
	}
	return false;
}

/* Whether an exception inside the given block, of at least this length, holds the address. */
static bool excepted(const struct dw_floor *floor, const struct dw_addr *a, uint8_t min_len)
{
	for (size_t i = 0; floor && i < floor->exceptions_n; i++) {
		const struct dw_prefix *e = &floor->exceptions[i];
		if (e->len >= min_len && dw_prefix_contains(e, a))
			return true;
	}
	return false;
}

static bool is_host(const struct dw_floor *floor, const struct dw_addr *a)
{
	for (size_t i = 0; floor && i < floor->host_n; i++) {
		if (dw_addr_eq(&floor->host[i], a))
			return true;
	}
	return false;
}

enum dw_reason dw_floor_check(const struct dw_floor *floor, const struct dw_addr *addr)
{
	if (!dw_defended(DW_DEFENCE_FLOOR))
		return DW_REASON_NONE;
	struct dw_addr a = dw_addr_normal(addr);
	struct dw_addr_block block = dw_addr_block_of(&a);
	enum dw_reason liftable = DW_REASON_NONE;
	switch (block.class) {
	case DW_CLASS_RESERVED:
		return DW_REASON_FLOOR_RESERVED;
	case DW_CLASS_LOOPBACK:
		return DW_REASON_FLOOR_LOOPBACK;
	case DW_CLASS_EMBEDDED:
		return DW_REASON_FLOOR_EMBEDDED;
	case DW_CLASS_SANDBOX:
		return DW_REASON_FLOOR_SANDBOX;
	case DW_CLASS_LINK_LOCAL:
		liftable = DW_REASON_FLOOR_LINK_LOCAL;
		break;
	case DW_CLASS_METADATA:
		liftable = DW_REASON_FLOOR_METADATA;
		break;
	case DW_CLASS_PUBLIC:
	case DW_CLASS_PRIVATE:
		break;
	}
	if (is_host(floor, &a) && !excepted(floor, &a, dw_addr_bits(&a)))
		return DW_REASON_FLOOR_HOST;
	if (liftable != DW_REASON_NONE && !excepted(floor, &a, block.len))
		return liftable;
	return DW_REASON_NONE;
}

bool dw_floor_is_private(const struct dw_floor *floor, const struct dw_addr *addr)
{
	struct dw_addr a = dw_addr_normal(addr);
	struct dw_addr_block block = dw_addr_block_of(&a);
	return block.class == DW_CLASS_PRIVATE && !excepted(floor, &a, block.len) && dw_defended(DW_DEFENCE_PRIVATE);
}
