/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of attached sandboxes.
 *
 * A source address is the identity of a sandbox, so a lookup by address is the gate's access check: no entry, no
 * policy, nothing passes. Three tables of chains lead to the same entries; their size is fixed, because the address
 * plan bounds the number of sandboxes and a table that grows would stall the loop.
 *
 * Life of an entry: attached (in all tables) -> detached (in none; its flows are reset and its queries cancelled at
 * once) -> freed, from a deferred call, when the last flow and query let go of it. An entry of the same id may be
 * attached again meanwhile: it is another entry with another instance number.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "gate/gate.h"
#include "gate/sandbox.h"

/* 3 * 128 KiB; chains stay short for the 10,000 sandboxes that one machine is meant for. */
#define BUCKETS 16384u

struct gate_sandbox_table {
	struct gate_sandbox *by_id[BUCKETS];
	struct gate_sandbox *by_addr4[BUCKETS];
	struct gate_sandbox *by_addr6[BUCKETS];
	uint64_t last_instance;
	uint32_t n;
};

/* What only this file needs of an entry. The public part comes first, so that one pointer is both. */
struct entry {
	struct gate_sandbox s;
	struct gate *g;
	struct dw_defer free_later;
	struct dw_bucket record_rate;
};

uint64_t gate_hash_bytes(uint64_t h, const void *p, size_t n)
{
	const uint8_t *b = p;

	while (n-- > 0) {
		h = (h ^ *b++) * UINT64_C(0x9e3779b97f4a7c15);
		h ^= h >> 29;
	}
	return h;
}

int gate_sandboxes_init(struct gate *g)
{
	if (getrandom(&g->seed, sizeof(g->seed), 0) != sizeof(g->seed))
		return -errno;
	g->sandboxes = calloc(1, sizeof(*g->sandboxes));
	return g->sandboxes ? 0 : -ENOMEM;
}

uint32_t gate_sandboxes_count(const struct gate *g)
{
	return g->sandboxes->n;
}

static struct gate_sandbox **id_bucket(struct gate *g, const char *id)
{
	uint32_t h = 2166136261u; /* FNV-1a; the daemon makes the ids, nobody else can choose them */

	for (; *id; id++)
		h = (h ^ (uint8_t)*id) * 16777619u;
	return &g->sandboxes->by_id[h % BUCKETS];
}

static struct gate_sandbox **addr_bucket(struct gate *g, const struct dw_addr *a)
{
	struct gate_sandbox **table = a->family == DW_AF_4 ? g->sandboxes->by_addr4 : g->sandboxes->by_addr6;

	return &table[dw_addr_hash(a) % BUCKETS];
}

struct gate_sandbox *gate_sandbox_by_addr(struct gate *g, const struct dw_addr *source)
{
	if (source->family == DW_AF_4) {
		for (struct gate_sandbox *s = *addr_bucket(g, source); s; s = s->next_by_addr4) {
			if (dw_addr_eq(&s->addr4, source))
				return s;
		}
	}
	if (source->family == DW_AF_6) {
		for (struct gate_sandbox *s = *addr_bucket(g, source); s; s = s->next_by_addr6) {
			if (dw_addr_eq(&s->addr6, source))
				return s;
		}
	}
	return NULL;
}

struct gate_sandbox *gate_sandbox_by_id(struct gate *g, const char *id)
{
	for (struct gate_sandbox *s = *id_bucket(g, id); s; s = s->next_by_id) {
		if (strcmp(s->id, id) == 0)
			return s;
	}
	return NULL;
}

static void link_in(struct gate *g, struct gate_sandbox *s)
{
	struct gate_sandbox **b = id_bucket(g, s->id);

	s->next_by_id = *b;
	*b = s;
	if (s->addr4.family == DW_AF_4) {
		b = addr_bucket(g, &s->addr4);
		s->next_by_addr4 = *b;
		*b = s;
	}
	if (s->addr6.family == DW_AF_6) {
		b = addr_bucket(g, &s->addr6);
		s->next_by_addr6 = *b;
		*b = s;
	}
	g->sandboxes->n++;
}

static void link_out(struct gate *g, struct gate_sandbox *s)
{
	struct gate_sandbox **p;

	for (p = id_bucket(g, s->id); *p != s;)
		p = &(*p)->next_by_id;
	*p = s->next_by_id;
	if (s->addr4.family == DW_AF_4) {
		for (p = addr_bucket(g, &s->addr4); *p != s;)
			p = &(*p)->next_by_addr4;
		*p = s->next_by_addr4;
	}
	if (s->addr6.family == DW_AF_6) {
		for (p = addr_bucket(g, &s->addr6); *p != s;)
			p = &(*p)->next_by_addr6;
		*p = s->next_by_addr6;
	}
	g->sandboxes->n--;
}

static void policy_drop(void *image, size_t image_n, struct dw_policy *policy)
{
	/* The policy reads the image as long as it is open. */
	if (policy)
		dw_policy_close(policy);
	if (image)
		munmap(image, image_n);
}

static void entry_free(struct entry *e)
{
	policy_drop(e->s.image, e->s.image_n, e->s.policy);
	if (e->s.pins)
		dw_pins_free(e->s.pins);
	dw_name_window_done(&e->s.names);
	free(e);
}

static int check_free(struct gate *g, const char *id, const struct dw_addr *addr4, const struct dw_addr *addr6,
		      struct dw_err *err)
{
	char text[DW_ADDR_STRLEN];

	if (strlen(id) >= sizeof(((struct gate_sandbox *)NULL)->id))
		return dw_err_set(err, DW_ERR_INVALID, "bad_request", "the sandbox id is too long");
	if (gate_sandbox_by_id(g, id))
		return dw_err_set(err, DW_ERR_CONFLICT, "exists", "sandbox %s is attached already", id);
	if (gate_sandbox_by_addr(g, addr4))
		return dw_err_set(err, DW_ERR_CONFLICT, "exists", "address %s is attached already",
				  dw_addr_format(addr4, text));
	if (gate_sandbox_by_addr(g, addr6))
		return dw_err_set(err, DW_ERR_CONFLICT, "exists", "address %s is attached already",
				  dw_addr_format(addr6, text));
	return 0;
}

int gate_sandbox_attach(struct gate *g, const char *id, const struct dw_addr *addr4, const struct dw_addr *addr6,
			uint64_t generation, const struct dw_limits *limits, void *image, size_t image_n,
			struct dw_policy *policy, struct dw_err *err)
{
	struct entry *e;

	if (check_free(g, id, addr4, addr6, err) < 0) {
		policy_drop(image, image_n, policy);
		return -1;
	}
	e = calloc(1, sizeof(*e));
	if (!e) {
		policy_drop(image, image_n, policy);
		return dw_err_errno(err, ENOMEM, "attaching sandbox %s", id);
	}
	e->g = g;
	e->s.record_rate = &e->record_rate;
	e->s.image = image;
	e->s.image_n = image_n;
	e->s.policy = policy;
	e->s.addr4 = *addr4;
	e->s.addr6 = *addr6;
	e->s.generation = generation;
	e->s.limits = *limits;
	dw_limits_fill(&e->s.limits);
	e->s.instance = ++g->sandboxes->last_instance;
	snprintf(e->s.id, sizeof(e->s.id), "%s", id);
	e->s.pins = dw_pins_new();
	if (!e->s.pins) {
		entry_free(e);
		return dw_err_errno(err, ENOMEM, "attaching sandbox %s", id);
	}
	link_in(g, &e->s);
	return 0;
}

int gate_sandbox_update(struct gate *g, struct gate_sandbox *s, uint64_t generation, const struct dw_limits *limits,
			void *image, size_t image_n, struct dw_policy *policy)
{
	void *old_image = s->image;
	size_t old_image_n = s->image_n;
	struct dw_policy *old_policy = s->policy;

	/* New connections see the new policy first, then the live ones are judged by it: no gap between the two. */
	s->image = image;
	s->image_n = image_n;
	s->policy = policy;
	s->generation = generation;
	s->limits = *limits;
	dw_limits_fill(&s->limits);
	gate_flows_rejudge(g, s);
	gate_udp_rejudge(g, s);
	policy_drop(old_image, old_image_n, old_policy);
	return 0;
}

static bool in_use(const struct gate_sandbox *s)
{
	return s->flows || s->udp_flows || s->flow_n || s->half_open_n || s->queries || s->query_n || s->dns_tcp_n;
}

static void free_deferred(void *arg)
{
	struct entry *e = arg;

	if (!in_use(&e->s))
		entry_free(e);
}

void gate_sandbox_unused(struct gate *g, struct gate_sandbox *s)
{
	struct entry *e = (struct entry *)s;

	if (s->detached && !in_use(s))
		dw_defer(&g->loop, &e->free_later, free_deferred, e);
}

void gate_sandbox_detach(struct gate *g, struct gate_sandbox *s)
{
	if (s->detached)
		return;
	link_out(g, s);
	s->detached = true;
	gate_flows_close_all(g, s);
	gate_udp_close_all(g, s);
	gate_dns_forget(g, s);
	gate_sandbox_unused(g, s);
}
