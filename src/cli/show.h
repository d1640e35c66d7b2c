/* SPDX-License-Identifier: Apache-2.0 */
/* Results of a check for people and for programs. */
#pragma once

#include <stdio.h>

#include "cli/check.h"

struct show_target {
	char *text; /* as written */
	struct target target;
};

struct show {
	const struct check *check;
	const struct show_target *target;
	size_t target_n;
	bool verbose;
};

/* Each prints everything and returns how many results are refusals, or -1 when memory is out. */
long show_table(const struct show *s, FILE *out);
long show_json(const struct show *s, FILE *out);
