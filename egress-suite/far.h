/* SPDX-License-Identifier: Apache-2.0 */
/*
 * egress-far: the internet of the suite. One process, one epoll, no state but open connections; every line it prints is
 * something that reached it. It answers whatever carries a nonce with EG_TOKEN and that nonce, so that the probe too can
 * tell that bytes arrived and came back.
 */
#pragma once

#include "common.h"

struct far_watch {
	int fd;
	void (*on)(struct far_watch *w, uint32_t events);
};

struct far {
	struct eg_config config;
	int epoll;
};
extern struct far far_state;

int far_watch(struct far_watch *w, uint32_t events);
int far_nonblock(int fd);

/*
 * One line of JSON. addr and src may be NULL; nonce "" or NULL: none. extra: more members, with their leading comma, or NULL.
 */
void far_log(const char *what, const struct eg_addr *addr, uint16_t port, const struct eg_addr *src, const char *nonce,
	     const char *extra);

/* far_dns.c: the answer to a message, for UDP cut to what fits. 0: none. */
int far_dns_start(void);
size_t far_dns_answer(const uint8_t *q, size_t n, const struct eg_addr *src, bool tcp, uint8_t *out, size_t size);

int far_tcp_start(void);     /* far_tcp.c */
int far_udp_start(void);     /* far_udp.c */
int far_packets_start(void); /* far_packets.c: nothing without a device in the configuration */

/* far_tls.c: the first ClientHello in a handshake message; sni is borrowed, NULL when there is none. */
bool far_hello_sni(const uint8_t *message, size_t n, const uint8_t **sni, size_t *sni_n);
/* OK: *ret_n bytes of handshake message are in out. False: more is needed, or it never will be (*bad). */
bool far_tls_assemble(const uint8_t *p, size_t n, struct eg_buf *out, size_t *used, bool *bad);
/* A ServerHello, or a HelloRetryRequest if the hello (a whole message) asks for one. */
void far_tls_answer(struct eg_buf *b, const struct eg_buf *hello, const char *nonce);
