/* SPDX-License-Identifier: Apache-2.0 */
/*
 * egress-probe: what is tried from inside. Every case is a function that does its denied arm (what must not get out) and its
 * control arm (the same towards what is allowed), and notes what a client experiences. That is not the verdict: the far
 * side's lines and the sandbox's own records are. A case runs in a process of its own and one family at a time.
 */
#pragma once

#include "build.h"

enum eg_which { EG_DENIED = 0, EG_CONTROL };

/* From harmless to harmful; an arm keeps the most harmful of its steps. */
enum eg_client {
	EG_NOTHING = 0, /* no step was made */
	EG_UNAVAILABLE, /* the environment does not offer what the technique needs */
	EG_STRIPPED,    /* the question was answered, what it carried along did not go out */
	EG_REJECTED,    /* an answer that says no: a rcode, an alert, a status of 4xx */
	EG_CLOSED,      /* the connection ended without one */
	EG_REFUSED,     /* RST or port unreachable */
	EG_UNREACHABLE, /* another ICMP error */
	EG_TIMEOUT,     /* no connection */
	EG_SILENT,      /* sent; nothing came back */
	EG_CONNECTED,   /* to where no connection should be */
	EG_ANSWERED,    /* the far side's token came back, or an answer that should not be */
	EG_CLIENTS,
};
extern const char *const eg_client_names[EG_CLIENTS];

struct eg_result {
	enum eg_client worst;
	int error; /* errno of the last step that had one */
	uint64_t ms;
	unsigned steps, ok; /* ok: steps that were answered */
	char note[120];
};

#define EG_AIMS 40
/* What the denied arm aims at: nothing of it may be seen there, and a record should name one of them. */
struct eg_aim {
	uint8_t proto; /* 0: a name */
	struct eg_addr addr;
	uint16_t port;
	char name[80];
};

struct eg_run;
enum {
	EG_SOLO = 1,      /* disturbs others: runs alone, after them */
	EG_LAST = 2,      /* spoils the sandbox: alone, after the SOLO ones */
	EG_WORKS = 4,     /* only a control: what must go on working */
	EG_NO_RECORD = 8, /* what is refused never reaches the network, so nobody records it */
	EG_ONCE = 16,     /* not about an IP family: runs with the first one */
	EG_PACKETS = 32,  /* a refusal of single packets, which a product may merge or leave out of its records */
};

struct eg_case {
	unsigned number;
	char section;
	const char *technique;
	void (*run)(struct eg_run *r);
	unsigned flags;
	const char *defences; /* of declaw (core/defence.h): the case has been seen to fail without each of them */
};

struct eg_run {
	const struct eg_config *config;
	const struct eg_case *c;
	bool six;
	char nonce[2][EG_NONCE + 1];
	struct eg_result arm[2];
	struct eg_aim aim[EG_AIMS];
	size_t aim_n;
};

extern const struct eg_case eg_cases_names[], eg_cases_dns[], eg_cases_answers[], eg_cases_ip[], eg_cases_raw[],
	eg_cases_kernel[], eg_cases_tls[], eg_cases_starttls[], eg_cases_quic[],
	eg_cases_http[]; /* each ends with number 0 */

/* What main() found open when it began; -1: could not look. */
extern int eg_inherited;

/* probe_main.c */
void eg_note(struct eg_run *r, enum eg_which arm, enum eg_client what, int error, uint64_t since_ms);
void eg_remark(struct eg_run *r, enum eg_which arm, const char *format, ...) __attribute__((format(printf, 3, 4)));
void eg_aim_ip(struct eg_run *r, uint8_t proto, const struct eg_addr *a, uint16_t port);
void eg_aim_name(struct eg_run *r, const char *name);

/* probe_net.c */
const struct eg_addr *eg_at(const struct eg_run *r, enum eg_place place);
uint16_t eg_port(const struct eg_run *r);
/* "<nonce of the arm>.<zone>" */
const char *eg_name(const struct eg_run *r, enum eg_which arm, const char *zone, char buf[160]);

struct eg_part {
	const void *p;
	size_t n;
};
struct eg_talk {
	const struct eg_addr *to;
	uint16_t port;
	struct eg_part part[8]; /* sent one after the other; n 0 ends the list */
	size_t piece;           /* 0: a part at once; else so many bytes at a time, with a gap */
	unsigned gap_us;
	bool turns; /* wait for something to come back before every part but the first (greeting: the first too) */
	bool greeting;
	bool fast_open;   /* the first part goes with the SYN */
	bool no_connect;  /* being connected is a failure already */
	unsigned tokens;  /* how many answers make it ANSWERED; 0: one */
	unsigned wait_ms; /* for the answer; 0: as the arm has it */
};
enum eg_client eg_tcp(struct eg_run *r, enum eg_which arm, const struct eg_talk *t);
enum eg_client eg_tcp_send(struct eg_run *r, enum eg_which arm, const struct eg_addr *to, uint16_t port,
			   const struct eg_buf *b);
enum eg_client eg_udp(struct eg_run *r, enum eg_which arm, const struct eg_addr *to, uint16_t port, const void *p,
		      size_t n);
/* A connection and a line with the nonce. */
enum eg_client eg_connect(struct eg_run *r, enum eg_which arm, const struct eg_addr *to, uint16_t port);
enum eg_client eg_of_errno(int error);

/* probe_ask.c: the sandbox's resolver, by hand */
int eg_exchange(const struct eg_run *r, const struct eg_addr *server, bool tcp, const struct eg_buf *q, uint8_t *reply,
		size_t size, int *error); /* bytes of the reply, or -1 */
enum eg_client eg_dns(struct eg_run *r, enum eg_which arm, const struct eg_query *q, bool tcp);
enum eg_client eg_dns_name(struct eg_run *r, enum eg_which arm, const char *name);
/* Addresses of the run's family; 0: none. */
size_t eg_resolve(const struct eg_run *r, const char *name, struct eg_addr *ret, size_t max);

/* probe_names.c: a name in wire form as a question, as SNI and as Host */
void eg_everywhere(struct eg_run *r, enum eg_which arm, const void *name, size_t n);
/* The hello and the request that every control sends. */
enum eg_client eg_tls(struct eg_run *r, enum eg_which arm, uint16_t port, const struct eg_hello *h);
enum eg_client eg_tls_name(struct eg_run *r, enum eg_which arm, uint16_t port, const void *sni, size_t n);
enum eg_client eg_get(struct eg_run *r, enum eg_which arm, uint16_t port, const char *host, const char *extra);
