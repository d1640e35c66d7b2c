/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

int sql_fail(struct sql_db *d, const char *what, struct dw_err *err)
{
	return dw_err_set(err, DW_ERR_INTERNAL, "internal", "%s: %s", what,
			  d->db ? sqlite3_errmsg(d->db) : "no memory");
}

static int user_version(struct sql_db *d)
{
	sqlite3_stmt *st = NULL;
	int v = -1;
	if (sqlite3_prepare_v2(d->db, "PRAGMA user_version", -1, &st, NULL) == SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_ROW)
		v = sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	return v;
}

static int exec(struct sql_db *d, const char *sql, const char *what, struct dw_err *err)
{
	return sqlite3_exec(d->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : sql_fail(d, what, err);
}

/* Each step is one transaction with its new version, so that a crash leaves an old or a new schema, never half of one. */
static int migrate(struct sql_db *d, const char *path, const char *const *steps, size_t n, struct dw_err *err)
{
	int version = user_version(d);
	if (version < 0)
		return sql_fail(d, path, err);
	if ((size_t)version > n)
		return dw_err_set(err, DW_ERR_INTERNAL, "internal", "%s was written by a newer version of declawd",
				  path);
	for (size_t i = (size_t)version; i < n; i++) {
		char mark[64];
		snprintf(mark, sizeof(mark), "PRAGMA user_version = %zu", i + 1);
		if (exec(d, "BEGIN IMMEDIATE", path, err) < 0 || exec(d, steps[i], path, err) < 0 ||
		    exec(d, mark, path, err) < 0 || exec(d, "COMMIT", path, err) < 0)
			return -1;
	}
	return 0;
}

/* SQLite would make it with 0644 less the umask; its own side files take the mode of the database. */
static int make_private(const char *path, struct dw_err *err)
{
	dw_autoclose int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? dw_err_errno(err, errno, "opening %s", path) : 0;
}

int sql_open(struct sql_db *d, const char *path, const char *const *migrations, size_t migrations_n,
	     const char *const *text, size_t n, struct dw_err *err)
{
	*d = (struct sql_db){ 0 };
	pthread_mutex_init(&d->lock, NULL);
	if (make_private(path, err) < 0)
		return -1;
	/* The lock is ours, so SQLite needs none of its own. */
	if (sqlite3_open_v2(path, &d->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		return sql_fail(d, path, err);
	sqlite3_busy_timeout(d->db, 5000);
	if (exec(d, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA trusted_schema = OFF", path, err) <
	    0)
		return -1;
	if (migrate(d, path, migrations, migrations_n, err) < 0)
		return -1;
	dw_assert(n <= DW_COUNT(d->stmt));
	for (d->stmt_n = 0; d->stmt_n < n; d->stmt_n++) {
		if (sqlite3_prepare_v3(d->db, text[d->stmt_n], -1, SQLITE_PREPARE_PERSISTENT, &d->stmt[d->stmt_n],
				       NULL) != SQLITE_OK)
			return sql_fail(d, path, err);
	}
	return 0;
}

void sql_close(struct sql_db *d)
{
	for (size_t i = 0; i < d->stmt_n; i++)
		sqlite3_finalize(d->stmt[i]);
	sqlite3_close(d->db);
	*d = (struct sql_db){ 0 };
}

int sql_run(struct sql_db *d, sqlite3_stmt *st, const char *what, struct dw_err *err)
{
	int r = sqlite3_step(st) == SQLITE_DONE ? 0 : sql_fail(d, what, err);
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	return r;
}

void sql_text(sqlite3_stmt *st, int at, const char *s)
{
	sqlite3_bind_text(st, at, s, -1, SQLITE_STATIC);
}

void sql_copy(sqlite3_stmt *st, int col, char *buf, size_t size)
{
	const char *s = (const char *)sqlite3_column_text(st, col);
	snprintf(buf, size, "%s", s ? s : "");
}
