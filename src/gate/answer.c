/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/macros.h"

static const uint8_t *line_end(const uint8_t *p, const uint8_t *end)
{
	const uint8_t *nl = memchr(p, '\n', (size_t)(end - p));
	return nl ? nl : end;
}

bool answer_wants_json(const uint8_t *head, size_t n)
{
	static const char field[] = "accept:", type[] = "application/json";

	if (!head)
		return false;
	const uint8_t *end = head + n;
	for (const uint8_t *p = head; p < end;) {
		const uint8_t *nl = line_end(p, end);
		if (nl == p || (nl == p + 1 && *p == '\r'))
			break; /* the end of the head */
		if ((size_t)(nl - p) > strlen(field) && strncasecmp((const char *)p, field, strlen(field)) == 0)
			for (const uint8_t *q = p; q + strlen(type) <= nl; q++)
				if (strncasecmp((const char *)q, type, strlen(type)) == 0)
					return true;
		p = nl < end ? nl + 1 : end;
	}
	return false;
}

static const char *status_text(unsigned status)
{
	switch (status) {
	case 400:
		return "Bad Request";
	case 431:
		return "Request Header Fields Too Large";
	default:
		return "Forbidden";
	}
}

/* JSON string contents; bytes outside printable ASCII become \u00XX, so the output is always valid. */
static void json_escape(const char *s, char *out, size_t cap)
{
	size_t n = 0;

	for (; *s && n + 7 < cap; s++) {
		unsigned char c = (unsigned char)*s;
		if (c == '"' || c == '\\')
			n += (size_t)snprintf(out + n, cap - n, "\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			n += (size_t)snprintf(out + n, cap - n, "\\u%04x", c);
		else
			out[n++] = (char)c;
	}
	out[n] = '\0';
}

/* malloc'ed; NULL without memory. */
static char *make_body(const struct answer *a)
{
	char text[4096], rule[4096];
	char *body = NULL;
	int n;

	if (a->json) {
		json_escape(a->text, text, sizeof(text));
		json_escape(a->rule, rule, sizeof(rule));
		n = asprintf(&body,
			     "{\"message\":\"%s\",\"code\":\"egress_denied\",\"reason\":\"%s\",\"rule\":%s%s%s}\n",
			     text, a->reason, *rule ? "\"" : "null", rule, *rule ? "\"" : "");
	} else {
		n = asprintf(&body, "%s\n", a->text);
	}
	return n < 0 ? NULL : body;
}

uint8_t *answer_http(const struct answer *a, size_t *ret_n)
{
	dw_autofree char *body = make_body(a);
	char *out = NULL;

	if (!body)
		return NULL;
	int n = asprintf(&out,
			 "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nX-Declaw-Reason: %s\r\n"
			 "Cache-Control: no-store\r\nConnection: close\r\n\r\n%s",
			 a->status, status_text(a->status), a->json ? "application/json" : "text/plain; charset=utf-8",
			 strlen(body), a->reason, body);
	if (n < 0)
		return NULL;
	*ret_n = (size_t)n;
	return (uint8_t *)out;
}
