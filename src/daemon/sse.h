/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server-sent events (WHATWG HTML, section 9.2) as the known clients read them: `event: ` and `data: ` with one space, one data
 * line, "\n\n" behind, and nothing but ASCII in it. Some clients cut lines at U+0085, U+2028 and the like, so every other
 * character is written as \uXXXX.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "daemon/http.h"

/* Bytes on their way to one client. {} is empty. Whoever fills it bounds it: takes what is there before putting more. */
struct sse_out {
	char *p;
	size_t at, n, cap; /* p[at..n) are to be sent */
};
void sse_out_done(struct sse_out *o);
static inline bool sse_out_empty(const struct sse_out *o)
{
	return o->at == o->n;
}

/*
 * Appends an event. name: ASCII without line breaks. json: the text of one JSON value; what is not UTF-8 in it becomes U+FFFD, a
 * raw control character (which JSON has between tokens only) a space. False, with nothing appended, when memory is out.
 */
bool DW_MUST_USE sse_put(struct sse_out *o, const char *name, const char *json, size_t n);
/* The same for a value, which is taken; NULL counts as memory that is out. */
bool DW_MUST_USE sse_put_json(struct sse_out *o, const char *name, json_t *take);
/* Appends a comment, which every reader skips and which keeps the connection alive. */
bool DW_MUST_USE sse_put_ping(struct sse_out *o);
/* Moves up to max bytes to buf; returns how many. */
size_t sse_take(struct sse_out *o, char *buf, size_t max);

/* Whether the client asks for a stream: `Accept: text/event-stream`, or the query `stream=true`. INVALID for another `stream`. */
int DW_MUST_USE sse_wanted(const struct http_request *rq, bool *ret, struct dw_err *err);
/*
 * Makes the answer a stream of events. next(arg) runs in the connection's own thread and may wait; it never returns 0. arg is taken, also
 * on failure: release(arg) runs when the answer has ended.
 */
int DW_MUST_USE sse_reply(struct http_request *rq, struct http_reply *rp, MHD_ContentReaderCallback next,
			  void (*release)(void *arg), void *arg, struct dw_err *err);
