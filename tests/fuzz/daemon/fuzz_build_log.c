/* SPDX-License-Identifier: Apache-2.0 */
/* What a build writes, in pieces: lines are counted and bounded, and are JSON whatever bytes come. */
#include <stdint.h>
#include <string.h>

#include "daemon/build_log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte of each piece is its length. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct build_log log; /* some KiB */
	uint64_t from = 0, seen = 0;
	memset(&log, 0, sizeof(log));
	while (size) {
		const size_t n = DW_MIN((size_t)data[0], size - 1);
		build_log_add(&log, data + 1, n);
		data += 1 + n;
		size -= 1 + n;
		dw_assert(log.part_n < sizeof(log.part) && log.from + log.n >= seen);
		seen = log.from + log.n;
	}
	build_log_end(&log, 256);
	dw_assert(log.bytes <= 256 || log.n == 0);
	auto_json json_t *all = build_log_json(&log, 0, &from);
	auto_json json_t *none = build_log_json(&log, UINT64_MAX, &seen);
	dw_assert(all && none && from == log.from && json_array_size(all) == log.n && json_array_size(none) == 0);
	dw_assert(seen == log.from + log.n);
	dw_autofree char *text = json_dumps(all, JSON_COMPACT);
	dw_assert(text);
	build_log_done(&log);
	return 0;
}
