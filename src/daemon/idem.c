/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/idem.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/bounds.h"

#define BUCKETS 1024u

/* Those who have entries. */
struct owner {
	struct owner *next;
	struct entry *oldest, *newest; /* of its own */
	size_t count, bytes;
	char name[DAEMON_OWNER_MAX + 1];
};

/* Keys are kept as hashes: fixed size, whatever the client sends. */
struct entry {
	struct entry *chain;
	struct entry *older, *newer;         /* of all */
	struct entry *own_older, *own_newer; /* of its owner's */
	struct owner *owner;
	uint8_t key[AUTH_HASH_SIZE];
	uint8_t body[AUTH_HASH_SIZE];
	int64_t begun_ms;
	char *text; /* NULL while the request is under way */
	size_t text_n;
};

struct idem {
	pthread_mutex_t lock;
	struct entry *bucket[BUCKETS];
	struct entry *oldest, *newest;
	struct owner *owners;
	size_t count, bytes;
};

/* What one owner's clients make up says nothing about another's. No owner has a space in it. */
static void hash_key(const char *owner, const char *key, uint8_t hash[static AUTH_HASH_SIZE])
{
	char both[DAEMON_OWNER_MAX + 1 + DAEMON_KEY_MAX + 1];
	const int n = snprintf(both, sizeof(both), "%s %s", owner, key);
	auth_sha256(both, DW_MIN((size_t)DW_MAX(n, 0), sizeof(both) - 1), hash);
}

struct idem *idem_new(void)
{
	struct idem *t = calloc(1, sizeof(*t));
	if (t)
		pthread_mutex_init(&t->lock, NULL);
	return t;
}

static struct entry **slot_of(struct idem *t, const uint8_t *key)
{
	uint32_t h;
	memcpy(&h, key, sizeof(h));
	struct entry **at = &t->bucket[h % BUCKETS];
	while (*at && memcmp((*at)->key, key, AUTH_HASH_SIZE) != 0)
		at = &(*at)->chain;
	return at;
}

static void leave_owner(struct idem *t, struct entry *e)
{
	struct owner *o = e->owner;
	*(e->own_older ? &e->own_older->own_newer : &o->oldest) = e->own_newer;
	*(e->own_newer ? &e->own_newer->own_older : &o->newest) = e->own_older;
	o->count--;
	o->bytes -= e->text_n;
	if (o->count)
		return;
	struct owner **at = &t->owners;
	while (*at != o)
		at = &(*at)->next;
	*at = o->next;
	free(o);
}

static void drop(struct idem *t, struct entry *e)
{
	struct entry **at = slot_of(t, e->key);
	*at = e->chain;
	leave_owner(t, e);
	*(e->older ? &e->older->newer : &t->oldest) = e->newer;
	*(e->newer ? &e->newer->older : &t->newest) = e->older;
	t->count--;
	t->bytes -= e->text_n;
	free(e->text);
	free(e);
}

void idem_free(struct idem *t)
{
	if (!t)
		return;
	while (t->oldest)
		drop(t, t->oldest);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

/* What the owner holds of either bound, in thousandths of it. */
static size_t share(const struct owner *o)
{
	return DW_MAX(o->count * 1000 / DAEMON_IDEM_MAX, o->bytes * 1000 / DAEMON_IDEM_BYTES);
}

/* The oldest finished one of those of the owner who has the most: whoever fills the place pays for it. */
static bool make_room(struct idem *t)
{
	struct owner *most = t->owners;
	for (struct owner *o = t->owners; o; o = o->next)
		if (share(o) > share(most))
			most = o;
	struct entry *e = most ? most->oldest : NULL;
	while (e && !e->text)
		e = e->own_newer;
	if (e)
		drop(t, e);
	return e != NULL;
}

static void expire(struct idem *t, int64_t now_ms)
{
	struct entry *e = t->oldest;
	while (e && now_ms - e->begun_ms > (int64_t)DAEMON_IDEM_AGE_MS) {
		struct entry *newer = e->newer;
		if (e->text)
			drop(t, e);
		e = newer;
	}
	while ((t->count >= DAEMON_IDEM_MAX || t->bytes > DAEMON_IDEM_BYTES) && make_room(t))
		;
}

static struct owner *owner_of(struct idem *t, const char *name)
{
	struct owner *o = t->owners;
	while (o && strcmp(o->name, name) != 0)
		o = o->next;
	if (o || !(o = calloc(1, sizeof(*o))))
		return o;
	snprintf(o->name, sizeof(o->name), "%s", name);
	o->next = t->owners;
	t->owners = o;
	return o;
}

static bool add(struct idem *t, const char *owner, const uint8_t *key, const uint8_t *body, int64_t now_ms)
{
	struct entry *e = t->count < DAEMON_IDEM_MAX ? calloc(1, sizeof(*e)) : NULL;
	struct owner *o = e ? owner_of(t, owner) : NULL;
	if (!o) {
		free(e);
		return false;
	}
	memcpy(e->key, key, AUTH_HASH_SIZE);
	memcpy(e->body, body, AUTH_HASH_SIZE);
	e->begun_ms = now_ms;
	*slot_of(t, key) = e;
	e->older = t->newest;
	*(t->newest ? &t->newest->newer : &t->oldest) = e;
	t->newest = e;
	t->count++;
	e->owner = o;
	e->own_older = o->newest;
	*(o->newest ? &o->newest->own_newer : &o->oldest) = e;
	o->newest = e;
	o->count++;
	return true;
}

enum idem_state idem_begin(struct idem *t, const char *owner, const char *key,
			   const uint8_t body_hash[static AUTH_HASH_SIZE], int64_t now_ms, char **ret_text)
{
	uint8_t hash[AUTH_HASH_SIZE];
	hash_key(owner, key, hash);
	enum idem_state state = IDEM_FULL;
	pthread_mutex_lock(&t->lock);
	expire(t, now_ms);
	struct entry *e = *slot_of(t, hash);
	if (!e) {
		state = add(t, owner, hash, body_hash, now_ms) ? IDEM_NEW : IDEM_FULL;
	} else if (memcmp(e->body, body_hash, AUTH_HASH_SIZE) != 0) {
		state = IDEM_MISMATCH;
	} else if (!e->text) {
		state = IDEM_BUSY;
	} else {
		char *copy = strdup(e->text);
		state = copy ? IDEM_REPLAY : IDEM_FULL;
		if (copy)
			*ret_text = copy;
	}
	pthread_mutex_unlock(&t->lock);
	return state;
}

void idem_finish(struct idem *t, const char *owner, const char *key, const char *text)
{
	uint8_t hash[AUTH_HASH_SIZE];
	hash_key(owner, key, hash);
	pthread_mutex_lock(&t->lock);
	struct entry *e = *slot_of(t, hash);
	if (e && !e->text) {
		e->text = strdup(text);
		e->text_n = e->text ? strlen(text) : 0;
		t->bytes += e->text_n;
		e->owner->bytes += e->text_n;
		/* Without memory for the answer a retry must not wait for ever. */
		if (!e->text)
			drop(t, e);
	}
	pthread_mutex_unlock(&t->lock);
}

void idem_abandon(struct idem *t, const char *owner, const char *key)
{
	uint8_t hash[AUTH_HASH_SIZE];
	hash_key(owner, key, hash);
	pthread_mutex_lock(&t->lock);
	struct entry *e = *slot_of(t, hash);
	if (e && !e->text)
		drop(t, e);
	pthread_mutex_unlock(&t->lock);
}
