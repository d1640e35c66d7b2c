/* SPDX-License-Identifier: Apache-2.0 */
#include "../policy/rows.h"

#include <arpa/inet.h>

#include "core/addr.h"
#include "core/netplan.h"

struct parse_row {
	const char *name; /* the text */
	const char *out;  /* NULL: refused */
};

/* clang-format off */
static const struct parse_row addrs[] = {
	{ "1.2.3.4", "1.2.3.4" },
	{ "0.0.0.0", "0.0.0.0" },
	{ "255.255.255.255", "255.255.255.255" },
	{ "2001:DB8:0:0::1", "2001:db8::1" },
	{ "::", "::" },
	{ "::1", "::1" },
	{ "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8" },
	{ "::ffff:10.0.0.1", "10.0.0.1" },
	{ "::FFFF:a00:1", "10.0.0.1" },
	{ "64:ff9b::1.2.3.4", "64:ff9b::102:304" },
	{ "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
	{ "", NULL },
	{ "1.2.3", NULL },
	{ "127.1", NULL },
	{ "1.2.3.4.5", NULL },
	{ "1.2.3.256", NULL },
	{ "01.2.3.4", NULL },
	{ "010.0.0.1", NULL },
	{ "0x7f.0.0.1", NULL },
	{ "2130706433", NULL },
	{ "1.2.3.4 ", NULL },
	{ " 1.2.3.4", NULL },
	{ "1.2.3.4.", NULL },
	{ "1..3.4", NULL },
	{ "fe80::1%eth0", NULL },
	{ "[::1]", NULL },
	{ ":::", NULL },
	{ "1:2:3:4:5:6:7", NULL },
	{ "1:2:3:4:5:6:7:8:9", NULL },
	{ "1::2::3", NULL },
	{ "12345::", NULL },
	{ "::ffff:1.2.3", NULL },
	{ "1.2.3.4/32", NULL },
	{ "a.test", NULL },
	{ "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.2555", NULL },
};

static const struct parse_row prefixes[] = {
	{ "10.0.0.0/8", "10.0.0.0/8" },
	{ "10.1.2.3/8", "10.0.0.0/8" },
	{ "10.1.2.255/31", "10.1.2.254/31" },
	{ "10.1.2.3/32", "10.1.2.3/32" },
	{ "10.1.2.3/0", "0.0.0.0/0" },
	{ "2001:db8:ffff::1/33", "2001:db8:8000::/33" },
	{ "::1/128", "::1/128" },
	{ "::1/0", "::/0" },
	{ "::ffff:10.0.0.0/104", "10.0.0.0/8" },
	{ "::ffff:10.0.0.0/96", "0.0.0.0/0" },
	{ "::ffff:10.0.0.1/128", "10.0.0.1/32" },
	{ "::ffff:10.0.0.0/95", NULL },
	{ "::ffff:10.0.0.0/8", NULL },
	{ "10.0.0.0", NULL },
	{ "10.0.0.0/", NULL },
	{ "10.0.0.0/33", NULL },
	{ "::/129", NULL },
	{ "10.0.0.0/08", NULL },
	{ "10.0.0.0/-1", NULL },
	{ "10.0.0.0/+8", NULL },
	{ "10.0.0.0/8 ", NULL },
	{ "10.0.0.0/8/8", NULL },
	{ "10.0.0.0/1000", NULL },
	{ "/8", NULL },
	{ "10/8", NULL },
};
/* clang-format on */

static void parse_addr(void **state)
{
	const struct parse_row *r = *state;
	struct dw_addr a, before;
	memset(&a, 0x5a, sizeof(a));
	before = a;
	bool ok = dw_addr_parse(r->name, strlen(r->name), &a);
	assert_int_equal(ok, r->out != NULL);
	if (!ok) {
		assert_memory_equal(&a, &before, sizeof(a));
		return;
	}
	char text[DW_ADDR_STRLEN];
	assert_string_equal(dw_addr_format(&a, text), r->out);
	struct dw_addr again;
	assert_true(dw_addr_parse(text, strlen(text), &again));
	assert_true(dw_addr_eq(&a, &again));
	assert_int_equal(dw_addr_hash(&a), dw_addr_hash(&again));
}

static void parse_prefix(void **state)
{
	const struct parse_row *r = *state;
	struct dw_prefix p, before;
	memset(&p, 0x5a, sizeof(p));
	before = p;
	bool ok = dw_prefix_parse(r->name, strlen(r->name), &p);
	assert_int_equal(ok, r->out != NULL);
	if (!ok) {
		assert_memory_equal(&p, &before, sizeof(p));
		return;
	}
	char text[DW_PREFIX_STRLEN];
	assert_string_equal(dw_prefix_format(&p, text), r->out);
}

static void nul_inside(void **state)
{
	struct dw_addr a;
	assert_false(dw_addr_parse("1.2.3.4\0", 8, &a));
	assert_false(dw_addr_parse("1.2.3.4\0x", 9, &a));
	assert_true(dw_addr_parse("1.2.3.4xx", 7, &a)); /* the length counts, not a NUL */
}

static struct dw_prefix prefix(const char *s)
{
	struct dw_prefix p = { 0 };
	assert_true(dw_prefix_parse(s, strlen(s), &p));
	return p;
}

struct in_row {
	const char *name;
	const char *outer, *inner;
	bool covers;
};

static const struct in_row ins[] = {
	{ "the same", "10.0.0.0/8", "10.0.0.0/8", true },
	{ "a part", "10.0.0.0/8", "10.255.0.0/16", true },
	{ "an address", "10.0.0.0/8", "10.255.255.255/32", true },
	{ "beside", "10.0.0.0/8", "11.0.0.0/8", false },
	{ "more", "10.0.0.0/8", "10.0.0.0/7", false },
	{ "odd bits, inside", "10.0.0.0/9", "10.127.0.0/16", true },
	{ "odd bits, outside", "10.0.0.0/9", "10.128.0.0/16", false },
	{ "everything", "0.0.0.0/0", "255.0.0.0/8", true },
	{ "the other family", "0.0.0.0/0", "::/0", false },
	{ "the other family, reversed", "::/0", "10.0.0.0/8", false },
	{ "IPv6", "2001:db8::/33", "2001:db8:7fff::/48", true },
	{ "IPv6, outside", "2001:db8::/33", "2001:db8:8000::/48", false },
	{ "IPv6, one address", "::1/128", "::1/128", true },
	{ "IPv6, the next address", "::1/128", "::2/128", false },
};

static void inside(void **state)
{
	const struct in_row *r = *state;
	struct dw_prefix outer = prefix(r->outer), inner = prefix(r->inner);
	assert_int_equal(dw_prefix_covers(&outer, &inner), r->covers);
	if (r->covers)
		assert_true(dw_prefix_contains(&outer, &inner.addr));
}

static void unset(void **state)
{
	struct dw_addr a = { 0 };
	struct dw_prefix all = { 0 };
	char text[DW_ADDR_STRLEN];
	assert_string_equal(dw_addr_format(&a, text), "-");
	assert_false(dw_prefix_contains(&all, &a));
	struct sockaddr_storage ss;
	assert_int_equal(dw_addr_to_sockaddr(&a, 80, &ss), 0);
	ss.ss_family = AF_UNIX;
	uint16_t port = 7;
	a = dw_addr_from_sockaddr(&ss, &port);
	assert_int_equal(a.family, DW_AF_NONE);
	assert_int_equal(port, 0);
}

static void sockaddr(void **state)
{
	static const char *const texts[] = { "1.2.3.4", "2001:db8::1" };
	for (size_t i = 0; i < DW_COUNT(texts); i++) {
		struct dw_addr a, b;
		struct sockaddr_storage ss;
		uint16_t port = 0;
		assert_true(dw_addr_parse(texts[i], strlen(texts[i]), &a));
		assert_int_equal(dw_addr_to_sockaddr(&a, 443, &ss),
				 i ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
		b = dw_addr_from_sockaddr(&ss, &port);
		assert_true(dw_addr_eq(&a, &b));
		assert_int_equal(port, 443);
		b = dw_addr_from_sockaddr(&ss, NULL);
		assert_true(dw_addr_eq(&a, &b));
	}
	/* What a dual-stack socket reports of an IPv4 peer. */
	struct sockaddr_in6 mapped = { .sin6_family = AF_INET6 };
	struct sockaddr_storage ss = { 0 };
	assert_int_equal(inet_pton(AF_INET6, "::ffff:1.2.3.4", &mapped.sin6_addr), 1);
	memcpy(&ss, &mapped, sizeof(mapped));
	assert_int_equal(dw_addr_from_sockaddr(&ss, NULL).family, DW_AF_4);
}

static void slots(void **state)
{
	char text[DW_ADDR_STRLEN];
	struct dw_addr a = dw_slot_addr4(1);
	assert_string_equal(dw_addr_format(&a, text), "100.112.1.0");
	a = dw_slot_addr6(1);
	assert_string_equal(dw_addr_format(&a, text), "fd64:6377::6470:100");
	struct dw_prefix net4 = prefix(DW_NET4_TEXT), net6 = prefix(DW_NET6_TEXT);
	assert_int_equal(net4.len, DW_NET4_LEN);
	assert_int_equal(net6.len, DW_NET6_LEN);
	static const uint32_t numbers[] = { 1, 2, DW_SLOT_MAX };
	for (size_t i = 0; i < DW_COUNT(numbers); i++) {
		a = dw_slot_addr4(numbers[i]);
		assert_true(dw_prefix_contains(&net4, &a));
		a = dw_slot_addr6(numbers[i]);
		assert_true(dw_prefix_contains(&net6, &a));
	}
}

int main(void)
{
	static struct rows r;
	ADD_ROWS(&r, addrs, parse_addr);
	ADD_ROWS(&r, prefixes, parse_prefix);
	ADD_ROWS(&r, ins, inside);
	add_row(&r, "NUL inside", nul_inside, NULL);
	add_row(&r, "unset addresses", unset, NULL);
	add_row(&r, "socket addresses", sockaddr, NULL);
	add_row(&r, "slots", slots, NULL);
	return run_rows("addr", &r);
}
