/* SPDX-License-Identifier: Apache-2.0 */
/* Queries as clients send them. Nothing of a query but what is in struct dw_dns_query may be used or passed on. */
#include "wire/dns_internal.h"

static bool header_ok(const struct dns_header *h)
{
	return (h->flags & (DNS_FLAG_QR | DNS_MASK_OPCODE | DNS_FLAG_TC)) == 0 && h->count[DNS_QUESTION] == 1 &&
	       h->count[DNS_ANSWER] == 0 && h->count[DNS_AUTHORITY] == 0 && h->count[DNS_ADDITIONAL] <= 1;
}

static void read_question(struct dw_rd *r, struct dw_dns_query *q)
{
	struct dw_rd start = *r;
	struct dns_name name;
	dns_name_read_plain(r, &name);
	q->qtype = dw_rd_u16(r);
	q->qclass = dw_rd_u16(r);
	if (!dw_rd_ok(r))
		return;
	q->question = dw_rd_bytes(&start, start.n - r->n);
	q->name_ok = dns_name_to_text(&name, q->qname);
}

/* RFC 6891 section 6.1.2: the class is the sender's UDP size, the TTL holds extended rcode, version and flags. */
static void read_opt(struct dw_rd *r, struct dw_span msg, struct dw_dns_query *q)
{
	struct dns_rr rr;
	dns_rr_read(r, msg, &rr);
	uint8_t version = (uint8_t)(rr.ttl >> 16);
	if (rr.type != DW_DNS_OPT || rr.owner.n != 1 || version != 0 || !dns_opt_options_ok(rr.rdata)) {
		dw_rd_fail(r, DW_PARSE_BAD);
		return;
	}
	q->edns = true;
	q->udp_size = DW_MAX(rr.class, 512);
	q->dnssec_ok = rr.ttl & DNS_EDNS_FLAG_DO;
}

enum dw_parse dw_dns_query_parse(const void *msg, size_t n, struct dw_dns_query *ret, bool *ret_has_id)
{
	struct dw_rd r = dw_rd_init(msg, n, false);
	const struct dw_span whole = { .p = r.p, .n = r.n };
	struct dns_header h = { 0 };
	dns_header_read(&r, &h);
	*ret_has_id = dw_rd_ok(&r) && !(h.flags & DNS_FLAG_QR);
	if (*ret_has_id)
		ret->id = h.id;
	if (!dw_rd_ok(&r) || !header_ok(&h))
		return DW_PARSE_BAD;

	struct dw_dns_query q = {
		.id = h.id,
		.rd = h.flags & DNS_FLAG_RD,
		.cd = h.flags & DNS_FLAG_CD,
		.udp_size = 512,
	};
	read_question(&r, &q);
	if (h.count[DNS_ADDITIONAL] == 1)
		read_opt(&r, whole, &q);
	if (!dw_rd_done(&r))
		return DW_PARSE_BAD;
	*ret = q;
	return DW_PARSE_OK;
}
