/* SPDX-License-Identifier: Apache-2.0 */
/* What the DNS files of this folder share: names on the wire, the header, resource records. Not for other folders. */
#pragma once

#include "wire/dns.h"

#define DNS_HEADER_SIZE   12
#define DNS_NAME_WIRE_MAX 255 /* RFC 1035 section 3.1, the root's byte included */
#define DNS_LABEL_MAX     63
#define DNS_POINTERS_MAX  64 /* per name; one for each label is more than any compressor writes */
#define DNS_CLASS_IN      1

/* RFC 1035 section 4.1.1, RFC 4035 section 3.2 (CD) and RFC 6891 section 6.1.4 (DO). */
enum {
	DNS_FLAG_QR = 0x8000,
	DNS_MASK_OPCODE = 0x7800,
	DNS_FLAG_TC = 0x0200,
	DNS_FLAG_RD = 0x0100,
	DNS_FLAG_RA = 0x0080,
	DNS_FLAG_CD = 0x0010,
	DNS_MASK_RCODE = 0x000f,
	DNS_EDNS_FLAG_DO = 0x8000,
};

enum dns_section { DNS_QUESTION = 0, DNS_ANSWER, DNS_AUTHORITY, DNS_ADDITIONAL, DNS_SECTIONS };

/* A name in uncompressed wire form, case as it came. */
struct dns_name {
	size_t n;
	uint8_t wire[DNS_NAME_WIRE_MAX];
};

struct dns_header {
	uint16_t id, flags;
	uint16_t count[DNS_SECTIONS];
};

struct dns_rr {
	struct dns_name owner;
	uint16_t type, class;
	uint32_t ttl;
	struct dw_rd rdata;
};

/* An uncompressed name; a compression pointer is BAD. Errors are in r. */
void dns_name_read_plain(struct dw_rd *r, struct dns_name *ret);
/* A name that may be compressed. msg is the whole message, r stands somewhere in it. */
void dns_name_read(struct dw_rd *r, struct dw_span msg, struct dns_name *ret);
bool dns_name_eq(const struct dns_name *a, const struct dns_name *b);
/* "a.b" or "." to the wire form; false for an empty or overlong label or name. */
bool dns_name_from_text(const char *text, struct dns_name *ret);
/* Text without a trailing dot, "." for the root; a byte outside [A-Za-z0-9_-] becomes '?' and the result is false. */
bool dns_name_to_text(const struct dns_name *name, char text[static DW_DNS_NAME_SIZE]);

void dns_header_read(struct dw_rd *r, struct dns_header *ret);
void dns_rr_read(struct dw_rd *r, struct dw_span msg, struct dns_rr *ret);
/* The option list of an OPT record: lengths only (RFC 6891 section 6.1.2). */
bool DW_MUST_USE dns_opt_options_ok(struct dw_rd options);
