/* SPDX-License-Identifier: Apache-2.0 */
/* Hellos found anywhere in a client's bytes: as rows, cut in every way; and none found in what is no TLS. */
#include "../wire/wire_test.h"

#include <stdio.h>

#include "core/macros.h"
#include "gate/starttls.h"
#include "wire/tls_hello.h"

#define BODY(version) version " x32:11 [1 x32:22 ] [ 1301 1302 ] [1 00 ] "
#define EXTENSIONS    " [ 0000 [ [ 00 [ s:ok.test ] ] ] 000a [ [ 001d ] ] ] "
#define HELLO         "16 0301 [ 01 [3 " BODY("0303") EXTENSIONS " ] ] "
#define FLAT_HELLO    "16 0301 0059 01 000055 0303 x32:11 20 x32:22 0004 1301 1302 0100 0008 000a 0004 0002 001d"
#define CRLF          " 0d0a "
#define STREAM_MAX    4096u
#define HELLOS_MAX    4u
#define NEVER         (-1)
#define EVEN_SPLITS   7u
#define RANDOM_BYTES  (64u << 20)
#define RANDOM_CHUNK  65536u

static const struct row {
	const char *name;
	const char *stream;
	int at[2];    /* of the hellos, in order */
	bool pending; /* the stream ends in a hello that is not complete */
} rows[] = {
	/* clang-format off */
	{ "at the start", HELLO, { 0, NEVER }, false },
	{ "nothing", "", { NEVER, NEVER }, false },
	{ "PostgreSQL, not waiting for the answer", "00000008 04d2162f " HELLO, { 8, NEVER }, false },
	{ "MySQL", "20 0000 01 x4:0a x28:00 " HELLO, { 36, NEVER }, false },
	{ "SMTP, line by line", "s:EHLO 20 s:x" CRLF "s:STARTTLS" CRLF HELLO, { 18, NEVER }, false },
	{ "XMPP, no line and no end", "s:<starttls/> " HELLO, { 11, NEVER }, false },
	{ "behind bytes that look like its beginning", "16 16 03 16 0301 " HELLO, { 6, NEVER }, false },
	{ "a record version that Go takes", "s:x 16 0ffe [ 01 [3 " BODY("0303") EXTENSIONS " ] ] ", { 1, NEVER }, false },
	{ "... and one that nobody takes", "s:x 16 1003 [ 01 [3 " BODY("0303") EXTENSIONS " ] ] ", { NEVER, NEVER }, false },
	{ "a hello of version 4, which OpenSSL takes for 3.3", "16 0301 [ 01 [3 " BODY("0400") EXTENSIONS " ] ] ", { 0, NEVER }, false },
	{ "no extensions", "16 0301 [ 01 [3 " BODY("0301") " ] ] ", { 0, NEVER }, false },
	{ "extensions that end before the hello does", "16 0301 [ 01 [3 " BODY("0303") EXTENSIONS " 00 ] ] ", { NEVER, NEVER }, false },
	{ "odd suites", "16 0301 [ 01 [3 0303 x32:11 [1 ] [ 1301 13 ] [1 00 ] " EXTENSIONS " ] ] ", { NEVER, NEVER }, false },
	{ "a session id that is too long", "16 0301 [ 01 [3 0303 x32:11 [1 x33:22 ] [ 1301 ] [1 00 ] " EXTENSIONS " ] ] ", { NEVER, NEVER }, false },
	{ "another message behind it in its record", "16 0301 [ 01 [3 " BODY("0303") EXTENSIONS " ] 10 000021 20 ] s:rest", { 0, NEVER }, false },
	{ "in two records", "16 0301 [ 01 0000 ] 16 0301 [ 35 0303 x32:11 [1 ] [ 1301 1302 ] [1 00 ] [ 0017 [ ] 0016 [ ] ] ]", { 0, NEVER }, false },
	{ "in records of one byte", "16 0301 0001 01 16 0301 0001 00 16 0301 0001 00 16 0301 [ 29 0303 x32:11 [1 ] [ 1301 ] [1 00 ] ] ", { 0, NEVER }, false },
	{ "an empty record and a warning between its parts", "16 0301 0001 01 16 0301 0000 15 0301 0002 015a 14 0301 0001 01 16 0301 [ 000029 0303 x32:11 [1 ] [ 1301 ] [1 00 ] ] ", { 0, NEVER }, false },
	{ "parts with something else between", "16 0301 0001 01 17 0301 0001 00 16 0301 [ 000029 0303 x32:11 [1 ] [ 1301 ] [1 00 ] ] ", { NEVER, NEVER }, false },
	{ "two in a row", HELLO HELLO, { 0, 110 }, false },
	{ "one inside another", "16 0301 [ 01 [3 " BODY("0303") " [ 0015 [ " FLAT_HELLO " ] ] ] ] ", { 0, 90 }, false },
	{ "a part of one", "s:x 16 0301 0072 01 00006e 0303 x32:11 [1 x32:22 ] 0004 13", { NEVER, NEVER }, true },
	{ "so little of one that it says nothing", "s:x 16 0301 0072 01 00006e 0303 x32:11 [1 x32:22 ] 00", { NEVER, NEVER }, false },
	{ "other TLS records", "16 0303 [ 02 000026 0303 x36:11 ] 17 0303 [ x20:16 ] 15 0303 0002 0228", { NEVER, NEVER }, false },
	{ "a key that was pressed", "16", { NEVER, NEVER }, false },
	/* clang-format on */
};

/* What the gate does with a client, without the client. */
struct client {
	struct starttls t;
	uint8_t held[STREAM_MAX];
	size_t held_n, passed;
	bool waits, pending, bad;
	size_t hello[HELLOS_MAX];
	size_t hello_n;
	size_t leaked; /* the most of a hello that went up before it was known for one */
};

static void let_go(struct client *c, size_t n, size_t at)
{
	starttls_pass(&c->t, c->held, n, at);
	memmove(c->held, c->held + n, c->held_n - n);
	c->held_n -= n;
	c->passed += n;
}

static void note(struct client *c, const struct starttls_found *found)
{
	const size_t at = c->passed - c->t.gone_n + found->at;

	assert_true(c->hello_n < HELLOS_MAX);
	c->hello[c->hello_n++] = at;
	if (at < c->passed)
		c->leaked = DW_MAX(c->leaked, c->passed - at);
}

static void feed(struct client *c, const uint8_t *p, size_t n)
{
	struct starttls_found found;
	size_t from = 0;

	memcpy(c->held + c->held_n, p, n);
	c->held_n += n;
	c->pending = false;
	for (;;) {
		enum starttls_what what = starttls_scan(&c->t, at_guard(c->held, c->held_n), c->held_n, from, &found);
		const size_t before = found.at > c->t.gone_n ? found.at - c->t.gone_n : 0;
		if (what == STARTTLS_HELLO) {
			note(c, &found);
			from = found.at + 1;
			continue;
		}
		c->bad = what == STARTTLS_BAD;
		c->pending = what == STARTTLS_START;
		if (what == STARTTLS_START || (what == STARTTLS_PART && c->waits))
			let_go(c, before, found.at);
		else if (what != STARTTLS_BAD)
			let_go(c, c->held_n, found.at);
		return;
	}
}

static void check(const struct row *row, const struct client *c)
{
	size_t want = 0;

	while (want < DW_COUNT(row->at) && row->at[want] != NEVER)
		want++;
	assert_int_equal(c->hello_n, want);
	for (size_t i = 0; i < want; i++)
		assert_int_equal(c->hello[i], row->at[i]);
	assert_int_equal(c->pending, row->pending);
	assert_true(c->leaked < STARTTLS_PART_MAX);
	assert_false(c->bad);
}

static void row_holds(void **state)
{
	const struct row *row = *state;
	uint8_t data[STREAM_MAX];
	const size_t n = assemble(row->stream, data, sizeof(data));

	for (int waits = 0; waits < 2; waits++) {
		for (size_t cut = 0; cut <= n; cut++) {
			struct client c = { .waits = waits };
			feed(&c, data, cut);
			feed(&c, data + cut, n - cut);
			check(row, &c);
			if (waits)
				assert_int_equal(c.leaked, 0);
		}
		for (size_t step = 1; step < EVEN_SPLITS; step++) {
			struct client c = { .waits = waits };
			for (size_t i = 0; i < n; i += step)
				feed(&c, data + i, DW_MIN(step, n - i));
			check(row, &c);
		}
	}
}

/* Servers that ask for a second hello read over early data, and may do so in the middle of that hello. */
static void early_data_between_the_parts(void **state)
{
	static const char *const streams[] = {
		"16 0301 0001 01 17 0303 [ x40:16 ] 16 0301 [ 000029 0303 x32:11 [1 ] [ 1301 ] [1 00 ] ] ",
		"16 0301 [ 01 000029 0303 x32:11 [1 ] [ 1301 ] ] 17 0303 [ ] 17 0303 [ x999:00 ] 16 0301 [ [1 00 ] ] ",
	};
	for (size_t i = 0; i < DW_COUNT(streams); i++) {
		uint8_t data[STREAM_MAX];
		const size_t n = assemble(streams[i], data, sizeof(data));
		for (size_t cut = 0; cut <= n; cut++) {
			for (int early = 0; early < 2; early++) {
				struct client c = { .t.early = early, .waits = true };
				feed(&c, data, cut);
				feed(&c, data + cut, n - cut);
				assert_int_equal(c.hello_n, early);
				assert_int_equal(c.hello[0], 0);
			}
		}
	}
}

/* What the parser takes for a hello is found, wherever it is; what it refuses is found if a lenient server might take it. */
static void finds_what_the_parser_reads(void **state)
{
	static uint8_t scratch[DW_TLS_HELLO_MAX];
	uint8_t data[STREAM_MAX];
	const size_t n = assemble(HELLO, data, sizeof(data));
	struct dw_tls_hello hello;
	unsigned found = 0;

	for (size_t i = 0; i < n; i++) {
		const uint8_t was = data[i];
		for (unsigned v = 0; v < 256; v++) {
			struct client c = { 0 };
			data[i] = (uint8_t)v;
			feed(&c, data, n);
			if (dw_tls_hello_parse(data, n, scratch, &hello) == DW_PARSE_OK) {
				assert_int_equal(c.hello_n, 1);
				assert_int_equal(c.hello[0], 0);
				found++;
			}
		}
		data[i] = was;
	}
	assert_true(found > 256u * 64);
}

static uint64_t next_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static void nothing_in_random_bytes(void **state)
{
	static uint64_t words[RANDOM_CHUNK / sizeof(uint64_t)];
	const uint8_t *data = (const uint8_t *)words;
	struct starttls t = { 0 };
	uint64_t seed = 88172645463325252u;
	unsigned parts = 0;

	for (size_t done = 0; done < RANDOM_BYTES; done += RANDOM_CHUNK) {
		struct starttls_found found;
		for (size_t i = 0; i < DW_COUNT(words); i++)
			words[i] = next_random(&seed);
		enum starttls_what what = starttls_scan(&t, data, RANDOM_CHUNK, 0, &found);
		assert_in_range(what, STARTTLS_NONE, STARTTLS_PART);
		parts += what == STARTTLS_PART;
		starttls_pass(&t, data, RANDOM_CHUNK, found.at);
	}
	assert_in_range(parts, 1, 40); /* one chunk in 256 ends in the first byte of one */
	assert_int_equal(t.false_starts, 0);
}

/* Beginnings that come to nothing cost a walk each; chance does not make them, so there may be few. */
static void beginnings_that_come_to_nothing(void **state)
{
	struct client c = { 0 };
	uint8_t data[STREAM_MAX];
	const size_t n =
		assemble("16 0301 0072 01 00006e 0303 x32:11 [1 x32:22 ] 0004 1301 1302 00 s:end", data, sizeof(data));

	for (unsigned i = 0; i < STARTTLS_FALSE_MAX; i++)
		feed(&c, data, n);
	assert_int_equal(c.passed, n * STARTTLS_FALSE_MAX);
	assert_false(c.bad);
	feed(&c, data, n);
	assert_true(c.bad);
}

/* More records than a hello may have are one to be refused, not one to wait for. */
static void a_hello_without_end(void **state)
{
	static uint8_t data[64 + 6 * DW_TLS_RECORDS_MAX];
	struct starttls t = { 0 };
	struct starttls_found found;
	uint8_t start[64];
	const size_t n = assemble("16 0301 [ 01 00ffff 0303 x32:11 [1 ] ff00 ]", start, sizeof(start));

	memcpy(data, start, n);
	const size_t size = n + 6 * DW_TLS_RECORDS_MAX;
	for (size_t i = n; i < size; i += 6)
		memcpy(data + i, "\x16\x03\x01\x00\x01\x02", 6);
	assert_int_equal(starttls_scan(&t, data, size - 1, 0, &found), STARTTLS_START);
	assert_int_equal(starttls_scan(&t, data, size, 0, &found), STARTTLS_HELLO);
	assert_int_equal(found.at, 0);
}

int main(void)
{
	ADD_ROWS(rows, row_holds);
	add_test("early data between the parts", early_data_between_the_parts);
	add_test("what the parser reads is found", finds_what_the_parser_reads);
	add_test("nothing in random bytes", nothing_in_random_bytes);
	add_test("beginnings that come to nothing", beginnings_that_come_to_nothing);
	add_test("a hello without end", a_hello_without_end);
	return run_all("starttls");
}
