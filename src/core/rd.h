/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one cursor for untrusted bytes. Errors stick: after the first one every read yields zero or an empty span and
 * moves nothing, so a parser reads straight down and asks once. A nested length is a child reader (dw_rd_sub), so an
 * inner length can never be compared with the wrong outer one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "core/macros.h"

/* What a parser says of its input. Zero is the safe value. */
enum dw_parse {
	DW_PARSE_BAD = 0, /* malformed: it can never become valid, whatever follows */
	DW_PARSE_MORE,    /* a valid prefix; more bytes are needed */
	DW_PARSE_BIG,     /* over a documented limit */
	DW_PARSE_OK,
};

/* A view into somebody else's bytes; valid as long as they are. */
struct dw_span {
	const uint8_t *p;
	size_t n;
};

struct dw_rd {
	const uint8_t *p;     /* next byte */
	size_t n;             /* bytes left */
	bool growable;        /* running out means MORE, not BAD (only the outermost reader of a stream) */
	enum dw_parse status; /* DW_PARSE_OK until the first error */
};

static inline struct dw_rd dw_rd_init(const void *p, size_t n, bool growable)
{
	return (struct dw_rd){ .p = p, .n = n, .growable = growable, .status = DW_PARSE_OK };
}

static inline bool dw_rd_ok(const struct dw_rd *r)
{
	return r->status == DW_PARSE_OK;
}

/* Records the first error; later ones do not replace it. */
static inline void dw_rd_fail(struct dw_rd *r, enum dw_parse why)
{
	if (r->status == DW_PARSE_OK)
		r->status = why;
	r->n = 0;
}

static inline bool dw_rd_need(struct dw_rd *r, size_t n)
{
	if (r->status != DW_PARSE_OK)
		return false;
	if (r->n >= n)
		return true;
	dw_rd_fail(r, r->growable ? DW_PARSE_MORE : DW_PARSE_BAD);
	return false;
}

static inline struct dw_span dw_rd_bytes(struct dw_rd *r, size_t n)
{
	if (!dw_rd_need(r, n))
		return (struct dw_span){ .p = (const uint8_t *)"", .n = 0 };
	struct dw_span s = { .p = r->p, .n = n };
	r->p += n;
	r->n -= n;
	return s;
}

/* Network byte order throughout. */
static inline uint8_t dw_rd_u8(struct dw_rd *r)
{
	struct dw_span s = dw_rd_bytes(r, 1);
	return s.n ? s.p[0] : 0;
}

static inline uint16_t dw_rd_u16(struct dw_rd *r)
{
	struct dw_span s = dw_rd_bytes(r, 2);
	return s.n ? (uint16_t)(s.p[0] << 8 | s.p[1]) : 0;
}

static inline uint32_t dw_rd_u24(struct dw_rd *r)
{
	struct dw_span s = dw_rd_bytes(r, 3);
	return s.n ? (uint32_t)s.p[0] << 16 | (uint32_t)s.p[1] << 8 | s.p[2] : 0;
}

static inline uint32_t dw_rd_u32(struct dw_rd *r)
{
	struct dw_span s = dw_rd_bytes(r, 4);
	return s.n ? (uint32_t)s.p[0] << 24 | (uint32_t)s.p[1] << 16 | (uint32_t)s.p[2] << 8 | s.p[3] : 0;
}

/* A child limited to the next n bytes; the parent moves past them. Running out inside the child is BAD. */
static inline struct dw_rd dw_rd_sub(struct dw_rd *r, size_t n)
{
	struct dw_span s = dw_rd_bytes(r, n);
	struct dw_rd child = dw_rd_init(s.p, s.n, false);
	if (r->status != DW_PARSE_OK)
		child.status = r->status;
	return child;
}

/* True when nothing failed and nothing is left over. */
static inline bool DW_MUST_USE dw_rd_done(const struct dw_rd *r)
{
	return r->status == DW_PARSE_OK && r->n == 0;
}
