/* SPDX-License-Identifier: Apache-2.0 */
/* The DNS server: queries that are no good, and who asks. */
#include "dns_fixture.h"

/* EC-037, EC-040, EC-042: nothing of these is read in two ways. */
static void test_malformed(void **state)
{
	struct dns_fixture *f = *state;
	uint8_t q[600];
	size_t n = dns_query("allowed.test", DW_DNS_A, q);
	uint8_t bad[600];

	memcpy(bad, q, n);
	bad[5] = 2; /* QDCOUNT */
	dns_send(f, f->client, "127.0.0.1", f->udp4, bad, n);
	assert_true(dns_take(f, f->client));
	assert_int_equal(dns_rcode(), DW_DNS_FORMERR);
	assert_int_equal(dns_got_n, 12);
	assert_int_equal(fake_record.decision.reason, DW_REASON_DNS_MALFORMED);
	memcpy(bad, q, n);
	bad[n] = 0; /* a byte behind */
	dns_send(f, f->client, "127.0.0.1", f->udp4, bad, n + 1);
	assert_true(dns_take(f, f->client));
	assert_int_equal(dns_rcode(), DW_DNS_FORMERR);
	memcpy(bad, q, n);
	bad[2] |= 0x80; /* a response: never answered */
	dns_send(f, f->client, "127.0.0.1", f->udp4, bad, n);
	assert_false(dns_take(f, f->client));
	for (size_t cut = 0; cut < n; cut++) {
		dns_send(f, f->client, "127.0.0.1", f->udp4, q, cut);
		assert_int_equal(dns_take(f, f->client), cut >= 12);
	}
	memset(bad, 0, sizeof(bad));
	for (int i = 0; i < 20; i++) {
		uint8_t big[8000] = { 0x47, 0x11 };

		dns_send(f, f->client, "127.0.0.1", f->udp4, big, sizeof(big));
		assert_false(dns_take(f, f->client));
	}
	assert_int_equal(fake_questions, 0);
}

static void test_class_and_names(void **state)
{
	struct dns_fixture *f = *state;
	uint8_t q[512];
	size_t n = dns_query("allowed.test", DW_DNS_A, q);

	q[12 + 14 + 3] = 3; /* CH */
	dns_send(f, f->client, "127.0.0.1", f->udp4, q, n);
	assert_true(dns_take(f, f->client));
	assert_int_equal(dns_rcode(), DW_DNS_REFUSED);
	n = dns_query("allowed.test", DW_DNS_A, q);
	q[13] = 0xc3; /* not a host name */
	dns_send(f, f->client, "127.0.0.1", f->udp4, q, n);
	assert_true(dns_take(f, f->client));
	assert_int_equal(dns_rcode(), DW_DNS_REFUSED);
	assert_int_equal(fake_record.decision.reason, DW_REASON_NAME_MALFORMED);
	n = dns_query("allowed.test", DW_DNS_A, q);
	q[13] = '-'; /* host characters, but no host name */
	dns_send(f, f->client, "127.0.0.1", f->udp4, q, n);
	assert_true(dns_take(f, f->client));
	assert_int_equal(dns_rcode(), DW_DNS_REFUSED);
	assert_int_equal(fake_record.decision.reason, DW_REASON_NAME_MALFORMED);
	n = dns_query("x.2130706433", DW_DNS_A, q); /* a number for some resolvers */
	dns_send(f, f->client, "127.0.0.1", f->udp4, q, n);
	assert_true(dns_take(f, f->client));
	assert_int_equal(dns_rcode(), DW_DNS_REFUSED);
	n = dns_query("allowed.test", DW_DNS_A, q);
	memcpy(q + 13, "ALLowed", 7);
	dns_send(f, f->client, "127.0.0.1", f->udp4, q, n);
	assert_int_equal(fake_questions, 1);
	assert_string_equal(fake_last_name, "allowed.test"); /* what goes upstream is canonical */
	fake_answer_failed();
}

static void test_unknown_source(void **state)
{
	struct dns_fixture *f = *state;
	int fd = dns_client_at("127.0.0.9");
	struct dw_addr source = test_addr("127.0.0.9");
	uint8_t q[512];
	size_t n = dns_query("allowed.test", DW_DNS_A, q);

	dns_send(f, fd, "127.0.0.1", f->udp4, q, n);
	assert_false(dns_take(f, fd));
	assert_int_equal(fake_questions, 0);
	assert_int_equal(fake_record_n, 1);
	assert_true(dw_addr_eq(&fake_record.source, &source));
	assert_int_equal(fake_record.decision.reason, DW_REASON_NO_POLICY);
	close(fd);
}

/* EC-067: what one sandbox resolved opens nothing for another. */
static void test_pins_are_of_one_sandbox(void **state)
{
	static const char *const addrs[] = { "93.184.216.34", NULL };
	struct dns_fixture *f = *state;
	struct gate_sandbox *t = test_attach(f->g, "two", "127.0.0.2", NULL, dns_allow_list, NULL, false);

	dns_ask(f, "allowed.test", DW_DNS_A);
	fake_answer(0, 60, addrs);
	assert_int_equal(dw_pins_count(f->s->pins), 1);
	assert_int_equal(dw_pins_count(t->pins), 0);
	gate_sandbox_detach(f->g, t);
}

static void test_no_ipv6_no_aaaa(void **state)
{
	struct dns_fixture *f = *state;
	struct gate_sandbox *t = test_attach(f->g, "two", "127.0.0.2", NULL, dns_allow_list, NULL, false);
	int fd = dns_client_at("127.0.0.2");
	uint8_t q[512];
	size_t n = dns_query("allowed.test", DW_DNS_AAAA, q);

	dns_send(f, fd, "127.0.0.1", f->udp4, q, n);
	assert_true(dns_take(f, fd));
	assert_int_equal(dns_rcode(), DW_DNS_NOERROR);
	assert_int_equal(fake_questions, 0);
	close(fd);
	gate_sandbox_detach(f->g, t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_malformed, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_class_and_names, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_unknown_source, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_pins_are_of_one_sandbox, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_no_ipv6_no_aaaa, dns_setup, dns_teardown),
	};

	return cmocka_run_group_tests_name("gate/dns_query", tests, NULL, NULL);
}
