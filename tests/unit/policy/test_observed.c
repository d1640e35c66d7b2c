/* SPDX-License-Identifier: Apache-2.0 */
/* A policy that only observes, what it still refuses, and the switches and kinds of entries that others ask the policy about. */
#include "rows.h"
#include "support.h"

#define A1       "93.184.216.34"
#define A2       "1.1.1.1"
#define METADATA "169.254.169.254"
#define PRIVATE  "10.1.2.3"

static struct opened open_with(const char *allow, const char *deny, bool reject, bool observe)
{
	struct lists a = { .n = 0 }, d = { .n = 0 };
	split(allow ? allow : "", &a);
	split(deny ? deny : "", &d);
	const struct dw_policy_spec spec = {
		.allow = a.entry,
		.allow_n = a.n,
		.allow_present = allow != NULL,
		.deny = d.entry,
		.deny_n = d.n,
		.default_allow = true,
		.reject = reject,
		.observe = observe,
	};
	struct opened o = { NULL, NULL };
	struct dw_err err = { 0 };
	size_t n;
	if (dw_policy_compile(&spec, &o.image, &n, &err) != 0 || dw_policy_open(o.image, n, &o.policy, &err) != 0)
		fail_msg("%s", err.message);
	return o;
}

/* What a flow comes to under a policy that observes. */
struct flow_row {
	const char *name;
	const char *allow, *deny;
	const char *pins;
	const char *dst;
	uint16_t port;
	const char *exception;
	enum dw_verdict verdict;
	enum dw_reason reason, would;
	enum dw_inspect inspect;
	const char *rule;
};

/* clang-format off */
static const struct flow_row flows[] = {
	{ "an address that no entry covers", A1, NULL, NULL, A2, 80, NULL, DW_ALLOW, DW_REASON_OBSERVED, DW_REASON_NOT_IN_ALLOW_OUT, DW_INSPECT_OBSERVE, "" },
	{ "an address that an entry denies", NULL, A2, NULL, A2, 80, NULL, DW_ALLOW, DW_REASON_OBSERVED, DW_REASON_DENY_ENTRY, DW_INSPECT_OBSERVE, "deny_out[0] " A2 },
	{ "absent lists count as an empty allow_out", NULL, NULL, NULL, A2, 80, NULL, DW_ALLOW, DW_REASON_OBSERVED, DW_REASON_NOT_IN_ALLOW_OUT, DW_INSPECT_OBSERVE, "" },
	{ "an address that an entry allows", A2, NULL, NULL, A2, 80, NULL, DW_ALLOW, DW_REASON_ALLOW_ENTRY, DW_REASON_NONE, DW_INSPECT_NONE, "allow_out[0] " A2 },
	{ "another port of an entry", A2 ":443", NULL, NULL, A2, 80, NULL, DW_ALLOW, DW_REASON_OBSERVED, DW_REASON_NOT_IN_ALLOW_OUT, DW_INSPECT_OBSERVE, "" },
	{ "an address by its name is looked at", "a.test", NULL, "a.test=" A2, A2, 443, NULL, DW_ALLOW_BY_NAME, DW_REASON_ALLOW_NAME, DW_REASON_NONE, DW_INSPECT_OBSERVE, "allow_out[0] a.test" },
	{ "everything with denied names", "*", "evil.test", NULL, A2, 443, NULL, DW_ALLOW, DW_REASON_ALLOW_ENTRY, DW_REASON_NONE, DW_INSPECT_DENY_NAMES, "allow_out[0] *" },
	{ "everything: its names are looked at", "*", NULL, NULL, A2, 443, NULL, DW_ALLOW, DW_REASON_ALLOW_ENTRY, DW_REASON_NONE, DW_INSPECT_DENY_NAMES, "allow_out[0] *" },
	{ "metadata stays closed", A1, NULL, NULL, METADATA, 80, NULL, DW_DENY, DW_REASON_FLOOR_METADATA, DW_REASON_NONE, 0, "" },
	{ "loopback stays closed", A1, NULL, NULL, "127.0.0.1", 80, NULL, DW_DENY, DW_REASON_FLOOR_LOOPBACK, DW_REASON_NONE, 0, "" },
	{ "sandboxes stay closed", A1, NULL, NULL, "100.112.0.9", 80, NULL, DW_DENY, DW_REASON_FLOOR_SANDBOX, DW_REASON_NONE, 0, "" },
	{ "private addresses stay closed", A1, NULL, NULL, PRIVATE, 80, NULL, DW_DENY, DW_REASON_PRIVATE_ADDRESS, DW_REASON_NONE, 0, "" },
	{ "private addresses that an entry denies stay closed", NULL, PRIVATE, NULL, PRIVATE, 80, NULL, DW_DENY, DW_REASON_PRIVATE_ADDRESS, DW_REASON_NONE, 0, "deny_out[0] " PRIVATE },
	{ "a private address that an entry opens", PRIVATE, NULL, NULL, PRIVATE, 80, NULL, DW_ALLOW, DW_REASON_ALLOW_ENTRY, DW_REASON_NONE, DW_INSPECT_NONE, "allow_out[0] " PRIVATE },
	{ "a private address that the operator excepts", A1, NULL, NULL, PRIVATE, 80, "10.0.0.0/8", DW_ALLOW, DW_REASON_OBSERVED, DW_REASON_NOT_IN_ALLOW_OUT, DW_INSPECT_OBSERVE, "" },
	{ "IPv4 in IPv6 is the IPv4 address", A1, NULL, NULL, "::ffff:" PRIVATE, 80, NULL, DW_DENY, DW_REASON_PRIVATE_ADDRESS, DW_REASON_NONE, 0, "" },
};
/* clang-format on */

static void flow(void **state)
{
	const struct flow_row *r = *state;
	struct opened o = open_with(r->allow, r->deny, false, true);
	struct dw_pins *pins = pins_of(r->pins);
	const struct dw_prefix exception = prefix(r->exception ? r->exception : "192.168.0.0/16");
	const struct dw_floor floor = { .exceptions = &exception, .exceptions_n = 1 };
	const struct dw_addr dst = addr(r->dst);
	char rule[128];

	struct dw_decision d = dw_decide_flow(o.policy, &floor, DW_PROTO_TCP, &dst, r->port, pins);
	d = dw_decide_observed(o.policy, &floor, &dst, d);
	assert_int_equal(d.verdict, r->verdict);
	assert_int_equal(d.reason, r->reason);
	assert_int_equal(d.would, r->would);
	if (d.verdict != DW_DENY)
		assert_int_equal(d.inspect, r->inspect);
	assert_string_equal(dw_policy_rule_text(o.policy, d.rule, rule, sizeof(rule)), r->rule);
	if (pins)
		dw_pins_free(pins);
	close_policy(&o);
}

/* Every reason: which refusals pass when a policy observes, and that none does under any other. */
static void every_reason(void **state)
{
	static const enum dw_reason pass[] = {
		DW_REASON_NOT_IN_ALLOW_OUT, DW_REASON_DENY_ENTRY,
		DW_REASON_DENY_DEFAULT,     DW_REASON_NAME_NOT_ALLOWED,
		DW_REASON_SNI_MISSING,      DW_REASON_SNI_NOT_ALLOWED,
		DW_REASON_SNI_MISMATCH,     DW_REASON_ECH,
		DW_REASON_TLS_MALFORMED,    DW_REASON_TLS_REQUIRED,
		DW_REASON_HTTP_REQUIRED,    DW_REASON_HTTP_MALFORMED,
		DW_REASON_HOST_MISSING,     DW_REASON_HOST_NOT_ALLOWED,
		DW_REASON_HOST_MISMATCH,    DW_REASON_HTTP_METHOD,
		DW_REASON_HTTP_UPGRADE,     DW_REASON_UNDECIDED,
		DW_REASON_PROXY_HEADER,     DW_REASON_QUIC_REQUIRED,
		DW_REASON_QUIC_MALFORMED,
	};
	struct opened observes = open_with("a.test", NULL, false, true);
	struct opened enforces = open_with("a.test", NULL, true, false);
	const struct dw_addr dst = addr(A2), private = addr(PRIVATE), below = addr(METADATA);

	for (int i = 0; i < DW_REASON__COUNT; i++) {
		const struct dw_decision d = { .reason = (enum dw_reason)i, .rule = 0 };
		bool passes = false;
		for (size_t j = 0; j < DW_COUNT(pass); j++)
			passes = passes || pass[j] == d.reason;
		struct dw_decision seen = dw_decide_observed(observes.policy, NULL, &dst, d);
		assert_int_equal(seen.verdict, passes ? DW_ALLOW : DW_DENY);
		assert_int_equal(seen.reason, passes ? DW_REASON_OBSERVED : d.reason);
		assert_int_equal(seen.would, passes ? d.reason : DW_REASON_NONE);
		assert_int_equal(seen.rule, 0);
		assert_int_equal(dw_decide_observed(observes.policy, NULL, NULL, d).verdict, seen.verdict);
		assert_int_equal(dw_decide_observed(observes.policy, NULL, &private, d).verdict, DW_DENY);
		assert_int_equal(dw_decide_observed(observes.policy, NULL, &below, d).verdict, DW_DENY);
		seen = dw_decide_observed(enforces.policy, NULL, &dst, d);
		assert_int_equal(seen.verdict, DW_DENY);
		assert_int_equal(seen.reason, d.reason);
		assert_int_equal(dw_decide_observed(NULL, NULL, &dst, d).verdict, DW_DENY);
	}
	close_policy(&observes);
	close_policy(&enforces);
}

static void names(void **state)
{
	struct opened o = open_with("a.test *.b.test:443", "c.test", false, true);
	struct dw_decision d = dw_decide_observed(o.policy, NULL, NULL, dw_decide_query(o.policy, "other.test"));
	assert_int_equal(d.reason, DW_REASON_OBSERVED);
	assert_int_equal(d.would, DW_REASON_NAME_NOT_ALLOWED);
	d = dw_decide_observed(o.policy, NULL, NULL, dw_decide_query(o.policy, "c.test"));
	assert_int_equal(d.would, DW_REASON_DENY_ENTRY);
	d = dw_decide_observed(o.policy, NULL, NULL, dw_decide_query(o.policy, ""));
	assert_int_equal(d.verdict, DW_DENY);
	assert_int_equal(d.reason, DW_REASON_NAME_MALFORMED);
	d = dw_decide_observed(o.policy, NULL, NULL, dw_decide_name(o.policy, "x.b.test", 443));
	assert_int_equal(d.reason, DW_REASON_ALLOW_ENTRY);
	assert_int_equal(d.inspect, DW_INSPECT_OBSERVE);
	d = dw_decide_observed(o.policy, NULL, NULL, dw_decide_name(o.policy, "x.b.test", 80));
	assert_int_equal(d.would, DW_REASON_NOT_IN_ALLOW_OUT);
	close_policy(&o);
}

static void switches(void **state)
{
	for (int i = 0; i < 4; i++) {
		struct opened o = open_with("a.test", NULL, i & 1, i & 2);
		assert_int_equal(dw_policy_rejects(o.policy), (i & 1) != 0);
		assert_int_equal(dw_policy_observes(o.policy), (i & 2) != 0);
		close_policy(&o);
	}
	assert_false(dw_policy_rejects(NULL));
	assert_false(dw_policy_observes(NULL));
}

static void patterns(void **state)
{
	struct opened o =
		open_with("a.test *.b.test ~c[0-9]+\\.test 1.1.1.0/24 * *.b.test:443", "*.d.test d.test", false, false);
	static const bool want[] = { false, true, true, false, false, true, true, false };
	for (uint32_t i = 0; i < DW_COUNT(want); i++)
		assert_int_equal(dw_policy_rule_is_pattern(o.policy, i), want[i]);
	assert_false(dw_policy_rule_is_pattern(o.policy, (uint32_t)DW_COUNT(want)));
	assert_false(dw_policy_rule_is_pattern(o.policy, DW_RULE_NONE));
	assert_false(dw_policy_rule_is_pattern(NULL, 0));
	/* The rule that a decision names is the one to ask about. */
	assert_true(dw_policy_rule_is_pattern(o.policy, dw_decide_query(o.policy, "x.b.test").rule));
	assert_true(dw_policy_rule_is_pattern(o.policy, dw_decide_query(o.policy, "c12.test").rule));
	assert_false(dw_policy_rule_is_pattern(o.policy, dw_decide_query(o.policy, "a.test").rule));
	close_policy(&o);
}

static void sentences(void **state)
{
	struct opened o = open_with("a.test", "1.1.1.1:80", false, true);
	const struct dw_addr dst = addr(A2), other = addr(A1);
	char buf[512];
	struct dw_decision d = dw_decide_flow(o.policy, NULL, DW_PROTO_TCP, &dst, 80, NULL);
	d = dw_decide_observed(o.policy, NULL, &dst, d);
	assert_string_equal(dw_explain(o.policy, &d, "TARGET", buf, sizeof(buf)),
			    "TARGET is only observed and would have been refused: a deny_out entry covers it "
			    "(deny_out[0] 1.1.1.1:80); remove or narrow that entry, or add a narrower one to "
			    "network.allow_out.");
	d = dw_decide_flow(o.policy, NULL, DW_PROTO_TCP, &other, 80, NULL);
	d = dw_decide_observed(o.policy, NULL, &other, d);
	assert_string_equal(dw_explain(o.policy, &d, "TARGET", buf, sizeof(buf)),
			    "TARGET is only observed and would have been refused: no entry of allow_out covers it; "
			    "add the host name, address or CIDR to network.allow_out to open it.");
	close_policy(&o);
}

int main(void)
{
	static struct rows r;
	ADD_ROWS(&r, flows, flow);
	add_row(&r, "every reason", every_reason, NULL);
	add_row(&r, "names", names, NULL);
	add_row(&r, "switches", switches, NULL);
	add_row(&r, "patterns", patterns, NULL);
	add_row(&r, "sentences", sentences, NULL);
	return run_rows("observed", &r);
}
