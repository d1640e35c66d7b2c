/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Envelopes of the Connect protocol (https://connectrpc.com/docs/protocol, streaming RPCs): a byte of flags, four of length in network order,
 * the message. Pure.
 */
#pragma once

#include "core/rd.h"

#define CONNECT_HEAD       5u
#define CONNECT_COMPRESSED 0x01u
#define CONNECT_END        0x02u /* the last one of an answer: {} or {"error": ...} */

struct connect_frame {
	uint8_t flags;
	struct dw_span message; /* into the caller's bytes */
	size_t frame_n;         /* head and message */
};

/*
 * The first envelope of n bytes. MORE until the whole of it is there; BIG as soon as its length is known to be above max; BAD for a flag that
 * there is not.
 */
enum dw_parse connect_frame_parse(const void *data, size_t n, size_t max, struct connect_frame *ret);
void connect_head_build(uint8_t out[static CONNECT_HEAD], uint8_t flags, uint32_t message_n);
