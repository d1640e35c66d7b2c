/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include "daemon/sse.h"

static char *taken(struct sse_out *o, size_t step)
{
	static char text[4096];
	size_t n = 0;
	for (size_t got; (got = sse_take(o, text + n, DW_MIN(step, sizeof(text) - 1 - n))) > 0;)
		n += got;
	text[n] = '\0';
	assert_true(sse_out_empty(o));
	return text;
}

#define TEXT(s) s, sizeof(s) - 1

static void events_are_ascii(void **state)
{
	static const struct {
		const char *json;
		size_t n;
		const char *want;
	} rows[] = {
		{ TEXT("{\"a\":1}"), "{\"a\":1}" },
		{ TEXT(""), "" },
		{ TEXT("\"\\n\""), "\"\\n\"" },
		{ TEXT("{\n\t\"a\"\r\n:1}"), "{  \"a\"  :1}" },
		{ TEXT("\"\xc3\xa9\""), "\"\\u00e9\"" },
		{ TEXT("\"\xc2\x85\""), "\"\\u0085\"" },
		{ TEXT("\"\xe2\x80\xa8\xe2\x80\xa9\""), "\"\\u2028\\u2029\"" },
		{ TEXT("\"\xf0\x9f\x98\x80\""), "\"\\ud83d\\ude00\"" },
		{ TEXT("\"\xf4\x8f\xbf\xbf\""), "\"\\udbff\\udfff\"" },
		{ TEXT("\"\x7f\""), "\"\\u007f\"" },
		{ TEXT("\"\xff\xc3\""), "\"\\ufffd\\ufffd\"" },
		{ TEXT("\"\xed\xa0\x80\""), "\"\\ufffd\\ufffd\\ufffd\"" }, /* a surrogate is no character */
		{ TEXT("\"\xe2\x80\""), "\"\\ufffd\"" },
	};
	struct sse_out o = { 0 };
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		char want[256];
		snprintf(want, sizeof(want), "event: change\ndata: %s\n\n", rows[i].want);
		char *exact = malloc(rows[i].n ? rows[i].n : 1);
		memcpy(exact, rows[i].json, rows[i].n);
		assert_true(sse_put(&o, "change", exact, rows[i].n));
		free(exact);
		assert_string_equal(taken(&o, i + 1), want);
	}
	sse_out_done(&o);
}

/* Each byte alone and in front of others: nothing raw ever goes out, nothing is written beyond the room. */
static void every_byte(void **state)
{
	struct sse_out o = { 0 };
	for (unsigned c = 0; c < 256; c++) {
		const char json[] = { (char)c, (char)c, 'x', (char)c };
		assert_true(sse_put(&o, "e", json, sizeof(json)));
		const char *text = taken(&o, 4096);
		assert_memory_equal(text, "event: e\ndata: ", 15);
		const size_t n = strlen(text);
		assert_string_equal(text + n - 2, "\n\n");
		for (size_t i = 15; i + 2 < n; i++)
			assert_true(text[i] >= ' ' && text[i] < 0x7f);
	}
	sse_out_done(&o);
}

static void several_wait_together(void **state)
{
	struct sse_out o = { 0 };
	char buf[7];
	assert_true(sse_out_empty(&o));
	assert_int_equal(sse_take(&o, buf, sizeof(buf)), 0);
	assert_true(sse_put_json(&o, "start", json_pack("{ss}", "path", "/\xc3\xa9")));
	assert_int_equal(sse_take(&o, buf, sizeof(buf)), 7);
	assert_memory_equal(buf, "event: ", 7);
	/* What comes while something waits stands behind it. */
	assert_true(sse_put_ping(&o));
	assert_true(sse_put_json(&o, "end", json_true()));
	assert_string_equal(taken(&o, 3),
			    "start\ndata: {\"path\":\"/\\u00e9\"}\n\n: ping\n\nevent: end\ndata: true\n\n");
	assert_false(sse_put_json(&o, "end", NULL));
	assert_true(sse_out_empty(&o));
	sse_out_done(&o);
	sse_out_done(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(events_are_ascii),
		cmocka_unit_test(every_byte),
		cmocka_unit_test(several_wait_together),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
