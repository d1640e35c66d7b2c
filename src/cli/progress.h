/* SPDX-License-Identifier: Apache-2.0 */
/* A bar on the terminal of standard error; nothing where that is none. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct progress {
	bool on;
	/* private */
	char *name;
	int64_t total, begun_ms, shown_ms;
};

void progress_init(struct progress *p, bool quiet);
/* One file begins; name is escaped here. total: bytes, -1 where nobody knows. */
void progress_begin(struct progress *p, const char *name, int64_t total);
/* So many bytes of it have gone. */
void progress_move(struct progress *p, int64_t done);
/* Takes the bar away. */
void progress_end(struct progress *p);
