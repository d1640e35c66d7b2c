/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers of the routes, one file per resource. */
#pragma once

#include "daemon/http.h"

typedef int api_handler(struct http_request *rq, struct http_reply *rp, struct dw_err *err);

/* api_meta.c */
api_handler api_prometheus, api_openapi;
/* api_account.c */
api_handler api_auth_me, api_account, api_key_list, api_key_create, api_key_revoke, api_no_billing;
/* api_sandboxes.c */
api_handler api_health, api_create, api_list, api_get, api_kill, api_kill_many, api_status, api_timeout;
/* api_life.c */
api_handler api_pause, api_resume, api_metrics;
/* api_commands.c, api_process.c, api_stream.c */
api_handler api_command_run, api_command_list, api_command_kill, api_command_stdin, api_command_stdin_close;
api_handler api_command_wait, api_command_signal, api_command_stream, api_command_follow;
/* api_pty.c, api_stdio.c */
api_handler api_pty_create, api_pty_stream, api_pty_stdin, api_pty_resize, api_pty_kill;
api_handler api_stdio_start, api_stdio_stream, api_stdio_stdin, api_stdio_stdin_close, api_stdio_kill;
/* api_ports.c */
api_handler api_port;
extern const struct route_stream api_port_stream;
/* The same for a request that names its port in another way. */
struct api_port_where {
	uint16_t port;
	const char *target; /* what the server inside gets of the request line's: "", or from a '/' or '?' on */
	const char *prefix; /* of the path, which was taken away */
	bool with_token;    /* it may pass also where the network has no public traffic */
};
int DW_MUST_USE api_port_begin(struct http_request *rq, const struct api_port_where *where, struct dw_err *err);
int api_port_data(struct http_request *rq, const void *p, size_t n, struct dw_err *err);
void api_port_abort(struct http_request *rq);
/* api_snapshots.c */
api_handler api_snapshot_create, api_snapshot_list, api_snapshot_list_all, api_snapshot_delete, api_restore;
/* A create with snapshot_id: the sandbox's disk, template and what was mounted are the snapshot's. Nothing without one. */
struct create_spec;
int DW_MUST_USE api_snapshot_use(const struct http_request *rq, struct create_spec *spec, struct dw_err *err);
/* api_files.c */
api_handler api_file_read, api_file_write, api_file_upload, api_file_batch;
extern const struct route_stream api_file_upload_stream;
/* A file of the request's sandbox as an answer; user and path are checked. */
int DW_MUST_USE api_file_download(const struct http_request *rq, const char *user, const char *path,
				  struct MHD_Response **ret, struct dw_err *err);
/* api_files_dir.c, api_watch.c */
api_handler api_file_list, api_file_exists, api_file_info, api_file_remove, api_file_rename, api_file_mkdir;
api_handler api_file_watch;
/* api_templates.c, api_template_import.c */
api_handler api_template_list, api_template_get, api_template_delete, api_template_build, api_template_debian;
api_handler api_template_import, api_build_get;
extern const struct route_stream api_template_import_stream;
/* api_network.c, api_network_log.c */
api_handler api_network_get, api_network_put, api_network_patch, api_network_suggest, api_network_log;
/* api_volumes.c, api_volumes_take.c */
api_handler api_volume_create, api_volume_empty, api_volume_list, api_volume_get, api_volume_delete,
	api_volume_download;
api_handler api_volume_ingest, api_volume_files, api_volume_locks, api_volume_commit, api_volume_snapshot;
struct volume_row;
struct unpack_counts;
/* 201: a new volume. */
int api_volume_made(const struct http_request *rq, struct http_reply *rp, const struct volume_row *v,
		    const struct unpack_counts *counts, struct dw_err *err);
extern const struct route_stream api_volume_upload_stream, api_volume_ingest_stream, api_volume_files_stream;

/* What happened before this request is in the log when it returns, and so in the answer. */
void api_catch_up(const struct http_request *rq);
/* A path inside a sandbox: not empty, not too long, no `..` component. INVALID "invalid_path". */
int DW_MUST_USE api_check_path(const char *path, const char *field, struct dw_err *err);
/* An account name: *user NULL or "" becomes "user". */
int DW_MUST_USE api_check_user(const char **user, const char *field, struct dw_err *err);
/*
 * The query of a removal as it stood in the request line: what is between the first "path=" and the last "&username=" is the path, with %xx
 * decoded and '+' left alone; both malloc'ed. INVALID "invalid_path" when either is missing.
 */
int DW_MUST_USE api_raw_target(const char *query, char **ret_path, char **ret_user, struct dw_err *err);
