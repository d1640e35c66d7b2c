/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the store's files only. */
#pragma once

#include <pthread.h>
#include <sqlite3.h>

#include "daemon/store.h"

/* One database with its lock and prepared statements. */
struct sql_db {
	pthread_mutex_t lock;
	sqlite3 *db;
	sqlite3_stmt *stmt[16];
	size_t stmt_n;
};

/* Opens, migrates by the numbered steps, prepares the statements in the order of text. */
int sql_open(struct sql_db *d, const char *path, const char *const *migrations, size_t migrations_n,
	     const char *const *text, size_t n, struct dw_err *err);
void sql_close(struct sql_db *d);
/* INTERNAL with SQLite's words. Returns -1. */
int sql_fail(struct sql_db *d, const char *what, struct dw_err *err);
/* Runs a statement that gives no rows, and resets it. */
int sql_run(struct sql_db *d, sqlite3_stmt *st, const char *what, struct dw_err *err);
/* Binds a string; NULL gives NULL. The string must live until the statement is reset. */
void sql_text(sqlite3_stmt *st, int at, const char *s);
/* Copies a text column into a fixed buffer. */
void sql_copy(sqlite3_stmt *st, int col, char *buf, size_t size);

/* One event that waits to be written. */
struct log_event_item {
	struct log_event_item *next;
	json_t *event;
	size_t bytes;
};

struct store_log {
	struct sql_db db;
	int64_t rows; /* in the table; the writer's own */
	pthread_t writer;
	bool started;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t wake, written;
	struct log_event_item *head, **tail;
	size_t bytes;
	uint64_t added, done, dropped;
	bool urgent, stop;
};

struct store {
	struct sql_db state;
	unsigned kills; /* under state's lock */
	struct store_log log;
};

int store_log_open(struct store_log *l, const char *path, struct dw_err *err);
void store_log_close(struct store_log *l);
