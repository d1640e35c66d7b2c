/* SPDX-License-Identifier: Apache-2.0 */
/* What one sandbox may use of the gate. Pure: time is an argument (monotonic milliseconds); bounded; no I/O. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/macros.h"

/* 0 is never "no limit", except for bytes: dw_limits_fill puts the default in its place. */
struct dw_limits {
	uint32_t flows;            /* open at one time, TCP and UDP together */
	uint32_t half_open;        /* of these: no answer or no verdict yet */
	uint32_t flows_per_second; /* new ones; a burst of twice as many */
	uint32_t dns_per_second;   /* queries; a burst of twice as many */
	uint32_t names_per_minute; /* different names that only a pattern (`*.host`, `~regex`) allows */
	uint64_t bytes;            /* both ways, in all flows, since the sandbox began; 0: no quota */
};

#define DW_LIMIT_FLOWS            1024u /* more than any client needs at once; 4 descriptors each while bytes move */
#define DW_LIMIT_HALF_OPEN        256u
#define DW_LIMIT_FLOWS_PER_SECOND 2000u
#define DW_LIMIT_DNS_PER_SECOND   1000u
#define DW_LIMIT_NAMES_PER_MINUTE 120u /* of names of 63 bytes: about 1 kbit/s of what can be carried out in them */
/* The most that can be asked for. */
#define DW_LIMIT_FLOWS_MAX 16384u
#define DW_LIMIT_RATE_MAX  1000000u
#define DW_LIMIT_NAMES_MAX 100000u

/* Beyond this a number is not exact in every client's JSON. */
#define DW_LIMIT_BYTES_MAX 9007199254740991u

/* One limit, for whoever reads or writes it by its name. */
struct dw_limit {
	const char *name;
	uint64_t dflt;     /* 0: unlimited */
	uint64_t max;      /* the most that can be asked for; the least is 1 */
	const char *range; /* the two in words: "a whole number between 1 and ..." */
	size_t offset;     /* in struct dw_limits */
	bool wide;         /* 64 bits */
};
/* Each of struct dw_limits, in its order. */
#define DW_LIMIT_COUNT 6
extern const struct dw_limit dw_limit_table[DW_LIMIT_COUNT];

uint64_t dw_limit_get(const struct dw_limits *l, const struct dw_limit *which);
/* v must fit the member: nothing else is checked. */
void dw_limit_set(struct dw_limits *l, const struct dw_limit *which, uint64_t v);

/* Defaults for what is 0, and nothing above the most. */
void dw_limits_fill(struct dw_limits *l);

/* A token bucket. Zero: full at its first use. */
struct dw_bucket {
	uint64_t last_ms;
	uint64_t tokens_m; /* thousandths */
	bool used;
};
/*
 * Takes one token of `rate` per second, at most 2 * rate saved up, by the present rate; false: none there. A clock that runs
 * backwards adds nothing.
 */
bool dw_bucket_take(struct dw_bucket *b, uint32_t rate, uint64_t now_ms);

/* The different names of the current minute, by keyed hash. Zero-initialised; dw_name_window_done frees. */
struct dw_name_window {
	uint64_t start_ms;
	uint64_t *set; /* open addressing, 0 = free */
	uint32_t cap, n;
};
/*
 * Whether a name with this hash may be asked for: it is known in this window, or there was room for it (at most max names,
 * DW_LIMIT_NAMES_MAX at most). Fails closed (memory). A clock that runs backwards starts no new window.
 */
bool DW_MUST_USE dw_name_window_take(struct dw_name_window *w, uint64_t hash, uint32_t max, uint64_t now_ms);
void dw_name_window_done(struct dw_name_window *w);
