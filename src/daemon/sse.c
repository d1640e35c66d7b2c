/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/sse.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "daemon/bounds.h"
#include "daemon/utf8.h"

/* What is worst for one byte: a two-byte character becomes six, an invalid byte as well. */
#define ESCAPED_MAX 6

void sse_out_done(struct sse_out *o)
{
	free(o->p);
	*o = (struct sse_out){ 0 };
}

static bool reserve(struct sse_out *o, size_t more)
{
	if (o->at) {
		memmove(o->p, o->p + o->at, o->n - o->at);
		o->n -= o->at;
		o->at = 0;
	}
	if (o->cap - o->n >= more)
		return true;
	const size_t cap = DW_MAX(o->cap * 2, o->n + more);
	char *grown = realloc(o->p, cap);
	if (!grown)
		return false;
	o->p = grown;
	o->cap = cap;
	return true;
}

static void put(struct sse_out *o, const char *p, size_t n)
{
	memcpy(o->p + o->n, p, n);
	o->n += n;
}

static void put_unit(struct sse_out *o, uint32_t unit)
{
	static const char hex[] = "0123456789abcdef";
	const char text[] = {
		'\\', 'u', hex[unit >> 12 & 15], hex[unit >> 8 & 15], hex[unit >> 4 & 15], hex[unit & 15]
	};
	put(o, text, sizeof(text));
}

/* A valid character of two to four bytes. */
static uint32_t decode(const uint8_t *p, size_t n)
{
	uint32_t c = n == 2 ? p[0] & 0x1fu : n == 3 ? p[0] & 0x0fu : p[0] & 0x07u;
	for (size_t i = 1; i < n; i++)
		c = c << 6 | (p[i] & 0x3fu);
	return c;
}

/* The character at p, which is not ASCII; returns how many bytes it was made of. */
static size_t put_escaped(struct sse_out *o, const char *p, size_t n)
{
	char text[UTF8_JSON_MAX];
	size_t len;
	const size_t used = utf8_json_char(p, n, text, &len);
	const uint32_t c = decode((const uint8_t *)text, len);
	if (c >= 0x10000) {
		put_unit(o, 0xd800 + ((c - 0x10000) >> 10));
		put_unit(o, 0xdc00 + ((c - 0x10000) & 0x3ff));
	} else {
		put_unit(o, c);
	}
	return used;
}

bool sse_put(struct sse_out *o, const char *name, const char *json, size_t n)
{
	static const char event[] = "event: ", data[] = "\ndata: ", end[] = "\n\n";
	const size_t name_n = strlen(name);
	if (!reserve(o, sizeof(event) + name_n + sizeof(data) + n * ESCAPED_MAX + sizeof(end)))
		return false;
	put(o, event, sizeof(event) - 1);
	put(o, name, name_n);
	put(o, data, sizeof(data) - 1);
	for (size_t at = 0; at < n;) {
		const unsigned char c = (unsigned char)json[at];
		if (c >= 0x7f) {
			at += c == 0x7f ? 1 : put_escaped(o, json + at, n - at);
			if (c == 0x7f)
				put_unit(o, c);
			continue;
		}
		o->p[o->n++] = c < ' ' ? ' ' : (char)c;
		at++;
	}
	put(o, end, sizeof(end) - 1);
	return true;
}

bool sse_put_json(struct sse_out *o, const char *name, json_t *take)
{
	auto_json json_t *json = take;
	dw_autofree char *text = json ? json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	return text && sse_put(o, name, text, strlen(text));
}

bool sse_put_ping(struct sse_out *o)
{
	static const char ping[] = ": ping\n\n";
	if (!reserve(o, sizeof(ping)))
		return false;
	put(o, ping, sizeof(ping) - 1);
	return true;
}

size_t sse_take(struct sse_out *o, char *buf, size_t max)
{
	const size_t n = DW_MIN(o->n - o->at, max);
	if (n)
		memcpy(buf, o->p + o->at, n);
	o->at += n;
	return n;
}

int sse_wanted(const struct http_request *rq, bool *ret, struct dw_err *err)
{
	static const char type[] = "text/event-stream";
	const char *accept = http_header(rq, MHD_HTTP_HEADER_ACCEPT), *stream = NULL;
	if (http_query(rq, "stream", &stream, err) < 0)
		return -1;
	if (stream && strcmp(stream, "true") != 0 && strcmp(stream, "false") != 0)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "stream must be true or false");
	*ret = stream ? strcmp(stream, "true") == 0 : accept && strcasestr(accept, type);
	return 0;
}

int sse_reply(struct http_request *rq, struct http_reply *rp, MHD_ContentReaderCallback next,
	      void (*release)(void *arg), void *arg, struct dw_err *err)
{
	/* What waits for a slow reader waits where it is bounded and counted, and not in the kernel. */
	DW_IGNORE(setsockopt(http_client_fd(rq), SOL_SOCKET, SO_SNDBUF, &(int){ DAEMON_FOLLOW_SNDBUF }, sizeof(int)));
	rp->response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, next, arg, release);
	if (!rp->response) {
		release(arg);
		return dw_err_errno(err, ENOMEM, "streaming the answer");
	}
	MHD_add_response_header(rp->response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/event-stream");
	MHD_add_response_header(rp->response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	return 0;
}
