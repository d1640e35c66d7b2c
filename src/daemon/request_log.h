/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is kept of every request: its id, which the answer carries, one line in the log, and counts for GET /metrics. Never a key, a body,
 * a path or a query string: what clients write there may be secret, and would make as many series as they like.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

struct http_request;

#define REQUEST_ID_SIZE 65
#define REQUEST_ROUTES  256 /* rows of all route tables that fit */
#define REQUEST_BUCKETS 10  /* of durations, but for the last, which takes all */
#define REQUEST_CLASSES 6   /* by the status' first digit; 0: the client was gone before there was one */

/* One route. All only grow. */
struct request_count {
	atomic_ullong by_class[REQUEST_CLASSES];
	atomic_ullong by_duration[REQUEST_BUCKETS + 1]; /* each request in one of them */
	atomic_ullong duration_us;
};

struct request_counts {
	struct request_count route[REQUEST_ROUTES + 1]; /* the last: requests that no route took */
	atomic_uint active;
	_Atomic int64_t log_second; /* of the last line of a stranger, and how many there were in it */
	atomic_uint log_lines;
};

/* Upper bounds of by_duration, in seconds as text. */
extern const char *const request_bucket_names[REQUEST_BUCKETS];

/* The request's head is there. */
void request_begin(struct http_request *rq);
/* The answer has left, or never will. */
void request_end(struct http_request *rq);
