/* SPDX-License-Identifier: Apache-2.0 */
/* The DNS server over TCP. */
#include "dns_fixture.h"

#include <errno.h>

/* EC-043: too much for UDP, all of it over TCP. */
static void test_large_answer(void **state)
{
	struct dns_fixture *f = *state;
	struct dw_addr addr[300];
	uint8_t q[600];
	size_t n;
	int fd;

	for (unsigned int i = 0; i < 300; i++) {
		const uint8_t b[4] = { 93, 1, (uint8_t)(i >> 8), (uint8_t)i };

		addr[i] = dw_addr_from4(b);
	}
	dns_ask(f, "allowed.test", DW_DNS_A);
	fake_answer_many(60, addr, 300);
	assert_true(dns_take(f, f->client));
	assert_true(dns_got[2] & 2); /* TC */
	assert_true(dns_got_n <= 1232);
	assert_int_equal(dw_pins_count(f->s->pins), 300);
	fd = dns_dial(f, "127.0.0.1");
	n = dns_frame("allowed.test", DW_DNS_A, q);
	assert_int_equal(send(fd, q, n, 0), (ssize_t)n);
	test_turn(f->g);
	fake_answer_many(60, addr, 300);
	assert_true(dns_take_tcp(f, fd));
	assert_int_equal(dns_got[2] & 2, 0);
	assert_int_equal(dns_answer("allowed.test", DW_DNS_A)->addr_n, 300);
	close(fd);
}

/* Many queries in one segment, then byte by byte; the client closes its half and still gets the last answer. */
static void test_pipelining(void **state)
{
	static const char *const addrs[] = { "93.184.216.34", NULL };
	struct dns_fixture *f = *state;
	uint8_t q[4096];
	size_t n = 0;
	int fd = dns_dial(f, "127.0.0.1");

	n += dns_frame("allowed.test", DW_DNS_A, q + n);
	n += dns_frame("evil.test", DW_DNS_A, q + n);
	n += dns_frame("x.wild.test", DW_DNS_A, q + n);
	assert_int_equal(send(fd, q, n, 0), (ssize_t)n);
	test_turn(f->g);
	assert_int_equal(fake_waiting, 2);
	assert_true(dns_take_tcp(f, fd));
	assert_int_equal(dns_rcode(), DW_DNS_REFUSED); /* does not wait for the first */
	fake_answer(0, 60, addrs);
	assert_true(dns_take_tcp(f, fd));
	assert_int_equal(dns_answer("allowed.test", DW_DNS_A)->addr_n, 1);
	fake_answer(0, 60, addrs);
	assert_true(dns_take_tcp(f, fd));
	assert_int_equal(dns_answer("x.wild.test", DW_DNS_A)->addr_n, 1);
	n = dns_frame("allowed.test", DW_DNS_A, q);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(send(fd, q + i, 1, 0), 1);
		assert_int_equal(dw_loop_once(&f->g->loop, 1), 0);
	}
	shutdown(fd, SHUT_WR);
	test_turn(f->g);
	assert_int_equal(f->s->dns_tcp_n, 1);
	fake_answer(0, 60, addrs);
	assert_true(dns_take_tcp(f, fd));
	assert_true(dns_closed(f, fd));
	assert_int_equal(f->s->dns_tcp_n, 0);
	close(fd);
}

/* Several answers at once for a client that has already shut its half: the last of them too. */
static void test_half_closed_pipeline(void **state)
{
	struct dns_fixture *f = *state;
	uint8_t q[4096];
	size_t n = 0;
	int fd = dns_dial(f, "127.0.0.1");

	for (int i = 0; i < 20; i++)
		n += dns_frame("evil.test", DW_DNS_A, q + n);
	assert_int_equal(send(fd, q, n, 0), (ssize_t)n);
	shutdown(fd, SHUT_WR);
	for (int i = 0; i < 20; i++) {
		assert_true(dns_take_tcp(f, fd));
		assert_int_equal(dns_rcode(), DW_DNS_REFUSED);
	}
	assert_true(dns_closed(f, fd));
	close(fd);
}

static void test_tcp_in_flight_bound(void **state)
{
	static const char *const addrs[] = { "93.184.216.34", NULL };
	struct dns_fixture *f = *state;
	uint8_t q[4096];
	size_t n = 0;
	int fd = dns_dial(f, "127.0.0.1");

	for (int i = 0; i < 80; i++)
		n += dns_frame("allowed.test", DW_DNS_A, q + n);
	assert_int_equal(send(fd, q, n, 0), (ssize_t)n);
	test_turn(f->g);
	assert_int_equal(fake_waiting, 32);
	for (int i = 0; i < 80; i++) {
		fake_answer(0, 60, addrs);
		assert_true(dns_take_tcp(f, fd));
	}
	assert_int_equal(fake_waiting, 0);
	assert_int_equal(fake_questions, 80);
	close(fd);
}

static void test_tcp_client_leaves(void **state)
{
	static const char *const addrs[] = { "93.184.216.34", NULL };
	const struct linger reset = { .l_onoff = 1 };
	struct dns_fixture *f = *state;
	uint8_t q[1024];
	size_t n = dns_frame("allowed.test", DW_DNS_A, q);
	int fd;

	n += dns_frame("allowed.test", DW_DNS_A, q + n);
	/* Noticed by the loop: the queries stay, for the resolver is still at work, and nobody is answered. */
	fd = dns_dial(f, "127.0.0.1");
	assert_int_equal(send(fd, q, n, 0), (ssize_t)n);
	test_turn(f->g);
	assert_int_equal(fake_waiting, 2);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
	close(fd);
	test_turn(f->g);
	assert_int_equal(fake_waiting, 2);
	assert_int_equal(f->s->query_n, 2);
	assert_int_equal(f->s->dns_tcp_n, 0);
	fake_answer(0, 60, addrs);
	fake_answer(0, 60, addrs);
	assert_int_equal(fake_waiting, 0);
	assert_int_equal(f->s->query_n, 0);
	assert_int_equal(dw_pins_count(f->s->pins), 0);
	/* Noticed by writing an answer: the query that is being answered is not freed twice. */
	fd = dns_dial(f, "127.0.0.1");
	assert_int_equal(send(fd, q, n, 0), (ssize_t)n);
	test_turn(f->g);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
	close(fd);
	fake_answer(0, 60, addrs);
	assert_int_equal(f->s->dns_tcp_n, 0);
	assert_int_equal(fake_waiting, 1);
	fake_answer(0, 60, addrs);
	assert_int_equal(fake_waiting, 0);
	assert_int_equal(f->s->query_n, 0);
	/* And with the sandbox they end at once. */
	fd = dns_dial(f, "127.0.0.1");
	assert_int_equal(send(fd, q, n, 0), (ssize_t)n);
	test_turn(f->g);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
	close(fd);
	test_turn(f->g);
	assert_int_equal(fake_waiting, 2);
	gate_dns_forget(f->g, f->s);
	assert_int_equal(fake_waiting, 0);
	assert_int_equal(f->s->query_n, 0);
}

static void test_tcp_bounds(void **state)
{
	struct dns_fixture *f = *state;
	int fd[20];
	uint8_t q[512];
	uint8_t bad[2] = { 0xff, 0xff };
	size_t n = dns_frame("evil.test", DW_DNS_A, q);

	for (int i = 0; i < 20; i++)
		fd[i] = dns_dial(f, "127.0.0.1");
	assert_int_equal(f->s->dns_tcp_n, GATE_DNS_TCP_PER_SANDBOX);
	assert_true(dns_closed(f, fd[19]));
	assert_false(dns_closed(f, fd[0]));
	assert_int_equal(send(fd[0], bad, 2, 0), 2); /* a length no query has */
	assert_true(dns_closed(f, fd[0]));
	assert_int_equal(fake_record.decision.reason, DW_REASON_DNS_MALFORMED);
	memset(bad, 0, 2);
	assert_int_equal(send(fd[1], bad, 2, 0), 2);
	assert_true(dns_closed(f, fd[1]));
	/* The deadline moves for a whole query only. */
	assert_int_equal(send(fd[2], q, n, 0), (ssize_t)n);
	assert_int_equal(send(fd[3], q, n - 1, 0), (ssize_t)n - 1);
	test_turn(f->g);
	for (uint32_t i = 0; i < f->g->loop.heap_n; i++)
		assert_in_range(f->g->loop.heap[i]->at_ms, f->g->loop.now_ms + 8000, f->g->loop.now_ms + 10000);
	while (f->g->loop.heap_n > 0) {
		struct dw_timer *t = f->g->loop.heap[0];

		dw_timer_del(&f->g->loop, t);
		t->fn(t->arg);
	}
	assert_int_equal(f->s->dns_tcp_n, 0);
	for (int i = 0; i < 20; i++)
		close(fd[i]);
}

static void test_tcp_detach(void **state)
{
	struct dns_fixture *f = *state;
	uint8_t q[512];
	size_t n = dns_frame("allowed.test", DW_DNS_A, q);
	int fd = dns_dial(f, "127.0.0.1");
	int stranger = dns_dial(f, "127.0.0.9");

	assert_true(dns_closed(f, stranger));
	close(stranger);
	assert_int_equal(send(fd, q, n, 0), (ssize_t)n);
	test_turn(f->g);
	assert_int_equal(fake_waiting, 1);
	gate_sandbox_detach(f->g, f->s);
	f->s = NULL;
	assert_int_equal(fake_waiting, 0);
	assert_true(dns_closed(f, fd));
	close(fd);
}

/* A client that does not read its answers is not read either, and ends. */
static void test_tcp_back_pressure(void **state)
{
	struct dns_fixture *f = *state;
	struct dw_addr addr[500];
	uint8_t q[512];
	size_t n = dns_frame("allowed.test", DW_DNS_A, q);
	int fd = dns_dial(f, "127.0.0.1");
	const int small = 4096;
	unsigned int sent = 0;

	for (unsigned int i = 0; i < 500; i++) {
		const uint8_t b[4] = { 93, 2, (uint8_t)(i >> 8), (uint8_t)i };

		addr[i] = dw_addr_from4(b);
	}
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	for (; sent < 20000; sent++) {
		if (send(fd, q, n, MSG_DONTWAIT) < 0)
			break;
		assert_int_equal(dw_loop_once(&f->g->loop, 0), 0);
		while (fake_waiting > 0)
			fake_answer_many(60, addr, 500);
	}
	/* What the kernel takes of the answers, and the bound of our own: the other queries wait unread. */
	assert_true(fake_questions < 2000);
	assert_true(sent > fake_questions + 1000);
	assert_int_equal(f->s->dns_tcp_n, 1);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_large_answer, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_pipelining, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_half_closed_pipeline, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_tcp_in_flight_bound, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_tcp_client_leaves, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_tcp_bounds, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_tcp_detach, dns_setup, dns_teardown),
		cmocka_unit_test_setup_teardown(test_tcp_back_pressure, dns_setup, dns_teardown),
	};

	return cmocka_run_group_tests_name("gate/dns_tcp", tests, NULL, NULL);
}
