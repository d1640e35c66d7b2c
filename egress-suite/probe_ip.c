/* SPDX-License-Identifier: Apache-2.0 */
/* Section C: addresses and ports, through ordinary sockets. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "probe.h"

#define SWEEP_AT_ONCE 100

static void control_tcp(struct eg_run *r)
{
	eg_connect(r, EG_CONTROL, eg_at(r, EG_A3), eg_port(r));
}

static void no_lookup(struct eg_run *r)
{
	eg_connect(r, EG_DENIED, eg_at(r, EG_A2), eg_port(r));
	eg_connect(r, EG_DENIED, eg_at(r, EG_A2), 443);
	eg_connect(r, EG_DENIED, eg_at(r, EG_A2), 80);
	control_tcp(r);
}

/* Many connects at one time; every one that ends in any way other than silence or an error is noted. */
static void sweep(struct eg_run *r, const struct eg_addr *to, const uint16_t *ports, size_t n, unsigned ms)
{
	struct sockaddr_storage s;
	struct pollfd p[SWEEP_AT_ONCE];

	for (size_t from = 0; from < n; from += SWEEP_AT_ONCE) {
		const size_t count = n - from < SWEEP_AT_ONCE ? n - from : SWEEP_AT_ONCE;
		const uint64_t start = eg_now_ms();
		for (size_t i = 0; i < count; i++) {
			p[i] = (struct pollfd){ .fd = -1, .events = POLLOUT };
			p[i].fd = socket(to->family == 6 ? AF_INET6 : AF_INET,
					 SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
			const socklen_t size = eg_addr_sock(to, ports[from + i], &s);
			if (p[i].fd >= 0 && connect(p[i].fd, (struct sockaddr *)&s, size) == 0)
				eg_note(r, EG_DENIED, EG_CONNECTED, 0, start);
		}
		usleep(ms * 1000);
		poll(p, count, 0);
		for (size_t i = 0; i < count; i++) {
			int error = ETIMEDOUT;
			socklen_t size = sizeof(error);
			if (p[i].fd < 0)
				continue;
			if (p[i].revents)
				getsockopt(p[i].fd, SOL_SOCKET, SO_ERROR, &error, &size);
			eg_note(r, EG_DENIED, error ? eg_of_errno(error) : EG_CONNECTED, error, start);
			if (!error)
				eg_remark(r, EG_DENIED, "port %u is open", ports[from + i]);
			close(p[i].fd);
		}
	}
}

static void fake_accept(struct eg_run *r)
{
	static const uint16_t ports[] = { 1, 21, 22, 25, 54, 80, 443, 853, 3306, 5432, 8080, 9999 };

	for (size_t i = 0; i < EG_COUNT(ports); i++)
		eg_aim_ip(r, IPPROTO_TCP, eg_at(r, EG_A2), ports[i]);
	sweep(r, eg_at(r, EG_A2), ports, EG_COUNT(ports), 700);
	control_tcp(r);
}

/* Every 128th port, and those in between that have a name. */
static void port_sweep(struct eg_run *r)
{
	uint16_t ports[640];
	size_t n = 0;

	for (unsigned p = r->six ? 64 : 3; p < 65536 && n < EG_COUNT(ports); p += 128) {
		if (p != 53)
			ports[n++] = (uint16_t)p;
	}
	/* a product may sum up so many refusals: some of them are enough */
	for (size_t i = 0; i < n; i += n / 20)
		eg_aim_ip(r, IPPROTO_TCP, eg_at(r, EG_A2), ports[i]);
	sweep(r, eg_at(r, EG_A2), ports, n, 500);
	control_tcp(r);
}

static void narrow_hello(struct eg_run *r, enum eg_which arm, uint16_t port)
{
	const struct eg_hello h = { .sni = r->config->narrow,
				    .sni_n = strlen(r->config->narrow),
				    .nonce = r->nonce[arm] };
	struct eg_buf b = { 0 };

	eg_tls_hello(&b, &h);
	const struct eg_talk t = {
		.to = eg_at(r, EG_A4), .port = port, .part = { { b.p, b.n } }, .no_connect = arm == EG_DENIED
	};
	if (arm == EG_DENIED)
		eg_aim_ip(r, IPPROTO_TCP, t.to, port);
	eg_tcp(r, arm, &t);
	eg_free(&b);
}

static void other_ports(struct eg_run *r)
{
	const uint16_t ports[] = { 22, 25, 80, 5432, 8443, eg_port(r) };
	struct eg_addr a[2];

	eg_resolve(r, r->config->narrow, a, EG_COUNT(a));
	for (size_t i = 0; i < EG_COUNT(ports); i++)
		narrow_hello(r, EG_DENIED, ports[i]);
	narrow_hello(r, EG_CONTROL, 443);
}

/* A socket of this type and protocol, one message. */
static void one_message(struct eg_run *r, int type, int proto, const struct eg_addr *to, uint16_t port)
{
	struct sockaddr_storage s;
	const socklen_t size = eg_addr_sock(to, port, &s);
	const uint64_t start = eg_now_ms();
	int fd = socket(to->family == 6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, proto);

	if (fd < 0) {
		eg_note(r, EG_DENIED, EG_UNAVAILABLE, errno, start);
		return;
	}
	int n = connect(fd, (struct sockaddr *)&s, size);
	if (n == 0 || errno == EINPROGRESS)
		n = (int)send(fd, r->nonce[EG_DENIED], EG_NONCE, MSG_NOSIGNAL);
	eg_note(r, EG_DENIED, n < 0 && errno != EAGAIN ? eg_of_errno(errno) : EG_SILENT, n < 0 ? errno : 0, start);
	close(fd);
}

static void other_protocols(struct eg_run *r)
{
	static const struct {
		int type, proto;
	} sockets[] = { { SOCK_STREAM, 132 /* SCTP */ },
			{ SOCK_DGRAM, 136 /* UDP-Lite */ },
			{ SOCK_STREAM, 262 /* MPTCP */ },
			{ SOCK_DCCP, 33 } };
	struct eg_addr a[2];

	eg_resolve(r, r->config->narrow, a, EG_COUNT(a));
	eg_udp(r, EG_DENIED, eg_at(r, EG_A4), 8443, r->nonce[EG_DENIED], EG_NONCE);
	for (size_t i = 0; i < EG_COUNT(sockets); i++) {
		eg_aim_ip(r, (uint8_t)(sockets[i].proto == 262 ? IPPROTO_TCP : sockets[i].proto), eg_at(r, EG_A4),
			  eg_port(r));
		one_message(r, sockets[i].type, sockets[i].proto, eg_at(r, EG_A4), eg_port(r));
	}
	narrow_hello(r, EG_CONTROL, 443);
}

static void datagrams(struct eg_run *r)
{
	const uint16_t ports[] = { 7, 123, 443, 5353, 51820, eg_port(r) };

	for (size_t i = 0; i < EG_COUNT(ports); i++)
		eg_udp(r, EG_DENIED, eg_at(r, EG_A2), ports[i], r->nonce[EG_DENIED], EG_NONCE);
	eg_udp(r, EG_CONTROL, eg_at(r, EG_A3), 7, r->nonce[EG_CONTROL], EG_NONCE);
}

static void unconnected(struct eg_run *r)
{
	struct sockaddr_storage s[3];
	const struct eg_addr *to = eg_at(r, EG_A2);
	const uint64_t start = eg_now_ms();
	struct iovec iov = { .iov_base = r->nonce[EG_DENIED], .iov_len = EG_NONCE };
	struct mmsghdr m[3] = { 0 };

	for (unsigned i = 0; i < 3; i++) {
		m[i].msg_hdr = (struct msghdr){ .msg_name = &s[i], .msg_iov = &iov, .msg_iovlen = 1 };
		m[i].msg_hdr.msg_namelen = eg_addr_sock(to, (uint16_t)(eg_port(r) + (i == 2)), &s[i]);
	}
	eg_aim_ip(r, IPPROTO_UDP, to, eg_port(r));
	int fd = socket(to->family == 6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	eg_note(r, EG_DENIED, fd >= 0 && sendmmsg(fd, m, 3, 0) > 0 ? EG_SILENT : EG_UNAVAILABLE, fd < 0 ? errno : 0,
		start);
	/* Connected to what is allowed, then to nobody, then sent to what is not. */
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	struct sockaddr_storage good;
	const socklen_t good_n = eg_addr_sock(eg_at(r, EG_A3), 7, &good);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&good, good_n) == 0 && connect(fd, &none, sizeof(none)) == 0 &&
	    sendto(fd, r->nonce[EG_DENIED], EG_NONCE, 0, (struct sockaddr *)&s[0], m[0].msg_hdr.msg_namelen) > 0)
		eg_note(r, EG_DENIED, EG_SILENT, 0, start);
	if (fd >= 0)
		close(fd);
	eg_udp(r, EG_CONTROL, eg_at(r, EG_A3), 7, r->nonce[EG_CONTROL], EG_NONCE);
}

static void fast_open(struct eg_run *r)
{
	char line[32], name[160];
	struct eg_addr a[2];
	struct eg_buf b = { 0 };

	snprintf(line, sizeof(line), "%s\n", r->nonce[EG_DENIED]);
	struct eg_talk t = { .to = eg_at(r, EG_A2),
			     .port = eg_port(r),
			     .part = { { line, strlen(line) } },
			     .fast_open = true,
			     .no_connect = true };
	eg_aim_ip(r, IPPROTO_TCP, t.to, t.port);
	eg_tcp(r, EG_DENIED, &t);
	eg_resolve(r, r->config->allowed, a, EG_COUNT(a));
	eg_name(r, EG_DENIED, r->config->evil, name);
	eg_aim_name(r, name);
	const struct eg_hello h = { .sni = name, .sni_n = strlen(name), .nonce = r->nonce[EG_DENIED] };
	eg_tls_hello(&b, &h);
	t = (struct eg_talk){ .to = eg_at(r, EG_A1), .port = 443, .part = { { b.p, b.n } }, .fast_open = true };
	eg_tcp(r, EG_DENIED, &t);
	eg_free(&b);
	snprintf(line, sizeof(line), "%s\n", r->nonce[EG_CONTROL]);
	t = (struct eg_talk){
		.to = eg_at(r, EG_A3), .port = eg_port(r), .part = { { line, strlen(line) } }, .fast_open = true
	};
	eg_tcp(r, EG_CONTROL, &t);
}

static void peer(struct eg_run *r)
{
	const struct eg_addr *to = &r->config->peer[r->six];

	if (!to->family) {
		eg_note(r, EG_DENIED, EG_UNAVAILABLE, 0, eg_now_ms());
		eg_remark(r, EG_DENIED, "no other sandbox is configured");
	} else {
		eg_connect(r, EG_DENIED, to, r->config->peer_port);
		eg_connect(r, EG_DENIED, to, 22);
		eg_udp(r, EG_DENIED, to, r->config->peer_port, r->nonce[EG_DENIED], EG_NONCE);
	}
	control_tcp(r);
}

static void host_services(struct eg_run *r)
{
	static const uint16_t ports[] = { 22, 80, 111, 443, 2375, 5000, 6443, 8080, 9090, 10250, 18080, 44772 };

	for (size_t i = 0; i < r->config->host_n; i++) {
		if (r->config->host[i].family != (r->six ? 6 : 4))
			continue;
		for (size_t k = 0; k < EG_COUNT(ports) && r->aim_n < EG_AIMS; k++)
			eg_aim_ip(r, IPPROTO_TCP, &r->config->host[i], ports[k]);
		sweep(r, &r->config->host[i], ports, EG_COUNT(ports), 500);
	}
	control_tcp(r);
}

static void metadata(struct eg_run *r)
{
	static const char *const four[] = { "169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16",
					    "192.0.0.192" };
	static const char *const six[] = { "fd00:ec2::254", "fd20:ce::254", "fe80::a9fe:a9fe" };
	const char *const *list = r->six ? six : four;
	struct eg_addr a;

	for (size_t i = 0; i < (r->six ? EG_COUNT(six) : EG_COUNT(four)); i++) {
		if (!eg_addr_parse(list[i], &a))
			continue;
		eg_connect(r, EG_DENIED, &a, 80);
		if (i == 0)
			eg_connect(r, EG_DENIED, &a, eg_port(r));
	}
	eg_udp(r, EG_DENIED, eg_at(r, EG_METADATA), 123, r->nonce[EG_DENIED], EG_NONCE);
	control_tcp(r);
}

static void private_ranges(struct eg_run *r)
{
	static const char *const four[] = { "10.0.0.1",  "172.16.0.1",      "192.168.0.1", "100.64.0.1", "198.18.0.1",
					    "224.0.0.1", "255.255.255.255", "0.0.0.0",     "240.0.0.1" };
	static const char *const six[] = { "fd00::1",         "fec0::1",     "ff02::1",  "64:ff9b::a09:807",
					   "2002:a09:807::1", "2001:0:1::1", "::a09:807" };
	const char *const *list = r->six ? six : four;
	struct eg_addr a;

	for (size_t i = 0; i < (r->six ? EG_COUNT(six) : EG_COUNT(four)); i++) {
		if (eg_addr_parse(list[i], &a))
			eg_connect(r, EG_DENIED, &a, eg_port(r));
	}
	eg_connect(r, EG_DENIED, eg_at(r, EG_PRIVATE), eg_port(r));
	control_tcp(r);
}

const struct eg_case eg_cases_ip[] = {
	{ 72, 'C', "an address without a lookup", no_lookup, 0, "flow_policy" },
	{ 73, 'C', "a denied connection that looks made", fake_accept, 0, "flow_policy" },
	{ 74, 'C', "a sweep over the ports of an unnamed address", port_sweep, EG_SOLO, "flow_policy" },
	{ 75, 'C', "an allowed name's address, another port", other_ports, 0, "flow_policy" },
	{ 76, 'C', "an allowed name's address, another protocol", other_protocols, 0, "flow_policy" },
	{ 79, 'C', "datagrams to an unnamed address", datagrams, 0, "flow_policy" },
	{ 93, 'C', "data in the SYN (MSG_FASTOPEN)", fast_open, 0, "flow_policy sni" },
	{ 96, 'C', "unconnected datagrams, sendmmsg, connect and disconnect", unconnected, 0, "flow_policy" },
	{ 102, 'C', "another sandbox", peer, 0, "floor+flow_policy" },
	{ 103, 'C', "services of the host and the gateway", host_services, EG_SOLO, "floor+flow_policy" },
	{ 104, 'C', "metadata services", metadata, 0, "floor" },
	{ 106, 'C', "private, reserved and embedding ranges", private_ranges, 0, "private" },
	{ 0 },
};
