/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/build_log.h"

#include <string.h>

#include "daemon/agent_file.h"

/* What a line costs beside its text. */
#define LINE_COST 16u

static void drop_first(struct build_log *l)
{
	char **first = &l->line[l->head];
	l->bytes -= strlen(*first) + LINE_COST;
	free(*first);
	*first = NULL;
	l->head = (l->head + 1) % l->cap;
	l->n--;
	l->from++;
}

static void bound(struct build_log *l, size_t max)
{
	while (l->n && l->bytes > max)
		drop_first(l);
}

/* Room for one more; false when there is no memory for it. */
static bool grow(struct build_log *l)
{
	if (l->n < l->cap)
		return true;
	size_t cap = l->cap ? 2 * l->cap : 64;
	char **line = calloc(cap, sizeof(*line));
	if (!line)
		return false;
	for (size_t i = 0; i < l->n; i++)
		line[i] = l->line[(l->head + i) % l->cap];
	free(l->line);
	l->line = line;
	l->cap = cap;
	l->head = 0;
	return true;
}

static void flush(struct build_log *l)
{
	char *text = strndup(l->part, l->part_n);
	l->part_n = 0;
	l->returned = false;
	if (!text || !grow(l)) {
		free(text);
		return;
	}
	l->line[(l->head + l->n++) % l->cap] = text;
	l->bytes += strlen(text) + LINE_COST;
	bound(l, DAEMON_BUILD_LOG);
}

void build_log_add(struct build_log *l, const void *p, size_t n)
{
	for (const char *c = p, *end = c + n; c < end; c++) {
		if (*c == '\n') {
			flush(l);
			continue;
		}
		if (*c == '\r') {
			l->returned = true;
			continue;
		}
		if (l->returned)
			l->part_n = 0;
		l->returned = false;
		l->part[l->part_n++] = *c ? *c : ' ';
		if (l->part_n == sizeof(l->part))
			flush(l);
	}
}

void build_log_say(struct build_log *l, const char *text)
{
	if (l->part_n)
		flush(l);
	build_log_add(l, text, strlen(text));
	flush(l);
}

void build_log_end(struct build_log *l, size_t max)
{
	if (l->part_n)
		flush(l);
	bound(l, max);
}

void build_log_done(struct build_log *l)
{
	while (l->n)
		drop_first(l);
	free(l->line);
	l->line = NULL;
	l->cap = 0;
}

json_t *build_log_json(const struct build_log *l, uint64_t since, uint64_t *ret_from)
{
	auto_json json_t *all = json_array();
	const uint64_t from = DW_MIN(DW_MAX(since, l->from), l->from + l->n);
	if (!all)
		return NULL;
	for (uint64_t i = from - l->from; i < l->n; i++) {
		const char *text = l->line[(l->head + i) % l->cap];
		json_t *v = agent_text_json((struct dw_span){ .p = (const uint8_t *)text, .n = strlen(text) });
		if (!v || json_array_append_new(all, v) < 0)
			return NULL;
	}
	*ret_from = from;
	return DW_TAKE(all);
}
