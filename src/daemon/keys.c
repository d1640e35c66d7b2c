/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/keys.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "daemon/clock.h"
#include "daemon/log.h"

_Static_assert(DAEMON_OWNER_MAX == DW_KEY_OWNER_MAX, "an owner fits wherever it goes");

/* A valid key. */
struct entry {
	struct entry *chain;
	uint8_t hash[DW_KEY_HASH];
	struct caller who;
	int64_t used_us; /* as the database has it */
};

#define BUCKETS 1024u

struct table {
	struct entry *bucket[BUCKETS];
};

struct keys {
	pthread_mutex_t lock; /* of all that follows */
	struct dw_keydb *db;
	struct table table;
	int64_t version; /* of the database, when the table was read */
	int64_t look_ms; /* when to look again */
};

/* Of a hash nobody can choose, any bytes do; who could tell buckets apart by time would learn bits of a hash, not of a key. */
static struct entry **bucket_of(struct table *t, const uint8_t hash[static DW_KEY_HASH])
{
	uint32_t h;
	memcpy(&h, hash, sizeof(h));
	return &t->bucket[h % BUCKETS];
}

static void table_done(struct table *t)
{
	for (size_t b = 0; b < BUCKETS; b++)
		while (t->bucket[b]) {
			struct entry *e = t->bucket[b];
			t->bucket[b] = e->chain;
			free(e);
		}
}

static int add(void *arg, const struct dw_key *key)
{
	struct table *t = arg;
	if (key->revoked_us)
		return 0;
	struct entry *e = calloc(1, sizeof(*e));
	if (!e)
		return -1;
	memcpy(e->hash, key->hash, sizeof(e->hash));
	snprintf(e->who.key_id, sizeof(e->who.key_id), "%s", key->id);
	snprintf(e->who.owner, sizeof(e->who.owner), "%s", key->owner);
	e->used_us = key->last_used_us;
	struct entry **at = bucket_of(t, e->hash);
	e->chain = *at;
	*at = e;
	return 0;
}

/* The whole table anew; on failure the old one stays. */
static int load(struct keys *k, struct dw_err *err)
{
	struct table fresh = { 0 };
	dw_err_errno(err, ENOMEM, "reading the API keys"); /* unless it says otherwise */
	if (dw_keydb_each(k->db, NULL, add, &fresh, err) < 0) {
		table_done(&fresh);
		return -1;
	}
	table_done(&k->table);
	k->table = fresh;
	return 0;
}

/* Has another process written? What can not be read now stays as it was: nobody could ask for anything otherwise, not even to mend it. */
static void look(struct keys *k)
{
	const int64_t now = clock_mono_ms();
	struct dw_err err = { 0 };
	int64_t version = 0;
	if (now < k->look_ms)
		return;
	k->look_ms = now + KEYS_LOOK_MS;
	int r = dw_keydb_version(k->db, &version, &err);
	if (r == 0 && version != k->version) {
		r = load(k, &err);
		if (r == 0)
			k->version = version;
	}
	if (r < 0)
		log_event(LOG_LEVEL_ERROR, "API keys not read: changes of them are not seen", "error", err.message,
			  NULL);
}

/* What this process wrote does not count as a change. */
static int reload(struct keys *k, struct dw_err *err)
{
	struct dw_err late = { 0 };
	if (load(k, &late) == 0)
		return 0;
	k->version = -1; /* tried again by the next request */
	k->look_ms = 0;
	if (err)
		*err = late;
	return -1;
}

int keys_open(const char *dir, const uint8_t file_hash[static DW_KEY_HASH], struct keys **ret, struct dw_err *err)
{
	bool revoked = false;
	struct keys *k = calloc(1, sizeof(*k));
	if (!k)
		return dw_err_errno(err, ENOMEM, "opening the API keys");
	pthread_mutex_init(&k->lock, NULL);
	if (dw_keydb_open(dir, &k->db, err) < 0 ||
	    dw_keydb_adopt(k->db, file_hash, clock_wall_us(), &revoked, err) < 0 ||
	    dw_keydb_version(k->db, &k->version, err) < 0 || load(k, err) < 0) {
		keys_close(k);
		return -1;
	}
	if (revoked)
		log_event(LOG_LEVEL_WARN, "the key of the API key file was revoked and opens nothing", NULL);
	*ret = k;
	return 0;
}

void keys_close(struct keys *k)
{
	if (!k)
		return;
	dw_keydb_close(k->db);
	table_done(&k->table);
	pthread_mutex_destroy(&k->lock);
	free(k);
}

/* The lock is held. */
static struct entry *find(struct keys *k, const uint8_t hash[static DW_KEY_HASH])
{
	struct entry *found = NULL;
	for (struct entry *e = *bucket_of(&k->table, hash); e; e = e->chain)
		if (CRYPTO_memcmp(e->hash, hash, DW_KEY_HASH) == 0)
			found = e;
	return found;
}

static void note_use(struct keys *k, struct entry *e)
{
	const int64_t now = clock_wall_us();
	struct dw_err err = { 0 };
	if (now - e->used_us < (int64_t)KEYS_USED_S * 1000000 && now >= e->used_us)
		return;
	/* Also when it does not work out: then it is tried again in a minute. */
	e->used_us = now;
	if (dw_keydb_touch(k->db, e->who.key_id, now, &err) < 0)
		log_event(LOG_LEVEL_WARN, "use of an API key not noted", "key", e->who.key_id, "error", err.message,
			  NULL);
}

static bool matches(struct keys *k, const char *key, struct caller *ret)
{
	uint8_t hash[DW_KEY_HASH];
	dw_key_hash(key, hash);
	pthread_mutex_lock(&k->lock);
	look(k);
	struct entry *e = find(k, hash);
	if (e) {
		note_use(k, e);
		*ret = e->who;
	}
	pthread_mutex_unlock(&k->lock);
	return e != NULL;
}

bool keys_check(struct keys *k, const char *authorization, const char *api_key, struct caller *ret)
{
	static const char scheme[] = "Bearer ";
	const size_t n = sizeof(scheme) - 1;
	if (authorization && strncasecmp(authorization, scheme, n) == 0 &&
	    matches(k, authorization + n + strspn(authorization + n, " "), ret))
		return true;
	return api_key && matches(k, api_key, ret);
}

int keys_create(struct keys *k, const char *name, const char *owner, char key[static DW_KEY_SIZE], struct dw_key *ret,
		struct dw_err *err)
{
	pthread_mutex_lock(&k->lock);
	int r = dw_keydb_create(k->db, name, owner, clock_wall_us(), key, ret, err);
	/* It exists: that it could not be read again makes it valid a moment later, no failure. */
	if (r == 0)
		DW_IGNORE(reload(k, NULL));
	pthread_mutex_unlock(&k->lock);
	return r;
}

int keys_revoke(struct keys *k, const char *id, const char *owner, struct dw_err *err)
{
	pthread_mutex_lock(&k->lock);
	int r = dw_keydb_revoke(k->db, id, owner, clock_wall_us(), err);
	/* Revoked means that it opens nothing any more: whoever asked must hear when that is not so yet. */
	if (r == 0)
		r = reload(k, err);
	pthread_mutex_unlock(&k->lock);
	return r;
}

int keys_each(struct keys *k, const char *owner, int (*visit)(void *arg, const struct dw_key *key), void *arg,
	      struct dw_err *err)
{
	pthread_mutex_lock(&k->lock);
	int r = dw_keydb_each(k->db, owner, visit, arg, err);
	pthread_mutex_unlock(&k->lock);
	return r;
}
