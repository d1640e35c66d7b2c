/* SPDX-License-Identifier: Apache-2.0 */
/* The ClientHello at the start of a TLS stream (RFC 8446 section 4.1.2, RFC 6066 section 3), over records and segments. */
#pragma once

#include "core/rd.h"

#define DW_TLS_HELLO_MAX   65536 /* bytes of the stream looked at, record headers included; more is BIG */
#define DW_TLS_RECORDS_MAX 2048  /* records a hello may take: byte by byte a usual one fits, more only costs; BIG */

struct dw_tls_hello {
	bool has_sni;
	char sni[256]; /* host_name as sent, NUL-terminated; no NUL inside */
	size_t sni_n;
	bool has_ech;   /* extension 0xfe0d, real or GREASE, or of a draft (0xfe08..0xfe0c), or ESNI (0xffce) */
	bool has_tls13; /* supported_versions offers 0x0304 */
	uint16_t legacy_version;
	size_t stream_n; /* bytes of the stream up to the end of the record that completes the hello */
};

/*
 * data[0..n) is the start of the client's stream. OK: a complete, well-formed ClientHello. MORE: so far a prefix of one.
 * BAD: it can not become one, or it is one that two readers could read differently: more than one SNI extension or name, a
 * name type other than host_name, an empty name or one with NUL or over 255 bytes, an extension twice, trailing bytes in
 * any vector, a record of another type or of length 0 before the hello is complete, a handshake message other than
 * ClientHello, a record over 2^14 bytes, bytes of another handshake message in the record that ends the hello.
 * BIG: over DW_TLS_HELLO_MAX or DW_TLS_RECORDS_MAX. ret is set on OK only. What a prefix gets is MORE or what the whole gets.
 * scratch: DW_TLS_HELLO_MAX bytes where a hello split over records is put together; only used inside the call.
 */
enum dw_parse dw_tls_hello_parse(const void *data, size_t n, uint8_t *scratch, struct dw_tls_hello *ret);

/*
 * The same where the handshake messages stand without records (QUIC): data[0..n) is the start of their stream. Rules, MORE,
 * BAD and BIG as above; bytes behind the hello are BAD. ret->stream_n is n.
 */
enum dw_parse dw_tls_hello_message_parse(const void *data, size_t n, struct dw_tls_hello *ret);

/*
 * Would any server take the first bytes for TLS, however lenient? OK, so that dw_tls_hello_parse() is asked and refuses all
 * but the first of these; MORE while they may become one; else BAD.
 *   16 03              a handshake record
 *   16 xx xx nn nn 01  ... of another version around a ClientHello: the record's version is not looked at by some (Go's
 *                      crypto/tls takes any below 0x1000)
 *   15 xx xx 00 02 0x  an alert before the hello, which some read over (Go, when it is a warning)
 *   8x xx 01 03        a hello in SSLv2 form (RFC 5246 appendix E.2), which can not hold a name (OpenSSL reads it)
 */
enum dw_parse dw_tls_looks_like(const void *data, size_t n);

/* What a server's first bytes say about the hello it was sent. */
enum dw_tls_answer {
	DW_TLS_ANSWER_OTHER = 0, /* no answer to it that TLS knows; final */
	DW_TLS_ANSWER_MORE,
	DW_TLS_ANSWER_RETRY, /* a HelloRetryRequest: another hello is to come, and its answer */
	DW_TLS_ANSWER_HELLO, /* a ServerHello: the hello was taken, and every byte of the client behind it is no hello; final */
};

#define DW_TLS_SERVER_HEAD 38 /* type, length, version and random of a ServerHello */

/* How far it was read. Zero at first; to be fed no more after what is final. */
struct dw_tls_server {
	uint8_t record[5], record_n;         /* the header of the record that is being read */
	uint16_t left;                       /* bytes of its body to come */
	uint8_t head[DW_TLS_SERVER_HEAD], n; /* of the handshake message */
	uint32_t skip;                       /* bytes of a HelloRetryRequest to come */
	uint16_t records;
};

/*
 * The next bytes of the server's stream (RFC 8446 section 4.1.3). Before and between messages there may be records of
 * change_cipher_spec and warnings (a server may say that it does not know the name). Anything else, a message of another type,
 * lengths no ServerHello has, and more than DW_TLS_RECORDS_MAX records are OTHER. *ret_used: bytes that were read; it is
 * below n behind RETRY, when the rest is to be fed again, and behind what is final.
 */
enum dw_tls_answer dw_tls_server_hello_kind(struct dw_tls_server *s, const void *data, size_t n, size_t *ret_used);

/* A fatal alert record, 7 bytes (RFC 8446 section 6.2): access_denied 49, unrecognized_name 112. */
#define DW_TLS_ALERT_SIZE 7
void dw_tls_alert_build(uint8_t description, uint8_t out[static DW_TLS_ALERT_SIZE]);
