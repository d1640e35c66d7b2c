/* SPDX-License-Identifier: Apache-2.0 */
/* IPv4/IPv6 packets as a TUN device gives them: just enough for a TCP SYN or a UDP datagram, and the refusals to them. */
#pragma once

#include "core/addr.h"
#include "core/rd.h"
#include "core/wr.h"

enum { DW_TCP_FIN = 1, DW_TCP_SYN = 2, DW_TCP_RST = 4, DW_TCP_PSH = 8, DW_TCP_ACK = 16, DW_TCP_URG = 32 };

struct dw_packet {
	struct dw_addr src, dst;
	uint8_t proto;          /* IPPROTO_*, behind IPv6 hop-by-hop, routing and destination headers */
	uint16_t sport, dport;  /* TCP and UDP only */
	uint32_t seq, ack;      /* TCP */
	uint8_t flags;          /* TCP */
	struct dw_span payload; /* behind the TCP/UDP header, or the whole transport part of others */
	struct dw_span header;  /* IP header and the first 8 bytes behind it, for an ICMP error's quote */
};

/*
 * A whole packet. BAD: wrong lengths, versions, a fragment (or an IPv6 fragment header), an IPv4 header checksum that is
 * off, an IPv4-mapped address inside an IPv6 header, a routing header with segments left, over 8 extension headers. TCP
 * and UDP checksums are not looked at.
 */
enum dw_parse dw_packet_parse(const void *data, size_t n, struct dw_packet *ret);

/*
 * RST,ACK answering a SYN (RST where it has ACK): from its destination to its source. Returns the packet's length, 0 if
 * cap is too small (60 always do) or it is no TCP segment or itself a RST.
 */
size_t dw_packet_rst(const struct dw_packet *syn, void *out, size_t cap);

enum dw_unreachable { DW_UNREACH_NET = 0, DW_UNREACH_HOST, DW_UNREACH_PORT, DW_UNREACH_PROHIBITED };
/* ICMP or ICMPv6 destination unreachable quoting p, from `from` (same family as p) to p's source. Needs 128 bytes. */
size_t dw_packet_unreachable(const struct dw_packet *p, enum dw_unreachable why, const struct dw_addr *from, void *out,
			     size_t cap);

/*
 * A UDP datagram, IP and UDP header with checksums in front of payload, IPv4 with DF clear. Both addresses of the same family.
 * Returns the packet's length, 0 if cap is too small or it would be over 65,535 bytes.
 */
size_t dw_packet_udp(const struct dw_addr *src, uint16_t sport, const struct dw_addr *dst, uint16_t dport,
		     const void *payload, size_t n, void *out, size_t cap);
