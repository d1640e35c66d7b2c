/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/keys.h"

static void typed_is(bool escapes, const char *in, size_t n, const char *want, bool leaves)
{
	/* However the keys come in. */
	for (size_t piece = 1; piece <= n; piece++) {
		struct keys k = { .escapes = escapes };
		char got[256] = "";
		bool leave = false;
		for (size_t at = 0; at < n && !leave; at += piece) {
			json_t *j = NULL;
			const size_t m = DW_MIN(piece, n - at);
			assert_true(keys_take(&k, in + at, m, at + m == n, &j, &leave));
			strncat(got, json_string_value(j), sizeof(got) - strlen(got) - 1);
			json_decref(j);
		}
		assert_string_equal(got, want);
		assert_int_equal(leave, leaves);
	}
}
#define TYPED(in, want)  typed_is(true, in, sizeof(in) - 1, want, false)
#define LEAVES(in, want) typed_is(true, in, sizeof(in) - 1, want, true)
#define PIPED(in, want)  typed_is(false, in, sizeof(in) - 1, want, false)
#define REPLACEMENT      "\xef\xbf\xbd"

static void test_escapes(void **state)
{
	TYPED("ls\r", "ls\r");
	TYPED("a~.", "a~.");
	TYPED("\r~~.", "\r~.");
	TYPED("~x~.", "~x~.");
	TYPED("~\r", "~\r");
	LEAVES("~.", "");
	LEAVES("ls\r~.more", "ls\r");
	LEAVES("~\r~.", "~\r");
	PIPED("~.", "~.");
}

static void test_utf8(void **state)
{
	TYPED("\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80");
	TYPED("a\xff"
	      "b",
	      "a" REPLACEMENT "b");
	TYPED("\xe2\x82"
	      "a",
	      REPLACEMENT "a");
	TYPED("\xc0\x80", REPLACEMENT REPLACEMENT);
	TYPED("\xe0\x80\x80", REPLACEMENT REPLACEMENT REPLACEMENT);
	TYPED("\xed\xa0\x80", REPLACEMENT REPLACEMENT REPLACEMENT);
	TYPED("\xf4\x90\x80\x80", REPLACEMENT REPLACEMENT REPLACEMENT REPLACEMENT);
	TYPED("\xe2\x82", REPLACEMENT); /* cut off by the end */
}

static void test_nul(void **state)
{
	struct keys k = { 0 };
	json_t *j = NULL;
	bool leave;
	assert_true(keys_take(&k, "a\0b", 3, false, &j, &leave));
	assert_int_equal(json_string_length(j), 3);
	json_decref(j);
}

static void test_the_most(void **state)
{
	struct keys k = { .escapes = true };
	char in[KEYS_MAX];
	json_t *j = NULL;
	bool leave;
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = i % 3 == 0 ? '\r' : i % 3 == 1 ? '~' : '\xff';
	assert_true(keys_take(&k, in, sizeof(in), false, &j, &leave));
	assert_true(json_string_length(j) > KEYS_MAX);
	json_decref(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_the_most),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
