/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the key database's files only. */
#pragma once

#include <sqlite3.h>

#include "keydb/keydb.h"

enum keydb_statement {
	KEYDB_INSERT = 0,
	KEYDB_COUNT,
	KEYDB_ADOPTED,
	KEYDB_REPLACED,
	KEYDB_FIND,
	KEYDB_REVOKE,
	KEYDB_TRIM,
	KEYDB_TOUCH,
	KEYDB_EACH,
	KEYDB_VERSION,
	KEYDB__COUNT,
};

struct dw_keydb {
	sqlite3 *db;
	sqlite3_stmt *stmt[KEYDB__COUNT];
};

/* Milliseconds that a writer waits for another one. */
#define KEYDB_BUSY_MS 5000

/* INTERNAL with SQLite's words. Returns -1. */
int keydb_fail(struct dw_keydb *db, const char *what, struct dw_err *err);
int keydb_exec(struct dw_keydb *db, const char *sql, const char *what, struct dw_err *err);
/* The statement, reset and without parameters. */
sqlite3_stmt *keydb_take(struct dw_keydb *db, enum keydb_statement which);
/* Runs one that gives no rows. */
int keydb_run(struct dw_keydb *db, sqlite3_stmt *st, const char *what, struct dw_err *err);
/* Runs one that gives one row of one number, or none: then *ret stays. */
int keydb_number(struct dw_keydb *db, sqlite3_stmt *st, int64_t *ret, const char *what, struct dw_err *err);
