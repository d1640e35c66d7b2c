/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UDP flows: from a datagram that the TUN gave us to the last one that its socket gives.
 *
 *   state      what exists                                 what moves it on                               deadline
 *   RESOLVING  datagrams held; a question to the resolver  answer -> INSPECT or RELAY; nothing -> dead    DNS
 *   INSPECT    a socket connected to the far side;         the first hello has passed, or none is needed  inspect
 *              datagrams held                              -> RELAY; refused -> dead
 *   RELAY      the socket                                  silence -> dead                                idle
 *   DEAD       nothing; out of every table                 freed by a deferred call
 *
 * The socket is connected to the one address and port that were judged, so nothing else can answer. What comes from it
 * goes into the TUN as a datagram from the address that the sandbox chose.
 *
 * QUIC (udp_quic.c) is looked at as long as the flow lives: a server tells connections apart by the connection ID in
 * them, not by address, so every Initial may begin another one. While any hello is incomplete, everything that the client
 * sends is held, in order; a flow in RELAY may hold too.
 *
 * A refused QUIC flow is answered by ICMP whatever the policy says, since clients then turn to TCP at once, and remembered
 * for some seconds (refused[]), so that what the client sends again is answered without being judged or recorded again.
 *
 * A flow counts as half open until it is in RELAY. From DEAD on, flow->sandbox is NULL.
 */
#pragma once

#include "gate/flow.h"
#include "gate/inspect.h"
#include "gate/target.h"
#include "wire/quic.h"

enum udp_state {
	UDP_DEAD = 0,
	UDP_RESOLVING,
	UDP_INSPECT,
	UDP_RELAY,
};

#define UDP_BUCKETS    32768u
#define UDP_REFUSED    4096u
#define UDP_REFUSED_MS 5000u
#define UDP_QUOTE_MAX  80u     /* the longest header of IPv4 and 8 bytes; of IPv6 the usual one */
#define UDP_CONNS_MAX  8u      /* QUIC connections of one flow whose hellos are kept */
#define UDP_IDS        262144u /* 6 MiB */
#define UDP_IDS_WAYS   8u
#define UDP_ID_MS      60000u
#define UDP_NAMES_MAX  4u /* proven names of one flow */

struct udp_held {
	struct udp_held *next;
	size_t n;
	uint8_t data[];
};

/* One connection ID and what was said under its keys. */
struct udp_conn {
	bool used;
	uint8_t dcid[DW_QUIC_CID_MAX], dcid_n; /* of its first packet: its keys come from it, and stay */
	struct dw_quic_crypto crypto;
	size_t judged;    /* bytes of it; 0: its hello is incomplete */
	const char *name; /* that it proved, one of the flow's; NULL: none */
	uint64_t last_ms; /* when something was last said under its keys */
};

struct gate_udp_flow {
	struct gate_udp_flow *hash_next;
	struct gate_udp_flow *prev, *next; /* of the sandbox */
	struct gate *g;
	struct gate_sandbox *sandbox;
	struct flow_key key;
	enum udp_state state;
	bool half_open; /* counted in the sandbox */
	bool allowed;   /* recorded as such: its end is recorded too */
	bool dialled;   /* the socket is connected; the target was READY */
	bool sent;      /* something went to the far side */
	bool answered;  /* something came back */
	bool wide;      /* its socket holds more; counted in the sandbox */
	bool ech;       /* a hello with ECH went up */
	bool loose;     /* an Initial went up that STRICT would have refused, or that nobody looked at */
	bool quic_ok;   /* a hello has passed on this flow */
	uint64_t id;    /* in its records */
	uint64_t started_ms, last_ms;
	uint64_t wait_ms; /* INSPECT, or a hello is waited for: until then; 0: no such deadline */
	struct dw_decision decision;
	uint8_t quote[UDP_QUOTE_MAX], quote_n; /* of its first datagram, for ICMP errors */

	struct target target;
	int fd; /* -1 = none */
	struct dw_watch watch;
	uint64_t bytes_out, bytes_in;

	struct udp_held *held, **held_end;
	size_t held_n;          /* bytes */
	struct udp_conn *conns; /* UDP_CONNS_MAX, made when the first Initial opens */
	size_t kept;            /* bytes counted in sandbox->udp_held: datagrams and hellos */
	char *names[UDP_NAMES_MAX];
	/* Names but the first have records of their own, without bytes: those count with the first. */
	uint64_t name_id[UDP_NAMES_MAX];
	uint8_t names_said; /* how many have one */

	struct dw_timer timer;
	struct dw_defer defer;
};

struct udp_refused {
	uint64_t hash;
	uint64_t until_ms;
};

struct udp_id {
	uint64_t hash; /* of a connection ID; 0 with until_ms 0: free */
	uint64_t flow, until_ms;
};

struct gate_udp {
	struct gate_udp_flow *bucket[UDP_BUCKETS];
	struct udp_refused refused[UDP_REFUSED];
	struct udp_id ids[UDP_IDS];
	uint32_t n;
	uint32_t idle_ms, silent_ms, inspect_ms, id_ms;
	uint32_t fragment_id; /* of what is sent to sandboxes in fragments */
};

/* udp.c */
/* A datagram from the TUN. */
void udp_datagram(struct gate *g, struct gate_sandbox *s, const struct dw_packet *p);
void udp_set_state(struct gate_udp_flow *f, enum udp_state state);
void udp_arm(struct gate_udp_flow *f); /* after a change of what its deadline depends on */
void udp_record(struct gate_udp_flow *f, const struct dw_decision *d, const char *name);
const char *udp_name(const struct gate_udp_flow *f); /* that it proved, else the one it is dialled by; may be NULL */
void udp_record_allow(struct gate_udp_flow *f);      /* the first call counts; and the first behind a further name */
/* Counts n more (or fewer) bytes that the flow keeps. False: the sandbox keeps too much; they are not counted. */
bool udp_keep(struct gate_udp_flow *f, size_t n);
void udp_unkeep(struct gate_udp_flow *f, size_t n);
/* Records the refusal, answers it by ICMP where the policy rejects or it is one of QUIC, and ends the flow. */
void udp_refuse(struct gate_udp_flow *f, const struct dw_decision *d, const char *name, bool quic);
void udp_end(struct gate_udp_flow *f);
/* An ICMP error to the client. */
void udp_unreachable(const struct gate_udp_flow *f, enum dw_unreachable why);
/* Nothing is waited for any more: what is held goes. False: the flow is dead. */
bool udp_go_on(struct gate_udp_flow *f);
/* The client's datagram, on a flow that is connected. */
void udp_take(struct gate_udp_flow *f, const uint8_t *data, size_t n);

/* udp_io.c */
/* Finds the far side's address, connects. The flow may be dead afterwards. */
void udp_dial(struct gate_udp_flow *f);
/* Sends one datagram. False: the flow is dead. */
bool udp_send(struct gate_udp_flow *f, const uint8_t *data, size_t n);
/* Keeps one datagram for later. False: there is no room, and it is lost. */
bool udp_hold(struct gate_udp_flow *f, const uint8_t *data, size_t n);
/* Sends all that is held. False: the flow is dead. */
bool udp_flush(struct gate_udp_flow *f);
void udp_drop_held(struct gate_udp_flow *f);

/* udp_packet.c: a datagram for a sandbox as the packets it takes on a link. Pure. */
#define UDP_LINK_MTU 1500u
/*
 * packet[0..n): as dw_packet_udp() built it. Calls put for the packet or, where it is longer than the links' MTU, so that
 * it arrives whole: IPv4 as it is with id in it (the kernel cuts it), IPv6 as fragments with id.
 */
void udp_packet_out(uint8_t *packet, size_t n, uint32_t id, void (*put)(void *arg, const void *p, size_t n), void *arg);

/* udp_ids.c: the ID that a connection begins with becomes the flow's. False: it is another flow's. */
bool udp_id_claim(struct gate *g, struct dw_span dcid, uint64_t flow);
/* The flow has sent nothing under it: others may. */
void udp_id_release(struct gate *g, struct dw_span dcid, uint64_t flow);

/* udp_quic.c */
enum udp_verdict {
	UDP_REFUSE = 0, /* ret is set: the flow ends */
	UDP_DROP,       /* this datagram is lost, nothing else happens */
	UDP_WAIT,       /* held until a hello is complete */
	UDP_PASS,       /* it may go, and what is held before it */
};
/* What becomes of the client's datagram. Only on flows with an inspect mode other than NONE. */
enum udp_verdict udp_quic_judge(struct gate_udp_flow *f, const uint8_t *data, size_t n, struct inspect_result *ret);
/* The hellos that are incomplete are waited for no longer. REFUSE or PASS. */
enum udp_verdict udp_quic_deadline(struct gate_udp_flow *f, struct inspect_result *ret);
/* Whether a datagram of a flow that nobody looks at begins a QUIC connection. */
bool udp_quic_begins(const uint8_t *data, size_t n);
void udp_quic_done(struct gate_udp_flow *f);

/* udp_rejudge.c holds gate_udp_rejudge and gate_udp_close_all */
