/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QUIC as its client starts it: the Initial packets of versions 1 (RFC 9000, RFC 9001) and 2 (RFC 9369), whose keys anybody can
 * derive from the Destination Connection ID, and the ClientHello in their CRYPTO frames.
 *
 * A datagram is a run of coalesced packets (RFC 9000 section 12.2). Walk it with dw_quic_packet_next; try each Initial
 * with dw_quic_initial_open under the keys of *its own* DCID: an Initial that opens starts (or goes on with) a connection whose
 * hello must be judged, whatever was judged on this flow before, because a server tells connections apart by DCID, not by
 * address. One that does not open belongs to a connection that is already there, or to nobody.
 */
#pragma once

#include "core/rd.h"
#include "wire/tls_hello.h"

#define DW_QUIC_V1         0x00000001u
#define DW_QUIC_V2         0x6b3343cfu
#define DW_QUIC_CID_MAX    20u    /* RFC 9000 section 17.2 */
#define DW_QUIC_CRYPTO_MAX 65536u /* bytes of CRYPTO data looked at, as DW_TLS_HELLO_MAX */

enum dw_quic_kind {
	DW_QUIC_OTHER = 0,   /* does not have the form of a QUIC packet */
	DW_QUIC_SHORT,       /* short header: no version, no connection can start with it */
	DW_QUIC_INITIAL,     /* of version 1 or 2 */
	DW_QUIC_LONG,        /* 0-RTT, Handshake or Retry of version 1 or 2 */
	DW_QUIC_NEGOTIATION, /* version 0: only servers send it */
	DW_QUIC_UNKNOWN,     /* a long header of another version: what it may start can not be known */
};

struct dw_quic_packet {
	enum dw_quic_kind kind;
	uint32_t version;
	struct dw_span dcid, scid; /* long headers */
	struct dw_span token;      /* Initial */
	size_t pn_off;             /* offset of the protected packet number in `all` */
	struct dw_span all;        /* the packet, header included */
};

/*
 * The next packet of a datagram. OK: *ret is set and *at moved behind it. MORE is not given: a datagram is whole; at its end
 * BAD with *at == n. BAD with *at < n: lengths that do not fit, a CID over 20 bytes in version 1 or 2. A short header,
 * NEGOTIATION and UNKNOWN take the rest of the datagram. The fixed bit is not looked at (RFC 9287 lets peers grease it). Trailing
 * bytes that can not be a packet are BAD.
 */
enum dw_parse dw_quic_packet_next(const void *datagram, size_t n, size_t *at, struct dw_quic_packet *ret);

/*
 * Takes off header protection and decrypts an INITIAL as its client sealed it. OK: plain[0..*ret_n) are its frames (plain:
 * at least p->all.n bytes). BAD: it does not open (wrong keys, forged, shorter than a sample).
 */
enum dw_parse dw_quic_initial_open(const struct dw_quic_packet *p, void *plain, size_t *ret_n);

/* CRYPTO data of one connection (one DCID), put together from frames in any order. Bounded by what it holds. */
struct dw_quic_crypto {
	uint8_t *data;    /* DW_QUIC_CRYPTO_MAX at most, grown as needed */
	uint8_t *have;    /* bitmap of the bytes that came */
	size_t cap, high; /* one behind the highest byte that came */
};
/* Frees what it holds; zero again. */
void dw_quic_crypto_done(struct dw_quic_crypto *c);

/*
 * Takes the frames of one opened Initial: PADDING, PING, ACK, CRYPTO and CONNECTION_CLOSE may be there (RFC 9000 section
 * 12.4), anything else is BAD; so are CRYPTO bytes that say something else than the same bytes said before (two readers could
 * differ), offsets beyond the maximum (BIG), memory (BAD).
 */
enum dw_parse dw_quic_frames_take(struct dw_quic_crypto *c, const void *plain, size_t n);

/*
 * The ClientHello at the start of the CRYPTO data: OK, MORE (bytes are missing), BAD and BIG as dw_tls_hello_parse, whose rules
 * hold; bytes behind the hello are BAD. ret->stream_n counts CRYPTO bytes.
 */
enum dw_parse dw_quic_hello(const struct dw_quic_crypto *c, struct dw_tls_hello *ret);
