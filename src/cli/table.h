/* SPDX-License-Identifier: Apache-2.0 */
/* Aligned columns. Cells are escaped, so that they may hold what a sandbox chose. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/macros.h"

#define TABLE_COLUMNS_MAX 12u

struct table {
	size_t columns;
	bool right[TABLE_COLUMNS_MAX]; /* the column is aligned to the right */
	char **cell;                   /* row by row */
	size_t n;
	bool failed; /* memory was out: nothing is printed */
};

/* The first row is the heading. NULL is shown as "-". */
void table_add(struct table *t, const char *text);
/* False when memory was out. */
bool DW_MUST_USE table_print(const struct table *t, FILE *out);
void table_done(struct table *t);
