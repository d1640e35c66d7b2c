/* SPDX-License-Identifier: Apache-2.0 */
/* The snapshots' records, a table of state.db. Their contents are files (snapshots.h). */
#pragma once

#include "daemon/store.h"

#define SNAPSHOT_ID_PREFIX "snap-"
#define SNAPSHOT_ID_RANDOM 8
#define SNAPSHOT_ID_SIZE   16

struct snapshot_row {
	int64_t seq; /* newer ones have higher numbers */
	char id[SNAPSHOT_ID_SIZE];
	char sandbox[RECORD_ID_SIZE]; /* whose files these are */
	char owner[DAEMON_OWNER_MAX + 1];
	char template_name[DW_TEMPLATE_NAME_MAX + 1];
	int64_t bytes, pause_ms, created_us;
	json_t *volumes; /* what was attached: an array as the sandbox's record has it; owned, may be NULL */
};
void snapshot_row_done(struct snapshot_row *r);
#define auto_snapshot_row __attribute__((cleanup(snapshot_row_done)))

/* LIMIT "too_many_snapshots" when the owner has max already. */
int DW_MUST_USE store_snapshot_insert(struct store *s, const struct snapshot_row *r, uint64_t max, struct dw_err *err);
/* *ret_gone: whether there was one. */
int DW_MUST_USE store_snapshot_remove(struct store *s, const char *id, bool *ret_gone, struct dw_err *err);
/* 1 and *ret (drop it), 0 when owner has none with this id, -1 with err. owner NULL: anybody's. */
int DW_MUST_USE store_snapshot_get(struct store *s, const char *id, const char *owner, struct snapshot_row *ret,
				   struct dw_err *err);
/* Calls visit for at most limit of the owner's, newest first, those of one sandbox unless it is NULL, below seq before unless that is 0. */
int DW_MUST_USE store_snapshot_each(struct store *s, const char *owner, const char *sandbox, int64_t before,
				    uint64_t limit, void (*visit)(void *arg, const struct snapshot_row *r), void *arg,
				    struct dw_err *err);
/* How many an owner has, and the bytes of everybody's. */
int DW_MUST_USE store_snapshot_sums(struct store *s, const char *owner, uint64_t *ret_count, uint64_t *ret_bytes,
				    struct dw_err *err);
/* 1: some snapshot stands on this template, which must stay; 0: none; -1 with err. */
int DW_MUST_USE store_snapshots_use_template(struct store *s, const char *template_name, struct dw_err *err);
