/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/utf8.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define REPLACEMENT   "\xef\xbf\xbd"
#define REPLACEMENT_N 3

struct step {
	size_t n; /* bytes of the character, or of the maximal invalid part; at least 1 */
	bool ok;
	bool cut; /* not ok only because the input ends */
};

/* The allowed range of the second byte (Unicode table 3-7) excludes overlong forms, surrogates and > U+10FFFF. */
static size_t lead(uint8_t c, uint8_t *lo, uint8_t *hi)
{
	*lo = 0x80;
	*hi = 0xbf;
	if (c >= 0xc2 && c <= 0xdf)
		return 2;
	if (c >= 0xe0 && c <= 0xef) {
		*lo = c == 0xe0 ? 0xa0 : 0x80;
		*hi = c == 0xed ? 0x9f : 0xbf;
		return 3;
	}
	if (c >= 0xf0 && c <= 0xf4) {
		*lo = c == 0xf0 ? 0x90 : 0x80;
		*hi = c == 0xf4 ? 0x8f : 0xbf;
		return 4;
	}
	return 0;
}

static struct step next(const uint8_t *p, size_t n)
{
	if (p[0] < 0x80)
		return (struct step){ .n = 1, .ok = true };
	uint8_t lo, hi;
	size_t want = lead(p[0], &lo, &hi);
	if (!want)
		return (struct step){ .n = 1 };
	for (size_t i = 1; i < want; i++) {
		if (i == n)
			return (struct step){ .n = n, .cut = true };
		if (p[i] < lo || p[i] > hi)
			return (struct step){ .n = i };
		lo = 0x80;
		hi = 0xbf;
	}
	return (struct step){ .n = want, .ok = true };
}

size_t utf8_valid_prefix(const void *data, size_t n)
{
	const uint8_t *p = data;
	size_t at = 0;
	while (at < n) {
		struct step s = next(p + at, n - at);
		if (!s.ok)
			break;
		at += s.n;
	}
	return at;
}

bool utf8_valid_start(const void *data, size_t n)
{
	size_t at = utf8_valid_prefix(data, n);
	return at == n || next((const uint8_t *)data + at, n - at).cut;
}

char *utf8_replace(const void *data, size_t n, size_t *ret_n)
{
	const uint8_t *p = data;
	size_t good = utf8_valid_prefix(p, n);
	/* At worst every byte that is left becomes three. */
	char *out = malloc(good + (n - good) * REPLACEMENT_N + 1);
	if (!out)
		return NULL;
	if (good)
		memcpy(out, p, good);
	size_t len = good;
	for (size_t at = good; at < n;) {
		struct step s = next(p + at, n - at);
		memcpy(out + len, s.ok ? (const char *)p + at : REPLACEMENT, s.ok ? s.n : REPLACEMENT_N);
		len += s.ok ? s.n : REPLACEMENT_N;
		at += s.n;
	}
	out[len] = '\0';
	*ret_n = len;
	return out;
}

void utf8_sanitize_line(const void *data, size_t n, char *out, size_t size)
{
	const uint8_t *p = data;
	size_t len = 0;
	for (size_t at = 0; at < n;) {
		struct step s = next(p + at, n - at);
		bool control = s.ok && s.n == 1 && (p[at] < ' ' || p[at] == 0x7f);
		bool keep = s.ok && !control;
		size_t add = keep ? s.n : REPLACEMENT_N;
		if (len + add + 1 > size)
			break;
		memcpy(out + len, keep ? (const char *)p + at : REPLACEMENT, add);
		len += add;
		at += s.n;
	}
	if (size)
		out[len] = '\0';
}

size_t utf8_json_char(const void *data, size_t n, char out[static UTF8_JSON_MAX], size_t *ret_n)
{
	static const char escaped[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt", hex[] = "0123456789abcdef";
	const uint8_t *p = data;
	const struct step s = next(p, n);
	const char *special = s.ok && p[0] ? strchr(escaped, p[0]) : NULL;
	if (special) {
		out[0] = '\\';
		out[1] = letter[special - escaped];
		*ret_n = 2;
	} else if (s.ok && p[0] < ' ') {
		memcpy(out, "\\u00", 4);
		out[4] = hex[p[0] >> 4];
		out[5] = hex[p[0] & 15];
		*ret_n = 6;
	} else {
		*ret_n = s.ok ? s.n : REPLACEMENT_N;
		memcpy(out, s.ok ? (const char *)p : REPLACEMENT, *ret_n);
	}
	return s.n;
}
