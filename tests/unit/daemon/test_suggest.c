/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include "daemon/suggest.h"

struct row {
	const char *name;
	struct observed saw[8];
	const char *want;    /* allow_out */
	const char *refused; /* reasons in not_coverable */
};

#define TCP(n, a, p)                                                                                          \
	{                                                                                                     \
		.protocol = "tcp", .name = n, .addr = a, .port = p, .reason = "not_in_allow_out", .count = 1, \
		.first_us = 1                                                                                 \
	}
#define UDP(n, a, p)                                                                                                  \
	{                                                                                                             \
		.protocol = "udp", .name = n, .addr = a, .port = p, .reason = "allow_name", .count = 1, .first_us = 1 \
	}
#define DNS(n)                                                                                                    \
	{                                                                                                         \
		.protocol = "dns", .name = n, .addr = "", .reason = "name_not_allowed", .count = 1, .first_us = 1 \
	}
#define BARE(a, p, r)                                                                                       \
	{                                                                                                   \
		.protocol = "tcp", .name = "", .addr = a, .port = p, .reason = r, .count = 1, .first_us = 1 \
	}
#define DENIED(n, a, p, r)                                                                                   \
	{                                                                                                    \
		.protocol = "tcp", .name = n, .addr = a, .port = p, .reason = r, .denied = true, .count = 1, \
		.first_us = 1                                                                                \
	}

/* clang-format off */
static const struct row rows[] = {
	{ "nothing", { { 0 } }, "[]", "" },
	{ "a name that was reached", { DNS("a.test"), TCP("a.test", "", 443) }, "[\"a.test:443\"]", "" },
	{ "a name on another port", { DNS("a.test"), TCP("a.test", "", 8080) }, "[\"a.test:8080\"]", "" },
	{ "a name that was looked up only", { DNS("a.test"), DNS("a.test") }, "[\"a.test:443\"]", "" },
	{ "two protocols, one entry", { TCP("a.test", "", 443), UDP("a.test", "", 443) }, "[\"a.test:443\"]", "" },
	{ "neighbouring ports", { TCP("a.test", "", 81), TCP("a.test", "", 80), TCP("a.test", "", 443), UDP("a.test", "", 82) },
	  "[\"a.test:80-82\",\"a.test:443\"]", "" },
	{ "the last port", { TCP("a.test", "", 65535), TCP("a.test", "", 65534) }, "[\"a.test:65534-65535\"]", "" },
	{ "no pattern for many names", { TCP("a.x.test", "", 443), TCP("b.x.test", "", 443) }, "[\"a.x.test:443\",\"b.x.test:443\"]", "" },
	{ "an address", { TCP("", "9.9.9.9", 53) }, "[\"9.9.9.9:53\"]", "" },
	{ "an IPv6 address", { TCP("", "2001:db8::1", 80), TCP("", "2001:db8::1", 81) }, "[\"[2001:db8::1]:80-81\"]", "" },
	{ "names come first", { TCP("", "1.1.1.1", 80), TCP("z.test", "", 80) }, "[\"z.test:80\",\"1.1.1.1:80\"]", "" },
	{ "a flow that showed no name", { DNS("a.test"), BARE("1.1.1.1", 443, "sni_missing") }, "[\"a.test:443\",\"1.1.1.1:443\"]", "" },
	{ "the floor", { DENIED("", "169.254.169.254", 80, "floor_metadata"), TCP("a.test", "", 80) }, "[\"a.test:80\"]", "floor_metadata " },
	{ "private", { DENIED("", "10.0.0.1", 80, "private_address"), DENIED("in.test", "", 0, "private_answer") }, "[]", "private_address private_answer " },
	{ "a name that can be no entry", { DNS("a\\x00b.test") }, "[]", "name_not_allowed " },
	{ "no port", { { .protocol = "icmp", .name = "", .addr = "1.1.1.1", .reason = "observed", .count = 1 } }, "[]", "observed " },
};
/* clang-format on */

static void check(void **state)
{
	const struct row *r = *state;
	DW_AUTO(suggestion_free) struct suggestion *s = suggestion_new();
	char refused[200] = "";
	size_t i;
	json_t *row;
	for (const struct observed *o = r->saw; o < r->saw + DW_COUNT(r->saw) && o->protocol; o++)
		suggestion_add(s, o);
	auto_json json_t *got = suggestion_json(s, 3);
	assert_non_null(got);
	dw_autofree char *allow =
		json_dumps(json_object_get(json_object_get(got, "network"), "allow_out"), JSON_COMPACT);
	assert_string_equal(allow, r->want);
	json_array_foreach(json_object_get(got, "not_coverable"), i, row)
	{
		strcat(refused, json_string_value(json_object_get(row, "reason")));
		strcat(refused, " ");
		assert_non_null(json_object_get(row, "why"));
	}
	assert_string_equal(refused, r->refused);
	assert_int_equal(json_integer_value(json_object_get(got, "overflow")), 3);
}

static void what_an_entry_says(void **state)
{
	DW_AUTO(suggestion_free) struct suggestion *s = suggestion_new();
	const struct observed saw[] = {
		{ .protocol = "dns",
		  .name = "a.test",
		  .addr = "",
		  .reason = "x",
		  .count = 5,
		  .first_us = 1000000,
		  .last_us = 2000000 },
		{ .protocol = "tcp",
		  .name = "a.test",
		  .addr = "",
		  .port = 443,
		  .reason = "x",
		  .count = 2,
		  .first_us = 3000000,
		  .last_us = 9000000 },
	};
	for (size_t i = 0; i < DW_COUNT(saw); i++)
		suggestion_add(s, &saw[i]);
	auto_json json_t *got = suggestion_json(s, 0);
	const json_t *e = json_array_get(json_object_get(got, "entries"), 0);
	auto_json json_t *protocols = json_pack("[ss]", "tcp", "dns");
	assert_string_equal(json_string_value(json_object_get(e, "entry")), "a.test:443");
	assert_int_equal(json_integer_value(json_object_get(e, "count")), 7);
	assert_true(json_equal(json_object_get(e, "protocols"), protocols));
	assert_string_equal(json_string_value(json_object_get(e, "first")), "1970-01-01T00:00:01.000000+00:00");
	assert_string_equal(json_string_value(json_object_get(e, "last")), "1970-01-01T00:00:09.000000+00:00");
	assert_int_equal(json_array_size(json_object_get(got, "entries")), 1);
}

int main(void)
{
	ROW_TESTS(rows, check);
	const struct CMUnitTest more[] = { cmocka_unit_test(what_an_entry_says) };
	return cmocka_run_group_tests_name("suggest", tests, NULL, NULL) +
	       cmocka_run_group_tests_name("suggest, more", more, NULL, NULL);
}
