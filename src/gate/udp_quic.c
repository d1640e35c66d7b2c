/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QUIC on a flow whose names count.
 *
 * Anybody can read an Initial: its keys come from the connection ID (DCID) of the client's first packet. A server tells
 * connections apart by their IDs, so every Initial is tried, also long after a first hello has passed: under its own DCID,
 * for then it begins a connection, and under the first DCID of those that began here, for clients put the server's ID
 * in and keep the keys. One that opens under none belongs to a connection that nobody here has judged; one that opens
 * under two was made for two readers. Neither passes.
 *
 * The bytes of a hello that has passed are kept as long as the flow: the server may not have taken them (too short a
 * datagram, a packet number twice), and others in their place must say the same. That is why a connection is forgotten only
 * when there is no other room, and nothing was said under its keys for longer than a server waits for the rest of a hello
 * (udp_ids.c); a flow with too many at a time is refused. What follows a hello is another one of the same name
 * (HelloRetryRequest asks for it), and judged too: there are servers that take its name.
 *
 * Clients may speak to all servers from one socket (Go's do), so a flow may have connections to several names of its address,
 * each of which proves its own.
 *
 * On port 443 of a name (STRICT) everything is QUIC of a version that can be read, and begins with a hello. On its other
 * ports Initials are judged where there are any. An incomplete hello is never let through, under DENY_NAMES neither: what is
 * missing could follow on another flow.
 */
#include <string.h>

#include "core/defence.h"
#include "gate/udp.h"

#define DATAGRAM_MAX 65536u

static enum udp_verdict refuse(struct inspect_result *r, enum dw_reason reason)
{
	r->decision = (struct dw_decision){ .verdict = DW_DENY, .reason = reason, .rule = DW_RULE_NONE };
	return UDP_REFUSE;
}

static bool observes(const struct gate_udp_flow *f)
{
	return f->decision.inspect == DW_INSPECT_OBSERVE;
}

static bool must_be_quic(const struct gate_udp_flow *f)
{
	return f->key.dport == 443 && f->decision.inspect == DW_INSPECT_STRICT && dw_defended(DW_DEFENCE_QUIC_REQUIRED);
}

/* Where an observer would have refused what is no QUIC. */
static bool should_be_quic(const struct gate_udp_flow *f)
{
	return f->key.dport == 443 && observes(f) && f->decision.verdict == DW_ALLOW_BY_NAME;
}

/* A hello is incomplete, or has not begun. */
static bool is_open(const struct udp_conn *c)
{
	return c->used && (c->judged == 0 || c->crypto.high > c->judged);
}

static bool is_waiting(const struct gate_udp_flow *f)
{
	for (size_t i = 0; f->conns && i < UDP_CONNS_MAX; i++) {
		if (is_open(&f->conns[i]))
			return true;
	}
	return false;
}

/* The connections of a flow. */

static bool same_id(const struct udp_conn *c, struct dw_span dcid)
{
	return c->dcid_n == dcid.n && memcmp(c->dcid, dcid.p, dcid.n) == 0;
}

/* What the bytes of a hello and the map of them take. */
static size_t cost_of(const struct udp_conn *c)
{
	return c->crypto.cap + c->crypto.cap / 8;
}

static void conn_done(struct gate_udp_flow *f, struct udp_conn *c)
{
	udp_unkeep(f, cost_of(c));
	dw_quic_crypto_done(&c->crypto);
	*c = (struct udp_conn){ 0 };
}

/* The connection that begins with this ID; else room for one: the longest silent, if it may be forgotten. NULL: there is none. */
static struct udp_conn *conn_place(struct gate_udp_flow *f, struct dw_span dcid)
{
	struct udp_conn *place = NULL;

	if (!f->conns)
		f->conns = calloc(UDP_CONNS_MAX, sizeof(*f->conns));
	for (size_t i = 0; f->conns && i < UDP_CONNS_MAX; i++) {
		struct udp_conn *c = &f->conns[i];
		const bool old = c->used && !is_open(c) && f->g->loop.now_ms - c->last_ms >= f->g->udp->id_ms;

		if (c->used && same_id(c, dcid))
			return c;
		if ((!c->used || old) && (!place || c->last_ms < place->last_ms))
			place = c;
	}
	return place;
}

/* The connection that begins with this ID, from now on this flow's (again). NULL: *ret_why. */
static struct udp_conn *conn_of(struct gate_udp_flow *f, struct dw_span dcid, enum dw_reason *ret_why)
{
	struct udp_conn *c = conn_place(f, dcid);

	*ret_why = DW_REASON_GATE_RESOURCES;
	if (!c)
		return NULL;
	*ret_why = DW_REASON_QUIC_MALFORMED;
	if (!udp_id_claim(f->g, dcid, f->id))
		return NULL;
	if (c->used && !same_id(c, dcid))
		conn_done(f, c);
	c->used = true;
	c->last_ms = f->g->loop.now_ms;
	c->dcid_n = (uint8_t)dcid.n;
	memmove(c->dcid, dcid.p, dcid.n); /* dcid may be c's own */
	return c;
}

void udp_quic_done(struct gate_udp_flow *f)
{
	for (size_t i = 0; f->conns && i < UDP_CONNS_MAX; i++) {
		struct udp_conn *c = &f->conns[i];
		if (c->used && !f->sent)
			udp_id_release(f->g, (struct dw_span){ c->dcid, c->dcid_n }, f->id);
		conn_done(f, c);
	}
	free(f->conns);
	f->conns = NULL;
}

/* Hellos. */

/* The name as the flow keeps it. NULL: one more than can be remembered. */
static const char *remember_name(struct gate_udp_flow *f, const char *name)
{
	for (size_t i = 0; i < UDP_NAMES_MAX; i++) {
		if (!f->names[i]) {
			f->names[i] = strdup(name);
			return f->names[i];
		}
		if (strcmp(f->names[i], name) == 0)
			return f->names[i];
	}
	return NULL;
}

/* again: it is not the connection's first. */
static enum udp_verdict judge_hello(struct gate_udp_flow *f, struct udp_conn *c, const struct dw_tls_hello *hello,
				    bool again, struct inspect_result *r)
{
	const struct inspect in = {
		.policy = f->sandbox->policy,
		.pins = f->sandbox->pins,
		.dst = f->key.dst,
		.port = f->key.dport,
		.mode = observes(f) ? DW_INSPECT_STRICT : f->decision.inspect, /* an observer looks as strictly */
	};
	const bool strict = f->decision.inspect == DW_INSPECT_STRICT;
	char canonical[DW_HOST_SIZE];

	if (inspect_hello(&in, hello, r) != INSPECT_PASS)
		return UDP_REFUSE;
	if (strict &&
	    (target_misdialled(&f->target, r->name) || (again && (!c->name || strcmp(c->name, r->name) != 0))))
		return refuse(r, DW_REASON_SNI_MISMATCH);
	const bool named = hello->has_sni && dw_host_canon(hello->sni, hello->sni_n, canonical, NULL) == DW_HOST_OK;
	c->name = named ? remember_name(f, canonical) : NULL;
	if (!c->name || r->loose)
		f->loose = true;
	if (r->decision.verdict == DW_ALLOW_BY_NAME && f->decision.verdict == DW_ALLOW_BY_NAME)
		f->decision.rule = r->decision.rule;
	f->ech = f->ech || r->ech;
	f->quic_ok = true;
	return UDP_PASS;
}

/* The bytes behind what was judged, as far as they came without a gap. */
static struct dw_span unjudged(const struct udp_conn *c)
{
	const struct dw_quic_crypto *k = &c->crypto;
	size_t end = c->judged;

	while (end < k->high && k->have[end >> 3] & 1 << (end & 7))
		end++;
	return (struct dw_span){ k->data + c->judged, end - c->judged };
}

static enum udp_verdict judge_bytes(struct gate_udp_flow *f, struct udp_conn *c, struct inspect_result *r)
{
	const bool again = c->judged > 0;
	struct dw_tls_hello hello;
	enum dw_parse status;

	if (again) {
		const struct dw_span next = unjudged(c);
		status = dw_tls_hello_message_parse(next.p, next.n, &hello);
		if (status == DW_PARSE_OK && c->judged + next.n < c->crypto.high)
			status = DW_PARSE_BAD; /* what stands behind a gap is no part of it */
	} else {
		status = dw_quic_hello(&c->crypto, &hello);
	}
	if (status == DW_PARSE_MORE)
		return UDP_PASS; /* is_waiting() tells */
	c->judged = c->crypto.high;
	return status == DW_PARSE_OK ? judge_hello(f, c, &hello, again, r) : refuse(r, DW_REASON_QUIC_MALFORMED);
}

/* The frames of an Initial that opened. */
static enum udp_verdict take_frames(struct gate_udp_flow *f, struct udp_conn *c, const uint8_t *plain, size_t n,
				    struct inspect_result *r)
{
	const size_t before = cost_of(c);
	const enum dw_parse status = dw_quic_frames_take(&c->crypto, plain, n);
	const size_t more = cost_of(c) - before;

	if (more && !udp_keep(f, more)) {
		dw_quic_crypto_done(&c->crypto);
		udp_unkeep(f, before);
		c->judged = 0;
		return refuse(r, DW_REASON_GATE_RESOURCES);
	}
	if (status != DW_PARSE_OK) {
		c->judged = DW_MAX(c->crypto.high, 1u); /* for an observer: nothing is waited for */
		return refuse(r, DW_REASON_QUIC_MALFORMED);
	}
	return is_open(c) ? judge_bytes(f, c, r) : UDP_PASS;
}

/* Keys. */

struct opening {
	enum dw_parse status; /* OK; BIG: its number is too high; BAD: under no key, or under two */
	struct dw_span dcid;  /* whose keys they were */
	size_t n;
};

/* Tries the packet under all keys that it may have. False: that would be more than this sandbox may have tried. */
static bool try_keys(struct gate_udp_flow *f, const struct dw_quic_packet *p, uint8_t *plain, uint8_t *scratch,
		     struct opening *ret)
{
	struct dw_bucket *rate = &f->sandbox->quic_rate;
	const uint64_t now = f->g->loop.now_ms;
	struct opening o = { .dcid = p->dcid };

	if (!dw_bucket_take(rate, GATE_QUIC_OPEN_PER_SECOND, now))
		return false;
	o.status = dw_quic_initial_open(p, plain, &o.n);
	unsigned opened = o.status != DW_PARSE_BAD;
	for (size_t i = 0; f->conns && i < UDP_CONNS_MAX; i++) {
		const struct udp_conn *c = &f->conns[i];
		const struct dw_span dcid = { c->dcid, c->dcid_n };
		size_t n = 0;

		if (!c->used || same_id(c, p->dcid))
			continue;
		if (!dw_bucket_take(rate, GATE_QUIC_OPEN_PER_SECOND, now))
			return false;
		enum dw_parse status = dw_quic_initial_open_as(p, dcid, scratch, &n);
		if (status == DW_PARSE_BAD)
			continue;
		opened++;
		o = (struct opening){ .status = status, .dcid = dcid, .n = n };
		if (status == DW_PARSE_OK)
			memcpy(plain, scratch, n);
	}
	if (opened > 1)
		o.status = DW_PARSE_BAD;
	*ret = o;
	return true;
}

static enum udp_verdict not_opened(const struct gate_udp_flow *f, struct inspect_result *r)
{
	const bool wanted = must_be_quic(f) || should_be_quic(f);

	if (wanted && !f->quic_ok)
		return refuse(r, is_waiting(f) ? DW_REASON_QUIC_MALFORMED : DW_REASON_QUIC_REQUIRED);
	return observes(f) ? UDP_PASS : UDP_DROP;
}

static enum udp_verdict initial(struct gate_udp_flow *f, const struct dw_quic_packet *p, struct inspect_result *r)
{
	static uint8_t plain[DATAGRAM_MAX], scratch[DATAGRAM_MAX];
	struct opening o;

	if (f->quic_ok && !dw_defended(DW_DEFENCE_QUIC_EACH))
		return UDP_PASS;
	if (p->all.n > sizeof(plain) || !try_keys(f, p, plain, scratch, &o))
		return UDP_DROP;
	if (o.status == DW_PARSE_BIG)
		return refuse(r, DW_REASON_QUIC_MALFORMED);
	if (o.status != DW_PARSE_OK)
		return not_opened(f, r);
	enum dw_reason why;
	struct udp_conn *c = conn_of(f, o.dcid, &why);
	return c ? take_frames(f, c, plain, o.n, r) : refuse(r, why);
}

/* Datagrams. */

/* Anything but an Initial. readable: of a version that is known, so that no connection begins with it. */
static enum udp_verdict other(const struct gate_udp_flow *f, bool readable, struct inspect_result *r)
{
	if (!must_be_quic(f) && !should_be_quic(f))
		return UDP_PASS;
	if (!f->quic_ok && !is_waiting(f))
		return refuse(r, DW_REASON_QUIC_REQUIRED);
	return readable || observes(f) ? UDP_PASS : UDP_DROP;
}

/*
 * Versions that servers still answer and that nobody here reads: drafts of version 1, Google's, Facebook's. No client of today
 * begins with them. Any other number is another protocol's, or a client's that wants to hear of the versions there are.
 */
static bool hides_its_name(uint32_t version)
{
	const uint32_t family = version >> 8, google = version >> 16;

	return family == 0xff0000 || family == 0xfaceb0 || google == ('Q' << 8 | '0') || google == ('T' << 8 | '0');
}

/*
 * A datagram that can not be walked to its end: its server may cut it differently, and find an Initial in it. That takes a
 * packet of a known version before it or at its head; other protocols than QUIC may say what they like.
 */
static enum udp_verdict unreadable(const struct gate_udp_flow *f, struct dw_span rest, bool at_head,
				   struct inspect_result *r)
{
	struct dw_rd rd = dw_rd_init(rest.p, rest.n, false);
	const bool is_long = dw_rd_u8(&rd) & 0x80;
	const uint32_t version = dw_rd_u32(&rd);
	const bool is_quic = !at_head || (is_long && (version == DW_QUIC_V1 || version == DW_QUIC_V2));
	const enum udp_verdict v = other(f, false, r);

	return v == UDP_PASS && is_quic && !observes(f) ? UDP_DROP : v;
}

static enum udp_verdict walk(struct gate_udp_flow *f, const uint8_t *data, size_t n, struct inspect_result *r)
{
	enum udp_verdict v = n ? UDP_PASS : other(f, false, r);
	struct dw_quic_packet p;
	size_t at = 0;

	while (v == UDP_PASS && dw_quic_packet_next(data, n, &at, &p) == DW_PARSE_OK) {
		switch (p.kind) {
		case DW_QUIC_INITIAL:
			v = initial(f, &p, r);
			break;
		case DW_QUIC_SHORT:
		case DW_QUIC_LONG:
			v = other(f, true, r);
			break;
		case DW_QUIC_UNKNOWN:
			v = other(f, false, r);
			if (v == UDP_PASS && hides_its_name(p.version) && !observes(f))
				v = UDP_DROP;
			break;
		case DW_QUIC_NEGOTIATION:
		case DW_QUIC_OTHER:
			v = other(f, false, r);
			break;
		}
	}
	return v == UDP_PASS && at < n ? unreadable(f, (struct dw_span){ data + at, n - at }, at == 0, r) : v;
}

/* A policy that only observes lets it pass; the first such thing of a flow is noted. */
static enum udp_verdict refuse_or_note(struct gate_udp_flow *f, const struct inspect_result *r)
{
	struct dw_decision d = dw_decide_observed(f->sandbox->policy, &f->g->floor, &f->key.dst, r->decision);

	if (d.verdict == DW_DENY)
		return UDP_REFUSE;
	if (f->decision.reason != DW_REASON_OBSERVED) {
		d.inspect = f->decision.inspect;
		f->decision = d;
		f->allowed = true;
		udp_record(f, &d, r->name);
	}
	f->loose = true;
	f->quic_ok = true;
	return UDP_PASS;
}

static void start(struct inspect_result *r)
{
	*r = (struct inspect_result){ .proto = INSPECT_PROTO_TLS, .decision.rule = DW_RULE_NONE };
}

enum udp_verdict udp_quic_judge(struct gate_udp_flow *f, const uint8_t *data, size_t n, struct inspect_result *ret)
{
	start(ret);
	enum udp_verdict v = walk(f, data, n, ret);
	if (v == UDP_REFUSE)
		v = refuse_or_note(f, ret);
	return v == UDP_PASS && is_waiting(f) ? UDP_WAIT : v;
}

enum udp_verdict udp_quic_deadline(struct gate_udp_flow *f, struct inspect_result *ret)
{
	start(ret);
	if (!is_waiting(f))
		return UDP_PASS;
	for (size_t i = 0; i < UDP_CONNS_MAX; i++) /* only an observer goes on, and has noted it */
		f->conns[i].judged = DW_MAX(f->conns[i].crypto.high, 1u);
	refuse(ret, DW_REASON_QUIC_MALFORMED);
	return refuse_or_note(f, ret);
}

bool udp_quic_begins(const uint8_t *data, size_t n)
{
	struct dw_quic_packet p;
	size_t at = 0;

	while (dw_quic_packet_next(data, n, &at, &p) == DW_PARSE_OK) {
		if (p.kind == DW_QUIC_INITIAL)
			return true;
	}
	return false;
}
