/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to a server, on libcurl. Where it is and which key opens it is found as the Python SDK does it (docs/cli.md); the key is
 * never on a command line, where every user of the machine could read it, and goes to no other server: redirects are not
 * followed, proxies not used, and this machine's own key is for servers on this machine.
 *
 * A server may answer anything: what is kept of an answer is bounded, and texts of it are escaped before they are shown.
 */
#pragma once

#include <curl/curl.h>
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"

#define CLIENT_ANSWER_MAX (64u << 20) /* JSON: a listing of 100,000 long names is a third of it */
#define CLIENT_ERROR_MAX  (64u << 10)
#define CLIENT_SILENCE_S  90u /* servers send a sign of life every 15 s at the most */

/* Values of options; NULL: not given. */
struct client_where {
	const char *url, *domain, *key_file;
};

struct client;
int DW_MUST_USE client_open(const struct client_where *where, struct client **ret, struct dw_err *err);
void client_close(struct client *c);
DW_DEFINE_CLEANUP(struct client *, client_close)

struct client_request {
	const char *method, *path; /* the path with its query, encoded */
	const json_t *body;        /* NULL: none */
	bool events;               /* the answer is to be a stream of events */
	/* Takes the body of a good answer piece by piece: 0, 1 for enough, -1 with err. NULL: the answer is JSON, and kept. */
	int (*sink)(void *arg, const char *p, size_t n, struct dw_err *err);
	void *arg;
	int upload_fd;                           /* the body is read from it when upload is set, up to its end */
	bool upload;                             /* and nothing else is the body */
	int64_t upload_size;                     /* bytes; -1: not known */
	void (*moved)(void *arg, int64_t bytes); /* may be NULL: how many bytes went up so far */
	bool patient;                            /* the server may be silent as long as it likes */
	const volatile sig_atomic_t *stop;       /* ends it when it is set; may be NULL */
	unsigned most_s;                         /* the whole request may take; 0: no limit */
};

/*
 * Does a request. ret (may be NULL): the answer as JSON, owned by the caller, without a sink only. -1 with err. What the
 * server refused has its code and its message, escaped, and the kind of its status; UNPROCESSABLE for other 4xx, UNAVAILABLE for the
 * rest and where there is no server, or the connection broke.
 */
int DW_MUST_USE client_do(struct client *c, const struct client_request *rq, json_t **ret, struct dw_err *err);
/* The same for the usual request. body is taken; NULL: none. */
int DW_MUST_USE client_json(struct client *c, const char *method, const char *path, json_t *body_take, json_t **ret,
			    struct dw_err *err);

/* "/sandboxes/{id}" and what printf makes of the rest, malloc'ed; NULL: memory is out. id is checked before (place_is_id). */
char *client_path(const char *id, const char *fmt, ...) DW_PRINTF(2, 3);

/* One request of several at a time: add easy to a multi handle, and end it when it is done. */
struct transfer;
int DW_MUST_USE transfer_new(struct client *c, const struct client_request *rq, struct transfer **ret,
			     struct dw_err *err);
CURL *transfer_easy(struct transfer *t);
/* Frees it. As client_do; code is what libcurl said. */
int DW_MUST_USE transfer_end(struct transfer *t, CURLcode code, json_t **ret, struct dw_err *err);
/* Frees one that is given up. */
void transfer_free(struct transfer *t);
DW_DEFINE_CLEANUP(struct transfer *, transfer_free)
