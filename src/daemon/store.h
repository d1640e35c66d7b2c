/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records that outlive a sandbox, in SQLite (WAL). Two databases, because one has one writer: state.db holds sandboxes and
 * is written by requests (one insert at create, one update at kill); log.db holds network decisions and is written in batches by
 * a thread of its own, so that a flood of refusals never makes a request wait.
 *
 * Only the files of the store include sqlite3.h. Every function is thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/err.h"
#include "daemon/record.h"
#include "policy/host.h"

struct store;

/* Opens or makes both databases below dir (mode 0600), migrates, starts the writer. */
int DW_MUST_USE store_open(const char *dir, struct store **ret, struct dw_err *err);
/* Writes what waits, then closes. */
void store_close(struct store *s);

int DW_MUST_USE store_sandbox_insert(struct store *s, const struct record *r, struct dw_err *err);
/* Stores state killed with reason and times, and the time-out as it was last set. */
int DW_MUST_USE store_sandbox_kill(struct store *s, const struct record *r, struct dw_err *err);
/* One that was killed lives again: NOT_FOUND when its record is too old to be there. */
int DW_MUST_USE store_sandbox_restore(struct store *s, const struct record *r, struct dw_err *err);
/* Stores another network, as JSON text, with its generation. */
int DW_MUST_USE store_sandbox_network(struct store *s, const char *id, const char *network, uint64_t generation,
				      struct dw_err *err);
/*
 * Moves what was written last to its place in the file when enough has gathered: that waits for the disk. For whoever has made a large
 * change and has answered; nothing is lost without it.
 */
void store_settle(struct store *s);
/* Removes a record whose create failed after all. */
void store_sandbox_remove(struct store *s, const char *id);
/* Rows that a previous life left running become killed. *ret_n: how many. */
int DW_MUST_USE store_kill_leftovers(struct store *s, const char *reason, int64_t now_us, int *ret_n,
				     struct dw_err *err);
/* 1 and *ret (drop it with record_done), 0 when there is none, -1 with err. */
int DW_MUST_USE store_sandbox_get(struct store *s, const char *id, struct record *ret, struct dw_err *err);
/* 1 and whose it is, 0 when there is none, -1 with err. */
int DW_MUST_USE store_sandbox_owner(struct store *s, const char *id, char ret[static DAEMON_OWNER_MAX + 1],
				    struct dw_err *err);
/* Calls visit for each killed one, oldest first; r is borrowed for the call. visit must not call the store. */
int DW_MUST_USE store_killed_each(struct store *s, void (*visit)(void *arg, const struct record *r), void *arg,
				  struct dw_err *err);

/*
 * Takes event: a decision of the gate (proto/gatep.h) of about bytes bytes. Never waits; dropped when too much waits. An allowed flow is
 * one row: its decision adds it, its end changes it. observing: the sandbox's policy only observes, so what it used is
 * kept for store_observed_each too.
 */
void store_log_add(struct store *s, json_t *event, size_t bytes, bool observing);
/* The sandbox is gone: no event of it comes any more, and who follows its log is told so. */
void store_log_end(struct store *s, const char *id);
/* The gate has ended, and every flow with it: their rows will get no other end. */
void store_log_gate_ended(struct store *s);
/* What waits to be written, and how many events never fitted in. */
void store_log_counts(struct store *s, size_t *ret_bytes, uint64_t *ret_dropped);
/* Waits until everything added before is written. */
void store_log_flush(struct store *s);

/* Which rows. Zero is all of a sandbox's rows, except the numbers' "none". */
struct log_filter {
	char sandbox[RECORD_ID_SIZE];
	char verdict[8], protocol[8], reason[32], addr[DW_ADDR_STRLEN]; /* "" = any */
	char name[DW_HOST_SIZE + 1];                                    /* "" = any; ".host" = every name below host */
	bool would_set, would;      /* with would_set: rows that have one, or have none */
	int32_t port;               /* -1 = any */
	int64_t since_us, until_us; /* wall clock, since <= time < until; -1 = any */
};
#define LOG_FILTER_ANY                                     \
	{                                                  \
		.port = -1, .since_us = -1, .until_us = -1 \
	}

/* The newest limit rows with an id below before (0: all), newest first, as a new array of objects; *ret_next: what the next page has as its
 * before, 0 when there is none. */
int DW_MUST_USE store_log_list(struct store *s, const struct log_filter *filter, int64_t before, unsigned limit,
			       json_t **ret, int64_t *ret_next, struct dw_err *err);

/* What one sandbox did while its policy only observed: one row per kind. Strings are borrowed for the visit. */
struct observed {
	const char *protocol, *name, *addr; /* name and addr: one of them is "" */
	const char *reason;                 /* why it was allowed, would have been refused, or was refused */
	uint16_t port;                      /* 0 = none */
	bool denied;                        /* refused even so */
	int64_t count, first_us, last_us;
};
/* *ret_overflow: how many events did not fit. visit must not call the store. */
int DW_MUST_USE store_observed_each(struct store *s, const char *id, void (*visit)(void *arg, const struct observed *o),
				    void *arg, int64_t *ret_overflow, struct dw_err *err);

/*
 * Somebody who reads a log as it grows, as text of Server-Sent Events. Used by one thread.
 */
struct store_follower;

struct follow_from {
	bool resume; /* rows after this id come first */
	int64_t after;
	unsigned limit; /* without resume: so many of the newest rows come first */
};

/* LIMIT "too_many_followers". */
int DW_MUST_USE store_follow_open(struct store *s, const struct log_filter *filter, const struct follow_from *from,
				  struct store_follower **ret, struct dw_err *err);
void store_follow_close(struct store_follower *f);
/* No event will come: what there is is the end. */
void store_follow_ended(struct store_follower *f);
/* Up to n bytes; 0 when there is nothing now (the descriptor becomes readable when there may be), -1 after the last. */
ssize_t store_follow_read(struct store_follower *f, char *buf, size_t n);
int store_follow_fd(const struct store_follower *f);
DW_DEFINE_CLEANUP(struct store_follower *, store_follow_close)
