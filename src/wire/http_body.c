/* SPDX-License-Identifier: Apache-2.0 */
/* What stands around request heads: is it HTTP at all, chunked bodies, the start of a response. */
#include "wire/http_head.h"

#include "wire/http_internal.h"

/* Chunks. Limits per RFC 9112 section 7.1: it demands limits and leaves the numbers to us. */
#define CHUNK_DIGITS_MAX  15
#define CHUNK_EXT_MAX     256
#define CHUNK_TRAILER_MAX 8192 /* the whole trailer section */

#define METHOD_NAME_MAX 24 /* the longest registered one has 17 */

/* IANA "HTTP Method Registry"; PRI stands in it too. */
static bool is_registered_method(struct dw_span s)
{
	/* clang-format off */
	static const char *const methods[] = {
		"ACL", "BASELINE-CONTROL", "BIND", "CHECKIN", "CHECKOUT", "CONNECT", "COPY", "DELETE", "GET",
		"HEAD", "LABEL", "LINK", "LOCK", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MKREDIRECTREF",
		"MKWORKSPACE", "MOVE", "OPTIONS", "ORDERPATCH", "PATCH", "POST", "PRI", "PROPFIND", "PROPPATCH",
		"PUT", "QUERY", "REBIND", "REPORT", "SEARCH", "TRACE", "UNBIND", "UNCHECKOUT", "UNLINK", "UNLOCK",
		"UPDATE", "UPDATEREDIRECTREF", "VERSION-CONTROL",
	};
	/* clang-format on */
	for (size_t i = 0; i < DW_COUNT(methods); i++) {
		if (http_span_is(s, methods[i]))
			return true;
	}
	return false;
}

/* Where some server splits a request line: besides SP and HTAB what Python's str.split() takes for white space. */
static bool is_lenient_space(uint8_t c)
{
	return c == ' ' || c == '\t' || (c >= 0x0b && c <= 0x0d) || (c >= 0x1c && c <= 0x1f) || c == 0x85 || c == 0xa0;
}

/* How much of "HTTP/" has matched after c. */
static size_t match_http(size_t matched, uint8_t c)
{
	static const char want[] = "http/";
	if (http_lower(c) == (uint8_t)want[matched])
		return matched + 1;
	return http_lower(c) == 'h' ? 1 : 0;
}

/* Python's bytes.strip(), which one server calls on a whole head; others skip CR and LF of it. */
static bool is_leading_space(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* White space behind the first word, or more of it. OK when the word is a method. */
static enum dw_parse guess_space(struct dw_http_guess *g, const uint8_t *data, uint8_t c)
{
	struct dw_span word = { .p = data + g->start, .n = g->token_n };
	bool first = !g->space && (c == ' ' || c == '\t') && g->token_n <= METHOD_NAME_MAX;
	g->space = true;
	g->matched = 0;
	if (!first || !is_registered_method(word))
		return DW_PARSE_MORE;
	g->connect = http_span_is(word, "CONNECT");
	return g->connect ? DW_PARSE_MORE : DW_PARSE_OK;
}

static enum dw_parse guess_byte(struct dw_http_guess *g, const uint8_t *data, uint8_t c)
{
	if (!g->begun && is_leading_space(c))
		return DW_PARSE_MORE;
	if (!g->begun)
		g->start = g->at - 1;
	g->begun = true;
	if (g->connect && c != '{')
		return DW_PARSE_OK;
	g->connect = false;
	if (c == '\n')
		return DW_PARSE_BAD;
	if (is_lenient_space(c))
		return guess_space(g, data, c);
	if (c < 0x20 || c == 0x7f || (c > 0x7f && !g->space) || (g->token_n == 0 && !g->space && !http_is_tchar(c)))
		return DW_PARSE_BAD;
	if (!g->space)
		g->token_n++;
	else if ((g->matched = match_http(g->matched, c)) == strlen("http/"))
		return DW_PARSE_OK;
	return DW_PARSE_MORE;
}

enum dw_parse dw_http_guess_feed(struct dw_http_guess *g, const void *data, size_t n)
{
	struct dw_rd r = dw_rd_init(data, DW_MIN(n, DW_HTTP_HEAD_MAX), true);
	dw_rd_bytes(&r, DW_MIN(g->at, r.n));
	while (r.n) {
		uint8_t c = dw_rd_u8(&r);
		g->at++;
		enum dw_parse status = guess_byte(g, data, c);
		if (status != DW_PARSE_MORE)
			return status;
	}
	return n >= DW_HTTP_HEAD_MAX ? DW_PARSE_OK : DW_PARSE_MORE;
}

enum dw_parse dw_http_looks_like(const void *data, size_t n)
{
	struct dw_http_guess g = { 0 };
	return dw_http_guess_feed(&g, data, n);
}

enum chunk_state {
	CHUNK_SIZE_FIRST = 0, /* dw_http_chunked starts as all zero */
	CHUNK_SIZE,
	CHUNK_EXT,
	CHUNK_SIZE_LF,
	CHUNK_DATA,
	CHUNK_DATA_CR,
	CHUNK_DATA_LF,
	CHUNK_TRAILER_FIRST,
	CHUNK_TRAILER_NAME,
	CHUNK_TRAILER_VALUE,
	CHUNK_TRAILER_LF,
	CHUNK_END_LF,
	CHUNK_DONE,
	CHUNK_BAD,
};

static int hex_value(uint8_t c)
{
	if (http_is_digit(c))
		return c - '0';
	uint8_t l = http_lower(c);
	return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

static enum chunk_state step_size(struct dw_http_chunked *c, uint8_t b)
{
	int digit = hex_value(b);
	if (digit >= 0) {
		c->left = c->left << 4 | (uint64_t)digit;
		return c->line_n++ < CHUNK_DIGITS_MAX ? CHUNK_SIZE : CHUNK_BAD;
	}
	if (c->state == CHUNK_SIZE_FIRST)
		return CHUNK_BAD;
	c->line_n = 0;
	if (b == ';') /* directly behind the size: white space there is read in more than one way */
		return CHUNK_EXT;
	return b == '\r' ? CHUNK_SIZE_LF : CHUNK_BAD;
}

static enum chunk_state step_ext(struct dw_http_chunked *c, uint8_t b)
{
	if (b == '\r')
		return CHUNK_SIZE_LF;
	return http_is_value_byte(b) && c->line_n++ < CHUNK_EXT_MAX ? CHUNK_EXT : CHUNK_BAD;
}

static enum chunk_state step_trailer(struct dw_http_chunked *c, uint8_t b)
{
	if (c->line_n++ >= CHUNK_TRAILER_MAX)
		return CHUNK_BAD;
	if (c->state == CHUNK_TRAILER_FIRST && b == '\r')
		return CHUNK_END_LF;
	if (c->state == CHUNK_TRAILER_VALUE) {
		if (b == '\r')
			return CHUNK_TRAILER_LF;
		return http_is_value_byte(b) ? CHUNK_TRAILER_VALUE : CHUNK_BAD;
	}
	if (c->state == CHUNK_TRAILER_NAME && b == ':')
		return CHUNK_TRAILER_VALUE;
	return http_is_tchar(b) ? CHUNK_TRAILER_NAME : CHUNK_BAD;
}

/* Every state but CHUNK_DATA takes one byte. */
static enum chunk_state step(struct dw_http_chunked *c, uint8_t b)
{
	switch ((enum chunk_state)c->state) {
	case CHUNK_SIZE_FIRST:
	case CHUNK_SIZE:
		return step_size(c, b);
	case CHUNK_EXT:
		return step_ext(c, b);
	case CHUNK_SIZE_LF:
		c->line_n = 0;
		if (b != '\n')
			return CHUNK_BAD;
		return c->left ? CHUNK_DATA : CHUNK_TRAILER_FIRST;
	case CHUNK_DATA_CR:
		return b == '\r' ? CHUNK_DATA_LF : CHUNK_BAD;
	case CHUNK_DATA_LF:
		return b == '\n' ? CHUNK_SIZE_FIRST : CHUNK_BAD;
	case CHUNK_TRAILER_FIRST:
	case CHUNK_TRAILER_NAME:
	case CHUNK_TRAILER_VALUE:
		return step_trailer(c, b);
	case CHUNK_TRAILER_LF:
		c->line_n++;
		return b == '\n' ? CHUNK_TRAILER_FIRST : CHUNK_BAD;
	case CHUNK_END_LF:
		return b == '\n' ? CHUNK_DONE : CHUNK_BAD;
	case CHUNK_DATA:
	case CHUNK_DONE:
	case CHUNK_BAD:
		break;
	}
	return CHUNK_BAD;
}

enum dw_parse dw_http_chunked_take(struct dw_http_chunked *c, const void *data, size_t n, size_t *ret_used,
				   struct dw_span *ret_piece)
{
	struct dw_rd r = dw_rd_init(data, n, true);
	*ret_piece = (struct dw_span){ .p = r.p };
	while (r.n && !ret_piece->n && c->state != CHUNK_DONE && c->state != CHUNK_BAD) {
		if (c->state != CHUNK_DATA) {
			c->state = (uint8_t)step(c, dw_rd_u8(&r));
			continue;
		}
		*ret_piece = dw_rd_bytes(&r, DW_MIN(c->left, r.n));
		c->left -= ret_piece->n;
		if (c->left == 0)
			c->state = CHUNK_DATA_CR;
	}
	*ret_used = n - r.n;
	if (c->state == CHUNK_BAD)
		return DW_PARSE_BAD;
	return c->state == CHUNK_DONE ? DW_PARSE_OK : DW_PARSE_MORE;
}

enum dw_parse dw_http_chunked_feed(struct dw_http_chunked *c, const void *data, size_t n, size_t *ret_used)
{
	const uint8_t *p = n ? data : (const uint8_t *)"";
	struct dw_span piece = { 0 };
	enum dw_parse status = DW_PARSE_MORE;
	size_t at = 0, used = 0;
	do {
		status = dw_http_chunked_take(c, p + at, n - at, &used, &piece);
		at += used;
	} while (status == DW_PARSE_MORE && at < n);
	*ret_used = at;
	return status;
}

enum dw_parse dw_http_status_parse(const void *data, size_t n, unsigned *ret_status)
{
	struct dw_rd r = dw_rd_init(data, n, true);
	unsigned status = 0;
	for (const char *want = "HTTP/1.# ###"; *want; want++) {
		uint8_t c = dw_rd_u8(&r);
		if (!dw_rd_ok(&r))
			return r.status;
		if (*want == '#' ? !http_is_digit(c) : c != (uint8_t)*want)
			return DW_PARSE_BAD;
		if (*want == '#')
			status = status * 10 + (unsigned)(c - '0');
	}
	status %= 1000; /* the first digit was the minor version */
	uint8_t behind = dw_rd_u8(&r);
	if (!dw_rd_ok(&r))
		return r.status;
	if (status < 100 || (behind != ' ' && behind != '\r' && behind != '\n'))
		return DW_PARSE_BAD;
	*ret_status = status;
	return DW_PARSE_OK;
}
