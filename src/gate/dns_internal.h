/* SPDX-License-Identifier: Apache-2.0 */
/* Between the DNS server's parts: dns.c judges and answers, dns_udp.c and dns_tcp.c carry. */
#pragma once

#include <sys/socket.h>

#include "gate/gate.h"
#include "wire/dns.h"

/* Queries are small; a longer one is padding or an attack on memory. */
#define DNS_QUERY_MAX 4096u

struct dns_conn; /* a client on TCP; dns_tcp.c */

/* Where a query came from, and so where its answer goes. */
struct dns_origin {
	struct dns_conn *conn; /* NULL: UDP, and the rest is set */
	int fd;
	struct dw_addr asked; /* the address that the client asked; unset when the socket did not say */
	struct sockaddr_storage client;
	socklen_t client_n;
};

struct gate_dns {
	struct gate *g;
	struct dw_watch udp4, udp6;
	struct dns_tcp *tcp;
	uint8_t in[DNS_QUERY_MAX];
	uint8_t out[65535]; /* the answer being built */
};

/* dns.c. The query may be answered before this returns. */
void dns_handle(struct gate *g, struct gate_sandbox *s, const struct dns_origin *o, const void *msg, size_t n);
/* A query of a source that is no sandbox. */
void dns_unknown_source(struct gate *g, const struct dw_addr *source);
/* A client or sandbox is refused service itself, not a name. */
void dns_record_limit(struct gate *g, struct gate_sandbox *s, enum dw_reason reason);
/* The connection is gone: its queries have nobody to answer. */
void dns_drop_conn(struct gate_sandbox *s, const struct dns_conn *c);

/* dns_udp.c */
int dns_udp_init(struct gate_dns *d);
void dns_udp_send(const struct dns_origin *o, const void *p, size_t n);

/* dns_tcp.c */
int dns_tcp_init(struct gate_dns *d);
void dns_tcp_send(struct dns_conn *c, const void *p, size_t n);
/* A query of this connection waits for an answer (hold), or does no more (release). */
void dns_tcp_hold(struct dns_conn *c);
void dns_tcp_release(struct dns_conn *c);
/* No more of it is read; it ends when its answers are taken. */
void dns_tcp_last(struct dns_conn *c);
void dns_tcp_close_all(struct gate_dns *d, const struct gate_sandbox *s);
