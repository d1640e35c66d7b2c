/* SPDX-License-Identifier: Apache-2.0 */
#include "e2b/connect_frame.h"

#include "core/wr.h"

enum dw_parse connect_frame_parse(const void *data, size_t n, size_t max, struct connect_frame *ret)
{
	struct dw_rd r = dw_rd_init(data, n, true);
	const uint8_t flags = dw_rd_u8(&r);
	if (dw_rd_ok(&r) && flags & ~(CONNECT_COMPRESSED | CONNECT_END))
		return DW_PARSE_BAD;
	const uint32_t message_n = dw_rd_u32(&r);
	/* Judged before the rest arrives. */
	if (dw_rd_ok(&r) && message_n > max)
		return DW_PARSE_BIG;
	const struct dw_span message = dw_rd_bytes(&r, message_n);
	if (!dw_rd_ok(&r))
		return r.status;
	*ret = (struct connect_frame){
		.flags = flags,
		.message = message,
		.frame_n = CONNECT_HEAD + (size_t)message_n,
	};
	return DW_PARSE_OK;
}

void connect_head_build(uint8_t out[static CONNECT_HEAD], uint8_t flags, uint32_t message_n)
{
	struct dw_wr w = dw_wr_init(out, CONNECT_HEAD);
	dw_wr_u8(&w, flags);
	dw_wr_u32(&w, message_n);
}
