/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 response heads (RFC 9112), for who passes a response on as one of its own: strict, because what two parsers could read
 * in two ways is how one response becomes two. BAD is the whole answer then.
 */
#pragma once

#include "wire/http_head.h"

#define DW_HTTP_RESPONSE_MAX        16384 /* status line and fields; more is BIG */
#define DW_HTTP_RESPONSE_FIELDS_MAX 128   /* likewise */

enum dw_http_extent {
	DW_HTTP_EXTENT_NONE = 0, /* no body: the status or the method says so, whatever the fields say */
	DW_HTTP_EXTENT_LENGTH,
	DW_HTTP_EXTENT_CHUNKED,
	DW_HTTP_EXTENT_CLOSE, /* up to the end of the connection */
};

struct dw_http_field {
	struct dw_span name, value; /* into the caller's bytes */
};

struct dw_http_response {
	unsigned status; /* 100 to 999 */
	uint8_t minor;   /* HTTP/1.minor */
	enum dw_http_extent extent;
	bool has_length; /* also where there is no body, as in the answer to HEAD: then it is what the body would have */
	uint64_t content_length;
	bool upgrade_websocket; /* 101, HTTP/1.1, one Upgrade: websocket (any case), Connection names it */
	/*
	 * The fields that go on, in their order: not those about this connection alone (RFC 9110 section 7.6.1: Connection,
	 * those it names, Keep-Alive, Proxy-*, TE, Trailer, Upgrade), nor those of the framing (Content-Length, Transfer-Encoding).
	 */
	struct dw_http_field field[DW_HTTP_RESPONSE_FIELDS_MAX];
	size_t field_n;
	size_t head_n; /* bytes up to and including the empty line */
};

/*
 * data[0..n) starts at a status line; to_head: what it answers was a HEAD. OK, MORE, BAD and BIG (with *ret_why, a static phrase;
 * may be NULL). ret is valid on OK only.
 * BAD, among others: bare CR or LF, obs-fold, white space before the colon, control bytes, NUL, an empty field name; a
 * version other than HTTP/1.0 or HTTP/1.1; a status that is not three digits from 100; Content-Length twice, signed, with
 * spaces or leading zeros or over 2^63-1; Transfer-Encoding other than "chunked", twice, in HTTP/1.0, or with
 * Content-Length; a 101 that is not upgrade_websocket.
 */
enum dw_parse dw_http_response_parse(const void *data, size_t n, bool to_head, struct dw_http_response *ret,
				     const char **ret_why);

/* Whether the comma-separated value names this option (in lower case), in any case. */
bool dw_http_list_has(struct dw_span value, const char *option);
/* Whether one of the Connection fields among these names it. */
bool dw_http_named(const struct dw_http_field *field, size_t n, struct dw_span name);
/* Whether a field of this name, in any case, is about one connection alone. */
bool dw_http_hop_by_hop(struct dw_span name);
