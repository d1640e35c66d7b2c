/* SPDX-License-Identifier: Apache-2.0 */
/* Packets out of the TUN: SYNs become flows, everything else is refused with a record. And packets back into it. */
#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

#include "gate/flow.h"

/* Packets per wake: enough to empty a burst, few enough that established flows are served in between. */
#define BATCH 64

void tun_write(struct gate *g, const void *packet, size_t n)
{
	/* A lost packet is a lost packet: the client sends its SYN again. */
	if (n)
		DW_IGNORE(write(g->fds.tun, packet, n));
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
	refuse(g, s, &p, proto, proto == DW_PROTO_UDP ? DW_REASON_UDP_UNSUPPORTED : DW_REASON_PROTOCOL_UNSUPPORTED);
}

void tun_on_readable(void *arg, uint32_t events)
{
	static uint8_t packet[65536]; /* one thread, and nothing keeps a pointer into it */
	struct gate *g = arg;

	for (int i = 0; i < BATCH; i++) {
		ssize_t n = read(g->fds.tun, packet, sizeof(packet));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN) {
			/* The device is gone (its namespace was destroyed, or it was deleted): nothing can be served. */
			dw_watch_del(&g->loop, &g->flows->tun);
			g->loop.stop = true;
			return;
		}
		if (n <= 0)
			return;
		take(g, packet, (size_t)n);
	}
}
