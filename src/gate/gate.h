/* SPDX-License-Identifier: Apache-2.0 */
/*
 * declaw-gate: the one process through which anything leaves a sandbox.
 *
 * Life: started by declawd as root with the gate namespace, the uplink namespace and a control socket as descriptors. It sets the gate
 * namespace up (setup.c), enters the uplink namespace for good, drops every privilege (confine.c), says ready on the
 * control socket and serves. When the control socket closes it exits, and nothing leaves any more.
 *
 * Who is who: a sandbox is its source address (the kernel's anti-spoof rule makes that true), found in the sandbox table. No entry =
 * no policy = nothing passes.
 *
 *   setup.c      gate namespace: sysctls, TUN, addresses, policy routes, nftables, transparent sockets
 *   tun.c        packets from the TUNs (SYNs; UDP); packets written back; answers to what is refused under "reject"
 *   flow.c       TCP flows: held SYN -> judged -> (resolved) -> dialled -> admitted -> accepted -> inspected -> relayed
 *   inspect.c    first bytes of a flow: TLS, HTTP, other; pure over a buffer
 *   http_flow.c  every request of a plain HTTP connection
 *   relay.c      splice(2) both ways with half-close and back-pressure; pool of pipes
 *   target.c     which address is dialled for the one the sandbox chose (a pin is a handle)
 *   udp.c        UDP flows: judged, relayed, idle time-outs; udp_quic.c: QUIC Initials of a flow
 *   starttls.c   finds TLS that begins later in a flow; flow_watch.c judges it
 *   limits.c     what one sandbox may use
 *   dns.c        DNS server on UDP and TCP; dns_tcp.c
 *   resolver.c   upstream names through libunbound
 *   sandbox.c    table of attached sandboxes, by id and by address
 *   control.c    the control socket
 *   record.c     decision records: which become events; record_text.c: what events say
 *   hostaddr.c   the machine's own addresses, kept current, for the floor
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/err.h"
#include "loop/loop.h"
#include "policy/limits.h"
#include "policy/pins.h"
#include "policy/policy.h"

/* Limits, with their reasons. */
#define GATE_FLOWS_MAX               16384u /* bounds descriptors and memory of the process */
#define GATE_DIAL_TIMEOUT_MS         20000u /* Linux gives up connecting after about 127 s; clients long before */
#define GATE_ADMIT_TIMEOUT_MS        5000u  /* SYN written back, not accepted */
#define GATE_INSPECT_TIMEOUT_MS      15000u /* from the first byte of a flow that must prove its name, until it did */
#define GATE_DNS_PENDING_PER_SANDBOX 256u
#define GATE_DNS_TCP_PER_SANDBOX     16u
#define GATE_DNS_TIMEOUT_MS          8000u
#define GATE_UDP_IDLE_MS             120000u    /* of a UDP flow that was answered (RFC 4787 REQ-5) */
#define GATE_UDP_SILENT_MS           30000u     /* ... of one that was not */
#define GATE_UDP_INSPECT_MS          5000u      /* from a flow's first Initial until its hello is complete */
#define GATE_UDP_HELD_BYTES          65536u     /* of one flow, while its hello is not complete */
#define GATE_UDP_HELD_ALL            (8u << 20) /* of one sandbox, in datagrams and hellos that are kept */
#define GATE_UDP_WIDE                32u        /* flows of one sandbox whose sockets may hold 2 MiB */
#define GATE_QUIC_OPEN_PER_SECOND    10000u     /* Initials of one sandbox that are decrypted; each costs some 10 us */

/* Marks of the static ruleset. */
#define GATE_MARK_TUN     1u /* routed into the TUN of SYNs */
#define GATE_MARK_LOCAL   2u /* delivered to a transparent socket */
#define GATE_MARK_TUN_UDP 3u /* routed into the TUN of UDP */
#define GATE_TUN_NAME     "gate0"
#define GATE_TUN_UDP_NAME "gate1"

struct gate_fds {               /* made by setup.c inside the gate namespace; -1 = none */
	int tun;                /* SYNs and what is refused */
	int tun_udp;            /* UDP has a device, and so a queue, of its own: no flood of it delays a connection */
	int listen4, listen6;   /* transparent TCP listeners for admitted flows */
	int dns_udp4, dns_udp6; /* transparent, bound to port 53, IP_RECVORIGDSTADDR / IPV6_RECVORIGDSTADDR set */
	int dns_tcp4, dns_tcp6; /* transparent listeners for port 53 */
};

struct gate_config {
	int gate_netns_fd, uplink_netns_fd, control_fd;
	struct dw_prefix allow_private[64];
	size_t allow_private_n;
	struct {
		struct dw_addr addr;
		uint16_t port;
	} resolver[8]; /* none = nothing resolves */
	size_t resolver_n;
};

struct gate_flow;
struct gate_dns_query;

/* One attached sandbox. Owned by the table; freed from a deferred call after detach. */
struct gate_sandbox {
	struct gate_sandbox *next_by_id, *next_by_addr4, *next_by_addr6; /* chains of the tables */
	char id[72];
	struct dw_addr addr4, addr6;
	uint64_t instance;   /* unique per attach in this process: what outlives a detach is recognised as stale */
	uint64_t generation; /* of the policy, as the daemon numbers it */
	struct dw_policy *policy;
	void *image; /* mapped policy image */
	size_t image_n;
	struct dw_pins *pins;
	struct gate_flow *flows; /* doubly linked list head, kept by flow.c */
	uint32_t flow_n, half_open_n;
	uint32_t udp_wide_n; /* UDP flows whose sockets hold more than usual */
	struct gate_udp_flow
		*udp_flows; /* doubly linked list head, kept by udp.c; they count in flow_n and half_open_n too */
	struct gate_dns_query *queries; /* kept by dns.c */
	uint32_t query_n, dns_tcp_n;
	struct dw_limits limits; /* filled */
	struct dw_bucket flow_rate, query_rate;
	struct dw_bucket refusal_rate; /* of answers to queries over query_rate */
	struct dw_bucket *record_rate; /* of allowed flows recorded alone; a record borrows its sandbox as const */
	struct dw_name_window names;
	size_t tcp_held; /* bytes of buffers that its TCP flows have for what has no verdict */
	size_t udp_held; /* bytes that its UDP flows keep: datagrams without a verdict, hellos */
	struct dw_bucket quic_rate;
	uint64_t bytes_out, bytes_in; /* relayed for it so far, all flows */
	bool detached;                /* leaves the tables at once; freed when its flows and queries are gone */
};

struct gate {
	struct gate_config config;
	struct dw_loop loop;
	struct gate_fds fds;
	struct dw_floor floor; /* host addresses kept current by hostaddr.c; exceptions from the config */
	struct gate_sandbox_table *sandboxes;
	struct gate_resolver *resolver;
	struct gate_records *records;
	struct gate_control *control;
	struct gate_flows *flows; /* flow.c's tables */
	struct gate_udp *udp;     /* udp.c's */
	uint64_t seed;            /* of every table whose keys a sandbox can choose */
	struct gate_dns *dns;
	struct gate_hostaddr *hostaddr;
};

/* setup.c: everything that needs the gate namespace and privileges. Enters gate_netns_fd, makes *ret, enters uplink_netns_fd. */
int gate_setup(const struct gate_config *config, struct gate_fds *ret, struct dw_err *err);

/* confine.c: uid and gid nobody (65534), no capabilities, no new privileges, rlimits, not dumpable. */
int gate_confine(struct dw_err *err);

/* sandbox.c */
int gate_sandboxes_init(struct gate *g);
struct gate_sandbox *gate_sandbox_by_addr(struct gate *g, const struct dw_addr *source); /* NULL: unknown */
struct gate_sandbox *gate_sandbox_by_id(struct gate *g, const char *id);
/* Takes the mapped image and the opened policy (also on failure). -1 with err: id or address already attached, memory. */
int gate_sandbox_attach(struct gate *g, const char *id, const struct dw_addr *addr4, const struct dw_addr *addr6,
			uint64_t generation, const struct dw_limits *limits, void *image, size_t image_n,
			struct dw_policy *policy, struct dw_err *err);
/*
 * Replaces policy and limits and judges every live flow, TCP and UDP, once against the new ones, before it returns. Takes image
 * and policy. What was counted under the old limits (bytes, names of this minute) stays counted.
 */
int gate_sandbox_update(struct gate *g, struct gate_sandbox *s, uint64_t generation, const struct dw_limits *limits,
			void *image, size_t image_n, struct dw_policy *policy);
void gate_sandbox_detach(struct gate *g, struct gate_sandbox *s);
/* flow.c and dns.c call this when they dropped the last thing of a detached sandbox. */
void gate_sandbox_unused(struct gate *g, struct gate_sandbox *s);

/* tun.c and flow.c */
int gate_flows_init(struct gate *g);
void gate_flows_rejudge(struct gate *g,
			struct gate_sandbox *s); /* after a new policy: close what it denies, with a record */
void gate_flows_close_all(struct gate *g, struct gate_sandbox *s); /* on detach: reset all */
uint32_t gate_flows_total(const struct gate *g);                   /* TCP and UDP */
/* A keyed hash of what a sandbox may choose: h is the gate's seed, or what came before. */
uint64_t gate_hash_bytes(uint64_t h, const void *p, size_t n);

/* udp.c */
int gate_udp_init(struct gate *g);
void gate_udp_rejudge(struct gate *g, struct gate_sandbox *s);
void gate_udp_close_all(struct gate *g, struct gate_sandbox *s);
uint32_t gate_udp_total(const struct gate *g);

/* dns.c */
int gate_dns_init(struct gate *g);
void gate_dns_forget(struct gate *g, struct gate_sandbox *s); /* on detach */

/* resolver.c: a canonical name's addresses of one family (or its HTTPS records), from cache or upstream; never blocks. */
enum gate_resolve_status {
	GATE_RESOLVE_FAILED = 0, /* no usable answer (SERVFAIL, time-out, malformed) */
	GATE_RESOLVE_OK,         /* answer set; rcode NOERROR or NXDOMAIN */
};
struct dw_dns_answer;
struct dw_dns_https;
struct gate_resolve_result {
	enum gate_resolve_status status;
	const struct dw_dns_answer *answer; /* A, AAAA */
	const struct dw_dns_https *https;   /* HTTPS */
	size_t https_n;
	uint16_t rcode;
	uint32_t ttl;
};
struct gate_resolve; /* one outstanding request */
int gate_resolver_init(struct gate *g, struct dw_err *err);
/* cb runs from the loop, never inside this call. NULL on failure (then cb never runs). */
struct gate_resolve *gate_resolve_start(struct gate *g, const char *name, uint16_t qtype,
					void (*cb)(void *arg, const struct gate_resolve_result *r), void *arg);
void gate_resolve_cancel(struct gate_resolve *r); /* cb will not run any more */

/* record.c: one decision. Borrowed for the call. */
struct gate_record {
	const struct gate_sandbox *sandbox; /* NULL: an unknown source; then source is set */
	struct dw_addr source;
	enum dw_proto proto;
	struct dw_addr addr; /* destination as the sandbox saw it; unset for DNS */
	uint16_t port;       /* for DNS: the query type */
	const char *name;    /* canonical name, or raw text that is escaped; NULL for none */
	struct dw_decision decision;
	uint64_t bytes_out, bytes_in; /* from and to the sandbox; flows that ended */
	uint64_t duration_ms;
	bool closed; /* the end of an allowed flow (with bytes); false: the decision itself */
	/*
	 * Of an allowed flow: the same in the decision and in the end, unique in the process, so that a reader makes one row of
	 * both. 0: none. Filled in from gate_record_flow_id() by who makes the flow.
	 */
	uint64_t flow;
};
uint64_t gate_record_flow_id(struct gate *g);
int gate_records_init(struct gate *g);
void gate_record(struct gate *g, const struct gate_record *r);

/* control.c: serves config.control_fd; sends events. event_json is one JSON object without newline. */
int gate_control_init(struct gate *g, struct dw_err *err);
void gate_control_event(struct gate *g, const char *event_json, size_t n);

/* hostaddr.c: fills and keeps g->floor.host by a netlink subscription in the uplink namespace. */
int gate_hostaddr_init(struct gate *g, struct dw_err *err);
/* Would a packet to this address end on this machine? 1, 0, or negative errno when the kernel does not say. */
int gate_hostaddr_is_local(struct gate *g, const struct dw_addr *a);
