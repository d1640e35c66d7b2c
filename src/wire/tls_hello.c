/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ClientHello is found in two goes: the first walks the records and only counts, so that calling again for every
 * segment that arrives stays cheap; the second, once all is there, puts the handshake message together and reads it.
 */
#include "wire/tls_hello.h"

#include "core/wr.h"

enum {
	RECORD_CCS = 20,
	RECORD_ALERT = 21,
	RECORD_HANDSHAKE = 22,
	HANDSHAKE_CLIENT_HELLO = 1,
	HANDSHAKE_SERVER_HELLO = 2,
	ALERT_WARNING = 1,
	NAME_TYPE_HOST = 0,
	EXT_SERVER_NAME = 0x0000,
	EXT_SUPPORTED_VERSIONS = 0x002b,
	VERSION_TLS13 = 0x0304,
};

#define RECORD_HEADER    5
#define RECORD_MAX       (1 << 14) /* RFC 8446 section 5.1 */
#define HANDSHAKE_HEADER 4
#define SESSION_ID_MAX   32

struct scan {
	uint8_t head[HANDSHAKE_HEADER]; /* type and length of the handshake message */
	size_t got;                     /* handshake bytes seen */
};

static bool header_known(const struct scan *s)
{
	return s->got >= HANDSHAKE_HEADER;
}

/* Bytes of the whole handshake message; only when header_known(). */
static size_t message_size(const struct scan *s)
{
	return HANDSHAKE_HEADER + ((size_t)s->head[1] << 16 | (size_t)s->head[2] << 8 | s->head[3]);
}

static bool complete(const struct scan *s)
{
	return header_known(s) && s->got == message_size(s);
}

/* The length of the next record's fragment. Each byte is judged as soon as it is there. */
static uint16_t read_record_header(struct dw_rd *r)
{
	uint8_t type = dw_rd_u8(r);
	if (dw_rd_ok(r) && type != RECORD_HANDSHAKE)
		dw_rd_fail(r, DW_PARSE_BAD);
	uint8_t major = dw_rd_u8(r);
	if (dw_rd_ok(r) && major != 3)
		dw_rd_fail(r, DW_PARSE_BAD);
	dw_rd_u8(r); /* the minor version is to be ignored (RFC 8446 section 5.1) */
	uint16_t len = dw_rd_u16(r);
	if (dw_rd_ok(r) && (len == 0 || len > RECORD_MAX))
		dw_rd_fail(r, DW_PARSE_BAD);
	return len;
}

/* Counts a fragment of n handshake bytes, of which the first are there. */
static enum dw_parse count_fragment(struct scan *s, struct dw_span there, size_t n)
{
	for (size_t i = 0; i < there.n && s->got + i < HANDSHAKE_HEADER; i++)
		s->head[s->got + i] = there.p[i];
	size_t seen = s->got + there.n;
	if (seen > 0 && s->head[0] != HANDSHAKE_CLIENT_HELLO)
		return DW_PARSE_BAD;
	if (seen >= HANDSHAKE_HEADER) {
		if (message_size(s) > DW_TLS_HELLO_MAX - RECORD_HEADER)
			return DW_PARSE_BIG;
		if (s->got + n > message_size(s))
			return DW_PARSE_BAD; /* another message behind the hello, in its record */
	}
	s->got = seen;
	return DW_PARSE_OK;
}

/* Walks whole records until the hello is complete. */
static enum dw_parse scan_records(struct dw_rd *r, struct scan *s)
{
	for (unsigned count = 0; !complete(s); count++) {
		if (count == DW_TLS_RECORDS_MAX)
			return DW_PARSE_BIG;
		uint16_t len = read_record_header(r);
		if (!dw_rd_ok(r))
			return r->status;
		struct dw_rd peek = *r;
		struct dw_span there = dw_rd_bytes(&peek, DW_MIN(len, r->n));
		enum dw_parse status = count_fragment(s, there, len);
		if (status != DW_PARSE_OK)
			return status;
		dw_rd_bytes(r, len);
		if (!dw_rd_ok(r))
			return r->status;
	}
	return DW_PARSE_OK;
}

/* RFC 6066 section 3; a list of more than one name is what two servers would read in two ways. */
static void read_server_name(struct dw_rd ext, struct dw_rd *parent, struct dw_tls_hello *h)
{
	struct dw_rd list = dw_rd_sub(&ext, dw_rd_u16(&ext));
	uint8_t type = dw_rd_u8(&list);
	struct dw_span name = dw_rd_bytes(&list, dw_rd_u16(&list));
	if (!dw_rd_done(&list) || !dw_rd_done(&ext) || type != NAME_TYPE_HOST || name.n == 0 ||
	    name.n >= sizeof(h->sni) || memchr(name.p, '\0', name.n)) {
		dw_rd_fail(parent, DW_PARSE_BAD);
		return;
	}
	memcpy(h->sni, name.p, name.n);
	h->sni[name.n] = '\0';
	h->sni_n = name.n;
	h->has_sni = true;
}

static void read_supported_versions(struct dw_rd ext, struct dw_rd *parent, struct dw_tls_hello *h)
{
	struct dw_rd list = dw_rd_sub(&ext, dw_rd_u8(&ext));
	bool empty = list.n == 0;
	while (list.n) {
		if (dw_rd_u16(&list) == VERSION_TLS13)
			h->has_tls13 = true;
	}
	if (!dw_rd_done(&list) || !dw_rd_done(&ext) || empty)
		dw_rd_fail(parent, DW_PARSE_BAD);
}

/* ECH (0xfe0d) and what clients sent before it: its drafts and ESNI. Each hides a second name. */
static bool is_ech(uint16_t type)
{
	return type == 0xfe0d || (type >= 0xfe08 && type <= 0xfe0c) || type == 0xffce;
}

static void read_extensions(struct dw_rd *r, struct dw_tls_hello *h)
{
	uint8_t seen[65536 / 8] = { 0 };
	while (r->n) {
		uint16_t type = dw_rd_u16(r);
		struct dw_rd ext = dw_rd_sub(r, dw_rd_u16(r));
		if (!dw_rd_ok(r))
			return;
		uint8_t bit = (uint8_t)(1 << (type & 7));
		if (seen[type >> 3] & bit) /* RFC 8446 section 4.2: one of each type */
			dw_rd_fail(r, DW_PARSE_BAD);
		seen[type >> 3] |= bit;
		if (type == EXT_SERVER_NAME)
			read_server_name(ext, r, h);
		else if (type == EXT_SUPPORTED_VERSIONS)
			read_supported_versions(ext, r, h);
		else if (is_ech(type))
			h->has_ech = true;
	}
}

/* RFC 8446 section 4.1.2; RFC 5246 section 7.4.1.2 for hellos without extensions. */
static bool read_hello(struct dw_rd r, struct dw_tls_hello *h)
{
	h->legacy_version = dw_rd_u16(&r);
	dw_rd_bytes(&r, 32); /* random */
	struct dw_span session = dw_rd_bytes(&r, dw_rd_u8(&r));
	struct dw_span suites = dw_rd_bytes(&r, dw_rd_u16(&r));
	struct dw_span compression = dw_rd_bytes(&r, dw_rd_u8(&r));
	if (!dw_rd_ok(&r) || h->legacy_version >> 8 != 3 || session.n > SESSION_ID_MAX || suites.n == 0 ||
	    suites.n % 2 || compression.n == 0)
		return false;
	if (r.n == 0)
		return true;
	struct dw_rd extensions = dw_rd_sub(&r, dw_rd_u16(&r));
	read_extensions(&extensions, h);
	return dw_rd_done(&extensions) && dw_rd_done(&r);
}

/* Copies the fragments of whole records, as scan_records() has found them. */
static size_t join_records(struct dw_rd r, uint8_t *scratch)
{
	struct dw_wr out = dw_wr_init(scratch, DW_TLS_HELLO_MAX);
	while (r.n) {
		struct dw_span fragment = dw_rd_bytes(&r, read_record_header(&r));
		dw_wr_bytes(&out, fragment.p, fragment.n);
	}
	return out.len;
}

enum dw_parse dw_tls_hello_message_parse(const void *data, size_t n, struct dw_tls_hello *ret)
{
	struct dw_rd r = dw_rd_init(data, n, false);
	struct scan s = { 0 };
	enum dw_parse status = count_fragment(&s, (struct dw_span){ .p = r.p, .n = n }, n);
	if (status != DW_PARSE_OK)
		return status;
	if (!complete(&s))
		return DW_PARSE_MORE;
	struct dw_tls_hello hello = { .stream_n = n };
	dw_rd_bytes(&r, HANDSHAKE_HEADER);
	if (!read_hello(r, &hello))
		return DW_PARSE_BAD;
	*ret = hello;
	return DW_PARSE_OK;
}

enum dw_parse dw_tls_hello_parse(const void *data, size_t n, uint8_t *scratch, struct dw_tls_hello *ret)
{
	size_t window = DW_MIN(n, DW_TLS_HELLO_MAX);
	struct dw_rd r = dw_rd_init(data, window, true);
	struct scan s = { 0 };
	enum dw_parse status = scan_records(&r, &s);
	if (status == DW_PARSE_MORE && n >= DW_TLS_HELLO_MAX)
		return DW_PARSE_BIG;
	if (status != DW_PARSE_OK)
		return status;

	size_t stream_n = window - r.n;
	size_t size = join_records(dw_rd_init(data, stream_n, false), scratch);
	status = dw_tls_hello_message_parse(scratch, size, ret);
	if (status == DW_PARSE_OK)
		ret->stream_n = stream_n;
	return status;
}

/* r stands behind the content type. */
static enum dw_parse guess_record(struct dw_rd r, uint8_t type)
{
	uint8_t major = dw_rd_u8(&r);
	if (dw_rd_ok(&r) && type == RECORD_HANDSHAKE && major == 3)
		return DW_PARSE_OK;
	dw_rd_u8(&r);
	uint16_t len = dw_rd_u16(&r);
	if (dw_rd_ok(&r) && type == RECORD_ALERT && len != 2)
		return DW_PARSE_BAD;
	uint8_t first = dw_rd_u8(&r);
	if (!dw_rd_ok(&r))
		return r.status;
	bool alert = type == RECORD_ALERT && (first == 1 || first == 2); /* the levels */
	bool hello = type == RECORD_HANDSHAKE && len > 0 && first == HANDSHAKE_CLIENT_HELLO;
	return alert || hello ? DW_PARSE_OK : DW_PARSE_BAD;
}

/* No server takes an SSLv2 record longer than a TLS one, which keeps telnet (ff ..) out. */
static enum dw_parse guess_sslv2(struct dw_rd r)
{
	dw_rd_u8(&r);
	uint8_t message = dw_rd_u8(&r);
	if (dw_rd_ok(&r) && message != HANDSHAKE_CLIENT_HELLO)
		return DW_PARSE_BAD;
	uint8_t major = dw_rd_u8(&r);
	if (!dw_rd_ok(&r))
		return r.status;
	return major == 3 ? DW_PARSE_OK : DW_PARSE_BAD;
}

enum dw_parse dw_tls_looks_like(const void *data, size_t n)
{
	struct dw_rd r = dw_rd_init(data, n, true);
	uint8_t type = dw_rd_u8(&r);
	if (!dw_rd_ok(&r))
		return DW_PARSE_MORE;
	if (type == RECORD_HANDSHAKE || type == RECORD_ALERT)
		return guess_record(r, type);
	return type >= 0x80 && type <= 0xc7 ? guess_sslv2(r) : DW_PARSE_BAD;
}

/* SHA-256 of "HelloRetryRequest" (RFC 8446 section 4.1.3). */
static const uint8_t retry_random[32] = {
	0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
	0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
};

/* Without the extensions, which TLS 1.2 can do without; and with the longest of everything. */
#define SERVER_BODY_MIN (2 + 32 + 1 + 2 + 1)
#define SERVER_BODY_MAX (SERVER_BODY_MIN + SESSION_ID_MAX + 2 + 65535)

static uint32_t server_body(const struct dw_tls_server *s)
{
	return (uint32_t)s->head[1] << 16 | (uint32_t)s->head[2] << 8 | s->head[3];
}

/* A byte of a record's header. False: no record that may stand there. */
static bool server_record(struct dw_tls_server *s, uint8_t c)
{
	const uint8_t *h = s->record;

	s->record[s->record_n++] = c;
	if (s->record_n == 1) /* nothing stands between the parts of a message */
		return c == RECORD_HANDSHAKE || ((c == RECORD_CCS || c == RECORD_ALERT) && s->n == 0 && s->skip == 0);
	if (s->record_n == 2)
		return c == 3;
	if (s->record_n < RECORD_HEADER)
		return true;
	s->left = (uint16_t)(h[3] << 8 | h[4]);
	if (h[0] == RECORD_HANDSHAKE)
		return s->left > 0 && s->left <= RECORD_MAX && ++s->records <= DW_TLS_RECORDS_MAX;
	return s->left == (h[0] == RECORD_ALERT ? 2 : 1) && ++s->records <= DW_TLS_RECORDS_MAX;
}

/* A byte of a message's head. */
static enum dw_tls_answer server_message(struct dw_tls_server *s, uint8_t c)
{
	s->head[s->n++] = c;
	if (s->n == 1 && c != HANDSHAKE_SERVER_HELLO)
		return DW_TLS_ANSWER_OTHER;
	if (s->n == HANDSHAKE_HEADER && (server_body(s) < SERVER_BODY_MIN || server_body(s) > SERVER_BODY_MAX))
		return DW_TLS_ANSWER_OTHER;
	if (s->n == HANDSHAKE_HEADER + 1 && c != 3)
		return DW_TLS_ANSWER_OTHER;
	if (s->n < DW_TLS_SERVER_HEAD)
		return DW_TLS_ANSWER_MORE;
	if (memcmp(s->head + HANDSHAKE_HEADER + 2, retry_random, sizeof(retry_random)) != 0)
		return DW_TLS_ANSWER_HELLO;
	s->skip = server_body(s) - (DW_TLS_SERVER_HEAD - HANDSHAKE_HEADER);
	s->n = 0;
	return DW_TLS_ANSWER_RETRY;
}

static enum dw_tls_answer server_byte(struct dw_tls_server *s, uint8_t c)
{
	if (s->left == 0) {
		if (!server_record(s, c))
			return DW_TLS_ANSWER_OTHER;
		s->record_n %= RECORD_HEADER;
		return DW_TLS_ANSWER_MORE;
	}
	s->left--;
	if (s->record[0] == RECORD_CCS)
		return c == 1 ? DW_TLS_ANSWER_MORE : DW_TLS_ANSWER_OTHER;
	if (s->record[0] == RECORD_ALERT) /* its level, and then what it is about */
		return s->left == 0 || c == ALERT_WARNING ? DW_TLS_ANSWER_MORE : DW_TLS_ANSWER_OTHER;
	if (s->skip == 0)
		return server_message(s, c);
	s->skip--;
	return DW_TLS_ANSWER_MORE;
}

enum dw_tls_answer dw_tls_server_hello_kind(struct dw_tls_server *s, const void *data, size_t n, size_t *ret_used)
{
	enum dw_tls_answer answer = DW_TLS_ANSWER_MORE;
	const uint8_t *p = data;
	size_t i = 0;

	while (i < n && answer == DW_TLS_ANSWER_MORE)
		answer = server_byte(s, p[i++]);
	*ret_used = i;
	return answer;
}

void dw_tls_alert_build(uint8_t description, uint8_t out[static DW_TLS_ALERT_SIZE])
{
	enum { LEVEL_FATAL = 2 };
	struct dw_wr w = dw_wr_init(out, DW_TLS_ALERT_SIZE);
	dw_wr_u8(&w, RECORD_ALERT);
	dw_wr_u16(&w, 0x0303);
	dw_wr_u16(&w, 2);
	dw_wr_u8(&w, LEVEL_FATAL);
	dw_wr_u8(&w, description);
}
