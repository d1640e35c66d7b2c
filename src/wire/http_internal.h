/* SPDX-License-Identifier: Apache-2.0 */
/* Byte classes, spans and lines, for the files about HTTP. Not for other folders. */
#pragma once

#include "wire/http_head.h"

static inline uint8_t http_lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

static inline bool http_is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static inline bool http_is_alnum(uint8_t c)
{
	return http_is_digit(c) || (http_lower(c) >= 'a' && http_lower(c) <= 'z');
}

/* RFC 9110 section 5.6.2. */
static inline bool http_is_tchar(uint8_t c)
{
	return http_is_alnum(c) || (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* RFC 9110 section 5.5: visible, SP, HTAB and obs-text. */
static inline bool http_is_value_byte(uint8_t c)
{
	return c == '\t' || (c >= 0x20 && c != 0x7f);
}

static inline bool http_span_is(struct dw_span s, const char *text)
{
	return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

static inline bool http_span_eq(struct dw_span a, struct dw_span b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* text in lower case. */
static inline bool http_span_is_nocase(struct dw_span s, const char *text)
{
	if (s.n != strlen(text))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (http_lower(s.p[i]) != (uint8_t)text[i])
			return false;
	}
	return true;
}

/* Up to the first `sep`, which is taken too; false and nothing taken when there is none. */
static inline bool http_take_until(struct dw_rd *r, uint8_t sep, struct dw_span *ret)
{
	const uint8_t *at = r->n ? memchr(r->p, sep, r->n) : NULL;
	if (!at)
		return false;
	*ret = dw_rd_bytes(r, (size_t)(at - r->p));
	dw_rd_u8(r);
	return true;
}

static inline struct dw_span http_rest(struct dw_rd *r)
{
	return dw_rd_bytes(r, r->n);
}

static inline struct dw_rd http_reader(struct dw_span s)
{
	return dw_rd_init(s.p, s.n, false);
}

static inline bool http_is_ows(uint8_t c)
{
	return c == ' ' || c == '\t';
}

/* RFC 9110 section 5.5: white space around a value is no part of it. */
static inline struct dw_span http_trim(struct dw_span s)
{
	struct dw_rd r = http_reader(s);
	while (r.n && http_is_ows(r.p[0]))
		dw_rd_u8(&r);
	s = http_rest(&r);
	while (s.n && http_is_ows(s.p[s.n - 1]))
		s.n--;
	return s;
}

static inline bool http_all_bytes(struct dw_span s, bool (*is)(uint8_t c))
{
	for (size_t i = 0; i < s.n; i++) {
		if (!is(s.p[i]))
			return false;
	}
	return true;
}

/* One line without its CRLF. The reader says MORE when it is not all there. */
static inline bool http_take_line(struct dw_rd *r, struct dw_span *ret, const char **why)
{
	if (!http_take_until(r, '\n', ret)) {
		dw_rd_need(r, r->n + 1);
		return false;
	}
	if (ret->n == 0 || ret->p[ret->n - 1] != '\r') {
		*why = "a line that ends without CR LF";
		return false;
	}
	ret->n--;
	if (ret->n && memchr(ret->p, '\r', ret->n)) {
		*why = "a CR inside a line";
		return false;
	}
	return true;
}

/* The value of a Content-Length: digits without sign, spaces and leading zeros, at most 2^63-1. NULL, or why not. */
static inline const char *http_read_length(struct dw_span value, uint64_t *ret)
{
	enum { DIGITS_MAX = 19 }; /* 2^63-1 has 19 */
	uint64_t length = 0;
	if (value.n == 0 || value.n > DIGITS_MAX || !http_all_bytes(value, http_is_digit) ||
	    (value.n > 1 && value.p[0] == '0'))
		return "a Content-Length that is not a plain number";
	for (size_t i = 0; i < value.n; i++)
		length = length * 10 + (uint64_t)(value.p[i] - '0');
	if (length > INT64_MAX)
		return "a Content-Length over 2^63-1";
	*ret = length;
	return NULL;
}
