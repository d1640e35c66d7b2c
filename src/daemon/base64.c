/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/base64.h"

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(const void *data, size_t n, char *out)
{
	const uint8_t *p = data;
	for (; n >= 3; p += 3, n -= 3) {
		*out++ = letters[p[0] >> 2];
		*out++ = letters[(p[0] & 3) << 4 | p[1] >> 4];
		*out++ = letters[(p[1] & 15) << 2 | p[2] >> 6];
		*out++ = letters[p[2] & 63];
	}
	if (!n)
		return;
	const uint8_t second = n == 2 ? p[1] : 0;
	*out++ = letters[p[0] >> 2];
	*out++ = letters[(p[0] & 3) << 4 | second >> 4];
	*out++ = n == 2 ? letters[(second & 15) << 2] : '=';
	*out++ = '=';
}

/* -1 for what is no digit. */
static int digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_decode(const char *text, size_t n, uint8_t *out, size_t *ret_n)
{
	size_t len = 0;
	if (n % 4)
		return false;
	for (size_t at = 0; at < n; at += 4) {
		const bool last = at + 4 == n;
		const unsigned pad = !last || text[at + 3] != '=' ? 0 : text[at + 2] != '=' ? 1 : 2;
		uint32_t bits = 0;
		for (unsigned i = 0; i < 4 - pad; i++) {
			const int d = digit(text[at + i]);
			if (d < 0)
				return false;
			bits |= (uint32_t)d << (18 - 6 * i);
		}
		if (bits & (pad == 2 ? 0xffffu : pad == 1 ? 0xffu : 0))
			return false;
		for (unsigned i = 0; i < 3 - pad; i++)
			out[len++] = (uint8_t)(bits >> (16 - 8 * i));
	}
	*ret_n = len;
	return true;
}
