/* SPDX-License-Identifier: Apache-2.0 */
/* Section C: packets by hand. What the environment does not offer is "unavailable"; the far side has to be silent either way. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "probe.h"

#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78
#endif

static void control(struct eg_run *r)
{
	eg_connect(r, EG_CONTROL, eg_at(r, EG_A3), eg_port(r));
}

static void add(uint32_t *sum, const void *p, size_t n)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i++)
		*sum += i % 2 ? b[i] : (uint32_t)b[i] << 8;
}

static uint16_t finish(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* The address this machine would send from. */
static struct eg_addr own_address(const struct eg_addr *to)
{
	struct sockaddr_storage s;
	socklen_t n = eg_addr_sock(to, 9, &s);
	struct eg_addr a = { .family = to->family };
	uint16_t port;
	int fd = socket(to->family == 6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&s, n) == 0) {
		n = sizeof(s);
		if (getsockname(fd, (struct sockaddr *)&s, &n) == 0)
			a = eg_addr_of(&s, &port);
	}
	if (fd >= 0)
		close(fd);
	return a;
}

/* An IP packet with this transport header and the nonce behind it; the checksum goes to check_at of the header. */
static void packet(struct eg_buf *b, const struct eg_addr *src, const struct eg_addr *dst, uint8_t proto,
		   const void *head, size_t head_n, int check_at, const char *nonce)
{
	const size_t body = head_n + EG_NONCE, size = dst->family == 6 ? 16 : 4;
	uint32_t sum = 0;

	if (dst->family == 6) {
		eg_u32(b, 0x60000000);
		eg_u16(b, (unsigned)body);
		eg_u8(b, proto);
		eg_u8(b, 64);
	} else {
		eg_u32(b, 0x45000000u | (uint32_t)(20 + body));
		eg_u32(b, 0x00010000);
		eg_u8(b, 64);
		eg_u8(b, proto);
		eg_u16(b, 0);
	}
	eg_put(b, src->b, size);
	eg_put(b, dst->b, size);
	if (dst->family != 6) {
		add(&sum, b->p, 20);
		const uint16_t check = finish(sum);
		b->p[10] = (uint8_t)(check >> 8);
		b->p[11] = (uint8_t)check;
	}
	const size_t at = b->n;
	eg_put(b, head, head_n);
	eg_put(b, nonce, EG_NONCE);
	sum = 0;
	if (proto != IPPROTO_ICMP) {
		add(&sum, src->b, size);
		add(&sum, dst->b, size);
		sum += proto + (uint32_t)body;
	}
	add(&sum, b->p + at, body);
	const uint16_t check = finish(sum);
	if (check_at >= 0) {
		b->p[at + (size_t)check_at] = (uint8_t)(check >> 8);
		b->p[at + (size_t)check_at + 1] = (uint8_t)check;
	}
}

struct shape {
	uint8_t proto;
	size_t n;
	int check_at;
	uint8_t head[20];
};

/* A SYN, a segment with data that belongs to nothing, a datagram, an echo request, SCTP, GRE. */
static size_t shapes(const struct eg_run *r, struct shape *s)
{
	const uint16_t port = eg_port(r);
	const uint8_t hi = (uint8_t)(port >> 8), lo = (uint8_t)port;

	s[0] = (struct shape){
		IPPROTO_TCP, 20, 16, { 0x11, 0x5c, hi, lo, 0, 0, 1, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff }
	};
	s[1] = (struct shape){
		IPPROTO_TCP, 20, 16, { 0x11, 0x5c, hi, lo, 0, 0, 1, 1, 0, 0, 0, 1, 0x50, 0x18, 0xff, 0xff }
	};
	s[2] = (struct shape){ IPPROTO_UDP, 8, 6, { 0x11, 0x5c, hi, lo, 0, 8 + EG_NONCE } };
	s[3] = r->six ? (struct shape){ IPPROTO_ICMPV6, 8, 2, { 128, 0, 0, 0, 0x11, 0x5c, 0, 1 } }
		      : (struct shape){ IPPROTO_ICMP, 8, 2, { 8, 0, 0, 0, 0x11, 0x5c, 0, 1 } };
	s[4] = (struct shape){ 132, 12, -1, { 0x11, 0x5c, hi, lo } };
	s[5] = (struct shape){ 47, 4, -1, { 0, 0, 8, 0 } };
	return 6;
}

/* An echo reply with the nonce; raw sockets hear of everything else too. */
static bool echoed(int fd, const struct eg_run *r)
{
	const uint64_t end = eg_now_ms() + 400;
	const struct timeval most = { .tv_usec = 100000 };
	uint8_t back[512];

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most));
	while (eg_now_ms() < end) {
		const ssize_t n = recv(fd, back, sizeof(back), 0);
		const size_t at = !r->six && n > 20 && back[0] >> 4 == 4 ? (back[0] & 15u) * 4u : 0;
		if (n > (ssize_t)at && back[at] == (r->six ? 129 : 0) &&
		    memmem(back, (size_t)n, r->nonce[EG_DENIED], EG_NONCE))
			return true;
	}
	return false;
}

static void echo(struct eg_run *r)
{
	const struct eg_addr *to[] = { eg_at(r, EG_A2), eg_at(r, EG_A1) };
	uint8_t message[8 + EG_NONCE] = { r->six ? 128 : 8 };
	const int protocol = r->six ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
	struct sockaddr_storage s;

	memcpy(message + 8, r->nonce[EG_DENIED], EG_NONCE);
	uint32_t sum = 0;
	add(&sum, message, sizeof(message));
	const uint16_t check = finish(sum);
	message[2] = (uint8_t)(check >> 8);
	message[3] = (uint8_t)check;
	for (size_t i = 0; i < EG_COUNT(to) * 2; i++) {
		const uint64_t start = eg_now_ms();
		eg_aim_ip(r, (uint8_t)protocol, to[i / 2], 0);
		int fd = socket(r->six ? AF_INET6 : AF_INET, (i % 2 ? SOCK_RAW : SOCK_DGRAM) | SOCK_CLOEXEC, protocol);
		const socklen_t n = eg_addr_sock(to[i / 2], 0, &s);
		const bool sent = fd >= 0 && sendto(fd, message, sizeof(message), 0, (struct sockaddr *)&s, n) > 0;
		const bool answered = sent && echoed(fd, r);
		eg_note(r, EG_DENIED,
			answered ? EG_ANSWERED
			: sent   ? EG_SILENT
				 : EG_UNAVAILABLE,
			sent ? 0 : errno, start);
		if (fd >= 0)
			close(fd);
	}
	control(r);
}

static void raw_sockets(struct eg_run *r)
{
	const struct eg_addr *to = eg_at(r, EG_A2);
	const struct eg_addr me = own_address(to);
	struct shape s[8];
	const size_t n = shapes(r, s);
	struct sockaddr_storage address;

	for (size_t i = 0; i < n; i++) {
		struct eg_buf b = { 0 };
		const uint64_t start = eg_now_ms();
		eg_aim_ip(r, s[i].proto, to, i < 3 ? eg_port(r) : 0);
		packet(&b, &me, to, s[i].proto, s[i].head, s[i].n, s[i].check_at, r->nonce[EG_DENIED]);
		int fd = socket(r->six ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
		const socklen_t an = eg_addr_sock(to, 0, &address);
		const bool sent = fd >= 0 && sendto(fd, b.p, b.n, 0, (struct sockaddr *)&address, an) > 0;
		eg_note(r, EG_DENIED, sent ? EG_SILENT : EG_UNAVAILABLE, sent ? 0 : errno, start);
		if (fd >= 0)
			close(fd);
		eg_free(&b);
	}
	control(r);
}

/* The neighbour behind a device as the ARP table has it; broadcast where it says nothing. */
static void neighbour(const char *device, uint8_t mac[6])
{
	char line[256], *field, *save;
	FILE *f = fopen("/proc/net/arp", "re");

	memset(mac, 0xff, 6);
	while (f && fgets(line, sizeof(line), f)) {
		const char *fields[6] = { NULL };
		save = NULL;
		field = strtok_r(line, " \n", &save);
		for (size_t i = 0; i < EG_COUNT(fields) && field; i++, field = strtok_r(NULL, " \n", &save))
			fields[i] = field;
		if (!fields[5] || strcmp(fields[5], device) != 0 || strlen(fields[3]) != 17)
			continue;
		for (size_t i = 0; i < 6; i++)
			mac[i] = (uint8_t)strtoul(fields[3] + 3 * i, NULL, 16);
	}
	if (f)
		fclose(f);
}

/* Straight to every device, past the machine's own hooks. */
static void send_frame(struct eg_run *r, const struct eg_buf *b)
{
	const uint64_t start = eg_now_ms();
	struct if_nameindex *links = if_nameindex();
	const int one = 1;
	int sent = 0, fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd >= 0)
		setsockopt(fd, SOL_PACKET, 20 /* PACKET_QDISC_BYPASS */, &one, sizeof(one));
	for (const struct if_nameindex *l = links; fd >= 0 && l && l->if_index; l++) {
		struct sockaddr_ll a = { .sll_family = AF_PACKET,
					 .sll_ifindex = (int)l->if_index,
					 .sll_halen = 6,
					 .sll_protocol = htons(r->six ? ETH_P_IPV6 : ETH_P_IP) };
		neighbour(l->if_name, a.sll_addr);
		sent += sendto(fd, b->p, b->n, 0, (struct sockaddr *)&a, sizeof(a)) > 0;
	}
	eg_note(r, EG_DENIED, sent ? EG_SILENT : EG_UNAVAILABLE, fd < 0 ? errno : 0, start);
	if (links)
		if_freenameindex(links);
	if (fd >= 0)
		close(fd);
}

static void frames(struct eg_run *r)
{
	const struct eg_addr *to = eg_at(r, EG_A2);
	const struct eg_addr me = own_address(to);
	struct shape s[8];
	const size_t n = shapes(r, s);

	for (size_t i = 0; i < n; i++) {
		struct eg_buf b = { 0 };
		eg_aim_ip(r, s[i].proto, to, i < 3 ? eg_port(r) : 0);
		packet(&b, &me, to, s[i].proto, s[i].head, s[i].n, s[i].check_at, r->nonce[EG_DENIED]);
		send_frame(r, &b);
		eg_free(&b);
	}
	control(r);
}

/* A socket with a source that is not this machine's. */
static void bound_elsewhere(struct eg_run *r, const struct eg_addr *from, const struct eg_addr *to)
{
	const uint64_t start = eg_now_ms();
	const int one = 1;
	struct sockaddr_storage a;
	int fd = socket(r->six ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t n = eg_addr_sock(from, 0, &a);
	bool sent = fd >= 0 &&
		    setsockopt(fd, r->six ? IPPROTO_IPV6 : IPPROTO_IP, r->six ? IPV6_FREEBIND : IP_FREEBIND, &one,
			       sizeof(one)) == 0 &&
		    bind(fd, (struct sockaddr *)&a, n) == 0;

	n = eg_addr_sock(to, eg_port(r), &a);
	sent = sent && sendto(fd, r->nonce[EG_DENIED], EG_NONCE, 0, (struct sockaddr *)&a, n) > 0;
	eg_note(r, EG_DENIED, sent ? EG_SILENT : EG_UNAVAILABLE, sent ? 0 : errno, start);
	if (fd >= 0)
		close(fd);
}

/* As somebody else: a neighbour, the gateway, an address of nobody. Towards what is allowed: only the source is wrong. */
static void spoofed(struct eg_run *r)
{
	static const char *const four[] = { "100.112.0.1", "203.0.113.99", "0.0.0.0", "127.0.0.1" };
	static const char *const six[] = { "fd64:6377::1", "2001:db8::99", "::", "::1" };
	const struct eg_addr *to = eg_at(r, EG_A3);
	struct shape s[8];

	shapes(r, s);
	for (size_t i = 0; i < 5; i++) {
		struct eg_addr from = r->config->peer[r->six];
		struct eg_buf b = { 0 };
		if (i > 0 && !eg_addr_parse(r->six ? six[i - 1] : four[i - 1], &from))
			continue;
		if (!from.family)
			continue;
		packet(&b, &from, to, IPPROTO_UDP, s[2].head, s[2].n, s[2].check_at, r->nonce[EG_DENIED]);
		send_frame(r, &b);
		eg_free(&b);
		if (i < 3) /* the kernel puts its own address in the place of none */
			bound_elsewhere(r, &from, to);
	}
	control(r);
}

const struct eg_case eg_cases_raw[] = {
	{ 83, 'C', "ICMP echo with data", echo, EG_PACKETS, NULL },
	{ 87, 'C', "raw sockets: SYN, segment, datagram, echo, SCTP, GRE", raw_sockets, EG_PACKETS,
	  "flow_policy@link" },
	{ 88, 'C', "AF_PACKET past the queueing discipline", frames, EG_PACKETS, "flow_policy@link" },
	{ 90, 'C', "source addresses of others", spoofed, EG_PACKETS, "antispoof@link" },
	{ 0 },
};
