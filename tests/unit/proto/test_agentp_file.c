/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/mman.h>

#include "proto/agentp_file.h"

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

/* Two pages, the second of which nobody may touch. */
static uint8_t *guarded(void)
{
	static uint8_t *p;
	if (!p) {
		p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_ptr_not_equal(p, MAP_FAILED);
		assert_int_equal(mprotect(p + 4096, 4096, PROT_NONE), 0);
	}
	return p + 4096;
}

typedef enum dw_parse parse_fn(struct dw_span payload);

/* Exactly one length is OK; every shorter one, before the unmapped page, and one byte more are BAD. */
static void sweep(parse_fn *parse, const uint8_t *p, size_t n)
{
	assert_true(n > 0 && n < 4096);
	for (size_t k = 0; k <= n + 1; k++) {
		uint8_t *at = guarded() - k;
		memset(at, 0, k);
		memcpy(at, p, DW_MIN(k, n));
		assert_int_equal(parse((struct dw_span){ at, k }), k == n ? DW_PARSE_OK : DW_PARSE_BAD);
	}
}

static uint8_t request_type;

static enum dw_parse parse_request(struct dw_span p)
{
	struct dw_agentp_file_request q;
	return dw_agentp_file_request_parse(request_type, p, &q);
}

static enum dw_parse parse_entry(struct dw_span p)
{
	struct dw_agentp_entry e;
	return dw_agentp_entry_parse(p, &e);
}

static enum dw_parse parse_event(struct dw_span p)
{
	struct dw_agentp_event e;
	return dw_agentp_event_parse(p, &e);
}

static enum dw_parse parse_made(struct dw_span p)
{
	bool made;
	return dw_agentp_made_parse(p, &made);
}

static void requests(void **state)
{
	const struct dw_agentp_file_request q = { .user = span_of("user"),
						  .path = span_of("/a b\n\xff"),
						  .to = span_of("/c"),
						  .depth = 7,
						  .recursive = true };
	uint8_t out[256];
	for (unsigned type = 0; type < 256; type++) {
		const bool is = type >= DW_AGENTP_FILE_LIST && type <= DW_AGENTP_FILE_WATCH;
		const size_t n = dw_agentp_file_request_build((enum dw_agentp_type)type, &q, out, sizeof(out));
		struct dw_agentp_file_request back = { 0 };
		assert_int_equal(n > 0, is);
		if (!is) {
			assert_int_equal(dw_agentp_file_request_parse((uint8_t)type, (struct dw_span){ out, 0 }, &back),
					 DW_PARSE_BAD);
			continue;
		}
		assert_int_equal(dw_agentp_file_request_parse((uint8_t)type, (struct dw_span){ out, n }, &back),
				 DW_PARSE_OK);
		assert_span(back.user, "user");
		assert_span(back.path, "/a b\n\xff");
		assert_span(back.to, type == DW_AGENTP_FILE_RENAME ? "/c" : "");
		assert_int_equal(back.depth, type == DW_AGENTP_FILE_LIST ? 7 : 0);
		assert_int_equal(back.recursive, type == DW_AGENTP_FILE_WATCH);
		request_type = (uint8_t)type;
		sweep(parse_request, out, n);
		for (size_t cap = 0; cap < n; cap++)
			assert_int_equal(dw_agentp_file_request_build((enum dw_agentp_type)type, &q, out, cap), 0);
	}
}

static void requests_that_can_not_be_said(void **state)
{
	const struct dw_span nul = { (const uint8_t *)"a\0b", 3 };
	uint8_t out[64];
	struct dw_agentp_file_request q = { .path = span_of("/a") };
	assert_int_equal(dw_agentp_file_request_build(DW_AGENTP_FILE_LIST, &q, out, sizeof(out)), 0); /* no depth */
	q.path = nul;
	assert_int_equal(dw_agentp_file_request_build(DW_AGENTP_FILE_INFO, &q, out, sizeof(out)), 0);
	q = (struct dw_agentp_file_request){ .path = span_of("/a"), .to = nul };
	assert_int_equal(dw_agentp_file_request_build(DW_AGENTP_FILE_RENAME, &q, out, sizeof(out)), 0);
	assert_true(dw_agentp_file_request_build(DW_AGENTP_FILE_INFO, &q, out, sizeof(out)) > 0);
	/* A depth of 0, and a flag that is neither. */
	struct dw_agentp_file_request back;
	static const uint8_t none[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, two[] = { 0, 0, 0, 0, 0, 0, 0, 0, 2 };
	assert_int_equal(dw_agentp_file_request_parse(DW_AGENTP_FILE_LIST, (struct dw_span){ none, 12 }, &back),
			 DW_PARSE_BAD);
	assert_int_equal(dw_agentp_file_request_parse(DW_AGENTP_FILE_WATCH, (struct dw_span){ two, 9 }, &back),
			 DW_PARSE_BAD);
}

static void entry_round_trip(void **state)
{
	const struct dw_agentp_entry e = { .dir = true,
					   .link = true,
					   .known = true,
					   .mode = 07777,
					   .size = 0x123456789abcdef0,
					   .modified_us = -5,
					   .path = span_of("/x/\xff"),
					   .owner = span_of("root"),
					   .group = span_of("wheel"),
					   .target = span_of("../y") };
	struct dw_agentp_entry back = { 0 };
	uint8_t out[256];
	const size_t n = dw_agentp_entry_build(&e, out, sizeof(out));
	assert_int_equal(dw_agentp_entry_parse((struct dw_span){ out, n }, &back), DW_PARSE_OK);
	assert_true(back.dir && back.link && back.known && back.mode == 07777);
	assert_true(back.size == e.size && back.modified_us == -5);
	assert_span(back.path, "/x/\xff");
	assert_span(back.owner, "root");
	assert_span(back.group, "wheel");
	assert_span(back.target, "../y");
	sweep(parse_entry, out, n);
	for (size_t cap = 0; cap < n; cap++)
		assert_int_equal(dw_agentp_entry_build(&e, out, cap), 0);
}

static void entries_that_are_refused(void **state)
{
	static char long_path[DW_AGENTP_ENTRY_PATH_MAX + 2], long_name[DW_AGENTP_ENTRY_NAME_MAX + 2],
		long_target[DW_AGENTP_ENTRY_TARGET_MAX + 2];
	static uint8_t out[16384];
	memset(long_path, '/', sizeof(long_path) - 1);
	memset(long_name, 'n', sizeof(long_name) - 1);
	memset(long_target, 't', sizeof(long_target) - 1);
	const struct dw_agentp_entry good = { .known = true, .path = span_of("/a") };
	struct dw_agentp_entry e = good;
	assert_true(dw_agentp_entry_build(&e, out, sizeof(out)) > 0);
#define REFUSED(change)                                                           \
	do {                                                                      \
		e = good;                                                         \
		change;                                                           \
		assert_int_equal(dw_agentp_entry_build(&e, out, sizeof(out)), 0); \
	} while (0)
	REFUSED(e.path = span_of(""));
	REFUSED(e.path = span_of("a"));
	REFUSED(e.path = span_of(long_path));
	REFUSED(e.mode = 010000);
	REFUSED(e.owner = span_of(long_name));
	REFUSED(e.group = span_of(long_name));
	REFUSED(e.target = span_of("x"));
	REFUSED((e.link = true, e.target = span_of(long_target)));
	REFUSED((e.known = false, e.size = 1));
	REFUSED((e.known = false, e.mode = 1));
	REFUSED((e.known = false, e.owner = span_of("x")));
	/* The same from outside: an unknown flag, and a path that is not absolute. */
	e = good;
	const size_t n = dw_agentp_entry_build(&e, out, sizeof(out));
	out[0] |= 0x80;
	assert_int_equal(parse_entry((struct dw_span){ out, n }), DW_PARSE_BAD);
	out[0] &= 0x7f;
	assert_int_equal(parse_entry((struct dw_span){ out, n }), DW_PARSE_OK);
	*(uint8_t *)memchr(out, '/', n) = 'x';
	assert_int_equal(parse_entry((struct dw_span){ out, n }), DW_PARSE_BAD);
}

static void events(void **state)
{
	static const struct {
		enum dw_agentp_happening what;
		const char *path, *to;
		bool ok;
	} rows[] = {
		{ DW_AGENTP_HAPPENED_NOTHING, "", "", false },
		{ DW_AGENTP_WATCHING, "/", "", true },
		{ DW_AGENTP_WATCHING, "a", "", false },
		{ DW_AGENTP_WATCHING, "", "", false },
		{ DW_AGENTP_CREATED, "a/b", "", true },
		{ DW_AGENTP_CREATED, "/a", "", false },
		{ DW_AGENTP_CREATED, "", "", false },
		{ DW_AGENTP_CREATED, "a", "b", false },
		{ DW_AGENTP_MODIFIED, "a", "", true },
		{ DW_AGENTP_REMOVED, "a", "", true },
		{ DW_AGENTP_RENAMED, "a", "b", true },
		{ DW_AGENTP_RENAMED, "a", "", false },
		{ DW_AGENTP_RENAMED, "a", "/b", false },
		{ DW_AGENTP_CHANGED, "a", "", true },
		{ DW_AGENTP_OVERFLOW, "", "", true },
		{ DW_AGENTP_OVERFLOW, "a", "", false },
		{ DW_AGENTP_CROWDED, "", "", true },
		{ DW_AGENTP_GONE, "", "", true },
		{ DW_AGENTP_MOVED, "", "", true },
		{ DW_AGENTP_HAPPENING_COUNT, "", "", false },
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		const struct dw_agentp_event e = {
			.what = rows[i].what, .dir = i % 2, .path = span_of(rows[i].path), .to = span_of(rows[i].to)
		};
		struct dw_agentp_event back = { 0 };
		uint8_t out[64];
		const size_t n = dw_agentp_event_build(&e, out, sizeof(out));
		assert_int_equal(n > 0, rows[i].ok);
		if (!n)
			continue;
		assert_int_equal(dw_agentp_event_parse((struct dw_span){ out, n }, &back), DW_PARSE_OK);
		assert_int_equal(back.what, e.what);
		assert_int_equal(back.dir, e.dir);
		assert_span(back.path, rows[i].path);
		assert_span(back.to, rows[i].to);
		sweep(parse_event, out, n);
	}
	/* From outside. */
	static const uint8_t beyond[] = { DW_AGENTP_HAPPENING_COUNT, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
	assert_int_equal(parse_event((struct dw_span){ beyond, sizeof(beyond) }), DW_PARSE_BAD);
}

static void made(void **state)
{
	static const uint8_t bytes[] = { 1, 0, 2 };
	bool m = false;
	assert_int_equal(dw_agentp_made_parse((struct dw_span){ bytes, 1 }, &m), DW_PARSE_OK);
	assert_true(m);
	assert_int_equal(dw_agentp_made_parse((struct dw_span){ bytes + 1, 1 }, &m), DW_PARSE_OK);
	assert_false(m);
	assert_int_equal(dw_agentp_made_parse((struct dw_span){ bytes + 2, 1 }, &m), DW_PARSE_BAD);
	sweep(parse_made, bytes, 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests),         cmocka_unit_test(requests_that_can_not_be_said),
		cmocka_unit_test(entry_round_trip), cmocka_unit_test(entries_that_are_refused),
		cmocka_unit_test(events),           cmocka_unit_test(made),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
