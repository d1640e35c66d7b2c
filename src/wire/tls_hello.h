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
 * Would any server take the first bytes for TLS, however lenient? OK, so that dw_tls_hello_parse() is asked and refuses all
 * but the first of these; MORE while they may become one; else BAD.
 *   16 03              a handshake record
 *   16 xx xx nn nn 01  ... of another version around a ClientHello: the record's version is not looked at by some (Go's
 *                      crypto/tls takes any below 0x1000)
 *   15 xx xx 00 02 0x  an alert before the hello, which some read over (Go, when it is a warning)
 *   8x xx 01 03        a hello in SSLv2 form (RFC 5246 appendix E.2), which can not hold a name (OpenSSL reads it)
 */
enum dw_parse dw_tls_looks_like(const void *data, size_t n);

/* A fatal alert record, 7 bytes (RFC 8446 section 6.2): access_denied 49, unrecognized_name 112. */
#define DW_TLS_ALERT_SIZE 7
void dw_tls_alert_build(uint8_t description, uint8_t out[static DW_TLS_ALERT_SIZE]);
