/* SPDX-License-Identifier: Apache-2.0 */
#include "wire_test.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/wr.h"

#define TESTS_MAX  400
#define BLOCKS_MAX 8

static void broken(const char *what, const char *token)
{
	fprintf(stderr, "test input: %s at \"%.20s\"\n", what, token);
	abort();
}

static void put_labels(struct dw_wr *w, const char *s, size_t n)
{
	while (n) {
		const char *dot = memchr(s, '.', n);
		size_t len = dot ? (size_t)(dot - s) : n;
		dw_wr_u8(w, (uint8_t)len);
		dw_wr_bytes(w, s, len);
		s += len;
		n -= len;
		if (n) {
			s++;
			n--;
		}
	}
}

static unsigned hex_pair(const char *s)
{
	char pair[3] = { s[0], s[1], 0 };
	char *end;
	unsigned long v = strtoul(pair, &end, 16);
	if (end != pair + 2)
		broken("no hex", s);
	return (unsigned)v;
}

static void put_token(struct dw_wr *w, const char *t, size_t n)
{
	if (n >= 2 && strncmp(t, "n:", 2) == 0) {
		put_labels(w, t + 2, n - 2);
		dw_wr_u8(w, 0);
	} else if (n >= 2 && strncmp(t, "l:", 2) == 0) {
		put_labels(w, t + 2, n - 2);
	} else if (n >= 2 && strncmp(t, "s:", 2) == 0) {
		dw_wr_bytes(w, t + 2, n - 2);
	} else if (t[0] == 'x') {
		char *colon;
		unsigned long count = strtoul(t + 1, &colon, 10);
		while (count--)
			dw_wr_u8(w, (uint8_t)hex_pair(colon + 1));
	} else {
		for (size_t i = 0; i < n; i += 2)
			dw_wr_u8(w, (uint8_t)hex_pair(t + i));
	}
}

static void close_block(struct dw_wr *w, size_t at, size_t width)
{
	size_t len = w->len - at - width;
	for (size_t i = 0; i < width; i++)
		w->buf[at + i] = (uint8_t)(len >> 8 * (width - 1 - i));
}

size_t assemble(const char *text, uint8_t *out, size_t cap)
{
	struct dw_wr w = dw_wr_init(out, cap);
	size_t at[BLOCKS_MAX], width[BLOCKS_MAX], depth = 0;
	for (const char *t = text; *(t += strspn(t, " \n\t"));) {
		size_t n = strcspn(t, " \n\t");
		if ((*t == '[' && n > 2) || (*t == ']' && n > 1))
			broken("a bracket stands alone", t);
		if (*t == '[') {
			if (depth == BLOCKS_MAX)
				broken("too many blocks", t);
			at[depth] = w.len;
			width[depth] = n > 1 ? (size_t)(t[1] - '0') : 2;
			for (size_t i = 0; i < width[depth]; i++)
				dw_wr_u8(&w, 0);
			depth++;
		} else if (*t == ']') {
			if (depth == 0)
				broken("no block", t);
			depth--;
			close_block(&w, at[depth], width[depth]);
		} else {
			put_token(&w, t, n);
		}
		t += n;
	}
	if (depth || !dw_wr_ok(&w))
		broken("open block or no room", text);
	return w.len;
}

const uint8_t *at_guard(const void *data, size_t n)
{
	static uint8_t *map;
	static size_t room;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t need = (n + page - 1) / page * page + page;
	if (need > room) {
		if (map)
			munmap(map, room);
		map = mmap(NULL, need, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (map == MAP_FAILED || mprotect(map + need - page, page, PROT_NONE) != 0)
			abort();
		room = need;
	}
	uint8_t *p = map + room - page - n;
	if (n)
		memcpy(p, data, n);
	return p;
}

static struct CMUnitTest tests[TESTS_MAX];
static size_t tests_n;

static void add_one(const char *name, void (*body)(void **state), const void *row)
{
	if (tests_n == TESTS_MAX)
		broken("too many tests", name);
	void *state = (void *)(uintptr_t)row; /* cmocka's pointer is not const; the rows are only read */
	tests[tests_n++] = (struct CMUnitTest){ .name = name, .test_func = body, .initial_state = state };
}

void add_rows(const void *rows, size_t count, size_t size, void (*body)(void **state))
{
	const uint8_t *row = rows;
	for (size_t i = 0; i < count; i++, row += size) {
		const char *name;
		memcpy(&name, row, sizeof(name));
		add_one(name, body, row);
	}
}

void add_test(const char *name, void (*body)(void **state))
{
	add_one(name, body, NULL);
}

int run_all(const char *group)
{
	return _cmocka_run_group_tests(group, tests, tests_n, NULL, NULL);
}

const char *status_name(enum dw_parse status)
{
	static const char *const names[] = { "BAD", "MORE", "BIG", "OK" };
	return (size_t)status < sizeof(names) / sizeof(names[0]) ? names[status] : "?";
}
