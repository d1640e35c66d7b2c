/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/text.h"

static void escape_is(const char *in, size_t n, const char *want)
{
	char *copy = malloc(n ? n : 1); /* exactly as long, for the sanitizer */
	assert_non_null(copy);
	memcpy(copy, in, n);
	char *got = cli_escape(copy, n);
	assert_string_equal(got, want);
	free(got);
	free(copy);
}
#define ESCAPE(in, want) escape_is(in, sizeof(in) - 1, want)

static void test_escape(void **state)
{
	ESCAPE("", "");
	ESCAPE("plain \xc3\xbc \xe2\x82\xac \xf0\x9f\x98\x80", "plain \xc3\xbc \xe2\x82\xac \xf0\x9f\x98\x80");
	ESCAPE("\x1b[31m\a", "\\x1b[31m\\x07");
	ESCAPE("a\nb\tc\rd\\", "a\\nb\\tc\\rd\\\\");
	ESCAPE("a\0b", "a\\x00b");
	ESCAPE("\x7f", "\\x7f");
	ESCAPE("\xc2\x9b", "\\x9b"); /* C1 as UTF-8 */
	ESCAPE("\x9b\xff", "\\x9b\\xff");
	ESCAPE("\xe2\x80\xae", "\\u202e");
	ESCAPE("\xe2\x80\xa8", "\\u2028");
	ESCAPE("\xef\xbb\xbf", "\\ufeff");
	ESCAPE("\xf3\xa0\x80\x81", "\\U000e0001");
	ESCAPE("\xc0\x80", "\\xc0\\x80");          /* overlong */
	ESCAPE("\xe0\x80\x9b", "\\xe0\\x80\\x9b"); /* overlong */
	ESCAPE("\xed\xa0\x80", "\\xed\\xa0\\x80"); /* a surrogate */
	ESCAPE("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");
	ESCAPE("\xe2\x82", "\\xe2\\x82"); /* cut off */
	ESCAPE("\xf8\x88\x80\x80\x80", "\\xf8\\x88\\x80\\x80\\x80");
}

static void test_every_byte_alone_is_harmless(void **state)
{
	for (int c = 0; c < 256; c++) {
		const char byte = (char)c;
		char *got = cli_escape(&byte, 1);
		for (const char *p = got; *p; p++)
			assert_in_range((unsigned char)*p, 0x20, 0x7e);
		free(got);
	}
}

static void test_width(void **state)
{
	assert_int_equal(cli_width(""), 0);
	assert_int_equal(cli_width("a\xc3\xbc\xe2\x82\xac"), 3);
}

static void test_quote(void **state)
{
	static const char *const rows[][2] = {
		{ "", "''" },
		{ "ls", "ls" },
		{ "a b", "'a b'" },
		{ "it's", "'it'\\''s'" },
		{ "'", "''\\'''" },
		{ "$HOME", "'$HOME'" },
		{ "a\nb", "'a\nb'" },
		{ "-l", "-l" },
		{ "~", "'~'" },
		{ "a=b", "'a=b'" },
		{ "*", "'*'" },
		{ "\xc3\xbc", "'\xc3\xbc'" },
		{ "/bin/sh", "/bin/sh" },
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		char *got = cli_quote(rows[i][0]);
		assert_string_equal(got, rows[i][1]);
		free(got);
	}
	char first[] = "a", second[] = "", third[] = "'''''";
	char *const words[] = { first, second, third };
	char *got = cli_quote_words(words, 3);
	assert_string_equal(got, "a '' ''\\'''\\'''\\'''\\'''\\'''");
	free(got);
	got = cli_quote_words(words, 0);
	assert_string_equal(got, "");
	free(got);
}

static void test_size(void **state)
{
	static const struct {
		uint64_t n;
		const char *want;
	} rows[] = {
		{ 0, "0" },
		{ 1023, "1023" },
		{ 1024, "1.0K" },
		{ 10239, "9.9K" },
		{ 10240, "10K" },
		{ 1047552, "1023K" },
		{ 1048576, "1.0M" },
		{ 500ull << 20, "500M" },
		{ 4ull << 30, "4.0G" },
		{ UINT64_MAX, "1.5E" },
	};
	char buf[CLI_SIZE_MAX];
	for (size_t i = 0; i < DW_COUNT(rows); i++)
		assert_string_equal(cli_size(rows[i].n, buf), rows[i].want);
}

static void test_age(void **state)
{
	static const struct {
		int64_t n;
		const char *want;
	} rows[] = {
		{ 0, "0s" },
		{ 119, "119s" },
		{ 120, "2m" },
		{ 7199, "119m" },
		{ 7200, "2h" },
		{ 172799, "47h" },
		{ 172800, "2d" },
		{ -5, "-5s" },
		{ INT64_MAX, "106751991167300d" },
		{ INT64_MIN, "-106751991167300d" },
	};
	char buf[CLI_AGE_MAX];
	for (size_t i = 0; i < DW_COUNT(rows); i++)
		assert_string_equal(cli_age(rows[i].n, buf), rows[i].want);
}

static void test_time(void **state)
{
	static const char *const bad[] = {
		"", "now", "2026-01-15", "2026-01-15T10:30:00", "2026-01-15T10:30:00+02:00", "2026-01-15T10:30:00.5Zx"
	};
	time_t t = 0;
	assert_true(cli_parse_time("2026-01-15T10:30:00.123456+00:00", &t));
	assert_int_equal(t, 1768473000);
	assert_true(cli_parse_time("1970-01-01T00:00:01Z", &t));
	assert_int_equal(t, 1);
	for (size_t i = 0; i < DW_COUNT(bad); i++)
		assert_false(cli_parse_time(bad[i], &t));
}

static void test_pair(void **state)
{
	size_t n = 0;
	const char *value = NULL;
	assert_true(cli_split_pair("A=b=c", &n, &value));
	assert_int_equal(n, 1);
	assert_string_equal(value, "b=c");
	assert_true(cli_split_pair("A=", &n, &value));
	assert_string_equal(value, "");
	assert_false(cli_split_pair("A", &n, &value));
	assert_false(cli_split_pair("=b", &n, &value));
}

static void test_percent(void **state)
{
	char *got = cli_percent("/a b&c=d#%?+~\xc3\xbc-_.");
	assert_string_equal(got, "%2Fa%20b%26c%3Dd%23%25%3F%2B~%C3%BC-_.");
	free(got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escape),  cmocka_unit_test(test_every_byte_alone_is_harmless),
		cmocka_unit_test(test_width),   cmocka_unit_test(test_quote),
		cmocka_unit_test(test_size),    cmocka_unit_test(test_age),
		cmocka_unit_test(test_time),    cmocka_unit_test(test_pair),
		cmocka_unit_test(test_percent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
