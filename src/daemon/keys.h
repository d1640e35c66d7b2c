/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who asks: the API keys of keys.db (keydb/keydb.h) in memory. A request's key is hashed and found by its hash, so neither the number of
 * keys nor how near a guess comes shows in the time. What this process changes holds from the next request on; what the command line
 * changes, within KEYS_LOOK_MS. Thread-safe.
 */
#pragma once

#include "daemon/bounds.h"
#include "keydb/keydb.h"

#define KEYS_LOOK_MS 250 /* how often the database is asked whether somebody else has written */
#define KEYS_USED_S  60  /* how exact last_used_at is */

struct keys;

/* Whose a request is. Zero: nobody's. */
struct caller {
	char key_id[DW_KEY_ID_SIZE];
	char owner[DAEMON_OWNER_MAX + 1];
};

/* Opens keys.db below dir and makes the key of the key file one of its keys. */
int DW_MUST_USE keys_open(const char *dir, const uint8_t file_hash[static DW_KEY_HASH], struct keys **ret,
			  struct dw_err *err);
void keys_close(struct keys *k);

/*
 * Either header is enough: "Authorization: Bearer <key>" or "X-API-Key: <key>" (NULL = absent). When both are there, one right one
 * suffices, and the first counts if both are. *ret is set only when it is true.
 */
bool keys_check(struct keys *k, const char *authorization, const char *api_key, struct caller *ret);

/* As dw_keydb_create, at once in force. */
int DW_MUST_USE keys_create(struct keys *k, const char *name, const char *owner, char key[static DW_KEY_SIZE],
			    struct dw_key *ret, struct dw_err *err);
/* As dw_keydb_revoke, at once in force. */
int DW_MUST_USE keys_revoke(struct keys *k, const char *id, const char *owner, struct dw_err *err);
/* Those of one owner, revoked ones too. visit must not call back. */
int DW_MUST_USE keys_each(struct keys *k, const char *owner, int (*visit)(void *arg, const struct dw_key *key),
			  void *arg, struct dw_err *err);
