/* SPDX-License-Identifier: Apache-2.0 */
#include "core/addr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static const uint8_t mapped_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

struct dw_addr dw_addr_from4(const void *four_bytes)
{
	struct dw_addr a = { .family = DW_AF_4 };
	memcpy(a.b, four_bytes, 4);
	return a;
}

struct dw_addr dw_addr_from6(const void *sixteen_bytes)
{
	const uint8_t *b = sixteen_bytes;
	if (memcmp(b, mapped_prefix, sizeof(mapped_prefix)) == 0)
		return dw_addr_from4(b + 12);
	struct dw_addr a = { .family = DW_AF_6 };
	memcpy(a.b, b, 16);
	return a;
}

bool dw_addr_parse(const char *s, size_t n, struct dw_addr *ret)
{
	/* inet_pton is strict (decimal quads without leading zeros, no zones) but wants a string. */
	char text[DW_ADDR_STRLEN];
	if (n == 0 || n >= sizeof(text) || memchr(s, '\0', n))
		return false;
	/* Only IPv6 has a ':', and IPv4 begins with a digit: most names need no closer look. */
	const bool six = memchr(s, ':', n) != NULL;
	if (!six && (s[0] < '0' || s[0] > '9'))
		return false;
	memcpy(text, s, n);
	text[n] = '\0';

	uint8_t b[16];
	if (inet_pton(six ? AF_INET6 : AF_INET, text, b) != 1)
		return false;
	*ret = six ? dw_addr_from6(b) : dw_addr_from4(b);
	return true;
}

static void clear_host_bits(struct dw_prefix *p)
{
	for (unsigned i = 0; i < 16; i++) {
		unsigned first_bit = i * 8;
		if (first_bit >= p->len)
			p->addr.b[i] = 0;
		else if (p->len - first_bit < 8)
			p->addr.b[i] &= (uint8_t)(0xff << (8 - (p->len - first_bit)));
	}
}

bool dw_prefix_parse(const char *s, size_t n, struct dw_prefix *ret)
{
	const char *slash = memchr(s, '/', n);
	if (!slash)
		return false;
	struct dw_prefix p = { 0 };
	size_t addr_len = (size_t)(slash - s);
	if (!dw_addr_parse(s, addr_len, &p.addr))
		return false;

	const char *digits = slash + 1;
	size_t ndigits = n - addr_len - 1;
	if (ndigits == 0 || ndigits > 3 || (ndigits > 1 && digits[0] == '0'))
		return false;
	unsigned len = 0;
	for (size_t i = 0; i < ndigits; i++) {
		if (digits[i] < '0' || digits[i] > '9')
			return false;
		len = len * 10 + (unsigned)(digits[i] - '0');
	}
	bool mapped = p.addr.family == DW_AF_4 && memchr(s, ':', addr_len);
	if (mapped) {
		if (len < 96 || len > 128)
			return false;
		len -= 96;
	}
	if (len > dw_addr_bits(&p.addr))
		return false;
	p.len = (uint8_t)len;
	clear_host_bits(&p);
	*ret = p;
	return true;
}

const char *dw_addr_format(const struct dw_addr *a, char buf[static DW_ADDR_STRLEN])
{
	int af = a->family == DW_AF_4 ? AF_INET : AF_INET6;
	if (a->family == DW_AF_NONE || !inet_ntop(af, a->b, buf, DW_ADDR_STRLEN))
		strcpy(buf, "-");
	return buf;
}

const char *dw_prefix_format(const struct dw_prefix *p, char buf[static DW_PREFIX_STRLEN])
{
	char text[DW_ADDR_STRLEN];
	snprintf(buf, DW_PREFIX_STRLEN, "%s/%u", dw_addr_format(&p->addr, text), p->len);
	return buf;
}

struct dw_addr dw_addr_from_sockaddr(const struct sockaddr_storage *ss, uint16_t *ret_port)
{
	uint16_t port = 0;
	struct dw_addr a = { 0 };
	if (ss->ss_family == AF_INET) {
		const struct sockaddr_in *sin = (const struct sockaddr_in *)ss;
		a = dw_addr_from4(&sin->sin_addr);
		port = ntohs(sin->sin_port);
	} else if (ss->ss_family == AF_INET6) {
		const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)ss;
		a = dw_addr_from6(&sin6->sin6_addr);
		port = ntohs(sin6->sin6_port);
	}
	if (ret_port)
		*ret_port = port;
	return a;
}

socklen_t dw_addr_to_sockaddr(const struct dw_addr *a, uint16_t port, struct sockaddr_storage *ss)
{
	memset(ss, 0, sizeof(*ss));
	if (a->family == DW_AF_4) {
		struct sockaddr_in *sin = (struct sockaddr_in *)ss;
		sin->sin_family = AF_INET;
		sin->sin_port = htons(port);
		memcpy(&sin->sin_addr, a->b, 4);
		return sizeof(*sin);
	}
	if (a->family == DW_AF_6) {
		struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)ss;
		sin6->sin6_family = AF_INET6;
		sin6->sin6_port = htons(port);
		memcpy(&sin6->sin6_addr, a->b, 16);
		return sizeof(*sin6);
	}
	return 0;
}

bool dw_addr_eq(const struct dw_addr *a, const struct dw_addr *b)
{
	return a->family == b->family && memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

uint32_t dw_addr_hash(const struct dw_addr *a)
{
	uint32_t h = 2166136261u ^ a->family; /* FNV-1a */
	for (size_t i = 0; i < sizeof(a->b); i++)
		h = (h ^ a->b[i]) * 16777619u;
	return h ^ h >> 15;
}

bool dw_prefix_contains(const struct dw_prefix *p, const struct dw_addr *a)
{
	if (p->addr.family != a->family || a->family == DW_AF_NONE)
		return false;
	unsigned whole = p->len / 8, rest = p->len % 8;
	if (memcmp(p->addr.b, a->b, whole) != 0)
		return false;
	if (rest == 0)
		return true;
	uint8_t mask = (uint8_t)(0xff << (8 - rest));
	return ((p->addr.b[whole] ^ a->b[whole]) & mask) == 0;
}

bool dw_prefix_covers(const struct dw_prefix *outer, const struct dw_prefix *inner)
{
	return outer->len <= inner->len && dw_prefix_contains(outer, &inner->addr);
}
