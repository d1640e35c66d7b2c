/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records that outlive a sandbox, in SQLite (WAL). Two databases, because one has one writer: state.db holds sandboxes and
 * is written by requests (one insert at create, one update at kill); log.db holds network decisions and is written in batches by
 * a thread of its own, so that a flood of refusals never makes a request wait.
 *
 * Only store.c, store_sql.c and store_log.c include sqlite3.h. Every function is thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "daemon/record.h"

struct store;

/* Opens or makes both databases below dir (mode 0600), migrates, starts the writer. */
int DW_MUST_USE store_open(const char *dir, struct store **ret, struct dw_err *err);
/* Writes what waits, then closes. */
void store_close(struct store *s);

int DW_MUST_USE store_sandbox_insert(struct store *s, const struct record *r, struct dw_err *err);
/* Stores state killed with reason and times, and the time-out as it was last set. */
int DW_MUST_USE store_sandbox_kill(struct store *s, const struct record *r, struct dw_err *err);
/* Stores r's network in place of the old one. */
int DW_MUST_USE store_sandbox_network(struct store *s, const struct record *r, struct dw_err *err);
/* Removes a record whose create failed after all. */
void store_sandbox_remove(struct store *s, const char *id);
/* Rows that a previous life left running become killed. *ret_n: how many. */
int DW_MUST_USE store_kill_leftovers(struct store *s, const char *reason, int64_t now_us, int *ret_n,
				     struct dw_err *err);
/* 1 and *ret (drop it with record_done), 0 when there is none, -1 with err. */
int DW_MUST_USE store_sandbox_get(struct store *s, const char *id, struct record *ret, struct dw_err *err);
/* Calls visit for each killed one, oldest first; r is borrowed for the call. visit must not call the store. */
int DW_MUST_USE store_killed_each(struct store *s, void (*visit)(void *arg, const struct record *r), void *arg,
				  struct dw_err *err);

/* Takes event: a decision of the gate (proto/gatep.h) of about bytes bytes. Never waits; dropped when too much waits. */
void store_log_add(struct store *s, json_t *event, size_t bytes);
/* Waits until everything added before is written. */
void store_log_flush(struct store *s);
/* The newest limit rows, newest last, as a new array of objects. */
int DW_MUST_USE store_log_list(struct store *s, const char *id, unsigned limit, bool deny_only, json_t **ret,
			       struct dw_err *err);
