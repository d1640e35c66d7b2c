/* SPDX-License-Identifier: Apache-2.0 */
/* The DNS server: what a sandbox may ask, and policies that only observe. */
#include "dns_fixture.h"

#include "gate/limits.h"
#include "gate/resolver.h"

static void test_pending_bound_and_detach(void **state)
{
	struct dns_fixture *f = *state;

	for (unsigned int i = 0; i < GATE_DNS_PENDING_PER_SANDBOX; i++)
		dns_ask(f, "allowed.test", DW_DNS_A);
	assert_int_equal(fake_waiting, GATE_DNS_PENDING_PER_SANDBOX);
	assert_false(dns_take(f, f->client));
	dns_ask(f, "allowed.test", DW_DNS_A);
	assert_true(dns_take(f, f->client));
	assert_int_equal(dns_rcode(), DW_DNS_REFUSED);
	assert_true(dns_text_has("limits.dns_per_second"));
	assert_int_equal(fake_record.decision.reason, DW_REASON_LIMIT_DNS_RATE);
	gate_sandbox_detach(f->g, f->s);
	f->s = NULL;
	assert_int_equal(fake_waiting, 0);
	assert_int_equal(fake_cancelled, GATE_DNS_PENDING_PER_SANDBOX);
	assert_false(dns_take(f, f->client));
}

static struct dw_limits limits_of(uint32_t per_second, uint32_t names)
{
	return (struct dw_limits){ .dns_per_second = per_second, .names_per_minute = names };
}

static void put_limits(struct dns_fixture *f, const struct dw_limits *l)
{
	struct test_policy t = test_policy(dns_allow_list, NULL, false);

	assert_int_equal(gate_sandbox_update(f->g, f->s, 2, l, t.image, t.image_n, t.policy), 0);
}

/* The loop's clock only moves in dw_loop_once; a bucket sees what the test wants. */
static void drain(struct dns_fixture *f)
{
	while (gate_limit_query(f->g, f->s) == DW_REASON_NONE)
		;
}

static void test_rate(void **state)
{
	const struct dw_limits l = limits_of(1, 0);
	struct dns_fixture *f = *state;
	uint8_t q[512];
	size_t n = dns_query("evil.test", DW_DNS_A, q);

	put_limits(f, &l);
	drain(f);
	/* Whatever it asks for, and not even judged: one kind of record. */
	dns_send(f, f->client, "127.0.0.1", f->udp4, q, n);
	assert_true(dns_take(f, f->client));
	assert_int_equal(dns_rcode(), DW_DNS_REFUSED);
	assert_int_equal(dns_ede(), 18);
	assert_true(dns_text_has("limits.dns_per_second"));
	assert_int_equal(fake_record.decision.reason, DW_REASON_LIMIT_DNS_RATE);
	assert_int_equal(fake_record.decision.verdict, DW_DENY);
	assert_string_equal(fake_record_name, "");
	assert_string_equal(fake_record_sandbox, "one");
	assert_int_equal(fake_record.port, 0);
	dns_ask(f, "allowed.test", DW_DNS_A);
	assert_int_equal(fake_questions, 0);
}

/* Of a flood every query is counted, and only so many are answered as could be served. */
static void test_flood_is_cheap(void **state)
{
	const struct dw_limits l = limits_of(3, 0);
	struct dns_fixture *f = *state;
	unsigned int answers = 0;

	put_limits(f, &l);
	drain(f);
	fake_record_n = 0;
	for (int i = 0; i < 60; i++) {
		dns_ask(f, "allowed.test", DW_DNS_A);
		answers += dns_take(f, f->client);
		drain(f);
	}
	assert_int_equal(fake_questions, 0);
	assert_int_equal(fake_record_n, 60);
	assert_in_range(answers, 6, 20);
	/* The rate comes back with time. */
	f->s->query_rate.last_ms -= 1000;
	dns_ask(f, "allowed.test", DW_DNS_A);
	assert_int_equal(fake_questions, 1);
	fake_answer_failed();
}

/* New limits count from the next query on, in both directions. */
static void test_new_limits_at_once(void **state)
{
	struct dns_fixture *f = *state;
	struct dw_limits l = limits_of(1, 0);

	for (int i = 0; i < 20; i++) {
		dns_ask(f, "evil.test", DW_DNS_A);
		assert_true(dns_take(f, f->client));
		assert_false(dns_text_has("limits.dns_per_second"));
	}
	put_limits(f, &l);
	dns_ask(f, "evil.test", DW_DNS_A);
	dns_ask(f, "evil.test", DW_DNS_A);
	while (dns_take(f, f->client))
		;
	dns_ask(f, "evil.test", DW_DNS_A);
	assert_true(dns_take(f, f->client));
	assert_true(dns_text_has("limits.dns_per_second"));
	l = limits_of(100000, 0);
	put_limits(f, &l);
	f->s->query_rate.last_ms -= 10;
	dns_ask(f, "evil.test", DW_DNS_A);
	assert_true(dns_take(f, f->client));
	assert_false(dns_text_has("limits.dns_per_second"));
}

/* A connection that asks too fast is told, and ends; what it has sent beyond is not read. */
static void test_rate_over_tcp(void **state)
{
	const struct dw_limits l = limits_of(1, 0);
	struct dns_fixture *f = *state;
	uint8_t q[2048];
	size_t n = 0;
	int fd = dns_dial(f, "127.0.0.1");

	put_limits(f, &l);
	drain(f);
	fake_record_n = 0;
	for (int i = 0; i < 20; i++)
		n += dns_frame("allowed.test", DW_DNS_A, q + n);
	assert_int_equal(send(fd, q, n, 0), (ssize_t)n);
	assert_true(dns_take_tcp(f, fd));
	assert_int_equal(dns_rcode(), DW_DNS_REFUSED);
	assert_true(dns_text_has("limits.dns_per_second"));
	assert_true(dns_closed(f, fd));
	assert_int_equal(fake_record_n, 1);
	assert_int_equal(f->s->dns_tcp_n, 0);
	assert_int_equal(fake_questions, 0);
	close(fd);
}

/* Names without number are a channel only where a pattern allows them. */
static void test_names_under_patterns(void **state)
{
	static const char *const addrs[] = { "93.184.216.34", NULL };
	const struct dw_limits l = limits_of(0, 3);
	struct dns_fixture *f = *state;
	char name[64];

	put_limits(f, &l);
	for (int i = 0; i < 6; i++) {
		snprintf(name, sizeof(name), "n%d.wild.test", i);
		dns_ask(f, name, DW_DNS_A);
		assert_int_equal(fake_waiting, i < 3);
		if (i < 3)
			fake_answer(0, 60, addrs);
		assert_true(dns_take(f, f->client));
		assert_int_equal(dns_rcode(), i < 3 ? DW_DNS_NOERROR : DW_DNS_REFUSED);
	}
	assert_int_equal(fake_questions, 3);
	assert_int_equal(dns_ede(), 18);
	assert_true(dns_text_has("limits.names_per_minute"));
	assert_int_equal(fake_record.decision.reason, DW_REASON_LIMIT_DNS_NAMES);
	assert_string_equal(fake_record_name, "n5.wild.test");
	/* The same names again, other types of them, and entries that name one host: no limit. */
	for (int i = 0; i < 9; i++) {
		static const char *const again[3] = { "n0.wild.test", "allowed.test", "open.test" };

		dns_ask(f, again[i % 3], i % 2 ? DW_DNS_A : DW_DNS_AAAA);
		assert_int_equal(fake_waiting, 1);
		fake_answer(0, 60, NULL);
		assert_true(dns_take(f, f->client));
		assert_int_equal(dns_rcode(), DW_DNS_NOERROR);
	}
	/* Types that are answered here tell nobody anything. */
	dns_ask(f, "n77.wild.test", 16);
	assert_true(dns_take(f, f->client));
	assert_int_equal(dns_rcode(), DW_DNS_NOERROR);
	f->s->names.start_ms -= 60000;
	dns_ask(f, "n9.wild.test", DW_DNS_A);
	assert_int_equal(fake_waiting, 1);
	fake_answer_failed();
}

/* What others wait for leaves less, but never nothing while there is anything. */
static void test_share_of_the_resolver(void **state)
{
	struct dns_fixture *f = *state;

	fake_others_waiting = GATE_RESOLVE_SLOTS - 64;
	for (unsigned int i = 0; i < 16; i++)
		dns_ask(f, "allowed.test", DW_DNS_A);
	assert_int_equal(fake_waiting, 16);
	dns_ask(f, "allowed.test", DW_DNS_A);
	assert_int_equal(fake_waiting, 16);
	assert_true(dns_take(f, f->client));
	assert_int_equal(dns_rcode(), DW_DNS_SERVFAIL);
	assert_int_equal(fake_record.decision.reason, DW_REASON_GATE_RESOURCES);
	while (fake_waiting > 0)
		fake_answer_failed();
	fake_others_waiting = 0;
}

/* A connection over the bound is accepted and closed, so that its client knows. */
static void test_too_many_connections(void **state)
{
	struct dns_fixture *f = *state;
	int fd = dns_dial(f, "127.0.0.1");
	int over;

	assert_false(dns_closed(f, fd));
	f->s->dns_tcp_n += 15;
	over = dns_dial(f, "127.0.0.1");
	assert_true(dns_closed(f, over));
	assert_int_equal(fake_record.decision.reason, DW_REASON_LIMIT_DNS_RATE);
	assert_string_equal(fake_record_sandbox, "one");
	f->s->dns_tcp_n -= 15;
	close(over);
	close(fd);
}

static void observe(struct dns_fixture *f)
{
	static const char *const deny[] = { "evil.test", NULL };
	struct test_policy t = test_policy_observing(dns_allow_list, deny);

	assert_int_equal(gate_sandbox_update(f->g, f->s, 2, &(struct dw_limits){ 0 }, t.image, t.image_n, t.policy), 0);
}

/* A policy that only observes: what it would refuse is resolved, pinned and told. */
static void test_observe(void **state)
{
	static const struct {
		const char *name;
		enum dw_reason would;
	} rows[] = {
		{ "other.test", DW_REASON_NAME_NOT_ALLOWED },
		{ "evil.test", DW_REASON_DENY_ENTRY },
	};
	static const char *const addrs[] = { "93.184.216.34", NULL };
	struct dns_fixture *f = *state;

	observe(f);
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		dns_ask(f, rows[i].name, DW_DNS_A);
		assert_string_equal(fake_last_name, rows[i].name);
		fake_answer(0, 60, addrs);
		assert_true(dns_take(f, f->client));
		assert_int_equal(dns_rcode(), DW_DNS_NOERROR);
		assert_int_equal(dns_answer(rows[i].name, DW_DNS_A)->addr_n, 1);
		assert_true(dns_pinned(f, rows[i].name, addrs[0], NULL));
		assert_int_equal(fake_record_n, i + 1);
		assert_int_equal(fake_record.decision.verdict, DW_ALLOW);
		assert_int_equal(fake_record.decision.reason, DW_REASON_OBSERVED);
		assert_int_equal(fake_record.decision.would, rows[i].would);
		assert_string_equal(fake_record_name, rows[i].name);
	}
	/* What is allowed anyway is told too, as what it is: who observes wants to know all names. */
	dns_ask(f, "allowed.test", DW_DNS_A);
	fake_answer(0, 60, addrs);
	assert_true(dns_take(f, f->client));
	assert_int_equal(fake_record_n, DW_COUNT(rows) + 1);
	assert_int_equal(fake_record.decision.verdict, DW_ALLOW);
	assert_int_equal(fake_record.decision.reason, DW_REASON_ALLOW_ENTRY);
	assert_int_equal(fake_record.decision.would, DW_REASON_NONE);
}

/* Not everything is the lists' word: private answers, malformed names and limits stay. */
static void test_observe_does_not_open(void **state)
{
	static const char *const addrs[] = { "10.1.2.3", NULL };
	const struct dw_limits l = limits_of(1, 0);
	struct dns_fixture *f = *state;

	observe(f);
	dns_ask(f, "other.test", DW_DNS_A);
	fake_answer(0, 60, addrs);
	assert_true(dns_take(f, f->client));
	assert_int_equal(dns_rcode(), DW_DNS_NOERROR);
	assert_int_equal(dns_answer("other.test", DW_DNS_A)->addr_n, 0);
	assert_int_equal(dns_ede(), 17);
	assert_int_equal(fake_record.decision.verdict, DW_DENY);
	assert_int_equal(fake_record.decision.reason, DW_REASON_PRIVATE_ANSWER);
	assert_int_equal(dw_pins_count(f->s->pins), 0);
	dns_ask(f, "x.2130706433", DW_DNS_A);
	assert_true(dns_take(f, f->client));
	assert_int_equal(dns_rcode(), DW_DNS_REFUSED);
	assert_int_equal(fake_record.decision.reason, DW_REASON_NAME_MALFORMED);
	put_limits(f, &l); /* one a second: none comes back while this runs */
	drain(f);
	dns_ask(f, "other.test", DW_DNS_A);
	assert_int_equal(fake_record.decision.reason, DW_REASON_LIMIT_DNS_RATE);
	assert_int_equal(fake_waiting, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_pending_bound_and_detach, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_rate, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_flood_is_cheap, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_new_limits_at_once, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_rate_over_tcp, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_names_under_patterns, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_share_of_the_resolver, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_too_many_connections, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_observe, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_observe_does_not_open, dns_setup, dns_teardown),
	};

	return cmocka_run_group_tests_name("gate/dns_limits", tests, NULL, NULL);
}
