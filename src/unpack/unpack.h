/* SPDX-License-Identifier: Apache-2.0 */
/* Reads one archive and makes its entries below the root, within bounds. */
#pragma once

#include "unpack/entry.h"

struct unpack_limits {
	uint64_t bytes;   /* of the files' contents, as they are when unpacked: holes count */
	uint64_t entries; /* read, dropped ones included */
};

struct unpack_result {
	uint64_t files, dirs, links, bytes;
	uint64_t dropped_links, dropped_kinds, dropped_paths, dropped_conflicts, dropped_xattrs;
};

/* Reads fd to its end. *ret is filled in either case. */
int DW_MUST_USE unpack_archive(int fd, enum unpack_mode mode, const struct unpack_limits *limits,
			       struct unpack_result *ret, struct dw_err *err);
