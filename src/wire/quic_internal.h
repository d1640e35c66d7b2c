/* SPDX-License-Identifier: Apache-2.0 */
/* What the readers of QUIC share. Not for other folders. */
#pragma once

#include "wire/quic.h"

/* A variable-length integer (RFC 9000 section 16), at most 2^62 - 1; in more bytes than needed is right too. */
static inline uint64_t quic_varint(struct dw_rd *r)
{
	uint8_t first = dw_rd_u8(r);
	uint64_t v = first & 0x3f;
	for (unsigned left = (1u << (first >> 6)) - 1; left; left--)
		v = v << 8 | dw_rd_u8(r);
	return dw_rd_ok(r) ? v : 0;
}

/* The bytes behind a length that was read as such an integer: no size_t is too small for it. */
static inline struct dw_span quic_bytes(struct dw_rd *r, uint64_t n)
{
	if (n > r->n)
		dw_rd_fail(r, DW_PARSE_BAD);
	return dw_rd_bytes(r, (size_t)n);
}
