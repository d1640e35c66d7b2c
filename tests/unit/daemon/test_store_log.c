/* SPDX-License-Identifier: Apache-2.0 */
/* What the log keeps, and how it is asked. */
#include "store_fixture.h"

static void decisions(void **state)
{
	struct fixture *f = *state;
	struct log_filter a = filter_of("sbx-a");
	for (int i = 0; i < 10; i++)
		add_decision(f->store, i % 2 ? "sbx-b" : "sbx-a", i < 4 ? "deny" : "allow", i);
	/* No sandbox, no verdict: not for the log. */
	store_log_add(f->store, json_pack("{ss}", "verdict", "deny"), 10, false);
	store_log_add(f->store, json_pack("{ss}", "sandbox", "sbx-a"), 10, false);
	auto_json json_t *rows = list(f->store, &a, 3);
	assert_int_equal(json_array_size(rows), 3);
	json_t *newest = json_array_get(rows, 0);
	assert_string_equal(text(newest, "name"), "host8.example");
	assert_string_equal(text(newest, "time"), "1970-01-01T00:00:09.500000+00:00");
	assert_string_equal(text(newest, "protocol"), "tcp");
	assert_int_equal(number(newest, "port"), 443);
	assert_int_equal(number(newest, "count"), 2);
	assert_true(json_is_false(json_object_get(newest, "closed")));
	assert_null(json_object_get(newest, "qtype"));
	assert_null(json_object_get(newest, "would"));
	snprintf(a.verdict, sizeof(a.verdict), "deny");
	assert_int_equal(count(f->store, &a), 2);
	a = filter_of("sbx-c");
	assert_int_equal(count(f->store, &a), 0);
}

static void pages(void **state)
{
	struct fixture *f = *state;
	struct dw_err err = { 0 };
	const struct log_filter a = filter_of("sbx-a");
	int64_t before = 0, seen = INT64_MAX;
	int n = 0, rounds = 0;
	for (int i = 0; i < 7; i++)
		add_decision(f->store, "sbx-a", "deny", i);
	store_log_flush(f->store);
	do {
		json_t *rows = NULL, *row;
		size_t i;
		assert_int_equal(store_log_list(f->store, &a, before, 3, &rows, &before, &err), 0);
		json_array_foreach(rows, i, row)
		{
			assert_true(number(row, "id") < seen);
			seen = number(row, "id");
			n++;
		}
		json_decref(rows);
		rounds++;
	} while (before);
	assert_int_equal(n, 7);
	assert_int_equal(rounds, 3);
}

static void filters(void **state)
{
	struct fixture *f = *state;
	struct log_filter a = filter_of("s");
	store_log_add(f->store,
		      json_pack("{ss sf ss ss ss ss}", "sandbox", "s", "time", 100.0, "proto", "dns", "verdict",
				"allow", "reason", "observed", "name", "a.b.test"),
		      9, false);
	store_log_add(f->store,
		      json_pack("{ss sf ss ss ss ss si ss}", "sandbox", "s", "time", 200.0, "proto", "udp", "verdict",
				"allow", "reason", "observed", "addr", "9.9.9.9", "port", 443, "would",
				"not_in_allow_out"),
		      9, false);
	store_log_add(f->store,
		      json_pack("{ss sf ss ss ss ss}", "sandbox", "s", "time", 300.0, "proto", "dns", "verdict", "deny",
				"reason", "name_not_allowed", "name", "xb.test"),
		      9, false);
	assert_int_equal(count(f->store, &a), 3);
	snprintf(a.name, sizeof(a.name), ".b.test");
	assert_int_equal(count(f->store, &a), 1);
	snprintf(a.name, sizeof(a.name), "xb.test");
	assert_int_equal(count(f->store, &a), 1);
	snprintf(a.name, sizeof(a.name), "b.test");
	assert_int_equal(count(f->store, &a), 0);
	a = filter_of("s");
	a.would_set = true;
	assert_int_equal(count(f->store, &a), 2);
	a.would = true;
	assert_int_equal(count(f->store, &a), 1);
	a = filter_of("s");
	a.port = 443;
	assert_int_equal(count(f->store, &a), 1);
	a.port = 0;
	assert_int_equal(count(f->store, &a), 0);
	a = filter_of("s");
	a.since_us = 200000000;
	assert_int_equal(count(f->store, &a), 2);
	a.until_us = 300000000;
	assert_int_equal(count(f->store, &a), 1);
	a = filter_of("s");
	snprintf(a.addr, sizeof(a.addr), "9.9.9.9");
	snprintf(a.protocol, sizeof(a.protocol), "udp");
	snprintf(a.reason, sizeof(a.reason), "observed");
	assert_int_equal(count(f->store, &a), 1);
	snprintf(a.reason, sizeof(a.reason), "x' OR 1 --");
	assert_int_equal(count(f->store, &a), 0);
}

static void a_flow_is_one_row(void **state)
{
	struct fixture *f = *state;
	const struct log_filter a = filter_of("s");
	add_flow(f->store, "s", 5, false);
	add_flow(f->store, "t", 5, false);
	store_log_flush(f->store);
	add_flow(f->store, "s", 5, true);
	auto_json json_t *rows = list(f->store, &a, 10);
	assert_int_equal(json_array_size(rows), 1);
	json_t *row = json_array_get(rows, 0);
	assert_true(json_is_true(json_object_get(row, "closed")));
	assert_int_equal(number(row, "flow"), 5);
	assert_int_equal(number(row, "bytes_out"), 7);
	assert_int_equal(number(row, "bytes_in"), 9);
	assert_int_equal(number(row, "duration_ms"), 1000);
	assert_string_equal(text(row, "time"), "1970-01-01T00:00:10.000000+00:00");
	assert_string_equal(text(row, "ended"), "1970-01-01T00:00:20.000000+00:00");
	const struct log_filter t = filter_of("t");
	auto_json json_t *other = list(f->store, &t, 10);
	assert_null(json_object_get(json_array_get(other, 0), "ended"));
}

/* Another life of the gate counts its flows from 1 again; and an end whose decision is not there is a row of its own. */
static void flows_of_two_gates(void **state)
{
	struct fixture *f = *state;
	const struct log_filter a = filter_of("s");
	add_flow(f->store, "s", 1, false);
	store_log_gate_ended(f->store);
	add_flow(f->store, "s", 1, true);
	auto_json json_t *rows = list(f->store, &a, 10);
	assert_int_equal(json_array_size(rows), 2);
	assert_int_equal(number(json_array_get(rows, 1), "bytes_out"), 0);
	assert_non_null(text(json_array_get(rows, 1), "ended"));
	assert_int_equal(number(json_array_get(rows, 0), "bytes_out"), 7);
}

static void a_restart_ends_flows(void **state)
{
	struct fixture *f = *state;
	struct dw_err err = { 0 };
	const struct log_filter a = filter_of("s");
	add_flow(f->store, "s", 1, false);
	store_log_flush(f->store);
	store_close(f->store);
	assert_int_equal(store_open(f->dir, &f->store, &err), 0);
	auto_json json_t *rows = list(f->store, &a, 10);
	assert_true(json_is_true(json_object_get(json_array_get(rows, 0), "closed")));
}

static void a_sandbox_pushes_out_only_its_own(void **state)
{
	struct fixture *f = *state;
	const struct log_filter loud = filter_of("loud"), quiet = filter_of("quiet");
	add_decision(f->store, "quiet", "deny", 0);
	for (int i = 0; i < (int)DAEMON_LOG_ROWS_SANDBOX + 1500; i++)
		add_decision(f->store, "loud", "deny", i);
	auto_json json_t *rows = list(f->store, &loud, DAEMON_LOG_ROWS_SANDBOX + 5000);
	assert_int_equal(json_array_size(rows), DAEMON_LOG_ROWS_SANDBOX);
	assert_string_equal(text(json_array_get(rows, DAEMON_LOG_ROWS_SANDBOX - 1), "name"), "host1500.example");
	assert_int_equal(count(f->store, &quiet), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(decisions, setup, teardown),
		cmocka_unit_test_setup_teardown(pages, setup, teardown),
		cmocka_unit_test_setup_teardown(filters, setup, teardown),
		cmocka_unit_test_setup_teardown(a_flow_is_one_row, setup, teardown),
		cmocka_unit_test_setup_teardown(flows_of_two_gates, setup, teardown),
		cmocka_unit_test_setup_teardown(a_restart_ends_flows, setup, teardown),
		cmocka_unit_test_setup_teardown(a_sandbox_pushes_out_only_its_own, setup, teardown),
	};
	return cmocka_run_group_tests_name("store_log", tests, NULL, NULL);
}
