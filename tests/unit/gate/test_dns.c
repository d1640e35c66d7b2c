/* SPDX-License-Identifier: Apache-2.0 */
/* The DNS server over real loopback sockets, with a resolver that the test plays. */
#include "gate_test.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "gate/dns_internal.h"
#include "wire/dns.h"

static const char *const allow_list[] = { "allowed.test", "*.wild.test", "open.test:443", NULL };

struct fixture {
	struct gate *g;
	struct gate_sandbox *s; /* 127.0.0.1 and ::1 */
	uint16_t udp4, tcp4, udp6;
	int client; /* UDP, at 127.0.0.1 */
};

/* The last answer. */
static uint8_t got[65535];
static size_t got_n;
static struct dw_addr got_from;

static int listener(int family, int type, uint16_t *ret_port)
{
	const int on = 1;
	struct sockaddr_storage ss = { .ss_family = (sa_family_t)family };
	socklen_t n = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (family == AF_INET6)
		assert_int_equal(setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, &on, sizeof(on)), 0);
	if (type == SOCK_DGRAM && family == AF_INET)
		assert_int_equal(setsockopt(fd, SOL_IP, IP_RECVORIGDSTADDR, &on, sizeof(on)), 0);
	if (type == SOCK_DGRAM && family == AF_INET6)
		assert_int_equal(setsockopt(fd, SOL_IPV6, IPV6_RECVORIGDSTADDR, &on, sizeof(on)), 0);
	if (bind(fd, (struct sockaddr *)&ss, n) < 0) {
		close(fd);
		return -1;
	}
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 64), 0);
	n = sizeof(ss);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &n), 0);
	DW_IGNORE(dw_addr_from_sockaddr(&ss, ret_port));
	return fd;
}

static int client_at(const char *addr)
{
	struct sockaddr_storage ss;
	struct dw_addr a = test_addr(addr);
	socklen_t n = dw_addr_to_sockaddr(&a, 0, &ss);
	int fd = socket(a.family == DW_AF_4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&ss, n), 0);
	return fd;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	uint16_t port;

	assert_non_null(f);
	fake_questions = fake_waiting = fake_cancelled = fake_record_n = 0;
	fake_resolver_full = false;
	f->g = test_gate_new();
	f->g->fds.dns_udp4 = listener(AF_INET, SOCK_DGRAM, &f->udp4);
	f->g->fds.dns_tcp4 = listener(AF_INET, SOCK_STREAM, &f->tcp4);
	f->g->fds.dns_udp6 = listener(AF_INET6, SOCK_DGRAM, &f->udp6);
	f->g->fds.dns_tcp6 = listener(AF_INET6, SOCK_STREAM, &port);
	assert_int_equal(gate_dns_init(f->g), 0);
	f->s = test_attach(f->g, "one", "127.0.0.1", "::1", allow_list, NULL, false);
	f->client = client_at("127.0.0.1");
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->s)
		gate_sandbox_detach(f->g, f->s);
	test_turn(f->g);
	assert_int_equal(fake_waiting, 0);
	close(f->client);
	close(f->g->fds.dns_udp4);
	close(f->g->fds.dns_tcp4);
	if (f->g->fds.dns_udp6 >= 0)
		close(f->g->fds.dns_udp6);
	if (f->g->fds.dns_tcp6 >= 0)
		close(f->g->fds.dns_tcp6);
	free(f->g->dns->tcp);
	free(f->g->dns);
	test_gate_free(f->g);
	free(f);
	return 0;
}

static void send_to(struct fixture *f, int fd, const char *server, uint16_t port, const void *p, size_t n)
{
	struct sockaddr_storage ss;
	struct dw_addr a = test_addr(server);
	socklen_t ss_n = dw_addr_to_sockaddr(&a, port, &ss);

	assert_int_equal(sendto(fd, p, n, 0, (struct sockaddr *)&ss, ss_n), (ssize_t)n);
	test_turn(f->g);
}

/* Whether an answer came. */
static bool take(struct fixture *f, int fd)
{
	struct sockaddr_storage ss;
	socklen_t ss_n = sizeof(ss);
	uint16_t port;
	ssize_t n;

	test_turn(f->g);
	n = recvfrom(fd, got, sizeof(got), MSG_DONTWAIT, (struct sockaddr *)&ss, &ss_n);
	if (n < 0)
		return false;
	got_n = (size_t)n;
	got_from = dw_addr_from_sockaddr(&ss, &port);
	return true;
}

static size_t query(const char *name, uint16_t type, uint8_t out[static 512])
{
	size_t n = dw_dns_query_build(0x4711, name, type, out, 512);

	assert_true(n > 0);
	return n;
}

static void ask(struct fixture *f, const char *name, uint16_t type)
{
	uint8_t q[512];
	size_t n = query(name, type, q);

	send_to(f, f->client, "127.0.0.1", f->udp4, q, n);
}

static unsigned int rcode(void)
{
	assert_true(got_n >= 12);
	assert_int_equal(got[0] << 8 | got[1], 0x4711);
	assert_true(got[2] & 0x80);
	return got[3] & 15;
}

/* Answers in the last message for the question, by our own parser. */
static struct dw_dns_answer *answer(const char *name, uint16_t type)
{
	static struct dw_dns_answer a;

	assert_int_equal(dw_dns_answer_parse(got, got_n, name, type, &a), DW_PARSE_OK);
	return &a;
}

/* INFO-CODE of the Extended DNS Error at the end of the message, -1 for none. */
static int ede(void)
{
	for (size_t i = 12; i + 6 < got_n; i++) {
		if (got[i] == 0 && got[i + 1] == 15 && i + 4 + (size_t)(got[i + 2] << 8 | got[i + 3]) == got_n)
			return got[i + 4] << 8 | got[i + 5];
	}
	return -1;
}

static bool text_has(const char *words)
{
	return memmem(got, got_n, words, strlen(words)) != NULL;
}

static bool pinned(struct fixture *f, const char *name, const char *addr, struct dw_pin *ret)
{
	struct dw_addr a = test_addr(addr);
	struct dw_pin pin;

	return dw_pins_find(f->s->pins, name, &a, ret ? ret : &pin);
}

static void test_allowed(void **state)
{
	static const char *const addrs[] = { "93.184.216.34", "93.184.216.35", NULL };
	struct fixture *f = *state;
	struct dw_pin pin;

	ask(f, "allowed.test", DW_DNS_A);
	assert_int_equal(fake_waiting, 1);
	assert_string_equal(fake_last_name, "allowed.test");
	assert_int_equal(fake_last_type, DW_DNS_A);
	assert_false(take(f, f->client));
	assert_int_equal(f->s->query_n, 1);
	fake_answer(0, 60, addrs);
	assert_int_equal(f->s->query_n, 0);
	assert_true(take(f, f->client));
	assert_int_equal(rcode(), DW_DNS_NOERROR);
	assert_int_equal(answer("allowed.test", DW_DNS_A)->addr_n, 2);
	assert_int_equal(answer("allowed.test", DW_DNS_A)->ttl, 60);
	assert_int_equal(ede(), -1);
	assert_true(pinned(f, "allowed.test", "93.184.216.34", &pin));
	assert_true(pinned(f, "allowed.test", "93.184.216.35", NULL));
	assert_in_range(pin.expires_ms, f->g->loop.now_ms + 50000, f->g->loop.now_ms + 60000);
	assert_int_equal(fake_record_n, 0);
}

/* The answer comes from whichever address was asked. */
static void test_any_server_address(void **state)
{
	static const char *const addrs[] = { "2001:4860::1", NULL };
	struct fixture *f = *state;
	struct dw_addr asked = test_addr("127.8.8.8");
	uint8_t q[512];
	size_t n = query("a.b.wild.test", DW_DNS_AAAA, q);
	int six;

	send_to(f, f->client, "127.8.8.8", f->udp4, q, n);
	fake_answer(0, 60, addrs);
	assert_true(take(f, f->client));
	assert_true(dw_addr_eq(&got_from, &asked));
	assert_int_equal(answer("a.b.wild.test", DW_DNS_AAAA)->addr_n, 1);
	if (f->g->fds.dns_udp6 < 0)
		return;
	six = client_at("::1");
	send_to(f, six, "::1", f->udp6, q, n);
	fake_answer(0, 60, addrs);
	assert_true(take(f, six));
	close(six);
}

static void test_refused(void **state)
{
	static const char *const names[] = { "evil.test", "wild.test", "x.allowed.test", "secret-data.evil.test",
					     "4.3.2.1.in-addr.arpa" };
	static const uint16_t types[] = { DW_DNS_A, DW_DNS_AAAA, DW_DNS_HTTPS, 16, 12, 255, 10 };
	struct fixture *f = *state;
	unsigned int n = 0;

	for (size_t i = 0; i < DW_COUNT(names); i++) {
		for (size_t t = 0; t < DW_COUNT(types); t++) {
			ask(f, names[i], types[t]);
			assert_true(take(f, f->client));
			assert_int_equal(rcode(), DW_DNS_REFUSED);
			assert_int_equal(ede(), 18);
			assert_true(text_has("no entry of allow_out"));
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
	struct fixture *f = *state;

	for (size_t i = 0; i < DW_COUNT(types); i++) {
		ask(f, "allowed.test", types[i]);
		assert_true(take(f, f->client));
		assert_int_equal(rcode(), DW_DNS_NOERROR);
		assert_int_equal(got[6] << 8 | got[7], 0);
	}
	assert_int_equal(fake_questions, 0);
	assert_int_equal(fake_record_n, 0);
}

static void test_localhost(void **state)
{
	static const char *const names[] = { "localhost", "LOCALHOST", "db.localhost" };
	struct fixture *f = *state;
	struct dw_addr v4 = test_addr("127.0.0.1");
	struct dw_addr v6 = test_addr("::1");

	for (size_t i = 0; i < DW_COUNT(names); i++) {
		const char *canonical = i == 1 ? "localhost" : names[i];
		uint8_t q[512];
		size_t n = query(canonical, DW_DNS_A, q);

		if (i == 1)
			memcpy(q + 13, "LOCALHOST", 9);
		send_to(f, f->client, "127.0.0.1", f->udp4, q, n);
		assert_true(take(f, f->client));
		assert_true(dw_addr_eq(&answer(canonical, DW_DNS_A)->addr[0], &v4));
		ask(f, canonical, DW_DNS_AAAA);
		assert_true(take(f, f->client));
		assert_true(dw_addr_eq(&answer(canonical, DW_DNS_AAAA)->addr[0], &v6));
		ask(f, canonical, 16);
		assert_true(take(f, f->client));
		assert_int_equal(rcode(), DW_DNS_NXDOMAIN);
	}
	ask(f, "notlocalhost", DW_DNS_A);
	assert_true(take(f, f->client));
	assert_int_equal(rcode(), DW_DNS_REFUSED);
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
	struct fixture *f = *state;
	struct dw_addr host = test_addr("198.51.1.7");

	f->g->floor.host = &host;
	f->g->floor.host_n = 1;
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		const char *const addrs[] = { rows[i].addr, NULL };
		struct dw_addr a = test_addr(rows[i].addr);

		ask(f, "allowed.test", rows[i].type);
		fake_answer(0, 60, addrs);
		assert_true(take(f, f->client));
		assert_int_equal(rcode(), DW_DNS_NOERROR);
		assert_int_equal(answer("allowed.test", rows[i].type)->addr_n, 0);
		assert_int_equal(ede(), 17);
		assert_int_equal(fake_record.decision.reason, rows[i].reason);
		assert_true(dw_addr_eq(&fake_record.addr, &a));
		assert_true(text_has(rows[i].addr));
	}
	assert_int_equal(fake_record_n, DW_COUNT(rows));
	assert_int_equal(dw_pins_count(f->s->pins), 0);
}

static void test_mixed_answer(void **state)
{
	static const char *const addrs[] = { "10.0.0.1", "93.184.216.34", "127.0.0.1", NULL };
	struct fixture *f = *state;
	struct dw_addr public = test_addr("93.184.216.34");

	ask(f, "allowed.test", DW_DNS_A);
	fake_answer(0, 60, addrs);
	assert_true(take(f, f->client));
	assert_int_equal(answer("allowed.test", DW_DNS_A)->addr_n, 1);
	assert_true(dw_addr_eq(&answer("allowed.test", DW_DNS_A)->addr[0], &public));
	assert_int_equal(dw_pins_count(f->s->pins), 1);
}

static void test_upstream_says_no(void **state)
{
	struct fixture *f = *state;

	ask(f, "allowed.test", DW_DNS_A);
	fake_answer(DW_DNS_NXDOMAIN, 0, NULL);
	assert_true(take(f, f->client));
	assert_int_equal(rcode(), DW_DNS_NXDOMAIN);
	ask(f, "allowed.test", DW_DNS_AAAA);
	fake_answer(DW_DNS_NOERROR, 0, NULL);
	assert_true(take(f, f->client));
	assert_int_equal(rcode(), DW_DNS_NOERROR);
	assert_int_equal(ede(), -1);
	assert_int_equal(fake_record_n, 0);
	ask(f, "allowed.test", DW_DNS_A);
	fake_answer_failed();
	assert_true(take(f, f->client));
	assert_int_equal(rcode(), DW_DNS_SERVFAIL);
	assert_int_equal(fake_record.decision.reason, DW_REASON_RESOLVER_FAILED);
	fake_resolver_full = true;
	ask(f, "allowed.test", DW_DNS_A);
	assert_true(take(f, f->client));
	assert_int_equal(rcode(), DW_DNS_SERVFAIL);
	assert_int_equal(fake_record.decision.reason, DW_REASON_GATE_RESOURCES);
	assert_int_equal(f->s->query_n, 0);
}

static void test_https(void **state)
{
	static const uint8_t rdata[] = { 0, 1, 0, 0, 1, 0, 3, 2, 'h', '2' };
	struct fixture *f = *state;
	struct dw_dns_https h[DW_DNS_HTTPS_MAX];
	size_t n = 0;
	uint32_t ttl;
	uint16_t code;

	ask(f, "open.test", DW_DNS_HTTPS);
	assert_int_equal(fake_last_type, DW_DNS_HTTPS);
	fake_answer_https(300, rdata, sizeof(rdata));
	assert_true(take(f, f->client));
	assert_int_equal(dw_dns_https_parse(got, got_n, "open.test", h, &n, &ttl, &code), DW_PARSE_OK);
	assert_int_equal(n, 1);
	assert_int_equal(ttl, 300);
	assert_int_equal(dw_pins_count(f->s->pins), 0);
}

static void test_ttl(void **state)
{
	static const char *const addrs[] = { "93.184.216.34", NULL };
	struct fixture *f = *state;
	struct dw_pin pin;

	ask(f, "allowed.test", DW_DNS_A);
	fake_answer(0, 0, addrs);
	assert_true(take(f, f->client));
	assert_int_equal(answer("allowed.test", DW_DNS_A)->ttl, 0);
	assert_true(pinned(f, "allowed.test", "93.184.216.34", &pin));
	assert_int_equal(pin.expires_ms, f->g->loop.now_ms / 1000 == 0 ? 1000 : pin.expires_ms);
	assert_true(pin.expires_ms > f->g->loop.now_ms); /* usable at once */
	ask(f, "allowed.test", DW_DNS_A);
	fake_answer(0, 0x7fffffff, addrs);
	assert_true(take(f, f->client));
	assert_int_equal(answer("allowed.test", DW_DNS_A)->ttl, 3600);
	assert_true(pinned(f, "allowed.test", "93.184.216.34", &pin));
	assert_in_range(pin.expires_ms, f->g->loop.now_ms + 3500000, f->g->loop.now_ms + 3600000);
}

/* EC-037, EC-040, EC-042: nothing of these is read in two ways. */
static void test_malformed(void **state)
{
	struct fixture *f = *state;
	uint8_t q[600];
	size_t n = query("allowed.test", DW_DNS_A, q);
	uint8_t bad[600];

	memcpy(bad, q, n);
	bad[5] = 2; /* QDCOUNT */
	send_to(f, f->client, "127.0.0.1", f->udp4, bad, n);
	assert_true(take(f, f->client));
	assert_int_equal(rcode(), DW_DNS_FORMERR);
	assert_int_equal(got_n, 12);
	assert_int_equal(fake_record.decision.reason, DW_REASON_DNS_MALFORMED);
	memcpy(bad, q, n);
	bad[n] = 0; /* a byte behind */
	send_to(f, f->client, "127.0.0.1", f->udp4, bad, n + 1);
	assert_true(take(f, f->client));
	assert_int_equal(rcode(), DW_DNS_FORMERR);
	memcpy(bad, q, n);
	bad[2] |= 0x80; /* a response: never answered */
	send_to(f, f->client, "127.0.0.1", f->udp4, bad, n);
	assert_false(take(f, f->client));
	for (size_t cut = 0; cut < n; cut++) {
		send_to(f, f->client, "127.0.0.1", f->udp4, q, cut);
		assert_int_equal(take(f, f->client), cut >= 12);
	}
	memset(bad, 0, sizeof(bad));
	for (int i = 0; i < 20; i++) {
		uint8_t big[8000] = { 0x47, 0x11 };

		send_to(f, f->client, "127.0.0.1", f->udp4, big, sizeof(big));
		assert_false(take(f, f->client));
	}
	assert_int_equal(fake_questions, 0);
}

static void test_class_and_names(void **state)
{
	struct fixture *f = *state;
	uint8_t q[512];
	size_t n = query("allowed.test", DW_DNS_A, q);

	q[12 + 14 + 3] = 3; /* CH */
	send_to(f, f->client, "127.0.0.1", f->udp4, q, n);
	assert_true(take(f, f->client));
	assert_int_equal(rcode(), DW_DNS_REFUSED);
	n = query("allowed.test", DW_DNS_A, q);
	q[13] = 0xc3; /* not a host name */
	send_to(f, f->client, "127.0.0.1", f->udp4, q, n);
	assert_true(take(f, f->client));
	assert_int_equal(rcode(), DW_DNS_REFUSED);
	assert_int_equal(fake_record.decision.reason, DW_REASON_NAME_MALFORMED);
	n = query("allowed.test", DW_DNS_A, q);
	q[13] = '-'; /* host characters, but no host name */
	send_to(f, f->client, "127.0.0.1", f->udp4, q, n);
	assert_true(take(f, f->client));
	assert_int_equal(rcode(), DW_DNS_REFUSED);
	assert_int_equal(fake_record.decision.reason, DW_REASON_NAME_MALFORMED);
	n = query("x.2130706433", DW_DNS_A, q); /* a number for some resolvers */
	send_to(f, f->client, "127.0.0.1", f->udp4, q, n);
	assert_true(take(f, f->client));
	assert_int_equal(rcode(), DW_DNS_REFUSED);
	n = query("allowed.test", DW_DNS_A, q);
	memcpy(q + 13, "ALLowed", 7);
	send_to(f, f->client, "127.0.0.1", f->udp4, q, n);
	assert_int_equal(fake_questions, 1);
	assert_string_equal(fake_last_name, "allowed.test"); /* what goes upstream is canonical */
	fake_answer_failed();
}

static void test_unknown_source(void **state)
{
	struct fixture *f = *state;
	int fd = client_at("127.0.0.9");
	struct dw_addr source = test_addr("127.0.0.9");
	uint8_t q[512];
	size_t n = query("allowed.test", DW_DNS_A, q);

	send_to(f, fd, "127.0.0.1", f->udp4, q, n);
	assert_false(take(f, fd));
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
	struct fixture *f = *state;
	struct gate_sandbox *t = test_attach(f->g, "two", "127.0.0.2", NULL, allow_list, NULL, false);

	ask(f, "allowed.test", DW_DNS_A);
	fake_answer(0, 60, addrs);
	assert_int_equal(dw_pins_count(f->s->pins), 1);
	assert_int_equal(dw_pins_count(t->pins), 0);
	gate_sandbox_detach(f->g, t);
}

static void test_no_ipv6_no_aaaa(void **state)
{
	struct fixture *f = *state;
	struct gate_sandbox *t = test_attach(f->g, "two", "127.0.0.2", NULL, allow_list, NULL, false);
	int fd = client_at("127.0.0.2");
	uint8_t q[512];
	size_t n = query("allowed.test", DW_DNS_AAAA, q);

	send_to(f, fd, "127.0.0.1", f->udp4, q, n);
	assert_true(take(f, fd));
	assert_int_equal(rcode(), DW_DNS_NOERROR);
	assert_int_equal(fake_questions, 0);
	close(fd);
	gate_sandbox_detach(f->g, t);
}

static void test_pending_bound_and_detach(void **state)
{
	struct fixture *f = *state;

	for (unsigned int i = 0; i < GATE_DNS_PENDING_PER_SANDBOX; i++)
		ask(f, "allowed.test", DW_DNS_A);
	assert_int_equal(fake_waiting, GATE_DNS_PENDING_PER_SANDBOX);
	assert_false(take(f, f->client));
	ask(f, "allowed.test", DW_DNS_A);
	assert_true(take(f, f->client));
	assert_int_equal(rcode(), DW_DNS_SERVFAIL);
	assert_int_equal(fake_record.decision.reason, DW_REASON_GATE_RESOURCES);
	gate_sandbox_detach(f->g, f->s);
	f->s = NULL;
	assert_int_equal(fake_waiting, 0);
	assert_int_equal(fake_cancelled, GATE_DNS_PENDING_PER_SANDBOX);
	assert_false(take(f, f->client));
}

/* The policy that counts is the one in force when the answer comes. */
static void test_policy_changes_meanwhile(void **state)
{
	static const char *const other[] = { "other.test", NULL };
	static const char *const addrs[] = { "93.184.216.34", NULL };
	struct fixture *f = *state;
	struct test_policy t = test_policy(other, NULL, false);

	ask(f, "allowed.test", DW_DNS_A);
	gate_sandbox_update(f->g, f->s, 2, &(struct dw_limits){ 0 }, t.image, t.image_n, t.policy);
	fake_answer(0, 60, addrs);
	assert_true(take(f, f->client));
	assert_int_equal(rcode(), DW_DNS_REFUSED);
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
	struct fixture *f = *state;
	struct test_policy t = test_policy(NULL, deny, true);

	fill_pins(f->s);
	ask(f, "allowed.test", DW_DNS_A);
	fake_answer(0, 60, addrs);
	assert_true(take(f, f->client));
	assert_int_equal(rcode(), DW_DNS_SERVFAIL);
	assert_int_equal(answer("allowed.test", DW_DNS_A)->addr_n, 0);
	assert_int_equal(fake_record.decision.reason, DW_REASON_PIN_LIMIT);
	gate_sandbox_update(f->g, f->s, 2, &(struct dw_limits){ 0 }, t.image, t.image_n, t.policy);
	ask(f, "allowed.test", DW_DNS_A);
	fake_answer(0, 60, addrs);
	assert_true(take(f, f->client));
	assert_int_equal(rcode(), DW_DNS_NOERROR);
	assert_int_equal(answer("allowed.test", DW_DNS_A)->addr_n, 1);
}

#ifdef DECLAW_TEST_HOOKS
static void test_pin_fails(void **state)
{
	static const char *const addrs[] = { "93.184.216.34", NULL };
	struct fixture *f = *state;

	setenv("DECLAW_TEST_PIN_FAIL", "1", 1);
	ask(f, "allowed.test", DW_DNS_A);
	fake_answer(0, 60, addrs);
	unsetenv("DECLAW_TEST_PIN_FAIL");
	assert_true(take(f, f->client));
	assert_int_equal(rcode(), DW_DNS_SERVFAIL);
	assert_int_equal(dw_pins_count(f->s->pins), 0);
}
#endif

/* TCP. */

static int dial(struct fixture *f, const char *from)
{
	struct sockaddr_storage ss;
	struct dw_addr a = test_addr(from);
	socklen_t n = dw_addr_to_sockaddr(&a, 0, &ss);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&ss, n), 0);
	a = test_addr("127.0.0.1");
	n = dw_addr_to_sockaddr(&a, f->tcp4, &ss);
	assert_int_equal(connect(fd, (struct sockaddr *)&ss, n), 0);
	test_turn(f->g);
	return fd;
}

static size_t frame(const char *name, uint16_t type, uint8_t *out)
{
	uint8_t q[512];
	size_t n = query(name, type, q);

	out[0] = (uint8_t)(n >> 8);
	out[1] = (uint8_t)n;
	memcpy(out + 2, q, n);
	return n + 2;
}

static bool read_all(struct fixture *f, int fd, uint8_t *p, size_t n)
{
	for (int i = 0; n > 0 && i < 200; i++) {
		ssize_t r = recv(fd, p, n, MSG_DONTWAIT);

		if (r == 0)
			return false;
		if (r > 0) {
			p += r;
			n -= (size_t)r;
		}
		assert_int_equal(dw_loop_once(&f->g->loop, r > 0 ? 0 : 5), 0);
	}
	return n == 0;
}

static bool take_tcp(struct fixture *f, int fd)
{
	uint8_t head[2];

	if (!read_all(f, fd, head, 2))
		return false;
	got_n = (size_t)head[0] << 8 | head[1];
	return read_all(f, fd, got, got_n);
}

static bool closed(struct fixture *f, int fd)
{
	char c;

	test_turn(f->g);
	return recv(fd, &c, 1, MSG_DONTWAIT) == 0 || errno == ECONNRESET;
}

/* EC-043: too much for UDP, all of it over TCP. */
static void test_large_answer(void **state)
{
	struct fixture *f = *state;
	struct dw_addr addr[300];
	uint8_t q[600];
	size_t n;
	int fd;

	for (unsigned int i = 0; i < 300; i++) {
		const uint8_t b[4] = { 93, 1, (uint8_t)(i >> 8), (uint8_t)i };

		addr[i] = dw_addr_from4(b);
	}
	ask(f, "allowed.test", DW_DNS_A);
	fake_answer_many(60, addr, 300);
	assert_true(take(f, f->client));
	assert_true(got[2] & 2); /* TC */
	assert_true(got_n <= 1232);
	assert_int_equal(dw_pins_count(f->s->pins), 300);
	fd = dial(f, "127.0.0.1");
	n = frame("allowed.test", DW_DNS_A, q);
	assert_int_equal(send(fd, q, n, 0), (ssize_t)n);
	test_turn(f->g);
	fake_answer_many(60, addr, 300);
	assert_true(take_tcp(f, fd));
	assert_int_equal(got[2] & 2, 0);
	assert_int_equal(answer("allowed.test", DW_DNS_A)->addr_n, 300);
	close(fd);
}

/* Many queries in one segment, then byte by byte; the client closes its half and still gets the last answer. */
static void test_pipelining(void **state)
{
	static const char *const addrs[] = { "93.184.216.34", NULL };
	struct fixture *f = *state;
	uint8_t q[4096];
	size_t n = 0;
	int fd = dial(f, "127.0.0.1");

	n += frame("allowed.test", DW_DNS_A, q + n);
	n += frame("evil.test", DW_DNS_A, q + n);
	n += frame("x.wild.test", DW_DNS_A, q + n);
	assert_int_equal(send(fd, q, n, 0), (ssize_t)n);
	test_turn(f->g);
	assert_int_equal(fake_waiting, 2);
	assert_true(take_tcp(f, fd));
	assert_int_equal(rcode(), DW_DNS_REFUSED); /* does not wait for the first */
	fake_answer(0, 60, addrs);
	assert_true(take_tcp(f, fd));
	assert_int_equal(answer("allowed.test", DW_DNS_A)->addr_n, 1);
	fake_answer(0, 60, addrs);
	assert_true(take_tcp(f, fd));
	assert_int_equal(answer("x.wild.test", DW_DNS_A)->addr_n, 1);
	n = frame("allowed.test", DW_DNS_A, q);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(send(fd, q + i, 1, 0), 1);
		assert_int_equal(dw_loop_once(&f->g->loop, 1), 0);
	}
	shutdown(fd, SHUT_WR);
	test_turn(f->g);
	assert_int_equal(f->s->dns_tcp_n, 1);
	fake_answer(0, 60, addrs);
	assert_true(take_tcp(f, fd));
	assert_true(closed(f, fd));
	assert_int_equal(f->s->dns_tcp_n, 0);
	close(fd);
}

/* Several answers at once for a client that has already shut its half: the last of them too. */
static void test_half_closed_pipeline(void **state)
{
	struct fixture *f = *state;
	uint8_t q[4096];
	size_t n = 0;
	int fd = dial(f, "127.0.0.1");

	for (int i = 0; i < 20; i++)
		n += frame("evil.test", DW_DNS_A, q + n);
	assert_int_equal(send(fd, q, n, 0), (ssize_t)n);
	shutdown(fd, SHUT_WR);
	for (int i = 0; i < 20; i++) {
		assert_true(take_tcp(f, fd));
		assert_int_equal(rcode(), DW_DNS_REFUSED);
	}
	assert_true(closed(f, fd));
	close(fd);
}

static void test_tcp_in_flight_bound(void **state)
{
	static const char *const addrs[] = { "93.184.216.34", NULL };
	struct fixture *f = *state;
	uint8_t q[4096];
	size_t n = 0;
	int fd = dial(f, "127.0.0.1");

	for (int i = 0; i < 80; i++)
		n += frame("allowed.test", DW_DNS_A, q + n);
	assert_int_equal(send(fd, q, n, 0), (ssize_t)n);
	test_turn(f->g);
	assert_int_equal(fake_waiting, 32);
	for (int i = 0; i < 80; i++) {
		fake_answer(0, 60, addrs);
		assert_true(take_tcp(f, fd));
	}
	assert_int_equal(fake_waiting, 0);
	assert_int_equal(fake_questions, 80);
	close(fd);
}

static void test_tcp_client_leaves(void **state)
{
	static const char *const addrs[] = { "93.184.216.34", NULL };
	const struct linger reset = { .l_onoff = 1 };
	struct fixture *f = *state;
	uint8_t q[1024];
	size_t n = frame("allowed.test", DW_DNS_A, q);
	int fd;

	n += frame("allowed.test", DW_DNS_A, q + n);
	/* Noticed by the loop: the queries stay, for the resolver is still at work, and nobody is answered. */
	fd = dial(f, "127.0.0.1");
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
	fd = dial(f, "127.0.0.1");
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
	fd = dial(f, "127.0.0.1");
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
	struct fixture *f = *state;
	int fd[20];
	uint8_t q[512];
	uint8_t bad[2] = { 0xff, 0xff };
	size_t n = frame("evil.test", DW_DNS_A, q);

	for (int i = 0; i < 20; i++)
		fd[i] = dial(f, "127.0.0.1");
	assert_int_equal(f->s->dns_tcp_n, GATE_DNS_TCP_PER_SANDBOX);
	assert_true(closed(f, fd[19]));
	assert_false(closed(f, fd[0]));
	assert_int_equal(send(fd[0], bad, 2, 0), 2); /* a length no query has */
	assert_true(closed(f, fd[0]));
	assert_int_equal(fake_record.decision.reason, DW_REASON_DNS_MALFORMED);
	memset(bad, 0, 2);
	assert_int_equal(send(fd[1], bad, 2, 0), 2);
	assert_true(closed(f, fd[1]));
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
	struct fixture *f = *state;
	uint8_t q[512];
	size_t n = frame("allowed.test", DW_DNS_A, q);
	int fd = dial(f, "127.0.0.1");
	int stranger = dial(f, "127.0.0.9");

	assert_true(closed(f, stranger));
	close(stranger);
	assert_int_equal(send(fd, q, n, 0), (ssize_t)n);
	test_turn(f->g);
	assert_int_equal(fake_waiting, 1);
	gate_sandbox_detach(f->g, f->s);
	f->s = NULL;
	assert_int_equal(fake_waiting, 0);
	assert_true(closed(f, fd));
	close(fd);
}

/* A client that does not read its answers is not read either, and ends. */
static void test_tcp_back_pressure(void **state)
{
	struct fixture *f = *state;
	struct dw_addr addr[500];
	uint8_t q[512];
	size_t n = frame("allowed.test", DW_DNS_A, q);
	int fd = dial(f, "127.0.0.1");
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
		cmocka_unit_test_setup_teardown(test_allowed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_any_server_address, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_types, setup, teardown),
		cmocka_unit_test_setup_teardown(test_localhost, setup, teardown),
		cmocka_unit_test_setup_teardown(test_private_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mixed_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_upstream_says_no, setup, teardown),
		cmocka_unit_test_setup_teardown(test_https, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ttl, setup, teardown),
		cmocka_unit_test_setup_teardown(test_malformed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_class_and_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unknown_source, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pins_are_of_one_sandbox, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_ipv6_no_aaaa, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pending_bound_and_detach, setup, teardown),
		cmocka_unit_test_setup_teardown(test_policy_changes_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pin_limit, setup, teardown),
#ifdef DECLAW_TEST_HOOKS
		cmocka_unit_test_setup_teardown(test_pin_fails, setup, teardown),
#endif
		cmocka_unit_test_setup_teardown(test_large_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pipelining, setup, teardown),
		cmocka_unit_test_setup_teardown(test_half_closed_pipeline, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tcp_in_flight_bound, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tcp_client_leaves, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tcp_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tcp_detach, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tcp_back_pressure, setup, teardown),
	};

	return cmocka_run_group_tests_name("gate/dns", tests, NULL, NULL);
}
