/* SPDX-License-Identifier: Apache-2.0 */
/* The operations on directories, as the daemon asks for them. */
#pragma once

#include <sys/socket.h>
#include <sys/time.h>

#include "drive.h"
#include "proto/agentp_file.h"

struct dir_frame {
	uint8_t type;
	struct dw_span payload; /* valid until the next one */
};

static inline struct dw_span dir_span(const char *s)
{
	return (struct dw_span){ (const uint8_t *)s, strlen(s) };
}

/* An operation's socket, whose request was sent. */
static inline int dir_ask(enum dw_agentp_type type, const char *user, const char *path, const char *to, uint32_t depth,
			  bool recursive)
{
	const struct dw_agentp_file_request q = { .user = dir_span(user),
						  .path = dir_span(path),
						  .to = dir_span(to),
						  .depth = depth,
						  .recursive = recursive };
	static uint8_t payload[16384];
	const int sock = op_open();
	const size_t n = dw_agentp_file_request_build(type, &q, payload, sizeof(payload));
	assert_true(n > 0);
	op_send(sock, (uint8_t)type, payload, n);
	return sock;
}

/* False at the socket's end; a test that waits for more than twenty seconds fails. */
static inline bool dir_next(int sock, struct dir_frame *ret)
{
	static uint8_t buf[DW_AGENTP_HEADER + DW_AGENTP_CHUNK];
	const struct timeval limit = { .tv_sec = 20 };
	assert_int_equal(setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	const ssize_t got = recv(sock, buf, DW_AGENTP_HEADER, MSG_WAITALL);
	if (got == 0)
		return false;
	assert_int_equal(got, DW_AGENTP_HEADER);
	struct dw_rd r = dw_rd_init(buf, DW_AGENTP_HEADER, false);
	const uint32_t n = dw_rd_u32(&r);
	ret->type = dw_rd_u8(&r);
	assert_true(n <= DW_AGENTP_CHUNK);
	if (n)
		assert_int_equal(recv(sock, buf + DW_AGENTP_HEADER, n, MSG_WAITALL), n);
	ret->payload = (struct dw_span){ buf + DW_AGENTP_HEADER, n };
	return true;
}
