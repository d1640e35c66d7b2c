/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/text.h"

#include <stdio.h>
#include <string.h>

/* The length of the character at s, 0 where it is no UTF-8 (RFC 3629: shortest form, no surrogates, up to U+10FFFF). */
static size_t decode(const unsigned char *s, size_t n, uint32_t *ret)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const size_t want = s[0] < 0x80 ? 1 : s[0] >= 0xf0 && s[0] < 0xf8 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc0 ? 2 : 0;

	if (!want || want > n || s[0] >= 0xf8)
		return 0;
	uint32_t c = want == 1 ? s[0] : s[0] & (0x7fu >> want);
	for (size_t i = 1; i < want; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3fu);
	}
	if (c < least[want] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	*ret = c;
	return want;
}

static bool harmful(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
	       (c >= 0xfff9 && c <= 0xfffb) || c >= 0xe0000;
}

/* Writes at most 10 bytes. */
static size_t put_escaped(char *to, uint32_t c)
{
	static const char names[] = "\n\t\r\\", letters[] = "ntr\\";
	const char *name = c && c < 0x80 ? strchr(names, (int)c) : NULL;

	if (name)
		return (size_t)snprintf(to, 11, "\\%c", letters[name - names]);
	return (size_t)snprintf(to, 11, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)c);
}

char *cli_escape(const char *s, size_t n)
{
	/* One byte becomes four at most, and two of them six, three six, four ten. */
	char *out = n < SIZE_MAX / 8 ? malloc(4 * n + 16) : NULL;
	size_t at = 0;

	if (!out)
		return NULL;
	while (n) {
		uint32_t c = 0;
		size_t len = decode((const unsigned char *)s, n, &c);
		if (!len || harmful(c) || c == '\\') {
			at += put_escaped(out + at, len ? c : (unsigned char)*s);
			len = len ? len : 1;
		} else {
			memcpy(out + at, s, len);
			at += len;
		}
		s += len;
		n -= len;
	}
	out[at] = '\0';
	return out;
}

size_t cli_width(const char *s)
{
	size_t n = 0;
	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static bool plain(const char *word)
{
	static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+:,./-";
	return *word && !word[strspn(word, safe)];
}

static size_t quoted_size(const char *word)
{
	size_t n = strlen(word) + 2;
	for (; *word; word++)
		n += *word == '\'' ? 3 : 0;
	return n;
}

static char *put_quoted(char *to, const char *word)
{
	if (plain(word))
		return stpcpy(to, word);
	*to++ = '\'';
	for (; *word; word++) {
		if (*word == '\'')
			to = stpcpy(to, "'\\''");
		else
			*to++ = *word;
	}
	*to++ = '\'';
	*to = '\0';
	return to;
}

char *cli_quote(const char *word)
{
	char *out = malloc(quoted_size(word) + 1);
	if (out)
		put_quoted(out, word);
	return out;
}

char *cli_quote_words(char *const *word, size_t n)
{
	size_t size = 1;
	for (size_t i = 0; i < n; i++)
		size += quoted_size(word[i]) + 1;
	char *out = malloc(size);
	if (!out)
		return NULL;
	char *at = out;
	*at = '\0';
	for (size_t i = 0; i < n; i++) {
		if (i)
			*at++ = ' ';
		at = put_quoted(at, word[i]);
	}
	return out;
}

const char *cli_size(uint64_t bytes, char buf[static CLI_SIZE_MAX])
{
	static const char units[] = " KMGTPE";
	size_t unit = 0;
	uint64_t tenths = bytes > UINT64_MAX / 10 ? UINT64_MAX : bytes * 10;

	while (tenths >= 10235 && unit + 1 < sizeof(units) - 1) {
		tenths = tenths / 1024;
		unit++;
	}
	if (!unit)
		snprintf(buf, CLI_SIZE_MAX, "%u", (unsigned)bytes);
	else if (tenths < 100)
		snprintf(buf, CLI_SIZE_MAX, "%u.%u%c", (unsigned)(tenths / 10), (unsigned)(tenths % 10), units[unit]);
	else
		snprintf(buf, CLI_SIZE_MAX, "%u%c", (unsigned)(tenths / 10), units[unit]);
	return buf;
}

const char *cli_age(int64_t seconds, char buf[static CLI_AGE_MAX])
{
	static const struct {
		uint64_t least, unit;
		char letter;
	} scale[] = { { 172800, 86400, 'd' }, { 7200, 3600, 'h' }, { 120, 60, 'm' }, { 0, 1, 's' } };
	const uint64_t n = seconds < 0 ? -(uint64_t)seconds : (uint64_t)seconds;
	size_t i = 0;

	while (n < scale[i].least)
		i++;
	snprintf(buf, CLI_AGE_MAX, "%s%llu%c", seconds < 0 ? "-" : "", (unsigned long long)(n / scale[i].unit),
		 scale[i].letter);
	return buf;
}

bool cli_parse_time(const char *s, time_t *ret)
{
	struct tm tm = { 0 };
	const char *end = strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);

	if (end && *end == '.')
		end += 1 + strspn(end + 1, "0123456789");
	if (!end || (strcmp(end, "+00:00") != 0 && strcmp(end, "Z") != 0))
		return false;
	*ret = timegm(&tm);
	return true;
}

bool cli_split_pair(const char *s, size_t *ret_n, const char **ret_value)
{
	const char *eq = strchr(s, '=');
	if (!eq || eq == s)
		return false;
	*ret_n = (size_t)(eq - s);
	*ret_value = eq + 1;
	return true;
}

char *cli_percent(const char *s)
{
	static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
	char *out = malloc(3 * strlen(s) + 1), *at = out;
	if (!out)
		return NULL;
	for (; *s; s++) {
		if (strchr(safe, *s))
			*at++ = *s;
		else
			at += snprintf(at, 4, "%%%02X", (unsigned)(unsigned char)*s);
	}
	*at = '\0';
	return out;
}
