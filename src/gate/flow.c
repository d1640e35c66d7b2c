/* SPDX-License-Identifier: Apache-2.0 */
/* The table of flows: a SYN is judged here, a flow is found, recorded and ended here. */
#include "gate/flow.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPT_BATCH 64

struct state_info {
	bool half_open;
	uint32_t deadline_ms; /* set on entering; 0: none, or set by what happens in it */
};

static const struct state_info states[] = {
	[FLOW_DEAD] = { false, 0 },
	[FLOW_RESOLVING] = { true, TARGET_DEADLINE_MS },
	[FLOW_DIALLING] = { true, GATE_DIAL_TIMEOUT_MS },
	[FLOW_ADMITTED] = { true, GATE_ADMIT_TIMEOUT_MS },
	[FLOW_INSPECT] = { true, 0 },
	[FLOW_HTTP] = { false, 0 },
	[FLOW_WATCH] = { false, 0 },
	[FLOW_RELAY] = { false, 0 },
	[FLOW_CLOSING] = { false, FLOW_DRAIN_MS },
};
static_assert(DW_COUNT(states) == FLOW__COUNT, "every state has its row");

static uint64_t fold(uint64_t a, uint64_t b)
{
	__uint128_t m = (__uint128_t)a * b;
	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

uint64_t flow_key_hash(const struct gate *g, const struct flow_key *k)
{
	uint64_t w[4], h = g->seed;

	memcpy(w, k->src.b, 16);
	memcpy(w + 2, k->dst.b, 16);
	h = fold(h ^ w[0], w[1] ^ 0x9e3779b97f4a7c15u);
	h = fold(h ^ w[2], w[3] ^ g->seed);
	return fold(h ^ ((uint64_t)k->sport << 16 | k->dport), g->seed | 1);
}

bool flow_key_eq(const struct flow_key *a, const struct flow_key *b)
{
	return a->sport == b->sport && a->dport == b->dport && dw_addr_eq(&a->src, &b->src) &&
	       dw_addr_eq(&a->dst, &b->dst);
}

static struct gate_flow **find(struct gate *g, const struct flow_key *k)
{
	struct gate_flow **p = &g->flows->bucket[flow_key_hash(g, k) % FLOW_BUCKETS];
	while (*p && !flow_key_eq(&(*p)->key, k))
		p = &(*p)->hash_next;
	return p;
}

uint32_t gate_flows_total(const struct gate *g)
{
	return (g->flows ? g->flows->n : 0) + gate_udp_total(g);
}

struct inspect flow_inspect(const struct gate_flow *f)
{
	return (struct inspect){
		.policy = f->sandbox->policy,
		.pins = f->sandbox->pins,
		.dst = f->key.dst,
		.port = f->key.dport,
		.mode = f->decision.inspect,
	};
}

void flow_deadline(struct gate_flow *f, uint32_t ms)
{
	struct dw_loop *l = &f->g->loop;

	if (ms == 0)
		dw_timer_del(l, &f->deadline);
	else
		/* Without memory for a timer the flow ends when its ends do, or with its sandbox. */
		DW_IGNORE(dw_timer_set(l, &f->deadline, l->now_ms + ms, flow_on_deadline, f));
}

void flow_set_state(struct gate_flow *f, enum flow_state state)
{
	const bool half = states[state].half_open;

	if (half && !f->half_open)
		f->sandbox->half_open_n++;
	if (!half && f->half_open)
		f->sandbox->half_open_n--;
	f->half_open = half;
	f->state = state;
	flow_deadline(f, states[state].deadline_ms);
}

const char *flow_name(const struct gate_flow *f)
{
	return f->name ? f->name : f->target.name;
}

static struct gate_record record_of(const struct gate_flow *f, const struct dw_decision *d)
{
	return (struct gate_record){
		.sandbox = f->sandbox,
		.source = f->key.src,
		.proto = DW_PROTO_TCP,
		.addr = f->key.dst,
		.port = f->key.dport,
		.decision = *d,
		.bytes_out = f->up.bytes,
		.bytes_in = f->down.bytes,
		.duration_ms = f->g->loop.now_ms - f->started_ms,
		.flow = d->verdict == DW_DENY ? 0 : f->id,
	};
}

void flow_record(struct gate_flow *f, const struct dw_decision *d, const char *name)
{
	struct gate_record r = record_of(f, d);

	r.name = name && *name ? name : NULL;
	f->recorded = true;
	gate_record(f->g, &r);
}

void flow_record_also(struct gate_flow *f, const struct dw_decision *d, const char *name)
{
	struct gate_record r = record_of(f, d);

	r.name = name && *name ? name : NULL;
	r.flow = 0; /* its end belongs to the first */
	gate_record(f->g, &r);
}

void flow_record_allow(struct gate_flow *f)
{
	if (f->recorded)
		return;
	flow_record(f, &f->decision, flow_name(f));
	f->allowed = true;
}

static void record_end(struct gate_flow *f)
{
	if (f->dialled)
		flow_record_allow(f);
	if (!f->allowed)
		return;
	struct gate_record r = record_of(f, &f->decision);
	r.name = flow_name(f);
	r.closed = true;
	gate_record(f->g, &r);
}

static void close_side(struct gate_flow *f, struct flow_side *side, bool reset)
{
	const struct linger linger = { .l_onoff = 1 };

	dw_watch_del(&f->g->loop, &side->watch);
	if (side->fd < 0)
		return;
	if (reset)
		DW_IGNORE(setsockopt(side->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	close(side->fd);
	side->fd = -1;
}

void flow_reset_server(struct gate_flow *f)
{
	close_side(f, &f->server, true);
}

void flow_close_server(struct gate_flow *f)
{
	close_side(f, &f->server, false);
}

static void free_flow(void *arg)
{
	struct gate_flow *f = arg;

	free(f->syn);
	free(f->name);
	free(f->answer);
	free(f);
}

static void unlink_flow(struct gate_flow *f)
{
	struct gate_flows *t = f->g->flows;
	struct gate_sandbox *s = f->sandbox;
	struct gate_flow **p = find(f->g, &f->key);

	dw_assert(*p == f);
	*p = f->hash_next;
	if (f->prev)
		f->prev->next = f->next;
	else
		s->flows = f->next;
	if (f->next)
		f->next->prev = f->prev;
	s->flow_n--;
	t->n--;
	f->sandbox = NULL;
	if (s->detached && s->flow_n == 0)
		gate_sandbox_unused(f->g, s);
}

static void finish(struct gate_flow *f, bool reset)
{
	if (f->state == FLOW_DEAD)
		return;
	DW_IGNORE(flow_count(f));
	record_end(f);
	target_cancel(&f->target);
	close_side(f, &f->client, reset);
	close_side(f, &f->server, reset);
	relay_dir_done(&f->g->flows->pool, &f->up);
	relay_dir_done(&f->g->flows->pool, &f->down);
	f->sandbox->tcp_held -= f->held;
	f->held = 0;
	flow_set_state(f, FLOW_DEAD);
	unlink_flow(f);
	dw_defer(&f->g->loop, &f->defer, free_flow, f);
}

void flow_end(struct gate_flow *f)
{
	/* A server that was dialled for a client that never came, or is still connecting, is reset: it has seen nothing. */
	finish(f, f->state <= FLOW_ADMITTED);
}

void flow_abort(struct gate_flow *f)
{
	finish(f, true);
}

static void reset_syn(struct gate *g, const struct dw_packet *syn)
{
	uint8_t out[64];

	tun_write(g, out, dw_packet_rst(syn, out, sizeof(out)));
}

void flow_answer_held(const struct gate_flow *f)
{
	struct dw_packet syn;

	if (f->syn && dw_policy_rejects(f->sandbox->policy) && dw_packet_parse(f->syn, f->syn_n, &syn) == DW_PARSE_OK)
		reset_syn(f->g, &syn);
}

void flow_refuse_quietly(struct gate_flow *f, enum dw_reason reason)
{
	const struct dw_decision d = { .verdict = DW_DENY, .reason = reason, .rule = f->decision.rule };

	flow_record(f, &d, target_name(&f->target));
	flow_answer_held(f);
	flow_abort(f);
}

static void refuse_syn(struct gate *g, const struct gate_sandbox *s, const struct flow_key *k,
		       const struct dw_packet *syn, const struct dw_decision *d)
{
	const uint64_t h = fold(flow_key_hash(g, k), syn->seq ^ g->seed);
	uint64_t *seen = &g->flows->denied[h % FLOW_DENIED];
	const struct gate_record r = {
		.sandbox = s,
		.source = k->src,
		.proto = DW_PROTO_TCP,
		.addr = k->dst,
		.port = k->dport,
		.decision = *d,
	};

	if (dw_policy_rejects(s->policy))
		reset_syn(g, syn);
	/* The word is part of what is remembered: a SYN sent again after a change of policy is told anew. */
	if (*seen == (h ^ d->reason))
		return;
	*seen = h ^ d->reason;
	gate_record(g, &r);
}

static struct gate_flow *flow_new(struct gate *g, struct gate_sandbox *s, const struct flow_key *k, const uint8_t *syn,
				  size_t n)
{
	struct gate_flow *f = calloc(1, sizeof(*f));
	uint8_t *copy = malloc(n);

	if (!f || !copy) {
		free(f);
		free(copy);
		return NULL;
	}
	memcpy(copy, syn, n);
	*f = (struct gate_flow){
		.g = g,
		.sandbox = s,
		.key = *k,
		.syn = copy,
		.syn_n = n,
		.started_ms = g->loop.now_ms,
		.id = gate_record_flow_id(g),
		.client = { .watch.fd = -1, .fd = -1 },
		.server = { .watch.fd = -1, .fd = -1 },
	};
	struct gate_flow **p = find(g, k);
	f->hash_next = *p;
	*p = f;
	f->next = s->flows;
	if (f->next)
		f->next->prev = f;
	s->flows = f;
	s->flow_n++;
	g->flows->n++;
	return f;
}

/*
 * The client has given up and tries again from the same port, and nothing has been answered yet: what was found out and
 * begun for the first SYN serves the second. Starting anew would let a sandbox have questions and connections made as
 * fast as it can send SYNs, past every limit.
 */
static bool hold_syn_instead(struct gate_flow *f, const struct dw_packet *p, const uint8_t *packet, size_t n)
{
	uint8_t *copy = n <= FLOW_SYN_MAX ? malloc(n) : NULL;

	if (!copy)
		return false;
	memcpy(copy, packet, n);
	free(f->syn);
	f->syn = copy;
	f->syn_n = n;
	f->isn = p->seq;
	return true;
}

/* Whether the SYN belongs to a flow that is there; if it starts another connection in its place, that one is ended. */
static bool known_syn(struct gate *g, const struct flow_key *k, const struct dw_packet *p, const uint8_t *packet,
		      size_t n)
{
	struct gate_flow *f = *find(g, k);

	if (!f)
		return false;
	if (f->isn == p->seq) {
		if (f->state == FLOW_ADMITTED) /* what was written back has been lost */
			tun_write(g, packet, n);
		return true;
	}
	if ((f->state == FLOW_RESOLVING || f->state == FLOW_DIALLING) && hold_syn_instead(f, p, packet, n))
		return true;
	flow_abort(f);
	return false;
}

void flow_syn(struct gate *g, struct gate_sandbox *s, const struct dw_packet *p, const uint8_t *packet, size_t n)
{
	const struct flow_key k = { .src = p->src, .dst = p->dst, .sport = p->sport, .dport = p->dport };

	if (known_syn(g, &k, p, packet, n))
		return;
	struct dw_decision d = flow_judge_new(g, s, DW_PROTO_TCP, &k);
	struct gate_flow *f = NULL;
	if (d.verdict != DW_DENY) {
		f = n <= FLOW_SYN_MAX ? flow_new(g, s, &k, packet, n) : NULL;
		if (!f)
			d = (struct dw_decision){ .reason = DW_REASON_GATE_RESOURCES, .rule = DW_RULE_NONE };
	}
	if (!f) {
		refuse_syn(g, s, &k, p, &d);
		return;
	}
	f->isn = p->seq;
	f->decision = d;
	flow_dial(f);
}

static void reset_fd(int fd)
{
	const struct linger linger = { .l_onoff = 1 };

	DW_IGNORE(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	close(fd);
}

/* The flow whose admitted SYN this accepted socket answers. NULL is what the ruleset rules out; checked as defence in depth. */
static struct gate_flow *admitted_flow(struct gate *g, int fd, const struct sockaddr_storage *peer)
{
	struct sockaddr_storage local = { 0 };
	socklen_t n = sizeof(local);
	struct flow_key k = { 0 };

	if (getsockname(fd, (struct sockaddr *)&local, &n) == 0) {
		k.src = dw_addr_from_sockaddr(peer, &k.sport);
		k.dst = dw_addr_from_sockaddr(&local, &k.dport);
	}
	struct gate_flow *f = *find(g, &k);
	return f && f->state == FLOW_ADMITTED ? f : NULL;
}

/* Out of descriptors: the client is told by a reset, and the listener does not stay readable for ever. */
static void accept_without_fd(struct gate_flows *t, const struct flow_listener *l)
{
	struct sockaddr_storage peer = { 0 };
	socklen_t n = sizeof(peer);

	if (t->spare_fd < 0)
		return;
	close(t->spare_fd);
	int fd = accept4(l->fd, (struct sockaddr *)&peer, &n, SOCK_CLOEXEC);
	if (fd >= 0) {
		struct gate_flow *f = admitted_flow(l->g, fd, &peer);
		reset_fd(fd);
		if (f)
			flow_refuse_quietly(f, DW_REASON_GATE_RESOURCES);
	}
	t->spare_fd = fcntl(l->fd, F_DUPFD_CLOEXEC, 0);
}

static void on_listener(void *arg, uint32_t events)
{
	const struct flow_listener *l = arg;

	for (int i = 0; i < ACCEPT_BATCH; i++) {
		struct sockaddr_storage peer = { 0 };
		socklen_t n = sizeof(peer);
		int fd = accept4(l->fd, (struct sockaddr *)&peer, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct gate_flow *f = fd >= 0 ? admitted_flow(l->g, fd, &peer) : NULL;
		if (f)
			flow_accepted(f, fd);
		else if (fd >= 0)
			reset_fd(fd);
		else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			accept_without_fd(l->g->flows, l);
		else if (errno == EAGAIN)
			return;
	}
}

static int listen_on(struct gate *g, struct flow_listener *l, int fd)
{
	l->g = g;
	l->fd = fd;
	l->watch.fd = -1;
	if (fd < 0)
		return 0;
	int r = flow_socket_options(fd); /* accepted sockets inherit them */
	return r < 0 ? r : dw_watch_add(&g->loop, &l->watch, fd, EPOLLIN, on_listener, l);
}

int gate_flows_init(struct gate *g)
{
	struct gate_flows *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	g->flows = t; /* for the life of the process */
	t->spare_fd = fcntl(g->fds.tun, F_DUPFD_CLOEXEC, 0);
	if (t->spare_fd < 0)
		return -errno;
	int r = listen_on(g, &t->listener[0], g->fds.listen4);
	if (r == 0)
		r = listen_on(g, &t->listener[1], g->fds.listen6);
	return r == 0 ? tun_init(g) : r;
}
