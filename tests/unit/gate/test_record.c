/* SPDX-License-Identifier: Apache-2.0 */
/* Decision records: what an event says, how refusals are merged, what a flood costs. */
#include "record_fixture.h"

static void test_first_at_once_repeats_merged(void **state)
{
	struct record_fixture *f = *state;
	struct gate_record r = record_refusal(f->s, "1.1.1.1", 80);
	json_t *o;

	gate_record(f->g, &r);
	assert_int_equal(fake_event_n, 1);
	o = record_event(0);
	assert_string_equal(record_text(o, "event"), "decision");
	assert_string_equal(record_text(o, "sandbox"), "one");
	assert_string_equal(record_text(o, "proto"), "tcp");
	assert_string_equal(record_text(o, "addr"), "1.1.1.1");
	assert_string_equal(record_text(o, "verdict"), "deny");
	assert_string_equal(record_text(o, "reason"), "not_in_allow_out");
	assert_int_equal(record_number(o, "port"), 80);
	assert_int_equal(record_number(o, "count"), 1);
	assert_true(json_is_false(json_object_get(o, "closed")));
	assert_true(json_real_value(json_object_get(o, "time")) > 1.7e9);
	assert_non_null(strstr(record_text(o, "message"), "1.1.1.1:80/tcp"));
	assert_null(json_object_get(o, "rule"));
	assert_null(json_object_get(o, "source"));
	assert_null(json_object_get(o, "qtype"));
	json_decref(o);
	for (int i = 0; i < 41; i++)
		gate_record(f->g, &r);
	assert_int_equal(fake_event_n, 1);
	record_end_window(f->g);
	assert_int_equal(fake_event_n, 2);
	o = record_event(1);
	assert_int_equal(record_number(o, "count"), 41);
	assert_string_equal(record_text(o, "addr"), "1.1.1.1");
	json_decref(o);
	record_end_window(f->g);
	assert_int_equal(fake_event_n, 2); /* nothing repeated, nothing said */
	gate_record(f->g, &r);
	assert_int_equal(fake_event_n, 3); /* a first one again */
}

static void test_window_ends_by_the_loop(void **state)
{
	struct record_fixture *f = *state;
	struct gate_record r = record_refusal(f->s, "1.1.1.1", 80);
	uint64_t start = f->g->loop.now_ms;

	gate_record(f->g, &r);
	gate_record(f->g, &r);
	while (fake_event_n < 2)
		assert_int_equal(dw_loop_once(&f->g->loop, -1), 0);
	assert_in_range(f->g->loop.now_ms - start, 1000, 1500);
}

static void test_kinds_differ(void **state)
{
	struct record_fixture *f = *state;
	struct gate_record r[7];

	for (size_t i = 0; i < DW_COUNT(r); i++)
		r[i] = record_refusal(f->s, "1.1.1.1", 80);
	r[1].port = 81;
	r[2].addr = test_addr("1.1.1.2");
	r[3].sandbox = f->t;
	r[4].proto = DW_PROTO_UDP;
	r[5].name = "evil.test";
	r[6].decision.reason = DW_REASON_PRIVATE_ADDRESS;
	for (size_t i = 0; i < DW_COUNT(r); i++)
		gate_record(f->g, &r[i]);
	assert_int_equal(fake_event_n, DW_COUNT(r));
	for (size_t i = 0; i < DW_COUNT(r); i++)
		gate_record(f->g, &r[i]);
	assert_int_equal(fake_event_n, DW_COUNT(r));
	record_end_window(f->g);
	assert_int_equal(fake_event_n, 2 * DW_COUNT(r));
}

/* The window outlives the sandbox and its policy. */
static void test_sandbox_gone_before_the_window(void **state)
{
	struct record_fixture *f = *state;
	struct gate_record r = record_refusal(f->s, "1.1.1.1", 80);
	json_t *o;

	gate_record(f->g, &r);
	gate_record(f->g, &r);
	gate_sandbox_detach(f->g, f->s);
	assert_int_equal(dw_loop_once(&f->g->loop, 0), 0); /* freed */
	record_end_window(f->g);
	o = record_event(1);
	assert_string_equal(record_text(o, "sandbox"), "one");
	json_decref(o);
}

static void test_hostile_names(void **state)
{
	struct record_fixture *f = *state;
	struct gate_record r = record_refusal(f->s, "1.1.1.1", 443);
	char longest[3000];
	json_t *o;

	r.name = "a\"b\\c\n\x01\xff\xc3\xa9</script>";
	gate_record(f->g, &r);
	o = record_event(0);
	assert_string_equal(record_text(o, "name"), "a\"b\\x5cc\\x0a\\x01\\xff\\xc3\\xa9</script>");
	assert_null(strchr(fake_event[0], '\n'));
	json_decref(o);
	memset(longest, '\n', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	r.name = longest;
	gate_record(f->g, &r);
	o = record_event(1);
	assert_true(strlen(record_text(o, "name")) < 330);
	assert_non_null(strstr(record_text(o, "name"), "..."));
	assert_true(strlen(fake_event[1]) < 4096);
	json_decref(o);
}

static void test_dns_and_unknown_source(void **state)
{
	struct record_fixture *f = *state;
	struct gate_record r = {
		.sandbox = f->s,
		.proto = DW_PROTO_DNS,
		.port = 16,
		.name = "evil.test",
		.decision = { .verdict = DW_DENY, .reason = DW_REASON_NAME_NOT_ALLOWED, .rule = DW_RULE_NONE }
	};
	struct gate_record u = { .source = test_addr("100.112.9.9"),
				 .proto = DW_PROTO_ICMP,
				 .addr = test_addr("fe80::1"),
				 .decision = { .verdict = DW_DENY, .reason = DW_REASON_NO_POLICY, .rule = 0 } };
	json_t *o;

	gate_record(f->g, &r);
	o = record_event(0);
	assert_string_equal(record_text(o, "qtype"), "TXT");
	assert_string_equal(record_text(o, "name"), "evil.test");
	assert_null(json_object_get(o, "port"));
	assert_null(json_object_get(o, "addr"));
	json_decref(o);
	gate_record(f->g, &u);
	o = record_event(1);
	assert_true(json_is_null(json_object_get(o, "sandbox")));
	assert_string_equal(record_text(o, "source"), "100.112.9.9");
	assert_string_equal(record_text(o, "proto"), "icmp");
	assert_null(json_object_get(o, "port"));
	json_decref(o);
	r.port = 4711;
	gate_record(f->g, &r);
	o = record_event(2);
	assert_string_equal(record_text(o, "qtype"), "TYPE4711");
	json_decref(o);
}

/* A lookup that is only observed: told at once, repeats counted, apart for each word. */
static void test_observed_lookups(void **state)
{
	struct record_fixture *f = *state;
	struct gate_record r = { .sandbox = f->s,
				 .proto = DW_PROTO_DNS,
				 .port = 1,
				 .name = "any.test",
				 .decision = { .verdict = DW_ALLOW,
					       .reason = DW_REASON_OBSERVED,
					       .would = DW_REASON_NAME_NOT_ALLOWED,
					       .rule = DW_RULE_NONE } };
	json_t *o;

	for (int i = 0; i < 500; i++)
		gate_record(f->g, &r);
	r.decision.would = DW_REASON_DENY_ENTRY;
	gate_record(f->g, &r);
	assert_int_equal(fake_event_n, 2);
	o = record_event(0);
	assert_string_equal(record_text(o, "verdict"), "allow");
	assert_string_equal(record_text(o, "reason"), "observed");
	assert_string_equal(record_text(o, "would"), "name_not_allowed");
	assert_string_equal(record_text(o, "name"), "any.test");
	assert_non_null(strstr(record_text(o, "message"), "would have been refused"));
	json_decref(o);
	record_end_window(f->g);
	assert_int_equal(fake_event_n, 3);
	o = record_event(2);
	assert_int_equal(record_number(o, "count"), 499);
	assert_string_equal(record_text(o, "would"), "name_not_allowed");
	json_decref(o);
}

/* A port scan: a bounded number of events, every refusal counted, the neighbour still heard. */
static void test_flood_of_kinds(void **state)
{
	struct record_fixture *f = *state;
	json_int_t total = 0;
	struct gate_record r;

	for (unsigned int port = 1; port <= 60000; port++) {
		r = record_refusal(f->s, "1.1.1.1", (uint16_t)port);
		gate_record(f->g, &r);
	}
	assert_int_equal(fake_event_n, 256);
	r = record_refusal(f->t, "1.1.1.1", 80);
	gate_record(f->g, &r);
	assert_int_equal(fake_event_n, 257);
	record_end_window(f->g);
	assert_int_equal(fake_event_n, 258);
	for (unsigned int i = 0; i < fake_event_n; i++) {
		json_t *o = record_event(i);

		if (strcmp(record_text(o, "sandbox"), "one") == 0)
			total += record_number(o, "count");
		json_decref(o);
	}
	assert_int_equal(total, 60000);
	assert_int_equal(f->g->loop.heap_n, 0);
}

/* So many sandboxes at once that even the table of all is full: a number remains. */
static void test_flood_of_sandboxes(void **state)
{
	struct record_fixture *f = *state;
	json_int_t total = 0;
	struct gate_record r = record_refusal(NULL, "1.1.1.1", 80);
	json_t *o;

	for (unsigned int i = 0; i < 20000; i++) {
		uint8_t b[4] = { 100, 96, (uint8_t)(i >> 8), (uint8_t)i };

		r.source = dw_addr_from4(b);
		gate_record(f->g, &r);
		if (fake_event_n == 4000) {
			total += fake_event_n;
			fake_events_clear();
		}
	}
	total += fake_event_n;
	fake_events_clear();
	assert_int_equal(total, 16384);
	record_end_window(f->g);
	assert_int_equal(fake_event_n, 1);
	o = record_event(0);
	assert_int_equal(record_number(o, "count"), 20000 - 16384);
	json_decref(o);
}

/* Many sandboxes that each do all they can: what another one is refused is still told with its address. */
static void test_many_floods_hide_nothing_of_others(void **state)
{
	struct record_fixture *f = *state;
	struct gate_sandbox many[80] = { 0 };
	struct gate_record r;

	for (unsigned int i = 0; i < DW_COUNT(many); i++) {
		many[i] = *f->t;
		many[i].instance = 1000 + i;
		for (uint16_t port = 1; port <= 300; port++) {
			r = record_refusal(&many[i], "1.1.1.1", port);
			gate_record(f->g, &r);
		}
		fake_events_clear();
	}
	for (uint16_t port = 1; port <= 8; port++) {
		r = record_refusal(f->s, "9.9.9.9", port);
		gate_record(f->g, &r);
		assert_int_equal(fake_event_n, port);
		json_t *o = record_event(fake_event_n - 1);
		assert_string_equal(record_text(o, "sandbox"), "one");
		assert_string_equal(record_text(o, "addr"), "9.9.9.9");
		assert_int_equal(record_number(o, "port"), port);
		json_decref(o);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_first_at_once_repeats_merged, record_setup, record_teardown),
		cmocka_unit_test_setup_teardown(test_window_ends_by_the_loop, record_setup, record_teardown),
		cmocka_unit_test_setup_teardown(test_kinds_differ, record_setup, record_teardown),
		cmocka_unit_test_setup_teardown(test_sandbox_gone_before_the_window, record_setup, record_teardown),
		cmocka_unit_test_setup_teardown(test_hostile_names, record_setup, record_teardown),
		cmocka_unit_test_setup_teardown(test_dns_and_unknown_source, record_setup, record_teardown),
		cmocka_unit_test_setup_teardown(test_observed_lookups, record_setup, record_teardown),
		cmocka_unit_test_setup_teardown(test_flood_of_kinds, record_setup, record_teardown),
		cmocka_unit_test_setup_teardown(test_flood_of_sandboxes, record_setup, record_teardown),
		cmocka_unit_test_setup_teardown(test_many_floods_hide_nothing_of_others, record_setup, record_teardown),
	};

	return cmocka_run_group_tests_name("gate/record", tests, NULL, NULL);
}
