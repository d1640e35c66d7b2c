/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names and addresses are interned; a pin is a pair of their numbers. Three hash tables (by name, by address, by pair)
 * hold numbers into growing arrays, and each address heads a chain of its pins, last used first. Names live in
 * blocks that never move. Nothing is ever removed but by dw_pins_free, so there are no holes.
 *
 * Whoever runs a wildcard domain chooses names, and answers choose addresses: the seed keeps them from choosing
 * collisions as well.
 */
#include "policy/pins.h"

#include <assert.h>
#include <string.h>

#include "policy/hash.h"

#define NONE       UINT32_MAX
#define BLOCK_SIZE 4096u
#define TABLE_MIN  16u

static_assert(BLOCK_SIZE - sizeof(void *) >= DW_HOST_SIZE, "a block holds any name");

struct block {
	struct block *next;
	char bytes[BLOCK_SIZE - sizeof(void *)];
};

/* Open addressing over numbers of elements; at most half full. */
struct table {
	uint32_t *slot; /* NONE: free */
	uint32_t n;     /* slots: 0 or a power of two */
	uint32_t used;
};

struct name {
	const char *s;
	uint32_t hash;
};

struct address {
	struct dw_addr a;
	uint32_t first; /* pin */
};

struct pair {
	uint32_t name, address;
	uint32_t next, prev; /* pins of the same address */
	uint64_t expires_ms;
};

struct dw_pins {
	uint64_t seed;
	struct table by_name, by_address, by_pair;
	struct name *names;
	struct address *addresses;
	struct pair *pairs;
	uint32_t names_n, names_cap, addresses_n, addresses_cap, pairs_n, pairs_cap;
	struct block *blocks;
	size_t block_used;
};

struct dw_pins *dw_pins_new(void)
{
	struct dw_pins *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	/* Pure code has no randomness; where the heap lies is what a sandbox cannot know. */
	t->seed = dw_hash_mix((uint64_t)(uintptr_t)t);
	t->block_used = sizeof(t->blocks->bytes);
	return t;
}

void dw_pins_free(struct dw_pins *t)
{
	if (!t)
		return;
	while (t->blocks) {
		struct block *next = t->blocks->next;
		free(t->blocks);
		t->blocks = next;
	}
	free(t->by_name.slot);
	free(t->by_address.slot);
	free(t->by_pair.slot);
	free(t->names);
	free(t->addresses);
	free(t->pairs);
	free(t);
}

static uint32_t hash_name(const struct dw_pins *t, const char *name, size_t n)
{
	return (uint32_t)dw_hash_mix(dw_hash_bytes(t->seed, name, n));
}

static uint32_t hash_address(const struct dw_pins *t, const struct dw_addr *a)
{
	uint64_t hi, lo;
	memcpy(&hi, a->b, 8);
	memcpy(&lo, a->b + 8, 8);
	return (uint32_t)dw_hash_mix(dw_hash_mix(t->seed + hi) + lo + a->family);
}

static uint32_t hash_pair(const struct dw_pins *t, uint32_t name, uint32_t address)
{
	return (uint32_t)dw_hash_mix(t->seed ^ ((uint64_t)name << 32 | address));
}

/* Puts an element into a table that has room and does not hold it. */
static void place(struct table *table, uint32_t hash, uint32_t element)
{
	uint32_t at = hash & (table->n - 1);
	while (table->slot[at] != NONE)
		at = (at + 1) & (table->n - 1);
	table->slot[at] = element;
	table->used++;
}

static uint32_t find_name(const struct dw_pins *t, const char *name, uint32_t hash)
{
	const struct table *table = &t->by_name;
	for (uint32_t at = hash; table->n > 0; at++) {
		uint32_t i = table->slot[at & (table->n - 1)];
		if (i == NONE)
			return NONE;
		if (t->names[i].hash == hash && strcmp(t->names[i].s, name) == 0)
			return i;
	}
	return NONE;
}

static uint32_t find_address(const struct dw_pins *t, const struct dw_addr *a)
{
	const struct table *table = &t->by_address;
	for (uint32_t at = hash_address(t, a); table->n > 0; at++) {
		uint32_t i = table->slot[at & (table->n - 1)];
		if (i == NONE || dw_addr_eq(&t->addresses[i].a, a))
			return i;
	}
	return NONE;
}

static uint32_t find_pair(const struct dw_pins *t, uint32_t name, uint32_t address)
{
	const struct table *table = &t->by_pair;
	for (uint32_t at = hash_pair(t, name, address); table->n > 0; at++) {
		uint32_t i = table->slot[at & (table->n - 1)];
		if (i == NONE || (t->pairs[i].name == name && t->pairs[i].address == address))
			return i;
	}
	return NONE;
}

static uint32_t rehash_of(const struct dw_pins *t, const struct table *table, uint32_t i)
{
	if (table == &t->by_name)
		return t->names[i].hash;
	if (table == &t->by_address)
		return hash_address(t, &t->addresses[i].a);
	return hash_pair(t, t->pairs[i].name, t->pairs[i].address);
}

/* Makes room for one more in a table. */
static bool grow_table(const struct dw_pins *t, struct table *table)
{
	if ((table->used + 1) * 2 <= table->n)
		return true;
	struct table bigger = { .n = table->n ? table->n * 2 : TABLE_MIN };
	bigger.slot = malloc(bigger.n * sizeof(*bigger.slot));
	if (!bigger.slot)
		return false;
	memset(bigger.slot, 0xff, bigger.n * sizeof(*bigger.slot));
	for (uint32_t at = 0; at < table->n; at++) {
		if (table->slot[at] != NONE)
			place(&bigger, rehash_of(t, table, table->slot[at]), table->slot[at]);
	}
	free(table->slot);
	*table = bigger;
	return true;
}

/* Makes room for one more in an array. */
static bool grow_array(void *pp, uint32_t n, uint32_t *cap, size_t element)
{
	if (n < *cap)
		return true;
	uint32_t bigger = *cap ? *cap * 2 : TABLE_MIN / 2;
	void **array = pp, *p = reallocarray(*array, bigger, element);
	if (!p)
		return false;
	*array = p;
	*cap = bigger;
	return true;
}

static bool grow_block(struct dw_pins *t, size_t n)
{
	if (sizeof(t->blocks->bytes) - t->block_used >= n)
		return true;
	struct block *b = malloc(sizeof(*b));
	if (!b)
		return false;
	b->next = t->blocks;
	t->blocks = b;
	t->block_used = 0;
	return true;
}

/* Room for one more of everything, so that nothing can fail after the first change. */
static bool reserve(struct dw_pins *t, size_t name_size)
{
	return grow_array(&t->names, t->names_n, &t->names_cap, sizeof(*t->names)) &&
	       grow_array(&t->addresses, t->addresses_n, &t->addresses_cap, sizeof(*t->addresses)) &&
	       grow_array(&t->pairs, t->pairs_n, &t->pairs_cap, sizeof(*t->pairs)) && grow_table(t, &t->by_name) &&
	       grow_table(t, &t->by_address) && grow_table(t, &t->by_pair) && grow_block(t, name_size);
}

static uint32_t add_name(struct dw_pins *t, const char *name, size_t n, uint32_t hash)
{
	char *s = t->blocks->bytes + t->block_used;
	memcpy(s, name, n + 1);
	t->block_used += n + 1;
	t->names[t->names_n] = (struct name){ s, hash };
	place(&t->by_name, hash, t->names_n);
	return t->names_n++;
}

static uint32_t add_address(struct dw_pins *t, const struct dw_addr *a)
{
	t->addresses[t->addresses_n] = (struct address){ *a, NONE };
	place(&t->by_address, hash_address(t, a), t->addresses_n);
	return t->addresses_n++;
}

static void put_first(struct dw_pins *t, uint32_t pi)
{
	struct pair *p = &t->pairs[pi];
	uint32_t *first = &t->addresses[p->address].first;

	p->prev = NONE;
	p->next = *first;
	if (p->next != NONE)
		t->pairs[p->next].prev = pi;
	*first = pi;
}

static void move_first(struct dw_pins *t, uint32_t pi)
{
	const struct pair *p = &t->pairs[pi];

	if (p->prev == NONE)
		return;
	t->pairs[p->prev].next = p->next;
	if (p->next != NONE)
		t->pairs[p->next].prev = p->prev;
	put_first(t, pi);
}

bool dw_pins_add(struct dw_pins *t, const char *name, const struct dw_addr *a, uint64_t expires_ms)
{
	size_t n = strnlen(name, DW_HOST_SIZE);
	if (n > DW_HOST_MAX)
		return false;
	uint32_t hash = hash_name(t, name, n);
	uint32_t ni = find_name(t, name, hash), ai = find_address(t, a);
	uint32_t pi = ni != NONE && ai != NONE ? find_pair(t, ni, ai) : NONE;
	if (pi != NONE) {
		if (t->pairs[pi].expires_ms < expires_ms)
			t->pairs[pi].expires_ms = expires_ms;
		move_first(t, pi);
		return true;
	}
	if (t->pairs_n >= DW_PINS_MAX || !reserve(t, n + 1))
		return false;
	if (ni == NONE)
		ni = add_name(t, name, n, hash);
	if (ai == NONE)
		ai = add_address(t, a);
	t->pairs[t->pairs_n] = (struct pair){ .name = ni, .address = ai, .expires_ms = expires_ms };
	put_first(t, t->pairs_n);
	place(&t->by_pair, hash_pair(t, ni, ai), t->pairs_n);
	t->pairs_n++;
	return true;
}

static void fill(const struct dw_pins *t, uint32_t pair, struct dw_pin *ret)
{
	*ret = (struct dw_pin){ .name = t->names[t->pairs[pair].name].s, .expires_ms = t->pairs[pair].expires_ms };
}

bool dw_pins_find(const struct dw_pins *t, const char *name, const struct dw_addr *a, struct dw_pin *ret)
{
	uint32_t ni = find_name(t, name, hash_name(t, name, strlen(name))), ai = find_address(t, a);
	uint32_t pi = ni != NONE && ai != NONE ? find_pair(t, ni, ai) : NONE;
	if (pi == NONE)
		return false;
	fill(t, pi, ret);
	return true;
}

/* *iter is 0 at the start, NONE at the end, else one more than the pin to come. */
bool dw_pins_next(const struct dw_pins *t, const struct dw_addr *a, uint32_t *iter, struct dw_pin *ret)
{
	uint32_t pi = *iter - 1;
	if (*iter == 0) {
		uint32_t ai = find_address(t, a);
		pi = ai == NONE ? NONE : t->addresses[ai].first;
	} else if (*iter == NONE) {
		return false;
	}
	if (pi == NONE) {
		*iter = NONE;
		return false;
	}
	fill(t, pi, ret);
	uint32_t next = t->pairs[pi].next;
	*iter = next == NONE ? NONE : next + 1;
	return true;
}

uint32_t dw_pins_count(const struct dw_pins *t)
{
	return t->pairs_n;
}
