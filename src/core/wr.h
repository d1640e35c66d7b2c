/* SPDX-License-Identifier: Apache-2.0 */
/* The one cursor for building messages into a fixed buffer. Overflow sticks; ask dw_wr_ok() once at the end. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "core/macros.h"

struct dw_wr {
	uint8_t *buf;
	size_t cap;
	size_t len;    /* bytes written */
	bool overflow; /* sticky */
};

static inline struct dw_wr dw_wr_init(void *buf, size_t cap)
{
	return (struct dw_wr){ .buf = buf, .cap = cap };
}

static inline bool dw_wr_ok(const struct dw_wr *w)
{
	return !w->overflow;
}

static inline void dw_wr_bytes(struct dw_wr *w, const void *p, size_t n)
{
	if (w->overflow || w->cap - w->len < n) {
		w->overflow = true;
		return;
	}
	if (n)
		memcpy(w->buf + w->len, p, n);
	w->len += n;
}

static inline void dw_wr_u8(struct dw_wr *w, uint8_t v)
{
	dw_wr_bytes(w, &v, 1);
}

static inline void dw_wr_u16(struct dw_wr *w, uint16_t v)
{
	const uint8_t b[2] = { (uint8_t)(v >> 8), (uint8_t)v };
	dw_wr_bytes(w, b, sizeof(b));
}

static inline void dw_wr_u32(struct dw_wr *w, uint32_t v)
{
	const uint8_t b[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };
	dw_wr_bytes(w, b, sizeof(b));
}

/* Overwrites two bytes written before, e.g. a length known only now. */
static inline void dw_wr_patch_u16(struct dw_wr *w, size_t at, uint16_t v)
{
	if (w->overflow || at + 2 > w->len)
		return;
	w->buf[at] = (uint8_t)(v >> 8);
	w->buf[at + 1] = (uint8_t)v;
}
