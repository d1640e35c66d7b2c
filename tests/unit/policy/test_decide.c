/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"
#include "support.h"

#define A1 "93.184.216.34"
#define A2 "1.1.1.1"
#define V6 "2606:4700::1111"

enum verdict { D = DW_DENY, A = DW_ALLOW, N = DW_ALLOW_BY_NAME };
enum inspect { STRICT = DW_INSPECT_STRICT, NAMES = DW_INSPECT_DENY_NAMES, NOTHING = DW_INSPECT_NONE };

struct flow_row {
	const char *name;
	const char *allow, *deny; /* see support.h */
	bool def;
	const char *pins;
	const char *dst;
	uint16_t port;
	enum verdict verdict;
	enum dw_reason reason;
	const char *rule;
	enum inspect inspect;
};

/* clang-format off */
static const struct flow_row flows[] = {
	/* every combination of absent, empty and set lists, and both defaults */
	{ "EC-001 no lists, default allow", NULL, NULL, true, NULL, A2, 80, A, DW_REASON_ALLOW_DEFAULT, "", NOTHING },
	{ "EC-001 no lists, default deny", NULL, NULL, false, NULL, A2, 80, D, DW_REASON_DENY_DEFAULT, "", 0 },
	{ "EC-001 empty allow_out", "", NULL, true, NULL, A2, 80, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "EC-001 empty allow_out and deny_out", "", "", true, NULL, A2, 80, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "EC-003 empty deny_out", NULL, "", true, NULL, A2, 80, A, DW_REASON_ALLOW_DEFAULT, "", NOTHING },
	{ "EC-003 empty allow_out, set deny_out", "", A1, true, NULL, A2, 80, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "EC-003 empty allow_out, deny_out hits", "", A2, true, NULL, A2, 80, D, DW_REASON_DENY_ENTRY, "deny_out[0] " A2, 0 },
	{ "EC-003 only deny_out, elsewhere", NULL, A1, true, NULL, A2, 80, A, DW_REASON_ALLOW_DEFAULT, "", NOTHING },
	{ "EC-003 only deny_out, hit", NULL, A2, true, NULL, A2, 80, D, DW_REASON_DENY_ENTRY, "deny_out[0] " A2, 0 },
	{ "EC-003 only deny_out, default deny", NULL, A1, false, NULL, A2, 80, D, DW_REASON_DENY_DEFAULT, "", 0 },
	{ "EC-003 only a CIDR in allow_out", "1.1.1.0/24", NULL, true, NULL, A2, 80, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] 1.1.1.0/24", NOTHING },
	{ "EC-003 only a CIDR in allow_out, elsewhere", "1.1.1.0/24", NULL, true, NULL, A1, 80, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "EC-003 a CIDR in allow_out closes IPv6", "1.1.1.0/24", NULL, true, NULL, V6, 80, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "EC-003 a name in allow_out closes addresses", "a.test", NULL, true, NULL, A2, 80, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "allow beats deny", A2, A2, true, NULL, A2, 80, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] " A2, NOTHING },
	{ "a wide allow beats a narrow deny", "1.1.0.0/16", A2, true, NULL, A2, 80, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] 1.1.0.0/16", NOTHING },
	{ "the longest prefix is named", "1.0.0.0/8 1.1.1.0/24 1.1.0.0/16", NULL, true, NULL, A2, 80, A, DW_REASON_ALLOW_ENTRY, "allow_out[1] 1.1.1.0/24", NOTHING },

	/* everything */
	{ "everything in allow_out", "*", NULL, false, NULL, A2, 80, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] *", NOTHING },
	{ "0.0.0.0/0 means IPv6 too", "0.0.0.0/0", NULL, false, NULL, V6, 80, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] 0.0.0.0/0", NOTHING },
	{ "::/0 means IPv4 too", "::/0", NULL, false, NULL, A2, 80, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] ::/0", NOTHING },
	{ "EC-004 everything and a denied address", "*", A2, true, NULL, A2, 80, D, DW_REASON_DENY_ENTRY, "deny_out[0] " A2, 0 },
	{ "EC-004 everything and a denied pin", "*", "evil.test", true, "evil.test=" A2, A2, 443, D, DW_REASON_DENY_ENTRY, "deny_out[0] evil.test", 0 },
	{ "EC-004 everything and a denied name elsewhere", "*", "evil.test", true, NULL, A2, 443, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] *", NAMES },
	{ "EC-004 everything and metadata", "*", NULL, true, NULL, "169.254.169.254", 80, D, DW_REASON_FLOOR_METADATA, "", 0 },
	{ "everything denied", NULL, "0.0.0.0/0", true, NULL, A2, 80, D, DW_REASON_DENY_ENTRY, "deny_out[0] 0.0.0.0/0", 0 },
	{ "everything denied in IPv6", NULL, "0.0.0.0/0", true, NULL, V6, 80, D, DW_REASON_DENY_ENTRY, "deny_out[0] 0.0.0.0/0", 0 },
	{ "everything denied but one", A2, "0.0.0.0/0", true, NULL, A2, 80, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] " A2, NOTHING },
	{ "everything denied but another", A2, "0.0.0.0/0", true, NULL, A1, 80, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "everything in both", "*", "*", false, NULL, A2, 80, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] *", NOTHING },
	{ "everything on a port", "*:443", NULL, true, NULL, A2, 443, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] *:443", NOTHING },
	{ "everything on another port", "*:443", NULL, true, NULL, A2, 80, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "everything denied on a port", NULL, "*:25", true, NULL, A2, 25, D, DW_REASON_DENY_ENTRY, "deny_out[0] *:25", 0 },
	{ "everything denied on another port", NULL, "*:25", true, NULL, A2, 80, A, DW_REASON_ALLOW_DEFAULT, "", NOTHING },
	{ "everything opens nothing private", "*", NULL, true, NULL, "10.0.0.1", 80, D, DW_REASON_PRIVATE_ADDRESS, "", 0 },

	/* ports */
	{ "EC-011 an address on its port", A2 ":443", NULL, true, NULL, A2, 443, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] " A2 ":443", NOTHING },
	{ "EC-011 an address on another port", A2 ":443", NULL, true, NULL, A2, 22, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "a range, first port", A2 ":80-90", NULL, true, NULL, A2, 80, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] " A2 ":80-90", NOTHING },
	{ "a range, last port", A2 ":80-90", NULL, true, NULL, A2, 90, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] " A2 ":80-90", NOTHING },
	{ "a range, one below", A2 ":80-90", NULL, true, NULL, A2, 79, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "a range, one above", A2 ":80-90", NULL, true, NULL, A2, 91, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "one address, many ports", A2 ":9 " A2 ":5-7 " A2 ":1 " A2 ":6-8", NULL, true, NULL, A2, 8, A, DW_REASON_ALLOW_ENTRY, "allow_out[3] " A2 ":6-8", NOTHING },
	{ "one address, many ports, a gap", A2 ":9 " A2 ":5-7 " A2 ":1", NULL, true, NULL, A2, 4, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "the port of a shorter prefix", A2 ":443 1.1.0.0/16:80", NULL, true, NULL, A2, 80, A, DW_REASON_ALLOW_ENTRY, "allow_out[1] 1.1.0.0/16:80", NOTHING },
	{ "a denied port", NULL, A2 ":25", true, NULL, A2, 25, D, DW_REASON_DENY_ENTRY, "deny_out[0] " A2 ":25", 0 },
	{ "beside a denied port", NULL, A2 ":25", true, NULL, A2, 26, A, DW_REASON_ALLOW_DEFAULT, "", NOTHING },
	{ "IPv6 on its port", "[" V6 "]:443", NULL, true, NULL, V6, 443, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] [" V6 "]:443", NOTHING },
	{ "an IPv6 CIDR", "2606:4700::/32", NULL, true, NULL, V6, 443, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] 2606:4700::/32", NOTHING },
	{ "EC-021 a mapped destination is IPv4", A2, NULL, true, NULL, "::ffff:" A2, 80, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] " A2, NOTHING },
	{ "EC-021 a mapped private destination", "*", NULL, true, NULL, "::ffff:10.0.0.1", 80, D, DW_REASON_PRIVATE_ADDRESS, "", 0 },

	/* pins */
	{ "a pin of an allowed name", "a.test", NULL, true, "a.test=" A1, A1, 443, N, DW_REASON_ALLOW_NAME, "allow_out[0] a.test", STRICT },
	{ "a pin of another address", "a.test", NULL, true, "a.test=" A1, A2, 443, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "a pin of a name no longer allowed", "b.test", NULL, true, "a.test=" A1, A1, 443, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "EC-028 a pin on its port", "a.test:443", NULL, true, "a.test=" A1, A1, 443, N, DW_REASON_ALLOW_NAME, "allow_out[0] a.test:443", STRICT },
	{ "EC-028 a pin on another port", "a.test:443", NULL, true, "a.test=" A1, A1, 22, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "a pin by wildcard", "*.a.test", NULL, true, "x.y.a.test=" A1, A1, 443, N, DW_REASON_ALLOW_NAME, "allow_out[0] *.a.test", STRICT },
	{ "a pin by regex", "~[a-z]+\\.a\\.test", NULL, true, "x.a.test=" A1, A1, 443, N, DW_REASON_ALLOW_NAME, "allow_out[0] ~[a-z]+\\.a\\.test", STRICT },
	{ "a shared address, the second name allowed", "b.test:22", NULL, true, "a.test=" A1 " b.test=" A1 " c.test=" A1, A1, 22, N, DW_REASON_ALLOW_NAME, "allow_out[0] b.test:22", STRICT },
	{ "EC-127 a shared address, a port per name", "a.test:5671 b.test:5672", NULL, true, "a.test=" A1 " b.test=" A1, A1, 5672, N, DW_REASON_ALLOW_NAME, "allow_out[1] b.test:5672", STRICT },
	{ "an address entry beats a pin", "a.test " A1, NULL, true, "a.test=" A1, A1, 443, A, DW_REASON_ALLOW_ENTRY, "allow_out[1] " A1, NOTHING },
	{ "an allowed pin beats a denied address", "a.test", A1, true, "a.test=" A1, A1, 443, N, DW_REASON_ALLOW_NAME, "allow_out[0] a.test", STRICT },
	{ "an allowed pin beats a denied pin", "a.test", "b.test", true, "a.test=" A1 " b.test=" A1, A1, 443, N, DW_REASON_ALLOW_NAME, "allow_out[0] a.test", STRICT },
	{ "a pin whose name is denied on this port", NULL, "a.test:25", true, "a.test=" A1, A1, 25, D, DW_REASON_DENY_ENTRY, "deny_out[0] a.test:25", 0 },
	{ "a pin whose name is denied on another port", NULL, "a.test:25", true, "a.test=" A1, A1, 80, A, DW_REASON_ALLOW_DEFAULT, "", NAMES },
	{ "a pin of an everything policy is no name flow", "*", NULL, true, "a.test=" A1, A1, 80, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] *", NOTHING },
	{ "a pin below the floor", "a.test", NULL, true, "a.test=169.254.169.254", "169.254.169.254", 80, D, DW_REASON_FLOOR_METADATA, "", 0 },

	/* private addresses */
	{ "private by default", NULL, NULL, true, NULL, "192.168.1.1", 80, D, DW_REASON_PRIVATE_ADDRESS, "", 0 },
	{ "private by address", "192.168.1.1", NULL, true, NULL, "192.168.1.1", 80, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] 192.168.1.1", NOTHING },
	{ "private by its whole block", "10.0.0.0/8", NULL, true, NULL, "10.2.3.4", 80, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] 10.0.0.0/8", NOTHING },
	{ "private by more than its block", "10.0.0.0/7", NULL, true, NULL, "10.2.3.4", 80, D, DW_REASON_PRIVATE_ADDRESS, "", 0 },
	{ "public by the same entry", "10.0.0.0/7", NULL, true, NULL, "11.2.3.4", 80, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] 10.0.0.0/7", NOTHING },
	{ "private by halves of everything", "0.0.0.0/1 128.0.0.0/1", NULL, true, NULL, "192.168.1.1", 80, D, DW_REASON_PRIVATE_ADDRESS, "", 0 },
	{ "private on another port", "10.0.0.5:5432", NULL, true, NULL, "10.0.0.5", 22, D, DW_REASON_PRIVATE_ADDRESS, "", 0 },
	{ "private by a pin", "db.test", NULL, true, "db.test=10.0.0.5", "10.0.0.5", 5432, D, DW_REASON_PRIVATE_ADDRESS, "", 0 },
	{ "a pin does not open a private address's other ports", "db.test 10.0.0.5:5432", NULL, true, "db.test=10.0.0.5", "10.0.0.5", 22, D, DW_REASON_PRIVATE_ADDRESS, "", 0 },
	{ "private by an operator's exception", NULL, NULL, true, NULL, "172.16.5.5", 80, A, DW_REASON_ALLOW_DEFAULT, "", NOTHING },
	{ "an excepted one still needs the policy", "", NULL, true, NULL, "172.16.5.5", 80, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "an excepted one by a pin", "db.test", NULL, true, "db.test=172.16.5.5", "172.16.5.5", 80, N, DW_REASON_ALLOW_NAME, "allow_out[0] db.test", STRICT },
	{ "private and denied", NULL, "10.0.0.0/8", true, NULL, "10.0.0.1", 80, D, DW_REASON_DENY_ENTRY, "deny_out[0] 10.0.0.0/8", 0 },
	{ "ULA by its prefix", "fd12::/16", NULL, true, NULL, "fd12::1", 80, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] fd12::/16", NOTHING },
	{ "ULA by default", NULL, NULL, true, NULL, "fd12::1", 80, D, DW_REASON_PRIVATE_ADDRESS, "", 0 },
	{ "CGNAT by its block", "100.64.0.0/10", NULL, true, NULL, "100.64.1.1", 80, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] 100.64.0.0/10", NOTHING },
	{ "a sandbox inside CGNAT", "100.64.0.0/10", NULL, true, NULL, "100.113.1.1", 80, D, DW_REASON_FLOOR_SANDBOX, "", 0 },

	/* the floor */
	{ "EC-005 an allow entry against the floor", "169.254.0.0/16", NULL, true, NULL, "169.254.1.1", 80, D, DW_REASON_FLOOR_LINK_LOCAL, "", 0 },
	{ "EC-005 metadata by address", "169.254.169.254", NULL, true, NULL, "169.254.169.254", 80, D, DW_REASON_FLOOR_METADATA, "", 0 },
	{ "EC-104 Alibaba", "*", NULL, true, NULL, "100.100.100.200", 80, D, DW_REASON_FLOOR_METADATA, "", 0 },
	{ "EC-104 Azure", "168.63.129.16", NULL, true, NULL, "168.63.129.16", 80, D, DW_REASON_FLOOR_METADATA, "", 0 },
	{ "EC-104 Oracle", "192.0.0.0/24", NULL, true, NULL, "192.0.0.192", 80, D, DW_REASON_FLOOR_METADATA, "", 0 },
	{ "EC-104 AWS IPv6", "fd00:ec2::/32", NULL, true, NULL, "fd00:ec2::254", 80, D, DW_REASON_FLOOR_METADATA, "", 0 },
	{ "EC-106 loopback", "*", NULL, true, NULL, "127.0.0.2", 80, D, DW_REASON_FLOOR_LOOPBACK, "", 0 },
	{ "EC-106 IPv6 loopback", "*", NULL, true, NULL, "::1", 80, D, DW_REASON_FLOOR_LOOPBACK, "", 0 },
	{ "EC-103 the host's public address", "*", NULL, true, NULL, "198.41.0.4", 80, D, DW_REASON_FLOOR_HOST, "", 0 },
	{ "EC-103 the host's private address, allowed", "10.9.9.9", NULL, true, NULL, "10.9.9.9", 80, D, DW_REASON_FLOOR_HOST, "", 0 },
	{ "EC-102 another sandbox", "*", NULL, true, NULL, "100.112.1.5", 80, D, DW_REASON_FLOOR_SANDBOX, "", 0 },
	{ "multicast", "*", NULL, true, NULL, "224.0.0.1", 80, D, DW_REASON_FLOOR_RESERVED, "", 0 },
	{ "0.0.0.0", "*", NULL, true, NULL, "0.0.0.0", 80, D, DW_REASON_FLOOR_RESERVED, "", 0 },
	{ "NAT64", "*", NULL, true, NULL, "64:ff9b::7f00:1", 80, D, DW_REASON_FLOOR_EMBEDDED, "", 0 },
	{ "6to4", "*", NULL, true, NULL, "2002:7f00:1::1", 80, D, DW_REASON_FLOOR_EMBEDDED, "", 0 },
	{ "link-local by an operator's exception", NULL, NULL, true, NULL, "169.254.42.1", 80, A, DW_REASON_ALLOW_DEFAULT, "", NOTHING },
};
/* clang-format on */

/* The machine and the operator of all rows. */
static const struct dw_floor *test_floor(void)
{
	static struct dw_addr host[2];
	static struct dw_prefix exceptions[3];
	static struct dw_floor f = { host, 2, exceptions, 3 };
	host[0] = addr("198.41.0.4");
	host[1] = addr("10.9.9.9");
	exceptions[0] = prefix("172.16.5.0/24");
	exceptions[1] = prefix("169.254.42.1/32");
	exceptions[2] = prefix("100.112.0.0/12"); /* must lift nothing */
	return &f;
}

static void check(const struct dw_policy *p, struct dw_decision d, const struct flow_row *r)
{
	char text[128];
	if ((int)d.verdict != (int)r->verdict || d.reason != r->reason)
		fail_msg("verdict %d, %s; wanted %d, %s", d.verdict, dw_reason_name(d.reason), r->verdict,
			 dw_reason_name(r->reason));
	assert_string_equal(dw_policy_rule_text(p, d.rule, text, sizeof(text)), r->rule);
	if (d.verdict != DW_DENY)
		assert_int_equal(d.inspect, r->inspect);
}

static void flow(void **state)
{
	const struct flow_row *r = *state;
	struct opened o = open_policy(r->allow, r->deny, r->def);
	DW_AUTO(dw_pins_free) struct dw_pins *pins = pins_of(r->pins);
	struct dw_addr dst = addr(r->dst);
	check(o.policy, dw_decide_flow(o.policy, test_floor(), DW_PROTO_TCP, &dst, r->port, pins), r);
	check(o.policy, dw_decide_flow(o.policy, test_floor(), DW_PROTO_UDP, &dst, r->port, pins), r);
	close_policy(&o);
}

struct name_row {
	const char *name;
	const char *allow, *deny;
	bool def;
	const char *host;
	uint16_t port; /* 0: dw_decide_query */
	enum verdict verdict;
	enum dw_reason reason;
	const char *rule;
	enum inspect inspect;
};

/* clang-format off */
static const struct name_row names[] = {
	{ "EC-001 no lists", NULL, NULL, true, "a.test", 443, A, DW_REASON_ALLOW_DEFAULT, "", NOTHING },
	{ "EC-001 no lists, a query", NULL, NULL, true, "a.test", 0, A, DW_REASON_ALLOW_DEFAULT, "", NOTHING },
	{ "EC-001 no lists, default deny", NULL, NULL, false, "a.test", 443, D, DW_REASON_DENY_DEFAULT, "", 0 },
	{ "EC-001 no lists, default deny, a query", NULL, NULL, false, "a.test", 0, D, DW_REASON_DENY_DEFAULT, "", 0 },
	{ "EC-001 empty allow_out", "", NULL, true, "a.test", 443, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "EC-001 empty allow_out, a query", "", NULL, true, "a.test", 0, D, DW_REASON_NAME_NOT_ALLOWED, "", 0 },
	{ "EC-003 only addresses, a query", "1.1.1.1", NULL, true, "a.test", 0, D, DW_REASON_NAME_NOT_ALLOWED, "", 0 },
	{ "a host", "a.test", NULL, true, "a.test", 443, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] a.test", STRICT },
	{ "a host, a query", "a.test", NULL, true, "a.test", 0, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] a.test", STRICT },
	{ "EC-009 an entry in upper case", "A.TEST", NULL, true, "a.test", 443, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] A.TEST", STRICT },
	{ "EC-008 an entry with a dot", "a.test.", NULL, true, "a.test", 443, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] a.test.", STRICT },
	{ "EC-011 a host on its port", "a.test:443", NULL, true, "a.test", 443, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] a.test:443", STRICT },
	{ "EC-011 a host on another port", "a.test:443", NULL, true, "a.test", 80, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "a host on any port, a query", "a.test:443", NULL, true, "a.test", 0, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] a.test:443", STRICT },
	{ "EC-127 one host, two ports", "a.test:5671 a.test:5672", NULL, true, "a.test", 5672, A, DW_REASON_ALLOW_ENTRY, "allow_out[1] a.test:5672", STRICT },
	{ "EC-127 one host, two ports, neither", "a.test:5671 a.test:5672", NULL, true, "a.test", 5673, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "EC-013 a prefix glued on", "allowed.test", NULL, true, "evilallowed.test", 443, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "EC-013 a suffix added", "allowed.test", NULL, true, "allowed.test.evil.test", 443, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "EC-013 a label in front", "allowed.test", NULL, true, "x.allowed.test", 443, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "EC-013 a prefix glued to a wildcard", "*.wild.test", NULL, true, "evilwild.test", 443, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "EC-013 a suffix added to a wildcard", "*.wild.test", NULL, true, "a.wild.test.evil.test", 443, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "EC-013 a hyphen for a dot", "*.wild.test", NULL, true, "a-wild.test", 443, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "EC-013 the top label alone", "allowed.test", NULL, true, "test", 443, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "EC-014 the apex of a wildcard", "*.wild.test", NULL, true, "wild.test", 443, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "EC-014 the apex of a wildcard, a query", "*.wild.test", NULL, true, "wild.test", 0, D, DW_REASON_NAME_NOT_ALLOWED, "", 0 },
	{ "EC-015 one label", "*.wild.test", NULL, true, "a.wild.test", 443, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] *.wild.test", STRICT },
	{ "EC-015 two labels", "*.wild.test", NULL, true, "a.b.wild.test", 443, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] *.wild.test", STRICT },
	{ "EC-015 two labels, a query", "*.wild.test", NULL, true, "a.b.wild.test", 0, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] *.wild.test", STRICT },
	{ "the exact entry is named", "*.a.test *.b.a.test x.b.a.test", NULL, true, "x.b.a.test", 443, A, DW_REASON_ALLOW_ENTRY, "allow_out[2] x.b.a.test", STRICT },
	{ "the longest wildcard is named", "*.a.test *.b.a.test", NULL, true, "x.b.a.test", 443, A, DW_REASON_ALLOW_ENTRY, "allow_out[1] *.b.a.test", STRICT },
	{ "a wildcard has the port that the exact entry lacks", "*.a.test:80 x.a.test:443", NULL, true, "x.a.test", 80, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] *.a.test:80", STRICT },
	{ "a regex", "~api[0-9]+\\.test", NULL, true, "api12.test", 443, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] ~api[0-9]+\\.test", STRICT },
	{ "a regex, a query", "~api[0-9]+\\.test:443", NULL, true, "api12.test", 0, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] ~api[0-9]+\\.test:443", STRICT },
	{ "a regex on another port", "~api[0-9]+\\.test:443", NULL, true, "api12.test", 80, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "a regex matches the whole name, start", "~pi[0-9]+\\.test", NULL, true, "api12.test", 443, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "a regex matches the whole name, end", "~api[0-9]+", NULL, true, "api12.test", 443, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "a regex matches the whole name, alternatives", "~a|api12|b", NULL, true, "api12.test", 443, D, DW_REASON_NOT_IN_ALLOW_OUT, "", 0 },
	{ "a regex in upper case", "~API\\.Test", NULL, true, "api.test", 443, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] ~API\\.Test", STRICT },
	{ "the second regex", "~x ~a\\.test ~a.*", NULL, true, "a.test", 443, A, DW_REASON_ALLOW_ENTRY, "allow_out[1] ~a\\.test", STRICT },
	{ "everything", "*", NULL, false, "a.test", 443, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] *", NOTHING },
	{ "everything, a query", "0.0.0.0/0", NULL, false, "a.test", 0, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] 0.0.0.0/0", NOTHING },
	{ "EC-004 everything and a denied name", "*", "evil.test", true, "evil.test", 443, D, DW_REASON_DENY_ENTRY, "deny_out[0] evil.test", 0 },
	{ "EC-004 everything and a denied name, a query", "*", "evil.test", true, "evil.test", 0, D, DW_REASON_DENY_ENTRY, "deny_out[0] evil.test", 0 },
	{ "EC-004 everything and another name", "*", "evil.test", true, "a.test", 443, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] *", NAMES },
	{ "EC-008 a denied name with a dot", "*", "evil.test.", true, "evil.test", 0, D, DW_REASON_DENY_ENTRY, "deny_out[0] evil.test.", 0 },
	{ "a denied wildcard", NULL, "*.evil.test", true, "a.evil.test", 0, D, DW_REASON_DENY_ENTRY, "deny_out[0] *.evil.test", 0 },
	{ "a denied regex", NULL, "~.*evil.*", true, "an.evil.test", 0, D, DW_REASON_DENY_ENTRY, "deny_out[0] ~.*evil.*", 0 },
	{ "allow beats deny", "a.test", "a.test", true, "a.test", 443, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] a.test", STRICT },
	{ "a wide allow beats a narrow deny", "*.test", "a.test", true, "a.test", 0, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] *.test", STRICT },
	{ "everything denied but a name", "a.test", "*", true, "a.test", 443, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] a.test", STRICT },
	{ "everything denied", NULL, "*", true, "a.test", 443, D, DW_REASON_DENY_ENTRY, "deny_out[0] *", 0 },
	{ "everything denied, a query", NULL, "*", true, "a.test", 0, D, DW_REASON_DENY_ENTRY, "deny_out[0] *", 0 },
	{ "everything denied in two halves, a query", NULL, "*:1-999 *:1000-65535", true, "a.test", 0, D, DW_REASON_DENY_ENTRY, "deny_out[0] *:1-999", 0 },
	{ "everything denied but one port, a query", NULL, "*:1-999 *:1001-65535", true, "a.test", 0, A, DW_REASON_ALLOW_DEFAULT, "", NOTHING },
	{ "one port denied, a query", NULL, "a.test:443", true, "a.test", 0, A, DW_REASON_ALLOW_DEFAULT, "", NAMES },
	{ "all ports denied in parts, a query", NULL, "a.test:1-99 *.test:100-999 ~a.*:1000-65535", true, "a.test", 0, D, DW_REASON_DENY_ENTRY, "deny_out[1] *.test:100-999", 0 },
	{ "all ports but one denied in parts, a query", NULL, "a.test:1-99 *.test:100-998 ~a.*:1000-65535", true, "a.test", 0, A, DW_REASON_ALLOW_DEFAULT, "", NAMES },
	{ "everything on a port and that port denied, a query", "*:443", "a.test:400-500", true, "a.test", 0, D, DW_REASON_DENY_ENTRY, "deny_out[0] a.test:400-500", 0 },
	{ "everything on ports and one denied, a query", "*:443-444", "a.test:443", true, "a.test", 0, A, DW_REASON_ALLOW_ENTRY, "allow_out[0] *:443-444", NAMES },
	{ "an empty name", "*", NULL, true, "", 443, D, DW_REASON_NAME_MALFORMED, "", 0 },
	{ "an empty name, a query", "*", NULL, true, "", 0, D, DW_REASON_NAME_MALFORMED, "", 0 },
};
/* clang-format on */

static void name_or_query(void **state)
{
	const struct name_row *r = *state;
	struct opened o = open_policy(r->allow, r->deny, r->def);
	struct dw_decision d =
		r->port ? dw_decide_name(o.policy, r->host, r->port) : dw_decide_query(o.policy, r->host);
	const struct flow_row as_flow = {
		.verdict = r->verdict, .reason = r->reason, .rule = r->rule, .inspect = r->inspect
	};
	check(o.policy, d, &as_flow);
	close_policy(&o);
}

struct answer_row {
	const char *name;
	const char *allow;
	const char *answer;
	enum dw_reason reason;
};

static const struct answer_row answers[] = {
	{ "a public answer", "a.test", A1, DW_REASON_NONE },
	{ "EC-058 a private answer", "a.test", "10.0.0.1", DW_REASON_PRIVATE_ANSWER },
	{ "EC-058 a ULA answer", "a.test", "fd12::1", DW_REASON_PRIVATE_ANSWER },
	{ "EC-058 loopback", "a.test", "127.0.0.1", DW_REASON_FLOOR_LOOPBACK },
	{ "EC-058 metadata", "a.test", "169.254.169.254", DW_REASON_FLOOR_METADATA },
	{ "EC-058 the host", "a.test", "198.41.0.4", DW_REASON_FLOOR_HOST },
	{ "EC-021 a mapped private answer", "a.test", "::ffff:10.0.0.1", DW_REASON_PRIVATE_ANSWER },
	{ "a private answer with an address entry", "a.test 10.0.0.0/24:5432", "10.0.0.1", DW_REASON_NONE },
	{ "a private answer beside an address entry", "a.test 10.0.0.0/24", "10.0.1.1", DW_REASON_PRIVATE_ANSWER },
	{ "a private answer with everything", "*", "10.0.0.1", DW_REASON_PRIVATE_ANSWER },
	{ "a private answer with half of everything", "a.test 0.0.0.0/1", "10.0.0.1", DW_REASON_PRIVATE_ANSWER },
	{ "an excepted answer", "a.test", "172.16.5.1", DW_REASON_NONE },
	{ "a NAT64 answer", "a.test", "64:ff9b::1.1.1.1", DW_REASON_FLOOR_EMBEDDED },
};

static void answer(void **state)
{
	const struct answer_row *r = *state;
	struct opened o = open_policy(r->allow, NULL, true);
	struct dw_addr a = addr(r->answer);
	assert_string_equal(dw_reason_name(dw_decide_answer(o.policy, test_floor(), &a)), dw_reason_name(r->reason));
	close_policy(&o);
}

static void no_policy(void **state)
{
	struct dw_addr a = addr(A2);
	struct dw_decision d = dw_decide_flow(NULL, NULL, DW_PROTO_TCP, &a, 80, NULL);
	assert_int_equal(d.verdict, DW_DENY);
	assert_int_equal(d.reason, DW_REASON_NO_POLICY);
	assert_int_equal(d.rule, DW_RULE_NONE);
	assert_int_equal(dw_decide_name(NULL, "a.test", 80).reason, DW_REASON_NO_POLICY);
	assert_int_equal(dw_decide_query(NULL, "a.test").reason, DW_REASON_NO_POLICY);
	assert_int_equal(dw_decide_answer(NULL, NULL, &a), DW_REASON_NO_POLICY);
}

static void protocols(void **state)
{
	struct opened o = open_policy("*", NULL, true);
	struct dw_addr a = addr(A2), unset = { 0 }, odd = { .family = 9 }, loop = addr("127.0.0.1");
	static const enum dw_proto others[] = { DW_PROTO_NONE, DW_PROTO_ICMP, DW_PROTO_DNS, DW_PROTO_OTHER };
	for (size_t i = 0; i < DW_COUNT(others); i++) {
		assert_int_equal(dw_decide_flow(o.policy, NULL, others[i], &a, 0, NULL).reason,
				 DW_REASON_PROTOCOL_UNSUPPORTED);
		assert_int_equal(dw_decide_flow(o.policy, NULL, others[i], &loop, 0, NULL).reason,
				 DW_REASON_FLOOR_LOOPBACK);
	}
	assert_int_equal(dw_decide_flow(o.policy, NULL, DW_PROTO_TCP, &unset, 80, NULL).reason,
			 DW_REASON_FLOOR_RESERVED);
	assert_int_equal(dw_decide_flow(o.policy, NULL, DW_PROTO_TCP, &odd, 80, NULL).reason, DW_REASON_FLOOR_RESERVED);
	close_policy(&o);
}

/* A mapped address in its raw 16 bytes, as a careless caller might hand it over. */
static void raw_mapped(void **state)
{
	struct opened o = open_policy(A2 " 10.0.0.1", NULL, true);
	struct dw_addr raw = { .family = DW_AF_6, .b = { [10] = 0xff, [11] = 0xff, 1, 1, 1, 1 } };
	assert_int_equal(dw_decide_flow(o.policy, NULL, DW_PROTO_TCP, &raw, 80, NULL).verdict, DW_ALLOW);
	raw.b[12] = 127;
	assert_int_equal(dw_decide_flow(o.policy, NULL, DW_PROTO_TCP, &raw, 80, NULL).reason, DW_REASON_FLOOR_LOOPBACK);
	close_policy(&o);
}

static void longest_names(void **state)
{
	struct opened o = open_policy("*.a", NULL, true);
	char name[300];
	for (size_t i = 0; i < sizeof(name); i++)
		name[i] = i % 2 ? '.' : 'a';
	name[253] = '\0';
	assert_int_equal(dw_decide_query(o.policy, name).verdict, DW_ALLOW);
	name[253] = '.';
	name[254] = '\0';
	assert_int_equal(dw_decide_query(o.policy, name).reason, DW_REASON_NAME_MALFORMED);
	assert_int_equal(dw_decide_name(o.policy, name, 80).reason, DW_REASON_NAME_MALFORMED);
	close_policy(&o);
}

/* A flow costs no more for an address that thousands of names were pinned to; the one that was just asked for counts. */
static void many_names_of_one_address(void **state)
{
	struct opened o = open_policy("a.test:443", NULL, true);
	DW_AUTO(dw_pins_free) struct dw_pins *pins = pins_of("a.test=9.9.9.9");
	struct dw_addr dst = addr("9.9.9.9");
	char name[32];
	for (unsigned i = 0; i < DW_PINS_WALK_MAX; i++) {
		struct dw_decision d = dw_decide_flow(o.policy, test_floor(), DW_PROTO_TCP, &dst, 443, pins);
		assert_int_equal(d.verdict, DW_ALLOW_BY_NAME);
		snprintf(name, sizeof(name), "n%u.test", i);
		assert_true(dw_pins_add(pins, name, &dst, 1));
	}
	struct dw_decision d = dw_decide_flow(o.policy, test_floor(), DW_PROTO_TCP, &dst, 443, pins);
	assert_int_equal(d.reason, DW_REASON_NOT_IN_ALLOW_OUT);
	assert_true(dw_pins_add(pins, "a.test", &dst, 1));
	d = dw_decide_flow(o.policy, test_floor(), DW_PROTO_TCP, &dst, 443, pins);
	assert_int_equal(d.verdict, DW_ALLOW_BY_NAME);
	close_policy(&o);
}

int main(void)
{
	static struct rows r;
	ADD_ROWS(&r, flows, flow);
	ADD_ROWS(&r, names, name_or_query);
	ADD_ROWS(&r, answers, answer);
	add_row(&r, "no policy", no_policy, NULL);
	add_row(&r, "protocols", protocols, NULL);
	add_row(&r, "EC-021 raw mapped bytes", raw_mapped, NULL);
	add_row(&r, "an address with many names", many_names_of_one_address, NULL);
	add_row(&r, "names of 127 labels", longest_names, NULL);
	return run_rows("decide", &r);
}
