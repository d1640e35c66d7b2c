/* SPDX-License-Identifier: Apache-2.0 */
/* Messages by hand: what no library would send. */
#pragma once

#include "common.h"

/* DNS */
struct eg_query {
	const char *name;    /* dotted text; any byte but NUL and '.' in labels */
	const uint8_t *wire; /* instead of name: the name as it goes out */
	size_t wire_n;
	uint16_t type, id;
	unsigned questions; /* QDCOUNT; the question is written at most 3 times */
	bool no_count;      /* QDCOUNT 0 */
	uint16_t flags;     /* 0: RD */
	const void *option; /* bytes of an EDNS option of local use */
	size_t option_n;
	bool edns;
	const void *extra; /* a TXT record with these bytes in the additional section */
	size_t extra_n;
	const void *tail; /* behind the message */
	size_t tail_n;
};
void eg_dns_query(struct eg_buf *b, const struct eg_query *q);

/* TLS */
#define EG_RETRY "EGRETRY" /* at the start of the random */
struct eg_hello {
	const void *sni; /* NULL: no extension */
	size_t sni_n;
	const void *sni2; /* a second name; as_second_extension says where */
	size_t sni2_n;
	bool as_second_extension;
	uint8_t name_type;
	const char *nonce; /* into the session id */
	size_t pad;        /* bytes of a padding extension; over 65,000 of several */
	bool ech;          /* an outer encrypted_client_hello extension with a made-up payload */
	bool retry;        /* the far side is to answer with a HelloRetryRequest */
	bool quic;         /* transport parameters, ALPN h3, no session id */
};
void eg_hello_message(struct eg_buf *b, const struct eg_hello *h);                /* the handshake message */
void eg_tls_records(struct eg_buf *b, const struct eg_buf *message, size_t size); /* in records of at most size bytes */
void eg_tls_hello(struct eg_buf *b, const struct eg_hello *h); /* in one record (or several of 2^14) */

/* QUIC: one client Initial of 1200 bytes or more around the CRYPTO bytes [from, to) of a message. */
#define EG_QUIC_V1 0x00000001u
#define EG_QUIC_V2 0x6b3343cfu
struct eg_initial {
	uint32_t version;
	const char *nonce; /* the connection id; with suffix, so that one flow can carry several connections */
	uint8_t suffix;
	const struct eg_buf *message;
	size_t from, to;
	uint32_t number;
};
void eg_quic_initial(struct eg_buf *b, const struct eg_initial *i);

/* HTTP: a GET with a path that carries the nonce. host NULL: no Host line. extra: whole lines. */
void eg_http(struct eg_buf *b, const char *nonce, const char *host, const char *extra);
