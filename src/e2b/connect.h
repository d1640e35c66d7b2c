/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Remote calls by the Connect protocol with its JSON codec (https://connectrpc.com/docs/protocol). One answer: JSON, errors by status. A
 * stream: the request is one envelope and the answer any number of them, of which the last says how it ended; the status is 200 whatever
 * happens, but for what concerns the whole sandbox: no access (401), and no such sandbox or one that does not run (502).
 *
 * A route with ROUTE_JSON is a call with one answer, one with ROUTE_BYTES a stream.
 */
#pragma once

#include "daemon/http.h"

#include "e2b/connect_frame.h"

/* What the head of a call says. */
struct connect_call {
	char user[DAEMON_USER_MAX + 1]; /* the account inside; "user" when none is named */
	uint32_t timeout_ms;            /* 0 = none */
	int64_t ping_ms;                /* between two signs of life on a stream */
};
/*
 * Checks the head, and of a stream takes the body apart into rq->json. INVALID "unsupported_media_type" for another codec, "unsupported_encoding"
 * for compression; "invalid_envelope"; TOO_LARGE; and what a user or a time-out can be wrong by.
 */
int DW_MUST_USE connect_begin(struct http_request *rq, struct connect_call *ret, struct dw_err *err);

/* Whether a route is a call of this kind. */
bool connect_is_call(const struct route *r);
/* How the error of such a call looks; *status as route_table's fail. */
struct MHD_Response *connect_fail(const struct http_request *rq, unsigned *status);
/* {"code", "message"}; NULL: no memory. */
json_t *connect_error_json(const struct dw_err *err);

/* Envelopes on their way to one client. {} is empty. Whoever fills it takes what is there before putting more. */
struct connect_out {
	char *p;
	size_t at, n, cap; /* p[at..n) are to be sent */
	bool ended;        /* the last one was put */
};
void connect_out_done(struct connect_out *o);
/* False, with nothing appended, when memory is out. */
bool DW_MUST_USE connect_put(struct connect_out *o, uint8_t flags, const char *text, size_t n);
/* The value is taken; NULL counts as memory that is out. */
bool DW_MUST_USE connect_put_json(struct connect_out *o, json_t *take);
/* The end: without an error when err is NULL. */
bool DW_MUST_USE connect_put_end(struct connect_out *o, const struct dw_err *err);

/* A stream on its way: step puts something or waits; false ends the connection without a word. */
struct connect_stream {
	struct connect_out out;
	bool (*step)(struct connect_stream *s);
	void (*release)(struct connect_stream *s); /* everything but out */
	int64_t ping_ms, every_ms;                 /* when the next sign of life is due; how often */
	int64_t until_ms;                          /* INT64_MAX: no end of its own */
	int client_fd, stop_fd;
};
void connect_stream_init(struct connect_stream *s, const struct http_request *rq, const struct connect_call *call);
/* Something was said: the client knows that the stream lives. Returns ok. */
bool connect_said(struct connect_stream *s, bool ok);
/* When somebody who waits has to look again. */
int64_t connect_due(const struct connect_stream *s);
/* What to put then: the end at until_ms, else the sign of life if that is due. ping: the text of its message. */
bool connect_put_due(struct connect_stream *s, const char *ping);
/* Makes it the answer. s was malloc'ed, and is taken, also on failure. */
int DW_MUST_USE connect_reply(struct http_request *rq, struct http_reply *rp, struct connect_stream *s,
			      struct dw_err *err);
