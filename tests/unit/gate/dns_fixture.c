/* SPDX-License-Identifier: Apache-2.0 */
#include "dns_fixture.h"

#include <errno.h>
#include <netinet/in.h>

const char *const dns_allow_list[] = { "allowed.test", "*.wild.test", "open.test:443", NULL };

/* The last answer. */
uint8_t dns_got[65535];
size_t dns_got_n;
struct dw_addr dns_got_from;

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

int dns_client_at(const char *addr)
{
	struct sockaddr_storage ss;
	struct dw_addr a = test_addr(addr);
	socklen_t n = dw_addr_to_sockaddr(&a, 0, &ss);
	int fd = socket(a.family == DW_AF_4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&ss, n), 0);
	return fd;
}

int dns_setup(void **state)
{
	struct dns_fixture *f = calloc(1, sizeof(*f));
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
	f->s = test_attach(f->g, "one", "127.0.0.1", "::1", dns_allow_list, NULL, false);
	f->client = dns_client_at("127.0.0.1");
	*state = f;
	return 0;
}

int dns_teardown(void **state)
{
	struct dns_fixture *f = *state;

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

void dns_send(struct dns_fixture *f, int fd, const char *server, uint16_t port, const void *p, size_t n)
{
	struct sockaddr_storage ss;
	struct dw_addr a = test_addr(server);
	socklen_t ss_n = dw_addr_to_sockaddr(&a, port, &ss);

	assert_int_equal(sendto(fd, p, n, 0, (struct sockaddr *)&ss, ss_n), (ssize_t)n);
	test_turn(f->g);
}

/* Whether an answer came. */
bool dns_take(struct dns_fixture *f, int fd)
{
	struct sockaddr_storage ss;
	socklen_t ss_n = sizeof(ss);
	uint16_t port;
	ssize_t n;

	test_turn(f->g);
	n = recvfrom(fd, dns_got, sizeof(dns_got), MSG_DONTWAIT, (struct sockaddr *)&ss, &ss_n);
	if (n < 0)
		return false;
	dns_got_n = (size_t)n;
	dns_got_from = dw_addr_from_sockaddr(&ss, &port);
	return true;
}

size_t dns_query(const char *name, uint16_t type, uint8_t out[static 512])
{
	size_t n = dw_dns_query_build(0x4711, name, type, out, 512);

	assert_true(n > 0);
	return n;
}

void dns_ask(struct dns_fixture *f, const char *name, uint16_t type)
{
	uint8_t q[512];
	size_t n = dns_query(name, type, q);

	dns_send(f, f->client, "127.0.0.1", f->udp4, q, n);
}

unsigned int dns_rcode(void)
{
	assert_true(dns_got_n >= 12);
	assert_int_equal(dns_got[0] << 8 | dns_got[1], 0x4711);
	assert_true(dns_got[2] & 0x80);
	return dns_got[3] & 15;
}

/* Answers in the last message for the question, by our own parser. */
struct dw_dns_answer *dns_answer(const char *name, uint16_t type)
{
	static struct dw_dns_answer a;

	assert_int_equal(dw_dns_answer_parse(dns_got, dns_got_n, name, type, &a), DW_PARSE_OK);
	return &a;
}

/* INFO-CODE of the Extended DNS Error at the end of the message, -1 for none. */
int dns_ede(void)
{
	for (size_t i = 12; i + 6 < dns_got_n; i++) {
		if (dns_got[i] == 0 && dns_got[i + 1] == 15 &&
		    i + 4 + (size_t)(dns_got[i + 2] << 8 | dns_got[i + 3]) == dns_got_n)
			return dns_got[i + 4] << 8 | dns_got[i + 5];
	}
	return -1;
}

bool dns_text_has(const char *words)
{
	return memmem(dns_got, dns_got_n, words, strlen(words)) != NULL;
}

bool dns_pinned(struct dns_fixture *f, const char *name, const char *addr, struct dw_pin *ret)
{
	struct dw_addr a = test_addr(addr);
	struct dw_pin pin;

	return dw_pins_find(f->s->pins, name, &a, ret ? ret : &pin);
}
int dns_dial(struct dns_fixture *f, const char *from)
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

size_t dns_frame(const char *name, uint16_t type, uint8_t *out)
{
	uint8_t q[512];
	size_t n = dns_query(name, type, q);

	out[0] = (uint8_t)(n >> 8);
	out[1] = (uint8_t)n;
	memcpy(out + 2, q, n);
	return n + 2;
}

static bool read_all(struct dns_fixture *f, int fd, uint8_t *p, size_t n)
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

bool dns_take_tcp(struct dns_fixture *f, int fd)
{
	uint8_t head[2];

	if (!read_all(f, fd, head, 2))
		return false;
	dns_got_n = (size_t)head[0] << 8 | head[1];
	return read_all(f, fd, dns_got, dns_got_n);
}

bool dns_closed(struct dns_fixture *f, int fd)
{
	char c;

	test_turn(f->g);
	return recv(fd, &c, 1, MSG_DONTWAIT) == 0 || errno == ECONNRESET;
}
