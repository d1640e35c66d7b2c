/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the DNS server share: the server over real loopback sockets, with a resolver that the test plays. */
#pragma once

#include <sys/socket.h>

#include "gate/dns_internal.h"
#include "gate_test.h"
#include "wire/dns.h"

extern const char *const dns_allow_list[];

struct dns_fixture {
	struct gate *g;
	struct gate_sandbox *s; /* 127.0.0.1 and ::1, with dns_allow_list */
	uint16_t udp4, tcp4, udp6;
	int client; /* UDP, at 127.0.0.1 */
};

int dns_setup(void **state);
int dns_teardown(void **state);

/* The last answer. */
extern uint8_t dns_got[65535];
extern size_t dns_got_n;
extern struct dw_addr dns_got_from;

/* A UDP socket at this address of loopback. */
int dns_client_at(const char *addr);
void dns_send(struct dns_fixture *f, int fd, const char *server, uint16_t port, const void *p, size_t n);
/* Whether an answer came. */
bool dns_take(struct dns_fixture *f, int fd);
size_t dns_query(const char *name, uint16_t type, uint8_t out[static 512]);
/* A query of the sandbox over UDP. */
void dns_ask(struct dns_fixture *f, const char *name, uint16_t type);

/* Of the last answer. */
unsigned int dns_rcode(void);
struct dw_dns_answer *dns_answer(const char *name, uint16_t type);
int dns_ede(void); /* INFO-CODE of the Extended DNS Error, -1 for none */
bool dns_text_has(const char *words);

/* Whether the sandbox has this pin; ret may be NULL. */
bool dns_pinned(struct dns_fixture *f, const char *name, const char *addr, struct dw_pin *ret);

/* TCP. */
int dns_dial(struct dns_fixture *f, const char *from);
size_t dns_frame(const char *name, uint16_t type, uint8_t *out);
bool dns_take_tcp(struct dns_fixture *f, int fd);
bool dns_closed(struct dns_fixture *f, int fd);
