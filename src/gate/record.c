/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decision records: what was decided, for whom, by which rule, as events for the daemon.
 *
 * A sandbox can cause refusals as fast as it can send packets, so they are merged: the first of a kind is sent at
 * once (a reader sees it while the client still waits), its repeats within the window are counted and sent as one
 * event at the window's end. A kind is (sandbox, protocol, address, port, name, reason). The number of kinds is
 * bounded too, per sandbox, so that a port scan in one sandbox hides nothing of another: what is over the bound is
 * counted under (sandbox, protocol, reason) alone. Past the first of a kind a refusal costs a hash lookup and a
 * counter, and no refusal goes uncounted.
 *
 * The text of an event is made when its kind is first seen and kept, so a window may end after its sandbox or policy
 * did.
 *
 * Allowed flows are not merged: their number is bounded by the limits on flows.
 */
#include "gate/record.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define WINDOW_MS 1000u
#define BUCKETS   4096u
/* Kinds that one sandbox has in a window, and all of them together; about 1 KiB each. */
#define KINDS_PER_SANDBOX 256u
#define KINDS_MAX         16384u
#define NAME_TEXT         320 /* 253 characters and some escapes; hostile names are cut */

struct key {
	uint64_t instance; /* 0: source says who */
	struct dw_addr source, addr;
	enum dw_proto proto;
	enum dw_reason reason;
	uint16_t port;
	bool rest; /* stands for all kinds over the bound: addr, port and name are unset */
	char name[NAME_TEXT];
};

/* How many kinds one sandbox (or one unknown source) has now. */
struct tenant {
	struct tenant *next;
	uint64_t instance;
	struct dw_addr source;
	uint32_t n;
};

struct kind {
	struct kind *next;  /* in its bucket */
	struct kind *later; /* in order of age */
	struct tenant *tenant;
	struct key key;
	uint64_t end_ms; /* of its window */
	double last;     /* wall clock of the last repeat */
	uint64_t repeats, bytes_out, bytes_in, duration_ms;
	char *common; /* JSON members that all its events share, without braces */
};

struct gate_records {
	struct gate *g;
	struct dw_timer timer;
	struct kind *bucket[BUCKETS];
	struct tenant *tenants[BUCKETS];
	struct kind *oldest, *newest;
	uint32_t n;
	uint64_t last_flow;
	uint64_t unrecorded; /* refusals since the last flush that not even a counter of their own was found for */
};

static const char *const proto_words[] = {
	[DW_PROTO_NONE] = "other", [DW_PROTO_TCP] = "tcp", [DW_PROTO_UDP] = "udp",
	[DW_PROTO_ICMP] = "icmp",  [DW_PROTO_DNS] = "dns", [DW_PROTO_OTHER] = "other",
};

static const char *proto_word(enum dw_proto proto)
{
	return (size_t)proto < DW_COUNT(proto_words) ? proto_words[proto] : "other";
}

static double wall_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

void gate_record_escape(const char *s, char *out, size_t size)
{
	size_t n = 0;

	for (; *s; s++) {
		bool plain = *s >= ' ' && *s <= '~' && *s != '\\';

		/* Room for the longest piece, dots and NUL. */
		if (n + 4 + 3 + 1 > size) {
			memcpy(out + n, "...", 3);
			n += 3;
			break;
		}
		if (plain)
			out[n++] = *s;
		else
			n += (size_t)snprintf(out + n, size - n, "\\x%02x", (unsigned)(uint8_t)*s);
	}
	out[n] = '\0';
}

const char *gate_record_qtype(uint16_t qtype, char buf[static 16])
{
	static const struct {
		uint16_t type;
		const char *name;
	} known[] = {
		{ 1, "A" },       { 2, "NS" },    { 5, "CNAME" },  { 6, "SOA" },   { 10, "NULL" },  { 12, "PTR" },
		{ 15, "MX" },     { 16, "TXT" },  { 28, "AAAA" },  { 33, "SRV" },  { 35, "NAPTR" }, { 43, "DS" },
		{ 48, "DNSKEY" }, { 64, "SVCB" }, { 65, "HTTPS" }, { 255, "ANY" },
	};

	for (size_t i = 0; i < DW_COUNT(known); i++) {
		if (known[i].type == qtype)
			return known[i].name;
	}
	snprintf(buf, 16, "TYPE%u", qtype);
	return buf;
}

/* "example.com (1.2.3.4:443/tcp)", or what there is of it. */
static void describe(const struct key *k, char *buf, size_t size)
{
	char addr[DW_ADDR_STRLEN];
	char where[DW_ADDR_STRLEN + 24] = "";
	bool v6 = k->addr.family == DW_AF_6;

	dw_addr_format(&k->addr, addr);
	if (k->addr.family == DW_AF_NONE)
		;
	else if (k->proto == DW_PROTO_TCP || k->proto == DW_PROTO_UDP)
		snprintf(where, sizeof(where), "%s%s%s:%u/%s", v6 ? "[" : "", addr, v6 ? "]" : "", k->port,
			 proto_word(k->proto));
	else if (k->proto == DW_PROTO_DNS)
		snprintf(where, sizeof(where), "%s", addr);
	else
		snprintf(where, sizeof(where), "%s/%s", addr, proto_word(k->proto));
	if (k->name[0] && where[0])
		snprintf(buf, size, "%s (%s)", k->name, where);
	else if (k->name[0] || where[0])
		snprintf(buf, size, "%s%s", k->name, where);
	else
		snprintf(buf, size, "%s", k->proto == DW_PROTO_DNS ? "A DNS query" : "Traffic");
}

static void message_of(const struct key *k, const struct dw_policy *policy, const struct dw_decision *d, char *buf,
		       size_t size)
{
	char what[NAME_TEXT + DW_ADDR_STRLEN + 32];

	if (k->rest) {
		snprintf(buf, size, "More was refused than is recorded one by one (reason %s).",
			 dw_reason_name(k->reason));
		return;
	}
	describe(k, what, sizeof(what));
	dw_explain(policy, d, what, buf, size);
}

static void set_text(json_t *o, const char *key, const char *text)
{
	json_t *v = json_string(text);
	char plain[256];

	/* A rule may quote bytes that are not UTF-8. */
	if (!v) {
		gate_record_escape(text, plain, sizeof(plain));
		v = json_string(plain);
	}
	json_object_set_new(o, key, v);
}

/* The members that every event of this kind has. malloc'ed; NULL when memory is out. */
static char *common_of(const struct key *k, const struct gate_sandbox *s, const struct dw_decision *d)
{
	const struct dw_policy *policy = s ? s->policy : NULL;
	json_t *o = json_object();
	char text[1536];
	char *ret;

	if (!o)
		return NULL;
	json_object_set_new(o, "sandbox", s ? json_string(s->id) : json_null());
	if (!s)
		set_text(o, "source", dw_addr_format(&k->source, text));
	set_text(o, "proto", proto_word(k->proto));
	if (k->addr.family != DW_AF_NONE)
		set_text(o, "addr", dw_addr_format(&k->addr, text));
	if (k->proto == DW_PROTO_DNS && !k->rest && k->port)
		set_text(o, "qtype", gate_record_qtype(k->port, text));
	if ((k->proto == DW_PROTO_TCP || k->proto == DW_PROTO_UDP) && !k->rest)
		json_object_set_new(o, "port", json_integer(k->port));
	if (k->name[0])
		set_text(o, "name", k->name);
	set_text(o, "verdict", d->verdict == DW_DENY ? "deny" : "allow");
	set_text(o, "reason", dw_reason_name(d->reason));
	if (policy && d->rule != DW_RULE_NONE && !k->rest)
		set_text(o, "rule", dw_policy_rule_text(policy, d->rule, text, sizeof(text)));
	message_of(k, policy, d, text, sizeof(text));
	set_text(o, "message", text);
	ret = json_dumps(o, JSON_COMPACT | JSON_EMBED);
	json_decref(o);
	return ret;
}

struct sums {
	uint64_t count, bytes_out, bytes_in, duration_ms;
	bool closed;
};

static void emit(struct gate *g, const char *common, double when, const struct sums *t)
{
	char *json = NULL;
	int n = asprintf(&json,
			 "{\"event\":\"decision\",\"time\":%.6f,%s,\"count\":%llu,\"closed\":%s,\"bytes_out\":%llu,"
			 "\"bytes_in\":%llu,\"duration_ms\":%llu}",
			 when, common, (unsigned long long)t->count, t->closed ? "true" : "false",
			 (unsigned long long)t->bytes_out, (unsigned long long)t->bytes_in,
			 (unsigned long long)t->duration_ms);

	if (n < 0) {
		g->records->unrecorded += t->count;
		return;
	}
	gate_control_event(g, json, (size_t)n);
	free(json);
}

/* Kinds. */

static uint32_t hash_bytes(uint32_t h, const void *p, size_t n)
{
	const uint8_t *b = p;

	while (n-- > 0)
		h = (h ^ *b++) * 16777619u;
	return h;
}

static uint32_t tenant_hash(uint64_t instance, const struct dw_addr *source)
{
	return hash_bytes(2166136261u, &instance, sizeof(instance)) ^ dw_addr_hash(source);
}

static uint32_t key_hash(const struct key *k)
{
	const uint32_t numbers[4] = { (uint32_t)k->proto, (uint32_t)k->reason, k->port, k->rest };
	uint32_t h = tenant_hash(k->instance, &k->source);

	h = hash_bytes(h, numbers, sizeof(numbers));
	h = hash_bytes(h, k->addr.b, sizeof(k->addr.b));
	return hash_bytes(h, k->name, strlen(k->name));
}

static bool key_eq(const struct key *a, const struct key *b)
{
	return a->instance == b->instance && a->proto == b->proto && a->reason == b->reason && a->port == b->port &&
	       a->rest == b->rest && dw_addr_eq(&a->source, &b->source) && dw_addr_eq(&a->addr, &b->addr) &&
	       strcmp(a->name, b->name) == 0;
}

static struct kind *find(struct gate_records *t, const struct key *k)
{
	for (struct kind *e = t->bucket[key_hash(k) % BUCKETS]; e; e = e->next) {
		if (key_eq(&e->key, k))
			return e;
	}
	return NULL;
}

static struct tenant **tenant_slot(struct gate_records *t, const struct key *k)
{
	struct tenant **p = &t->tenants[tenant_hash(k->instance, &k->source) % BUCKETS];

	while (*p && !((*p)->instance == k->instance && dw_addr_eq(&(*p)->source, &k->source)))
		p = &(*p)->next;
	return p;
}

static struct tenant *tenant_get(struct gate_records *t, const struct key *k)
{
	struct tenant **p = tenant_slot(t, k);

	if (!*p) {
		*p = calloc(1, sizeof(**p));
		if (!*p)
			return NULL;
		(*p)->instance = k->instance;
		(*p)->source = k->source;
	}
	return *p;
}

static void tenant_put(struct gate_records *t, struct tenant *n, const struct key *k)
{
	struct tenant **p;

	if (n->n > 0)
		return;
	p = tenant_slot(t, k);
	*p = n->next;
	free(n);
}

static void kind_free(struct kind *e)
{
	free(e->common);
	free(e);
}

static void on_window_end(void *arg);

static struct kind *kind_add(struct gate_records *t, const struct key *k, struct tenant *tenant, char *common)
{
	struct kind *e = calloc(1, sizeof(*e));
	struct kind **b = &t->bucket[key_hash(k) % BUCKETS];
	uint64_t end_ms = t->g->loop.now_ms + WINDOW_MS;

	if (!e || (!t->oldest && dw_timer_set(&t->g->loop, &t->timer, end_ms, on_window_end, t) < 0)) {
		free(e);
		free(common);
		return NULL;
	}
	e->key = *k;
	e->common = common;
	e->tenant = tenant;
	e->end_ms = end_ms;
	e->next = *b;
	*b = e;
	if (t->newest)
		t->newest->later = e;
	else
		t->oldest = e;
	t->newest = e;
	tenant->n++;
	t->n++;
	return e;
}

static void kind_end(struct gate_records *t, struct kind *e)
{
	struct kind **p = &t->bucket[key_hash(&e->key) % BUCKETS];
	const struct sums s = {
		.count = e->repeats, .bytes_out = e->bytes_out, .bytes_in = e->bytes_in, .duration_ms = e->duration_ms
	};

	while (*p != e)
		p = &(*p)->next;
	*p = e->next;
	t->oldest = e->later;
	if (!t->oldest)
		t->newest = NULL;
	t->n--;
	e->tenant->n--;
	tenant_put(t, e->tenant, &e->key);
	if (e->repeats)
		emit(t->g, e->common, e->last, &s);
	kind_free(e);
}

static void say_unrecorded(struct gate_records *t)
{
	static const char common[] = "\"sandbox\":null,\"proto\":\"other\",\"verdict\":\"deny\",\"reason\":"
				     "\"gate_resources\",\"message\":\"Refusals of several sandboxes were too many to "
				     "be recorded one by one.\"";
	const struct sums s = { .count = t->unrecorded };

	if (!t->unrecorded)
		return;
	t->unrecorded = 0;
	emit(t->g, common, wall_clock(), &s);
}

static void on_window_end(void *arg)
{
	struct gate_records *t = arg;

	say_unrecorded(t);
	while (t->oldest && t->oldest->end_ms <= t->g->loop.now_ms)
		kind_end(t, t->oldest);
	/* Can not fail: a timer that just ran leaves its place in the heap. */
	if (t->oldest)
		DW_IGNORE(dw_timer_set(&t->g->loop, &t->timer, t->oldest->end_ms, on_window_end, t));
}

static void count_repeat(struct kind *e, const struct gate_record *r)
{
	e->repeats++;
	e->last = wall_clock();
	e->bytes_out += r->bytes_out;
	e->bytes_in += r->bytes_in;
	e->duration_ms = DW_MAX(e->duration_ms, r->duration_ms);
}

static struct key key_of(const struct gate_record *r)
{
	struct key k = { .instance = r->sandbox ? r->sandbox->instance : 0,
			 .addr = r->addr,
			 .proto = r->proto,
			 .reason = r->decision.reason,
			 .port = r->port };

	if (!r->sandbox)
		k.source = r->source;
	if (r->name)
		gate_record_escape(r->name, k.name, sizeof(k.name));
	return k;
}

static void emit_one(struct gate *g, const struct gate_record *r, const char *common)
{
	const struct sums s = { .count = 1,
				.bytes_out = r->bytes_out,
				.bytes_in = r->bytes_in,
				.duration_ms = r->duration_ms,
				.closed = r->closed };

	emit(g, common, wall_clock(), &s);
}

/* A refusal of a kind not seen in this window. */
static void record_new(struct gate_records *t, const struct gate_record *r, struct key *k)
{
	struct tenant *tenant = t->n < KINDS_MAX ? tenant_get(t, k) : NULL;
	struct kind *e = NULL;
	char *common;

	if (tenant && tenant->n >= KINDS_PER_SANDBOX) {
		k->rest = true;
		k->addr = (struct dw_addr){ 0 };
		k->port = 0;
		k->name[0] = '\0';
		e = find(t, k);
		if (e) {
			count_repeat(e, r);
			return;
		}
	}
	common = tenant ? common_of(k, r->sandbox, &r->decision) : NULL;
	if (common) {
		if (!k->rest)
			emit_one(t->g, r, common);
		e = kind_add(t, k, tenant, common); /* takes common */
	}
	if (e && k->rest)
		count_repeat(e, r);
	if (!e) {
		/* Said with the next window; there is one, unless memory is out altogether. */
		if (!common || k->rest)
			t->unrecorded++;
		if (tenant)
			tenant_put(t, tenant, k);
	}
}

void gate_record(struct gate *g, const struct gate_record *r)
{
	struct gate_records *t = g->records;
	struct key k = key_of(r);
	struct kind *e;
	char *common;

	if (r->decision.verdict == DW_DENY && !r->closed) {
		e = find(t, &k);
		if (e)
			count_repeat(e, r);
		else
			record_new(t, r, &k);
		return;
	}
	common = common_of(&k, r->sandbox, &r->decision);
	if (common)
		emit_one(g, r, common);
	free(common);
}

uint64_t gate_record_flow_id(struct gate *g)
{
	return ++g->records->last_flow;
}

int gate_records_init(struct gate *g)
{
	g->records = calloc(1, sizeof(*g->records));
	if (!g->records)
		return -ENOMEM;
	g->records->g = g;
	return 0;
}

void gate_records_done(struct gate *g)
{
	struct gate_records *t = g->records;

	if (!t)
		return;
	dw_timer_del(&g->loop, &t->timer);
	while (t->oldest)
		kind_end(t, t->oldest);
	free(t);
	g->records = NULL;
}
