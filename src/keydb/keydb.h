/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API keys that there are: keys.db in the data directory, an SQLite database (WAL, mode 0600) that the daemon has open while it
 * runs and that the command line opens beside it. So a key can be made or revoked whether the daemon runs or not, and without a key;
 * the daemon sees by dw_keydb_version that somebody else has written.
 *
 * Of a key only its SHA-256 is kept. A slow hash, as passwords need, would protect nothing here: keys are made by this module from 200
 * random bits, which nobody guesses however fast each guess is; and it would cost every request its time.
 *
 * Not thread-safe: the caller has the lock. Never reads the clock. Who makes a key is shown it once, by dw_keydb_create.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"

#define DW_KEY_HASH      32  /* SHA-256 */
#define DW_KEY_RANDOM    40  /* characters of [a-z0-9]: 206 bits */
#define DW_KEY_SIZE      64  /* the text of a key that we make: "dcl_" and these */
#define DW_KEY_ID_SIZE   24  /* "key-" and 12 characters */
#define DW_KEY_NAME_MAX  128 /* bytes */
#define DW_KEY_OWNER_MAX 64
#define DW_KEY_HINT_SIZE 12
#define DW_KEYS_OWNER    100   /* that one owner may have, revoked ones not counted: a client can make them */
#define DW_KEYS_MAX      10000 /* the same in all: each is in the daemon's memory */
#define DW_KEYS_REVOKED  1000  /* of one owner, that stay listed; then the oldest go */

struct dw_key {
	char id[DW_KEY_ID_SIZE];
	char name[DW_KEY_NAME_MAX + 1];
	char owner[DW_KEY_OWNER_MAX + 1];
	char hint[DW_KEY_HINT_SIZE]; /* how it begins; "" of a key that we have not made, which may be short */
	uint8_t hash[DW_KEY_HASH];
	int64_t created_us, last_used_us, revoked_us; /* wall clock; 0: never */
	bool from_file;                               /* the key of the daemon's key file */
};

struct dw_keydb;

/* Opens keys.db below dir, or makes it. FORBIDDEN when this user may not; otherwise INTERNAL. */
int DW_MUST_USE dw_keydb_open(const char *dir, struct dw_keydb **ret, struct dw_err *err);
void dw_keydb_close(struct dw_keydb *db);
DW_DEFINE_CLEANUP(struct dw_keydb *, dw_keydb_close)

/* 1 to 64 of [A-Za-z0-9_-], beginning with a letter or digit. */
bool dw_key_owner_ok(const char *owner);
/* 1 to 128 bytes without control characters; that it is UTF-8 is the caller's to know. */
bool dw_key_name_ok(const char *name);
void dw_key_hash(const char *key, uint8_t ret[static DW_KEY_HASH]);

/* Makes a key; key gets its text, which nobody can find out again. INVALID, LIMIT "too_many_keys". */
int DW_MUST_USE dw_keydb_create(struct dw_keydb *db, const char *name, const char *owner, int64_t now_us,
				char key[static DW_KEY_SIZE], struct dw_key *ret, struct dw_err *err);
/*
 * The key of the daemon's key file has this hash. It becomes a key like others, the first time under the owner "local"; one that the file
 * held before is revoked, because whoever replaces the file wants that. *ret_revoked: the key itself was revoked, and stays so.
 */
int DW_MUST_USE dw_keydb_adopt(struct dw_keydb *db, const uint8_t hash[static DW_KEY_HASH], int64_t now_us,
			       bool *ret_revoked, struct dw_err *err);
/* Fine when it was revoked before. owner: NOT_FOUND for a key of another one; NULL: whosever it is. NOT_FOUND "key_not_found". */
int DW_MUST_USE dw_keydb_revoke(struct dw_keydb *db, const char *id, const char *owner, int64_t now_us,
				struct dw_err *err);
/* Notes when a key was used. Never waits for another writer: then it is left for the next time. */
int DW_MUST_USE dw_keydb_touch(struct dw_keydb *db, const char *id, int64_t now_us, struct dw_err *err);
/* Visits every key, oldest first, or those of one owner. visit must not call back; -1 from it ends the walk and is passed on. */
int DW_MUST_USE dw_keydb_each(struct dw_keydb *db, const char *owner, int (*visit)(void *arg, const struct dw_key *k),
			      void *arg, struct dw_err *err);
/* A number that is another one when another process has written since. */
int DW_MUST_USE dw_keydb_version(struct dw_keydb *db, int64_t *ret, struct dw_err *err);
