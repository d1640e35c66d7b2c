/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include "daemon/clock.h"
#include "daemon/jsonx.h"
#include "daemon/log.h"
#include "daemon/utf8.h"

#define R "\xef\xbf\xbd"

struct row {
	const char *name, *in, *out;
	size_t valid; /* length of the valid prefix */
	bool start;   /* utf8_valid_start */
};

/* clang-format off */
static const struct row rows[] = {
	{ "empty", "", "", 0, true },
	{ "plain", "abc", "abc", 3, true },
	{ "two to four bytes", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, true },
	{ "stray continuation", "a\x80z", "a" R "z", 1, false },
	{ "never valid bytes", "\xff\xfe", R R, 0, false },
	{ "overlong slash", "\xc0\xaf", R R, 0, false },
	{ "overlong three bytes", "\xe0\x80\xaf", R R R, 0, false },
	{ "surrogate", "\xed\xa0\x80", R R R, 0, false },
	{ "above U+10FFFF", "\xf4\x90\x80\x80", R R R R, 0, false },
	{ "maximal part, then text", "\xe2\x82" "A", R "A", 0, false },
	{ "four bytes cut by text", "\xf0\x9f\x98" "A", R "A", 0, false },
	{ "cut at the end", "ab\xe2\x82", "ab" R, 2, true },
	{ "lead byte at the end", "ab\xf0", "ab" R, 2, true },
};
/* clang-format on */

static void check(void **state)
{
	const struct row *r = *state;
	size_t n = strlen(r->in), out_n = 0;
	char *out = utf8_replace(r->in, n, &out_n);
	assert_non_null(out);
	assert_int_equal(out_n, strlen(r->out));
	assert_memory_equal(out, r->out, out_n + 1);
	free(out);
	assert_int_equal(utf8_valid_prefix(r->in, n), r->valid);
	assert_int_equal(utf8_valid_start(r->in, n), r->start);
}

static void sanitize(void **state)
{
	char out[12];
	utf8_sanitize_line("a\nb\0c\x7f", 6, out, sizeof(out));
	assert_string_equal(out, "a" R "b" R "c");
	utf8_sanitize_line("aaaaaaaaa\xc3\xa9", 11, out, sizeof(out));
	assert_string_equal(out, "aaaaaaaaa\xc3\xa9");
	utf8_sanitize_line("aaaaaaaaaa\xc3\xa9", 12, out, sizeof(out));
	assert_string_equal(out, "aaaaaaaaaa");
}

static void log_values(void **state)
{
	static const char *const pairs[][2] = {
		{ "plain-1.2/x", "plain-1.2/x" },
		{ "", "\"\"" },
		{ "a b", "\"a b\"" },
		{ "a\"b", "\"a\\x22b\"" },
		{ "a\\b", "\"a\\x5cb\"" },
		{ "x\nlevel=info", "\"x\\x0alevel=info\"" },
		{ "\x1b[0m", "\"\\x1b[0m\"" },
		{ "\xc3\xa9", "\"\\xc3\\xa9\"" },
	};
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		char buf[64] = "";
		size_t at = 0;
		log_escape(buf, sizeof(buf), &at, pairs[i][0]);
		assert_string_equal(buf, pairs[i][1]);
		assert_int_equal(at, strlen(buf));
	}
	char tiny[8] = "";
	size_t at = 0;
	log_escape(tiny, sizeof(tiny), &at, "\n\n\n\n\n\n");
	assert_true(at < sizeof(tiny));
}

static void iso_time(void **state)
{
	char buf[CLOCK_ISO_SIZE];
	assert_string_equal(clock_iso(1768473000123456, buf), "2026-01-15T10:30:00.123456+00:00");
	assert_string_equal(clock_iso(1768473000000000, buf), "2026-01-15T10:30:00.000000+00:00");
}

static void tokens(void **state)
{
	char a[33], b[33];
	random_token(a, 32);
	random_token(b, 32);
	assert_int_equal(strlen(a), 32);
	assert_int_equal(strspn(a, "abcdefghijklmnopqrstuvwxyz0123456789"), 32);
	assert_string_not_equal(a, b);
}

static void json_refuses(void **state)
{
	static const char *const bad[] = { "",
					   "{",
					   "[]",
					   "1",
					   "{\"a\":1,\"a\":2}",
					   "{} x",
					   "{\"a\":\"\x80\"}",
					   "nul",
					   "{'a'}",
					   "{\"a\":99999999999999999999}" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		json_t *j = NULL;
		struct dw_err err = { 0 };
		assert_int_equal(jsonx_parse_object(bad[i], strlen(bad[i]), &j, &err), -1);
		assert_null(j);
		assert_int_equal(err.kind, DW_ERR_INVALID);
		assert_string_equal(err.code, "invalid_json");
	}
}

static void json_depth(void **state)
{
	char text[128] = "";
	json_t *j = NULL;
	struct dw_err err = { 0 };
	/* Brackets in strings do not count. */
	assert_int_equal(jsonx_parse_object("{\"a\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[\"}", 48, &j, &err), 0);
	json_decref(j);
	strcpy(text, "{\"a\":");
	for (int i = 0; i < 32; i++)
		strcat(text, "[");
	assert_int_equal(jsonx_parse_object(text, strlen(text), &j, &err), -1);
	assert_non_null(strstr(err.message, "nested"));
}

static void json_members(void **state)
{
	auto_json json_t *j = NULL;
	struct dw_err err = { 0 };
	const char *s = "kept";
	bool b = true, present;
	int64_t n = 7;
	const char text[] = "{\"nul\":\"a\\u0000b\",\"s\":\"x\",\"none\":null,\"n\":3,\"r\":3.0,\"t\":false}";
	assert_int_equal(jsonx_parse_object(text, strlen(text), &j, &err), 0);
	assert_int_equal(jsonx_string(j, "none", &s, &err), 0);
	assert_string_equal(s, "kept");
	assert_int_equal(jsonx_string(j, "s", &s, &err), 0);
	assert_string_equal(s, "x");
	assert_int_equal(jsonx_string(j, "nul", &s, &err), -1);
	assert_non_null(strstr(err.message, "nul must be"));
	assert_int_equal(jsonx_string(j, "n", &s, &err), -1);
	assert_int_equal(jsonx_bool(j, "t", &b, &err), 0);
	assert_false(b);
	assert_int_equal(jsonx_bool(j, "s", &b, &err), -1);
	assert_int_equal(jsonx_integer(j, "n", &n, &present, &err), 0);
	assert_true(present && n == 3);
	assert_int_equal(jsonx_integer(j, "r", &n, &present, &err), -1);
	assert_int_equal(jsonx_integer(j, "absent", &n, &present, &err), 0);
	assert_false(present);
}

/* What is left says the same, byte for byte in its strings, and holds no white space that could be left out. */
static void json_compact(void **state)
{
	static const char *const spellings[][2] = {
		{ "{}", "{}" },
		{ " \t\r\n{ } \n", "{}" },
		{ "{\"a\": [1, 2.50 , null,\ttrue]}", "{\"a\":[1,2.50,null,true]}" },
		{ "{ \"a b\" : \" c \" }", "{\"a b\":\" c \"}" },
		{ "{\"q\": \"\\\" , \\\"\" , \"r\": 1}", "{\"q\":\"\\\" , \\\"\",\"r\":1}" },
		{ "{\"s\": \"\\\\\" , \"t\": \"\\\\\\\" x\\\\\"}", "{\"s\":\"\\\\\",\"t\":\"\\\\\\\" x\\\\\"}" },
		{ "{\"\" : \"\", \"u\": \"\\u0020 \u00e9\\/\"}", "{\"\":\"\",\"u\":\"\\u0020 \u00e9\\/\"}" },
	};
	for (size_t i = 0; i < DW_COUNT(spellings); i++) {
		auto_json json_t *sent = NULL, *kept = NULL;
		struct dw_err err = { 0 };
		const size_t n = strlen(spellings[i][0]);
		assert_int_equal(jsonx_parse_object(spellings[i][0], n, &sent, &err), 0);
		/* Of its own size, so that a read beyond the text is seen. */
		char *text = test_malloc(n);
		memcpy(text, spellings[i][0], n);
		char *compact = jsonx_compact(text, n);
		assert_string_equal(compact, spellings[i][1]);
		assert_int_equal(jsonx_parse_object(compact, strlen(compact), &kept, &err), 0);
		assert_true(json_equal(sent, kept));
		free(compact);
		test_free(text);
	}
}

static void numbers(void **state)
{
	uint64_t v = 5;
	assert_true(jsonx_uint("0", 9, &v) && v == 0);
	assert_true(jsonx_uint("18446744073709551615", UINT64_MAX, &v) && v == UINT64_MAX);
	assert_false(jsonx_uint("18446744073709551616", UINT64_MAX, &v));
	assert_false(jsonx_uint("", 9, &v));
	assert_false(jsonx_uint("-1", 9, &v));
	assert_false(jsonx_uint("+1", 9, &v));
	assert_false(jsonx_uint(" 1", 9, &v));
	assert_false(jsonx_uint("1e1", 99, &v));
	assert_false(jsonx_uint("10", 9, &v));
}

int main(void)
{
	ROW_TESTS(rows, check);
	const struct CMUnitTest more[] = {
		cmocka_unit_test(sanitize),     cmocka_unit_test(log_values),   cmocka_unit_test(iso_time),
		cmocka_unit_test(tokens),       cmocka_unit_test(json_refuses), cmocka_unit_test(json_depth),
		cmocka_unit_test(json_members), cmocka_unit_test(json_compact), cmocka_unit_test(numbers),
	};
	return cmocka_run_group_tests_name("utf8", tests, NULL, NULL) +
	       cmocka_run_group_tests_name("text", more, NULL, NULL);
}
