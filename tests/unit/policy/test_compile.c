/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"
#include "support.h"

struct row {
	const char *name;
	const char *allow, *deny;
	const char *message; /* NULL: accepted */
};

/* clang-format off */
static const struct row rows[] = {
	{ "nothing at all", NULL, NULL, NULL },
	{ "the list and the index are named", "a.test b.test *foo.com", NULL,
	  "network.allow_out[2]: \"*foo.com\": a '*' may only stand alone or be the whole first label, as in *.example.com" },
	{ "deny_out is named", "a.test", "b.test a:b:c",
	  "network.deny_out[1]: \"a:b:c\": more than one ':' (host:port, or [address]:port for an IPv6 address with a port)" },
	{ "what is hostile is escaped", "a\"\\\033[31m.test", NULL,
	  "network.allow_out[0]: \"a\\\"\\\\\\x1b[31m.test\": a control character" },
	{ "what is long is shortened", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL,
	  "network.allow_out[0]: \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...\": a label of more than 63 characters" },
	{ "a bad regex", "~(a+)+", NULL,
	  "network.allow_out[0]: \"~(a+)+\": a repeat around a repeat, such as (a+)+ (to cover any depth of labels write *.host, or [a-z0-9.-]+)" },
	{ "a slow regex", "~(a|a)*b", NULL,
	  "network.allow_out[0]: \"~(a|a)*b\": a regular expression that takes too long on some names (fewer or narrower repeats would help)" },
	{ "a regex that PCRE2 refuses", "~[z-a]", NULL,
	  "network.allow_out[0]: \"~[z-a]\": range out of order in character class" },
	{ "EC-005 loopback", "127.0.0.1", NULL,
	  "network.allow_out[0]: \"127.0.0.1\": no policy can open loopback, reserved, embedded-IPv4 or sandbox addresses" },
	{ "EC-005 IPv6 loopback", "[::1]:80", NULL,
	  "network.allow_out[0]: \"[::1]:80\": no policy can open loopback, reserved, embedded-IPv4 or sandbox addresses" },
	{ "EC-005 a sandbox", "100.112.0.5", NULL,
	  "network.allow_out[0]: \"100.112.0.5\": no policy can open loopback, reserved, embedded-IPv4 or sandbox addresses" },
	{ "EC-005 mapped loopback", "::ffff:127.0.0.1", NULL,
	  "network.allow_out[0]: \"::ffff:127.0.0.1\": no policy can open loopback, reserved, embedded-IPv4 or sandbox addresses" },
	{ "multicast", "224.0.0.0/4", NULL,
	  "network.allow_out[0]: \"224.0.0.0/4\": no policy can open loopback, reserved, embedded-IPv4 or sandbox addresses" },
	{ "the floor may be denied", NULL, "127.0.0.1 ::1 100.112.0.5 169.254.0.0/16 224.0.0.0/4", NULL },
	{ "link-local and metadata may be excepted", "169.254.0.0/16 169.254.169.254 100.100.100.200", NULL, NULL },
	{ "one key many times", "a.test a.test A.TEST a.test:80 a.test:70-90 a.test.", "a.test", NULL },
};
/* clang-format on */

static void compile(void **state)
{
	const struct row *r = *state;
	struct lists a = { .n = 0 }, d = { .n = 0 };
	split(r->allow ? r->allow : "", &a);
	split(r->deny ? r->deny : "", &d);
	struct dw_policy_spec spec = { a.entry, a.n, r->allow != NULL, d.entry, d.n, true };
	dw_autofree void *image = NULL;
	size_t len = 0;
	struct dw_err err = { 0 };
	int ret = dw_policy_compile(&spec, &image, &len, &err);
	assert_string_equal(err.message, r->message ? r->message : "");
	assert_int_equal(ret, r->message ? -1 : 0);
	if (!r->message)
		return;
	assert_null(image);
	assert_int_equal(len, 0);
	assert_int_equal(err.kind, DW_ERR_INVALID);
	assert_string_equal(err.code, "invalid_network_entry");
	assert_int_equal(dw_policy_compile(&spec, &image, &len, NULL), -1);
}

static void refused(const struct dw_policy_spec *spec, const char *code, const char *message)
{
	dw_autofree void *image = NULL;
	size_t len = 0;
	struct dw_err err = { 0 };
	assert_int_equal(dw_policy_compile(spec, &image, &len, &err), -1);
	assert_string_equal(err.code, code);
	assert_string_equal(err.message, message);
	assert_null(image);
}

static void limits(void **state)
{
	static const char *entries[DW_POLICY_MAX_ENTRIES + 1];
	for (size_t i = 0; i < DW_COUNT(entries); i++)
		entries[i] = "a.test";
	refused(&(struct dw_policy_spec){ .allow = entries, .allow_n = DW_COUNT(entries), .allow_present = true },
		"network_policy_too_large",
		"network: 100001 entries in allow_out and deny_out together; the limit is 100000");
	refused(&(struct dw_policy_spec){ entries, 1, true, entries, DW_POLICY_MAX_ENTRIES, true },
		"network_policy_too_large",
		"network: 100001 entries in allow_out and deny_out together; the limit is 100000");
	for (size_t i = 0; i < 65; i++)
		entries[i] = "~a";
	refused(&(struct dw_policy_spec){ .allow = entries, .allow_n = 65, .allow_present = true },
		"network_policy_too_large", "network.allow_out[64]: more than 64 regular expressions in one policy");
	entries[0] = NULL;
	refused(&(struct dw_policy_spec){ .allow = entries, .allow_n = 1, .allow_present = true },
		"invalid_network_entry", "network.allow_out[0]: \"\": a missing entry");
	entries[0] = "";
	refused(&(struct dw_policy_spec){ .deny = entries, .deny_n = 1 }, "invalid_network_entry",
		"network.deny_out[0]: \"\": an empty entry");
}

/* A list that is said to be absent is not read. */
static void absent(void **state)
{
	const char *const entries[] = { "not a host" };
	dw_autofree void *image = NULL;
	size_t len = 0;
	struct dw_policy_spec spec = { .allow = entries, .allow_n = 1, .allow_present = false };
	assert_int_equal(dw_policy_compile(&spec, &image, &len, NULL), 0);
}

/* The same lists give the same bytes. */
static void reproducible(void **state)
{
	const char *const allow[] = { "a.test", "*.b.test:80", "10.0.0.0/8", "~x.*", "*:443" };
	struct dw_policy_spec spec = { allow, DW_COUNT(allow), true, allow, DW_COUNT(allow), true };
	dw_autofree void *one = NULL, *two = NULL;
	size_t one_n = 0, two_n = 0;
	assert_int_equal(dw_policy_compile(&spec, &one, &one_n, NULL), 0);
	assert_int_equal(dw_policy_compile(&spec, &two, &two_n, NULL), 0);
	assert_int_equal(one_n, two_n);
	assert_memory_equal(one, two, one_n);
}

int main(void)
{
	static struct rows r;
	ADD_ROWS(&r, rows, compile);
	add_row(&r, "limits", limits, NULL);
	add_row(&r, "an absent list is not read", absent, NULL);
	add_row(&r, "reproducible", reproducible, NULL);
	return run_rows("compile", &r);
}
