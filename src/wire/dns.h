/* SPDX-License-Identifier: Apache-2.0 */
/* DNS messages (RFC 1035, EDNS RFC 6891, Extended DNS Errors RFC 8914): strict reading, building. */
#pragma once

#include "core/addr.h"
#include "core/rd.h"
#include "core/wr.h"

#define DW_DNS_NAME_SIZE 256  /* text: 253 characters, NUL; "." for the root */
#define DW_DNS_UDP_MAX   1232 /* what we send over UDP at most (DNS flag day 2020), and never more than the client's */

enum dw_dns_type {
	DW_DNS_A = 1,
	DW_DNS_NS = 2,
	DW_DNS_CNAME = 5,
	DW_DNS_SOA = 6,
	DW_DNS_AAAA = 28,
	DW_DNS_OPT = 41,
	DW_DNS_HTTPS = 65,
};

enum dw_dns_rcode {
	DW_DNS_NOERROR = 0,
	DW_DNS_FORMERR = 1,
	DW_DNS_SERVFAIL = 2,
	DW_DNS_NXDOMAIN = 3,
	DW_DNS_NOTIMP = 4,
	DW_DNS_REFUSED = 5,
};

/*
 * A query as a client sent it. Names are text with every byte checked: a label byte outside [A-Za-z0-9_-] is shown as '?'
 * and makes name_ok false, while the message itself may still be well formed (so it can be answered REFUSED). The root,
 * shown as ".", is no host name either.
 */
struct dw_dns_query {
	uint16_t id;
	bool rd; /* recursion desired: echoed */
	bool cd; /* checking disabled: echoed */
	uint16_t qtype, qclass;
	bool name_ok; /* qname holds a name in host-name characters, original case, no trailing dot */
	char qname[DW_DNS_NAME_SIZE];
	struct dw_span question; /* the question section's bytes as sent, for echoing; into the caller's buffer */
	bool edns;
	uint16_t udp_size; /* 512 without EDNS; at least 512 */
	bool dnssec_ok;
};

/*
 * Reads a whole query message. OK only for: QR 0, opcode 0, TC 0, QDCOUNT 1, ANCOUNT 0, NSCOUNT 0, ARCOUNT 0 or 1 (an OPT
 * with version 0 and root owner; its options are checked for length and ignored), an uncompressed question, no byte after
 * it. BAD otherwise; then ret->id is set when at least 12 bytes were there (ret_has_id), so that FORMERR can be sent; a
 * message with QR 1 never has an id (it must not be answered). On BAD nothing else of ret is touched.
 */
enum dw_parse dw_dns_query_parse(const void *msg, size_t n, struct dw_dns_query *ret, bool *ret_has_id);

#define DW_DNS_ANSWER_MAX 512 /* addresses taken from one answer */
#define DW_DNS_CHAIN_MAX  16  /* CNAMEs followed */

/* What an upstream answer says about one question, reduced to the CNAME chain from the queried name. */
struct dw_dns_answer {
	uint16_t rcode; /* with the upper bits from an OPT record; no addresses are taken unless it is NOERROR */
	bool truncated;
	uint32_t ttl;  /* the least of chain and addresses taken (RFC 2181: >= 2^31 is 0); 0 without addresses */
	size_t addr_n; /* only records of the chain's end, of the asked type and class IN; duplicates dropped */
	bool more;     /* there were over DW_DNS_ANSWER_MAX */
	struct dw_addr addr[DW_DNS_ANSWER_MAX];
};

/*
 * Reads a response to (qname, qtype). qname is canonical lower case without a trailing dot. The question must be that
 * question (names compare without case). Compression pointers must point strictly backwards; loops (of names too), label
 * types 0x40/0x80, RDATA of a wrong length, names over 255 bytes, counts that do not match, bytes behind the last record,
 * two OPT records, two different CNAMEs of one name on the chain: BAD. A chain over DW_DNS_CHAIN_MAX: BIG. Records that
 * are not on the chain are ignored, wherever they stand; only the answer section is read for addresses. An IPv4-mapped
 * address in an AAAA record is dropped. With TC set nothing behind the question is read: OK, truncated, no addresses.
 * The message's id is the caller's to compare. ret is set on OK only.
 */
enum dw_parse dw_dns_answer_parse(const void *msg, size_t n, const char *qname, uint16_t qtype,
				  struct dw_dns_answer *ret);

/* One service binding read from an HTTPS answer (RFC 9460), already reduced to what may be passed on. */
struct dw_dns_https {
	uint16_t priority;
	/* SvcPriority, TargetName, SvcParams without ech (5), ipv4hint (4), ipv6hint (6); ascending keys */
	uint8_t rdata[512];
	size_t rdata_n;
};
#define DW_DNS_HTTPS_MAX 8
/*
 * HTTPS records of (qname, HTTPS) on the chain. Only ServiceMode records (priority > 0) whose TargetName is "." are kept
 * (an alias or another target would be a name that was not judged), and no record whose `mandatory` list names a removed
 * key (the client could not use it). ret holds up to DW_DNS_HTTPS_MAX; *ret_n; *ret_ttl, *ret_rcode. Same strictness, and
 * BAD for malformed parameters of a record on the chain (RFC 9460 section 2.2). TC set: OK with none.
 */
enum dw_parse dw_dns_https_parse(const void *msg, size_t n, const char *qname,
				 struct dw_dns_https ret[static DW_DNS_HTTPS_MAX], size_t *ret_n, uint32_t *ret_ttl,
				 uint16_t *ret_rcode);

/* What to answer. Either addresses (A or AAAA by addr[].family) or https records, or neither (NODATA or an error). */
struct dw_dns_reply {
	uint16_t rcode;
	uint32_t ttl;
	const struct dw_addr *addr;
	size_t addr_n;
	const struct dw_dns_https *https;
	size_t https_n;
	int ede; /* Extended DNS Error INFO-CODE or -1: 15 Blocked, 17 Filtered, 18 Prohibited, 22/23 network, 0 other */
	const char *ede_text; /* UTF-8, cut at 200 bytes; NULL for none */
};

/*
 * Writes the response to q into out (cap bytes): QR, RA, RD/CD echoed, the question as sent, answers owned by the queried
 * name (compression pointer to offset 12), OPT with the EDE option iff the client sent EDNS. limit = largest message the
 * transport takes (UDP: min(udp_size, DW_DNS_UDP_MAX); TCP: 65535); where answers do not fit, TC is set and the answer
 * section is empty. Returns the length, 0 when cap or limit is too small even for that (512 always does).
 */
size_t dw_dns_reply_build(const struct dw_dns_query *q, const struct dw_dns_reply *reply, size_t limit, void *out,
			  size_t cap);

/* A FORMERR for a message whose only readable part was its id: header alone, 12 bytes. */
size_t dw_dns_formerr_build(uint16_t id, void *out, size_t cap);

/*
 * The query that goes upstream: RD, one question of class IN, an OPT without options. qname as in dw_dns_answer_parse.
 * Returns the length, 0 when cap is too small (512 always does) or qname is no name.
 */
size_t dw_dns_query_build(uint16_t id, const char *qname, uint16_t qtype, void *out, size_t cap);
