/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server: what is the same for every request. A handler gets a request whose route, key, size and JSON are checked, and either
 * fills a reply or fails with an error; how either looks on the wire is decided here, in one place.
 *
 * Each connection has a thread, so handlers may wait. A refused request's body is still read, within limits, so that the client
 * gets the answer and not a reset.
 */
#pragma once

#include <microhttpd.h>
#include <stdbool.h>

#include "daemon/app.h"
#include "daemon/routes.h"

_Static_assert(ROUTE_ID_SIZE == RECORD_ID_SIZE, "a sandbox's id fits into a route's");

struct http_server;

struct http_request {
	struct app *app;
	struct http_server *server;
	struct MHD_Connection *conn;
	const struct route_table *table;
	const struct route *route;                   /* NULL while none is found */
	char request_id[REQUEST_ID_SIZE];            /* the client's own, or one of ours */
	int64_t begun_us;                            /* request_log.c's own */
	unsigned status;                             /* of the answer; 0 until there is one */
	struct caller caller;                        /* whose key it carries; of an open route perhaps nobody's */
	char id[ROUTE_ID_SIZE], part[ROUTE_ID_SIZE]; /* the segments in braces of the route; "" when it can be no id */
	json_t *json;                                /* the body of a ROUTE_JSON route: an object */
	const char *method;                          /* as it was sent */
	char *target;                                /* likewise, path and query; NULL when memory is out */
	char *query;                                 /* what followed the '?', as it was sent; NULL for nothing */
	void *stream;                                /* a ROUTE_STREAM route's own state; freed by its abort */
	char *body;      /* of a ROUTE_JSON or ROUTE_BYTES route; may be NULL when it is empty */
	uint64_t body_n; /* bytes of the body so far */

	/* A handler's: called with its argument when the answer has left, for what the client need not wait for. */
	void (*after)(void *arg);
	void *after_arg;

	/* http.c's own */
	size_t body_cap;
	uint64_t drain_max;
	bool failed; /* err is the answer, whatever else comes */
	struct dw_err err;
	char allow[64]; /* for a 405 */
};

struct http_reply {
	unsigned status;               /* 0 = 200 */
	json_t *json;                  /* one of these three; taken */
	char *text;                    /* JSON text; malloc'ed */
	struct MHD_Response *response; /* anything else */
};

/* Listens and serves. *ret_endpoint: where, with the real port. INVALID when the address can not be had. */
int DW_MUST_USE http_start(struct app *app, struct http_server **ret, struct options_endpoint *ret_endpoint,
			   struct dw_err *err);
/* Takes no new connection; requests under way go on. Returns when they are done, or after grace_ms. */
void http_quiesce(struct http_server *h, int grace_ms);
/* Ends every connection and waits for their threads. */
void http_stop(struct http_server *h);

/* A request header; NULL when absent. */
const char *http_header(const struct http_request *rq, const char *name);
/* A query parameter: *ret stays NULL when it is absent. INVALID when it holds a NUL byte. */
int DW_MUST_USE http_query(const struct http_request *rq, const char *key, const char **ret, struct dw_err *err);
/* A whole number between 1 and max; *ret keeps its default when absent; clamp: larger ones become max. */
int DW_MUST_USE http_query_number(const struct http_request *rq, const char *key, uint64_t max, bool clamp,
				  uint64_t *ret, struct dw_err *err);
/* The socket, to see the client hang up. */
int http_client_fd(const struct http_request *rq);
/* The connection is a client's from here on, and no stranger's. */
void http_vouch(const struct http_request *rq);
/* For a connection that is not HTTP any more: the server waits for its end before it stops. */
void http_tunnel_enter(struct http_server *h);
void http_tunnel_leave(struct http_server *h);
/* Whether no valid key has been seen on the connection. */
bool http_is_stranger(const struct http_request *rq);
/* What the client reached this server as: its Host header when that is plain, else where the server listens. */
const char *http_domain(const struct http_request *rq);

/* reply.c: sends the answer. The request's error when it has failed. */
enum MHD_Result http_send(struct http_request *rq, struct http_reply *rp);
/* The status of an error kind. */
unsigned http_status(enum dw_err_kind kind);
/* An answer of JSON; json is taken, NULL counts as memory that is out. NULL: no memory. */
struct MHD_Response *http_json_response(json_t *json_take);
/* {"message":..., "code":...} */
json_t *http_error_json(const struct dw_err *err);
