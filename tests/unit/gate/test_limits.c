/* SPDX-License-Identifier: Apache-2.0 */
/* The limits of one sandbox, and its share of the gate's own bounds. */
#include "gate_test.h"

#include "gate/limits.h"

static const char *const allow_list[] = { "named.test", "*.wild.test", "~[a-z]+[.]regex[.]test", NULL };

struct fixture {
	struct gate *g;
	struct gate_sandbox *s, *t;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->g = test_gate_new();
	f->s = test_attach(f->g, "one", "100.112.1.1", NULL, allow_list, NULL, false);
	f->t = test_attach(f->g, "two", "100.112.1.2", NULL, allow_list, NULL, false);
	fake_total = 0;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	f->s->flow_n = f->s->half_open_n = f->t->flow_n = 0;
	gate_sandbox_detach(f->g, f->s);
	gate_sandbox_detach(f->g, f->t);
	fake_total = 7;
	test_gate_free(f->g);
	free(f);
	return 0;
}

static void put_limits(struct fixture *f, const struct dw_limits *l)
{
	struct test_policy t = test_policy(allow_list, NULL, false);

	assert_int_equal(gate_sandbox_update(f->g, f->s, f->s->generation + 1, l, t.image, t.image_n, t.policy), 0);
}

static void test_defaults(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(f->s->limits.flows, DW_LIMIT_FLOWS);
	assert_int_equal(f->s->limits.half_open, DW_LIMIT_HALF_OPEN);
	assert_int_equal(f->s->limits.flows_per_second, DW_LIMIT_FLOWS_PER_SECOND);
	assert_int_equal(f->s->limits.dns_per_second, DW_LIMIT_DNS_PER_SECOND);
	assert_int_equal(f->s->limits.names_per_minute, DW_LIMIT_NAMES_PER_MINUTE);
	assert_int_equal(f->s->limits.bytes, 0);
	assert_int_equal(gate_limit_flow(f->g, f->s), DW_REASON_NONE);
	assert_int_equal(gate_limit_query(f->g, f->s), DW_REASON_NONE);
	assert_true(gate_limit_bytes(f->s, UINT64_MAX / 4, UINT64_MAX / 4));
	assert_int_equal(gate_limit_flow(f->g, f->s), DW_REASON_NONE);
}

static void test_flows_and_half_open(void **state)
{
	const struct dw_limits l = { .flows = 10, .half_open = 3 };
	struct fixture *f = *state;

	put_limits(f, &l);
	f->s->flow_n = 9;
	f->s->half_open_n = 2;
	assert_int_equal(gate_limit_flow(f->g, f->s), DW_REASON_NONE);
	f->s->half_open_n = 3;
	assert_int_equal(gate_limit_flow(f->g, f->s), DW_REASON_LIMIT_HALF_OPEN);
	f->s->flow_n = 10;
	assert_int_equal(gate_limit_flow(f->g, f->s), DW_REASON_LIMIT_FLOWS);
	f->s->half_open_n = 0;
	assert_int_equal(gate_limit_flow(f->g, f->s), DW_REASON_LIMIT_FLOWS);
	assert_int_equal(gate_limit_flow(f->g, f->t), DW_REASON_NONE);
}

/* A burst of two seconds' worth, then the rate; a refusal for another reason takes nothing of it. */
static void test_rates(void **state)
{
	const struct dw_limits l = { .flows_per_second = 50, .dns_per_second = 20 };
	struct fixture *f = *state;
	unsigned int flows = 0;
	unsigned int queries = 0;

	put_limits(f, &l);
	f->s->half_open_n = f->s->limits.half_open;
	for (int i = 0; i < 500; i++)
		assert_int_equal(gate_limit_flow(f->g, f->s), DW_REASON_LIMIT_HALF_OPEN);
	f->s->half_open_n = 0;
	for (int i = 0; i < 500; i++) {
		flows += gate_limit_flow(f->g, f->s) == DW_REASON_NONE;
		queries += gate_limit_query(f->g, f->s) == DW_REASON_NONE;
	}
	assert_int_equal(flows, 100);
	assert_int_equal(queries, 40);
	assert_int_equal(gate_limit_flow(f->g, f->s), DW_REASON_LIMIT_FLOW_RATE);
	assert_int_equal(gate_limit_query(f->g, f->s), DW_REASON_LIMIT_DNS_RATE);
	assert_int_equal(gate_limit_flow(f->g, f->t), DW_REASON_NONE);
	assert_int_equal(gate_limit_query(f->g, f->t), DW_REASON_NONE);
	for (int ms = 0; ms < 1000; ms++) {
		f->g->loop.now_ms++;
		flows += gate_limit_flow(f->g, f->s) == DW_REASON_NONE;
		queries += gate_limit_query(f->g, f->s) == DW_REASON_NONE;
	}
	assert_int_equal(flows, 150);
	assert_int_equal(queries, 60);
	/* A day later there are two seconds' worth and no more. */
	f->g->loop.now_ms += 86400u * 1000;
	flows = 0;
	for (int i = 0; i < 500; i++)
		flows += gate_limit_flow(f->g, f->s) == DW_REASON_NONE;
	assert_int_equal(flows, 100);
}

/* New limits count at once, for more and for less; what was counted stays counted. */
static void test_update_counts_at_once(void **state)
{
	struct dw_limits l = { .flows = 1, .bytes = 1000, .names_per_minute = 1 };
	struct fixture *f = *state;
	const uint32_t wild = dw_decide_query(f->s->policy, "a.wild.test").rule;

	f->s->flow_n = 5;
	assert_true(gate_limit_bytes(f->s, 600, 0));
	assert_int_equal(gate_limit_name(f->g, f->s, "a.wild.test", wild), DW_REASON_NONE);
	put_limits(f, &l);
	assert_int_equal(gate_limit_flow(f->g, f->s), DW_REASON_LIMIT_FLOWS);
	assert_int_equal(gate_limit_name(f->g, f->s, "b.wild.test", wild), DW_REASON_LIMIT_DNS_NAMES);
	assert_int_equal(gate_limit_name(f->g, f->s, "a.wild.test", wild), DW_REASON_NONE);
	assert_true(gate_limit_bytes(f->s, 0, 399));
	assert_false(gate_limit_bytes(f->s, 0, 1));
	l = (struct dw_limits){ .flows = 6, .names_per_minute = 2 };
	put_limits(f, &l);
	assert_true(gate_limit_bytes(f->s, 1, 1));
	assert_int_equal(gate_limit_flow(f->g, f->s), DW_REASON_NONE);
	assert_int_equal(gate_limit_name(f->g, f->s, "b.wild.test", wild), DW_REASON_NONE);
	l.bytes = 500; /* less than has gone already */
	put_limits(f, &l);
	assert_int_equal(gate_limit_flow(f->g, f->s), DW_REASON_LIMIT_BYTES);
	assert_false(gate_limit_bytes(f->s, 0, 0));
}

static void test_names(void **state)
{
	const struct dw_limits l = { .names_per_minute = 5 };
	struct fixture *f = *state;
	char name[64];

	put_limits(f, &l);
	for (int i = 0; i < 10; i++) {
		struct dw_decision d;

		snprintf(name, sizeof(name), i % 2 ? "x%c.wild.test" : "x%c.regex.test", 'a' + i);
		d = dw_decide_query(f->s->policy, name);
		assert_true(d.verdict != DW_DENY);
		assert_int_equal(gate_limit_name(f->g, f->s, name, d.rule),
				 i < 5 ? DW_REASON_NONE : DW_REASON_LIMIT_DNS_NAMES);
		/* Neither the neighbour nor an entry that names one host is concerned. */
		assert_int_equal(gate_limit_name(f->g, f->t, name, d.rule), DW_REASON_NONE);
		d = dw_decide_query(f->s->policy, "named.test");
		assert_int_equal(gate_limit_name(f->g, f->s, "named.test", d.rule), DW_REASON_NONE);
	}
	f->g->loop.now_ms += 60000;
	assert_int_equal(gate_limit_name(f->g, f->s, name, dw_decide_query(f->s->policy, name).rule), DW_REASON_NONE);
}

/* However many sandboxes take all they can, there is something left for the next one. */
static void test_share(void **state)
{
	const uint32_t most = GATE_FLOWS_MAX;
	struct fixture *f = *state;
	uint32_t used = 0;

	for (int sandbox = 0; sandbox < 25; sandbox++) {
		uint32_t own = 0;

		while (own < gate_limit_share(most, used)) {
			own++;
			used++;
		}
		assert_true(own >= 16);
		assert_true(own <= most / 4);
	}
	assert_true(used < most);
	assert_int_equal(gate_limit_share(100, 100), 0);
	assert_int_equal(gate_limit_share(100, 101), 0);
	assert_int_equal(gate_limit_share(100, 95), 5);
	/* As a flow meets it: below its own limit, but the gate is full of others'. */
	fake_total = most - 64;
	f->s->flow_n = 16;
	assert_int_equal(gate_limit_flow(f->g, f->s), DW_REASON_GATE_RESOURCES);
	f->t->flow_n = 15;
	assert_int_equal(gate_limit_flow(f->g, f->t), DW_REASON_NONE);
	fake_total = most;
	f->t->flow_n = 0;
	assert_int_equal(gate_limit_flow(f->g, f->t), DW_REASON_GATE_RESOURCES);
}

/* Hundreds of sandboxes with as many DNS connections as they get: the next one gets one. */
static void test_share_of_dns_connections(void **state)
{
	struct fixture *f = *state;
	uint32_t total = 0;

	for (unsigned int sandbox = 0; sandbox < 400; sandbox++) {
		f->s->dns_tcp_n = 0;
		while (gate_limit_dns_conn(f->s, total) == DW_REASON_NONE) {
			f->s->dns_tcp_n++;
			total++;
		}
		assert_in_range(f->s->dns_tcp_n, 1, GATE_DNS_TCP_PER_SANDBOX);
		if (sandbox < 100)
			assert_int_equal(f->s->dns_tcp_n, GATE_DNS_TCP_PER_SANDBOX);
		assert_int_equal(gate_limit_dns_conn(f->s, total), f->s->dns_tcp_n == GATE_DNS_TCP_PER_SANDBOX
									   ? DW_REASON_LIMIT_DNS_RATE
									   : DW_REASON_GATE_RESOURCES);
	}
	f->s->dns_tcp_n = 0;
	assert_int_equal(gate_limit_dns_conn(f->s, GATE_DNS_TCP_MAX - 1), DW_REASON_NONE);
	assert_int_equal(gate_limit_dns_conn(f->s, GATE_DNS_TCP_MAX), DW_REASON_GATE_RESOURCES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_defaults, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flows_and_half_open, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rates, setup, teardown),
		cmocka_unit_test_setup_teardown(test_update_counts_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_share, setup, teardown),
		cmocka_unit_test_setup_teardown(test_share_of_dns_connections, setup, teardown),
	};

	return cmocka_run_group_tests_name("gate/limits", tests, NULL, NULL);
}
