/* SPDX-License-Identifier: Apache-2.0 */
/* A stream of frames, and each payload through the parser of its type; what parses builds to the same bytes again. */
#include "proto/agentp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void payload(uint8_t type, struct dw_span p)
{
	struct dw_span a, b;
	uint16_t number, x, y;
	uint8_t signal_number;
	struct dw_agentp_exit e;
	uint8_t *out = malloc(p.n + 1);
	dw_assert(out);
	if (type == DW_AGENTP_FILE_READ && dw_agentp_file_parse(p, &a, &b) == DW_PARSE_OK)
		dw_assert(dw_agentp_file_build(a, b, out, p.n) == p.n && (!p.n || memcmp(out, p.p, p.n) == 0));
	if (type == DW_AGENTP_ERROR && dw_agentp_error_parse(p, &number, &a) == DW_PARSE_OK)
		dw_assert(a.n + 6 == p.n && !memchr(a.p, 0, a.n));
	if (type == DW_AGENTP_EXIT && dw_agentp_exit_parse(p, &e) == DW_PARSE_OK)
		dw_assert(dw_agentp_exit_build(&e, out, p.n) == p.n && memcmp(out, p.p, p.n) == 0);
	if (type == DW_AGENTP_RESIZE && dw_agentp_resize_parse(p, &x, &y) == DW_PARSE_OK)
		dw_assert(dw_agentp_resize_build(x, y, out, p.n) == p.n && memcmp(out, p.p, p.n) == 0);
	if (type == DW_AGENTP_SIGNAL && dw_agentp_signal_parse(p, &signal_number) == DW_PARSE_OK)
		dw_assert(dw_agentp_signal_build(signal_number, out, p.n) == p.n && memcmp(out, p.p, p.n) == 0);
	if (type == DW_AGENTP_CONNECT && dw_agentp_connect_parse(p, &x) == DW_PARSE_OK)
		dw_assert(dw_agentp_connect_build(x, out, p.n) == p.n && memcmp(out, p.p, p.n) == 0);
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dw_agentp_frame f;
	while (dw_agentp_frame_parse(data, size, &f) == DW_PARSE_OK) {
		uint8_t head[DW_AGENTP_HEADER];
		dw_agentp_header_build(head, f.type, (uint32_t)f.payload.n);
		dw_assert(memcmp(head, data, sizeof(head)) == 0 && f.frame_n == f.payload.n + sizeof(head));
		payload(f.type, f.payload);
		data += f.frame_n;
		size -= f.frame_n;
	}
	return 0;
}
