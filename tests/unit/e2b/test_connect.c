/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "e2b/connect_frame.h"
#include "e2b/message.h"
#include "e2b/path.h"

#define BYTES(text) text, sizeof(text) - 1

static void envelopes(void **state)
{
	static const struct {
		const char *p;
		size_t n;
		enum dw_parse res;
		uint8_t flags;
		const char *message;
	} rows[] = {
		{ BYTES("\0\0\0\0\2{}"), DW_PARSE_OK, 0, "{}" },
		{ BYTES("\2\0\0\0\2{}more"), DW_PARSE_OK, CONNECT_END, "{}" },
		{ BYTES("\1\0\0\0\1x"), DW_PARSE_OK, CONNECT_COMPRESSED, "x" },
		{ BYTES("\0\0\0\0\0"), DW_PARSE_OK, 0, "" },
		{ BYTES("\0\0\0\x10\0"), DW_PARSE_MORE },
		{ BYTES("\0\0\0\x10\1"), DW_PARSE_BIG },
		{ BYTES("\0\xff\xff\xff\xff"), DW_PARSE_BIG },
		{ BYTES("\4\0\0\0\0"), DW_PARSE_BAD },
		{ BYTES("\x80"), DW_PARSE_BAD },
		{ BYTES(""), DW_PARSE_MORE },
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		struct connect_frame f = { 0 };
		/* Exactly as large, so that a sanitizer sees a byte too many. */
		for (size_t n = 0; n <= rows[i].n; n++) {
			uint8_t *exact = malloc(n ? n : 1);
			assert_non_null(exact);
			if (n)
				memcpy(exact, rows[i].p, n);
			const enum dw_parse res = connect_frame_parse(exact, n, 4096, &f);
			if (n == rows[i].n)
				assert_int_equal(res, rows[i].res);
			else
				assert_true(res == DW_PARSE_MORE || res == rows[i].res);
			if (n == rows[i].n && res == DW_PARSE_OK) {
				assert_int_equal(f.flags, rows[i].flags);
				assert_int_equal(f.message.n, strlen(rows[i].message));
				assert_memory_equal(f.message.p, rows[i].message, f.message.n);
			}
			free(exact);
		}
	}
	uint8_t head[CONNECT_HEAD];
	connect_head_build(head, CONNECT_END, 0x01020304);
	assert_memory_equal(head, "\2\1\2\3\4", 5);
}

static json_t *parse(const char *text)
{
	json_t *j = json_loads(text, JSON_ALLOW_NUL, NULL);
	assert_non_null(j);
	return j;
}

static void numbers(void **state)
{
	static const struct {
		const char *text;
		int r;
		bool present;
		uint32_t value;
	} rows[] = {
		{ "{}", 0, false, 9 },
		{ "{\"aB\": null}", 0, false, 9 },
		{ "{\"aB\": 7}", 0, true, 7 },
		{ "{\"a_b\": 7}", 0, true, 7 },
		{ "{\"aB\": \"7\"}", 0, true, 7 },
		{ "{\"aB\": 7.0}", 0, true, 7 },
		{ "{\"aB\": 7e2}", 0, true, 700 },
		{ "{\"aB\": 4294967295}", 0, true, UINT32_MAX },
		{ "{\"aB\": 4294967296}", -1 },
		{ "{\"aB\": -1}", -1 },
		{ "{\"aB\": 1.5}", -1 },
		{ "{\"aB\": \"-1\"}", -1 },
		{ "{\"aB\": \"\"}", -1 },
		{ "{\"aB\": 1e300}", -1 },
		{ "{\"aB\": true}", -1 },
		{ "{\"aB\": {}}", -1 },
		{ "{\"aB\": \" 7\"}", -1 },
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		auto_json json_t *j = parse(rows[i].text);
		uint32_t v = 9;
		bool present = false;
		struct dw_err err;
		if (message_uint32(j, "aB", &v, &present, &err) != rows[i].r)
			fail_msg("%s", rows[i].text);
		if (rows[i].r == 0) {
			assert_int_equal(v, rows[i].value);
			assert_int_equal(present, rows[i].present);
		}
	}
}

static void bytes(void **state)
{
	static const struct {
		const char *text;
		int r;
		const char *value;
	} rows[] = {
		{ "{\"x\": \"aGk=\"}", 0, "hi" },
		{ "{\"x\": \"aGk\"}", 0, "hi" },
		{ "{\"x\": \"_-8\"}", 0, "\xff\xef" },
		{ "{\"x\": \"/+8=\"}", 0, "\xff\xef" },
		{ "{\"x\": \"\"}", 0, "" },
		{ "{\"x\": \"a\"}", -1 },
		{ "{\"x\": \"aGk=x\"}", -1 },
		{ "{\"x\": \"aG k\"}", -1 },
		{ "{\"x\": 7}", -1 },
		{ "{\"x\": \"aG\\u0000\"}", -1 },
		{ "{\"x\": \"aGl\"}", -1 },
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		auto_json json_t *j = parse(rows[i].text);
		dw_autofree uint8_t *v = NULL;
		size_t n = 0;
		struct dw_err err;
		if (message_bytes(j, "x", &v, &n, &err) != rows[i].r)
			fail_msg("%s", rows[i].text);
		if (rows[i].r == 0) {
			assert_int_equal(n, strlen(rows[i].value));
			assert_memory_equal(v, rows[i].value, n);
		}
	}
}

static void enums_and_the_rest(void **state)
{
	static const struct message_enum of[] = { { "KILL", 9 } };
	auto_json json_t *j =
		parse("{\"a\": \"KILL\", \"b\": 15, \"c\": \"TERM\", \"d\": null, \"e\": \"x\\u0000\", \"f\": []}");
	struct dw_err err;
	const json_t *v = NULL;
	const char *s = NULL;
	bool flag = true;
	int e = 0;
	assert_int_equal(message_enum(j, "a", of, 1, &e, &err), 0);
	assert_int_equal(e, 9);
	assert_int_equal(message_enum(j, "b", of, 1, &e, &err), 0);
	assert_int_equal(e, 15);
	assert_int_equal(message_enum(j, "c", of, 1, &e, &err), -1);
	assert_int_equal(message_enum(j, "d", of, 1, &e, &err), 0);
	assert_int_equal(e, 15);
	assert_int_equal(message_string(j, "e", &s, &err), -1);
	assert_int_equal(message_string(j, "b", &s, &err), -1);
	assert_int_equal(message_string(j, "a", &s, &err), 0);
	assert_string_equal(s, "KILL");
	assert_int_equal(message_bool(j, "b", &flag, &err), -1);
	assert_int_equal(message_bool(j, "d", &flag, &err), 0);
	assert_true(flag);
	assert_int_equal(message_message(j, "f", &v, &err), -1);
	assert_int_equal(message_array(j, "f", &v, &err), 0);
	assert_ptr_equal(v, json_object_get(j, "f"));
}

static void paths(void **state)
{
	static const struct {
		const char *path, *want; /* NULL: refused */
	} rows[] = {
		{ "/", "/" },           { "//", "/" },       { "/a", "/a" },      { "/a/", "/a" },  { "/a//b", "/a/b" },
		{ "/a/./b/.", "/a/b" }, { "/a/../b", "/b" }, { "/a/b/..", "/a" }, { "/a/..", "/" }, { "/..", "/" },
		{ "/../../a", "/a" },   { "", "." },         { ".", "." },        { "~", "." },     { "~/", "." },
		{ "~/a", "a" },         { "~//a", "a" },     { "~a", "~a" },      { "a", "a" },     { "./a", "a" },
		{ "a/b/../c", "a/c" },  { "a/..", "." },     { "a/../b", "b" },   { "..", NULL },   { "a/../..", NULL },
		{ "~/..", NULL },       { "...", "..." },    { "/..a", "/..a" },
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		char got[E2B_PATH_SIZE];
		struct dw_err err;
		const int r = e2b_path(rows[i].path, "path", got, &err);
		if (r != (rows[i].want ? 0 : -1) || (r == 0 && strcmp(got, rows[i].want) != 0))
			fail_msg("%s: %s", rows[i].path, r == 0 ? got : "refused");
	}
	char *path = malloc(DAEMON_PATH_MAX + 2), got[E2B_PATH_SIZE];
	struct dw_err err;
	assert_non_null(path);
	memset(path, 'a', DAEMON_PATH_MAX + 1);
	path[DAEMON_PATH_MAX + 1] = '\0';
	assert_int_equal(e2b_path(path, "path", got, &err), -1);
	path[DAEMON_PATH_MAX] = '\0';
	assert_int_equal(e2b_path(path, "path", got, &err), 0);
	assert_string_equal(got, path);
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(envelopes),          cmocka_unit_test(numbers), cmocka_unit_test(bytes),
		cmocka_unit_test(enums_and_the_rest), cmocka_unit_test(paths),
	};
	return cmocka_run_group_tests_name("connect", tests, NULL, NULL);
}
