/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"
#include "support.h"

#include <ctype.h>

struct row {
	const char *name;
	const char *allow, *deny;
	const char *dst;
	uint16_t port;
	const char *sentence;
};

/* clang-format off */
static const struct row rows[] = {
	{ "allowed by an entry", "1.1.1.0/24:443", NULL, "1.1.1.1", 443,
	  "TARGET is allowed: an allow_out entry covers it (allow_out[0] 1.1.1.0/24:443)." },
	{ "allowed by default", NULL, NULL, "1.1.1.1", 443,
	  "TARGET is allowed: no entry denies it and the default is to allow." },
	{ "not in allow_out", "a.test", NULL, "1.1.1.1", 80,
	  "TARGET was refused: no entry of allow_out covers it; add the host name, address or CIDR to network.allow_out to open it." },
	{ "denied by an entry", NULL, "1.1.1.1", "1.1.1.1", 80,
	  "TARGET was refused: a deny_out entry covers it (deny_out[0] 1.1.1.1); remove or narrow that entry, or add a narrower one to network.allow_out." },
	{ "below the floor", "*", NULL, "169.254.169.254", 80,
	  "TARGET was refused: it is a cloud metadata service; no policy can open it." },
	{ "private", "*", NULL, "10.0.0.1", 80,
	  "TARGET was refused: it is a private address, which only an address or CIDR entry inside the private range opens, for its port; add the address, or a private CIDR around it, to network.allow_out." },
};
/* clang-format on */

static void sentence(void **state)
{
	const struct row *r = *state;
	struct opened o = open_policy(r->allow, r->deny, true);
	struct dw_addr a = addr(r->dst);
	struct dw_decision d = dw_decide_flow(o.policy, NULL, DW_PROTO_TCP, &a, r->port, NULL);
	char buf[512];
	assert_string_equal(dw_explain(o.policy, &d, "TARGET", buf, sizeof(buf)), r->sentence);
	close_policy(&o);
}

/* Every reason has a word of its own, in snake_case, and a sentence. */
static void every_reason(void **state)
{
	for (int i = 0; i < DW_REASON__COUNT; i++) {
		const char *word = dw_reason_name((enum dw_reason)i);
		assert_true(strlen(word) > 2);
		for (const char *c = word; *c; c++)
			assert_true(islower((unsigned char)*c) || *c == '_');
		for (int j = 0; j < i; j++)
			assert_string_not_equal(word, dw_reason_name((enum dw_reason)j));
		char buf[512];
		struct dw_decision d = { .reason = (enum dw_reason)i, .rule = DW_RULE_NONE };
		dw_explain(NULL, &d, "x", buf, sizeof(buf));
		assert_memory_equal(buf, "x was refused: ", 15);
		assert_int_equal(buf[strlen(buf) - 1], '.');
		assert_true(strlen(buf) < 400);
	}
	assert_string_equal(dw_reason_name(DW_REASON__COUNT), "none");
	assert_string_equal(dw_reason_name((enum dw_reason) - 1), "none");
}

static void small_buffers(void **state)
{
	struct opened o = open_policy("a.test", NULL, true);
	struct dw_decision d = dw_decide_name(o.policy, "a.test", 80);
	char buf[16];
	for (size_t n = 1; n <= sizeof(buf); n++) {
		memset(buf, 'x', sizeof(buf));
		dw_explain(o.policy, &d, "a", buf, n);
		assert_true(strlen(buf) < n);
		memset(buf, 'x', sizeof(buf));
		dw_policy_rule_text(o.policy, d.rule, buf, n);
		assert_true(strlen(buf) < n);
	}
	assert_string_equal(dw_explain(o.policy, &d, "a", buf, 0), "");
	assert_string_equal(dw_policy_rule_text(o.policy, DW_RULE_NONE, buf, sizeof(buf)), "");
	assert_string_equal(dw_policy_rule_text(o.policy, 1, buf, sizeof(buf)), "");
	assert_string_equal(dw_policy_rule_text(NULL, 0, buf, sizeof(buf)), "");
	close_policy(&o);
}

int main(void)
{
	static struct rows r;
	ADD_ROWS(&r, rows, sentence);
	add_row(&r, "every reason", every_reason, NULL);
	add_row(&r, "small buffers", small_buffers, NULL);
	return run_rows("explain", &r);
}
