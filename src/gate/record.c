/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decision records: what was decided, for whom, by which rule, as events for the daemon.
 *
 * A sandbox can cause decisions as fast as it can send packets, so they are merged. A kind is (sandbox, protocol, address,
 * port, name, verdict and reason, decision or end). The number of kinds is bounded too, per sandbox, so that a port scan in
 * one sandbox hides nothing of another, and apart for what is refused and what is allowed, so that neither hides the
 * other: what is over the bound is counted under (sandbox, protocol, verdict and reason) alone. Past the first of a kind a
 * record costs a hash lookup and a counter, and nothing goes uncounted.
 *
 * Refusals, and lookups that a policy only observes: the first of a kind is sent at once (a reader sees it while the
 * client still waits), its repeats within the window are counted and sent as one event at the window's end.
 *
 * Allowed flows are of interest one by one, with what each of them carried. Every sandbox may have so many a second; the
 * decisions past that are merged like refusals. A flow whose decision was sent alone has its end sent alone too, under the
 * same number; the ends of the others are merged, and what those flows carried is added up. So over all ends the bytes
 * are those of all flows.
 *
 * The text of an event is made when its kind is first seen and kept, so a window may end after its sandbox or policy
 * did.
 */
#include "gate/record.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "sys/clock.h"

#define WINDOW_MS 1000u
#define BUCKETS   4096u
/* Kinds that one sandbox has in a window of each class, and all of them together; about 1 KiB each. */
#define KINDS_PER_SANDBOX 256u
#define KINDS_MAX         16384u
/* Refused kinds that a sandbox has even past KINDS_MAX: the floods of many others hide none of its first ones. */
#define KINDS_ASSURED 8u
/* Past KINDS_MAX a sandbox still has its sums: what its flows carried must be found under its name. */
#define KINDS_AND_SUMS_MAX 32768u
/* Allowed flows of one sandbox that are recorded one by one: a second, saved up for two. */
#define FLOWS_PER_SECOND 50u
/* Flows that were recorded alone and have not ended; a power of two, at most half of it is used. */
#define ALONE_SLOTS 65536u
static_assert(ALONE_SLOTS / 2 > GATE_FLOWS_MAX, "every flow there is fits");

enum class {
	CLASS_REFUSED = 0,
	CLASS_ALLOWED,
	CLASS__COUNT,
};

/* What is counted when memory is out or all tables are full. */
enum uncounted {
	UNCOUNTED_REFUSED = 0,
	UNCOUNTED_ALLOWED,
	UNCOUNTED_ENDED,
	UNCOUNTED__COUNT,
};

/* How many kinds one sandbox (or one unknown source) has now. */
struct tenant {
	struct tenant *next;
	uint64_t instance;
	struct dw_addr source;
	uint32_t n[CLASS__COUNT];
};

struct kind {
	struct kind *next;  /* in its bucket */
	struct kind *later; /* in order of age */
	struct tenant *tenant;
	struct gate_record_key key;
	uint64_t end_ms; /* of its window */
	int64_t last_us; /* wall clock of the last repeat */
	struct gate_record_sums repeats;
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
	struct gate_record_sums uncounted[UNCOUNTED__COUNT];
	uint64_t alone[ALONE_SLOTS]; /* open addressing, 0 = free */
	uint32_t alone_n;
};

/* Sums. */

static enum class class_of(const struct gate_record_key *k) {
	return k->verdict == DW_DENY && !k->closed ? CLASS_REFUSED : CLASS_ALLOWED;
}

static void add(struct gate_record_sums *t, const struct gate_record_sums *more)
{
	t->count += more->count;
	t->bytes_out += more->bytes_out;
	t->bytes_in += more->bytes_in;
	t->duration_ms += more->duration_ms;
}

static struct gate_record_sums sums_of(const struct gate_record *r)
{
	return (struct gate_record_sums){ .count = 1,
					  .bytes_out = r->bytes_out,
					  .bytes_in = r->bytes_in,
					  .duration_ms = r->duration_ms,
					  .closed = r->closed };
}

static void uncounted(struct gate_records *t, const struct gate_record_key *k, const struct gate_record_sums *s)
{
	const enum uncounted u = k->closed               ? UNCOUNTED_ENDED
				 : k->verdict == DW_DENY ? UNCOUNTED_REFUSED
							 : UNCOUNTED_ALLOWED;

	add(&t->uncounted[u], s);
}

/* False: memory is out, nothing was sent. */
static bool emit(struct gate *g, const char *common, int64_t wall_us, const struct gate_record_sums *t)
{
	size_t n = 0;
	dw_autofree char *json = gate_record_event(common, wall_us, t, &n);

	if (json)
		gate_control_event(g, json, n);
	return json != NULL;
}

/* Flows that were recorded alone. */

static uint32_t alone_slot(uint64_t id)
{
	return (uint32_t)((id * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (ALONE_SLOTS - 1);
}

static uint32_t alone_find(const struct gate_records *t, uint64_t id)
{
	uint32_t i = alone_slot(id);

	while (t->alone[i] && t->alone[i] != id)
		i = (i + 1) & (ALONE_SLOTS - 1);
	return i;
}

static void alone_add(struct gate_records *t, uint64_t id)
{
	uint32_t i;

	if (id == 0)
		return;
	/* Only if flows did not end: then the ends of those there are get counted together. */
	if (t->alone_n >= ALONE_SLOTS / 2) {
		memset(t->alone, 0, sizeof(t->alone));
		t->alone_n = 0;
	}
	i = alone_find(t, id);
	t->alone_n += t->alone[i] == 0;
	t->alone[i] = id;
}

/* Whether it was there; it is not any more. */
static bool alone_take(struct gate_records *t, uint64_t id)
{
	uint32_t hole = id ? alone_find(t, id) : 0;

	if (id == 0 || t->alone[hole] == 0)
		return false;
	t->alone[hole] = 0;
	t->alone_n--;
	/* What was pushed past the hole moves up, or it would not be found any more. */
	for (uint32_t i = (hole + 1) & (ALONE_SLOTS - 1); t->alone[i]; i = (i + 1) & (ALONE_SLOTS - 1)) {
		const uint32_t home = alone_slot(t->alone[i]);

		if (((i - home) & (ALONE_SLOTS - 1)) < ((i - hole) & (ALONE_SLOTS - 1)))
			continue;
		t->alone[hole] = t->alone[i];
		t->alone[i] = 0;
		hole = i;
	}
	return true;
}

/* Kinds. */

/* Keyed: a sandbox chooses addresses, ports and names, and must not choose the bucket. */
static uint64_t tenant_hash(const struct gate_records *t, const struct gate_record_key *k)
{
	return gate_hash_bytes(t->g->seed ^ k->instance, k->source.b, sizeof(k->source.b));
}

static uint64_t key_hash(const struct gate_records *t, const struct gate_record_key *k)
{
	const uint32_t numbers[] = { (uint32_t)k->proto,
				     (uint32_t)k->verdict,
				     (uint32_t)k->reason,
				     (uint32_t)k->would,
				     k->port,
				     k->closed,
				     k->rest };
	uint64_t h = tenant_hash(t, k);

	h = gate_hash_bytes(h, numbers, sizeof(numbers));
	h = gate_hash_bytes(h, k->addr.b, sizeof(k->addr.b));
	return gate_hash_bytes(h, k->name, strlen(k->name));
}

static bool key_eq(const struct gate_record_key *a, const struct gate_record_key *b)
{
	return a->instance == b->instance && a->proto == b->proto && a->verdict == b->verdict &&
	       a->reason == b->reason && a->would == b->would && a->port == b->port && a->closed == b->closed &&
	       a->rest == b->rest && dw_addr_eq(&a->source, &b->source) && dw_addr_eq(&a->addr, &b->addr) &&
	       strcmp(a->name, b->name) == 0;
}

static struct kind *find(struct gate_records *t, const struct gate_record_key *k)
{
	for (struct kind *e = t->bucket[key_hash(t, k) % BUCKETS]; e; e = e->next) {
		if (key_eq(&e->key, k))
			return e;
	}
	return NULL;
}

static struct tenant **tenant_slot(struct gate_records *t, const struct gate_record_key *k)
{
	struct tenant **p = &t->tenants[tenant_hash(t, k) % BUCKETS];

	while (*p && !((*p)->instance == k->instance && dw_addr_eq(&(*p)->source, &k->source)))
		p = &(*p)->next;
	return p;
}

static struct tenant *tenant_get(struct gate_records *t, const struct gate_record_key *k)
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

static void tenant_put(struct gate_records *t, struct tenant *n, const struct gate_record_key *k)
{
	struct tenant **p;

	for (size_t i = 0; i < CLASS__COUNT; i++) {
		if (n->n[i] > 0)
			return;
	}
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

/* Takes common. */
static struct kind *kind_add(struct gate_records *t, const struct gate_record_key *k, struct tenant *tenant,
			     char *common)
{
	struct kind *e = calloc(1, sizeof(*e));
	struct kind **b = &t->bucket[key_hash(t, k) % BUCKETS];
	uint64_t end_ms = t->g->loop.now_ms + WINDOW_MS;

	if (!e || (!t->oldest && dw_timer_set(&t->g->loop, &t->timer, end_ms, on_window_end, t) < 0)) {
		free(e);
		free(common);
		return NULL;
	}
	e->key = *k;
	e->repeats.closed = k->closed;
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
	tenant->n[class_of(k)]++;
	t->n++;
	return e;
}

static void kind_end(struct gate_records *t, struct kind *e)
{
	struct kind **p = &t->bucket[key_hash(t, &e->key) % BUCKETS];

	while (*p != e)
		p = &(*p)->next;
	*p = e->next;
	t->oldest = e->later;
	if (!t->oldest)
		t->newest = NULL;
	t->n--;
	e->tenant->n[class_of(&e->key)]--;
	tenant_put(t, e->tenant, &e->key);
	if (e->repeats.count && !emit(t->g, e->common, e->last_us, &e->repeats))
		uncounted(t, &e->key, &e->repeats);
	kind_free(e);
}

static void say_uncounted(struct gate_records *t)
{
#define OF_NOBODY "\"sandbox\":null,\"proto\":\"other\",\"reason\":\"gate_resources\",\"verdict\":"
#define TOO_MANY  " of several sandboxes were too many to be recorded one by one.\""
	static const char *const common[UNCOUNTED__COUNT] = {
		[UNCOUNTED_REFUSED] = OF_NOBODY "\"deny\",\"message\":\"Refusals" TOO_MANY,
		[UNCOUNTED_ALLOWED] = OF_NOBODY "\"allow\",\"message\":\"Decisions" TOO_MANY,
		[UNCOUNTED_ENDED] = OF_NOBODY "\"allow\",\"message\":\"Flows" TOO_MANY,
	};

	for (size_t i = 0; i < UNCOUNTED__COUNT; i++) {
		struct gate_record_sums *s = &t->uncounted[i];

		s->closed = i == UNCOUNTED_ENDED;
		if (s->count && emit(t->g, common[i], dw_clock_wall_us(), s))
			*s = (struct gate_record_sums){ 0 };
	}
}

static void on_window_end(void *arg)
{
	struct gate_records *t = arg;

	say_uncounted(t);
	while (t->oldest && t->oldest->end_ms <= t->g->loop.now_ms)
		kind_end(t, t->oldest);
	/* Can not fail: a timer that just ran leaves its place in the heap. */
	if (t->oldest)
		DW_IGNORE(dw_timer_set(&t->g->loop, &t->timer, t->oldest->end_ms, on_window_end, t));
}

/* Records. */

static struct gate_record_key key_of(const struct gate_record *r)
{
	struct gate_record_key k = { .instance = r->sandbox ? r->sandbox->instance : 0,
				     .addr = r->addr,
				     .proto = r->proto,
				     .verdict = r->decision.verdict == DW_DENY ? DW_DENY : DW_ALLOW,
				     .reason = r->decision.reason,
				     .would = r->decision.would,
				     .port = r->port,
				     .closed = r->closed };

	if (!r->sandbox)
		k.source = r->source;
	if (r->name)
		gate_record_escape(r->name, k.name, sizeof(k.name));
	return k;
}

static void count(struct kind *e, const struct gate_record_sums *s)
{
	e->last_us = dw_clock_wall_us();
	add(&e->repeats, s);
}

/* An event of its own. False: memory is out. */
static bool emit_alone(struct gate *g, const struct gate_record *r, const char *common)
{
	struct gate_record_sums s = sums_of(r);

	if (r->decision.verdict != DW_DENY || r->closed)
		s.flow = r->flow;
	return emit(g, common, dw_clock_wall_us(), &s);
}

static bool is_full(const struct gate_records *t, const struct tenant *tenant, enum class class)
{
	const uint32_t n = tenant->n[class];

	return n >= KINDS_PER_SANDBOX || (t->n >= KINDS_MAX && (class != CLASS_REFUSED || n >= KINDS_ASSURED));
}

/*
 * A kind for this record: its own, or the one of everything over the bound. NULL: no room, or memory is out. at_once: the
 * first of a kind is an event of its own; *ret_said: it was, and there is nothing to count.
 */
static struct kind *kind_new(struct gate_records *t, const struct gate_record *r, struct gate_record_key *k,
			     bool at_once, bool *ret_said)
{
	struct tenant *tenant = t->n < KINDS_MAX || (r->sandbox && t->n < KINDS_AND_SUMS_MAX) ? tenant_get(t, k) : NULL;
	struct kind *e = NULL;
	char *common;

	if (!tenant)
		return NULL;
	if (is_full(t, tenant, class_of(k))) {
		k->rest = true;
		k->addr = (struct dw_addr){ 0 };
		k->port = 0;
		k->name[0] = '\0';
		e = find(t, k);
		if (e)
			return e;
	}
	common = gate_record_common(k, r->sandbox, &r->decision);
	if (common) {
		*ret_said = at_once && !k->rest && emit_alone(t->g, r, common);
		e = kind_add(t, k, tenant, common); /* takes common */
	}
	if (!e)
		tenant_put(t, tenant, k);
	return e;
}

static void merge(struct gate_records *t, const struct gate_record *r, struct gate_record_key *k, bool at_once)
{
	const struct gate_record_sums s = sums_of(r);
	struct kind *e = find(t, k);
	bool said = false;

	if (!e)
		e = kind_new(t, r, k, at_once, &said);
	if (said)
		return;
	/* What is not counted here is said with the next window; there is one, unless memory is out altogether. */
	if (e)
		count(e, &s);
	else
		uncounted(t, k, &s);
}

static bool may_be_alone(struct gate_records *t, const struct gate_record *r)
{
	if (r->closed)
		return alone_take(t, r->flow);
	return r->sandbox && dw_bucket_take(r->sandbox->record_rate, FLOWS_PER_SECOND, t->g->loop.now_ms);
}

void gate_record(struct gate *g, const struct gate_record *r)
{
	struct gate_records *t = g->records;
	struct gate_record_key k = key_of(r);
	const bool flow = r->proto != DW_PROTO_DNS && class_of(&k) == CLASS_ALLOWED;

	if (flow && may_be_alone(t, r)) {
		dw_autofree char *common = gate_record_common(&k, r->sandbox, &r->decision);

		if (common && emit_alone(g, r, common)) {
			if (!r->closed)
				alone_add(t, r->flow);
			return;
		}
	}
	merge(t, r, &k, !flow);
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
