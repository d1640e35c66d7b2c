/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include "daemon/log_query.h"
#include "daemon/timestamp.h"

struct row {
	const char *name, *key, *value;
	bool bad;
};

/* clang-format off */
static const struct row rows[] = {
	{ "verdict", "verdict", "allow" }, { "verdict of another word", "verdict", "Deny", true }, { "verdict empty", "verdict", "", true },
	{ "no value", "verdict", NULL, true },
	{ "proto", "proto", "udp" }, { "proto of another word", "proto", "quic", true },
	{ "reason", "reason", "floor_metadata" }, { "reason of none", "reason", "none", true }, { "reason unknown", "reason", "x' --", true },
	{ "would", "would", "true" }, { "would of another word", "would", "1", true },
	{ "name", "name", "A.Test." }, { "name below", "name", "*.a.test" }, { "name that is none", "name", "a b", true },
	{ "name with a star alone", "name", "*", true }, { "name of stars", "name", "*.*.test", true },
	{ "addr", "addr", "1.2.3.4" }, { "addr of 6", "addr", "2001:DB8::1" }, { "addr short", "addr", "1.2.3", true }, { "addr of a net", "addr", "1.2.3.0/24", true },
	{ "port", "port", "65535" }, { "port 0", "port", "0" }, { "port too high", "port", "65536", true }, { "port below 0", "port", "-1", true },
	{ "since", "since", "1767225600.5" }, { "since as a date", "since", "2026-01-01T00:00:00Z" }, { "since of words", "since", "yesterday", true },
	{ "until", "until", "2026-01-01T00:00:00+02:00" }, { "until empty", "until", "", true },
	{ "limit", "limit", "5000" }, { "limit 0", "limit", "0", true }, { "limit of letters", "limit", "x", true },
	{ "before", "before", "1" }, { "before 0", "before", "0", true }, { "before beyond", "before", "9223372036854775808", true },
	{ "follow", "follow", "true" }, { "follow of another word", "follow", "yes", true },
	{ "another parameter", "x", "y" },
};
/* clang-format on */

static void check(void **state)
{
	const struct row *r = *state;
	struct log_query q = LOG_QUERY_ANY;
	struct dw_err err = { 0 };
	assert_int_equal(log_query_add(&q, r->key, r->value, &err), r->bad ? -1 : 0);
	if (!r->bad)
		return;
	assert_int_equal(err.kind, DW_ERR_INVALID);
	assert_string_equal(err.code, "invalid_field");
	assert_int_equal(strncmp(err.message, r->key, strlen(r->key)), 0);
}

static void what_is_kept(void **state)
{
	struct log_query q = LOG_QUERY_ANY;
	struct dw_err err = { 0 };
	assert_int_equal(log_query_add(&q, "name", "*.A.Test", &err), 0);
	assert_string_equal(q.filter.name, ".a.test");
	assert_int_equal(log_query_add(&q, "addr", "2001:DB8::0", &err), 0);
	assert_string_equal(q.filter.addr, "2001:db8::");
	assert_int_equal(log_query_add(&q, "limit", "5000", &err), 0);
	assert_int_equal(q.limit, DAEMON_LOG_LIMIT_MAX);
	assert_int_equal(q.filter.port, -1);
	assert_int_equal(log_query_check(&q, &err), 0);
	assert_int_equal(log_query_add(&q, "before", "7", &err), 0);
	assert_int_equal(log_query_add(&q, "follow", "true", &err), 0);
	assert_int_equal(log_query_check(&q, &err), -1);
}

struct time_row {
	const char *name, *text;
	int64_t us; /* -1: refused */
};

/* clang-format off */
static const struct time_row times[] = {
	{ "zero", "0", 0 }, { "seconds", "1767225600", 1767225600000000 }, { "a fraction", "1.5", 1500000 }, { "nanoseconds", "1.123456789", 1123456 },
	{ "the epoch", "1970-01-01T00:00:00Z", 0 }, { "a date", "2026-01-01T00:00:00Z", 1767225600000000 },
	{ "lower case", "2026-01-01t00:00:00z", 1767225600000000 }, { "an offset", "2026-01-01T02:00:00+02:00", 1767225600000000 },
	{ "an offset as a query has it", "2026-01-01T02:00:00 02:00", 1767225600000000 }, { "west", "2025-12-31T19:00:00-05:00", 1767225600000000 },
	{ "microseconds", "2026-01-01T00:00:00.000001+00:00", 1767225600000001 }, { "a leap day", "2024-02-29T00:00:00Z", 1709164800000000 },
	{ "the last", "9999-12-31T23:59:59Z", 253402300799000000 },
	{ "no leap day", "2026-02-29T00:00:00Z", -1 }, { "no leap century", "2100-02-29T00:00:00Z", -1 }, { "before 1970", "1969-12-31T23:59:59Z", -1 },
	{ "before 1970 by its offset", "1970-01-01T00:00:00+00:01", -1 }, { "month 13", "2026-13-01T00:00:00Z", -1 }, { "month 0", "2026-00-01T00:00:00Z", -1 },
	{ "day 0", "2026-01-00T00:00:00Z", -1 }, { "hour 24", "2026-01-01T24:00:00Z", -1 }, { "a leap second", "2026-06-30T23:59:60Z", -1 },
	{ "no zone", "2026-01-01T00:00:00", -1 }, { "more after it", "2026-01-01T00:00:00Zx", -1 }, { "no digits after the dot", "1.", -1 },
	{ "a date alone", "2026-01-01", -1 }, { "empty", "", -1 }, { "a sign", "-1", -1 }, { "too many digits", "1234567890123", -1 },
	{ "beyond 9999", "253402300800", -1 }, { "a space", " 1", -1 }, { "hexadecimal", "0x1", -1 }, { "ten digits of fraction", "1.0123456789", -1 },
};
/* clang-format on */

static void time_check(void **state)
{
	const struct time_row *r = *state;
	int64_t us = -1;
	assert_int_equal(timestamp_parse(r->text, &us), r->us >= 0);
	assert_int_equal(us, r->us);
}

static int run_times(void)
{
	ROW_TESTS(times, time_check);
	return cmocka_run_group_tests_name("timestamp", tests, NULL, NULL);
}

int main(void)
{
	ROW_TESTS(rows, check);
	const struct CMUnitTest more[] = { cmocka_unit_test(what_is_kept) };
	return cmocka_run_group_tests_name("log query", tests, NULL, NULL) +
	       cmocka_run_group_tests_name("log query, more", more, NULL, NULL) + run_times();
}
