/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/keys.h"

#include <string.h>

/* Takes the escapes out; returns how many bytes are left. */
static size_t filter(struct keys *k, const char *p, size_t n, unsigned char *out, bool *leave)
{
	size_t m = 0;

	for (size_t i = 0; i < n && !*leave; i++) {
		const char c = p[i];
		if (k->after_tilde) {
			k->after_tilde = false;
			*leave = c == '.';
			if (*leave)
				break;
			/* The tilde was meant, and so is what follows, unless it was doubled to say so. */
			out[m++] = '~';
			if (c == '~') {
				k->in_line = true;
				continue;
			}
		} else if (k->escapes && !k->in_line && c == '~') {
			k->after_tilde = true;
			continue;
		}
		out[m++] = (unsigned char)c;
		k->in_line = c != '\r' && c != '\n';
	}
	return m;
}

/* What a lead byte and the one behind it promise (RFC 3629, section 4); 0: no character begins so. */
static size_t promised(const unsigned char *s, size_t n)
{
	const unsigned char lead = s[0],
			    low = lead == 0xe0   ? 0xa0
				  : lead == 0xf0 ? 0x90
						 : 0x80,
			    high = lead == 0xed   ? 0x9f
				   : lead == 0xf4 ? 0x8f
						  : 0xbf;

	if (lead < 0x80)
		return 1;
	if (lead < 0xc2 || lead > 0xf4 || (n > 1 && (s[1] < low || s[1] > high)))
		return 0;
	return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/* How many of its bytes are there and fit. */
static size_t present(const unsigned char *s, size_t n, size_t want)
{
	size_t have = 1;
	while (have < want && have < n && (s[have] & 0xc0) == 0x80)
		have++;
	return have;
}

static json_t *to_text(struct keys *k, const unsigned char *s, size_t n, bool end)
{
	char *out = malloc(3 * n + 1);
	size_t m = 0;

	if (!out)
		return NULL;
	for (size_t i = 0; i < n;) {
		const size_t want = promised(s + i, n - i), have = want ? present(s + i, n - i, want) : 1;
		if (want && have < want && i + have == n && !end) {
			memcpy(k->tail, s + i, have);
			k->tail_n = have;
			break;
		}
		if (have == want)
			memcpy(out + m, s + i, have);
		else
			memcpy(out + m, "\xef\xbf\xbd", 3);
		m += have == want ? have : 3;
		i += have;
	}
	json_t *j = json_stringn(out, m);
	free(out);
	return j;
}

bool keys_take(struct keys *k, const char *p, size_t n, bool end, json_t **ret, bool *ret_leave)
{
	unsigned char bytes[sizeof(k->tail) + 2 * KEYS_MAX + 1];
	const size_t had = k->tail_n;

	dw_assert(n <= KEYS_MAX);
	*ret_leave = false;
	memcpy(bytes, k->tail, had);
	k->tail_n = 0;
	const size_t m = filter(k, p, n, bytes + had, ret_leave);
	*ret = to_text(k, bytes, had + m, end);
	return *ret != NULL;
}
