/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include "daemon/options.h"

struct row {
	const char *name;
	const char *argv[8];
	const char *env[8]; /* name, value, ... */
	enum options_result want;
	const char *message; /* part of it */
	const char *listen, *resolvers, *privates, *uplink, *key_file;
	bool deny;
};

/* clang-format off */
static const struct row rows[] = {
	{ "defaults", {0}, {0}, OPTIONS_RUN, NULL, "127.0.0.1:8080", "", "", "", "/var/lib/declaw/api-key" },
	{ "IPv6 listen", {"--listen", "[::1]:0"}, {0}, OPTIONS_RUN, NULL, "[::1]:0" },
	{ "value after =", {"--listen=0.0.0.0:99"}, {0}, OPTIONS_RUN, NULL, "0.0.0.0:99" },
	{ "listen without a port", {"--listen", "127.0.0.1"}, {0}, OPTIONS_BAD, "--listen" },
	{ "listen on a name", {"--listen", "localhost:80"}, {0}, OPTIONS_BAD, "--listen" },
	{ "listen port too large", {"--listen", "127.0.0.1:65536"}, {0}, OPTIONS_BAD, "--listen" },
	{ "listen bare IPv6", {"--listen", "::1:80"}, {0}, OPTIONS_BAD, "--listen" },
	{ "IPv4 in brackets", {"--listen", "[127.0.0.1]:80"}, {0}, OPTIONS_BAD, "--listen" },
	{ "key file follows data", {"--data", "/x"}, {0}, OPTIONS_RUN, NULL, NULL, NULL, NULL, NULL, "/x/api-key" },
	{ "key file of its own", {"--data", "/x", "--api-key-file", "/k"}, {0}, OPTIONS_RUN, NULL, NULL, NULL, NULL, NULL, "/k" },
	{ "empty data", {"--data", ""}, {0}, OPTIONS_BAD, "--data" },
	{ "resolvers", {"--resolver", "9.9.9.9", "--resolver=[2620:fe::fe]:5353", "--resolver", "::1"}, {0}, OPTIONS_RUN, NULL,
	  NULL, "9.9.9.9:53 [2620:fe::fe]:5353 [::1]:53 " },
	{ "resolver port 0", {"--resolver", "9.9.9.9:0"}, {0}, OPTIONS_BAD, "--resolver" },
	{ "resolver by name", {"--resolver", "dns.quad9.net"}, {0}, OPTIONS_BAD, "--resolver" },
	{ "uplink by name", {"--uplink-netns", "up"}, {0}, OPTIONS_RUN, NULL, NULL, NULL, NULL, "/run/netns/up" },
	{ "uplink by path", {"--uplink-netns", "./up"}, {0}, OPTIONS_RUN, NULL, NULL, NULL, NULL, "./up" },
	{ "uplink ..", {"--uplink-netns", ".."}, {0}, OPTIONS_BAD, "--uplink-netns" },
	{ "default egress deny", {"--default-egress", "deny"}, {0}, OPTIONS_RUN, .deny = true },
	{ "default egress other", {"--default-egress", "maybe"}, {0}, OPTIONS_BAD, "allow or deny" },
	{ "allow private", {"--allow-private", "10.1.2.3/8", "--allow-private", "192.168.1.1"}, {0}, OPTIONS_RUN, NULL, NULL, NULL,
	  "10.0.0.0/8 192.168.1.1/32 " },
	{ "allow private wrong", {"--allow-private", "10.0.0.0/33"}, {0}, OPTIONS_BAD, "--allow-private" },
	{ "a limit of 0", {"--limit-flows", "0"}, {0}, OPTIONS_BAD, "--limit-flows: \"0\" must be a whole number between 1 and 16384" },
	{ "a limit too high", {"--limit-names-per-minute=100001"}, {0}, OPTIONS_BAD, "--limit-names-per-minute" },
	{ "a limit of letters", {"--limit-bytes", "1G"}, {0}, OPTIONS_BAD, "--limit-bytes" },
	{ "a limit's variable", {0}, {"DECLAW_LIMIT_HALF_OPEN", "x"}, OPTIONS_BAD, "DECLAW_LIMIT_HALF_OPEN" },
	{ "no IPv6 takes no value", {"--no-ipv6=1"}, {0}, OPTIONS_BAD, "--no-ipv6=1" },
	{ "no IPv6 of another word", {0}, {"DECLAW_NO_IPV6", "yes"}, OPTIONS_BAD, "DECLAW_NO_IPV6" },
	{ "strict security takes no value", {"--strict-security=1"}, {0}, OPTIONS_BAD, "--strict-security=1" },
	{ "strict security of another word", {0}, {"DECLAW_STRICT_SECURITY", "on"}, OPTIONS_BAD, "DECLAW_STRICT_SECURITY" },
	{ "unknown option", {"--frob"}, {0}, OPTIONS_BAD, "--frob" },
	{ "a plain word", {"frob"}, {0}, OPTIONS_BAD, "frob" },
	{ "value missing", {"--listen"}, {0}, OPTIONS_BAD, "--listen needs" },
	{ "value for a flag", {"--help=1"}, {0}, OPTIONS_BAD, "--help=1" },
	{ "help", {"--help"}, {0}, OPTIONS_HELP },
	{ "version", {"--version"}, {0}, OPTIONS_VERSION },
	{ "variables", {0}, {"DECLAW_LISTEN", "127.0.0.2:1", "DECLAW_RESOLVER", "1.1.1.1,[::1]:54", "DECLAW_DEFAULT_EGRESS", "deny"},
	  OPTIONS_RUN, NULL, "127.0.0.2:1", "1.1.1.1:53 [::1]:54 ", .deny = true },
	{ "an option wins over its variable", {"--resolver", "9.9.9.9"}, {"DECLAW_RESOLVER", "1.1.1.1,8.8.8.8"}, OPTIONS_RUN, NULL,
	  NULL, "9.9.9.9:53 " },
	{ "empty variable is none", {0}, {"DECLAW_RESOLVER", ""}, OPTIONS_RUN, NULL, NULL, "" },
	{ "wrong variable is named", {0}, {"DECLAW_ALLOW_PRIVATE", "10.0.0.0/8,x"}, OPTIONS_BAD, "DECLAW_ALLOW_PRIVATE" },
	{ "wrong variable under an option", {"--listen", "127.0.0.1:1"}, {"DECLAW_LISTEN", "x"}, OPTIONS_RUN },
};
/* clang-format on */

static const struct row *current;

static const char *env(const char *name)
{
	for (size_t i = 0; i + 1 < 8 && current->env[i]; i += 2)
		if (strcmp(current->env[i], name) == 0)
			return current->env[i + 1];
	return NULL;
}

static void check_lists(const struct row *r, const struct options *o)
{
	char text[512] = "", one[OPTIONS_ENDPOINT_STRLEN];
	for (size_t i = 0; i < o->resolver_n; i++) {
		strcat(text, options_format_endpoint(&o->resolver[i], one));
		strcat(text, " ");
	}
	if (r->resolvers)
		assert_string_equal(text, r->resolvers);
	text[0] = '\0';
	for (size_t i = 0; i < o->allow_private_n; i++) {
		strcat(text, dw_prefix_format(&o->allow_private[i], one));
		strcat(text, " ");
	}
	if (r->privates)
		assert_string_equal(text, r->privates);
}

static void check(void **state)
{
	const struct row *r = *state;
	static struct options o;
	struct dw_err err = { 0 };
	char *argv[10] = { (char[]){ "declawd" } };
	char text[OPTIONS_ENDPOINT_STRLEN];
	int argc = 1;
	for (; argc < 9 && r->argv[argc - 1]; argc++)
		argv[argc] = (char *)(uintptr_t)r->argv[argc - 1];
	current = r;
	assert_int_equal(options_parse(&o, argc, argv, env, &err), r->want);
	if (r->message)
		assert_non_null(strstr(err.message, r->message));
	if (r->want != OPTIONS_RUN)
		return;
	if (r->listen)
		assert_string_equal(options_format_endpoint(&o.listen, text), r->listen);
	if (r->uplink)
		assert_string_equal(o.uplink_netns, r->uplink);
	if (r->key_file)
		assert_string_equal(o.api_key_file, r->key_file);
	assert_int_equal(o.default_allow, !r->deny);
	check_lists(r, &o);
}

static void resolv_conf(void **state)
{
	static struct options o;
	options_add_resolv_conf(&o, "# nameserver 1.1.1.1\nsearch x\nnameserver\t9.9.9.9 \nnameserver fe80::1%eth0\n"
				    "nameserverx 2.2.2.2\nnameserver 2620:fe::fe\r\nnameserver");
	char text[OPTIONS_ENDPOINT_STRLEN];
	assert_int_equal(o.resolver_n, 2);
	assert_string_equal(options_format_endpoint(&o.resolver[0], text), "9.9.9.9:53");
	assert_string_equal(options_format_endpoint(&o.resolver[1], text), "[2620:fe::fe]:53");
}

static void parse(struct options *o, const char *const *words, const struct row *variables)
{
	struct dw_err err = { 0 };
	char *argv[10] = { (char[]){ "declawd" } };
	int argc = 1;
	for (; *words; words++)
		argv[argc++] = (char *)(uintptr_t)*words;
	current = variables;
	assert_int_equal(options_parse(o, argc, argv, env, &err), OPTIONS_RUN);
}

static void limits_and_ipv6(void **state)
{
	static struct options o;
	static const struct row none = { 0 };
	static const struct row variables = { .env = { "DECLAW_LIMIT_FLOWS", "7", "DECLAW_NO_IPV6", "1" } };
	parse(&o, (const char *const[]){ NULL }, &none);
	assert_int_equal(o.limits.flows, 0);
	assert_false(o.no_ipv6);
	parse(&o,
	      (const char *const[]){ "--limit-flows=8", "--limit-bytes", "5000000000", "--no-ipv6",
				     "--limit-dns-per-second", "3", NULL },
	      &none);
	assert_int_equal(o.limits.flows, 8);
	assert_int_equal(o.limits.dns_per_second, 3);
	assert_int_equal(o.limits.bytes, 5000000000ull);
	assert_true(o.no_ipv6);
	parse(&o, (const char *const[]){ "--limit-half-open=2", NULL }, &variables);
	assert_int_equal(o.limits.flows, 7);
	assert_int_equal(o.limits.half_open, 2);
	assert_true(o.no_ipv6);
	assert_false(o.strict_security);
	static const struct row strict = { .env = { "DECLAW_STRICT_SECURITY", "1" } };
	parse(&o, (const char *const[]){ NULL }, &strict);
	assert_true(o.strict_security);
	parse(&o, (const char *const[]){ "--strict-security", NULL }, &none);
	assert_true(o.strict_security);
	static const struct row off = { .env = { "DECLAW_NO_IPV6", "0" } };
	parse(&o, (const char *const[]){ NULL }, &off);
	assert_false(o.no_ipv6);
}

int main(void)
{
	ROW_TESTS(rows, check);
	const struct CMUnitTest more[] = { cmocka_unit_test(resolv_conf), cmocka_unit_test(limits_and_ipv6) };
	return cmocka_run_group_tests_name("options", tests, NULL, NULL) +
	       cmocka_run_group_tests_name("resolv.conf", more, NULL, NULL);
}
