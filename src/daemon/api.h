/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers of the routes, one file per resource. */
#pragma once

#include "daemon/http.h"

typedef int api_handler(struct http_request *rq, struct http_reply *rp, struct dw_err *err);

/* api_sandboxes.c */
api_handler api_health, api_create, api_list, api_get, api_kill, api_kill_many, api_status, api_timeout;
/* api_commands.c */
api_handler api_command_run, api_command_list;
/* api_files.c */
api_handler api_file_read, api_file_write, api_file_upload;
extern const struct route_stream api_file_upload_stream;
/* api_network.c, api_network_log.c */
api_handler api_network_get, api_network_put, api_network_patch, api_network_suggest, api_network_log;

/* What happened before this request is in the log when it returns, and so in the answer. */
void api_catch_up(const struct http_request *rq);
/* A path inside a sandbox: not empty, not too long, no `..` component. INVALID "invalid_path". */
int DW_MUST_USE api_check_path(const char *path, const char *field, struct dw_err *err);
/* An account name: *user NULL or "" becomes "user". */
int DW_MUST_USE api_check_user(const char **user, const char *field, struct dw_err *err);
