/* SPDX-License-Identifier: Apache-2.0 */
/* Decision records of allowed flows: alone or counted, and never a byte lost. */
#include "record_fixture.h"

static struct gate_record allowed(struct record_fixture *f, const struct gate_sandbox *s, const char *addr,
				  uint16_t port)
{
	struct gate_record r = record_refusal(s, addr, port);

	r.decision = (struct dw_decision){ .verdict = DW_ALLOW, .reason = DW_REASON_ALLOW_ENTRY, .rule = DW_RULE_NONE };
	r.flow = gate_record_flow_id(f->g);
	return r;
}

static struct gate_record end_of(struct gate_record r, uint64_t out, uint64_t in)
{
	r.closed = true;
	r.bytes_out = out;
	r.bytes_in = in;
	r.duration_ms = 3;
	return r;
}

struct totals {
	json_int_t decided, ended, refused, out, in, ms;
	unsigned int alone, merged;
};

static struct totals totals_of(const char *sandbox)
{
	struct totals t = { 0 };

	for (unsigned int i = 0; i < fake_event_n; i++) {
		json_t *o = record_event(i);
		json_int_t n = record_number(o, "count");

		if (strcmp(record_text(o, "sandbox"), sandbox) != 0) {
			json_decref(o);
			continue;
		}
		if (strcmp(record_text(o, "verdict"), "deny") == 0)
			t.refused += n;
		else if (json_is_true(json_object_get(o, "closed")))
			t.ended += n;
		else
			t.decided += n;
		t.out += record_number(o, "bytes_out");
		t.in += record_number(o, "bytes_in");
		t.ms += record_number(o, "duration_ms");
		if (json_object_get(o, "flow")) {
			assert_int_equal(n, 1);
			t.alone++;
		} else {
			t.merged++;
		}
		json_decref(o);
	}
	return t;
}

static void test_allowed_flow_and_its_end(void **state)
{
	struct record_fixture *f = *state;
	struct gate_record r = record_refusal(f->s, "10.1.2.3", 5432);
	json_t *o;

	r.decision = dw_decide_flow(f->s->policy, &f->g->floor, DW_PROTO_TCP, &r.addr, r.port, NULL);
	assert_true(r.decision.verdict != DW_DENY);
	r.flow = gate_record_flow_id(f->g);
	gate_record(f->g, &r);
	assert_int_equal(fake_event_n, 1);
	r.closed = true;
	r.bytes_out = 10;
	r.bytes_in = 1ull << 40;
	r.duration_ms = 99;
	gate_record(f->g, &r);
	o = record_event(1);
	assert_string_equal(record_text(o, "verdict"), "allow");
	assert_string_equal(record_text(o, "rule"), "allow_out[1] 10.0.0.0/8");
	assert_true(json_is_true(json_object_get(o, "closed")));
	assert_int_equal(record_number(o, "bytes_out"), 10);
	assert_int_equal(record_number(o, "bytes_in"), 1ll << 40);
	assert_int_equal(record_number(o, "duration_ms"), 99);
	json_decref(o);
}

/* A flow is two events under one number, which no other flow has. */
static void test_flow_is_two_events(void **state)
{
	struct record_fixture *f = *state;
	struct gate_record a = allowed(f, f->s, "10.1.2.3", 80);
	struct gate_record b = allowed(f, f->s, "10.1.2.3", 80);
	struct gate_record c = record_refusal(f->s, "10.1.2.3", 80);

	c.flow = 77; /* not a flow that anything came of */
	gate_record(f->g, &a);
	gate_record(f->g, &b);
	gate_record(f->g, &c);
	a = end_of(a, 10, 20);
	b = end_of(b, 1, 2);
	gate_record(f->g, &b);
	gate_record(f->g, &a);
	assert_int_equal(fake_event_n, 5);
	for (unsigned int i = 0; i < fake_event_n; i++) {
		static const unsigned int whose[5] = { 1, 2, 0, 2, 1 };
		json_t *o = record_event(i);

		if (whose[i])
			assert_int_equal(record_number(o, "flow"), whose[i] == 1 ? a.flow : b.flow);
		else
			assert_null(json_object_get(o, "flow"));
		assert_int_equal(json_is_true(json_object_get(o, "closed")), i >= 3);
		if (i == 4)
			assert_int_equal(record_number(o, "bytes_in"), 20);
		json_decref(o);
	}
	assert_true(a.flow != b.flow);
	record_end_window(f->g);
	assert_int_equal(fake_event_n, 5);
}

/* Thousands of allowed flows: the first ones alone, the others in two numbers, and no byte is lost. */
static void test_flood_of_allowed_flows(void **state)
{
	struct record_fixture *f = *state;
	static struct gate_record r[3000];
	struct gate_record other;
	struct totals t;

	for (unsigned int i = 0; i < DW_COUNT(r); i++) {
		r[i] = allowed(f, f->s, "10.1.2.3", 80);
		gate_record(f->g, &r[i]);
	}
	/* A burst of 100, all of it with numbers; the neighbour has a budget of its own. */
	assert_int_equal(fake_event_n, 100);
	other = allowed(f, f->t, "10.1.2.3", 80);
	gate_record(f->g, &other);
	assert_int_equal(fake_event_n, 101);
	record_end_window(f->g);
	assert_int_equal(fake_event_n, 102);
	/* The ends, in another order. */
	for (unsigned int i = 0; i < DW_COUNT(r); i++) {
		const struct gate_record e = end_of(r[(i * 7) % DW_COUNT(r)], 1000 + i, i);

		gate_record(f->g, &e);
	}
	assert_int_equal(fake_event_n, 202);
	record_end_window(f->g);
	assert_int_equal(fake_event_n, 203);
	t = totals_of("one");
	assert_int_equal(t.alone, 200);
	assert_int_equal(t.merged, 2);
	assert_int_equal(t.decided, 3000);
	assert_int_equal(t.ended, 3000);
	assert_int_equal(t.out, 3000 * 1000 + 3000 * 2999 / 2);
	assert_int_equal(t.in, 3000 * 2999 / 2);
	assert_int_equal(t.ms, 3 * 3000);
	/* The budget comes back: 50 a second, and two windows have passed. */
	fake_events_clear();
	for (unsigned int i = 0; i < 200; i++) {
		const struct gate_record n = allowed(f, f->s, "10.1.2.3", 80);

		gate_record(f->g, &n);
	}
	assert_int_equal(fake_event_n, 100);
}

/* Ports without number, ended while the sandbox is gone: still a bounded number of events, still every byte. */
static void test_flood_of_allowed_kinds(void **state)
{
	struct record_fixture *f = *state;
	static struct gate_record r[5000];
	struct gate_record no = record_refusal(f->s, "1.1.1.1", 80);
	struct totals t;

	for (unsigned int i = 0; i < DW_COUNT(r); i++) {
		r[i] = allowed(f, f->s, "10.1.2.3", (uint16_t)i);
		r[i].decision.would = i % 2 ? DW_REASON_NOT_IN_ALLOW_OUT : DW_REASON_NONE;
		r[i].decision.reason = i % 2 ? DW_REASON_OBSERVED : DW_REASON_ALLOW_ENTRY;
		gate_record(f->g, &r[i]);
	}
	/* What is refused meanwhile is heard at once. */
	assert_int_equal(fake_event_n, 100);
	gate_record(f->g, &no);
	assert_int_equal(fake_event_n, 101);
	for (unsigned int i = 0; i < DW_COUNT(r); i++) {
		r[i] = end_of(r[i], 1, 2);
		gate_record(f->g, &r[i]);
	}
	gate_sandbox_detach(f->g, f->s);
	assert_int_equal(dw_loop_once(&f->g->loop, 0), 0);
	record_end_window(f->g);
	assert_true(fake_event_n <= 201 + 256 + 4);
	t = totals_of("one");
	assert_int_equal(t.decided, 5000);
	assert_int_equal(t.ended, 5000);
	assert_int_equal(t.refused, 1);
	assert_int_equal(t.out, 5000);
	assert_int_equal(t.in, 10000);
	assert_int_equal(f->g->loop.heap_n, 0);
	for (unsigned int i = 101; i < fake_event_n; i++) {
		json_t *o = record_event(i);

		/* The two words are never added up. */
		assert_int_equal(strcmp(record_text(o, "reason"), "observed") == 0,
				 strcmp(record_text(o, "would"), "not_in_allow_out") == 0);
		json_decref(o);
	}
}

/* So full that there is no room for kinds: what flows carried is still found under their sandbox. */
static void test_bytes_when_all_tables_are_full(void **state)
{
	struct record_fixture *f = *state;
	struct gate_record r = record_refusal(NULL, "1.1.1.1", 80);
	struct gate_record e;

	for (unsigned int i = 0; i < 16384; i++) {
		uint8_t b[4] = { 100, 96, (uint8_t)(i >> 8), (uint8_t)i };

		r.source = dw_addr_from4(b);
		gate_record(f->g, &r);
		if (fake_event_n == 4000)
			fake_events_clear();
	}
	fake_events_clear();
	for (unsigned int i = 0; i < 1000; i++) {
		e = end_of(record_refusal(f->s, "10.1.2.3", (uint16_t)i), 5, 6);
		e.decision.verdict = DW_ALLOW;
		gate_record(f->g, &e);
	}
	assert_int_equal(fake_event_n, 0);
	record_end_window(f->g);
	assert_int_equal(fake_event_n, 1);
	assert_int_equal(totals_of("one").out, 5000);
	assert_int_equal(totals_of("one").in, 6000);
	assert_int_equal(totals_of("one").ended, 1000);
}

/* As many flows as there can be, and they come and go: none of their numbers stays behind, none is taken for another. */
static void test_numbers_of_flows_do_not_pile_up(void **state)
{
	struct record_fixture *f = *state;
	static struct gate_record open[16384];

	for (unsigned int i = 0; i < 100000; i++) {
		struct gate_record *r = &open[(i * 2654435761u) >> 18];

		f->g->loop.now_ms += 20; /* the pace of the budget */
		if (r->flow) {
			const struct gate_record e = end_of(*r, 1, 1);
			json_t *o;

			fake_events_clear();
			gate_record(f->g, &e);
			o = record_event(0);
			assert_int_equal(record_number(o, "flow"), r->flow);
			json_decref(o);
			gate_record(f->g, &e); /* twice is not the same flow */
			assert_int_equal(fake_event_n, 1);
		}
		fake_events_clear();
		*r = allowed(f, f->s, "10.1.2.3", 80);
		gate_record(f->g, r);
		assert_int_equal(fake_event_n, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_allowed_flow_and_its_end, record_setup, record_teardown),
		cmocka_unit_test_setup_teardown(test_flow_is_two_events, record_setup, record_teardown),
		cmocka_unit_test_setup_teardown(test_flood_of_allowed_flows, record_setup, record_teardown),
		cmocka_unit_test_setup_teardown(test_flood_of_allowed_kinds, record_setup, record_teardown),
		cmocka_unit_test_setup_teardown(test_bytes_when_all_tables_are_full, record_setup, record_teardown),
		cmocka_unit_test_setup_teardown(test_numbers_of_flows_do_not_pile_up, record_setup, record_teardown),
	};

	return cmocka_run_group_tests_name("gate/record_flows", tests, NULL, NULL);
}
