/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What arrives on the wire, whether or not anybody listens for it: every SYN, and every packet that is not TCP, but for
 * queries to the resolver, which far_dns.c sees. To the places that nothing may reach, every packet.
 */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "far.h"

struct seen {
	struct eg_addr src, dst;
	uint8_t proto;
	uint16_t sport, dport;
	uint8_t flags;
	const uint8_t *payload;
	size_t n;
};

static bool read_ip(const uint8_t *p, size_t n, struct seen *ret)
{
	size_t at;

	if (n < 20)
		return false;
	if (p[0] >> 4 == 4) {
		at = (p[0] & 15u) * 4u;
		ret->proto = p[9];
		ret->src.family = ret->dst.family = 4;
		memcpy(ret->src.b, p + 12, 4);
		memcpy(ret->dst.b, p + 16, 4);
	} else {
		at = 40;
		if (p[0] >> 4 != 6 || n < 40)
			return false;
		ret->proto = p[6];
		ret->src.family = ret->dst.family = 6;
		memcpy(ret->src.b, p + 8, 16);
		memcpy(ret->dst.b, p + 24, 16);
	}
	if (n < at)
		return false;
	const bool ports =
		(ret->proto == 6 || ret->proto == 17 || ret->proto == 132 || ret->proto == 136) && n >= at + 4;
	if (ports) {
		ret->sport = (uint16_t)(p[at] << 8 | p[at + 1]);
		ret->dport = (uint16_t)(p[at + 2] << 8 | p[at + 3]);
	}
	ret->flags = ret->proto == 6 && n >= at + 14 ? p[at + 13] : 0;
	ret->payload = p + at;
	ret->n = n - at;
	return true;
}

static bool never(const struct eg_addr *a)
{
	static const enum eg_place places[] = { EG_A2, EG_PRIVATE, EG_METADATA };

	for (size_t i = 0; i < EG_COUNT(places); i++) {
		if (eg_addr_equal(a, &far_state.config.at[places[i]][a->family == 6]))
			return true;
	}
	return false;
}

static bool interesting(const struct seen *s)
{
	if (never(&s->dst))
		return true;
	if (s->proto == 6)
		return (s->flags & 0x12) == 2;
	if (s->proto == 17 && s->dport == 53 &&
	    eg_addr_equal(&s->dst, &far_state.config.at[EG_RESOLVER][s->dst.family == 6]))
		return false;
	/* neighbour discovery and multicast are the link's own */
	return !(s->proto == 58 && s->n && s->payload[0] >= 130) && s->dst.b[0] != 0xff && s->dst.b[0] != 0xfe;
}

static void on_packet(struct far_watch *w, uint32_t events)
{
	static uint8_t in[65536];
	struct sockaddr_ll from;
	socklen_t from_n = sizeof(from);
	ssize_t n;

	while ((n = recvfrom(w->fd, in, sizeof(in), MSG_DONTWAIT, (struct sockaddr *)&from, &from_n)) >= 0) {
		struct seen s = { 0 };
		char nonce[EG_NONCE + 1] = "", extra[128];
		from_n = sizeof(from);
		if (from.sll_pkttype == PACKET_OUTGOING || !read_ip(in, (size_t)n, &s) || !interesting(&s))
			continue;
		eg_nonce_find(s.payload, s.n, 0, nonce, NULL);
		snprintf(extra, sizeof(extra), ", \"proto\": %u, \"sport\": %u, \"flags\": %u, \"length\": %zu",
			 s.proto, s.sport, s.flags, s.n);
		far_log(s.proto == 1 || s.proto == 58 ? "icmp" : "packet", &s.dst, s.dport, &s.src, nonce, extra);
	}
}

int far_packets_start(void)
{
	static struct far_watch w = { .on = on_packet };
	const int size = 16 << 20;

	if (!*far_state.config.device)
		return 0;
	w.fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = (int)if_nametoindex(far_state.config.device) };
	if (w.fd < 0 || !to.sll_ifindex || bind(w.fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		return -1;
	if (setsockopt(w.fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		return -1;
	return far_watch(&w, EPOLLIN);
}
