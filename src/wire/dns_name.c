/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names, the header and records as they stand on the wire.
 *
 * A compressed name ends because every jump gets a reader that sees only the bytes before the place it came from: what is
 * read after a jump lies strictly before what was read until then. That refuses loops, forward pointers and
 * pointers into the name itself without keeping a list, and refuses nothing that a compressor writes, for an earlier
 * occurrence of a name has ended before the later one begins (RFC 1035 section 4.1.4).
 */
#include "wire/dns_internal.h"

#include <string.h>

#define NO_POINTER 0xffff

/* Appends labels up to the root label or a pointer; *ret_pointer says which. */
static void read_labels(struct dw_rd *r, struct dns_name *name, uint16_t *ret_pointer)
{
	*ret_pointer = NO_POINTER;
	for (;;) {
		uint8_t len = dw_rd_u8(r);
		if (len >= 0xc0) {
			*ret_pointer = (uint16_t)((len & 0x3f) << 8 | dw_rd_u8(r));
			return;
		}
		if (len > DNS_LABEL_MAX) /* types 0x40 and 0x80 never came to be (RFC 6891 section 5) */
			dw_rd_fail(r, DW_PARSE_BAD);
		struct dw_span label = dw_rd_bytes(r, len);
		size_t room_for_root = len ? 1 : 0;
		if (name->n + 1 + len + room_for_root > sizeof(name->wire))
			dw_rd_fail(r, DW_PARSE_BAD);
		if (!dw_rd_ok(r))
			return;
		name->wire[name->n++] = len;
		if (len == 0)
			return;
		memcpy(name->wire + name->n, label.p, label.n);
		name->n += label.n;
	}
}

void dns_name_read_plain(struct dw_rd *r, struct dns_name *ret)
{
	uint16_t pointer;
	ret->n = 0;
	read_labels(r, ret, &pointer);
	if (pointer != NO_POINTER)
		dw_rd_fail(r, DW_PARSE_BAD);
}

void dns_name_read(struct dw_rd *r, struct dw_span msg, struct dns_name *ret)
{
	size_t before = (size_t)(r->p - msg.p);
	uint16_t pointer;
	ret->n = 0;
	read_labels(r, ret, &pointer);
	for (unsigned jumps = 0; dw_rd_ok(r) && pointer != NO_POINTER; jumps++) {
		if (jumps == DNS_POINTERS_MAX || pointer < DNS_HEADER_SIZE || pointer >= before) {
			dw_rd_fail(r, DW_PARSE_BAD);
			return;
		}
		struct dw_rd earlier = dw_rd_init(msg.p, before, false);
		dw_rd_bytes(&earlier, pointer);
		before = pointer;
		read_labels(&earlier, ret, &pointer);
		if (!dw_rd_ok(&earlier))
			dw_rd_fail(r, earlier.status);
	}
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

bool dns_name_eq(const struct dns_name *a, const struct dns_name *b)
{
	if (a->n != b->n)
		return false;
	/* Length bytes are below 'A', so that lower() leaves them alone. */
	for (size_t i = 0; i < a->n; i++) {
		if (lower(a->wire[i]) != lower(b->wire[i]))
			return false;
	}
	return true;
}

bool dns_name_from_text(const char *text, struct dns_name *ret)
{
	struct dns_name name = { 0 };
	if (strcmp(text, ".") == 0)
		text = "";
	while (*text) {
		size_t len = strcspn(text, ".");
		if (len == 0 || len > DNS_LABEL_MAX || name.n + 1 + len + 1 > sizeof(name.wire))
			return false;
		name.wire[name.n++] = (uint8_t)len;
		memcpy(name.wire + name.n, text, len);
		name.n += len;
		text += len;
		if (*text == '.' && *++text == '\0')
			return false; /* one spelling only: no trailing dot */
	}
	name.wire[name.n++] = 0;
	*ret = name;
	return true;
}

static bool is_host_byte(uint8_t c)
{
	return (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool dns_name_to_text(const struct dns_name *name, char text[static DW_DNS_NAME_SIZE])
{
	struct dw_wr out = dw_wr_init(text, DW_DNS_NAME_SIZE - 1);
	struct dw_rd r = dw_rd_init(name->wire, name->n, false);
	bool host = true;
	for (uint8_t len; (len = dw_rd_u8(&r)) != 0;) {
		if (out.len)
			dw_wr_u8(&out, '.');
		struct dw_span label = dw_rd_bytes(&r, len);
		for (size_t i = 0; i < label.n; i++) {
			bool good = is_host_byte(label.p[i]);
			dw_wr_u8(&out, good ? label.p[i] : '?');
			host = host && good;
		}
	}
	if (out.len == 0) {
		dw_wr_u8(&out, '.');
		host = false;
	}
	text[out.len] = '\0';
	return host && dw_wr_ok(&out);
}

void dns_header_read(struct dw_rd *r, struct dns_header *ret)
{
	ret->id = dw_rd_u16(r);
	ret->flags = dw_rd_u16(r);
	for (size_t i = 0; i < DW_COUNT(ret->count); i++)
		ret->count[i] = dw_rd_u16(r);
}

void dns_rr_read(struct dw_rd *r, struct dw_span msg, struct dns_rr *ret)
{
	dns_name_read(r, msg, &ret->owner);
	ret->type = dw_rd_u16(r);
	ret->class = dw_rd_u16(r);
	ret->ttl = dw_rd_u32(r);
	ret->rdata = dw_rd_sub(r, dw_rd_u16(r));
}

bool dns_opt_options_ok(struct dw_rd options)
{
	while (options.n) {
		dw_rd_u16(&options); /* the code: none is acted upon */
		dw_rd_bytes(&options, dw_rd_u16(&options));
	}
	return dw_rd_done(&options);
}
