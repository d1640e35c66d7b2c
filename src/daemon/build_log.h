/* SPDX-License-Identifier: Apache-2.0 */
/* The latest lines that a build wrote, numbered from 0; bytes come from a sandbox. No lock of its own. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "daemon/bounds.h"
#include "daemon/jsonx.h"

struct build_log {
	char **line; /* a ring */
	size_t cap, head, n;
	size_t bytes;
	uint64_t from; /* number of the first line that is kept */
	char part[DAEMON_BUILD_LINE];
	size_t part_n;
	bool returned; /* a carriage return: what comes next overwrites the line */
};

/* Whatever does not fit into memory is dropped. */
void build_log_add(struct build_log *l, const void *p, size_t n);
/* A line of the server's own. */
void build_log_say(struct build_log *l, const char *text);
/* The last line is complete, and no more than max bytes are kept. */
void build_log_end(struct build_log *l, size_t max);
void build_log_done(struct build_log *l);
/* Lines from number since on; *ret_from: the number of the first one in it. NULL when memory is out. */
json_t *build_log_json(const struct build_log *l, uint64_t since, uint64_t *ret_from);
