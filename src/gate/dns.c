/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The DNS server of the sandboxes: the only one they can reach, whichever address they ask.
 *
 * A query is judged before anything of it can leave: a name that the policy does not allow is refused here and never
 * asked upstream, so that a name cannot carry data out. What goes upstream is rebuilt from the canonical name and one
 * of three types; other types of an allowed name have no data, by our own word.
 *
 * An answer is judged too. Addresses that a name cannot open (private, the machine's own, ...) are withheld, and each
 * address that is passed on is pinned to the queried name before the answer is written: when the client's first
 * packet arrives the pin is there. An address that cannot be pinned is not passed on, except where the policy would
 * let the client connect without a pin anyway.
 *
 * A query that waits belongs to its sandbox (s->queries), whose end cancels it, so an answer never meets another
 * sandbox. On TCP it belongs to its connection too, whose end leaves it without anybody to answer; it is not cancelled,
 * because the resolver is at work on it all the same and it must count against the sandbox's bound as long. The policy is
 * asked again when the answer comes, for it may have changed.
 *
 * What is over the rate costs next to nothing: it is not judged, all of it is one record, on UDP only so many refusals are
 * written as queries would be served, and a connection on TCP ends with its refusal.
 */
#include "core/defence.h"
#include "gate/dns_internal.h"
#include "gate/limits.h"
#include "gate/resolver.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* RFC 1035 section 3.2.4 */
#define CLASS_IN 1
/* Extended DNS Errors, RFC 8914 section 4 */
#define EDE_OTHER      0
#define EDE_FILTERED   17
#define EDE_PROHIBITED 18
#define EDE_NETWORK    23
/* A client asks again after an hour at the latest; an answer that is kept for days would outlive what it says. */
#define TTL_MAX 3600u
/* localhost never changes. */
#define LOCALHOST_TTL 3600u

struct gate_dns_query {
	struct gate_dns_query *next, **link; /* of the sandbox */
	struct gate *g;
	struct gate_sandbox *sandbox;
	struct gate_resolve *resolve;
	struct dns_origin origin;
	bool orphan;           /* its connection is gone */
	struct dw_dns_query q; /* q.question points to question */
	char name[DW_HOST_SIZE];
	uint8_t question[];
};

static void send_reply(struct gate *g, const struct dns_origin *o, const struct dw_dns_query *q,
		       const struct dw_dns_reply *reply)
{
	struct gate_dns *d = g->dns;
	size_t limit = o->conn ? sizeof(d->out) : DW_MIN((size_t)q->udp_size, (size_t)DW_DNS_UDP_MAX);
	size_t n = dw_dns_reply_build(q, reply, limit, d->out, sizeof(d->out));

	if (n == 0)
		return;
	if (o->conn)
		dns_tcp_send(o->conn, d->out, n);
	else
		dns_udp_send(o, d->out, n);
}

static void send_code(struct gate *g, const struct dns_origin *o, const struct dw_dns_query *q, uint16_t rcode, int ede,
		      const char *text)
{
	const struct dw_dns_reply reply = { .rcode = rcode, .ede = ede, .ede_text = text };

	send_reply(g, o, q, &reply);
}

static struct dw_decision refusal(enum dw_reason reason)
{
	return (struct dw_decision){ .verdict = DW_DENY, .reason = reason, .rule = DW_RULE_NONE };
}

static void record(struct gate *g, const struct gate_sandbox *s, const char *name, uint16_t qtype,
		   const struct dw_addr *addr, const struct dw_decision *d)
{
	const struct gate_record r = { .sandbox = s,
				       .proto = DW_PROTO_DNS,
				       .addr = addr ? *addr : (struct dw_addr){ 0 },
				       .port = qtype,
				       .name = name,
				       .decision = *d };

	gate_record(g, &r);
}

void dns_unknown_source(struct gate *g, const struct dw_addr *source)
{
	const struct gate_record r = { .source = *source,
				       .proto = DW_PROTO_DNS,
				       .decision = refusal(DW_REASON_NO_POLICY) };

	gate_record(g, &r);
}

void dns_record_limit(struct gate *g, struct gate_sandbox *s, enum dw_reason reason)
{
	const struct dw_decision d = refusal(reason);

	record(g, s, NULL, 0, NULL, &d);
}

/* Says no to this query, with the reason to the client and in a record. addr: what the name resolved to, or NULL. */
static void refuse(struct gate *g, struct gate_sandbox *s, const struct dns_origin *o, const struct dw_dns_query *q,
		   const char *name, const struct dw_addr *addr, const struct dw_decision *d, uint16_t rcode, int ede)
{
	char what[DW_HOST_SIZE + DW_ADDR_STRLEN + 8];
	char addr_text[DW_ADDR_STRLEN];
	char text[512];

	if (addr)
		snprintf(what, sizeof(what), "%s (%s)", name, dw_addr_format(addr, addr_text));
	else
		snprintf(what, sizeof(what), "%s", name);
	record(g, s, name, q->qtype, addr, d);
	send_code(g, o, q, rcode, ede, dw_explain(s->policy, d, what, text, sizeof(text)));
}

/* Pending queries. */

static struct gate_dns_query *query_new(struct gate *g, struct gate_sandbox *s, const struct dns_origin *o,
					const struct dw_dns_query *q, const char *name)
{
	struct gate_dns_query *p = calloc(1, sizeof(*p) + q->question.n);

	if (!p)
		return NULL;
	p->g = g;
	p->sandbox = s;
	p->origin = *o;
	p->q = *q;
	memcpy(p->question, q->question.p, q->question.n);
	p->q.question.p = p->question;
	snprintf(p->name, sizeof(p->name), "%s", name);
	p->next = s->queries;
	p->link = &s->queries;
	if (p->next)
		p->next->link = &p->next;
	s->queries = p;
	s->query_n++;
	if (o->conn)
		dns_tcp_hold(o->conn);
	return p;
}

/* The sandbox and its connection forget the query: what happens to them does not concern it any more. */
static void query_unlink(struct gate_dns_query *p)
{
	*p->link = p->next;
	if (p->next)
		p->next->link = p->link;
	p->sandbox->query_n--;
}

/* Takes an unlinked one. */
static void query_end(struct gate_dns_query *p)
{
	struct gate_sandbox *s = p->sandbox;
	struct dns_conn *conn = p->origin.conn;
	struct gate *g = p->g;

	if (p->resolve)
		gate_resolve_cancel(p->resolve);
	free(p);
	gate_sandbox_unused(g, s);
	/* Last: the connection may go on to its next query. */
	if (conn)
		dns_tcp_release(conn);
}

static void query_free(struct gate_dns_query *p)
{
	query_unlink(p);
	query_end(p);
}

void gate_dns_forget(struct gate *g, struct gate_sandbox *s)
{
	dns_tcp_close_all(g->dns, s);
	while (s->queries)
		query_free(s->queries);
}

void dns_drop_conn(struct gate_sandbox *s, const struct dns_conn *c)
{
	for (struct gate_dns_query *p = s->queries; p; p = p->next) {
		if (p->origin.conn != c)
			continue;
		p->origin.conn = NULL;
		p->orphan = true;
	}
}

/* Answers. */

static bool pin_fails_for_test(void)
{
#ifdef DECLAW_TEST_HOOKS
	const char *v = getenv("DECLAW_TEST_PIN_FAIL");

	return v && strcmp(v, "1") == 0;
#else
	return false;
#endif
}

static bool pin_all(struct gate_dns_query *p, const struct dw_addr *addr, size_t n, uint32_t ttl)
{
	uint64_t expires_ms = p->g->loop.now_ms + 1000u * (uint64_t)DW_MAX(ttl, 1u);
	bool ok = true;

	for (size_t i = 0; i < n; i++) {
		if (pin_fails_for_test() || !dw_pins_add(p->sandbox->pins, p->name, &addr[i], expires_ms))
			ok = false;
	}
	return ok;
}

static void answer_addresses(struct gate_dns_query *p, const struct gate_resolve_result *r,
			     const struct dw_decision *allowed)
{
	const struct dw_dns_answer *a = r->answer;
	struct dw_addr keep[DW_DNS_ANSWER_MAX];
	const struct dw_addr *withheld = NULL;
	struct dw_dns_reply reply = { .rcode = r->rcode, .ttl = DW_MIN(r->ttl, TTL_MAX), .addr = keep, .ede = -1 };
	struct dw_decision d = refusal(DW_REASON_NONE);

	for (size_t i = 0; i < a->addr_n; i++) {
		enum dw_reason why = dw_decide_answer(p->sandbox->policy, &p->g->floor, &a->addr[i]);

		if (why == DW_REASON_NONE) {
			keep[reply.addr_n++] = a->addr[i];
		} else if (!withheld) {
			withheld = &a->addr[i];
			d.reason = why;
		}
	}
	if (withheld && reply.addr_n == 0) {
		refuse(p->g, p->sandbox, &p->origin, &p->q, p->name, withheld, &d, DW_DNS_NOERROR, EDE_FILTERED);
		return;
	}
	/* Opened by a narrow entry, a connection needs the pin; by "everything" or the default it passes without. */
	if (!pin_all(p, keep, reply.addr_n, reply.ttl) && allowed->inspect == DW_INSPECT_STRICT) {
		d = refusal(DW_REASON_PIN_LIMIT);
		refuse(p->g, p->sandbox, &p->origin, &p->q, p->name, NULL, &d, DW_DNS_SERVFAIL, EDE_OTHER);
		return;
	}
	send_reply(p->g, &p->origin, &p->q, &reply);
}

static struct dw_decision decide(const struct gate *g, const struct gate_sandbox *s, const char *name)
{
	return dw_decide_observed(s->policy, &g->floor, NULL, dw_decide_query(s->policy, name));
}

static void answer(struct gate_dns_query *p, const struct gate_resolve_result *r)
{
	struct dw_decision d = decide(p->g, p->sandbox, p->name);

	if (d.verdict == DW_DENY) {
		refuse(p->g, p->sandbox, &p->origin, &p->q, p->name, NULL, &d, DW_DNS_REFUSED, EDE_PROHIBITED);
		return;
	}
	if (r->status != GATE_RESOLVE_OK) {
		d = refusal(DW_REASON_RESOLVER_FAILED);
		refuse(p->g, p->sandbox, &p->origin, &p->q, p->name, NULL, &d, DW_DNS_SERVFAIL, EDE_NETWORK);
		return;
	}
	if (p->q.qtype == DW_DNS_HTTPS) {
		const struct dw_dns_reply reply = { .rcode = r->rcode,
						    .ttl = DW_MIN(r->ttl, TTL_MAX),
						    .https = r->https,
						    .https_n = r->https_n,
						    .ede = -1 };

		send_reply(p->g, &p->origin, &p->q, &reply);
		return;
	}
	answer_addresses(p, r, &d);
}

static void on_resolved(void *arg, const struct gate_resolve_result *r)
{
	struct gate_dns_query *p = arg;

	p->resolve = NULL;
	/* First: writing the answer can find the connection dead, and that frees the queries it has. */
	query_unlink(p);
	if (!p->orphan)
		answer(p, r);
	query_end(p);
}

/* Queries. */

static bool is_localhost(const char *name)
{
	static const char word[] = "localhost";
	size_t n = strlen(name);
	size_t word_n = sizeof(word) - 1;

	return n >= word_n && strcmp(name + n - word_n, word) == 0 && (n == word_n || name[n - word_n - 1] == '.');
}

/* RFC 6761 section 6.3: never asked of anybody, and always the client itself. */
static void answer_localhost(struct gate *g, const struct dns_origin *o, const struct dw_dns_query *q)
{
	const uint8_t v4[4] = { 127, 0, 0, 1 };
	const uint8_t v6[16] = { [15] = 1 };
	const struct dw_addr addr = q->qtype == DW_DNS_A ? dw_addr_from4(v4) : dw_addr_from6(v6);
	const struct dw_dns_reply reply = { .ttl = LOCALHOST_TTL, .addr = &addr, .addr_n = 1, .ede = -1 };

	if (q->qtype == DW_DNS_A || q->qtype == DW_DNS_AAAA)
		send_reply(g, o, q, &reply);
	else
		send_code(g, o, q, DW_DNS_NXDOMAIN, -1, NULL);
}

/* NONE, or why this allowed name can not go upstream now. */
static enum dw_reason limit_of(struct gate *g, struct gate_sandbox *s, const char *name, uint32_t rule)
{
	if (s->query_n >= GATE_DNS_PENDING_PER_SANDBOX)
		return DW_REASON_LIMIT_DNS_RATE;
	if (s->query_n >= gate_limit_share(GATE_RESOLVE_SLOTS, gate_resolves_outstanding(g)))
		return DW_REASON_GATE_RESOURCES;
	return gate_limit_name(g, s, name, rule);
}

static void ask(struct gate *g, struct gate_sandbox *s, const struct dns_origin *o, const struct dw_dns_query *q,
		const char *name, uint32_t rule)
{
	struct dw_decision limit = refusal(limit_of(g, s, name, rule));
	struct gate_dns_query *p;

	if (limit.reason == DW_REASON_NONE) {
		p = query_new(g, s, o, q, name);
		if (p)
			p->resolve = gate_resolve_start(g, name, q->qtype, on_resolved, p);
		if (p && p->resolve)
			return;
		if (p)
			query_free(p);
		limit = refusal(DW_REASON_GATE_RESOURCES);
	}
	if (limit.reason == DW_REASON_GATE_RESOURCES)
		refuse(g, s, o, q, name, NULL, &limit, DW_DNS_SERVFAIL, EDE_OTHER);
	else
		refuse(g, s, o, q, name, NULL, &limit, DW_DNS_REFUSED, EDE_PROHIBITED);
}

/* Types that go upstream. The rest is a way to carry data (TXT, NULL, ...) or of no use without it. */
static bool is_asked_upstream(const struct gate_sandbox *s, uint16_t qtype)
{
	/* Without an IPv6 address of its own a sandbox can not use any: no answer is quicker than a dead one. */
	if (qtype == DW_DNS_AAAA)
		return s->addr6.family != DW_AF_NONE;
	return qtype == DW_DNS_A || qtype == DW_DNS_HTTPS || !dw_defended(DW_DEFENCE_DNS_TYPES);
}

static void malformed(struct gate *g, struct gate_sandbox *s, const struct dns_origin *o, bool has_id, uint16_t id)
{
	const struct dw_decision d = refusal(DW_REASON_DNS_MALFORMED);
	uint8_t out[12];
	size_t n = has_id ? dw_dns_formerr_build(id, out, sizeof(out)) : 0;

	record(g, s, NULL, 0, NULL, &d);
	if (n > 0 && o->conn)
		dns_tcp_send(o->conn, out, n);
	else if (n > 0)
		dns_udp_send(o, out, n);
}

/* The sandbox asks too fast. One kind of record for all of it, whatever is asked. */
static void over_rate(struct gate *g, struct gate_sandbox *s, const struct dns_origin *o, const void *msg, size_t n)
{
	const struct dw_decision d = refusal(DW_REASON_LIMIT_DNS_RATE);
	struct dw_dns_query q = { 0 };
	bool has_id = false;
	char text[512];

	dns_record_limit(g, s, d.reason);
	/* Over UDP a query may get lost, so most of a flood can be dropped; who asks a little too fast is told. */
	if (!o->conn && !dw_bucket_take(&s->refusal_rate, s->limits.dns_per_second, g->loop.now_ms))
		return;
	if (o->conn)
		dns_tcp_last(o->conn);
	if (dw_dns_query_parse(msg, n, &q, &has_id) == DW_PARSE_OK)
		send_code(g, o, &q, DW_DNS_REFUSED, EDE_PROHIBITED,
			  dw_explain(s->policy, &d, "The query", text, sizeof(text)));
}

static void judge(struct gate *g, struct gate_sandbox *s, const struct dns_origin *o, const struct dw_dns_query *q,
		  const char *name)
{
	const struct dw_decision d = decide(g, s, name);

	if (d.verdict == DW_DENY) {
		refuse(g, s, o, q, name, NULL, &d, DW_DNS_REFUSED, EDE_PROHIBITED);
		return;
	}
	/* Allowed lookups are not recorded: the flows that follow are. Of a sandbox that is observed, everything is. */
	if (dw_policy_observes(s->policy))
		record(g, s, name, q->qtype, NULL, &d);
	if (is_asked_upstream(s, q->qtype))
		ask(g, s, o, q, name, d.rule);
	else
		send_code(g, o, q, DW_DNS_NOERROR, -1, NULL);
}

void dns_handle(struct gate *g, struct gate_sandbox *s, const struct dns_origin *o, const void *msg, size_t n)
{
	struct dw_dns_query q = { 0 };
	char name[DW_HOST_SIZE];
	bool has_id = false;
	struct dw_decision d;

	if (gate_limit_query(g, s) != DW_REASON_NONE) {
		over_rate(g, s, o, msg, n);
		return;
	}
	if (dw_dns_query_parse(msg, n, &q, &has_id) != DW_PARSE_OK) {
		malformed(g, s, o, has_id, q.id);
		return;
	}
	if (q.qclass != CLASS_IN || !q.name_ok || dw_host_canon(q.qname, strlen(q.qname), name, NULL) != DW_HOST_OK) {
		d = refusal(q.qclass != CLASS_IN ? DW_REASON_DNS_MALFORMED : DW_REASON_NAME_MALFORMED);
		refuse(g, s, o, &q, q.qname, NULL, &d, DW_DNS_REFUSED, EDE_PROHIBITED);
		return;
	}
	if (is_localhost(name))
		answer_localhost(g, o, &q);
	else
		judge(g, s, o, &q, name);
}

int gate_dns_init(struct gate *g)
{
	struct gate_dns *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	d->g = g;
	g->dns = d;
	r = dns_udp_init(d);
	return r < 0 ? r : dns_tcp_init(d);
}
