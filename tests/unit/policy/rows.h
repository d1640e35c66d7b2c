/* SPDX-License-Identifier: Apache-2.0 */
/* Table-driven tests: each row becomes a cmocka test of its own, named after the row. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/macros.h"

#define ROWS_MAX 400

struct rows {
	struct CMUnitTest test[ROWS_MAX];
	size_t n;
};

/* rows: an array of structs whose first member is `const char *name`. */
#define ADD_ROWS(r, rows, func)                        \
	for (size_t i_ = 0; i_ < DW_COUNT(rows); i_++) \
	add_row((r), *(const char *const *)&(rows)[i_], (func), &(rows)[i_])

static inline void add_row(struct rows *r, const char *name, CMUnitTestFunction func, const void *row)
{
	dw_assert(r->n < ROWS_MAX);
	r->test[r->n++] = (struct CMUnitTest){ name, func, NULL, NULL, (void *)(uintptr_t)row };
}

static inline int run_rows(const char *group, struct rows *r)
{
	return _cmocka_run_group_tests(group, r->test, r->n, NULL, NULL);
}
