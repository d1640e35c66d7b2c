/* SPDX-License-Identifier: Apache-2.0 */
#include "keydb/keydb_internal.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define KEY_PREFIX "dcl_"

static bool alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool dw_key_owner_ok(const char *owner)
{
	const size_t n = strlen(owner);
	if (!n || n > DW_KEY_OWNER_MAX || !alnum(owner[0]))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!alnum(owner[i]) && !strchr("_-", owner[i]))
			return false;
	}
	return true;
}

bool dw_key_name_ok(const char *name)
{
	const size_t n = strlen(name);
	for (size_t i = 0; i < n; i++) {
		const uint8_t c = (uint8_t)name[i];
		/* C2 80 to C2 9F are the control characters that terminals know beside those below space. */
		if (c < ' ' || c == 0x7f || (c == 0xc2 && (uint8_t)name[i + 1] < 0xa0))
			return false;
	}
	return n && n <= DW_KEY_NAME_MAX;
}

void dw_key_hash(const char *key, uint8_t ret[static DW_KEY_HASH])
{
	SHA256((const uint8_t *)key, strlen(key), ret);
}

/* n characters of [a-z0-9] and a NUL, each as likely as another. */
static void random_text(char *buf, size_t n)
{
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	size_t have = 0;
	while (have < n) {
		uint8_t raw[64];
		/* It can not fail once the kernel's generator is seeded; a key that is not random must not exist. */
		dw_assert(getrandom(raw, sizeof(raw), 0) == (ssize_t)sizeof(raw));
		for (size_t i = 0; i < sizeof(raw) && have < n; i++) {
			/* 252 = 7 * 36: values above would favour the first letters. */
			if (raw[i] < 252)
				buf[have++] = alphabet[raw[i] % 36];
		}
		OPENSSL_cleanse(raw, sizeof(raw));
	}
	buf[n] = '\0';
}

static void text(sqlite3_stmt *st, int at, const char *s)
{
	if (s)
		sqlite3_bind_text(st, at, s, -1, SQLITE_STATIC);
}

/* Runs work in a transaction that sees and changes nothing beside itself. */
static int atomically(struct dw_keydb *db, int (*work)(struct dw_keydb *db, void *arg, struct dw_err *err), void *arg,
		      struct dw_err *err)
{
	if (keydb_exec(db, "BEGIN IMMEDIATE", "changing the API keys", err) < 0)
		return -1;
	if (work(db, arg, err) == 0 && keydb_exec(db, "COMMIT", "changing the API keys", err) == 0)
		return 0;
	sqlite3_exec(db->db, "ROLLBACK", NULL, NULL, NULL);
	return -1;
}

static int insert(struct dw_keydb *db, struct dw_key *k, struct dw_err *err)
{
	snprintf(k->id, sizeof(k->id), "key-");
	random_text(k->id + 4, 12);
	sqlite3_stmt *st = keydb_take(db, KEYDB_INSERT);
	text(st, 1, k->id);
	sqlite3_bind_blob(st, 2, k->hash, sizeof(k->hash), SQLITE_STATIC);
	text(st, 3, k->name);
	text(st, 4, k->owner);
	text(st, 5, k->hint);
	sqlite3_bind_int64(st, 6, k->created_us);
	sqlite3_bind_int64(st, 7, k->from_file);
	return keydb_run(db, st, "storing the API key", err);
}

static int check_room(struct dw_keydb *db, const char *owner, int64_t max, struct dw_err *err)
{
	int64_t n = 0;
	sqlite3_stmt *st = keydb_take(db, KEYDB_COUNT);
	text(st, 1, owner);
	if (keydb_number(db, st, &n, "counting the API keys", err) < 0)
		return -1;
	return n < max ? 0
		       : dw_err_set(err, DW_ERR_LIMIT, "too_many_keys", "%s %lld API keys; revoke one first",
				    owner ? "this owner has" : "there are", (long long)n);
}

static int create(struct dw_keydb *db, void *arg, struct dw_err *err)
{
	struct dw_key *k = arg;
	if (check_room(db, k->owner, DW_KEYS_OWNER, err) < 0 || check_room(db, NULL, DW_KEYS_MAX, err) < 0 ||
	    insert(db, k, err) < 0)
		return -1;
	sqlite3_stmt *st = keydb_take(db, KEYDB_TRIM);
	text(st, 1, k->owner);
	sqlite3_bind_int64(st, 2, DW_KEYS_REVOKED);
	return keydb_run(db, st, "removing old API keys", err);
}

int dw_keydb_create(struct dw_keydb *db, const char *name, const char *owner, int64_t now_us,
		    char key[static DW_KEY_SIZE], struct dw_key *ret, struct dw_err *err)
{
	if (!dw_key_name_ok(name))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field",
				  "name must have 1 to %d bytes, and no control characters", DW_KEY_NAME_MAX);
	if (!dw_key_owner_ok(owner))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field",
				  "owner must be 1 to %d letters, digits, dashes and underscores, the first a "
				  "letter or digit",
				  DW_KEY_OWNER_MAX);
	struct dw_key k = { .created_us = now_us };
	snprintf(k.name, sizeof(k.name), "%s", name);
	snprintf(k.owner, sizeof(k.owner), "%s", owner);
	snprintf(key, DW_KEY_SIZE, KEY_PREFIX);
	random_text(key + sizeof(KEY_PREFIX) - 1, DW_KEY_RANDOM);
	/* Four random characters: enough to tell one's keys apart, and 185 bits stay unknown. */
	snprintf(k.hint, sizeof(k.hint), "%.8s", key);
	dw_key_hash(key, k.hash);
	if (atomically(db, create, &k, err) < 0) {
		OPENSSL_cleanse(key, DW_KEY_SIZE);
		return -1;
	}
	*ret = k;
	return 0;
}

static int adopt(struct dw_keydb *db, void *arg, struct dw_err *err)
{
	struct dw_key *k = arg;
	int64_t revoked = -1;
	sqlite3_stmt *st = keydb_take(db, KEYDB_REPLACED);
	sqlite3_bind_blob(st, 1, k->hash, sizeof(k->hash), SQLITE_STATIC);
	sqlite3_bind_int64(st, 2, k->created_us);
	if (keydb_run(db, st, "revoking the key file's earlier key", err) < 0)
		return -1;
	st = keydb_take(db, KEYDB_ADOPTED);
	sqlite3_bind_blob(st, 1, k->hash, sizeof(k->hash), SQLITE_STATIC);
	if (keydb_number(db, st, &revoked, "looking for the key file's key", err) < 0)
		return -1;
	k->revoked_us = revoked > 0 ? revoked : 0;
	return revoked < 0 ? insert(db, k, err) : 0;
}

int dw_keydb_adopt(struct dw_keydb *db, const uint8_t hash[static DW_KEY_HASH], int64_t now_us, bool *ret_revoked,
		   struct dw_err *err)
{
	struct dw_key k = { .name = "key file", .owner = "local", .created_us = now_us, .from_file = true };
	memcpy(k.hash, hash, sizeof(k.hash));
	if (atomically(db, adopt, &k, err) < 0)
		return -1;
	*ret_revoked = k.revoked_us > 0;
	return 0;
}

struct revoke {
	const char *id, *owner;
	int64_t now_us;
};

static int revoke_one(struct dw_keydb *db, void *arg, struct dw_err *err)
{
	const struct revoke *r = arg;
	int64_t found = 0;
	sqlite3_stmt *st = keydb_take(db, KEYDB_FIND);
	text(st, 1, r->id);
	text(st, 2, r->owner);
	if (keydb_number(db, st, &found, "looking for the API key", err) < 0)
		return -1;
	if (!found)
		return dw_err_set(err, DW_ERR_NOT_FOUND, "key_not_found", "there is no API key with this id");
	st = keydb_take(db, KEYDB_REVOKE);
	text(st, 1, r->id);
	sqlite3_bind_int64(st, 2, r->now_us);
	return keydb_run(db, st, "revoking the API key", err);
}

int dw_keydb_revoke(struct dw_keydb *db, const char *id, const char *owner, int64_t now_us, struct dw_err *err)
{
	struct revoke r = { .id = id, .owner = owner, .now_us = now_us };
	return atomically(db, revoke_one, &r, err);
}

int dw_keydb_touch(struct dw_keydb *db, const char *id, int64_t now_us, struct dw_err *err)
{
	sqlite3_stmt *st = keydb_take(db, KEYDB_TOUCH);
	text(st, 1, id);
	sqlite3_bind_int64(st, 2, now_us);
	/* A request waits for this: not for other writers, nor for the disk, because little is lost with it. */
	sqlite3_busy_timeout(db->db, 0);
	sqlite3_exec(db->db, "PRAGMA synchronous = NORMAL", NULL, NULL, NULL);
	int r = keydb_run(db, st, "noting the API key's use", err);
	sqlite3_exec(db->db, "PRAGMA synchronous = FULL", NULL, NULL, NULL);
	sqlite3_busy_timeout(db->db, KEYDB_BUSY_MS);
	return r;
}

static void copy(sqlite3_stmt *st, int col, char *buf, size_t size)
{
	const char *s = (const char *)sqlite3_column_text(st, col);
	snprintf(buf, size, "%s", s ? s : "");
}

static bool read_key(sqlite3_stmt *st, struct dw_key *k)
{
	const void *hash = sqlite3_column_blob(st, 1);
	*k = (struct dw_key){
		.created_us = sqlite3_column_int64(st, 5),
		.last_used_us = sqlite3_column_int64(st, 6),
		.revoked_us = sqlite3_column_int64(st, 7),
		.from_file = sqlite3_column_int64(st, 8) != 0,
	};
	copy(st, 0, k->id, sizeof(k->id));
	copy(st, 2, k->name, sizeof(k->name));
	copy(st, 3, k->owner, sizeof(k->owner));
	copy(st, 4, k->hint, sizeof(k->hint));
	if (!hash || sqlite3_column_bytes(st, 1) != DW_KEY_HASH)
		return false;
	memcpy(k->hash, hash, DW_KEY_HASH);
	return true;
}

int dw_keydb_each(struct dw_keydb *db, const char *owner, int (*visit)(void *arg, const struct dw_key *k), void *arg,
		  struct dw_err *err)
{
	sqlite3_stmt *st = keydb_take(db, KEYDB_EACH);
	text(st, 1, owner);
	int step, r = 0;
	while (r == 0 && (step = sqlite3_step(st)) == SQLITE_ROW) {
		struct dw_key k;
		r = read_key(st, &k) ? visit(arg, &k) : keydb_fail(db, "reading the API keys", err);
	}
	if (r == 0 && step != SQLITE_DONE)
		r = keydb_fail(db, "reading the API keys", err);
	sqlite3_reset(st);
	return r;
}

int dw_keydb_version(struct dw_keydb *db, int64_t *ret, struct dw_err *err)
{
	return keydb_number(db, keydb_take(db, KEYDB_VERSION), ret, "reading the API keys", err);
}
