/* SPDX-License-Identifier: Apache-2.0 */
/* Decision records: what an event says, how refusals are merged, what a flood costs. */
#include "gate_test.h"

#include <jansson.h>

#include "gate/record.h"

static const char *const allow_some[] = { "example.com", "10.0.0.0/8", NULL };

struct fixture {
	struct gate *g;
	struct gate_sandbox *s, *t;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->g = test_gate_new();
	assert_int_equal(gate_records_init(f->g), 0);
	f->s = test_attach(f->g, "one", "100.112.1.1", NULL, allow_some, NULL, false);
	f->t = test_attach(f->g, "two", "100.112.1.2", NULL, allow_some, NULL, false);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (gate_sandbox_by_id(f->g, "one"))
		gate_sandbox_detach(f->g, f->s);
	gate_sandbox_detach(f->g, f->t);
	gate_records_done(f->g);
	fake_events_clear();
	test_gate_free(f->g);
	free(f);
	return 0;
}

/* Lets a window pass without waiting for it: the loop's clock is the only one. */
static void end_window(struct gate *g)
{
	for (uint32_t i = 0; i < g->loop.heap_n; i++)
		g->loop.heap[i]->at_ms = 0;
	g->loop.now_ms += 1001;
	while (g->loop.heap_n > 0) {
		struct dw_timer *t = g->loop.heap[0];

		dw_timer_del(&g->loop, t);
		t->fn(t->arg);
	}
}

static json_t *event(unsigned int i)
{
	json_t *o;

	assert_true(i < fake_event_n);
	o = json_loads(fake_event[i], JSON_REJECT_DUPLICATES, NULL);
	if (!o)
		fail_msg("not JSON: %s", fake_event[i]);
	return o;
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "(none)";
}

static json_int_t number_of(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	assert_true(json_is_integer(v));
	return json_integer_value(v);
}

static struct gate_record refusal(const struct gate_sandbox *s, const char *addr, uint16_t port)
{
	return (struct gate_record){
		.sandbox = s,
		.proto = DW_PROTO_TCP,
		.addr = test_addr(addr),
		.port = port,
		.decision = { .verdict = DW_DENY, .reason = DW_REASON_NOT_IN_ALLOW_OUT, .rule = DW_RULE_NONE }
	};
}

static void test_first_at_once_repeats_merged(void **state)
{
	struct fixture *f = *state;
	struct gate_record r = refusal(f->s, "1.1.1.1", 80);
	json_t *o;

	gate_record(f->g, &r);
	assert_int_equal(fake_event_n, 1);
	o = event(0);
	assert_string_equal(text_of(o, "event"), "decision");
	assert_string_equal(text_of(o, "sandbox"), "one");
	assert_string_equal(text_of(o, "proto"), "tcp");
	assert_string_equal(text_of(o, "addr"), "1.1.1.1");
	assert_string_equal(text_of(o, "verdict"), "deny");
	assert_string_equal(text_of(o, "reason"), "not_in_allow_out");
	assert_int_equal(number_of(o, "port"), 80);
	assert_int_equal(number_of(o, "count"), 1);
	assert_true(json_is_false(json_object_get(o, "closed")));
	assert_true(json_real_value(json_object_get(o, "time")) > 1.7e9);
	assert_non_null(strstr(text_of(o, "message"), "1.1.1.1:80/tcp"));
	assert_null(json_object_get(o, "rule"));
	assert_null(json_object_get(o, "source"));
	assert_null(json_object_get(o, "qtype"));
	json_decref(o);
	for (int i = 0; i < 41; i++)
		gate_record(f->g, &r);
	assert_int_equal(fake_event_n, 1);
	end_window(f->g);
	assert_int_equal(fake_event_n, 2);
	o = event(1);
	assert_int_equal(number_of(o, "count"), 41);
	assert_string_equal(text_of(o, "addr"), "1.1.1.1");
	json_decref(o);
	end_window(f->g);
	assert_int_equal(fake_event_n, 2); /* nothing repeated, nothing said */
	gate_record(f->g, &r);
	assert_int_equal(fake_event_n, 3); /* a first one again */
}

static void test_window_ends_by_the_loop(void **state)
{
	struct fixture *f = *state;
	struct gate_record r = refusal(f->s, "1.1.1.1", 80);
	uint64_t start = f->g->loop.now_ms;

	gate_record(f->g, &r);
	gate_record(f->g, &r);
	while (fake_event_n < 2)
		assert_int_equal(dw_loop_once(&f->g->loop, -1), 0);
	assert_in_range(f->g->loop.now_ms - start, 1000, 1500);
}

static void test_kinds_differ(void **state)
{
	struct fixture *f = *state;
	struct gate_record r[7];

	for (size_t i = 0; i < DW_COUNT(r); i++)
		r[i] = refusal(f->s, "1.1.1.1", 80);
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
	end_window(f->g);
	assert_int_equal(fake_event_n, 2 * DW_COUNT(r));
}

/* The window outlives the sandbox and its policy. */
static void test_sandbox_gone_before_the_window(void **state)
{
	struct fixture *f = *state;
	struct gate_record r = refusal(f->s, "1.1.1.1", 80);
	json_t *o;

	gate_record(f->g, &r);
	gate_record(f->g, &r);
	gate_sandbox_detach(f->g, f->s);
	assert_int_equal(dw_loop_once(&f->g->loop, 0), 0); /* freed */
	end_window(f->g);
	o = event(1);
	assert_string_equal(text_of(o, "sandbox"), "one");
	json_decref(o);
}

static void test_hostile_names(void **state)
{
	struct fixture *f = *state;
	struct gate_record r = refusal(f->s, "1.1.1.1", 443);
	char longest[3000];
	json_t *o;

	r.name = "a\"b\\c\n\x01\xff\xc3\xa9</script>";
	gate_record(f->g, &r);
	o = event(0);
	assert_string_equal(text_of(o, "name"), "a\"b\\x5cc\\x0a\\x01\\xff\\xc3\\xa9</script>");
	assert_null(strchr(fake_event[0], '\n'));
	json_decref(o);
	memset(longest, '\n', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	r.name = longest;
	gate_record(f->g, &r);
	o = event(1);
	assert_true(strlen(text_of(o, "name")) < 330);
	assert_non_null(strstr(text_of(o, "name"), "..."));
	assert_true(strlen(fake_event[1]) < 4096);
	json_decref(o);
}

static void test_dns_and_unknown_source(void **state)
{
	struct fixture *f = *state;
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
	o = event(0);
	assert_string_equal(text_of(o, "qtype"), "TXT");
	assert_string_equal(text_of(o, "name"), "evil.test");
	assert_null(json_object_get(o, "port"));
	assert_null(json_object_get(o, "addr"));
	json_decref(o);
	gate_record(f->g, &u);
	o = event(1);
	assert_true(json_is_null(json_object_get(o, "sandbox")));
	assert_string_equal(text_of(o, "source"), "100.112.9.9");
	assert_string_equal(text_of(o, "proto"), "icmp");
	assert_null(json_object_get(o, "port"));
	json_decref(o);
	r.port = 4711;
	gate_record(f->g, &r);
	o = event(2);
	assert_string_equal(text_of(o, "qtype"), "TYPE4711");
	json_decref(o);
}

static void test_allowed_flow_and_its_end(void **state)
{
	struct fixture *f = *state;
	struct gate_record r = refusal(f->s, "10.1.2.3", 5432);
	json_t *o;

	r.decision = dw_decide_flow(f->s->policy, &f->g->floor, DW_PROTO_TCP, &r.addr, r.port, NULL);
	assert_true(r.decision.verdict != DW_DENY);
	gate_record(f->g, &r);
	gate_record(f->g, &r);
	assert_int_equal(fake_event_n, 2); /* never merged */
	r.closed = true;
	r.bytes_out = 10;
	r.bytes_in = 1ull << 40;
	r.duration_ms = 99;
	gate_record(f->g, &r);
	o = event(2);
	assert_string_equal(text_of(o, "verdict"), "allow");
	assert_string_equal(text_of(o, "rule"), "allow_out[1] 10.0.0.0/8");
	assert_true(json_is_true(json_object_get(o, "closed")));
	assert_int_equal(number_of(o, "bytes_out"), 10);
	assert_int_equal(number_of(o, "bytes_in"), 1ll << 40);
	assert_int_equal(number_of(o, "duration_ms"), 99);
	json_decref(o);
}

/* A port scan: a bounded number of events, every refusal counted, the neighbour still heard. */
static void test_flood_of_kinds(void **state)
{
	struct fixture *f = *state;
	json_int_t total = 0;
	struct gate_record r;

	for (unsigned int port = 1; port <= 60000; port++) {
		r = refusal(f->s, "1.1.1.1", (uint16_t)port);
		gate_record(f->g, &r);
	}
	assert_int_equal(fake_event_n, 256);
	r = refusal(f->t, "1.1.1.1", 80);
	gate_record(f->g, &r);
	assert_int_equal(fake_event_n, 257);
	end_window(f->g);
	assert_int_equal(fake_event_n, 258);
	for (unsigned int i = 0; i < fake_event_n; i++) {
		json_t *o = event(i);

		if (strcmp(text_of(o, "sandbox"), "one") == 0)
			total += number_of(o, "count");
		json_decref(o);
	}
	assert_int_equal(total, 60000);
	assert_int_equal(f->g->loop.heap_n, 0);
}

/* So many sandboxes at once that even the table of all is full: a number remains. */
static void test_flood_of_sandboxes(void **state)
{
	struct fixture *f = *state;
	json_int_t total = 0;
	struct gate_record r = refusal(NULL, "1.1.1.1", 80);
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
	end_window(f->g);
	assert_int_equal(fake_event_n, 1);
	o = event(0);
	assert_int_equal(number_of(o, "count"), 20000 - 16384);
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_first_at_once_repeats_merged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_window_ends_by_the_loop, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kinds_differ, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sandbox_gone_before_the_window, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dns_and_unknown_source, setup, teardown),
		cmocka_unit_test_setup_teardown(test_allowed_flow_and_its_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flood_of_kinds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flood_of_sandboxes, setup, teardown),
	};

	return cmocka_run_group_tests_name("gate/record", tests, NULL, NULL);
}
