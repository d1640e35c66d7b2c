/* SPDX-License-Identifier: Apache-2.0 */
/* Reading packets. Transport checksums are not looked at: nothing read here is forwarded. */
#include "wire/ip.h"

#include "wire/ip_internal.h"

#define IP4_FRAGMENT       0x3fff /* "more fragments" and the offset; "don't fragment" may be set */
#define IP6_EXTENSIONS_MAX 8
#define QUOTE_BEHIND       8 /* RFC 792: enough for the sender to find the socket */

static bool read_tcp(struct dw_rd *r, struct dw_packet *p)
{
	p->sport = dw_rd_u16(r);
	p->dport = dw_rd_u16(r);
	p->seq = dw_rd_u32(r);
	p->ack = dw_rd_u32(r);
	uint8_t words = dw_rd_u8(r) >> 4;
	p->flags = dw_rd_u8(r) & 0x3f;
	dw_rd_bytes(r, 6); /* window, checksum, urgent pointer */
	if (words < 5)
		return false;
	dw_rd_bytes(r, (size_t)(words - 5) * 4);
	return dw_rd_ok(r);
}

static bool read_udp(struct dw_rd *r, struct dw_packet *p)
{
	size_t whole = r->n;
	p->sport = dw_rd_u16(r);
	p->dport = dw_rd_u16(r);
	uint16_t len = dw_rd_u16(r);
	dw_rd_u16(r); /* checksum */
	return dw_rd_ok(r) && len == whole;
}

static enum dw_parse read_transport(struct dw_rd *r, struct dw_packet *p)
{
	bool ok = true;
	if (p->proto == IPPROTO_TCP)
		ok = read_tcp(r, p);
	else if (p->proto == IPPROTO_UDP)
		ok = read_udp(r, p);
	if (!ok || !dw_rd_ok(r))
		return DW_PARSE_BAD;
	p->payload = dw_rd_bytes(r, r->n);
	return DW_PARSE_OK;
}

/* The packet's bytes up to where r stands, and up to 8 more. */
static struct dw_span quote_of(struct dw_rd whole, const struct dw_rd *r)
{
	size_t header = whole.n - r->n;
	return dw_rd_bytes(&whole, header + DW_MIN(r->n, QUOTE_BEHIND));
}

static enum dw_parse read_ip4(struct dw_rd whole, struct dw_packet *p)
{
	struct dw_rd r = whole;
	uint8_t words = dw_rd_u8(&r) & 0x0f;
	dw_rd_u8(&r); /* type of service */
	uint16_t total = dw_rd_u16(&r);
	dw_rd_u16(&r); /* identification */
	uint16_t fragment = dw_rd_u16(&r);
	dw_rd_u8(&r); /* time to live */
	p->proto = dw_rd_u8(&r);
	dw_rd_u16(&r); /* checksum: of the whole header, below */
	struct dw_span src = dw_rd_bytes(&r, 4), dst = dw_rd_bytes(&r, 4);
	if (!dw_rd_ok(&r) || words < 5 || total != whole.n || fragment & IP4_FRAGMENT)
		return DW_PARSE_BAD;
	dw_rd_bytes(&r, (size_t)(words - 5) * 4);

	struct dw_rd again = whole;
	struct dw_span header = dw_rd_bytes(&again, (size_t)words * 4);
	if (!dw_rd_ok(&r) || ip_checksum(header.p, header.n, 0) != 0)
		return DW_PARSE_BAD;
	p->src = dw_addr_from4(src.p);
	p->dst = dw_addr_from4(dst.p);
	p->header = quote_of(whole, &r);
	return read_transport(&r, p);
}

/*
 * RFC 8200 section 4. Hop-by-hop options stand first or nowhere. A routing header with segments left means that the
 * destination is not where the packet wants to go; nothing good sends one.
 */
static bool skip_extensions(struct dw_rd *r, struct dw_packet *p)
{
	for (unsigned i = 0; i < IP6_EXTENSIONS_MAX; i++) {
		if (p->proto == IPPROTO_FRAGMENT || (p->proto == IPPROTO_HOPOPTS && i > 0))
			return false;
		if (p->proto != IPPROTO_HOPOPTS && p->proto != IPPROTO_ROUTING && p->proto != IPPROTO_DSTOPTS)
			return true;
		bool routing = p->proto == IPPROTO_ROUTING;
		p->proto = dw_rd_u8(r);
		struct dw_rd body = dw_rd_sub(r, (size_t)dw_rd_u8(r) * 8 + 6);
		if (!dw_rd_ok(r))
			return false;
		dw_rd_u8(&body); /* routing type */
		if (routing && dw_rd_u8(&body) != 0)
			return false;
	}
	return false;
}

static enum dw_parse read_ip6(struct dw_rd whole, struct dw_packet *p)
{
	struct dw_rd r = whole;
	dw_rd_u32(&r); /* version, class, flow label */
	uint16_t payload = dw_rd_u16(&r);
	p->proto = dw_rd_u8(&r);
	dw_rd_u8(&r); /* hop limit */
	struct dw_span src = dw_rd_bytes(&r, 16), dst = dw_rd_bytes(&r, 16);
	if (!dw_rd_ok(&r) || payload != r.n)
		return DW_PARSE_BAD;
	p->src = dw_addr_from6(src.p);
	p->dst = dw_addr_from6(dst.p);
	if (p->src.family != DW_AF_6 ||
	    p->dst.family != DW_AF_6) /* IPv4-mapped: never on the wire (RFC 4942 section 2.2) */
		return DW_PARSE_BAD;
	if (!skip_extensions(&r, p))
		return DW_PARSE_BAD;
	p->header = quote_of(whole, &r);
	return read_transport(&r, p);
}

enum dw_parse dw_packet_parse(const void *data, size_t n, struct dw_packet *ret)
{
	struct dw_rd whole = dw_rd_init(data, n, false);
	struct dw_rd peek = whole;
	struct dw_packet p = { 0 };
	enum dw_parse status = DW_PARSE_BAD;
	switch (dw_rd_u8(&peek) >> 4) {
	case 4:
		status = read_ip4(whole, &p);
		break;
	case 6:
		status = read_ip6(whole, &p);
		break;
	default:
		break;
	}
	if (status == DW_PARSE_OK)
		*ret = p;
	return status;
}
