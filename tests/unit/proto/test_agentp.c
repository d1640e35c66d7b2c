/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "proto/agentp.h"

/* Heap copies of exactly the right size, so that a sanitizer sees one byte too many. */
static uint8_t *copy(const void *p, size_t n)
{
	uint8_t *c = malloc(n ? n : 1);
	assert_non_null(c);
	if (n)
		memcpy(c, p, n);
	return c;
}

static struct dw_span span_of(const char *s)
{
	return (struct dw_span){ (const uint8_t *)s, strlen(s) };
}

static void assert_span(struct dw_span s, const char *text)
{
	assert_int_equal(s.n, strlen(text));
	if (s.n)
		assert_memory_equal(s.p, text, s.n);
}

#define BYTES(text) text, sizeof(text) - 1

static void frames(void **state)
{
	static const struct {
		const char *p;
		size_t n;
		enum dw_parse res;
		uint8_t type;
		size_t payload_n;
	} rows[] = {
		{ BYTES(""), DW_PARSE_MORE },
		{ BYTES("\0\0\0"), DW_PARSE_MORE },
		{ BYTES("\0\0\0\0"), DW_PARSE_MORE },
		{ BYTES("\0\0\0\0\5"), DW_PARSE_OK, DW_AGENTP_STDIN_CLOSE, 0 },
		{ BYTES("\0\0\0\3\4abcrest"), DW_PARSE_OK, DW_AGENTP_STDIN, 3 },
		{ BYTES("\0\0\0\3\4ab"), DW_PARSE_MORE },
		{ BYTES("\0\x10\0\0\x10"), DW_PARSE_MORE },
		{ BYTES("\0\x10\0\1"), DW_PARSE_BIG }, /* said before the type has come */
		{ BYTES("\xff\xff\xff\xff\1"), DW_PARSE_BIG },
		{ BYTES("\0\0\0\0\0"), DW_PARSE_BAD },
		{ BYTES("\0\0\0\4\6\0\x50\0\x18"), DW_PARSE_OK, DW_AGENTP_RESIZE, 4 },
		{ BYTES("\0\0\0\1\7\x0f"), DW_PARSE_OK, DW_AGENTP_SIGNAL, 1 },
		{ BYTES("\0\0\0\2\x0e\x1f\x90"), DW_PARSE_OK, DW_AGENTP_CONNECT, 2 },
		{ BYTES("\0\0\0\0\x29"), DW_PARSE_OK, DW_AGENTP_CONNECTED, 0 },
		{ BYTES("\0\0\0\0\x0f"), DW_PARSE_BAD },
		{ BYTES("\0\0\0\0\x12"), DW_PARSE_BAD },
		{ BYTES("\0\0\0\0\x1f"), DW_PARSE_BAD },
		{ BYTES("\0\0\0\0\x2a"), DW_PARSE_BAD },
		{ BYTES("\0\0\0\0\xff"), DW_PARSE_BAD },
		{ BYTES("\0\0\0\0\x25"), DW_PARSE_OK, DW_AGENTP_ERROR, 0 },
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		struct dw_agentp_frame f = { 0 };
		uint8_t *c = copy(rows[i].p, rows[i].n);
		assert_int_equal(dw_agentp_frame_parse(c, rows[i].n, &f), rows[i].res);
		assert_int_equal(f.type, rows[i].type);
		assert_int_equal(f.payload.n, rows[i].payload_n);
		if (rows[i].res == DW_PARSE_OK)
			assert_int_equal(f.frame_n, rows[i].payload_n + DW_AGENTP_HEADER);
		free(c);
	}
}

static void every_header_is_read_back(void **state)
{
	static uint8_t frame[DW_AGENTP_HEADER + DW_AGENTP_FRAME_MAX];
	static const uint8_t types[] = { 1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13,
					 14, 16, 17, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41 };
	static const uint32_t sizes[] = { 0, 1, 255, 256, 65535, 65536, DW_AGENTP_FRAME_MAX };
	for (size_t t = 0; t < DW_COUNT(types); t++)
		for (size_t s = 0; s < DW_COUNT(sizes); s++) {
			struct dw_agentp_frame f;
			dw_agentp_header_build(frame, types[t], sizes[s]);
			size_t n = DW_AGENTP_HEADER + sizes[s];
			assert_int_equal(dw_agentp_frame_parse(frame, n, &f), DW_PARSE_OK);
			assert_int_equal(f.type, types[t]);
			assert_int_equal(f.payload.n, sizes[s]);
			assert_int_equal(f.frame_n, n);
			assert_int_equal(dw_agentp_frame_parse(frame, n - 1, &f), DW_PARSE_MORE);
		}
}

/* Exactly one length is OK; every shorter one and one byte more are BAD, never MORE. */
static void sweep_exec(const uint8_t *p, size_t n)
{
	static struct dw_agentp_exec e;
	for (size_t k = 0; k <= n + 1; k++) {
		uint8_t *c = malloc(k + 1);
		assert_non_null(c);
		memcpy(c, p, DW_MIN(k, n));
		c[n < k ? n : k] = 0;
		uint8_t *exact = copy(c, k);
		assert_int_equal(dw_agentp_exec_parse((struct dw_span){ exact, k }, &e),
				 k == n ? DW_PARSE_OK : DW_PARSE_BAD);
		free(exact);
		free(c);
	}
}

static void exec_round_trip(void **state)
{
	static struct dw_agentp_exec e, back;
	e = (struct dw_agentp_exec){
		.with_stdin = true,
		.timeout_ms = 0xfedcba98,
		.user = span_of("root"),
		.cwd = span_of("/tmp"),
		.cmd = span_of("echo \xff \n'x'"),
		.env_n = 3,
		.env = { { span_of("A"), span_of("") },
			 { span_of("LONG_NAME"), span_of("a=b=c") },
			 { span_of("A"), span_of("2") } },
	};
	uint8_t out[512];
	size_t n = dw_agentp_exec_build(&e, out, sizeof(out));
	assert_true(n > 0);
	assert_int_equal(dw_agentp_exec_parse((struct dw_span){ out, n }, &back), DW_PARSE_OK);
	assert_true(back.with_stdin);
	assert_int_equal(back.timeout_ms, 0xfedcba98);
	assert_span(back.user, "root");
	assert_span(back.cwd, "/tmp");
	assert_span(back.cmd, "echo \xff \n'x'");
	assert_int_equal(back.env_n, 3);
	assert_span(back.env[0].value, "");
	assert_span(back.env[1].key, "LONG_NAME");
	assert_span(back.env[1].value, "a=b=c");
	assert_span(back.env[2].value, "2");
	sweep_exec(out, n);
	/* No buffer that is too small is overrun or half used. */
	for (size_t cap = 0; cap < n; cap++)
		assert_int_equal(dw_agentp_exec_build(&e, out, cap), 0);
	assert_int_equal(dw_agentp_exec_build(&e, out, n), n);
}

static void exec_of_a_program(void **state)
{
	static struct dw_agentp_exec e, back;
	e = (struct dw_agentp_exec){
		.cmd = span_of("env"),
		.program = true,
		.arg_n = 3,
		.arg = { span_of("-i"), span_of(""), span_of("a\n'b\"") },
		.env_n = 1,
		.env = { { span_of("A"), span_of("1") } },
	};
	uint8_t out[256];
	size_t n = dw_agentp_exec_build(&e, out, sizeof(out));
	assert_true(n > 0);
	assert_int_equal(dw_agentp_exec_parse((struct dw_span){ out, n }, &back), DW_PARSE_OK);
	assert_true(back.program);
	assert_int_equal(back.arg_n, 3);
	assert_span(back.arg[1], "");
	assert_span(back.arg[2], "a\n'b\"");
	assert_span(back.env[0].value, "1");
	sweep_exec(out, n);
	/* Arguments are a program's alone. */
	e.program = false;
	assert_int_equal(dw_agentp_exec_build(&e, out, sizeof(out)), 0);
	e = (struct dw_agentp_exec){ .program = true };
	assert_int_equal(dw_agentp_exec_build(&e, out, sizeof(out)), 0);
	static uint8_t large[8 * DW_AGENTP_ARG_MAX];
	e = (struct dw_agentp_exec){ .cmd = span_of("w"), .program = true, .arg_n = DW_AGENTP_ARG_MAX };
	n = dw_agentp_exec_build(&e, large, sizeof(large));
	assert_true(n > 0);
	assert_int_equal(dw_agentp_exec_parse((struct dw_span){ large, n }, &back), DW_PARSE_OK);
	e.arg_n++;
	assert_int_equal(dw_agentp_exec_build(&e, large, sizeof(large)), 0);
	/* One more in the bytes: flags, timeout, user, cwd, "w". */
	large[1 + 4 + 4 + 4 + 5 + 1]++;
	assert_int_equal(dw_agentp_exec_parse((struct dw_span){ large, n }, &back), DW_PARSE_BIG);
}

static void exec_of_next_to_nothing(void **state)
{
	static struct dw_agentp_exec e, back;
	e = (struct dw_agentp_exec){ .cmd = span_of("w") };
	back = (struct dw_agentp_exec){ .cols = 7, .rows = 7 };
	uint8_t out[64];
	size_t n = dw_agentp_exec_build(&e, out, sizeof(out));
	assert_int_equal(n, 20);
	assert_int_equal(dw_agentp_exec_parse((struct dw_span){ out, n }, &back), DW_PARSE_OK);
	assert_false(back.with_stdin);
	assert_int_equal(back.timeout_ms + back.user.n + back.cwd.n + back.env_n + back.cols + back.rows, 0);
	sweep_exec(out, n);
}

static void exec_on_a_terminal(void **state)
{
	static struct dw_agentp_exec e, back;
	static const struct {
		const char *cmd;
		uint16_t cols, rows;
		bool ok;
	} rows[] = {
		{ "", 80, 24, true },       { "top", 80, 24, true },    { "", 1, 1, true },  { "", 4096, 4096, true },
		{ "top", 0, 24, false },    { "top", 80, 0, false },    { "", 0, 0, false }, { "top", 4097, 24, false },
		{ "top", 80, 4097, false }, { "top", 65535, 1, false },
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		uint8_t out[64];
		e = (struct dw_agentp_exec){ .cmd = span_of(rows[i].cmd), .cols = rows[i].cols, .rows = rows[i].rows };
		size_t n = dw_agentp_exec_build(&e, out, sizeof(out));
		assert_int_equal(n > 0, rows[i].ok);
		if (!rows[i].ok)
			continue;
		assert_int_equal(dw_agentp_exec_parse((struct dw_span){ out, n }, &back), DW_PARSE_OK);
		assert_int_equal(back.cols, rows[i].cols);
		assert_int_equal(back.rows, rows[i].rows);
		assert_span(back.cmd, rows[i].cmd);
		sweep_exec(out, n);
	}
}

static void exec_with_the_largest_environment(void **state)
{
	static struct dw_agentp_exec e, back;
	static uint8_t out[65536];
	e = (struct dw_agentp_exec){ .cmd = span_of("w"), .env_n = DW_AGENTP_ENV_MAX };
	for (unsigned i = 0; i < DW_AGENTP_ENV_MAX; i++)
		e.env[i] = (struct dw_agentp_env){ span_of("K"), span_of("value") };
	size_t n = dw_agentp_exec_build(&e, out, sizeof(out));
	assert_true(n > 0);
	assert_int_equal(dw_agentp_exec_parse((struct dw_span){ out, n }, &back), DW_PARSE_OK);
	assert_int_equal(back.env_n, DW_AGENTP_ENV_MAX);
	e.env_n++;
	assert_int_equal(dw_agentp_exec_build(&e, out, sizeof(out)), 0);
	/* Where env_n stands behind a command of one byte. */
	out[18] = (DW_AGENTP_ENV_MAX + 1) >> 8;
	out[19] = (DW_AGENTP_ENV_MAX + 1) & 0xff;
	assert_int_equal(dw_agentp_exec_parse((struct dw_span){ out, n }, &back), DW_PARSE_BIG);
}

static void exec_that_can_not_be_said(void **state)
{
	static struct dw_agentp_exec e;
	static uint8_t big[DW_AGENTP_FRAME_MAX + 64], out[DW_AGENTP_FRAME_MAX + 128];
	static const struct dw_span nul = { (const uint8_t *)"a\0b", 3 };
	memset(big, 'x', sizeof(big));
	const struct dw_span large = { big, DW_AGENTP_FRAME_MAX - 19 };
	const struct dw_span too_large = { big, DW_AGENTP_FRAME_MAX - 18 };
	const struct {
		struct dw_span cmd, key, value;
		size_t env_n;
		bool ok;
	} rows[] = {
		{ { NULL, 0 }, { NULL, 0 }, { NULL, 0 }, 0, false }, /* no terminal either */
		{ nul, { NULL, 0 }, { NULL, 0 }, 0, false },
		{ large, { NULL, 0 }, { NULL, 0 }, 0, true },
		{ too_large, { NULL, 0 }, { NULL, 0 }, 0, false },
		{ { big, sizeof(big) }, { NULL, 0 }, { NULL, 0 }, 0, false },
		{ span_of("w"), span_of(""), span_of("x"), 1, false },
		{ span_of("w"), span_of("="), span_of("x"), 1, false },
		{ span_of("w"), span_of("A=B"), span_of("x"), 1, false },
		{ span_of("w"), nul, span_of("x"), 1, false },
		{ span_of("w"), span_of("A"), nul, 1, false },
		{ span_of("w"), span_of("A"), span_of("x"), 1, true },
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		e = (struct dw_agentp_exec){ .cmd = rows[i].cmd, .env_n = (uint16_t)rows[i].env_n };
		e.env[0] = (struct dw_agentp_env){ rows[i].key, rows[i].value };
		assert_int_equal(dw_agentp_exec_build(&e, out, sizeof(out)) > 0, rows[i].ok);
	}
}

static void exec_payloads_that_are_malformed(void **state)
{
	static struct dw_agentp_exec e;
	static const struct {
		const char *p;
		size_t n;
	} rows[] = {
		{ BYTES("\x8\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1w\0\0") },                   /* unknown flag */
		{ BYTES("\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0") },                 /* no program */
		{ BYTES("\6\0\0\0\0\0\1\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0") },         /* nor on a terminal */
		{ BYTES("\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1w\0\1\0\0\0\1\0\0\0") },      /* NUL in an argument */
		{ BYTES("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0") },                     /* no command */
		{ BYTES("\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1w\0\0") },            /* a size of 0 and 0 */
		{ BYTES("\2\0\0\0\0\0\x50\0\0\0\0\0\0\0\0\0\0\0\0\0\1w\0\0") },          /* no rows */
		{ BYTES("\2\0\0\0\0\x10\1\0\1\0\0\0\0\0\0\0\0\0\0\0\1w\0\0") },          /* 4097 columns */
		{ BYTES("\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\1w\0\0") },                  /* NUL in the user */
		{ BYTES("\0\0\0\0\0\xff\xff\xff\xff\0\0\0\0\0\0\0\1w\0\0") },            /* a string of 4 GiB */
		{ BYTES("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1w\0\1\0\0\0\0\0\0\0\0") },    /* no name */
		{ BYTES("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1w\0\1\0\0\0\1=\0\0\0\0") },   /* "=" */
		{ BYTES("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1w\0\1\0\0\0\1A\0\0\0\1\0") }, /* NUL in a value */
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		uint8_t *c = copy(rows[i].p, rows[i].n);
		assert_int_equal(dw_agentp_exec_parse((struct dw_span){ c, rows[i].n }, &e), DW_PARSE_BAD);
		free(c);
	}
}

static void file_round_trip(void **state)
{
	uint8_t out[64];
	struct dw_span user = span_of("unset"), path = span_of("unset");
	size_t n = dw_agentp_file_build(span_of("user"), span_of("/a b/\xc3\xa9"), out, sizeof(out));
	assert_int_equal(n, 8 + 4 + 7);
	for (size_t k = 0; k <= n + 1; k++) {
		uint8_t *c = copy(out, k);
		enum dw_parse res = dw_agentp_file_parse((struct dw_span){ c, k }, &user, &path);
		assert_int_equal(res, k == n ? DW_PARSE_OK : DW_PARSE_BAD);
		assert_span(user, k < n ? "unset" : "user"); /* set on OK only */
		if (k == n)
			assert_span(path, "/a b/\xc3\xa9");
		if (k >= n) {
			user = span_of("user");
			path = span_of("unset");
		}
		free(c);
	}
	const struct dw_span nul = { (const uint8_t *)"/a\0b", 4 };
	assert_int_equal(dw_agentp_file_build(span_of("user"), nul, out, sizeof(out)), 0);
	assert_int_equal(dw_agentp_file_build(span_of("user"), span_of("/x"), out, 13), 0);
}

static void error_round_trip(void **state)
{
	uint8_t out[64];
	uint16_t number = 0;
	struct dw_span message;
	size_t n = dw_agentp_error_build(2, "no such thing", out, sizeof(out));
	assert_int_equal(n, 2 + 4 + 13);
	assert_int_equal(dw_agentp_error_parse((struct dw_span){ out, n }, &number, &message), DW_PARSE_OK);
	assert_int_equal(number, 2);
	assert_span(message, "no such thing");
	for (size_t k = 0; k < n; k++) {
		uint8_t *c = copy(out, k);
		assert_int_equal(dw_agentp_error_parse((struct dw_span){ c, k }, &number, &message), DW_PARSE_BAD);
		free(c);
	}
	assert_int_equal(dw_agentp_error_build(2, "no such thing", out, n - 1), 0);
}

static void exits(void **state)
{
	static const struct {
		const char *p;
		size_t n;
		enum dw_parse res;
		uint32_t code;
		bool timed_out, by_signal;
	} rows[] = {
		{ BYTES("\0\0\0\0\0"), DW_PARSE_OK, 0 },
		{ BYTES("\0\0\0\xff\0"), DW_PARSE_OK, 255 },
		{ BYTES("\0\0\0\x89\1"), DW_PARSE_OK, 137, true },
		{ BYTES("\0\0\0\x89\3"), DW_PARSE_OK, 137, true, true },
		{ BYTES("\0\0\0\x8f\2"), DW_PARSE_OK, 143, false, true },
		{ BYTES("\0\0\0\xc0\2"), DW_PARSE_OK, 192, false, true },
		{ BYTES("\0\0\0\xc1\2"), DW_PARSE_BAD, 7 }, /* signal 65 */
		{ BYTES("\0\0\0\x80\2"), DW_PARSE_BAD, 7 }, /* signal 0 */
		{ BYTES("\0\0\1\0\0"), DW_PARSE_BAD, 7 },
		{ BYTES("\0\0\0\0\4"), DW_PARSE_BAD, 7 },
		{ BYTES("\0\0\0\0"), DW_PARSE_BAD, 7 },
		{ BYTES("\0\0\0\0\0\0"), DW_PARSE_BAD, 7 },
		{ BYTES(""), DW_PARSE_BAD, 7 },
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		struct dw_agentp_exit e = { .code = 7 };
		uint8_t out[5], *c = copy(rows[i].p, rows[i].n);
		assert_int_equal(dw_agentp_exit_parse((struct dw_span){ c, rows[i].n }, &e), rows[i].res);
		assert_int_equal(e.code, rows[i].code);
		assert_int_equal(e.timed_out, rows[i].timed_out);
		assert_int_equal(e.by_signal, rows[i].by_signal);
		if (rows[i].res == DW_PARSE_OK) {
			assert_int_equal(dw_agentp_exit_build(&e, out, sizeof(out)), 5);
			assert_memory_equal(out, c, 5);
		}
		free(c);
	}
}

/* One table for the three payloads of fixed size. */
static void small_payloads(void **state)
{
	static const struct {
		uint8_t type;
		const char *p;
		size_t n;
		bool ok;
	} rows[] = {
		{ DW_AGENTP_RESIZE, BYTES("\0\x50\0\x18"), true },
		{ DW_AGENTP_RESIZE, BYTES("\x10\0\x10\0"), true },
		{ DW_AGENTP_RESIZE, BYTES("\0\1\0\1"), true },
		{ DW_AGENTP_RESIZE, BYTES("\0\0\0\x18"), false },
		{ DW_AGENTP_RESIZE, BYTES("\0\x50\0\0"), false },
		{ DW_AGENTP_RESIZE, BYTES("\0\0\0\0"), false },
		{ DW_AGENTP_RESIZE, BYTES("\x10\1\0\1"), false },
		{ DW_AGENTP_RESIZE, BYTES("\0\1\x10\1"), false },
		{ DW_AGENTP_RESIZE, BYTES("\0\x50\0"), false },
		{ DW_AGENTP_RESIZE, BYTES("\0\x50\0\x18\0"), false },
		{ DW_AGENTP_RESIZE, BYTES(""), false },
		{ DW_AGENTP_SIGNAL, BYTES("\1"), true },
		{ DW_AGENTP_SIGNAL, BYTES("\x40"), true },
		{ DW_AGENTP_SIGNAL, BYTES("\0"), false },
		{ DW_AGENTP_SIGNAL, BYTES("\x41"), false },
		{ DW_AGENTP_SIGNAL, BYTES("\xff"), false },
		{ DW_AGENTP_SIGNAL, BYTES("\0\1"), false },
		{ DW_AGENTP_SIGNAL, BYTES(""), false },
		{ DW_AGENTP_CONNECT, BYTES("\0\1"), true },
		{ DW_AGENTP_CONNECT, BYTES("\xff\xff"), true },
		{ DW_AGENTP_CONNECT, BYTES("\0\0"), false },
		{ DW_AGENTP_CONNECT, BYTES("\1"), false },
		{ DW_AGENTP_CONNECT, BYTES("\0\1\0"), false },
		{ DW_AGENTP_CONNECT, BYTES(""), false },
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		uint8_t out[8], number = 200;
		uint16_t a = 50000, b = 50000;
		size_t n = 0;
		uint8_t *c = copy(rows[i].p, rows[i].n);
		struct dw_span s = { c, rows[i].n };
		enum dw_parse res = DW_PARSE_MORE;
		if (rows[i].type == DW_AGENTP_RESIZE) {
			res = dw_agentp_resize_parse(s, &a, &b);
			n = dw_agentp_resize_build(a, b, out, 4);
			assert_int_equal(dw_agentp_resize_build(a, b, out, 3), 0);
		} else if (rows[i].type == DW_AGENTP_SIGNAL) {
			res = dw_agentp_signal_parse(s, &number);
			n = dw_agentp_signal_build(number, out, 1);
			assert_int_equal(dw_agentp_signal_build(number, out, 0), 0);
		} else {
			res = dw_agentp_connect_parse(s, &a);
			n = dw_agentp_connect_build(rows[i].ok ? a : 0, out, 2);
			assert_int_equal(dw_agentp_connect_build(a, out, 1), 0);
		}
		assert_int_equal(res, rows[i].ok ? DW_PARSE_OK : DW_PARSE_BAD);
		assert_int_equal(n,
				 rows[i].ok ? rows[i].n : 0); /* set on OK only, and what was preset can not be built */
		if (rows[i].ok)
			assert_memory_equal(out, rows[i].p, n);
		free(c);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames),
		cmocka_unit_test(every_header_is_read_back),
		cmocka_unit_test(exec_round_trip),
		cmocka_unit_test(exec_of_a_program),
		cmocka_unit_test(exec_of_next_to_nothing),
		cmocka_unit_test(exec_on_a_terminal),
		cmocka_unit_test(exec_with_the_largest_environment),
		cmocka_unit_test(exec_that_can_not_be_said),
		cmocka_unit_test(exec_payloads_that_are_malformed),
		cmocka_unit_test(file_round_trip),
		cmocka_unit_test(error_round_trip),
		cmocka_unit_test(exits),
		cmocka_unit_test(small_payloads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
