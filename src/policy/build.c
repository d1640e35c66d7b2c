/* SPDX-License-Identifier: Apache-2.0 */
/* Writing an image: group the entries by key, make each group's port ranges disjoint, hash the keys, lay it all out. */
#include <errno.h>
#include <string.h>

#include "policy/hash.h"
#include "policy/image.h"

#define NONE UINT32_MAX
/* Seeds tried per table size, and how often the table may double, before the keys count as made to collide. */
#define SEEDS   4u
#define DOUBLES 2u

struct builder {
	const struct dw_draft *d;
	struct dw_img_header h;
	struct dw_img_slot *slots[DW_LIST__COUNT]; /* while hashing, group.first is the head of a chain of entries */
	uint32_t *next;                            /* chains of entries with one key */
	struct dw_img_range *ranges;
	struct dw_img_regex regexes[DW_POLICY_MAX_REGEX];
	uint32_t *member; /* scratch: one group's entries */
};

static bool is_keyed(const struct dw_draft_entry *e)
{
	return e->kind == DW_ENTRY_HOST || e->kind == DW_ENTRY_SUFFIX || e->kind == DW_ENTRY_PREFIX;
}

static uint64_t hash_of(const struct builder *b, const struct dw_draft_entry *e, uint64_t seed)
{
	const uint8_t *key = b->d->keys + e->key_off;
	return dw_image_key_hash(key[0], dw_hash_bytes(seed, key + 2, key[1]));
}

/* Puts entry i at the head of its key's chain. false: no free slot within the probe limit. */
static bool insert(struct builder *b, struct dw_img_slot *slots, uint32_t n, uint64_t seed, uint32_t i)
{
	const struct dw_draft_entry *e = &b->d->entries[i];
	const uint8_t *key = b->d->keys + e->key_off;
	uint64_t hash = hash_of(b, e, seed);
	uint32_t at = (uint32_t)hash & (n - 1);
	for (uint32_t probe = 0; probe < DW_IMAGE_PROBES; probe++, at = (at + 1) & (n - 1)) {
		struct dw_img_slot *s = &slots[at];
		if (s->group.n == 0) {
			*s = (struct dw_img_slot){ (uint32_t)(hash >> 32), e->key_off, { i, 1 } };
			b->next[i] = NONE;
			return true;
		}
		const uint8_t *other = b->d->keys + s->key_off;
		if (s->hash == (uint32_t)(hash >> 32) && other[1] == key[1] && memcmp(other, key, key[1] + 2u) == 0) {
			b->next[i] = s->group.first;
			s->group.first = i;
			s->group.n++;
			return true;
		}
	}
	return false;
}

static bool insert_all(struct builder *b, enum dw_list list, struct dw_img_slot *slots, uint32_t n, uint64_t seed)
{
	uint32_t from = list == DW_LIST_ALLOW ? 0 : b->d->allow_n;
	uint32_t to = list == DW_LIST_ALLOW ? b->d->allow_n : b->d->n;
	for (uint32_t i = from; i < to; i++) {
		if (is_keyed(&b->d->entries[i]) && !insert(b, slots, n, seed, i))
			return false;
	}
	return true;
}

static int hash_list(struct builder *b, enum dw_list list)
{
	uint32_t keyed = 0;
	for (uint32_t i = 0; i < b->d->n; i++)
		keyed += b->d->entries[i].list == list && is_keyed(&b->d->entries[i]);
	if (keyed == 0)
		return 0;

	uint32_t n = 4;
	while (n < keyed * 2)
		n *= 2;
	for (unsigned doubled = 0; doubled <= DOUBLES; doubled++, n *= 2) {
		for (uint64_t try = 0; try < SEEDS; try++) {
			free(b->slots[list]);
			b->slots[list] = calloc(n, sizeof(*b->slots[list]));
			if (!b->slots[list])
				return -ENOMEM;
			uint64_t seed = dw_hash_mix(UINT64_C(0x6465636c6177) + try + n);
			if (insert_all(b, list, b->slots[list], n, seed)) {
				b->h.list[list].slots.n = n;
				b->h.list[list].seed = seed;
				return 0;
			}
		}
	}
	return -E2BIG;
}

static int by_port(const void *pa, const void *pb, void *entries)
{
	const struct dw_draft_entry *e = entries;
	uint32_t a = *(const uint32_t *)pa, b = *(const uint32_t *)pb;
	if (e[a].port_lo != e[b].port_lo)
		return e[a].port_lo < e[b].port_lo ? -1 : 1;
	if (e[a].port_hi != e[b].port_hi)
		return e[a].port_hi > e[b].port_hi ? -1 : 1;
	return a < b ? -1 : a > b;
}

/*
 * Appends b->member[0..n) as disjoint ascending ranges. Where entries overlap, the one that starts first (then the
 * wider, then the earlier in its list) is the rule that gets named.
 */
static struct dw_img_group emit_group(struct builder *b, uint32_t n)
{
	const struct dw_draft_entry *e = b->d->entries;
	struct dw_img_group g = { b->h.ranges.n, 0 };
	if (n > 1) {
		void *arg = (void *)(uintptr_t)e; /* qsort_r hands it back untouched */
		qsort_r(b->member, n, sizeof(*b->member), by_port, arg);
	}
	uint32_t open_from = 0; /* ports below are covered */
	for (uint32_t i = 0; i < n; i++) {
		const struct dw_draft_entry *m = &e[b->member[i]];
		if (m->port_hi < open_from)
			continue;
		uint16_t lo = (uint16_t)DW_MAX(m->port_lo, open_from);
		b->ranges[b->h.ranges.n++] = (struct dw_img_range){ lo, m->port_hi, b->member[i] };
		open_from = m->port_hi + 1u;
		g.n++;
	}
	return g;
}

static void emit_slots(struct builder *b, enum dw_list list)
{
	for (uint32_t at = 0; at < b->h.list[list].slots.n; at++) {
		struct dw_img_slot *s = &b->slots[list][at];
		uint32_t n = 0;
		for (uint32_t i = s->group.first; s->group.n > 0 && i != NONE; i = b->next[i])
			b->member[n++] = i;
		if (n > 0)
			s->group = emit_group(b, n);
	}
}

static void emit_everything(struct builder *b, enum dw_list list)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < b->d->n; i++) {
		if (b->d->entries[i].list == list && b->d->entries[i].kind == DW_ENTRY_ALL)
			b->member[n++] = i;
	}
	struct dw_img_group g = emit_group(b, n);
	uint32_t open_from = 1; /* port 0 is no port */
	for (uint32_t i = g.first; i < g.first + g.n && b->ranges[i].lo <= open_from; i++)
		open_from = b->ranges[i].hi + 1u;
	b->h.list[list].all = g;
	b->h.list[list].all_ports = open_from > UINT16_MAX;
}

static void emit_regex(struct builder *b, uint32_t i)
{
	const struct dw_draft_entry *e = &b->d->entries[i];
	b->member[0] = i;
	b->regexes[b->h.regexes.n++] = (struct dw_img_regex){ e->key_off, e->key_n, e->list, emit_group(b, 1) };
}

static void set_bit(uint64_t *set, unsigned i)
{
	set[i / 64] |= UINT64_C(1) << (i % 64);
}

/* Counts and length sets, and the groups that are not in a slot table. */
static void survey(struct builder *b)
{
	for (uint32_t i = 0; i < b->d->n; i++) {
		const struct dw_draft_entry *e = &b->d->entries[i];
		const uint8_t *key = b->d->keys + e->key_off;
		struct dw_img_list *l = &b->h.list[e->list];
		if (e->kind == DW_ENTRY_REGEX)
			emit_regex(b, i);
		else if (e->kind == DW_ENTRY_SUFFIX)
			set_bit(l->suffix_lens, key[1]);
		else if (e->kind == DW_ENTRY_PREFIX && key[0] == DW_KEY_PREFIX4)
			set_bit(&l->prefix4_lens, key[2 + 4]);
		else if (e->kind == DW_ENTRY_PREFIX)
			set_bit(l->prefix6_lens, key[2 + 16]);
		l->names += e->kind == DW_ENTRY_HOST || e->kind == DW_ENTRY_SUFFIX || e->kind == DW_ENTRY_REGEX;
	}
}

static void place(struct dw_img_section *s, uint32_t n, size_t element, uint64_t *end)
{
	*s = (struct dw_img_section){ (uint32_t)*end, n };
	*end = (*end + (uint64_t)n * element + 7) & ~UINT64_C(7);
}

static void put(uint8_t *out, struct dw_img_section s, const void *from, size_t element)
{
	if (s.n > 0)
		memcpy(out + s.off, from, s.n * element);
}

static void put_entries(uint8_t *out, const struct builder *b)
{
	uint32_t at = 0;
	for (uint32_t i = 0; i < b->d->n; i++) {
		const struct dw_draft_entry *e = &b->d->entries[i];
		struct dw_img_entry ie = { at, e->text_n, e->list };
		memcpy(out + b->h.entries.off + i * sizeof(ie), &ie, sizeof(ie));
		memcpy(out + b->h.texts.off + at, e->text, e->text_n);
		at += e->text_n;
	}
}

static int lay_out(struct builder *b, void **ret, size_t *ret_len)
{
	uint64_t texts = 0, end = (sizeof(b->h) + 7) & ~UINT64_C(7);
	for (uint32_t i = 0; i < b->d->n; i++)
		texts += b->d->entries[i].text_n;
	place(&b->h.entries, b->d->n, sizeof(struct dw_img_entry), &end);
	place(&b->h.ranges, b->h.ranges.n, sizeof(struct dw_img_range), &end);
	place(&b->h.regexes, b->h.regexes.n, sizeof(struct dw_img_regex), &end);
	for (unsigned l = 0; l < DW_LIST__COUNT; l++)
		place(&b->h.list[l].slots, b->h.list[l].slots.n, sizeof(struct dw_img_slot), &end);
	place(&b->h.keys, b->d->keys_n, 1, &end);
	place(&b->h.texts, (uint32_t)texts, 1, &end);
	if (end > UINT32_MAX)
		return -E2BIG;

	uint8_t *out = calloc(1, end);
	if (!out)
		return -ENOMEM;
	memcpy(b->h.magic, DW_IMAGE_MAGIC, sizeof(b->h.magic));
	b->h.version = DW_IMAGE_VERSION;
	b->h.size = (uint32_t)end;
	b->h.flags = b->d->flags;
	b->h.allow_n = b->d->allow_n;
	memcpy(out, &b->h, sizeof(b->h));
	put_entries(out, b);
	put(out, b->h.ranges, b->ranges, sizeof(struct dw_img_range));
	put(out, b->h.regexes, b->regexes, sizeof(struct dw_img_regex));
	for (unsigned l = 0; l < DW_LIST__COUNT; l++)
		put(out, b->h.list[l].slots, b->slots[l], sizeof(struct dw_img_slot));
	put(out, b->h.keys, b->d->keys, 1);
	*ret = out;
	*ret_len = end;
	return 0;
}

static int build(struct builder *b, void **ret, size_t *ret_len)
{
	size_t n = b->d->n ? b->d->n : 1;
	b->next = calloc(n, sizeof(*b->next));
	b->member = calloc(n, sizeof(*b->member));
	b->ranges = calloc(n, sizeof(*b->ranges));
	if (!b->next || !b->member || !b->ranges)
		return -ENOMEM;
	for (unsigned l = 0; l < DW_LIST__COUNT; l++) {
		int r = hash_list(b, (enum dw_list)l);
		if (r < 0)
			return r;
		emit_slots(b, (enum dw_list)l);
		emit_everything(b, (enum dw_list)l);
	}
	survey(b);
	return lay_out(b, ret, ret_len);
}

int dw_image_build(const struct dw_draft *d, void **ret, size_t *ret_len)
{
	struct builder b = { .d = d };
	int r = build(&b, ret, ret_len);
	for (unsigned l = 0; l < DW_LIST__COUNT; l++)
		free(b.slots[l]);
	free(b.next);
	free(b.member);
	free(b.ranges);
	return r;
}
