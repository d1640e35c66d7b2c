/* SPDX-License-Identifier: Apache-2.0 */
/* What the calls about files share. */
#pragma once

#include "daemon/agent_file.h"
#include "e2b/api.h"
#include "e2b/connect.h"
#include "e2b/message.h"
#include "e2b/path.h"

/* A call's target as the agent takes it. */
struct rpc_path {
	struct connect_call call;
	char text[E2B_PATH_SIZE];
};
/* connect_begin, and the path in the named field; absent is the home. */
int DW_MUST_USE rpc_path_read(struct http_request *rq, const char *field, struct rpc_path *ret, struct dw_err *err);
/* An operation that asks for q about the path. */
int DW_MUST_USE rpc_files_begin(struct http_request *rq, const struct rpc_path *path, enum dw_agentp_type type,
				struct dw_agentp_file_request q, struct agent_op *op, struct dw_err *err);
/* What a path is. A path below a file is NOT_FOUND too. */
int DW_MUST_USE rpc_files_info(struct http_request *rq, const struct rpc_path *path, json_t **ret, struct dw_err *err);

/* EntryInfo; NULL: no memory. */
json_t *rpc_entry_json(const struct dw_agentp_entry *e);

/* An event of a watch as messages of FilesystemEvent: none, one, or two for a renaming. */
struct rpc_event {
	json_t *message[2];
	unsigned n;
};
/* What follows of the watch's next frame. */
enum rpc_watch {
	RPC_WATCH_EVENT = 0, /* *ret is set */
	RPC_WATCH_OVER,      /* err says why: to the client it is the end */
	RPC_WATCH_MEMORY,    /* it was out */
};
/* A directory that is watched. */
struct rpc_watched {
	struct http_request *rq; /* for entries; NULL: without */
	char user[DAEMON_USER_MAX + 1];
	char path[E2B_PATH_SIZE]; /* of the directory: absolute */
};
/* Reads a request to watch, and begins: from here on nothing is missed. */
int DW_MUST_USE rpc_watch_begin(struct http_request *rq, struct agent_op *op, struct rpc_watched *ret,
				struct connect_call *call, struct dw_err *err);
enum rpc_watch rpc_watch_event(const struct rpc_watched *w, const struct dw_agentp_event *e, struct rpc_event *ret,
			       struct dw_err *err);
