/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that we write: replies to sandboxes and queries to the upstream resolver. */
#include "wire/dns_internal.h"

#include <string.h>

#define EDE_OPTION     15 /* RFC 8914 section 2 */
#define EDE_TEXT_MAX   200
#define COUNT_AT(sect) (4 + 2 * (size_t)(sect))
#define QNAME_POINTER  (0xc000 | DNS_HEADER_SIZE)

static void write_header(struct dw_wr *w, uint16_t id, uint16_t flags)
{
	dw_wr_u16(w, id);
	dw_wr_u16(w, flags);
	for (size_t i = 0; i < DNS_SECTIONS; i++)
		dw_wr_u16(w, 0);
}

/* Cuts at EDE_TEXT_MAX, before a UTF-8 sequence that would be cut in two. */
static size_t ede_text_len(const char *text)
{
	size_t n = text ? strnlen(text, EDE_TEXT_MAX + 1) : 0;
	if (n <= EDE_TEXT_MAX)
		return n;
	n = EDE_TEXT_MAX;
	while (n > 0 && ((uint8_t)text[n] & 0xc0) == 0x80)
		n--;
	return n;
}

static void write_opt(struct dw_wr *w, uint16_t rcode, bool dnssec_ok, const struct dw_dns_reply *reply)
{
	dw_wr_u8(w, 0); /* the root */
	dw_wr_u16(w, DW_DNS_OPT);
	dw_wr_u16(w, DW_DNS_UDP_MAX);
	dw_wr_u8(w, (uint8_t)(rcode >> 4));
	dw_wr_u8(w, 0); /* version */
	dw_wr_u16(w, dnssec_ok ? DNS_EDNS_FLAG_DO : 0);
	if (!reply || reply->ede < 0) {
		dw_wr_u16(w, 0);
		return;
	}
	size_t text_n = ede_text_len(reply->ede_text);
	dw_wr_u16(w, (uint16_t)(4 + 2 + text_n));
	dw_wr_u16(w, EDE_OPTION);
	dw_wr_u16(w, (uint16_t)(2 + text_n));
	dw_wr_u16(w, (uint16_t)reply->ede);
	dw_wr_bytes(w, reply->ede_text, text_n);
}

static void write_rr(struct dw_wr *w, uint16_t type, uint32_t ttl, const uint8_t *rdata, size_t n)
{
	dw_wr_u16(w, QNAME_POINTER);
	dw_wr_u16(w, type);
	dw_wr_u16(w, DNS_CLASS_IN);
	dw_wr_u32(w, ttl);
	dw_wr_u16(w, (uint16_t)n);
	dw_wr_bytes(w, rdata, n);
}

/* Returns the number of records, which the size of a message keeps under 2^16. */
static uint16_t write_answers(struct dw_wr *w, const struct dw_dns_reply *reply)
{
	uint16_t count = 0;
	for (size_t i = 0; i < reply->addr_n && dw_wr_ok(w); i++, count++) {
		const struct dw_addr *a = &reply->addr[i];
		if (a->family == DW_AF_4)
			write_rr(w, DW_DNS_A, reply->ttl, a->b, 4);
		else
			write_rr(w, DW_DNS_AAAA, reply->ttl, a->b, 16);
	}
	for (size_t i = 0; i < reply->https_n && dw_wr_ok(w); i++, count++)
		write_rr(w, DW_DNS_HTTPS, reply->ttl, reply->https[i].rdata, reply->https[i].rdata_n);
	return count;
}

static struct dw_wr build(const struct dw_dns_query *q, const struct dw_dns_reply *reply, bool cut, void *out,
			  size_t cap)
{
	uint16_t flags = DNS_FLAG_QR | DNS_FLAG_RA | (reply->rcode & DNS_MASK_RCODE);
	flags |= q->rd ? DNS_FLAG_RD : 0;
	flags |= q->cd ? DNS_FLAG_CD : 0;
	flags |= cut ? DNS_FLAG_TC : 0;

	struct dw_wr w = dw_wr_init(out, cap);
	write_header(&w, q->id, flags);
	if (q->question.n) {
		dw_wr_patch_u16(&w, COUNT_AT(DNS_QUESTION), 1);
		dw_wr_bytes(&w, q->question.p, q->question.n);
		if (!cut)
			dw_wr_patch_u16(&w, COUNT_AT(DNS_ANSWER), write_answers(&w, reply));
	}
	if (q->edns) {
		dw_wr_patch_u16(&w, COUNT_AT(DNS_ADDITIONAL), 1);
		write_opt(&w, reply->rcode, q->dnssec_ok, reply);
	}
	return w;
}

size_t dw_dns_reply_build(const struct dw_dns_query *q, const struct dw_dns_reply *reply, size_t limit, void *out,
			  size_t cap)
{
	size_t room = DW_MIN(limit, cap);
	struct dw_wr w = build(q, reply, false, out, room);
	if (!dw_wr_ok(&w))
		w = build(q, reply, true, out, room);
	return dw_wr_ok(&w) ? w.len : 0;
}

size_t dw_dns_formerr_build(uint16_t id, void *out, size_t cap)
{
	struct dw_wr w = dw_wr_init(out, cap);
	write_header(&w, id, DNS_FLAG_QR | DW_DNS_FORMERR);
	return dw_wr_ok(&w) ? w.len : 0;
}

size_t dw_dns_query_build(uint16_t id, const char *qname, uint16_t qtype, void *out, size_t cap)
{
	struct dns_name name;
	if (!dns_name_from_text(qname, &name))
		return 0;
	struct dw_wr w = dw_wr_init(out, cap);
	write_header(&w, id, DNS_FLAG_RD);
	dw_wr_patch_u16(&w, COUNT_AT(DNS_QUESTION), 1);
	dw_wr_patch_u16(&w, COUNT_AT(DNS_ADDITIONAL), 1);
	dw_wr_bytes(&w, name.wire, name.n);
	dw_wr_u16(&w, qtype);
	dw_wr_u16(&w, DNS_CLASS_IN);
	write_opt(&w, DW_DNS_NOERROR, false, NULL);
	return dw_wr_ok(&w) ? w.len : 0;
}
