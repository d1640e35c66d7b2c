/* SPDX-License-Identifier: Apache-2.0 */
/* An EXEC payload; what parses builds to the same bytes again. */
#include "proto/agentp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct dw_agentp_exec e;
	enum dw_parse res = dw_agentp_exec_parse((struct dw_span){ data, size }, &e);
	dw_assert(res != DW_PARSE_MORE);
	if (res != DW_PARSE_OK || size > DW_AGENTP_FRAME_MAX)
		return 0;
	uint8_t *out = malloc(size);
	dw_assert(out && dw_agentp_exec_build(&e, out, size) == size && memcmp(out, data, size) == 0);
	free(out);
	return 0;
}
