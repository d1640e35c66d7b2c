/* SPDX-License-Identifier: Apache-2.0 */
/* cmocka with what it needs, and directories that go away. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static inline char *make_dir(char path[static 64])
{
	snprintf(path, 64, "/tmp/declaw-unit-XXXXXX");
	assert_non_null(mkdtemp(path));
	return path;
}

static inline void remove_dir(const char *path)
{
	char command[96];
	snprintf(command, sizeof(command), "rm -rf '%s'", path);
	assert_int_equal(system(command), 0);
}

/* One test per row: rows have a name and the index is the initial state. */
#define ROW_TESTS(rows, fn)                                                       \
	struct CMUnitTest tests[sizeof(rows) / sizeof((rows)[0])];                \
	for (size_t row_i = 0; row_i < sizeof(rows) / sizeof((rows)[0]); row_i++) \
		tests[row_i] = (struct CMUnitTest)                                \
		{                                                                 \
			.name = (rows)[row_i].name, .test_func = (fn),            \
			.initial_state = (void *)(uintptr_t) & (rows)[row_i]      \
		}
