/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP flows: from the SYN that the TUN gave us to the last byte.
 *
 *   state      what exists                          what moves it on                                       deadline
 *   RESOLVING  the SYN; a question to the resolver  answer -> DIALLING; nothing usable -> dead             DNS
 *   DIALLING   the SYN; server socket connecting    connected: the SYN is written back -> ADMITTED;        dial
 *                                                   refused: RST; unreachable: ICMP; silent: nothing
 *   ADMITTED   server socket connected, unwatched   accept() of the pair -> INSPECT or RELAY               admit
 *   INSPECT    both sockets; client bytes in up.buf a verdict: PASS -> RELAY, HTTP -> HTTP, else refused   inspect,
 *              go nowhere, server bytes flow                                                               from byte 1
 *   HTTP       both sockets; client bytes are read  the client's end -> RELAY; 101 -> RELAY; a refused     inspect, from
 *              head by head, server bytes spliced   request -> CLOSING                                     a head's byte 1
 *   WATCH      both sockets; client bytes are read and  both ends -> dead; a hello that is refused          inspect, from
 *              searched for a hello, server bytes       -> CLOSING; the server has taken the hello that the a hello's byte 1
 *              spliced, or read if they answer one      flow began with -> RELAY
 *   RELAY      both sockets, both spliced           both ends seen and passed on -> dead                   none: keepalive
 *   CLOSING    a refused client: nothing more of it the server's last bytes, the gate's answer, the        linger
 *              goes up                              client's end -> dead
 *   DEAD       nothing; out of every table          freed by a deferred call
 *
 * HELD means RESOLVING or DIALLING: the client's SYN is unanswered, so it sees what the far side does and nothing sooner.
 * A flow is found by its four addresses and ports (as the sandbox sees them). It counts as half open until its first
 * bytes have a verdict. From DEAD on, flow->sandbox is NULL: nothing of a flow outlives its sandbox but the memory that
 * the loop may still hold an event for.
 *
 * Bits come as events, go through flow_run(), which moves bytes and changes the state, and end in flow_update(), the one
 * place that tells epoll what to wait for.
 */
#pragma once

#include "gate/gate.h"
#include "gate/http_flow.h"
#include "gate/inspect.h"
#include "gate/relay.h"
#include "gate/starttls.h"
#include "gate/target.h"
#include "wire/ip.h"

enum flow_state {
	FLOW_DEAD = 0,
	FLOW_RESOLVING,
	FLOW_DIALLING,
	FLOW_ADMITTED,
	FLOW_INSPECT,
	FLOW_HTTP,
	FLOW_WATCH,
	FLOW_RELAY,
	FLOW_CLOSING,
	FLOW__COUNT,
};

#define FLOW_SYN_MAX    1600u  /* the links' MTU is 1500 */
#define FLOW_LINGER_MS  2000u  /* a refused client may take this long to read why */
#define FLOW_DRAIN_MS   15000u /* ... after the server was silent for this long */
#define FLOW_PART_MS    500u /* so few bytes of what may become a hello wait for the rest; then they go, and are kept */
#define FLOW_OBSERVE_MS 1000u      /* an observer waits for so long to see a name */
#define FLOW_HOSTS_MAX  8u         /* observed on one connection, and told */
#define FLOW_HELD_BYTES (8u << 20) /* of one sandbox, in buffers without a verdict */

struct flow_key {
	struct dw_addr src, dst;
	uint16_t sport, dport;
};

struct flow_side {
	struct dw_watch watch; /* watch.fd may be -1 while fd is open */
	int fd;                /* -1 = none */
	bool hup;              /* both its directions have ended: no longer watched, its rest is read without events */
};

struct gate_flow {
	struct gate_flow *hash_next;
	struct gate_flow *prev, *next; /* of the sandbox */
	struct gate *g;
	struct gate_sandbox *sandbox;
	struct flow_key key;
	enum flow_state state;
	bool half_open; /* counted in the sandbox */
	bool recorded;  /* its decision is out */
	bool allowed;   /* ... and it was to allow: its end is recorded too */
	bool dialled;   /* a connection was tried */
	bool ech;       /* a hello with ECH went up */
	bool loose;     /* something went up that an inspection in STRICT would have refused or was not asked about */
	uint32_t isn;
	uint64_t started_ms;
	uint64_t id; /* in its records */
	struct dw_decision decision;

	uint8_t *syn; /* while held */
	size_t syn_n;

	struct target target;

	struct flow_side client, server;
	struct relay_dir up, down; /* client to server, server to client */
	struct dw_timer deadline;
	struct dw_defer defer;

	enum inspect_proto proto;
	char *name;                 /* proven */
	struct dw_http_guess guess; /* INSPECT: how far the first line was read */
	struct http_flow http;
	struct starttls tls;               /* WATCH; HTTP */
	enum starttls_what tls_held;       /* WATCH: what the bytes that wait are: PART, START, or NONE */
	struct dw_tls_server answered;     /* WATCH: how far the answer to a hello was read */
	bool answer_due;                   /* ... and that it is read */
	bool answer_ends;                  /* ... and that a ServerHello ends the watch */
	uint64_t observed[FLOW_HOSTS_MAX]; /* hashes of what was told about it */
	uint8_t observed_n;
	size_t held;                      /* bytes of up.buf that the sandbox's tcp_held has */
	uint64_t counted_out, counted_in; /* bytes of up and down that the sandbox's quota knows */
	uint8_t *answer;                  /* CLOSING: goes to the client behind the server's bytes */
	size_t answer_n;
	uint64_t drained; /* CLOSING: down.bytes when the deadline was set */
};

#define FLOW_BUCKETS 32768u
#define FLOW_DENIED  4096u

struct flow_listener {
	struct gate *g;
	struct dw_watch watch;
	int fd;
};

/* A TUN and what its packets are taken for. */
struct flow_tun {
	struct gate *g;
	struct dw_watch watch;
	int fd;
};

struct gate_flows {
	struct gate_flow *bucket[FLOW_BUCKETS];
	uint64_t denied[FLOW_DENIED]; /* SYNs refused lately: one that is sent again is not recorded again */
	uint32_t n;
	struct flow_tun tun[2]; /* of SYNs, of UDP */
	struct flow_listener listener[2];
	int spare_fd; /* given up for a moment to refuse what can not be accepted (EMFILE) */
	struct relay_pool pool;
	uint8_t scratch[DW_TLS_HELLO_MAX];
};

/* flow.c */
/* Keyed: a sandbox chooses most of what goes in, and must not choose the bucket. */
uint64_t flow_key_hash(const struct gate *g, const struct flow_key *k);
bool flow_key_eq(const struct flow_key *a, const struct flow_key *b);
/* A SYN from the TUN: packet is p parsed. */
void flow_syn(struct gate *g, struct gate_sandbox *s, const struct dw_packet *p, const uint8_t *packet, size_t n);
void flow_set_state(struct gate_flow *f, enum flow_state state);
void flow_deadline(struct gate_flow *f, uint32_t ms); /* 0: none */
struct inspect flow_inspect(const struct gate_flow *f);
void flow_record(struct gate_flow *f, const struct dw_decision *d, const char *name);
/* Something that an allowed flow showed later: a record beside its own. */
void flow_record_also(struct gate_flow *f, const struct dw_decision *d, const char *name);
/* The final word of an allowed flow; the first call counts. */
void flow_record_allow(struct gate_flow *f);
/* A refused SYN that is still held is answered where the policy rejects. */
void flow_answer_held(const struct gate_flow *f);
/* Held flows: record, answer, end. */
void flow_refuse_quietly(struct gate_flow *f, enum dw_reason reason);
void flow_end(struct gate_flow *f);   /* both sides have ended, or nothing was begun */
void flow_abort(struct gate_flow *f); /* resets what is open */

void flow_reset_server(struct gate_flow *f);
void flow_close_server(struct gate_flow *f);

/* flow_io.c: from accept to the end */
void flow_on_server(void *arg, uint32_t events);
void flow_accepted(struct gate_flow *f, int fd);
void flow_run(struct gate_flow *f);
void flow_refuse(struct gate_flow *f, const struct inspect_result *r, const uint8_t *head, size_t head_n);
uint32_t flow_inspect_ms(const struct gate_flow *f); /* for how long bytes may wait for a verdict */
void flow_on_deadline(void *arg);
bool flow_held_bytes_ok(struct gate_flow *f); /* may its buffer without a verdict grow as it did? */
/* Counts what was relayed since the last call. False: the quota of the sandbox is spent. */
bool flow_count(struct gate_flow *f);
void flow_refuse_quota(struct gate_flow *f);

/* flow_prove.c: what it has shown */
/* A name or the lack of one has passed: keep it and record it. False: it must be refused after all, *r says why. */
bool flow_prove(struct gate_flow *f, struct inspect_result *r);
bool flow_observes(const struct gate_flow *f); /* its policy only observes */
/* A refusal, if the policy only observes: told, and true, so that it passes. A stricter policy will not count on it. */
bool flow_observe(struct gate_flow *f, const struct inspect_result *r);

/* flow_watch.c: a flow that may become TLS, and one that is TLS until the server has taken its hello */
void flow_watch(struct gate_flow *f); /* from now on; what is in up.buf is looked at */
/* ... of a flow whose first n bytes are a hello that passed; until it is answered */
void flow_watch_answer(struct gate_flow *f, size_t n);
void flow_watch_read(struct gate_flow *f); /* there is more in up.buf, or the client has ended */
/* answer_due: the server's next bytes, which may go; none: its end */
void flow_watch_server(struct gate_flow *f, const uint8_t *p, size_t n);
void flow_watch_deadline(struct gate_flow *f);
/* HTTP: up.buf[from..ok) was let through as requests. False: a hello is in it; it was refused. */
bool flow_watch_http(struct gate_flow *f, size_t from);

/* judge.c: what the policy says of a flow, TCP or UDP, by its addresses alone; what it shows is judged after that */
struct dw_decision flow_judge(const struct gate *g, const struct gate_sandbox *s, enum dw_proto proto,
			      const struct flow_key *k);
/* The same of a flow that is new, held against the limits too. One that is allowed takes a token of the rate. */
struct dw_decision flow_judge_new(struct gate *g, struct gate_sandbox *s, enum dw_proto proto,
				  const struct flow_key *k);

const char *flow_name(const struct gate_flow *f); /* that it proved, else the one it is dialled by; may be NULL */

/* flow_rejudge.c holds gate_flows_rejudge and gate_flows_close_all */

/* dial.c: from a judged SYN to a connected server, or to the refusal that the client would have seen */
void flow_dial(struct gate_flow *f);
void flow_dial_event(struct gate_flow *f);
int flow_socket_options(int fd); /* a server socket, or a listener; 0 or negative errno */

/* tun.c */
int tun_init(struct gate *g);
void tun_write(struct gate *g, const void *packet, size_t n);
void tun_write_udp(struct gate *g, const void *packet, size_t n);
/* An ICMP error to the sender of p, from the gateway. Nothing for what must not be answered so (RFC 1122 section 3.2.2). */
void tun_unreachable(struct gate *g, const struct dw_packet *p, enum dw_unreachable why);
enum dw_unreachable tun_why(int e); /* for what connect() or send() said; not for ECONNREFUSED of TCP */
