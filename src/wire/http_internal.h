/* SPDX-License-Identifier: Apache-2.0 */
/* Byte classes and span helpers that http_head.c and http_body.c share. Not for other folders. */
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
