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
	sqlite3_stmt *stmt[48];
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

enum log_item_kind {
	LOG_ITEM_EVENT = 0,
	LOG_ITEM_SANDBOX_ENDED, /* event: {"sandbox": id} */
	LOG_ITEM_GATE_ENDED,    /* event NULL */
};

/* One thing that waits to be written. */
struct log_event_item {
	struct log_event_item *next;
	enum log_item_kind kind;
	json_t *event;
	size_t bytes;
	bool observing;
	/* The writer's own: the row, and whether it was there before. */
	int64_t row;
	bool changed;
};

struct store_log {
	struct sql_db db;
	int64_t rows, observed_rows;      /* in the tables; the writer's own */
	struct store_follower *followers; /* under db's lock, so that none misses a row or gets it twice */
	unsigned followers_n;
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
	int unsettled;  /* pages of state that are not yet in their place; under its lock */
	struct store_log log;
};

int store_log_open(struct store_log *l, const char *path, struct dw_err *err);
void store_log_close(struct store_log *l);

/* Statements of state.db, in the order of its table in store.c. */
enum state_statement {
	STATE_ST_INSERT = 0,
	STATE_ST_KILL,
	STATE_ST_NETWORK,
	STATE_ST_REMOVE,
	STATE_ST_LEFTOVERS,
	STATE_ST_GET,
	STATE_ST_OWNER,
	STATE_ST_KILLED,
	STATE_ST_TRIM,
	STATE_ST_VOLUME_INSERT,
	STATE_ST_VOLUME_REMOVE,
	STATE_ST_VOLUME_GET,
	STATE_ST_VOLUME_LIST,
	STATE_ST_VOLUME_COUNT,
	STATE_ST_RESTORE,
	STATE_ST_SNAPSHOT_INSERT,
	STATE_ST_SNAPSHOT_REMOVE,
	STATE_ST_SNAPSHOT_GET,
	STATE_ST_SNAPSHOT_LIST,
	STATE_ST_SNAPSHOT_COUNT,
	STATE_ST_SNAPSHOT_TEMPLATE,
	STATE_ST__COUNT,
};

/* Statements of log.db, in the order of its table in log_sql.c. */
enum log_statement {
	LOG_ST_INSERT = 0,
	LOG_ST_END_FLOW,
	LOG_ST_END_SANDBOX,
	LOG_ST_END_ALL,
	LOG_ST_TRIM_SANDBOX,
	LOG_ST_TRIM_ALL,
	LOG_ST_COUNT,
	LOG_ST_LIST,
	LOG_ST_ONE,
	LOG_ST_RANGE,
	LOG_ST_NTH,
	LOG_ST_MAX,
	LOG_ST_OBSERVED_ADD,
	LOG_ST_OBSERVED_INSERT,
	LOG_ST_OBSERVED_OVERFLOW,
	LOG_ST_OBSERVED_ROOM,
	LOG_ST_OBSERVED_COUNT,
	LOG_ST_OBSERVED_TRIM,
	LOG_ST_OBSERVED_FORGET,
	LOG_ST_OBSERVED_LIST,
	LOG_ST_OBSERVED_LOST,
	LOG_ST_BEGIN,
	LOG_ST_COMMIT,
	LOG_ST_ROLLBACK,
	LOG_ST__COUNT,
};
int log_sql_open(struct sql_db *d, const char *path, struct dw_err *err);
/* Binds 1 to LOG_FILTER_PARAMS; the filter must live until the statement is reset. */
#define LOG_FILTER_PARAMS 11
void log_sql_bind_filter(sqlite3_stmt *st, const struct log_filter *f);
/* The row of a statement that selects the columns of a decision. NULL when memory is out. */
json_t *log_sql_row(sqlite3_stmt *st);
/* A member of an event that is a string; NULL otherwise. */
const char *log_event_text(const json_t *event, const char *key);
int64_t log_event_time(const json_t *event);
int64_t log_event_count(const json_t *event);
/* One number out of a statement without parameters left to bind; resets it. */
int log_sql_number(struct sql_db *d, sqlite3_stmt *st, int64_t *ret, const char *what, struct dw_err *err);

/* store_observed.c, within the writer's transaction. 0 or -1. */
int observed_add(struct store_log *l, const json_t *event);
int observed_trim(struct store_log *l);

/*
 * store_follow.c; db's lock is held. Notes for followers what an item has just written, while it is the row's last word, or a
 * row whose flow has ended with others; tells them all that was noted, or (the batch was rolled back) forgets it.
 */
void follow_note(struct store_log *l, const struct log_event_item *item);
void follow_note_end(struct store_log *l, const char *sandbox, int64_t row);
void follow_publish(struct store_log *l, bool committed);
