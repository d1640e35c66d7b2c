/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/entry.h"

#include <string.h>

#include "policy/policy.h"

struct text {
	const char *s;
	size_t n;
};

/* An entry whose name is not yet in its canonical form. Small, because a policy has thousands of entries. */
struct draft {
	enum dw_entry_kind kind;
	uint16_t port_lo, port_hi;
	struct dw_prefix prefix;
	struct text host; /* HOST and SUFFIX */
	struct text regex;
};

static bool bad(const char **ret_why, const char *why)
{
	*ret_why = why;
	return false;
}

static bool has(struct text t, char c)
{
	return memchr(t.s, c, t.n) != NULL;
}

/* 1..65535 in decimal without leading zeros. */
static bool port_number(const char *s, size_t n, uint16_t *ret)
{
	if (n == 0 || n > 5 || s[0] == '0')
		return false;
	unsigned v = 0;
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		v = v * 10 + (unsigned)(s[i] - '0');
	}
	if (v > 65535)
		return false;
	*ret = (uint16_t)v;
	return true;
}

/* What follows the ':': a port or a range. */
static bool ports(struct text t, struct draft *e, const char **ret_why)
{
	if (t.n == 0)
		return bad(ret_why, "nothing follows the ':' (a port 1 to 65535, or a range such as 8000-8999)");
	const char *dash = memchr(t.s, '-', t.n);
	size_t first_n = dash ? (size_t)(dash - t.s) : t.n;
	if (!port_number(t.s, first_n, &e->port_lo))
		return bad(ret_why, "the port is not a number from 1 to 65535");
	e->port_hi = e->port_lo;
	if (!dash)
		return true;
	if (!port_number(dash + 1, t.n - first_n - 1, &e->port_hi))
		return bad(ret_why, "the last port of the range is not a number from 1 to 65535");
	if (e->port_hi < e->port_lo)
		return bad(ret_why, "the port range ends before it starts");
	return true;
}

/* Cuts ":port" off a text that has at most one ':'. */
static bool cut_ports(struct text *t, struct draft *e, const char **ret_why)
{
	const char *colon = memchr(t->s, ':', t->n);
	if (!colon)
		return true;
	size_t head = (size_t)(colon - t->s);
	struct text tail = { colon + 1, t->n - head - 1 };
	if (has(tail, ':'))
		return bad(ret_why, "more than one ':' (host:port, or [address]:port for an IPv6 address with a port)");
	t->n = head;
	return ports(tail, e, ret_why);
}

static bool cidr(struct text t, struct draft *e, const char **ret_why)
{
	const char *slash = memchr(t.s, '/', t.n);
	struct dw_addr addr;
	e->kind = DW_ENTRY_PREFIX;
	const bool ok = dw_prefix_parse(t.s, t.n, &e->prefix);
	if (ok && e->prefix.len > 0)
		return true;
	if (!dw_addr_parse(t.s, (size_t)(slash - t.s), &addr))
		return bad(ret_why, "what stands before '/' is not an IP address (no URLs, no paths)");
	if (!ok)
		return bad(ret_why, "the prefix length is not a number from 0 to 32 (IPv6: 128)");
	/* "10.0.0.0/0" is more likely a slip than a wish for everything. */
	if (!dw_addr_eq(&addr, &e->prefix.addr) || (addr.family == DW_AF_4 && has(t, ':')))
		return bad(ret_why, "an address with /0 (write 0.0.0.0/0 or * for everything)");
	e->kind = DW_ENTRY_ALL;
	return true;
}

static bool address(struct text t, struct draft *e)
{
	struct dw_addr a;
	if (!dw_addr_parse(t.s, t.n, &a))
		return false;
	e->kind = DW_ENTRY_PREFIX;
	e->prefix = (struct dw_prefix){ .addr = a, .len = dw_addr_bits(&a) };
	return true;
}

/* "[address]", "[address/len]", each with ":port" or without. */
static bool bracketed(struct text t, struct draft *e, const char **ret_why)
{
	const char *close = memchr(t.s, ']', t.n);
	if (!close)
		return bad(ret_why, "a '[' without its ']'");
	struct text inner = { t.s + 1, (size_t)(close - t.s) - 1 };
	struct text tail = { close + 1, t.n - inner.n - 2 };
	if (!has(inner, ':'))
		return bad(ret_why, "brackets around something other than an IPv6 address");
	if (tail.n > 0) {
		if (tail.s[0] != ':')
			return bad(ret_why, "only ':' and a port may follow ']' (a prefix length goes inside)");
		tail.s++;
		tail.n--;
		if (!ports(tail, e, ret_why))
			return false;
	}
	if (has(inner, '/'))
		return cidr(inner, e, ret_why);
	if (!address(inner, e))
		return bad(ret_why, "what stands between the brackets is not an IPv6 address");
	return true;
}

static bool wildcard(struct text t, struct draft *e, const char **ret_why)
{
	if (t.n == 1) {
		e->kind = DW_ENTRY_ALL;
		return true;
	}
	if (t.s[0] != '*' || t.s[1] != '.')
		return bad(ret_why, "a '*' may only stand alone or be the whole first label, as in *.example.com");
	struct text rest = { t.s + 2, t.n - 2 };
	if (has(rest, '*'))
		return bad(ret_why, "more than one '*' (*.example.com covers every depth; * alone is everything)");
	e->kind = DW_ENTRY_SUFFIX;
	e->host = rest;
	return true;
}

/* A ':' and digits at the very end are a port: no host name has a ':', so no useful pattern ends like that. */
static bool regex(struct text t, struct draft *e, const char **ret_why)
{
	e->kind = DW_ENTRY_REGEX;
	size_t head = t.n;
	while (head > 0 && ((t.s[head - 1] >= '0' && t.s[head - 1] <= '9') || t.s[head - 1] == '-'))
		head--;
	if (head > 0 && t.s[head - 1] == ':') {
		struct text tail = { t.s + head, t.n - head };
		if (!ports(tail, e, ret_why))
			return false;
		t.n = head - 1;
	}
	if (t.n == 0)
		return bad(ret_why, "an empty regular expression");
	if (t.n > DW_POLICY_REGEX_MAXLEN)
		return bad(ret_why, "a regular expression of more than 1000 characters");
	e->regex = t;
	return true;
}

static bool plain(struct text t, struct draft *e, const char **ret_why)
{
	const char *slash = memchr(t.s, '/', t.n);
	if (!slash && address(t, e))
		return true;
	if (slash) {
		const char *colon = memchr(t.s, ':', t.n);
		if (colon && colon < slash) {
			if (slash + 1 < t.s + t.n && slash[-1] == ':' && slash[1] == '/')
				return bad(ret_why, "a URL (write the host name alone, or host:port)");
			return cidr(t, e, ret_why);
		}
		return cut_ports(&t, e, ret_why) && cidr(t, e, ret_why);
	}
	const size_t n = t.n;
	if (!cut_ports(&t, e, ret_why))
		return false;
	if (has(t, '*'))
		return wildcard(t, e, ret_why);
	if (t.n < n && address(t, e))
		return true;
	e->kind = DW_ENTRY_HOST;
	e->host = t;
	return true;
}

/* NULL, or why no entry of any kind can have this byte. */
static const char *why_not_byte(unsigned char c)
{
	if (c == ' ' || (c >= '\t' && c <= '\r'))
		return "white space";
	if (c < 0x20 || c == 0x7f)
		return "a control character";
	if (c >= 0x80)
		return "a non-ASCII byte (write an international name in its xn-- form)";
	return NULL;
}

static bool parse(struct text t, struct draft *e, const char **ret_why)
{
	if (t.s[0] == '~')
		return regex((struct text){ t.s + 1, t.n - 1 }, e, ret_why);
	if (has(t, '%'))
		return bad(ret_why, "a '%' (zone identifiers and escapes are not accepted)");
	if (t.s[0] == '[')
		return bracketed(t, e, ret_why);
	return plain(t, e, ret_why);
}

bool dw_entry_parse(const char *s, size_t n, struct dw_entry *ret, const char **ret_why)
{
	if (n == 0)
		return bad(ret_why, "an empty entry");
	if (n > DW_POLICY_ENTRY_MAXLEN)
		return bad(ret_why, "an entry of more than 1024 characters");
	for (size_t i = 0; i < n; i++) {
		const char *why = why_not_byte((unsigned char)s[i]);
		if (why)
			return bad(ret_why, why);
	}

	struct draft e = { .port_lo = 0, .port_hi = UINT16_MAX };
	if (!parse((struct text){ s, n }, &e, ret_why))
		return false;
	/* The name last, because it goes straight to ret. */
	if (e.kind != DW_ENTRY_HOST && e.kind != DW_ENTRY_SUFFIX)
		ret->host[0] = '\0';
	else if (dw_host_canon(e.host.s, e.host.n, ret->host, ret_why) != DW_HOST_OK)
		return false;
	ret->kind = e.kind;
	ret->port_lo = e.port_lo;
	ret->port_hi = e.port_hi;
	ret->prefix = e.prefix;
	ret->regex = e.regex.s;
	ret->regex_n = e.regex.n;
	return true;
}
