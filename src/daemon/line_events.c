/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/line_events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/utf8.h"

static const char *const names[] = { "stdout", "stderr" };

void line_events_done(struct line_events *l)
{
	for (size_t i = 0; i < DW_COUNT(l->part); i++)
		free(l->part[i].p);
	*l = (struct line_events){ 0 };
}

/* Bytes at the end that may be the beginning of a character. */
static size_t unfinished(const char *p, size_t n)
{
	for (size_t i = 1; i <= 3 && i <= n; i++)
		if (((unsigned char)p[n - i] & 0xc0) == 0xc0)
			return utf8_valid_start(p + n - i, i) && utf8_valid_prefix(p + n - i, i) == 0 ? i : 0;
	return 0;
}

/* A position that no byte stands before which is left in the part when its first n are given. */
static uint64_t start_after(const struct line_part *part, size_t n)
{
	const size_t left = part->n - n;
	/* Of what came in pieces, with the other stream's between them, only the last piece's place is known. */
	return left <= part->fresh ? part->end - left : part->start;
}

/* Where a reader may go on, once the first n bytes of part i are given. Something may come twice, but nothing is missed. */
static uint64_t position(const struct line_events *l, unsigned i, size_t n)
{
	const struct line_part *mine = &l->part[i], *other = &l->part[!i];
	const uint64_t at = n < mine->n ? start_after(mine, n) : l->at;
	return other->n ? DW_MIN(at, other->start) : at;
}

/* The JSON of an event with the first n bytes of a part; malloc'ed. */
static char *json_of(const struct line_events *l, unsigned i, size_t n, size_t *ret_n)
{
	const struct line_part *part = &l->part[i];
	const size_t text_n = n - (l->strip && n && part->p[n - 1] == '\n');
	const size_t cap = text_n * UTF8_JSON_MAX + 160;
	char *json = malloc(cap);
	if (!json)
		return NULL;
	size_t len = (size_t)snprintf(json, cap, "{\"type\":\"%s\",\"stream\":\"%s\",\"data\":\"", names[i], names[i]);
	for (size_t at = 0; at < text_n;) {
		size_t made;
		at += utf8_json_char(part->p + at, text_n - at, json + len, &made);
		len += made;
	}
	if (l->positions)
		len += (size_t)snprintf(json + len, cap - len, "\",\"position\":%llu}",
					(unsigned long long)position(l, i, n));
	else
		len += (size_t)snprintf(json + len, cap - len, "\"}");
	*ret_n = len;
	return json;
}

/* Gives the first n bytes of a part. */
static bool give(struct line_events *l, unsigned i, size_t n, struct sse_out *out)
{
	struct line_part *part = &l->part[i];
	size_t json_n;
	dw_autofree char *json = json_of(l, i, n, &json_n);
	if (!json || !sse_put(out, names[i], json, json_n))
		return false;
	part->start = start_after(part, n);
	memmove(part->p, part->p + n, part->n - n);
	part->n -= n;
	return true;
}

static bool append(struct line_events *l, struct line_part *part, const char *p, size_t n)
{
	if (part->n + n > part->cap) {
		const size_t cap = DW_MIN(DW_MAX(part->cap * 2, part->n + n), (size_t)LINE_EVENTS_MAX);
		char *grown = realloc(part->p, cap);
		if (!grown)
			return false;
		part->p = grown;
		part->cap = cap;
	}
	if (!part->n)
		part->start = l->at;
	memcpy(part->p + part->n, p, n);
	part->n += n;
	l->at += n;
	part->end = l->at;
	part->fresh = n;
	return true;
}

size_t line_events_take(struct line_events *l, unsigned stream, const char *p, size_t n, struct sse_out *out)
{
	struct line_part *part = &l->part[stream];
	const char *end = memchr(p, '\n', n);
	size_t some = end ? (size_t)(end - p) + 1 : n;
	const bool line = end && some <= LINE_EVENTS_MAX - part->n;
	some = DW_MIN(some, LINE_EVENTS_MAX - part->n);
	if (!append(l, part, p, some))
		return 0;
	if (line)
		return give(l, stream, part->n, out) ? some : 0;
	if (part->n == LINE_EVENTS_MAX && !give(l, stream, part->n - unfinished(part->p, part->n), out))
		return 0;
	return some;
}

bool line_events_flush(struct line_events *l, bool last, struct sse_out *out)
{
	for (unsigned i = 0; i < DW_COUNT(l->part); i++) {
		const struct line_part *part = &l->part[i];
		const size_t n = part->n - (last ? 0 : unfinished(part->p, part->n));
		if (n && !give(l, i, n, out))
			return false;
	}
	return true;
}

void line_events_skip(struct line_events *l, uint64_t n)
{
	l->at += n;
}
