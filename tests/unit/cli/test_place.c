/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/place.h"

static void test_parse(void **state)
{
	static const struct {
		const char *word, *id, *path;
	} rows[] = {
		{ "sbx-1:/a", "sbx-1", "/a" },
		{ "a:b:c", "a", "b:c" },
		{ "./a:b", "", "./a:b" },
		{ "/a:b", "", "/a:b" },
		{ "a", "", "a" },
		{ ":a", "", ":a" },
		{ "a b:c", "", "a b:c" },
		{ "../x:/y", "", "../x:/y" },
		{ "-", "", "-" },
	};
	struct place p;
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		assert_true(place_parse(rows[i].word, &p));
		assert_string_equal(p.id, rows[i].id);
		assert_string_equal(p.path, rows[i].path);
	}
	assert_false(place_parse("", &p));
	assert_false(place_parse("sbx-1:", &p));
	char longest[PLACE_ID_MAX + 4];
	memset(longest, 'a', sizeof(longest));
	strcpy(longest + PLACE_ID_MAX, ":x");
	assert_true(place_parse(longest, &p));
	assert_int_equal(strlen(p.id), PLACE_ID_MAX);
	strcpy(longest + PLACE_ID_MAX, "a:x");
	assert_true(place_parse(longest, &p));
	assert_string_equal(p.id, "");
}

static void test_names(void **state)
{
	static const char *const good[] = { "a", "...", ".a", "a b", "\x1b[1m", "-rf" };
	static const char *const bad[] = { "", ".", "..", "/", "a/b", "../a", "/a", "a/" };
	char longest[257];
	for (size_t i = 0; i < DW_COUNT(good); i++)
		assert_true(place_is_name(good[i]));
	for (size_t i = 0; i < DW_COUNT(bad); i++)
		assert_false(place_is_name(bad[i]));
	memset(longest, 'a', 256);
	longest[256] = '\0';
	assert_false(place_is_name(longest));
	longest[255] = '\0';
	assert_true(place_is_name(longest));
}

static void test_ids(void **state)
{
	assert_true(place_is_id("sbx-1_A"));
	assert_false(place_is_id(""));
	assert_false(place_is_id("a/b"));
	assert_false(place_is_id("a?b"));
	assert_false(place_is_id(".."));
	assert_false(place_is_id("a\n"));
}

static void test_last_part(void **state)
{
	static const char *const rows[][2] = {
		{ "/a/b", "b" }, { "/a/b/", "b" }, { "b", "b" }, { "/", "" },        { "", "" },
		{ ".", "" },     { "a/..", "" },   { "//", "" }, { "/a//b//", "b" }, { "a/.", "" },
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		char *got = place_name(rows[i][0]);
		assert_string_equal(got, rows[i][1]);
		free(got);
	}
}

static void test_join_and_folders(void **state)
{
	static const char *const rows[][3] = {
		{ "a", "b", "a/b" }, { "a/", "b", "a/b" }, { "/", "b", "/b" }, { "", "b", "b" }
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		char *got = place_join(rows[i][0], rows[i][1]);
		assert_string_equal(got, rows[i][2]);
		free(got);
	}
	assert_true(place_says_folder("a/"));
	assert_true(place_says_folder("."));
	assert_true(place_says_folder("a/.."));
	assert_false(place_says_folder("a"));
	assert_false(place_says_folder("a..b/c."));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_last_part),
		cmocka_unit_test(test_join_and_folders),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
