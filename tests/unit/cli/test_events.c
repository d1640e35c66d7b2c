/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/events.h"

struct seen {
	char text[512];
	unsigned count, end_at;
};

static int note(void *arg, const struct event *e)
{
	struct seen *s = arg;
	const size_t n = strlen(s->text);
	assert_int_equal(strlen(e->data), e->n); /* nothing here has a NUL in it */
	snprintf(s->text + n, sizeof(s->text) - n, "<%s|%s|%s>", e->name, e->id, e->data);
	return ++s->count == s->end_at;
}

/* However the stream is cut up, it reads the same. */
static void stream_is(const char *in, const char *want)
{
	for (size_t piece = 1; piece <= strlen(in); piece++) {
		struct seen s = { 0 };
		struct events e = { .take = note, .arg = &s };
		for (size_t at = 0; at < strlen(in); at += piece)
			assert_int_equal(events_feed(&e, in + at, DW_MIN(piece, strlen(in) - at)), EVENTS_MORE);
		assert_string_equal(s.text, want);
		events_done(&e);
	}
}

static void test_streams(void **state)
{
	stream_is("data: a\n\n", "<message||a>");
	stream_is("event: exit\ndata: {}\n\n", "<exit||{}>");
	stream_is("event:exit\ndata:a\ndata: b\n\n", "<exit||a\nb>");
	stream_is(": ping\n\ndata: a\r\n\r\ndata: b\r\rdata: c\n\r\n", "<message||a><message||b><message||c>");
	stream_is("id: 12\ndata: a\n\ndata: b\n\nid\ndata: c\n\n", "<message|12|a><message|12|b><message||c>");
	stream_is("data\n\ndata:\ndata:\n\n", "<message||><message||\n>");
	stream_is("event: x\n\ndata: a\n\n", "<message||a>"); /* a name without data is forgotten */
	stream_is("odd: 1\ndata:  two\n\n", "<message|| two>");
	stream_is("data: cut off\n", "");
	stream_is("data: cut off", "");
	stream_is("event: 0123456789012345678901234567890123456789\nid: "
		  "0123456789012345678901234567890123456789\ndata: x\n\n",
		  "<0123456789012345678901234567890||x>");
}

static void test_the_taker_ends_it(void **state)
{
	static const char in[] = "data: a\n\ndata: b\n\ndata: c\n\n";
	struct seen s = { .end_at = 2 };
	struct events e = { .take = note, .arg = &s };
	assert_int_equal(events_feed(&e, in, sizeof(in) - 1), EVENTS_ENDED);
	assert_string_equal(s.text, "<message||a><message||b>");
	events_done(&e);
}

static void feed_much(struct events *e, const char *head, size_t times, enum events_result want)
{
	char piece[4096];
	enum events_result r = events_feed(e, head, strlen(head));
	memset(piece, 'x', sizeof(piece));
	for (size_t i = 0; i < times && r == EVENTS_MORE; i++)
		r = events_feed(e, piece, sizeof(piece));
	assert_int_equal(r, want);
}

static void test_too_long(void **state)
{
	struct seen s = { 0 };
	struct events e = { .take = note, .arg = &s };
	feed_much(&e, "data: ", EVENTS_DATA_MAX / 4096 + 1, EVENTS_TOO_LONG);
	events_done(&e);
	/* Many lines of one event count together. */
	e = (struct events){ .take = note, .arg = &s };
	enum events_result r = EVENTS_MORE;
	char line[1024];
	memset(line, 'x', sizeof(line));
	memcpy(line, "data: ", 6);
	line[sizeof(line) - 1] = '\n';
	unsigned n = 0;
	for (; r == EVENTS_MORE && n < 2 * EVENTS_DATA_MAX / sizeof(line); n++)
		r = events_feed(&e, line, sizeof(line));
	assert_int_equal(r, EVENTS_TOO_LONG);
	assert_true(n > EVENTS_DATA_MAX / sizeof(line));
	events_done(&e);
	assert_int_equal(s.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_streams),
		cmocka_unit_test(test_the_taker_ends_it),
		cmocka_unit_test(test_too_long),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
