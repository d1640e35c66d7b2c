/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver_server.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "wire/dns.h"

struct server server;

static void put_name(struct dw_wr *w, const char *name)
{
	while (*name) {
		size_t n = strcspn(name, ".");

		dw_wr_u8(w, (uint8_t)n);
		dw_wr_bytes(w, name, n);
		name += n + (name[n] == '.');
	}
	dw_wr_u8(w, 0);
}

static void put_rr(struct dw_wr *w, const char *owner, uint16_t type, uint32_t rr_ttl, const void *rdata, size_t n)
{
	put_name(w, owner);
	dw_wr_u16(w, type);
	dw_wr_u16(w, 1);
	dw_wr_u32(w, rr_ttl);
	dw_wr_u16(w, (uint16_t)n);
	dw_wr_bytes(w, rdata, n);
}

static void put_a(struct dw_wr *w, const char *owner, uint32_t rr_ttl, const char *addr)
{
	struct dw_addr a = test_addr(addr);

	put_rr(w, owner, a.family == DW_AF_4 ? DW_DNS_A : DW_DNS_AAAA, rr_ttl, a.b, a.family == DW_AF_4 ? 4 : 16);
}

static void put_cname(struct dw_wr *w, const char *owner, const char *target)
{
	uint8_t buf[256];
	struct dw_wr t = dw_wr_init(buf, sizeof(buf));

	put_name(&t, target);
	put_rr(w, owner, DW_DNS_CNAME, 30, buf, t.len);
}

static unsigned int fill(struct dw_wr *w, const char *name, uint16_t type, bool tcp, uint16_t *flags)
{
	static const uint8_t svc[] = { 0, 1, 0, 0, 1, 0, 3, 2, 'h', '2', 0, 4, 0, 4, 10, 0, 0, 1 };
	unsigned int n = 0;

	if (strcmp(name, "a.test") == 0 && type == DW_DNS_A)
		put_a(w, name, 60, "192.0.2.1"), n = 1;
	if (strcmp(name, "a.test") == 0 && type == DW_DNS_AAAA)
		put_a(w, name, 60, "2001:db8::1"), n = 1;
	if (strcmp(name, "private.test") == 0)
		put_a(w, name, 60, "10.0.0.1"), put_a(w, name, 60, "127.0.0.1"), put_a(w, name, 60, "169.254.169.254"),
			n = 3;
	if (strcmp(name, "zero.test") == 0)
		put_a(w, name, 0, "192.0.2.2"), n = 1;
	if (strcmp(name, "chain.test") == 0)
		put_cname(w, name, "b.other"), put_a(w, "b.other", 90, "192.0.2.3"), n = 2;
	if (strcmp(name, "foreign.test") == 0)
		put_a(w, name, 60, "192.0.2.4"), put_a(w, "evil.example", 60, "192.0.2.66"), n = 2;
	if (strcmp(name, "only.test") == 0)
		put_cname(w, name, "far.other"), n = 1;
	if (strcmp(name, "b.other") == 0)
		put_a(w, name, 90, "192.0.2.3"), n = 1;
	if (strcmp(name, "far.other") == 0)
		put_a(w, name, 60, "192.0.2.5"), n = 1;
	if (strcmp(name, "https.test") == 0 && type == DW_DNS_HTTPS)
		put_rr(w, name, DW_DNS_HTTPS, 60, svc, sizeof(svc)), n = 1;
	if (strcmp(name, "nx.test") == 0)
		*flags |= DW_DNS_NXDOMAIN;
	if (strcmp(name, "fail.test") == 0)
		*flags |= DW_DNS_SERVFAIL;
	if (strcmp(name, "big.test") == 0 && !tcp)
		*flags |= 0x200;
	for (unsigned int i = 0; strcmp(name, "big.test") == 0 && tcp && i < 300; i++, n++) {
		char addr[32];

		snprintf(addr, sizeof(addr), "192.0.%u.%u", i / 250, i % 250);
		put_a(w, name, 60, addr);
	}
	return n;
}

static bool known(const char *name)
{
	static const char *const names[] = { "a.test",     "private.test", "zero.test", "chain.test", "foreign.test",
					     "only.test",  "far.other",    "nx.test",   "fail.test",  "big.test",
					     "https.test", "slow.test",    "b.other",   NULL };

	for (size_t i = 0; names[i]; i++) {
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return strstr(name, ".many.test") != NULL || strstr(name, ".slow.test") != NULL;
}

static size_t serve(const uint8_t *in, size_t n, bool tcp, uint8_t *out, size_t cap)
{
	struct dw_wr w = dw_wr_init(out, cap);
	struct dw_dns_query q = { 0 };
	uint16_t flags = 0x8180;
	bool has_id;

	assert_int_equal(dw_dns_query_parse(in, n, &q, &has_id), DW_PARSE_OK);
	server.queries++;
	server.tcp_queries += tcp;
	if (!known(q.qname)) {
		fprintf(stderr, "asked for %s type %u\n", q.qname, q.qtype);
		server.strangers++;
	}
	if (server.silent || strstr(q.qname, "slow.test"))
		return 0;
	dw_wr_u16(&w, q.id);
	dw_wr_u16(&w, 0);
	dw_wr_u16(&w, 1);
	dw_wr_u16(&w, 0);
	dw_wr_u32(&w, 0);
	dw_wr_bytes(&w, q.question.p, q.question.n);
	dw_wr_patch_u16(&w, 6, (uint16_t)fill(&w, q.qname, q.qtype, tcp, &flags));
	dw_wr_patch_u16(&w, 2, flags);
	assert_true(dw_wr_ok(&w));
	return w.len;
}

static void on_udp(void *arg, uint32_t events)
{
	struct sockaddr_storage ss;
	socklen_t ss_n = sizeof(ss);
	uint8_t in[4096];
	uint8_t out[4096];
	ssize_t n = recvfrom(server.udp_fd, in, sizeof(in), MSG_DONTWAIT, (struct sockaddr *)&ss, &ss_n);
	size_t out_n;

	if (n < 0)
		return;
	out_n = serve(in, (size_t)n, false, out, sizeof(out));
	if (out_n)
		assert_int_equal(sendto(server.udp_fd, out, out_n, 0, (struct sockaddr *)&ss, ss_n), (ssize_t)out_n);
}

static void on_tcp(void *arg, uint32_t events)
{
	uint8_t in[4096];
	static uint8_t out[65537];
	int fd = accept4(server.tcp_fd, NULL, NULL, SOCK_CLOEXEC);
	size_t n = 0;

	assert_true(fd >= 0);
	while (n < 2 || n < 2 + (size_t)(in[0] << 8 | in[1])) {
		ssize_t r = recv(fd, in + n, sizeof(in) - n, 0);

		assert_true(r > 0);
		n += (size_t)r;
	}
	n = serve(in + 2, n - 2, true, out + 2, sizeof(out) - 2);
	out[0] = (uint8_t)(n >> 8);
	out[1] = (uint8_t)n;
	assert_int_equal(send(fd, out, n + 2, 0), (ssize_t)n + 2);
	close(fd);
}

/* UDP and TCP on one port number; false when it is taken for one of them. */
static bool server_bind(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(sin);

	server = (struct server){ 0 };
	server.udp_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	server.tcp_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(server.udp_fd, (struct sockaddr *)&sin, n), 0);
	assert_int_equal(getsockname(server.udp_fd, (struct sockaddr *)&sin, &n), 0);
	server.port = ntohs(sin.sin_port);
	if (bind(server.tcp_fd, (struct sockaddr *)&sin, n) == 0)
		return true;
	close(server.udp_fd);
	close(server.tcp_fd);
	return false;
}

void server_start(struct gate *g)
{
	int tries = 20;

	while (!server_bind())
		assert_true(--tries > 0);
	assert_int_equal(listen(server.tcp_fd, 8), 0);
	assert_int_equal(dw_watch_add(&g->loop, &server.udp, server.udp_fd, EPOLLIN, on_udp, NULL), 0);
	assert_int_equal(dw_watch_add(&g->loop, &server.tcp, server.tcp_fd, EPOLLIN, on_tcp, NULL), 0);
}
