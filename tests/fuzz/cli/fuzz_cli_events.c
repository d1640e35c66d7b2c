/* SPDX-License-Identifier: Apache-2.0 */
/* A stream of events, cut up by its first byte: however it is cut, it reads the same. */
#include <stdint.h>
#include <string.h>

#include "cli/events.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sum {
	uint64_t hash, count;
};

static void add(struct sum *s, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		s->hash = (s->hash ^ (uint8_t)p[i]) * 0x100000001b3u;
	s->hash = (s->hash ^ 0x100) * 0x100000001b3u;
}

static int take(void *arg, const struct event *e)
{
	struct sum *s = arg;
	dw_assert(e->data[e->n] == '\0' && strlen(e->name) < EVENTS_NAME_MAX && strlen(e->id) < EVENTS_ID_MAX);
	add(s, e->name, strlen(e->name));
	add(s, e->id, strlen(e->id));
	add(s, e->data, e->n);
	s->count++;
	return 0;
}

static struct sum read_in(const char *p, size_t n, size_t piece)
{
	struct sum s = { 0 };
	struct events e = { .take = take, .arg = &s };
	for (size_t at = 0; at < n; at += piece)
		dw_assert(events_feed(&e, p + at, DW_MIN(piece, n - at)) == EVENTS_MORE);
	events_done(&e);
	return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	const char *p = (const char *)data + 1;
	const struct sum whole = read_in(p, size - 1, size - 1), cut = read_in(p, size - 1, data[0] % 16 + 1u);
	dw_assert(whole.hash == cut.hash && whole.count == cut.count);
	return 0;
}
