/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/events.h"

#include <stdio.h>
#include <string.h>

/* Room for n more bytes and a NUL. */
static enum events_result reserve(char **buf, size_t *cap, size_t used, size_t n)
{
	if (n > EVENTS_DATA_MAX || used + n > EVENTS_DATA_MAX)
		return EVENTS_TOO_LONG;
	if (used + n + 1 <= *cap)
		return EVENTS_MORE;
	const size_t want = DW_MAX(DW_MAX(*cap * 2, used + n + 1), (size_t)4096);
	char *more = realloc(*buf, want);
	if (!more)
		return EVENTS_NO_MEMORY;
	*buf = more;
	*cap = want;
	return EVENTS_MORE;
}

static enum events_result dispatch(struct events *e)
{
	const struct event event = { *e->name ? e->name : "message", e->id, e->data, e->data_n };
	int end = 0;

	if (e->has_data) {
		e->data[e->data_n] = '\0';
		end = e->take(e->arg, &event);
	}
	e->name[0] = '\0';
	e->data_n = 0;
	e->has_data = false;
	return end ? EVENTS_ENDED : EVENTS_MORE;
}

static enum events_result add_data(struct events *e, const char *value, size_t n)
{
	const enum events_result r = reserve(&e->data, &e->data_cap, e->data_n, n + 1);

	if (r != EVENTS_MORE)
		return r;
	if (e->has_data)
		e->data[e->data_n++] = '\n';
	memcpy(e->data + e->data_n, value, n);
	e->data_n += n;
	e->has_data = true;
	return EVENTS_MORE;
}

static bool field_is(const char *line, size_t n, const char *name)
{
	return n == strlen(name) && memcmp(line, name, n) == 0;
}

static enum events_result end_line(struct events *e)
{
	const char *line = e->line;
	const size_t line_n = e->line_n;

	e->line_n = 0;
	if (!line_n)
		return dispatch(e);
	const char *colon = memchr(line, ':', line_n);
	const size_t n = colon ? (size_t)(colon - line) : line_n;
	const char *value = colon ? colon + 1 : line + line_n;
	size_t value_n = line_n - n - (colon ? 1 : 0);
	if (value_n && *value == ' ') {
		value++;
		value_n--;
	}
	if (field_is(line, n, "data"))
		return add_data(e, value, value_n);
	if (field_is(line, n, "event"))
		snprintf(e->name, sizeof(e->name), "%.*s", (int)DW_MIN(value_n, sizeof(e->name)), value);
	else if (field_is(line, n, "id") && !memchr(value, '\0', value_n))
		snprintf(e->id, sizeof(e->id), "%.*s", value_n < sizeof(e->id) ? (int)value_n : 0, value);
	return EVENTS_MORE;
}

enum events_result events_feed(struct events *e, const char *p, size_t n)
{
	const char *const end = p + n;

	while (p < end) {
		if (e->after_cr && *p == '\n')
			p++;
		e->after_cr = false;
		size_t run = 0;
		while (p + run < end && p[run] != '\n' && p[run] != '\r')
			run++;
		enum events_result r = reserve(&e->line, &e->line_cap, e->line_n, run);
		if (r != EVENTS_MORE)
			return r;
		memcpy(e->line + e->line_n, p, run);
		e->line_n += run;
		p += run;
		if (p == end)
			break;
		e->after_cr = *p++ == '\r';
		r = end_line(e);
		if (r != EVENTS_MORE)
			return r;
	}
	return EVENTS_MORE;
}

void events_done(struct events *e)
{
	free(e->line);
	free(e->data);
	e->line = e->data = NULL;
}
