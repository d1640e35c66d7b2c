/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output of a command as events for a client: one for each line, with its "\n". What is no whole line waits for the rest of it until it
 * is flushed or too long. Characters are never cut; bytes that are none become U+FFFD. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/sse.h"

#define LINE_EVENTS_MAX (32u << 10) /* bytes of a line in one event */

struct line_part {
	char *p; /* malloc'ed */
	size_t n, cap;
	uint64_t start; /* no byte of it stands before this position */
	uint64_t end;   /* behind its last byte, of which the last `fresh` stand together */
	size_t fresh;
};

/* {} is the start; LINE_EVENTS_DONE at the end. */
struct line_events {
	struct line_part part[2]; /* stdout, stderr: what waits */
	uint64_t at;              /* position behind what was taken */
	bool strip;               /* without the "\n" of a line */
	bool positions;           /* with `position`: everything before it has been given */
};
void line_events_done(struct line_events *l);

/*
 * Takes some of the n > 0 bytes of a stream, up to the end of one event, and appends at most one event. Returns how many bytes were taken, at
 * least 1; 0 when memory is out.
 */
size_t line_events_take(struct line_events *l, unsigned stream, const char *p, size_t n, struct sse_out *out);
/* Whether something waits. */
static inline bool line_events_waiting(const struct line_events *l)
{
	return l->part[0].n || l->part[1].n;
}
/*
 * Appends what waits. last: also the beginning of a character whose rest did not come; otherwise that goes on waiting. False
 * when memory is out.
 */
bool line_events_flush(struct line_events *l, bool last, struct sse_out *out);
/* n bytes that nobody has any more: they count as given. */
void line_events_skip(struct line_events *l, uint64_t n);
