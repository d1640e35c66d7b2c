/* SPDX-License-Identifier: Apache-2.0 */
/* Every route of an API, in one table for each API. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

struct http_request;
struct http_reply;
struct MHD_Response;

enum route_body {
	ROUTE_NONE = 0, /* a body is read and ignored */
	ROUTE_JSON,     /* an object, at most DAEMON_JSON_MAX */
	ROUTE_BYTES,    /* as many bytes of any kind */
	ROUTE_STREAM,   /* bytes, up to the stream's limit, given to the route's stream as they come */
	ROUTE_PIPE,     /* the same, as many as come */
};

/*
 * What takes a body as it comes. begin runs when the head was read and checked; abort runs last when there is
 * a rq->stream, which it takes away: as soon as the request has failed, or when it is over.
 */
struct route_stream {
	int (*begin)(struct http_request *rq, struct dw_err *err);
	int (*data)(struct http_request *rq, const void *p, size_t n, struct dw_err *err);
	void (*abort)(struct http_request *rq);
	uint64_t (*limit)(const struct http_request *rq); /* of the bytes; NULL: DAEMON_RAW_MAX */
};

struct route {
	const char *method; /* ROUTE_ANY: every one, those without a name of their own too */
	/*
	 * Segments; the first in braces is what the route is about ({id}: a sandbox), a second one a part of it. A last one
	 * that ends in "...}" stands for all that is left of the path, nothing too: "/a/{rest...}" has "/a/" and "/a/b/c", but not "/a".
	 */
	const char *pattern;
	int (*handler)(struct http_request *rq, struct http_reply *rp, struct dw_err *err);
	enum route_body body;
	const struct route_stream *stream;
	bool open; /* needs no key */
	/*
	 * In the place of the key, and of the owner's check: judges the head, and sets the request's id (what the pattern has no place for)
	 * and caller. Fails UNAUTHORIZED, or as the handler would. Who is admitted has shown a credential, and is no stranger any more.
	 */
	int (*admit)(struct http_request *rq, struct dw_err *err);
};

struct route_table {
	const char *prefix; /* of every path in it, as "/e2b"; "" for the table of all other paths */
	const struct route *route;
	size_t n;
	/*
	 * How a failed request's error (rq->err) looks; *status is what its kind says, and may be changed. NULL: no memory. A table
	 * without it answers {"message","code"}.
	 */
	struct MHD_Response *(*fail)(const struct http_request *rq, unsigned *status);
};

/* All that a server has. The last one's prefix is "". */
struct route_tables {
	const struct route_table *const *table;
	size_t n;
	/* The table of a request that is told by its head and not by its path; NULL for others. May be NULL. */
	const struct route_table *(*choose)(const struct http_request *rq);
};

enum route_match {
	ROUTE_UNKNOWN = 0, /* no route has this path */
	ROUTE_METHOD,      /* the path has other methods: *allow lists them */
	ROUTE_FOUND,
};

#define ROUTE_ID_SIZE 72
#define ROUTE_ANY     "ANY"

/*
 * path is the decoded path of the request. On ROUTE_FOUND *ret, and what stands in the place of the first and the second segment in braces
 * in id and part: "" when there is none, and when it can not be an id, so that nothing has it.
 */
enum route_match route_find(const struct route_table *t, const char *method, const char *path, const struct route **ret,
			    char id[static ROUTE_ID_SIZE], char part[static ROUTE_ID_SIZE], char *allow,
			    size_t allow_size);

/* Whether path is one of pattern's, and as above what stands in id and part; which are left in any state when it is not. */
bool route_matches(const char *pattern, const char *path, char id[static ROUTE_ID_SIZE],
		   char part[static ROUTE_ID_SIZE]);

/* The one that has this path. */
const struct route_table *route_table_of(const struct route_tables *all, const char *path);
/* Every route of all tables has a number, from 0 on. NULL for one that no route has. */
const struct route *route_at(const struct route_tables *all, size_t number);
/* Of a route of the tables. */
size_t route_number(const struct route_tables *all, const struct route *r);

/* The API of this project. */
extern const struct route_table daemon_routes;
