/* SPDX-License-Identifier: Apache-2.0 */
/* The packets of a datagram: RFC 8999 for what holds in every version, RFC 9000 section 17 for version 1, RFC 9369 for 2. */
#include "wire/quic_internal.h"

#define LONG_FORM 0x80

enum long_type { TYPE_INITIAL, TYPE_ZERO_RTT, TYPE_HANDSHAKE, TYPE_RETRY };

/* The two type bits (RFC 9000 section 17.2, RFC 9369 section 3.2). */
static enum long_type long_type(uint8_t first, uint32_t version)
{
	unsigned bits = first >> 4 & 3;
	return (enum long_type)(version == DW_QUIC_V2 ? (bits + 3) & 3 : bits);
}

static struct dw_span read_cid(struct dw_rd *r, size_t most)
{
	uint8_t n = dw_rd_u8(r);
	if (n > most)
		dw_rd_fail(r, DW_PARSE_BAD);
	return dw_rd_bytes(r, n);
}

static struct dw_span rest(struct dw_rd *r)
{
	return dw_rd_bytes(r, r->n);
}

/* What stands behind the connection IDs in version 1 and 2; start is the packet's first byte. */
static void read_known(struct dw_rd *r, enum long_type type, const uint8_t *start, struct dw_quic_packet *p)
{
	p->kind = type == TYPE_INITIAL ? DW_QUIC_INITIAL : DW_QUIC_LONG;
	if (type == TYPE_RETRY) { /* has no length */
		rest(r);
		return;
	}
	if (type == TYPE_INITIAL)
		p->token = quic_bytes(r, quic_varint(r));
	uint64_t length = quic_varint(r); /* of packet number and payload */
	if (!dw_rd_ok(r))
		return;
	p->pn_off = (size_t)(r->p - start);
	quic_bytes(r, length);
}

static void read_long(struct dw_rd *r, uint8_t first, const uint8_t *start, struct dw_quic_packet *p)
{
	p->version = dw_rd_u32(r);
	bool known = p->version == DW_QUIC_V1 || p->version == DW_QUIC_V2;
	p->dcid = read_cid(r, known ? DW_QUIC_CID_MAX : UINT8_MAX);
	p->scid = read_cid(r, known ? DW_QUIC_CID_MAX : UINT8_MAX);
	if (known) {
		read_known(r, long_type(first, p->version), start, p);
		return;
	}
	p->kind = p->version == 0 ? DW_QUIC_NEGOTIATION : DW_QUIC_UNKNOWN;
	rest(r);
}

enum dw_parse dw_quic_packet_next(const void *datagram, size_t n, size_t *at, struct dw_quic_packet *ret)
{
	if (*at >= n)
		return DW_PARSE_BAD;
	const uint8_t *start = (const uint8_t *)datagram + *at;
	struct dw_rd r = dw_rd_init(start, n - *at, false);
	struct dw_quic_packet p = { .kind = DW_QUIC_SHORT };
	uint8_t first = dw_rd_u8(&r);
	if (first & LONG_FORM)
		read_long(&r, first, start, &p);
	else
		rest(&r);
	if (!dw_rd_ok(&r))
		return r.status;
	p.all = (struct dw_span){ .p = start, .n = (size_t)(r.p - start) };
	*at += p.all.n;
	*ret = p;
	return DW_PARSE_OK;
}
