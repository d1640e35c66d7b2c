/* SPDX-License-Identifier: Apache-2.0 */
/* The table of UDP flows: a datagram is judged here, a flow is found, recorded and ended here. */
#include "gate/udp.h"

#include <errno.h>
#include <string.h>

static struct gate_udp_flow **find(struct gate *g, const struct flow_key *k)
{
	struct gate_udp_flow **p = &g->udp->bucket[flow_key_hash(g, k) % UDP_BUCKETS];

	while (*p && !flow_key_eq(&(*p)->key, k))
		p = &(*p)->hash_next;
	return p;
}

uint32_t gate_udp_total(const struct gate *g)
{
	return g->udp ? g->udp->n : 0;
}

/* Deadlines. */

static uint64_t deadline_of(const struct gate_udp_flow *f)
{
	const struct gate_udp *t = f->g->udp;

	if (f->state == UDP_RESOLVING)
		return f->started_ms + TARGET_DEADLINE_MS;
	const uint64_t idle = f->last_ms + (f->answered ? t->idle_ms : t->silent_ms);
	return f->wait_ms ? DW_MIN(f->wait_ms, idle) : idle;
}

static void on_timer(void *arg)
{
	static const struct dw_decision late = { .reason = DW_REASON_RESOLVER_FAILED, .rule = DW_RULE_NONE };
	struct gate_udp_flow *f = arg;
	const uint64_t now = f->g->loop.now_ms;
	struct inspect_result r;

	if (now < deadline_of(f)) {
		udp_arm(f);
	} else if (f->state == UDP_RESOLVING) {
		udp_refuse(f, &late, target_name(&f->target), false);
	} else if (f->wait_ms && now >= f->wait_ms) {
		if (udp_quic_deadline(f, &r) == UDP_REFUSE)
			udp_refuse(f, &r.decision, r.name, true);
		else if (udp_go_on(f))
			udp_arm(f);
	} else {
		udp_end(f);
	}
}

void udp_arm(struct gate_udp_flow *f)
{
	const uint64_t at = deadline_of(f);

	/* A later deadline is found out when the earlier one has come. Its place in the heap is there since flow_new(). */
	if (!f->timer.index || at < f->timer.at_ms)
		DW_IGNORE(dw_timer_set(&f->g->loop, &f->timer, at, on_timer, f));
}

void udp_set_state(struct gate_udp_flow *f, enum udp_state state)
{
	const bool half = state == UDP_RESOLVING || state == UDP_INSPECT;

	if (half && !f->half_open)
		f->sandbox->half_open_n++;
	if (!half && f->half_open)
		f->sandbox->half_open_n--;
	f->half_open = half;
	f->state = state;
}

bool udp_keep(struct gate_udp_flow *f, size_t n)
{
	if (f->sandbox->udp_held + n > GATE_UDP_HELD_ALL)
		return false;
	f->sandbox->udp_held += n;
	f->kept += n;
	return true;
}

void udp_unkeep(struct gate_udp_flow *f, size_t n)
{
	dw_assert(n <= f->kept);
	f->sandbox->udp_held -= n;
	f->kept -= n;
}

/* Records. */

static struct gate_record record_of(const struct gate_udp_flow *f, const struct dw_decision *d)
{
	return (struct gate_record){
		.sandbox = f->sandbox,
		.source = f->key.src,
		.proto = DW_PROTO_UDP,
		.addr = f->key.dst,
		.port = f->key.dport,
		.decision = *d,
		.bytes_out = f->bytes_out,
		.bytes_in = f->bytes_in,
		.duration_ms = f->g->loop.now_ms - f->started_ms,
		.flow = d->verdict == DW_DENY ? 0 : f->id,
	};
}

void udp_record(struct gate_udp_flow *f, const struct dw_decision *d, const char *name)
{
	struct gate_record r = record_of(f, d);

	r.name = name && *name ? name : NULL;
	gate_record(f->g, &r);
}

const char *udp_name(const struct gate_udp_flow *f)
{
	return f->names[0] ? f->names[0] : f->target.name;
}

static void record_name(struct gate_udp_flow *f, size_t i, bool closed)
{
	struct gate_record r = record_of(f, &f->decision);

	if (!closed)
		f->name_id[i] = gate_record_flow_id(f->g);
	r.flow = f->name_id[i];
	r.name = f->names[i];
	r.bytes_in = r.bytes_out = 0;
	r.closed = closed;
	gate_record(f->g, &r);
}

void udp_record_allow(struct gate_udp_flow *f)
{
	if (!f->allowed) {
		f->allowed = true;
		udp_record(f, &f->decision, udp_name(f));
	}
	f->names_said = DW_MAX(f->names_said, 1);
	while (f->names_said < UDP_NAMES_MAX && f->names[f->names_said])
		record_name(f, f->names_said++, false);
}

static void record_end(struct gate_udp_flow *f)
{
	struct gate_record r = record_of(f, &f->decision);

	if (!f->allowed)
		return;
	r.name = udp_name(f);
	r.closed = true;
	gate_record(f->g, &r);
	for (size_t i = 1; i < f->names_said; i++)
		record_name(f, i, true);
}

/* The end. */

static void free_flow(void *arg)
{
	struct gate_udp_flow *f = arg;

	for (size_t i = 0; i < UDP_NAMES_MAX; i++)
		free(f->names[i]);
	free(f);
}

static void unlink_flow(struct gate_udp_flow *f)
{
	struct gate_sandbox *s = f->sandbox;
	struct gate_udp_flow **p = find(f->g, &f->key);

	dw_assert(*p == f);
	*p = f->hash_next;
	if (f->prev)
		f->prev->next = f->next;
	else
		s->udp_flows = f->next;
	if (f->next)
		f->next->prev = f->prev;
	s->flow_n--;
	if (f->wide)
		s->udp_wide_n--;
	f->g->udp->n--;
	f->sandbox = NULL;
	if (s->detached && s->flow_n == 0)
		gate_sandbox_unused(f->g, s);
}

void udp_end(struct gate_udp_flow *f)
{
	struct dw_loop *l = &f->g->loop;

	if (f->state == UDP_DEAD)
		return;
	record_end(f);
	target_cancel(&f->target);
	dw_timer_del(l, &f->timer);
	dw_watch_del(l, &f->watch);
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
	udp_drop_held(f);
	udp_quic_done(f);
	udp_set_state(f, UDP_DEAD);
	unlink_flow(f);
	dw_defer(l, &f->defer, free_flow, f);
}

void udp_unreachable(const struct gate_udp_flow *f, enum dw_unreachable why)
{
	const struct dw_packet p = {
		.src = f->key.src,
		.dst = f->key.dst,
		.proto = IPPROTO_UDP,
		.sport = f->key.sport,
		.dport = f->key.dport,
		.header = { f->quote, f->quote_n },
	};
	tun_unreachable(f->g, &p, why);
}

/* Refused QUIC. A new policy, or another sandbox at the address, starts with nothing remembered. */

static uint64_t refused_hash(const struct gate *g, const struct gate_sandbox *s, const struct flow_key *k)
{
	return flow_key_hash(g, k) ^ s->instance * UINT64_C(0x9e3779b97f4a7c15) ^
	       s->generation * UINT64_C(0xd6e8feb86659fd93);
}

static bool was_refused(const struct gate *g, const struct gate_sandbox *s, const struct flow_key *k)
{
	const uint64_t h = refused_hash(g, s, k);
	const struct udp_refused *e = &g->udp->refused[h % UDP_REFUSED];

	return e->hash == h && g->loop.now_ms < e->until_ms;
}

void udp_refuse(struct gate_udp_flow *f, const struct dw_decision *d, const char *name, bool quic)
{
	struct gate *g = f->g;

	udp_record(f, d, name);
	if (quic || dw_policy_rejects(f->sandbox->policy))
		udp_unreachable(f, DW_UNREACH_PORT);
	if (quic) {
		const uint64_t h = refused_hash(g, f->sandbox, &f->key);
		g->udp->refused[h % UDP_REFUSED] =
			(struct udp_refused){ .hash = h, .until_ms = g->loop.now_ms + UDP_REFUSED_MS };
	}
	udp_end(f);
}

/* The beginning. */

static struct gate_udp_flow *flow_new(struct gate *g, struct gate_sandbox *s, const struct flow_key *k,
				      const struct dw_packet *p)
{
	struct gate_udp_flow *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	*f = (struct gate_udp_flow){
		.g = g,
		.sandbox = s,
		.key = *k,
		.started_ms = g->loop.now_ms,
		.last_ms = g->loop.now_ms,
		.id = gate_record_flow_id(g),
		.fd = -1,
		.watch.fd = -1,
		.quote_n = (uint8_t)DW_MIN(p->header.n, UDP_QUOTE_MAX),
	};
	memcpy(f->quote, p->header.p, f->quote_n);
	f->held_end = &f->held;
	if (dw_timer_set(&g->loop, &f->timer, f->started_ms + TARGET_DEADLINE_MS, on_timer, f) < 0) {
		free(f);
		return NULL;
	}
	struct gate_udp_flow **b = find(g, k);
	f->hash_next = *b;
	*b = f;
	f->next = s->udp_flows;
	if (f->next)
		f->next->prev = f;
	s->udp_flows = f;
	s->flow_n++;
	g->udp->n++;
	return f;
}

static void refuse_datagram(struct gate *g, const struct gate_sandbox *s, const struct dw_packet *p,
			    const struct dw_decision *d)
{
	const struct gate_record r = {
		.sandbox = s,
		.source = p->src,
		.proto = DW_PROTO_UDP,
		.addr = p->dst,
		.port = p->dport,
		.decision = *d,
	};
	gate_record(g, &r);
	if (dw_policy_rejects(s->policy))
		tun_unreachable(g, p, DW_UNREACH_PORT);
}

static void known_datagram(struct gate_udp_flow *f, const struct dw_packet *p)
{
	f->last_ms = f->g->loop.now_ms;
	if (f->state == UDP_RESOLVING)
		DW_IGNORE(udp_hold(f, p->payload.p, p->payload.n)); /* datagrams may get lost */
	else
		udp_take(f, p->payload.p, p->payload.n);
}

void udp_datagram(struct gate *g, struct gate_sandbox *s, const struct dw_packet *p)
{
	const struct flow_key k = { .src = p->src, .dst = p->dst, .sport = p->sport, .dport = p->dport };
	struct gate_udp_flow *f = *find(g, &k);

	if (f) {
		known_datagram(f, p);
		return;
	}
	if (was_refused(g, s, &k)) {
		tun_unreachable(g, p, DW_UNREACH_PORT);
		return;
	}
	struct dw_decision d = flow_judge_new(g, s, DW_PROTO_UDP, &k);
	if (d.verdict != DW_DENY) {
		f = flow_new(g, s, &k, p);
		if (!f)
			d = (struct dw_decision){ .reason = DW_REASON_GATE_RESOURCES, .rule = DW_RULE_NONE };
	}
	if (!f) {
		refuse_datagram(g, s, p, &d);
		return;
	}
	f->decision = d;
	udp_set_state(f, UDP_RESOLVING);
	/* A policy may change while it is asked for its target, so this datagram waits like any that follow. */
	if (udp_hold(f, p->payload.p, p->payload.n)) {
		udp_dial(f);
		return;
	}
	d = (struct dw_decision){ .reason = DW_REASON_GATE_RESOURCES, .rule = DW_RULE_NONE };
	udp_refuse(f, &d, NULL, false);
}

bool udp_go_on(struct gate_udp_flow *f)
{
	f->wait_ms = 0;
	udp_record_allow(f);
	if (f->state == UDP_INSPECT)
		udp_set_state(f, UDP_RELAY);
	return udp_flush(f);
}

/* It may go, behind what is held. */
static void pass(struct gate_udp_flow *f, const uint8_t *data, size_t n)
{
	if (udp_go_on(f))
		DW_IGNORE(udp_send(f, data, n)); /* if it spends the quota, that has been said */
}

static void wait_for_hello(struct gate_udp_flow *f, const uint8_t *data, size_t n)
{
	struct inspect_result r;

	if (udp_hold(f, data, n)) {
		if (!f->wait_ms) {
			const uint32_t most = f->g->udp->inspect_ms;
			const bool observes = f->decision.inspect == DW_INSPECT_OBSERVE;
			f->wait_ms = f->g->loop.now_ms + (observes ? DW_MIN(most, FLOW_OBSERVE_MS) : most);
			udp_arm(f);
		}
		return;
	}
	/* There is no more room to wait in. */
	if (udp_quic_deadline(f, &r) == UDP_REFUSE)
		udp_refuse(f, &r.decision, r.name, true);
	else
		pass(f, data, n);
}

void udp_take(struct gate_udp_flow *f, const uint8_t *data, size_t n)
{
	struct inspect_result r;

	if (f->decision.inspect == DW_INSPECT_NONE) {
		f->loose = f->loose || udp_quic_begins(data, n);
		pass(f, data, n);
		return;
	}
	switch (udp_quic_judge(f, data, n, &r)) {
	case UDP_REFUSE:
		udp_refuse(f, &r.decision, r.name, true);
		return;
	case UDP_DROP:
		return;
	case UDP_WAIT:
		wait_for_hello(f, data, n);
		return;
	case UDP_PASS:
		pass(f, data, n);
		return;
	}
}

/* Tests can not wait for minutes. */
static uint32_t shortened(const char *name, uint32_t ms)
{
#ifdef DECLAW_TEST_HOOKS
	const char *text = getenv(name);
	return text ? (uint32_t)strtoul(text, NULL, 10) : ms;
#else
	(void)name;
	return ms;
#endif
}

int gate_udp_init(struct gate *g)
{
	struct gate_udp *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	/* In place from the start: no packet has to wait for the page, and what the process holds is seen at once. */
	for (size_t i = 0; i < sizeof(*t); i += 4096)
		((volatile uint8_t *)t)[i] = 0;
	t->idle_ms = shortened("DECLAW_TEST_UDP_IDLE_MS", GATE_UDP_IDLE_MS);
	t->silent_ms = shortened("DECLAW_TEST_UDP_SILENT_MS", GATE_UDP_SILENT_MS);
	t->inspect_ms = shortened("DECLAW_TEST_UDP_INSPECT_MS", GATE_UDP_INSPECT_MS);
	t->id_ms = shortened("DECLAW_TEST_UDP_ID_MS", UDP_ID_MS);
	t->fragment_id = (uint32_t)(g->seed >> 32);
	g->udp = t; /* for the life of the process */
	return 0;
}
