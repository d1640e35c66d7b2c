/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"
#include "support.h"

#include "core/netplan.h"
#include "policy/special.h"

struct row {
	const char *name; /* the address */
	enum dw_addr_class class;
};

static const struct row rows[] = {
	{ "0.0.0.0", DW_CLASS_RESERVED },
	{ "0.255.255.255", DW_CLASS_RESERVED },
	{ "1.0.0.0", DW_CLASS_PUBLIC },
	{ "9.255.255.255", DW_CLASS_PUBLIC },
	{ "10.0.0.0", DW_CLASS_PRIVATE },
	{ "10.255.255.255", DW_CLASS_PRIVATE },
	{ "11.0.0.0", DW_CLASS_PUBLIC },
	{ "100.63.255.255", DW_CLASS_PUBLIC },
	{ "100.64.0.0", DW_CLASS_PRIVATE },
	{ "100.100.100.199", DW_CLASS_PRIVATE },
	{ "100.100.100.200", DW_CLASS_METADATA },
	{ "100.111.255.255", DW_CLASS_PRIVATE },
	{ "100.112.0.0", DW_CLASS_SANDBOX },
	{ "100.127.255.255", DW_CLASS_SANDBOX },
	{ "100.128.0.0", DW_CLASS_PUBLIC },
	{ "126.255.255.255", DW_CLASS_PUBLIC },
	{ "127.0.0.0", DW_CLASS_LOOPBACK },
	{ "127.255.255.255", DW_CLASS_LOOPBACK },
	{ "128.0.0.0", DW_CLASS_PUBLIC },
	{ "168.63.129.16", DW_CLASS_METADATA },
	{ "168.63.129.17", DW_CLASS_PUBLIC },
	{ "169.253.255.255", DW_CLASS_PUBLIC },
	{ "169.254.0.0", DW_CLASS_LINK_LOCAL },
	{ "169.254.169.254", DW_CLASS_METADATA },
	{ "169.254.170.2", DW_CLASS_METADATA },
	{ "169.254.255.255", DW_CLASS_LINK_LOCAL },
	{ "169.255.0.0", DW_CLASS_PUBLIC },
	{ "172.15.255.255", DW_CLASS_PUBLIC },
	{ "172.16.0.0", DW_CLASS_PRIVATE },
	{ "172.31.255.255", DW_CLASS_PRIVATE },
	{ "172.32.0.0", DW_CLASS_PUBLIC },
	{ "192.0.0.1", DW_CLASS_PRIVATE },
	{ "192.0.0.192", DW_CLASS_METADATA },
	{ "192.0.1.0", DW_CLASS_PUBLIC },
	{ "192.0.2.1", DW_CLASS_PRIVATE },
	{ "192.168.0.0", DW_CLASS_PRIVATE },
	{ "192.168.255.255", DW_CLASS_PRIVATE },
	{ "192.169.0.0", DW_CLASS_PUBLIC },
	{ "198.17.255.255", DW_CLASS_PUBLIC },
	{ "198.18.0.0", DW_CLASS_PRIVATE },
	{ "198.19.255.255", DW_CLASS_PRIVATE },
	{ "198.20.0.0", DW_CLASS_PUBLIC },
	{ "198.51.100.7", DW_CLASS_PRIVATE },
	{ "203.0.113.7", DW_CLASS_PRIVATE },
	{ "223.255.255.255", DW_CLASS_PUBLIC },
	{ "224.0.0.0", DW_CLASS_RESERVED },
	{ "239.255.255.255", DW_CLASS_RESERVED },
	{ "240.0.0.0", DW_CLASS_RESERVED },
	{ "255.255.255.255", DW_CLASS_RESERVED },
	{ "::", DW_CLASS_RESERVED },
	{ "::1", DW_CLASS_LOOPBACK },
	{ "::2", DW_CLASS_EMBEDDED },
	{ "::7f00:1", DW_CLASS_EMBEDDED },
	{ "::ffff:127.0.0.1", DW_CLASS_LOOPBACK },
	{ "::ffff:8.8.8.8", DW_CLASS_PUBLIC },
	{ "::ffff:0:8.8.8.8", DW_CLASS_EMBEDDED },
	{ "64:ff9b::a00:1", DW_CLASS_EMBEDDED },
	{ "64:ff9b:1::1", DW_CLASS_EMBEDDED },
	{ "64:ff9b:2::1", DW_CLASS_RESERVED },
	{ "100::1", DW_CLASS_RESERVED },
	{ "1fff:ffff::1", DW_CLASS_RESERVED },
	{ "2000::1", DW_CLASS_PUBLIC },
	{ "2001::1", DW_CLASS_EMBEDDED },
	{ "2001:1::1", DW_CLASS_RESERVED },
	{ "2001:2::1", DW_CLASS_PRIVATE },
	{ "2001:200::1", DW_CLASS_PUBLIC },
	{ "2001:db8::1", DW_CLASS_PRIVATE },
	{ "2001:4860:4860::8888", DW_CLASS_PUBLIC },
	{ "2002:7f00:1::", DW_CLASS_EMBEDDED },
	{ "2003::1", DW_CLASS_PUBLIC },
	{ "3fff::1", DW_CLASS_RESERVED },
	{ "3fff:1000::1", DW_CLASS_PUBLIC },
	{ "4000::1", DW_CLASS_RESERVED },
	{ "5f00::1", DW_CLASS_RESERVED },
	{ "fbff::1", DW_CLASS_RESERVED },
	{ "fc00::1", DW_CLASS_PRIVATE },
	{ "fd00:ec2::253", DW_CLASS_PRIVATE },
	{ "fd00:ec2::254", DW_CLASS_METADATA },
	{ "fd20:ce::254", DW_CLASS_METADATA },
	{ "fd64:6377::1", DW_CLASS_SANDBOX },
	{ "fd64:6377::6470:100", DW_CLASS_SANDBOX },
	{ "fd64:6377:0:1::1", DW_CLASS_PRIVATE },
	{ "fdff::1", DW_CLASS_PRIVATE },
	{ "fe00::1", DW_CLASS_RESERVED },
	{ "fe80::1", DW_CLASS_LINK_LOCAL },
	{ "febf::1", DW_CLASS_LINK_LOCAL },
	{ "fec0::1", DW_CLASS_PRIVATE },
	{ "ff02::1", DW_CLASS_RESERVED },
};

static void classify(void **state)
{
	const struct row *r = *state;
	struct dw_addr a = addr(r->name);
	assert_int_equal(dw_addr_classify(&a), r->class);
}

static void odd_addresses(void **state)
{
	struct dw_addr unset = { 0 }, odd = { .family = 77 };
	assert_int_equal(dw_addr_classify(&unset), DW_CLASS_RESERVED);
	assert_int_equal(dw_addr_classify(&odd), DW_CLASS_RESERVED);
	struct dw_addr mapped = { .family = DW_AF_6, .b = { [10] = 0xff, [11] = 0xff, 127, 0, 0, 1 } };
	assert_int_equal(dw_addr_classify(&mapped), DW_CLASS_LOOPBACK);
	struct dw_addr slot = dw_slot_addr4(1);
	assert_int_equal(dw_addr_classify(&slot), DW_CLASS_SANDBOX);
	slot = dw_slot_addr6(1);
	assert_int_equal(dw_addr_classify(&slot), DW_CLASS_SANDBOX);
	slot = dw_slot_addr4(DW_SLOT_MAX);
	assert_int_equal(dw_addr_classify(&slot), DW_CLASS_SANDBOX);
}

struct never_row {
	const char *name; /* the prefix */
	bool never;
};

static const struct never_row nevers[] = {
	{ "127.0.0.1/32", true },
	{ "127.0.0.0/8", true },
	{ "126.0.0.0/7", false },
	{ "0.0.0.0/8", true },
	{ "224.0.0.0/4", true },
	{ "224.0.0.0/3", true },
	{ "192.0.0.0/2", false },
	{ "255.255.255.255/32", true },
	{ "100.112.0.5/32", true },
	{ "100.112.0.0/12", true },
	{ "100.64.0.0/10", false },
	{ "169.254.169.254/32", false },
	{ "169.254.0.0/16", false },
	{ "10.0.0.0/8", false },
	{ "8.8.8.8/32", false },
	{ "100.100.100.200/32", false },
	{ "::1/128", true },
	{ "::/96", true },
	{ "::/8", true },
	{ "::/1", false },
	{ "2002::/16", true },
	{ "2002::/15", false },
	{ "64:ff9b::/96", true },
	{ "fd64:6377::/64", true },
	{ "fd64:6377::/48", false },
	{ "fe80::/10", false },
	{ "fe00::/7", false },
	{ "ff00::/8", true },
	{ "2001:4860::/32", false },
	{ "2001::/32", true },
	{ "2001::/16", false },
	{ "8000::/2", true },
};

static void never(void **state)
{
	const struct never_row *r = *state;
	struct dw_prefix p = prefix(r->name);
	assert_int_equal(dw_prefix_never_opens(&p), r->never);
}

struct floor_row {
	const char *name;
	const char *host;       /* an address of the machine, or NULL */
	const char *exceptions; /* at most two, divided by a space */
	const char *a;
	enum dw_reason reason;
	bool private;
};

static const struct floor_row floors[] = {
	{ "public", NULL, "", "8.8.8.8", DW_REASON_NONE, false },
	{ "private", NULL, "", "10.0.0.1", DW_REASON_NONE, true },
	{ "private, excepted", NULL, "10.0.0.0/24", "10.0.0.1", DW_REASON_NONE, false },
	{ "private, another excepted", NULL, "10.0.1.0/24", "10.0.0.1", DW_REASON_NONE, true },
	{ "private, the whole block excepted", NULL, "10.0.0.0/8", "10.0.0.1", DW_REASON_NONE, false },
	{ "private, more than the block excepted", NULL, "0.0.0.0/0 8.0.0.0/5", "10.0.0.1", DW_REASON_NONE, true },
	{ "ULA, excepted", NULL, "fd00::/8", "fd00::1", DW_REASON_NONE, false },
	{ "loopback, excepted", NULL, "127.0.0.0/8 127.0.0.1/32", "127.0.0.1", DW_REASON_FLOOR_LOOPBACK, false },
	{ "a sandbox, excepted", NULL, "100.112.0.0/12 100.112.1.1/32", "100.112.1.1", DW_REASON_FLOOR_SANDBOX, false },
	{ "reserved, excepted", NULL, "224.0.0.0/4 224.0.0.1/32", "224.0.0.1", DW_REASON_FLOOR_RESERVED, false },
	{ "embedded, excepted", NULL, "2002::/16 2002::1/128", "2002::1", DW_REASON_FLOOR_EMBEDDED, false },
	{ "link-local", NULL, "", "169.254.1.1", DW_REASON_FLOOR_LINK_LOCAL, false },
	{ "link-local, excepted", NULL, "169.254.1.0/24", "169.254.1.1", DW_REASON_NONE, false },
	{ "link-local, too much excepted", NULL, "169.0.0.0/8", "169.254.1.1", DW_REASON_FLOOR_LINK_LOCAL, false },
	{ "IPv6 link-local, excepted", NULL, "fe80::/10", "fe80::1", DW_REASON_NONE, false },
	{ "metadata", NULL, "", "169.254.169.254", DW_REASON_FLOOR_METADATA, false },
	{ "metadata, excepted", NULL, "169.254.169.254/32", "169.254.169.254", DW_REASON_NONE, false },
	{ "metadata, its link-local block excepted", NULL, "169.254.0.0/16", "169.254.169.254",
	  DW_REASON_FLOOR_METADATA, false },
	{ "metadata outside link-local, excepted", NULL, "168.63.129.16/32", "168.63.129.16", DW_REASON_NONE, false },
	{ "the host", "8.8.4.4", "", "8.8.4.4", DW_REASON_FLOOR_HOST, false },
	{ "the host, mapped", "8.8.4.4", "", "::ffff:8.8.4.4", DW_REASON_FLOOR_HOST, false },
	{ "the host, excepted", "8.8.4.4", "8.8.4.4/32", "8.8.4.4", DW_REASON_NONE, false },
	{ "the host, its net excepted", "10.0.0.1", "10.0.0.0/24", "10.0.0.1", DW_REASON_FLOOR_HOST, false },
	{ "the host, private and excepted", "10.0.0.1", "10.0.0.1/32", "10.0.0.1", DW_REASON_NONE, false },
	{ "the host's link-local address", "169.254.1.1", "169.254.0.0/16", "169.254.1.1", DW_REASON_FLOOR_HOST,
	  false },
};

static void floor_rules(void **state)
{
	const struct floor_row *r = *state;
	struct dw_addr host = { 0 }, a = addr(r->a);
	struct lists l;
	split(r->exceptions, &l);
	struct dw_prefix e[2];
	for (size_t i = 0; i < l.n; i++)
		e[i] = prefix(l.entry[i]);
	if (r->host)
		host = addr(r->host);
	struct dw_floor f = { &host, r->host != NULL, e, l.n };
	assert_string_equal(dw_reason_name(dw_floor_check(&f, &a)), dw_reason_name(r->reason));
	assert_int_equal(dw_floor_is_private(&f, &a), r->private);
}

int main(void)
{
	static struct rows r;
	ADD_ROWS(&r, rows, classify);
	ADD_ROWS(&r, nevers, never);
	ADD_ROWS(&r, floors, floor_rules);
	add_row(&r, "odd addresses", odd_addresses, NULL);
	return run_rows("special", &r);
}
