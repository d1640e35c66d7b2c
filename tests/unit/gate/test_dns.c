/* SPDX-License-Identifier: Apache-2.0 */
/* The DNS server: which names go upstream, what of an answer is passed on, and what is pinned. */
#include "dns_fixture.h"

static void test_allowed(void **state)
{
	static const char *const addrs[] = { "93.184.216.34", "93.184.216.35", NULL };
	struct dns_fixture *f = *state;
	struct dw_pin pin;

	dns_ask(f, "allowed.test", DW_DNS_A);
	assert_int_equal(fake_waiting, 1);
	assert_string_equal(fake_last_name, "allowed.test");
	assert_int_equal(fake_last_type, DW_DNS_A);
	assert_false(dns_take(f, f->client));
	assert_int_equal(f->s->query_n, 1);
	fake_answer(0, 60, addrs);
	assert_int_equal(f->s->query_n, 0);
	assert_true(dns_take(f, f->client));
	assert_int_equal(dns_rcode(), DW_DNS_NOERROR);
	assert_int_equal(dns_answer("allowed.test", DW_DNS_A)->addr_n, 2);
	assert_int_equal(dns_answer("allowed.test", DW_DNS_A)->ttl, 60);
	assert_int_equal(dns_ede(), -1);
	assert_true(dns_pinned(f, "allowed.test", "93.184.216.34", &pin));
	assert_true(dns_pinned(f, "allowed.test", "93.184.216.35", NULL));
	assert_in_range(pin.expires_ms, f->g->loop.now_ms + 50000, f->g->loop.now_ms + 60000);
	assert_int_equal(fake_record_n, 0);
}

/* The answer comes from whichever address was asked. */
static void test_any_server_address(void **state)
{
	static const char *const addrs[] = { "2001:4860::1", NULL };
	struct dns_fixture *f = *state;
	struct dw_addr asked = test_addr("127.8.8.8");
	uint8_t q[512];
	size_t n = dns_query("a.b.wild.test", DW_DNS_AAAA, q);
	int six;

	dns_send(f, f->client, "127.8.8.8", f->udp4, q, n);
	fake_answer(0, 60, addrs);
	assert_true(dns_take(f, f->client));
	assert_true(dw_addr_eq(&dns_got_from, &asked));
	assert_int_equal(dns_answer("a.b.wild.test", DW_DNS_AAAA)->addr_n, 1);
	if (f->g->fds.dns_udp6 < 0)
		return;
	six = dns_client_at("::1");
	dns_send(f, six, "::1", f->udp6, q, n);
	fake_answer(0, 60, addrs);
	assert_true(dns_take(f, six));
	close(six);
}

static void test_refused(void **state)
{
	static const char *const names[] = { "evil.test", "wild.test", "x.allowed.test", "secret-data.evil.test",
					     "4.3.2.1.in-addr.arpa" };
	static const uint16_t types[] = { DW_DNS_A, DW_DNS_AAAA, DW_DNS_HTTPS, 16, 12, 255, 10 };
	struct dns_fixture *f = *state;
	unsigned int n = 0;

	for (size_t i = 0; i < DW_COUNT(names); i++) {
		for (size_t t = 0; t < DW_COUNT(types); t++) {
			dns_ask(f, names[i], types[t]);
			assert_true(dns_take(f, f->client));
			assert_int_equal(dns_rcode(), DW_DNS_REFUSED);
			assert_int_equal(dns_ede(), 18);
			assert_true(dns_text_has("no entry of allow_out"));
			assert_int_equal(fake_record_n, ++n);
			assert_string_equal(fake_record_name, names[i]);
			assert_string_equal(fake_record_sandbox, "one");
			assert_int_equal(fake_record.proto, DW_PROTO_DNS);
			assert_int_equal(fake_record.port, types[t]);
			assert_int_equal(fake_record.decision.verdict, DW_DENY);
			assert_int_equal(fake_record.decision.reason, DW_REASON_NAME_NOT_ALLOWED);
		}
	}
	assert_int_equal(fake_questions, 0);
}

/* Record types as a channel (EC-036): answered here. */
static void test_other_types(void **state)
{
	static const uint16_t types[] = { 16, 10, 15, 33, 5, 255, 12, 2, 6, 64, 43, 99, 65535 };
	struct dns_fixture *f = *state;

	for (size_t i = 0; i < DW_COUNT(types); i++) {
		dns_ask(f, "allowed.test", types[i]);
		assert_true(dns_take(f, f->client));
		assert_int_equal(dns_rcode(), DW_DNS_NOERROR);
		assert_int_equal(dns_got[6] << 8 | dns_got[7], 0);
	}
	assert_int_equal(fake_questions, 0);
	assert_int_equal(fake_record_n, 0);
}

static void test_localhost(void **state)
{
	static const char *const names[] = { "localhost", "LOCALHOST", "db.localhost" };
	struct dns_fixture *f = *state;
	struct dw_addr v4 = test_addr("127.0.0.1");
	struct dw_addr v6 = test_addr("::1");

	for (size_t i = 0; i < DW_COUNT(names); i++) {
		const char *canonical = i == 1 ? "localhost" : names[i];
		uint8_t q[512];
		size_t n = dns_query(canonical, DW_DNS_A, q);

		if (i == 1)
			memcpy(q + 13, "LOCALHOST", 9);
		dns_send(f, f->client, "127.0.0.1", f->udp4, q, n);
		assert_true(dns_take(f, f->client));
		assert_true(dw_addr_eq(&dns_answer(canonical, DW_DNS_A)->addr[0], &v4));
		dns_ask(f, canonical, DW_DNS_AAAA);
		assert_true(dns_take(f, f->client));
		assert_true(dw_addr_eq(&dns_answer(canonical, DW_DNS_AAAA)->addr[0], &v6));
		dns_ask(f, canonical, 16);
		assert_true(dns_take(f, f->client));
		assert_int_equal(dns_rcode(), DW_DNS_NXDOMAIN);
	}
	dns_ask(f, "notlocalhost", DW_DNS_A);
	assert_true(dns_take(f, f->client));
	assert_int_equal(dns_rcode(), DW_DNS_REFUSED);
	assert_int_equal(fake_questions, 0);
	assert_int_equal(dw_pins_count(f->s->pins), 0);
}

/* EC-058: what a name cannot open is withheld. */
static void test_private_answers(void **state)
{
	static const struct {
		const char *addr;
		uint16_t type;
		enum dw_reason reason;
	} rows[] = {
		{ "10.1.2.3", DW_DNS_A, DW_REASON_PRIVATE_ANSWER },
		{ "192.168.0.1", DW_DNS_A, DW_REASON_PRIVATE_ANSWER },
		{ "100.64.0.1", DW_DNS_A, DW_REASON_PRIVATE_ANSWER },
		{ "127.0.0.2", DW_DNS_A, DW_REASON_FLOOR_LOOPBACK },
		{ "169.254.169.254", DW_DNS_A, DW_REASON_FLOOR_METADATA },
		{ "0.0.0.0", DW_DNS_A, DW_REASON_FLOOR_RESERVED },
		{ "198.51.1.7", DW_DNS_A, DW_REASON_FLOOR_HOST },
		{ "100.112.1.1", DW_DNS_A, DW_REASON_FLOOR_SANDBOX },
		{ "fd00::1", DW_DNS_AAAA, DW_REASON_PRIVATE_ANSWER },
		{ "fe80::1", DW_DNS_AAAA, DW_REASON_FLOOR_LINK_LOCAL },
		{ "64:ff9b::a00:1", DW_DNS_AAAA, DW_REASON_FLOOR_EMBEDDED },
	};
	struct dns_fixture *f = *state;
	struct dw_addr host = test_addr("198.51.1.7");

	f->g->floor.host = &host;
	f->g->floor.host_n = 1;
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		const char *const addrs[] = { rows[i].addr, NULL };
		struct dw_addr a = test_addr(rows[i].addr);

		dns_ask(f, "allowed.test", rows[i].type);
		fake_answer(0, 60, addrs);
		assert_true(dns_take(f, f->client));
		assert_int_equal(dns_rcode(), DW_DNS_NOERROR);
		assert_int_equal(dns_answer("allowed.test", rows[i].type)->addr_n, 0);
		assert_int_equal(dns_ede(), 17);
		assert_int_equal(fake_record.decision.reason, rows[i].reason);
		assert_true(dw_addr_eq(&fake_record.addr, &a));
		assert_true(dns_text_has(rows[i].addr));
	}
	assert_int_equal(fake_record_n, DW_COUNT(rows));
	assert_int_equal(dw_pins_count(f->s->pins), 0);
}

static void test_mixed_answer(void **state)
{
	static const char *const addrs[] = { "10.0.0.1", "93.184.216.34", "127.0.0.1", NULL };
	struct dns_fixture *f = *state;
	struct dw_addr public = test_addr("93.184.216.34");

	dns_ask(f, "allowed.test", DW_DNS_A);
	fake_answer(0, 60, addrs);
	assert_true(dns_take(f, f->client));
	assert_int_equal(dns_answer("allowed.test", DW_DNS_A)->addr_n, 1);
	assert_true(dw_addr_eq(&dns_answer("allowed.test", DW_DNS_A)->addr[0], &public));
	assert_int_equal(dw_pins_count(f->s->pins), 1);
}

static void test_upstream_says_no(void **state)
{
	struct dns_fixture *f = *state;

	dns_ask(f, "allowed.test", DW_DNS_A);
	fake_answer(DW_DNS_NXDOMAIN, 0, NULL);
	assert_true(dns_take(f, f->client));
	assert_int_equal(dns_rcode(), DW_DNS_NXDOMAIN);
	dns_ask(f, "allowed.test", DW_DNS_AAAA);
	fake_answer(DW_DNS_NOERROR, 0, NULL);
	assert_true(dns_take(f, f->client));
	assert_int_equal(dns_rcode(), DW_DNS_NOERROR);
	assert_int_equal(dns_ede(), -1);
	assert_int_equal(fake_record_n, 0);
	dns_ask(f, "allowed.test", DW_DNS_A);
	fake_answer_failed();
	assert_true(dns_take(f, f->client));
	assert_int_equal(dns_rcode(), DW_DNS_SERVFAIL);
	assert_int_equal(fake_record.decision.reason, DW_REASON_RESOLVER_FAILED);
	fake_resolver_full = true;
	dns_ask(f, "allowed.test", DW_DNS_A);
	assert_true(dns_take(f, f->client));
	assert_int_equal(dns_rcode(), DW_DNS_SERVFAIL);
	assert_int_equal(fake_record.decision.reason, DW_REASON_GATE_RESOURCES);
	assert_int_equal(f->s->query_n, 0);
}

static void test_https(void **state)
{
	static const uint8_t rdata[] = { 0, 1, 0, 0, 1, 0, 3, 2, 'h', '2' };
	struct dns_fixture *f = *state;
	struct dw_dns_https h[DW_DNS_HTTPS_MAX];
	size_t n = 0;
	uint32_t ttl;
	uint16_t code;

	dns_ask(f, "open.test", DW_DNS_HTTPS);
	assert_int_equal(fake_last_type, DW_DNS_HTTPS);
	fake_answer_https(300, rdata, sizeof(rdata));
	assert_true(dns_take(f, f->client));
	assert_int_equal(dw_dns_https_parse(dns_got, dns_got_n, "open.test", h, &n, &ttl, &code), DW_PARSE_OK);
	assert_int_equal(n, 1);
	assert_int_equal(ttl, 300);
	assert_int_equal(dw_pins_count(f->s->pins), 0);
}

static void test_ttl(void **state)
{
	static const char *const addrs[] = { "93.184.216.34", NULL };
	struct dns_fixture *f = *state;
	struct dw_pin pin;

	dns_ask(f, "allowed.test", DW_DNS_A);
	fake_answer(0, 0, addrs);
	assert_true(dns_take(f, f->client));
	assert_int_equal(dns_answer("allowed.test", DW_DNS_A)->ttl, 0);
	assert_true(dns_pinned(f, "allowed.test", "93.184.216.34", &pin));
	assert_int_equal(pin.expires_ms, f->g->loop.now_ms / 1000 == 0 ? 1000 : pin.expires_ms);
	assert_true(pin.expires_ms > f->g->loop.now_ms); /* usable at once */
	dns_ask(f, "allowed.test", DW_DNS_A);
	fake_answer(0, 0x7fffffff, addrs);
	assert_true(dns_take(f, f->client));
	assert_int_equal(dns_answer("allowed.test", DW_DNS_A)->ttl, 3600);
	assert_true(dns_pinned(f, "allowed.test", "93.184.216.34", &pin));
	assert_in_range(pin.expires_ms, f->g->loop.now_ms + 3500000, f->g->loop.now_ms + 3600000);
}

/* The policy that counts is the one in force when the answer comes. */
static void test_policy_changes_meanwhile(void **state)
{
	static const char *const other[] = { "other.test", NULL };
	static const char *const addrs[] = { "93.184.216.34", NULL };
	struct dns_fixture *f = *state;
	struct test_policy t = test_policy(other, NULL, false);

	dns_ask(f, "allowed.test", DW_DNS_A);
	gate_sandbox_update(f->g, f->s, 2, &(struct dw_limits){ 0 }, t.image, t.image_n, t.policy);
	fake_answer(0, 60, addrs);
	assert_true(dns_take(f, f->client));
	assert_int_equal(dns_rcode(), DW_DNS_REFUSED);
	assert_int_equal(dw_pins_count(f->s->pins), 0);
}

static void fill_pins(struct gate_sandbox *s)
{
	for (uint32_t i = 0; i < DW_PINS_MAX; i++) {
		const uint8_t b[4] = { 11, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i };
		struct dw_addr a = dw_addr_from4(b);

		assert_true(dw_pins_add(s->pins, "full.test", &a, 1));
	}
}

/* EC-050: an address that could not be pinned is not answered; where no pin is needed it is. */
static void test_pin_limit(void **state)
{
	static const char *const addrs[] = { "93.184.216.34", NULL };
	static const char *const deny[] = { "evil.test", NULL };
	struct dns_fixture *f = *state;
	struct test_policy t = test_policy(NULL, deny, true);

	fill_pins(f->s);
	dns_ask(f, "allowed.test", DW_DNS_A);
	fake_answer(0, 60, addrs);
	assert_true(dns_take(f, f->client));
	assert_int_equal(dns_rcode(), DW_DNS_SERVFAIL);
	assert_int_equal(dns_answer("allowed.test", DW_DNS_A)->addr_n, 0);
	assert_int_equal(fake_record.decision.reason, DW_REASON_PIN_LIMIT);
	gate_sandbox_update(f->g, f->s, 2, &(struct dw_limits){ 0 }, t.image, t.image_n, t.policy);
	dns_ask(f, "allowed.test", DW_DNS_A);
	fake_answer(0, 60, addrs);
	assert_true(dns_take(f, f->client));
	assert_int_equal(dns_rcode(), DW_DNS_NOERROR);
	assert_int_equal(dns_answer("allowed.test", DW_DNS_A)->addr_n, 1);
}

#ifdef DECLAW_TEST_HOOKS
static void test_pin_fails(void **state)
{
	static const char *const addrs[] = { "93.184.216.34", NULL };
	struct dns_fixture *f = *state;

	setenv("DECLAW_TEST_PIN_FAIL", "1", 1);
	dns_ask(f, "allowed.test", DW_DNS_A);
	fake_answer(0, 60, addrs);
	unsetenv("DECLAW_TEST_PIN_FAIL");
	assert_true(dns_take(f, f->client));
	assert_int_equal(dns_rcode(), DW_DNS_SERVFAIL);
	assert_int_equal(dw_pins_count(f->s->pins), 0);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_allowed, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_any_server_address, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_refused, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_other_types, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_localhost, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_private_answers, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_mixed_answer, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_upstream_says_no, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_https, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_ttl, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_policy_changes_meanwhile, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_pin_limit, dns_setup, dns_teardown),
#ifdef DECLAW_TEST_HOOKS
		cmocka_unit_test_setup_teardown(test_pin_fails, dns_setup, dns_teardown),
#endif
	};

	return cmocka_run_group_tests_name("gate/dns", tests, NULL, NULL);
}
