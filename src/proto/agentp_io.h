/* SPDX-License-Identifier: Apache-2.0 */
/* How strings stand in payloads: u32 length, bytes without NUL. For the codecs of this folder alone. */
#pragma once

#include "proto/agentp.h"

static inline bool has_byte(struct dw_span s, uint8_t b)
{
	return s.n && memchr(s.p, b, s.n);
}

static inline struct dw_span read_str(struct dw_rd *r)
{
	uint32_t n = dw_rd_u32(r);
	struct dw_span s = dw_rd_bytes(r, n);
	if (has_byte(s, 0))
		dw_rd_fail(r, DW_PARSE_BAD);
	return s;
}

/* What the reader would refuse is never written. */
static inline void write_str(struct dw_wr *w, struct dw_span s)
{
	if (has_byte(s, 0) || s.n > DW_AGENTP_FRAME_MAX) {
		w->overflow = true;
		return;
	}
	dw_wr_u32(w, (uint32_t)s.n);
	dw_wr_bytes(w, s.p, s.n);
}

static inline size_t written(const struct dw_wr *w)
{
	return dw_wr_ok(w) && w->len <= DW_AGENTP_FRAME_MAX ? w->len : 0;
}

static inline enum dw_parse finished(const struct dw_rd *r)
{
	if (dw_rd_done(r))
		return DW_PARSE_OK;
	return dw_rd_ok(r) ? DW_PARSE_BAD : r->status;
}
