/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers from upstream. A message is read in three goes: all of it once for its form, the answer section once for each
 * CNAME of the chain (records may stand in any order), and once for what stands at the chain's end. Each go costs
 * at most the records of one message (under 6,000) and the chain is at most DW_DNS_CHAIN_MAX long.
 */
#include "wire/dns_internal.h"

#include <string.h>

#include "core/defence.h"

struct walk {
	struct dw_span msg;
	struct dw_rd answers; /* at the first record of the answer section */
	uint16_t answer_n;
	uint16_t rcode;
	bool truncated;
	struct dns_name end; /* of the chain */
	uint32_t ttl;        /* least so far */
};

/* RFC 2181 section 8: a TTL with the top bit set is zero. */
static uint32_t ttl_clean(uint32_t ttl)
{
	return ttl > INT32_MAX ? 0 : ttl;
}

static bool rdata_form_ok(const struct dns_rr *rr, struct dw_span msg)
{
	struct dw_rd rdata = rr->rdata;
	struct dns_name target;
	if (rr->class != DNS_CLASS_IN)
		return true;
	switch (rr->type) {
	case DW_DNS_A:
		return rdata.n == 4;
	case DW_DNS_AAAA:
		return rdata.n == 16;
	case DW_DNS_CNAME:
		dns_name_read(&rdata, msg, &target);
		return dw_rd_done(&rdata);
	default:
		return true;
	}
}

/* Reads all sections for their form; the OPT record adds the upper bits of the rcode (RFC 6891 section 6.1.3). */
static bool check_form(struct walk *w, struct dw_rd r, const struct dns_header *h)
{
	bool opt = false;
	for (size_t section = DNS_ANSWER; section < DNS_SECTIONS; section++) {
		for (uint16_t i = 0; i < h->count[section]; i++) {
			struct dns_rr rr;
			dns_rr_read(&r, w->msg, &rr);
			if (!dw_rd_ok(&r) || !rdata_form_ok(&rr, w->msg))
				return false;
			if (section != DNS_ADDITIONAL || rr.type != DW_DNS_OPT)
				continue;
			if (opt || rr.owner.n != 1 || !dns_opt_options_ok(rr.rdata))
				return false;
			opt = true;
			w->rcode |= (uint16_t)(rr.ttl >> 24 << 4);
		}
	}
	return dw_rd_done(&r);
}

/* The CNAME of `owner`, if it has one. BAD for two that differ: readers would follow different ones. */
static enum dw_parse find_cname(struct walk *w, const struct dns_name *owner, bool *ret_found,
				struct dns_name *ret_target)
{
	struct dw_rd r = w->answers;
	*ret_found = false;
	for (uint16_t i = 0; i < w->answer_n; i++) {
		struct dns_rr rr;
		dns_rr_read(&r, w->msg, &rr);
		if (rr.type != DW_DNS_CNAME || rr.class != DNS_CLASS_IN || !dns_name_eq(&rr.owner, owner))
			continue;
		struct dns_name target;
		dns_name_read(&rr.rdata, w->msg, &target);
		if (*ret_found && !dns_name_eq(&target, ret_target))
			return DW_PARSE_BAD;
		*ret_found = true;
		*ret_target = target;
		w->ttl = DW_MIN(w->ttl, ttl_clean(rr.ttl));
	}
	return DW_PARSE_OK;
}

static enum dw_parse follow_chain(struct walk *w)
{
	struct dns_name seen[DW_DNS_CHAIN_MAX + 1];
	seen[0] = w->end;
	for (size_t hops = 0;; hops++) {
		bool found;
		struct dns_name target;
		if (find_cname(w, &seen[hops], &found, &target) != DW_PARSE_OK)
			return DW_PARSE_BAD;
		if (!found) {
			w->end = seen[hops];
			return DW_PARSE_OK;
		}
		for (size_t i = 0; i <= hops; i++) {
			if (dns_name_eq(&seen[i], &target))
				return DW_PARSE_BAD;
		}
		if (hops == DW_DNS_CHAIN_MAX)
			return DW_PARSE_BIG;
		seen[hops + 1] = target;
	}
}

static enum dw_parse walk_open(const void *msg, size_t n, const char *qname, uint16_t qtype, struct walk *w)
{
	struct dw_rd r = dw_rd_init(msg, n, false);
	struct dns_header h;
	struct dns_name asked;
	*w = (struct walk){ .msg = { .p = r.p, .n = r.n }, .ttl = UINT32_MAX };
	dns_header_read(&r, &h);
	if ((h.flags & (DNS_FLAG_QR | DNS_MASK_OPCODE)) != DNS_FLAG_QR || h.count[DNS_QUESTION] != 1)
		return DW_PARSE_BAD;
	dns_name_read_plain(&r, &asked);
	uint16_t type = dw_rd_u16(&r), class = dw_rd_u16(&r);
	if (!dw_rd_ok(&r) || type != qtype || class != DNS_CLASS_IN)
		return DW_PARSE_BAD;
	if (!dns_name_from_text(qname, &w->end) || !dns_name_eq(&asked, &w->end))
		return DW_PARSE_BAD;

	w->rcode = h.flags & DNS_MASK_RCODE;
	w->truncated = h.flags & DNS_FLAG_TC;
	if (w->truncated) /* RFC 2181 section 9: not to be used, and it may be cut anywhere */
		return DW_PARSE_OK;
	w->answers = r;
	w->answer_n = h.count[DNS_ANSWER];
	if (!check_form(w, r, &h))
		return DW_PARSE_BAD;
	return qtype == DW_DNS_CNAME ? DW_PARSE_OK : follow_chain(w);
}

/* Whether records of this message may be used at all. */
static bool walk_usable(const struct walk *w)
{
	return !w->truncated && w->rcode == DW_DNS_NOERROR;
}

static bool is_wanted(const struct walk *w, const struct dns_rr *rr, uint16_t qtype)
{
	return rr->type == qtype && rr->class == DNS_CLASS_IN && dns_name_eq(&rr->owner, &w->end);
}

static bool answer_has(const struct dw_dns_answer *a, const struct dw_addr *addr)
{
	for (size_t i = 0; i < a->addr_n; i++) {
		if (dw_addr_eq(&a->addr[i], addr))
			return true;
	}
	return false;
}

static struct dw_addr rdata_addr(const struct dns_rr *rr)
{
	const struct dw_addr none = { 0 };
	if (rr->type == DW_DNS_A)
		return dw_addr_from4(rr->rdata.p);
	if (rr->type != DW_DNS_AAAA)
		return none;
	/* An IPv4-mapped address in an AAAA record is no IPv6 address, and IPv4 addresses come from A records. */
	struct dw_addr addr = dw_addr_from6(rr->rdata.p);
	return addr.family == DW_AF_6 ? addr : none;
}

enum dw_parse dw_dns_answer_parse(const void *msg, size_t n, const char *qname, uint16_t qtype,
				  struct dw_dns_answer *ret)
{
	struct walk w;
	enum dw_parse status = walk_open(msg, n, qname, qtype, &w);
	if (status != DW_PARSE_OK)
		return status;

	*ret = (struct dw_dns_answer){ .rcode = w.rcode, .truncated = w.truncated };
	for (uint16_t i = 0; walk_usable(&w) && i < w.answer_n; i++) {
		struct dns_rr rr;
		dns_rr_read(&w.answers, w.msg, &rr);
		if (!is_wanted(&w, &rr, qtype))
			continue;
		struct dw_addr addr = rdata_addr(&rr);
		if (addr.family == DW_AF_NONE)
			continue;
		w.ttl = DW_MIN(w.ttl, ttl_clean(rr.ttl));
		if (answer_has(ret, &addr))
			continue;
		if (ret->addr_n == DW_DNS_ANSWER_MAX) {
			ret->more = true;
			break;
		}
		ret->addr[ret->addr_n++] = addr;
	}
	if (ret->addr_n)
		ret->ttl = w.ttl;
	return DW_PARSE_OK;
}

/* RFC 9460 section 14.3.2. */
enum { SVC_MANDATORY = 0, SVC_IPV4HINT = 4, SVC_ECH = 5, SVC_IPV6HINT = 6 };

static bool is_stripped(uint16_t key)
{
	return (key == SVC_IPV4HINT || key == SVC_ECH || key == SVC_IPV6HINT) && dw_defended(DW_DEFENCE_HTTPS_RECORDS);
}

/* RFC 9460 section 8: at least one key, ascending, not key 0. *ret_usable: none of them is one that is taken out. */
static bool mandatory_ok(struct dw_rd value, bool *ret_usable)
{
	uint16_t last = SVC_MANDATORY;
	*ret_usable = true;
	while (value.n) {
		uint16_t key = dw_rd_u16(&value);
		if (!dw_rd_ok(&value) || key <= last)
			return false;
		last = key;
		if (is_stripped(key))
			*ret_usable = false;
	}
	return dw_rd_done(&value) && last != SVC_MANDATORY;
}

/* Copies the parameters that may be passed on; false for a malformed list (RFC 9460 section 2.2). */
static bool copy_params(struct dw_rd r, struct dw_wr *out, bool *ret_usable)
{
	int32_t last = -1;
	*ret_usable = true;
	while (r.n) {
		uint16_t key = dw_rd_u16(&r);
		uint16_t len = dw_rd_u16(&r);
		struct dw_rd value = dw_rd_sub(&r, len);
		if (!dw_rd_ok(&r) || key <= last)
			return false;
		last = key;
		if (key == SVC_MANDATORY && !mandatory_ok(value, ret_usable))
			return false;
		if (is_stripped(key))
			continue;
		dw_wr_u16(out, key);
		dw_wr_u16(out, len);
		dw_wr_bytes(out, value.p, value.n);
	}
	return dw_rd_done(&r);
}

/* BAD when malformed; *ret_keep says whether the record can be passed on. */
static enum dw_parse https_read(struct dw_rd rdata, struct dw_dns_https *ret, bool *ret_keep)
{
	struct dns_name target;
	*ret_keep = false;
	ret->priority = dw_rd_u16(&rdata);
	dns_name_read_plain(&rdata, &target); /* RFC 9460 section 2.2: not compressed */
	if (!dw_rd_ok(&rdata))
		return DW_PARSE_BAD;
	if (ret->priority == 0) /* AliasMode: its parameters mean nothing (RFC 9460 section 2.4.2) */
		return DW_PARSE_OK;

	struct dw_wr out = dw_wr_init(ret->rdata, sizeof(ret->rdata));
	bool usable;
	dw_wr_u16(&out, ret->priority);
	dw_wr_u8(&out, 0);
	if (!copy_params(rdata, &out, &usable))
		return DW_PARSE_BAD;
	ret->rdata_n = out.len;
	*ret_keep = usable && target.n == 1 && dw_wr_ok(&out);
	return DW_PARSE_OK;
}

enum dw_parse dw_dns_https_parse(const void *msg, size_t n, const char *qname,
				 struct dw_dns_https ret[static DW_DNS_HTTPS_MAX], size_t *ret_n, uint32_t *ret_ttl,
				 uint16_t *ret_rcode)
{
	struct walk w;
	enum dw_parse status = walk_open(msg, n, qname, DW_DNS_HTTPS, &w);
	if (status != DW_PARSE_OK)
		return status;

	struct dw_dns_https kept[DW_DNS_HTTPS_MAX];
	size_t kept_n = 0;
	for (uint16_t i = 0; walk_usable(&w) && i < w.answer_n; i++) {
		struct dns_rr rr;
		dns_rr_read(&w.answers, w.msg, &rr);
		if (!is_wanted(&w, &rr, DW_DNS_HTTPS))
			continue;
		struct dw_dns_https one = { 0 };
		bool keep;
		if (https_read(rr.rdata, &one, &keep) != DW_PARSE_OK)
			return DW_PARSE_BAD;
		if (!keep || kept_n == DW_DNS_HTTPS_MAX)
			continue;
		w.ttl = DW_MIN(w.ttl, ttl_clean(rr.ttl));
		kept[kept_n++] = one;
	}
	memcpy(ret, kept, kept_n * sizeof(kept[0]));
	*ret_n = kept_n;
	*ret_ttl = kept_n ? w.ttl : 0;
	*ret_rcode = w.rcode;
	return DW_PARSE_OK;
}
