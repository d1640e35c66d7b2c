/* SPDX-License-Identifier: Apache-2.0 */
/* The command line. */
#include "gate_test.h"

#include "gate/options.h"

#define FDS      "--gate-netns-fd", "3", "--uplink-netns-fd", "4", "--control-fd", "5"
#define ARGS_MAX 200

static enum gate_options_result parse(const char *const *args, struct gate_config *ret, struct dw_err *err)
{
	char *argv[ARGS_MAX + 2] = { 0 };
	int argc = 0;
	enum gate_options_result r;

	argv[argc++] = strdup("declaw-gate");
	for (; *args; args++)
		argv[argc++] = strdup(*args);
	r = gate_options_parse(argc, argv, ret, err);
	for (int i = 0; i < argc; i++)
		free(argv[i]);
	return r;
}

static void test_good(void **state)
{
	static const char *const args[] = { FDS,
					    "--resolver",
					    "192.0.2.1",
					    "--resolver=192.0.2.2:5353",
					    "--resolver",
					    "2001:db8::1",
					    "--resolver",
					    "[2001:db8::2]:54",
					    "--resolver",
					    "[2001:db8::3]",
					    "--allow-private",
					    "10.1.0.0/16",
					    "--allow-private",
					    "10.9.9.9",
					    "--allow-private",
					    "fd00:1::/32",
					    NULL };
	static const uint16_t ports[] = { 53, 5353, 53, 54, 53 };
	static const char *const addrs[] = { "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8::3" };
	struct gate_config c = { 0 };
	struct dw_err err = { 0 };

	if (parse(args, &c, &err) != GATE_OPTIONS_RUN)
		fail_msg("%s", err.message);
	assert_int_equal(c.gate_netns_fd, 3);
	assert_int_equal(c.uplink_netns_fd, 4);
	assert_int_equal(c.control_fd, 5);
	assert_int_equal(c.resolver_n, 5);
	for (size_t i = 0; i < 5; i++) {
		struct dw_addr want = test_addr(addrs[i]);

		assert_true(dw_addr_eq(&c.resolver[i].addr, &want));
		assert_int_equal(c.resolver[i].port, ports[i]);
	}
	assert_int_equal(c.allow_private_n, 3);
	assert_int_equal(c.allow_private[0].len, 16);
	assert_int_equal(c.allow_private[1].len, 32);
	assert_int_equal(c.allow_private[2].len, 32);
}

static void test_bad(void **state)
{
	static const char *const rows[][12] = {
		{ NULL },
		{ "--gate-netns-fd", "3", NULL },
		{ "--gate-netns-fd", "3", "--uplink-netns-fd", "3", "--control-fd", "5", NULL },
		{ "--gate-netns-fd", "3", "--uplink-netns-fd", "4", "--control-fd", "2", NULL },
		{ "--gate-netns-fd", "3", "--uplink-netns-fd", "4", "--control-fd", "-5", NULL },
		{ "--gate-netns-fd", "3", "--uplink-netns-fd", "4", "--control-fd", "5x", NULL },
		{ "--gate-netns-fd", "3", "--uplink-netns-fd", "4", "--control-fd", "99999999999", NULL },
		{ "--gate-netns-fd", "3", "--uplink-netns-fd", "4", "--control-fd", "", NULL },
		{ FDS, "--resolver", "dns.example", NULL },
		{ FDS, "--resolver", "192.0.2.1:0", NULL },
		{ FDS, "--resolver", "192.0.2.1:65536", NULL },
		{ FDS, "--resolver", "192.0.2.1:", NULL },
		{ FDS, "--resolver", "[192.0.2.1", NULL },
		{ FDS, "--resolver", "[2001:db8::1]53", NULL },
		{ FDS, "--resolver", "", NULL },
		{ FDS, "--allow-private", "10.0.0.0/33", NULL },
		{ FDS, "--allow-private", "intranet", NULL },
		{ FDS, "--allow-private", NULL },
		{ FDS, "--no-such-option", NULL },
		{ FDS, "extra", NULL },
	};

	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		struct gate_config c = { .control_fd = 77 };
		struct dw_err err = { 0 };

		if (parse(rows[i], &c, &err) != GATE_OPTIONS_BAD)
			fail_msg("row %zu was taken", i);
		assert_true(err.message[0] != '\0');
		assert_null(strchr(err.message, '\n'));
		assert_int_equal(c.control_fd, 77); /* untouched */
	}
}

static void test_limits(void **state)
{
	const char *args[ARGS_MAX] = { FDS };
	struct gate_config c;
	struct dw_err err = { 0 };
	size_t n = 6;

	for (int i = 0; i < 8; i++) {
		args[n++] = "--resolver";
		args[n++] = "192.0.2.1";
	}
	for (int i = 0; i < 64; i++) {
		args[n++] = "--allow-private";
		args[n++] = "10.0.0.0/8";
	}
	assert_int_equal(parse(args, &c, &err), GATE_OPTIONS_RUN);
	args[n] = "--resolver";
	args[n + 1] = "192.0.2.1";
	assert_int_equal(parse(args, &c, &err), GATE_OPTIONS_BAD);
	args[n] = "--allow-private";
	args[n + 1] = "10.0.0.0/8";
	assert_int_equal(parse(args, &c, &err), GATE_OPTIONS_BAD);
}

static void test_help_and_version(void **state)
{
	static const char *const help[] = { "--help", NULL };
	static const char *const version[] = { "--version", NULL };
	struct gate_config c;
	struct dw_err err = { 0 };

	assert_int_equal(parse(help, &c, &err), GATE_OPTIONS_HELP);
	assert_int_equal(parse(version, &c, &err), GATE_OPTIONS_VERSION);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_help_and_version),
	};

	return cmocka_run_group_tests_name("gate/options", tests, NULL, NULL);
}
