/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/limits.h"

#include <stdlib.h>
#include <string.h>

/* A name window is emptied a minute after its first name. */
#define WINDOW_MS 60000u

/* clang-format off */
#define NARROW(member) .name = #member, .offset = offsetof(struct dw_limits, member)
#define WIDE(member)   NARROW(member), .wide = true
const struct dw_limit dw_limit_table[DW_LIMIT_COUNT] = {
	{ NARROW(flows), .dflt = DW_LIMIT_FLOWS, .max = DW_LIMIT_FLOWS_MAX, .range = "a whole number between 1 and 16384" },
	{ NARROW(half_open), .dflt = DW_LIMIT_HALF_OPEN, .max = DW_LIMIT_FLOWS_MAX, .range = "a whole number between 1 and 16384" },
	{ NARROW(flows_per_second), .dflt = DW_LIMIT_FLOWS_PER_SECOND, .max = DW_LIMIT_RATE_MAX, .range = "a whole number between 1 and 1000000" },
	{ NARROW(dns_per_second), .dflt = DW_LIMIT_DNS_PER_SECOND, .max = DW_LIMIT_RATE_MAX, .range = "a whole number between 1 and 1000000" },
	{ NARROW(names_per_minute), .dflt = DW_LIMIT_NAMES_PER_MINUTE, .max = DW_LIMIT_NAMES_MAX, .range = "a whole number between 1 and 100000" },
	{ WIDE(bytes), .max = DW_LIMIT_BYTES_MAX, .range = "a whole number between 1 and 9007199254740991" },
};
/* clang-format on */
_Static_assert(DW_LIMIT_FLOWS_MAX == 16384 && DW_LIMIT_RATE_MAX == 1000000 && DW_LIMIT_NAMES_MAX == 100000 &&
		       DW_LIMIT_BYTES_MAX == 9007199254740991,
	       "as the ranges say");

uint64_t dw_limit_get(const struct dw_limits *l, const struct dw_limit *which)
{
	const char *at = (const char *)l + which->offset;
	uint64_t wide;
	uint32_t narrow;
	if (which->wide)
		return memcpy(&wide, at, sizeof(wide)), wide;
	return memcpy(&narrow, at, sizeof(narrow)), narrow;
}

void dw_limit_set(struct dw_limits *l, const struct dw_limit *which, uint64_t v)
{
	char *at = (char *)l + which->offset;
	const uint32_t narrow = (uint32_t)v;
	if (which->wide)
		memcpy(at, &v, sizeof(v));
	else
		memcpy(at, &narrow, sizeof(narrow));
}

void dw_limits_fill(struct dw_limits *l)
{
	for (size_t i = 0; i < DW_LIMIT_COUNT; i++) {
		const struct dw_limit *t = &dw_limit_table[i];
		const uint64_t v = dw_limit_get(l, t);
		if (t->dflt)
			dw_limit_set(l, t, v ? DW_MIN(v, t->max) : t->dflt);
	}
}

bool dw_bucket_take(struct dw_bucket *b, uint32_t rate, uint64_t now_ms)
{
	const uint64_t full = 2000u * (uint64_t)rate;

	if (!b->used) {
		b->tokens_m = full;
		b->used = true;
		b->last_ms = now_ms;
	}
	if (now_ms > b->last_ms) {
		const uint64_t passed = now_ms - b->last_ms;

		/* After two seconds it is full whatever was in it; the product cannot overflow then. */
		b->tokens_m = passed >= 2000 ? full : b->tokens_m + passed * rate;
		b->last_ms = now_ms;
	}
	/* Outside: the rate may have been lowered since. */
	if (b->tokens_m > full)
		b->tokens_m = full;
	if (b->tokens_m < 1000)
		return false;
	b->tokens_m -= 1000;
	return true;
}

static bool insert(uint64_t *set, uint32_t cap, uint64_t hash)
{
	uint32_t i = (uint32_t)hash & (cap - 1);

	while (set[i] && set[i] != hash)
		i = (i + 1) & (cap - 1);
	if (set[i] == hash)
		return false;
	set[i] = hash;
	return true;
}

static bool contains(const struct dw_name_window *w, uint64_t hash)
{
	uint32_t i = (uint32_t)hash & (w->cap - 1);

	while (w->set[i] && w->set[i] != hash)
		i = (i + 1) & (w->cap - 1);
	return w->set[i] == hash;
}

static bool grow(struct dw_name_window *w)
{
	const uint32_t cap = w->cap ? w->cap * 2 : 64;
	uint64_t *set = calloc(cap, sizeof(*set));

	if (!set)
		return false;
	for (uint32_t i = 0; i < w->cap; i++) {
		if (w->set[i])
			insert(set, cap, w->set[i]);
	}
	free(w->set);
	w->set = set;
	w->cap = cap;
	return true;
}

bool dw_name_window_take(struct dw_name_window *w, uint64_t hash, uint32_t max, uint64_t now_ms)
{
	if (hash == 0)
		hash = 1;
	/* The table ends somewhere, whatever the caller has been told. */
	max = DW_MIN(max, DW_LIMIT_NAMES_MAX);
	if (w->n && now_ms > w->start_ms && now_ms - w->start_ms >= WINDOW_MS)
		dw_name_window_done(w);
	if (w->n && contains(w, hash))
		return true;
	/* Half full at most, so that probing stays short. */
	if (w->n >= max || (w->n >= w->cap / 2 && !grow(w)))
		return false;
	if (w->n == 0)
		w->start_ms = now_ms;
	insert(w->set, w->cap, hash);
	w->n++;
	return true;
}

void dw_name_window_done(struct dw_name_window *w)
{
	free(w->set);
	*w = (struct dw_name_window){ 0 };
}
