/* SPDX-License-Identifier: Apache-2.0 */
/* Opening the database, and running its statements. */
#include "keydb/keydb_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

static const char schema[] = "CREATE TABLE key ("
			     " seq INTEGER PRIMARY KEY AUTOINCREMENT,"
			     " id TEXT NOT NULL UNIQUE,"
			     " hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),"
			     " name TEXT NOT NULL, owner TEXT NOT NULL, hint TEXT NOT NULL,"
			     " created_us INTEGER NOT NULL, last_used_us INTEGER NOT NULL, revoked_us INTEGER NOT NULL,"
			     " from_file INTEGER NOT NULL"
			     ") STRICT;"
			     "CREATE INDEX key_owner ON key (owner, seq);"
			     "PRAGMA user_version = 1;";

/* clang-format off */
static const char *const statements[] = {
	[KEYDB_INSERT] = "INSERT INTO key (id, hash, name, owner, hint, created_us, last_used_us, revoked_us, from_file) "
			 "VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, ?7)",
	[KEYDB_COUNT] = "SELECT count(*) FROM key WHERE revoked_us = 0 AND (?1 IS NULL OR owner = ?1)",
	[KEYDB_ADOPTED] = "SELECT revoked_us FROM key WHERE hash = ?1",
	[KEYDB_REPLACED] = "UPDATE key SET revoked_us = ?2 WHERE from_file AND revoked_us = 0 AND hash <> ?1",
	[KEYDB_FIND] = "SELECT 1 FROM key WHERE id = ?1 AND (?2 IS NULL OR owner = ?2)",
	[KEYDB_REVOKE] = "UPDATE key SET revoked_us = ?2 WHERE id = ?1 AND revoked_us = 0",
	/* The file's keys stay: that one of them is revoked must not be forgotten. */
	[KEYDB_TRIM] = "DELETE FROM key WHERE owner = ?1 AND revoked_us > 0 AND NOT from_file AND seq NOT IN "
		       "(SELECT seq FROM key WHERE owner = ?1 AND revoked_us > 0 ORDER BY revoked_us DESC LIMIT ?2)",
	[KEYDB_TOUCH] = "UPDATE key SET last_used_us = ?2 WHERE id = ?1",
	[KEYDB_EACH] = "SELECT id, hash, name, owner, hint, created_us, last_used_us, revoked_us, from_file FROM key "
		       "WHERE ?1 IS NULL OR owner = ?1 ORDER BY seq",
	[KEYDB_VERSION] = "PRAGMA data_version",
};
/* clang-format on */
_Static_assert(DW_COUNT(statements) == KEYDB__COUNT, "a statement for each");

int keydb_fail(struct dw_keydb *db, const char *what, struct dw_err *err)
{
	return dw_err_set(err, DW_ERR_INTERNAL, "internal", "%s: %s", what,
			  db->db ? sqlite3_errmsg(db->db) : "no memory");
}

int keydb_exec(struct dw_keydb *db, const char *sql, const char *what, struct dw_err *err)
{
	return sqlite3_exec(db->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : keydb_fail(db, what, err);
}

sqlite3_stmt *keydb_take(struct dw_keydb *db, enum keydb_statement which)
{
	sqlite3_stmt *st = db->stmt[which];
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	return st;
}

int keydb_run(struct dw_keydb *db, sqlite3_stmt *st, const char *what, struct dw_err *err)
{
	int r = sqlite3_step(st) == SQLITE_DONE ? 0 : keydb_fail(db, what, err);
	sqlite3_reset(st);
	return r;
}

int keydb_number(struct dw_keydb *db, sqlite3_stmt *st, int64_t *ret, const char *what, struct dw_err *err)
{
	const int step = sqlite3_step(st);
	int r = 0;
	if (step == SQLITE_ROW)
		*ret = sqlite3_column_int64(st, 0);
	else if (step != SQLITE_DONE)
		r = keydb_fail(db, what, err);
	sqlite3_reset(st);
	return r;
}

/* With 0600 from the start; SQLite's side files take the mode of the database. */
static int make_private(const char *path, struct dw_err *err)
{
	dw_autoclose int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0)
		return 0;
	const bool forbidden = errno == EACCES || errno == EPERM;
	dw_err_errno(err, errno, "opening %s", path);
	if (forbidden)
		err->kind = DW_ERR_FORBIDDEN;
	return -1;
}

/* Two processes may come first at one time, so the look and the change are one transaction. */
static int migrate(struct dw_keydb *db, const char *path, struct dw_err *err)
{
	sqlite3_stmt *st = NULL;
	int64_t version = -1;
	if (keydb_exec(db, "BEGIN IMMEDIATE", path, err) < 0)
		return -1;
	if (sqlite3_prepare_v2(db->db, "PRAGMA user_version", -1, &st, NULL) != SQLITE_OK)
		return keydb_fail(db, path, err);
	int r = keydb_number(db, st, &version, path, err);
	sqlite3_finalize(st);
	if (r == 0 && version > 1)
		r = dw_err_set(err, DW_ERR_INTERNAL, "internal", "%s was written by a newer version", path);
	if (r == 0 && version == 0)
		r = keydb_exec(db, schema, path, err);
	return r < 0 ? -1 : keydb_exec(db, "COMMIT", path, err);
}

static int prepare(struct dw_keydb *db, const char *path, struct dw_err *err)
{
	for (size_t i = 0; i < KEYDB__COUNT; i++) {
		if (sqlite3_prepare_v3(db->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT, &db->stmt[i], NULL) !=
		    SQLITE_OK)
			return keydb_fail(db, path, err);
	}
	return 0;
}

int dw_keydb_open(const char *dir, struct dw_keydb **ret, struct dw_err *err)
{
	char path[PATH_MAX];
	if (snprintf(path, sizeof(path), "%s/keys.db", dir) >= (int)sizeof(path))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_option", "the data directory's path is too long");
	if (make_private(path, err) < 0)
		return -1;
	DW_AUTO(dw_keydb_close) struct dw_keydb *db = calloc(1, sizeof(*db));
	if (!db)
		return dw_err_errno(err, ENOMEM, "opening %s", path);
	if (sqlite3_open_v2(path, &db->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		return keydb_fail(db, path, err);
	sqlite3_busy_timeout(db->db, KEYDB_BUSY_MS);
	/* FULL: what was revoked must not be valid again after a power cut. */
	if (keydb_exec(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF", path,
		       err) < 0 ||
	    migrate(db, path, err) < 0 || prepare(db, path, err) < 0)
		return -1;
	*ret = DW_TAKE(db);
	return 0;
}

void dw_keydb_close(struct dw_keydb *db)
{
	if (!db)
		return;
	for (size_t i = 0; i < KEYDB__COUNT; i++)
		sqlite3_finalize(db->stmt[i]);
	sqlite3_close(db->db);
	free(db);
}
