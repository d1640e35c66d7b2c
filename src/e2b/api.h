/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers of the E2B routes, one file per resource. */
#pragma once

#include "daemon/api.h"

/* api_health.c */
api_handler e2b_health;

/* api_sandboxes.c; v1: of their first version, where the defaults differ */
api_handler e2b_create, e2b_create_v1, e2b_connect, e2b_get, e2b_kill, e2b_timeout, e2b_pause, e2b_metrics;
/* What there is in their API and not here, so that its clients are told. */
api_handler e2b_elsewhere;
/* api_list.c, api_network.c */
api_handler e2b_list, e2b_list_v1, e2b_network_put;
/* rpc_process.c, rpc_process_start.c */
api_handler e2b_process_list, e2b_process_input, e2b_process_close_stdin, e2b_process_signal, e2b_process_update;
api_handler e2b_process_start, e2b_process_connect, e2b_process_stream_input;
/* rpc_files.c, rpc_files_list.c, rpc_watch.c */
api_handler e2b_watcher_create, e2b_watcher_events, e2b_watcher_remove; /* rpc_watchers.c */
api_handler e2b_file_stat, e2b_file_make_dir, e2b_file_move, e2b_file_remove, e2b_file_list, e2b_file_watch;
/* rpc_process_start.c: an admission */
int e2b_refuse_stream_input(struct http_request *rq, struct dw_err *err);

/* files.c, files_upload.c */
api_handler e2b_file_read, e2b_file_write;
extern const struct route_stream e2b_upload_stream;

/* ports.c */
bool e2b_port_is_asked(const struct http_request *rq);
int DW_MUST_USE e2b_port_admit(struct http_request *rq, struct dw_err *err);
extern const struct route_stream e2b_port_stream;

/* fail.c: how errors look. {"code": <HTTP status>, "message", "error_code": <our code>} */
struct MHD_Response *e2b_fail(const struct http_request *rq, unsigned *status);
