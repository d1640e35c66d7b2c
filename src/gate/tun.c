/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets out of the TUNs: SYNs and datagrams become flows, everything else is refused with a record. And packets back.
 *
 * Both TUNs' packets are taken in the same way; that they come by two keeps the queues apart.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "core/netplan.h"
#include "gate/flow.h"
#include "gate/udp.h"

/* Packets per wake: enough to empty a burst, few enough that established flows are served in between. */
#define BATCH 64

void tun_write(struct gate *g, const void *packet, size_t n)
{
	/* A lost packet is a lost packet: the client sends its SYN again. */
	if (n)
		DW_IGNORE(write(g->fds.tun, packet, n));
}

void tun_write_udp(struct gate *g, const void *packet, size_t n)
{
	/* Datagrams may get lost. */
	if (n)
		DW_IGNORE(write(g->fds.tun_udp, packet, n));
}

static bool is_multicast(const struct dw_addr *a)
{
	return a->family == DW_AF_4 ? a->b[0] >= 224 : a->b[0] == 0xff;
}

void tun_unreachable(struct gate *g, const struct dw_packet *p, enum dw_unreachable why)
{
	const char *text = p->src.family == DW_AF_4 ? DW_GATEWAY4_TEXT : DW_GATEWAY6_TEXT;
	struct dw_addr from;
	uint8_t out[160];

	if (is_multicast(&p->dst) || !dw_addr_parse(text, strlen(text), &from))
		return;
	tun_write_udp(g, out, dw_packet_unreachable(p, why, &from, out, sizeof(out)));
}

enum dw_unreachable tun_why(int e)
{
	switch (e) {
	case ECONNREFUSED:
		return DW_UNREACH_PORT;
	case EHOSTUNREACH:
	case EHOSTDOWN:
		return DW_UNREACH_HOST;
	case EACCES:
	case EPERM:
		return DW_UNREACH_PROHIBITED;
	default:
		return DW_UNREACH_NET;
	}
}

static void refuse(struct gate *g, const struct gate_sandbox *s, const struct dw_packet *p, enum dw_proto proto,
		   enum dw_reason reason)
{
	const struct gate_record r = {
		.sandbox = s,
		.source = p->src,
		.proto = proto,
		.addr = p->dst,
		.port = proto == DW_PROTO_TCP || proto == DW_PROTO_UDP ? p->dport : 0,
		.decision = { .verdict = DW_DENY, .reason = reason, .rule = DW_RULE_NONE },
	};
	gate_record(g, &r);
}

static enum dw_proto proto_of(const struct dw_packet *p)
{
	switch (p->proto) {
	case IPPROTO_TCP:
		return DW_PROTO_TCP;
	case IPPROTO_UDP:
		return DW_PROTO_UDP;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return DW_PROTO_ICMP;
	default:
		return DW_PROTO_OTHER;
	}
}

static void take(struct gate *g, const uint8_t *data, size_t n)
{
	struct dw_packet p;

	/* The ruleset lets nothing malformed through that would be worth a record: there is nothing to name in it. */
	if (dw_packet_parse(data, n, &p) != DW_PARSE_OK)
		return;
	const enum dw_proto proto = proto_of(&p);
	struct gate_sandbox *s = gate_sandbox_by_addr(g, &p.src);
	if (!s) {
		refuse(g, NULL, &p, proto, DW_REASON_NO_POLICY);
		return;
	}
	if (proto == DW_PROTO_TCP) {
		if ((p.flags & (DW_TCP_SYN | DW_TCP_ACK | DW_TCP_RST | DW_TCP_FIN)) == DW_TCP_SYN)
			flow_syn(g, s, &p, data, n);
		return;
	}
	if (proto == DW_PROTO_UDP) {
		udp_datagram(g, s, &p);
		return;
	}
	refuse(g, s, &p, proto, DW_REASON_PROTOCOL_UNSUPPORTED);
	/* Of ICMP only echo requests come here, so no error is answered with an error. */
	if (dw_policy_rejects(s->policy))
		tun_unreachable(g, &p, DW_UNREACH_PROHIBITED);
}

static void on_readable(void *arg, uint32_t events)
{
	static uint8_t packet[65536]; /* one thread, and nothing keeps a pointer into it */
	struct flow_tun *t = arg;

	for (int i = 0; i < BATCH; i++) {
		ssize_t n = read(t->fd, packet, sizeof(packet));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN) {
			/* The device is gone (its namespace was destroyed, or it was deleted): nothing can be served. */
			dw_watch_del(&t->g->loop, &t->watch);
			t->g->loop.stop = true;
			return;
		}
		if (n <= 0)
			return;
		take(t->g, packet, (size_t)n);
	}
}

int tun_init(struct gate *g)
{
	const int fds[] = { g->fds.tun, g->fds.tun_udp };
	int r = 0;

	for (size_t i = 0; r == 0 && i < DW_COUNT(fds); i++) {
		struct flow_tun *t = &g->flows->tun[i];
		t->g = g;
		t->fd = fds[i];
		t->watch.fd = -1;
		r = dw_watch_add(&g->loop, &t->watch, t->fd, EPOLLIN, on_readable, t);
	}
	return r;
}
