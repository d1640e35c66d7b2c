/* SPDX-License-Identifier: Apache-2.0 */
/* A chunked body in one piece and byte by byte must end the same, at the same place. */
#include "fuzz_wire.h"
#include "wire/http_head.h"

static enum dw_parse feed(const uint8_t *data, size_t size, size_t piece, size_t *ret_used)
{
	struct dw_http_chunked c = { 0 };
	enum dw_parse status = DW_PARSE_MORE;
	*ret_used = 0;
	while (status == DW_PARSE_MORE && *ret_used < size) {
		size_t used, len = DW_MIN(piece, size - *ret_used);
		status = dw_http_chunked_feed(&c, data + *ret_used, len, &used);
		MUST(used <= len && (status != DW_PARSE_MORE || used == len));
		*ret_used += used;
	}
	return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t whole_used, used;
	enum dw_parse whole = feed(data, size, size, &whole_used);
	MUST(whole != DW_PARSE_BIG);
	for (size_t piece = 1; piece <= 8; piece++)
		MUST(feed(data, size, piece, &used) == whole && used == whole_used);
	return 0;
}
