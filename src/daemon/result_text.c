/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/result_text.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "daemon/utf8.h"

static struct result_part raw(const char *s)
{
	return (struct result_part){ .p = s, .n = strlen(s), .raw = true };
}

static struct result_part quoted(const char *p, size_t n)
{
	return (struct result_part){ .p = p, .n = n };
}

void result_text_init(struct result_text *t, const struct agent_result *r, const char *note)
{
	*t = (struct result_text){ 0 };
	snprintf(t->tail, sizeof(t->tail), "\",\"exit_code\":%u,\"pid\":%u%s}", (unsigned)r->exit_code,
		 (unsigned)r->pid, r->out.truncated || r->err.truncated ? ",\"truncated\":true" : "");
	const struct result_part part[RESULT_TEXT_PARTS] = {
		raw("{\"stdout\":\""),      quoted(r->out.p, r->out.n), raw("\",\"stderr\":\""),
		quoted(r->err.p, r->err.n), quoted(note, strlen(note)), raw(t->tail),
	};
	memcpy(t->part, part, sizeof(part));
}

void result_text_init_pieces(struct result_text *t, const struct agent_result *r, result_fill *fill, void *arg,
			     const char *note)
{
	result_text_init(t, r, note);
	t->fill = fill;
	t->fill_arg = arg;
	t->part[1] = (struct result_part){ .fills = 1 };
	t->part[3] = (struct result_part){ .fills = 2 };
}

/* So much of a part that comes in pieces that no character is cut. */
static void refill(struct result_text *t, struct result_part *part)
{
	size_t left = part->n - t->begun;
	if (!part->fills || left >= UTF8_JSON_MAX)
		return;
	if (left)
		memmove(t->window, part->p + t->begun, left);
	while (part->fills && left < UTF8_JSON_MAX) {
		const size_t n = t->fill(t->fill_arg, part->fills - 1u, t->window + left, sizeof(t->window) - left);
		left += n;
		if (!n)
			part->fills = 0;
	}
	part->p = t->window;
	part->n = left;
	t->begun = 0;
}

/* How many of the next bytes are JSON as they are, up to max. */
static size_t plain(const struct result_part *part, size_t begun, size_t max)
{
	const size_t n = DW_MIN(part->n - begun, max);
	if (part->raw || !n)
		return n;
	const uint8_t *p = (const uint8_t *)part->p + begun;
	size_t i = 0;
	while (i < n && p[i] >= ' ' && p[i] < 0x80 && p[i] != '"' && p[i] != '\\')
		i++;
	return i;
}

static size_t put(char *buf, size_t at, const char *p, size_t n)
{
	if (buf && n)
		memcpy(buf + at, p, n);
	return at + n;
}

size_t result_text_read(struct result_text *t, char *buf, size_t max)
{
	size_t done = 0;
	while (done < max) {
		if (t->ahead_at < t->ahead_n) {
			size_t n = DW_MIN(t->ahead_n - t->ahead_at, max - done);
			done = put(buf, done, t->ahead + t->ahead_at, n);
			t->ahead_at += n;
			continue;
		}
		if (t->at == RESULT_TEXT_PARTS)
			break;
		struct result_part *part = &t->part[t->at];
		refill(t, part);
		size_t n = plain(part, t->begun, max - done);
		if (n) {
			done = put(buf, done, part->p + t->begun, n);
			t->begun += n;
		} else if (t->begun < part->n) {
			t->begun += utf8_json_char(part->p + t->begun, part->n - t->begun, t->ahead, &t->ahead_n);
			t->ahead_at = 0;
		} else {
			t->at++;
			t->begun = 0;
		}
	}
	return done;
}

size_t result_text_length(const struct result_text *t)
{
	struct result_text again = *t;
	return result_text_read(&again, NULL, SIZE_MAX);
}
