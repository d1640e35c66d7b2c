/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/idem.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/bounds.h"

#define BUCKETS 1024u

/* Keys are kept as hashes: fixed size, whatever the client sends. */
struct entry {
	struct entry *chain;
	struct entry *older, *newer;
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
	size_t count, bytes;
};

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

static void drop(struct idem *t, struct entry *e)
{
	struct entry **at = slot_of(t, e->key);
	*at = e->chain;
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

static void expire(struct idem *t, int64_t now_ms)
{
	struct entry *e = t->oldest;
	while (e) {
		struct entry *newer = e->newer;
		bool old = now_ms - e->begun_ms > (int64_t)DAEMON_IDEM_AGE_MS;
		bool over = t->count >= DAEMON_IDEM_MAX || t->bytes > DAEMON_IDEM_BYTES;
		if (!old && !over)
			return;
		if (e->text)
			drop(t, e);
		e = newer;
	}
}

static bool add(struct idem *t, const uint8_t *key, const uint8_t *body, int64_t now_ms)
{
	struct entry *e = t->count < DAEMON_IDEM_MAX ? calloc(1, sizeof(*e)) : NULL;
	if (!e)
		return false;
	memcpy(e->key, key, AUTH_HASH_SIZE);
	memcpy(e->body, body, AUTH_HASH_SIZE);
	e->begun_ms = now_ms;
	*slot_of(t, key) = e;
	e->older = t->newest;
	*(t->newest ? &t->newest->newer : &t->oldest) = e;
	t->newest = e;
	t->count++;
	return true;
}

enum idem_state idem_begin(struct idem *t, const char *key, const uint8_t body_hash[static AUTH_HASH_SIZE],
			   int64_t now_ms, char **ret_text)
{
	uint8_t hash[AUTH_HASH_SIZE];
	auth_sha256(key, strlen(key), hash);
	enum idem_state state = IDEM_FULL;
	pthread_mutex_lock(&t->lock);
	expire(t, now_ms);
	struct entry *e = *slot_of(t, hash);
	if (!e) {
		state = add(t, hash, body_hash, now_ms) ? IDEM_NEW : IDEM_FULL;
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

void idem_finish(struct idem *t, const char *key, const char *text)
{
	uint8_t hash[AUTH_HASH_SIZE];
	auth_sha256(key, strlen(key), hash);
	pthread_mutex_lock(&t->lock);
	struct entry *e = *slot_of(t, hash);
	if (e && !e->text) {
		e->text = strdup(text);
		e->text_n = e->text ? strlen(text) : 0;
		t->bytes += e->text_n;
		/* Without memory for the answer a retry must not wait for ever. */
		if (!e->text)
			drop(t, e);
	}
	pthread_mutex_unlock(&t->lock);
}

void idem_abandon(struct idem *t, const char *key)
{
	uint8_t hash[AUTH_HASH_SIZE];
	auth_sha256(key, strlen(key), hash);
	pthread_mutex_lock(&t->lock);
	struct entry *e = *slot_of(t, hash);
	if (e && !e->text)
		drop(t, e);
	pthread_mutex_unlock(&t->lock);
}
