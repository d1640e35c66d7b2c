/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QUIC as its client starts it: the Initial packets of versions 1 (RFC 9000, RFC 9001) and 2 (RFC 9369), whose keys anybody can
 * derive from the Destination Connection ID, and the ClientHello in their CRYPTO frames.
 *
 * A datagram is a run of coalesced packets (RFC 9000 section 12.2). Walk it with dw_quic_packet_next; when any part of it is
 * BAD, none of it may pass: its server may cut it differently.
 *
 * A server tells connections apart by DCID, not by address, so each Initial is judged, whatever was judged on this flow before:
 *   - it opens under its *own* DCID (dw_quic_initial_open): it starts a connection, or goes on with the one of that DCID;
 *   - it opens under the first DCID of a connection that was seen to start here (dw_quic_initial_open_as): it goes on with
 *     that one. Clients take the server's CID as DCID once they know it, and keep the keys (RFC 9001 section 5.2);
 *   - it opens under none of these: it belongs to no connection that could be judged. Never pass it on: what was judged
 *     may have been lost on the way, and a server that has seen only a connection's first datagram takes another hello from
 *     a packet that the gate could not read;
 *   - it opens under more than one: it was made for two readers (AES-GCM does not commit to its key). Never pass it on.
 * The CRYPTO bytes of every Initial go to its connection's dw_quic_frames_take for as long as the flow lives, also after the
 * hello was judged, so that no byte of that hello can be said again differently. dw_quic_hello is for before only: behind
 * it may come a second hello, after HelloRetryRequest (RFC 8446 section 4.1.2), which it calls BAD.
 */
#pragma once

#include "core/rd.h"
#include "wire/tls_hello.h"

#define DW_QUIC_V1         0x00000001u
#define DW_QUIC_V2         0x6b3343cfu
#define DW_QUIC_CID_MAX    20u    /* RFC 9000 section 17.2 */
#define DW_QUIC_CRYPTO_MAX 65536u /* bytes of CRYPTO data looked at, as DW_TLS_HELLO_MAX */
/*
 * The highest number of an Initial. Up to here a number sent in one byte means itself, whichever packets its server has received
 * (RFC 9000 appendix A.3); above, a packet lost on the way makes two readers decode the next number, and so the nonce, in
 * two ways. Numbers start at 0 (section 12.3), and a client has no use for more than a few Initials.
 */
#define DW_QUIC_PN_MAX 126u

enum dw_quic_kind {
	DW_QUIC_OTHER = 0,   /* none: never given */
	DW_QUIC_SHORT,       /* short header: no version, no connection can start with it, whatever its length */
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
 * NEGOTIATION, UNKNOWN and Retry (LONG) take the rest of the datagram. The fixed bit is not looked at (RFC 9287 lets peers
 * grease it). Trailing bytes without the long header's bit are SHORT, however few: Firefox fills datagrams up with zeros.
 */
enum dw_parse dw_quic_packet_next(const void *datagram, size_t n, size_t *at, struct dw_quic_packet *ret);

/*
 * Takes off header protection and decrypts an INITIAL as its client sealed it. OK: plain[0..*ret_n) are its frames (plain:
 * at least p->all.n bytes; what is in it after another result means nothing). BAD: it does not open (wrong keys, forged, shorter
 * than a sample), or the system has no memory. BIG: it opens, but its number is over DW_QUIC_PN_MAX. The reserved bits are not
 * looked at: there are servers that do not either, and for them it is a packet like any other.
 */
enum dw_parse dw_quic_initial_open(const struct dw_quic_packet *p, void *plain, size_t *ret_n);

/*
 * The same under the keys that p's version makes of another DCID: that of the client's first packet. A connection's version may
 * change on the way, its first DCID does not (RFC 9368, RFC 9369 section 4.1).
 */
enum dw_parse dw_quic_initial_open_as(const struct dw_quic_packet *p, struct dw_span dcid, void *plain, size_t *ret_n);

/* CRYPTO data of one connection, put together from frames in any order. Bounded by what it holds. Zero-initialised. */
struct dw_quic_crypto {
	uint8_t *data;    /* DW_QUIC_CRYPTO_MAX at most, grown as needed */
	uint8_t *have;    /* bitmap of the bytes that came */
	size_t cap, high; /* high: one behind the highest byte that came */
};
/* Frees what it holds; zero again. */
void dw_quic_crypto_done(struct dw_quic_crypto *c);

/*
 * Takes the frames of one opened Initial: PADDING, PING, ACK, CRYPTO and CONNECTION_CLOSE (of type 0x1c) may be there (RFC 9000
 * section 12.4). BAD: anything else, no frame at all, a frame type not in its shortest form, an ACK of numbers below 0,
 * CRYPTO bytes that say something else than the same bytes said before (two readers could differ), no memory. BIG: CRYPTO data
 * beyond the maximum. After BAD and BIG a part of the frames may be taken: the connection is not to go on.
 */
enum dw_parse dw_quic_frames_take(struct dw_quic_crypto *c, const void *plain, size_t n);

/*
 * The ClientHello at the start of the CRYPTO data: OK, MORE (bytes are missing), BAD and BIG as dw_tls_hello_message_parse;
 * bytes behind the hello are BAD. ret->stream_n counts CRYPTO bytes.
 */
enum dw_parse dw_quic_hello(const struct dw_quic_crypto *c, struct dw_tls_hello *ret);
