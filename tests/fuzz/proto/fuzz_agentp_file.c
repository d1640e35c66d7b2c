/* SPDX-License-Identifier: Apache-2.0 */
/* The payload of a request or an answer about directories: the first byte is its type. What parses builds to the same bytes again. */
#include "proto/agentp_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t again(uint8_t type, struct dw_span p, uint8_t *out)
{
	struct dw_agentp_file_request q;
	struct dw_agentp_entry entry;
	struct dw_agentp_event event;
	bool made;
	enum dw_parse res;
	if (type == DW_AGENTP_ENTRY) {
		res = dw_agentp_entry_parse(p, &entry);
		dw_assert(res != DW_PARSE_MORE);
		return res == DW_PARSE_OK ? dw_agentp_entry_build(&entry, out, p.n) : SIZE_MAX;
	}
	if (type == DW_AGENTP_EVENT) {
		res = dw_agentp_event_parse(p, &event);
		dw_assert(res != DW_PARSE_MORE);
		return res == DW_PARSE_OK ? dw_agentp_event_build(&event, out, p.n) : SIZE_MAX;
	}
	if (type == DW_AGENTP_MADE) {
		res = dw_agentp_made_parse(p, &made);
		dw_assert(res != DW_PARSE_MORE);
		if (res != DW_PARSE_OK)
			return SIZE_MAX;
		out[0] = made;
		return 1;
	}
	res = dw_agentp_file_request_parse(type, p, &q);
	dw_assert(res != DW_PARSE_MORE);
	return res == DW_PARSE_OK ? dw_agentp_file_request_build((enum dw_agentp_type)type, &q, out, p.n) : SIZE_MAX;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > DW_AGENTP_FRAME_MAX)
		return 0;
	const struct dw_span p = { data + 1, size - 1 };
	uint8_t *out = malloc(size);
	dw_assert(out);
	const size_t n = again(data[0], p, out);
	dw_assert(n == SIZE_MAX || (n == p.n && memcmp(out, p.p, n) == 0));
	free(out);
	return 0;
}
