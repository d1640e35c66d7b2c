/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "policy/entry.h"

struct row {
	const char *name;
	const char *in;
	enum dw_entry_kind kind; /* NONE: refused, what is a part of the reason */
	const char *what;        /* host, suffix, regex or prefix text */
	uint16_t lo, hi;
};

#define ANY 0, 65535

/* clang-format off */
static const struct row rows[] = {
	{ "a host", "api.github.com", DW_ENTRY_HOST, "api.github.com", ANY },
	{ "a host in upper case with a dot", "API.GitHub.com.", DW_ENTRY_HOST, "api.github.com", ANY },
	{ "a host and a port", "allowed.test:443", DW_ENTRY_HOST, "allowed.test", 443, 443 },
	{ "a host with a dot and a port", "allowed.test.:443", DW_ENTRY_HOST, "allowed.test", 443, 443 },
	{ "a host and a range", "allowed.test:8000-8999", DW_ENTRY_HOST, "allowed.test", 8000, 8999 },
	{ "a range of one", "allowed.test:80-80", DW_ENTRY_HOST, "allowed.test", 80, 80 },
	{ "the last port", "a.test:65535", DW_ENTRY_HOST, "a.test", 65535, 65535 },
	{ "a single label", "db:5432", DW_ENTRY_HOST, "db", 5432, 5432 },
	{ "EC-014 a wildcard", "*.wild.test", DW_ENTRY_SUFFIX, "wild.test", ANY },
	{ "a wildcard with a port", "*.wild.test:443", DW_ENTRY_SUFFIX, "wild.test", 443, 443 },
	{ "a wildcard in upper case with a dot", "*.WILD.test.", DW_ENTRY_SUFFIX, "wild.test", ANY },
	{ "a regex", "~^api[0-9]+\\.test$", DW_ENTRY_REGEX, "^api[0-9]+\\.test$", ANY },
	{ "a regex with a port", "~api.*:443", DW_ENTRY_REGEX, "api.*", 443, 443 },
	{ "a regex with a range", "~api.*:1-9", DW_ENTRY_REGEX, "api.*", 1, 9 },
	{ "a regex that ends in digits", "~api[0-9].t10", DW_ENTRY_REGEX, "api[0-9].t10", ANY },
	{ "a regex with (?:", "~(?:a|b)", DW_ENTRY_REGEX, "(?:a|b)", ANY },
	{ "IPv4", "1.2.3.4", DW_ENTRY_PREFIX, "1.2.3.4/32", ANY },
	{ "IPv4 with a port", "1.2.3.4:53", DW_ENTRY_PREFIX, "1.2.3.4/32", 53, 53 },
	{ "IPv4 CIDR", "10.0.0.0/8", DW_ENTRY_PREFIX, "10.0.0.0/8", ANY },
	{ "IPv4 CIDR with host bits", "10.1.2.3/8", DW_ENTRY_PREFIX, "10.0.0.0/8", ANY },
	{ "IPv4 CIDR with a port", "10.0.0.0/8:5432", DW_ENTRY_PREFIX, "10.0.0.0/8", 5432, 5432 },
	{ "IPv6", "2001:DB8::1", DW_ENTRY_PREFIX, "2001:db8::1/128", ANY },
	{ "IPv6 in brackets", "[2001:db8::1]", DW_ENTRY_PREFIX, "2001:db8::1/128", ANY },
	{ "IPv6 with a port", "[2001:db8::1]:443", DW_ENTRY_PREFIX, "2001:db8::1/128", 443, 443 },
	{ "IPv6 CIDR", "2001:db8::/32", DW_ENTRY_PREFIX, "2001:db8::/32", ANY },
	{ "IPv6 CIDR with a port", "[2001:db8::/32]:80-90", DW_ENTRY_PREFIX, "2001:db8::/32", 80, 90 },
	{ "EC-021 mapped IPv6 is IPv4", "::ffff:10.0.0.1", DW_ENTRY_PREFIX, "10.0.0.1/32", ANY },
	{ "EC-021 mapped IPv6 with a port", "[::ffff:10.0.0.1]:80", DW_ENTRY_PREFIX, "10.0.0.1/32", 80, 80 },
	{ "EC-021 a mapped CIDR is IPv4", "::ffff:10.0.0.0/104", DW_ENTRY_PREFIX, "10.0.0.0/8", ANY },
	{ "everything", "*", DW_ENTRY_ALL, NULL, ANY },
	{ "everything on a port", "*:443", DW_ENTRY_ALL, NULL, 443, 443 },
	{ "everything as 0.0.0.0/0", "0.0.0.0/0", DW_ENTRY_ALL, NULL, ANY },
	{ "everything as 0.0.0.0/0 on ports", "0.0.0.0/0:80-90", DW_ENTRY_ALL, NULL, 80, 90 },
	{ "everything as ::/0", "::/0", DW_ENTRY_ALL, NULL, ANY },
	{ "everything as [::/0] on a port", "[::/0]:443", DW_ENTRY_ALL, NULL, 443, 443 },
	{ "half of everything is a CIDR", "0.0.0.0/1", DW_ENTRY_PREFIX, "0.0.0.0/1", ANY },

	{ "nothing", "", DW_ENTRY_NONE, "an empty entry", 0, 0 },
	{ "EC-027 a URL", "https://x/y", DW_ENTRY_NONE, "a URL", 0, 0 },
	{ "EC-027 a URL without a path", "https://x.test", DW_ENTRY_NONE, "a URL", 0, 0 },
	{ "EC-027 a path", "x.test/y", DW_ENTRY_NONE, "not an IP address", 0, 0 },
	{ "EC-027 a trailing space", "a.test ", DW_ENTRY_NONE, "white space", 0, 0 },
	{ "EC-027 a tab", "a.test\t", DW_ENTRY_NONE, "white space", 0, 0 },
	{ "a space inside", "a b", DW_ENTRY_NONE, "white space", 0, 0 },
	{ "a space in a regex", "~a b", DW_ENTRY_NONE, "white space", 0, 0 },
	{ "EC-007 CR LF", "a.test\r\nb.test", DW_ENTRY_NONE, "white space", 0, 0 },
	{ "EC-007 a control character", "a\001.test", DW_ENTRY_NONE, "control character", 0, 0 },
	{ "a non-ASCII name", "b\303\274cher.test", DW_ENTRY_NONE, "non-ASCII", 0, 0 },
	{ "EC-023 a zone", "fe80::1%eth0", DW_ENTRY_NONE, "zone", 0, 0 },
	{ "EC-023 a zone in brackets", "[fe80::1%25eth0]:80", DW_ENTRY_NONE, "zone", 0, 0 },
	{ "EC-011 no port after ':'", "allowed.test:", DW_ENTRY_NONE, "nothing follows the ':'", 0, 0 },
	{ "EC-011 two ':'", "a:b:c", DW_ENTRY_NONE, "more than one ':'", 0, 0 },
	{ "EC-011 a port alone", ":443", DW_ENTRY_NONE, "empty host name", 0, 0 },
	{ "port 0", "a.test:0", DW_ENTRY_NONE, "1 to 65535", 0, 0 },
	{ "port 65536", "a.test:65536", DW_ENTRY_NONE, "1 to 65535", 0, 0 },
	{ "a port with a leading zero", "a.test:080", DW_ENTRY_NONE, "1 to 65535", 0, 0 },
	{ "a port with a sign", "a.test:+80", DW_ENTRY_NONE, "1 to 65535", 0, 0 },
	{ "a port by name", "a.test:https", DW_ENTRY_NONE, "1 to 65535", 0, 0 },
	{ "a reversed range", "a.test:90-80", DW_ENTRY_NONE, "ends before it starts", 0, 0 },
	{ "an open range", "a.test:80-", DW_ENTRY_NONE, "last port", 0, 0 },
	{ "a range from nowhere", "a.test:-80", DW_ENTRY_NONE, "1 to 65535", 0, 0 },
	{ "a range of three", "a.test:1-2-3", DW_ENTRY_NONE, "last port", 0, 0 },
	{ "EC-017 *.*", "*.*", DW_ENTRY_NONE, "more than one '*'", 0, 0 },
	{ "*.", "*.", DW_ENTRY_NONE, "empty host name", 0, 0 },
	{ "*..test", "*..test", DW_ENTRY_NONE, "empty label", 0, 0 },
	{ "a star glued to a name", "*foo.com", DW_ENTRY_NONE, "whole first label", 0, 0 },
	{ "a star inside", "foo.*.com", DW_ENTRY_NONE, "whole first label", 0, 0 },
	{ "a star last", "foo.*", DW_ENTRY_NONE, "whole first label", 0, 0 },
	{ "two stars", "**", DW_ENTRY_NONE, "whole first label", 0, 0 },
	{ "a wildcard over an address", "*.1.2.3.4", DW_ENTRY_NONE, "number", 0, 0 },
	{ "a star for a port", "a.test:*", DW_ENTRY_NONE, "1 to 65535", 0, 0 },
	{ "EC-015 a leading dot", ".wild.test", DW_ENTRY_NONE, "empty label", 0, 0 },
	{ "EC-020 a decimal address", "2130706433", DW_ENTRY_NONE, "number", 0, 0 },
	{ "EC-020 a hex address", "0x7f.1", DW_ENTRY_NONE, "number", 0, 0 },
	{ "EC-020 an octal address", "0177.0.0.1", DW_ENTRY_NONE, "number", 0, 0 },
	{ "EC-020 a short address", "127.1", DW_ENTRY_NONE, "number", 0, 0 },
	{ "EC-020 an octal CIDR", "010.0.0.0/8", DW_ENTRY_NONE, "not an IP address", 0, 0 },
	{ "EC-020 a short CIDR", "10/8", DW_ENTRY_NONE, "not an IP address", 0, 0 },
	{ "an address out of range", "1.2.3.256", DW_ENTRY_NONE, "number", 0, 0 },
	{ "a prefix too long", "1.2.3.0/33", DW_ENTRY_NONE, "prefix length", 0, 0 },
	{ "an IPv6 prefix too long", "::/129", DW_ENTRY_NONE, "prefix length", 0, 0 },
	{ "a prefix with a leading zero", "1.2.3.0/08", DW_ENTRY_NONE, "prefix length", 0, 0 },
	{ "no prefix length", "1.2.3.0/", DW_ENTRY_NONE, "prefix length", 0, 0 },
	{ "a netmask", "10.0.0.0/255.0.0.0", DW_ENTRY_NONE, "prefix length", 0, 0 },
	{ "an address with /0", "10.0.0.0/0", DW_ENTRY_NONE, "with /0", 0, 0 },
	{ "an IPv6 address with /0", "2001:db8::/0", DW_ENTRY_NONE, "with /0", 0, 0 },
	{ "EC-021 all of IPv4, mapped", "::ffff:0:0/96", DW_ENTRY_NONE, "with /0", 0, 0 },
	{ "a mapped prefix shorter than /96", "::ffff:0:0/95", DW_ENTRY_NONE, "prefix length", 0, 0 },
	{ "IPv6 CIDR with a port but no brackets", "2001:db8::/32:80", DW_ENTRY_NONE, "prefix length", 0, 0 },
	{ "IPv6 with a long port but no brackets", "2001:db8:1:2:3:4:5:6:443", DW_ENTRY_NONE, "more than one ':'", 0, 0 },
	{ "a prefix length outside the brackets", "[::1]/64", DW_ENTRY_NONE, "goes inside", 0, 0 },
	{ "an open bracket", "[::1", DW_ENTRY_NONE, "without its ']'", 0, 0 },
	{ "a port in the brackets", "[a.test]:80", DW_ENTRY_NONE, "other than an IPv6", 0, 0 },
	{ "IPv4 in brackets", "[1.2.3.4]:80", DW_ENTRY_NONE, "other than an IPv6", 0, 0 },
	{ "no port after the brackets", "[::1]:", DW_ENTRY_NONE, "nothing follows the ':'", 0, 0 },
	{ "nonsense in brackets", "[:::]", DW_ENTRY_NONE, "not an IPv6 address", 0, 0 },
	{ "a regex without a pattern", "~", DW_ENTRY_NONE, "empty regular", 0, 0 },
	{ "a regex of a port alone", "~:443", DW_ENTRY_NONE, "empty regular", 0, 0 },
	{ "a regex with port 0", "~a:0", DW_ENTRY_NONE, "1 to 65535", 0, 0 },
	{ "a regex with an empty port", "~a:", DW_ENTRY_NONE, "nothing follows", 0, 0 },
	{ "an at sign", "a@b.test", DW_ENTRY_NONE, "cannot have", 0, 0 },
};
/* clang-format on */

static const char *what_of(const struct dw_entry *e, char *buf, size_t size)
{
	char prefix[DW_PREFIX_STRLEN];
	if (e->kind == DW_ENTRY_HOST || e->kind == DW_ENTRY_SUFFIX)
		return e->host;
	if (e->kind == DW_ENTRY_REGEX)
		snprintf(buf, size, "%.*s", (int)e->regex_n, e->regex);
	else if (e->kind == DW_ENTRY_PREFIX)
		snprintf(buf, size, "%s", dw_prefix_format(&e->prefix, prefix));
	return buf;
}

static void parse(void **state)
{
	const struct row *r = *state;
	struct dw_entry e, before;
	memset(&e, 0x5a, sizeof(e));
	before = e;
	const char *why = NULL;
	bool ok = dw_entry_parse(r->in, strlen(r->in), &e, &why);
	assert_int_equal(ok, r->kind != DW_ENTRY_NONE);
	if (!ok) {
		assert_memory_equal(&e, &before, sizeof(e));
		if (!strstr(why, r->what))
			fail_msg("\"%s\" is not in \"%s\"", r->what, why);
		return;
	}
	char buf[128] = "";
	assert_int_equal(e.kind, r->kind);
	assert_string_equal(what_of(&e, buf, sizeof(buf)), r->what ? r->what : "");
	assert_int_equal(e.port_lo, r->lo);
	assert_int_equal(e.port_hi, r->hi);
}

static void nul_inside(void **state)
{
	struct dw_entry e;
	const char *why;
	assert_false(dw_entry_parse("evil.test\0.allowed.test", 23, &e, &why));
	assert_string_equal(why, "a control character");
}

static void too_long(void **state)
{
	char s[1025];
	memset(s, 'a', sizeof(s));
	struct dw_entry e;
	const char *why;
	assert_false(dw_entry_parse(s, sizeof(s), &e, &why));
	assert_non_null(strstr(why, "1024"));
	s[0] = '~';
	assert_false(dw_entry_parse(s, 1002, &e, &why));
	assert_non_null(strstr(why, "1000"));
	assert_true(dw_entry_parse(s, 1001, &e, &why));
}

int main(void)
{
	static struct rows r;
	ADD_ROWS(&r, rows, parse);
	add_row(&r, "EC-006 NUL inside", nul_inside, NULL);
	add_row(&r, "too long", too_long, NULL);
	return run_rows("entry", &r);
}
