/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 request heads and message framing (RFC 9112), strict: what two parsers could read in two ways is BAD. */
#pragma once

#include "core/rd.h"

#define DW_HTTP_HEAD_MAX   65536 /* request line and fields; more is BIG */
#define DW_HTTP_FIELDS_MAX 128

enum dw_http_body {
	DW_HTTP_BODY_NONE = 0,
	DW_HTTP_BODY_LENGTH,
	DW_HTTP_BODY_CHUNKED,
};

struct dw_http_head {
	struct dw_span method, target; /* into the caller's bytes */
	uint8_t minor;                 /* HTTP/1.minor */
	bool has_host;
	struct dw_span host; /* the Host field without port and without the [] of IPv6; never empty when has_host */
	bool has_port;
	uint16_t host_port;
	bool absolute; /* target is absolute-form; its authority equals Host exactly (else BAD) */
	bool is_connect;
	bool is_upgrade;        /* an Upgrade field, or "upgrade" in Connection */
	bool upgrade_websocket; /* HTTP/1.1 GET without body, one Upgrade: websocket (any case), Connection names it */
	bool is_h2_preface;     /* "PRI * HTTP/2.0", no fields: OK, so that the reason can be told; has_host is false */
	enum dw_http_body body;
	uint64_t content_length; /* DW_HTTP_BODY_LENGTH */
	size_t head_n;           /* bytes up to and including the empty line */
};

/*
 * data[0..n) starts at a request line. OK, MORE, BAD and BIG (with *ret_why, a static phrase; may be NULL). Fields are
 * judged once the head is complete, so MORE may be said of a head with a bad field: that keeps a call for every segment
 * cheap. ret is set on OK only.
 * BAD, among others: a leading empty line, bare CR or LF, obs-fold, white space before the colon, control bytes, NUL,
 * an empty field name, more than one Host, none in HTTP/1.1, Host with userinfo, a list, an empty value or anything
 * outside [A-Za-z0-9._-] and port (or [IPv6]); absolute-form whose scheme is not http or whose authority differs from
 * Host; a version other than HTTP/1.0 or HTTP/1.1; Content-Length twice, signed, with spaces or leading zeros or over
 * 2^63-1; Transfer-Encoding other than exactly "chunked", or in HTTP/1.0, or with Content-Length; authority-form without
 * CONNECT, CONNECT without a port or to something other than Host; asterisk-form without OPTIONS; a fragment in the target
 * or a byte outside 0x21..0x7e; a Connection option that names Host, Content-Length or Transfer-Encoding.
 */
enum dw_parse dw_http_head_parse(const void *data, size_t n, struct dw_http_head *ret, const char **ret_why);

/*
 * Do the first bytes look like HTTP to any server, however lenient? Leading white space is skipped, lines of nothing else
 * too. "CONNECT {" starts no HTTP target (it is how NATS begins), so there the rest of the line decides. OK: the first line
 * starts with an upper-case method of the IANA registry (or PRI) and a space or tab, or contains "HTTP/" in any case after
 * white space (also the odd kinds that some servers split at). MORE: the line is not complete and may still become that
 * (all bytes so far are printable ASCII or such white space, behind white space any but control bytes, and there is a
 * token start). BAD: it is another protocol. Lines over DW_HTTP_HEAD_MAX bytes are OK (so that the strict parser refuses
 * them).
 */
enum dw_parse dw_http_looks_like(const void *data, size_t n);

/* The same for bytes that come in pieces: data[0..n) is all of them, and what an earlier call has read is not read again. */
struct dw_http_guess {         /* all zero at the start */
	size_t at;             /* bytes read */
	size_t start, token_n; /* the first word */
	size_t matched;        /* of "HTTP/" */
	bool begun, space, connect;
};
enum dw_parse dw_http_guess_feed(struct dw_http_guess *g, const void *data, size_t n);

/*
 * Incremental reader of a chunked body (RFC 9112 section 7.1), strict: CRLF only, 1..15 hex digits, no chunk extensions
 * over 256 bytes, no white space behind the size, a trailer section of well-formed fields up to 8192 bytes. BAD and OK
 * stick.
 */
struct dw_http_chunked {
	uint8_t state;   /* 0 at the start */
	uint64_t left;   /* bytes left of the current chunk */
	uint32_t line_n; /* bytes of the current line, for its limit */
};

/*
 * Consumes up to n bytes of body; *ret_used says how many belong to it. OK: the body has ended within them. MORE: all n
 * used. BAD.
 */
enum dw_parse dw_http_chunked_feed(struct dw_http_chunked *c, const void *data, size_t n, size_t *ret_used);

/* The same for who wants what is in it: stops behind the first piece of data too. *ret_piece: that, n 0 for none. */
enum dw_parse dw_http_chunked_take(struct dw_http_chunked *c, const void *data, size_t n, size_t *ret_used,
				   struct dw_span *ret_piece);

/* The start of a response, as far as a relay needs it: "HTTP/1.x NNN". MORE, BAD, or OK with *ret_status. */
enum dw_parse dw_http_status_parse(const void *data, size_t n, unsigned *ret_status);
