/* SPDX-License-Identifier: Apache-2.0 */
/* Packets that the gate writes back into the TUN device: resets, unreachables, UDP datagrams. */
#include "wire/ip_internal.h"

#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <string.h>

#define IP4_HEADER    20
#define IP6_HEADER    40
#define TCP_HEADER    20
#define ICMP_HEADER   8
#define UDP_HEADER    8
#define ICMP6_QUOTE   80 /* what 128 bytes leave: a chain of extension headers is cut */
#define HOP_LIMIT     64
#define DONT_FRAGMENT 0x4000

static uint32_t sum_add(const uint8_t *p, size_t n, uint32_t sum)
{
	for (size_t i = 0; i + 1 < n; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	if (n % 2)
		sum += (uint32_t)p[n - 1] << 8;
	return sum;
}

uint16_t ip_checksum(const uint8_t *p, size_t n, uint32_t sum)
{
	sum = sum_add(p, n, sum);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static size_t header_size(const struct dw_addr *a)
{
	return a->family == DW_AF_4 ? IP4_HEADER : IP6_HEADER;
}

static void write_ip(struct dw_wr *w, const struct dw_addr *src, const struct dw_addr *dst, uint8_t proto, size_t body)
{
	if (src->family == DW_AF_6) {
		dw_wr_u32(w, 6u << 28);
		dw_wr_u16(w, (uint16_t)body);
		dw_wr_u8(w, proto);
		dw_wr_u8(w, HOP_LIMIT);
		dw_wr_bytes(w, src->b, 16);
		dw_wr_bytes(w, dst->b, 16);
		return;
	}
	dw_wr_u16(w, 0x4500);
	dw_wr_u16(w, (uint16_t)(IP4_HEADER + body));
	dw_wr_u16(w, 0); /* identification: means nothing where fragments are forbidden (RFC 6864) */
	dw_wr_u16(w, DONT_FRAGMENT);
	dw_wr_u8(w, HOP_LIMIT);
	dw_wr_u8(w, proto);
	dw_wr_u16(w, 0);
	dw_wr_bytes(w, src->b, 4);
	dw_wr_bytes(w, dst->b, 4);
	if (dw_wr_ok(w))
		dw_wr_patch_u16(w, 10, ip_checksum(w->buf, IP4_HEADER, 0));
}

/* The sum over source, destination, protocol and length (RFC 9293 section 3.1, RFC 8200 section 8.1). */
static uint32_t pseudo_sum(const struct dw_addr *src, const struct dw_addr *dst, uint8_t proto, size_t body)
{
	uint32_t sum = (uint32_t)(proto + body);
	sum = sum_add(src->b, 16, sum); /* an IPv4 address is followed by zeros */
	return sum_add(dst->b, 16, sum);
}

size_t dw_packet_rst(const struct dw_packet *syn, void *out, size_t cap)
{
	if (syn->proto != IPPROTO_TCP || syn->flags & DW_TCP_RST || syn->src.family != syn->dst.family ||
	    syn->src.family == DW_AF_NONE)
		return 0;
	/* RFC 9293 section 3.10.7.1: what a closed port answers. SYN and FIN each count as a byte. */
	bool acks = syn->flags & DW_TCP_ACK;
	uint32_t len = (uint32_t)syn->payload.n + (syn->flags & DW_TCP_SYN ? 1 : 0) + (syn->flags & DW_TCP_FIN ? 1 : 0);

	struct dw_wr w = dw_wr_init(out, cap);
	write_ip(&w, &syn->dst, &syn->src, IPPROTO_TCP, TCP_HEADER);
	dw_wr_u16(&w, syn->dport);
	dw_wr_u16(&w, syn->sport);
	dw_wr_u32(&w, acks ? syn->ack : 0);
	dw_wr_u32(&w, acks ? 0 : syn->seq + len);
	dw_wr_u8(&w, TCP_HEADER / 4 << 4);
	dw_wr_u8(&w, acks ? DW_TCP_RST : DW_TCP_RST | DW_TCP_ACK);
	dw_wr_u16(&w, 0); /* window */
	dw_wr_u16(&w, 0); /* checksum */
	dw_wr_u16(&w, 0); /* urgent pointer */
	if (!dw_wr_ok(&w))
		return 0;
	size_t at = header_size(&syn->src);
	uint32_t pseudo = pseudo_sum(&syn->dst, &syn->src, IPPROTO_TCP, TCP_HEADER);
	dw_wr_patch_u16(&w, at + 16, ip_checksum(w.buf + at, TCP_HEADER, pseudo));
	return w.len;
}

/* RFC 792, RFC 1812 section 5.2.7.1; RFC 4443 section 3.1. */
static uint16_t type_and_code(uint8_t family, enum dw_unreachable why)
{
	static const uint8_t code4[] = {
		[DW_UNREACH_NET] = ICMP_NET_UNREACH,
		[DW_UNREACH_HOST] = ICMP_HOST_UNREACH,
		[DW_UNREACH_PORT] = ICMP_PORT_UNREACH,
		[DW_UNREACH_PROHIBITED] = ICMP_PKT_FILTERED,
	};
	static const uint8_t code6[] = {
		[DW_UNREACH_NET] = ICMP6_DST_UNREACH_NOROUTE,
		[DW_UNREACH_HOST] = ICMP6_DST_UNREACH_ADDR,
		[DW_UNREACH_PORT] = ICMP6_DST_UNREACH_NOPORT,
		[DW_UNREACH_PROHIBITED] = ICMP6_DST_UNREACH_ADMIN,
	};
	dw_assert((size_t)why < DW_COUNT(code4));
	if (family == DW_AF_4)
		return (uint16_t)(ICMP_DEST_UNREACH << 8 | code4[why]);
	return (uint16_t)(ICMP6_DST_UNREACH << 8 | code6[why]);
}

size_t dw_packet_unreachable(const struct dw_packet *p, enum dw_unreachable why, const struct dw_addr *from, void *out,
			     size_t cap)
{
	bool v4 = p->src.family == DW_AF_4;
	if (p->src.family == DW_AF_NONE || from->family != p->src.family)
		return 0;
	size_t quote = v4 ? p->header.n : DW_MIN(p->header.n, ICMP6_QUOTE);
	size_t body = ICMP_HEADER + quote;
	uint8_t proto = v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;

	struct dw_wr w = dw_wr_init(out, cap);
	write_ip(&w, from, &p->src, proto, body);
	dw_wr_u16(&w, type_and_code(p->src.family, why));
	dw_wr_u16(&w, 0); /* checksum */
	dw_wr_u32(&w, 0);
	dw_wr_bytes(&w, p->header.p, quote);
	if (!dw_wr_ok(&w))
		return 0;
	size_t at = header_size(from);
	uint32_t pseudo = v4 ? 0 : pseudo_sum(from, &p->src, proto, body);
	dw_wr_patch_u16(&w, at + 2, ip_checksum(w.buf + at, body, pseudo));
	return w.len;
}

/* An IPv4 header that lets the packet be fragmented. */
static void allow_fragments(struct dw_wr *w, uint16_t id)
{
	dw_wr_patch_u16(w, 4, id);
	dw_wr_patch_u16(w, 6, 0);
	dw_wr_patch_u16(w, 10, 0);
	dw_wr_patch_u16(w, 10, ip_checksum(w->buf, IP4_HEADER, 0));
}

size_t dw_packet_udp(const struct dw_addr *src, uint16_t sport, const struct dw_addr *dst, uint16_t dport,
		     const void *payload, size_t n, void *out, size_t cap)
{
	size_t at = header_size(src);
	if (src->family != dst->family || src->family == DW_AF_NONE || n > UINT16_MAX - at - UDP_HEADER)
		return 0;
	size_t body = UDP_HEADER + n;
	struct dw_wr w = dw_wr_init(out, cap);
	write_ip(&w, src, dst, IPPROTO_UDP, body);
	dw_wr_u16(&w, sport);
	dw_wr_u16(&w, dport);
	dw_wr_u16(&w, (uint16_t)body);
	dw_wr_u16(&w, 0); /* checksum */
	dw_wr_bytes(&w, payload, n);
	if (!dw_wr_ok(&w))
		return 0;
	uint16_t sum = ip_checksum(w.buf + at, body, pseudo_sum(src, dst, IPPROTO_UDP, body));
	if (sum == 0) /* would say that there is none (RFC 768), which IPv6 forbids */
		sum = 0xffff;
	dw_wr_patch_u16(&w, at + 6, sum);
	/* No counter in a pure library: the checksum as identification keeps fragments of two datagrams apart as well. */
	if (src->family == DW_AF_4)
		allow_fragments(&w, sum);
	return w.len;
}
