/* SPDX-License-Identifier: Apache-2.0 */
#include "e2b/routes.h"

#include "e2b/api.h"
#include "e2b/files.h"
#include "e2b/target.h"

/* clang-format off */
static const struct route table[] = {
	{ "GET",    "/e2b/health",                 e2b_health,       ROUTE_NONE, .open = true },
	{ "GET",    "/e2b/files",                  e2b_file_read,    ROUTE_NONE, .admit = files_admit },
	{ "POST",   "/e2b/files",                  e2b_file_write,   ROUTE_STREAM, &e2b_upload_stream, .admit = files_admit },
	{ "POST",   "/e2b/v2/sandboxes",           e2b_create,       ROUTE_JSON },
	{ "GET",    "/e2b/v2/sandboxes",           e2b_list,         ROUTE_NONE },
	{ "POST",   "/e2b/v2/sandboxes/{id}/connect", e2b_connect,   ROUTE_JSON },
	{ "POST",   "/e2b/sandboxes",              e2b_create_v1,    ROUTE_JSON },
	{ "GET",    "/e2b/sandboxes",              e2b_list_v1,      ROUTE_NONE },
	{ "POST",   "/e2b/sandboxes/{id}/connect", e2b_connect,      ROUTE_JSON },
	{ "GET",    "/e2b/sandboxes/{id}",         e2b_get,          ROUTE_NONE },
	{ "DELETE", "/e2b/sandboxes/{id}",         e2b_kill,         ROUTE_NONE },
	{ "POST",   "/e2b/sandboxes/{id}/timeout", e2b_timeout,      ROUTE_JSON },
	{ "POST",   "/e2b/sandboxes/{id}/pause",   e2b_pause,        ROUTE_BYTES },
	{ "PUT",    "/e2b/sandboxes/{id}/network", e2b_network_put,  ROUTE_JSON },
	{ "GET",    "/e2b/sandboxes/{id}/metrics", e2b_metrics,      ROUTE_NONE },
	{ "ANY",    "/e2b/sandboxes/{id}/snapshots", e2b_elsewhere,  ROUTE_NONE },
	{ "ANY",    "/e2b/sandboxes/{id}/fork",    e2b_elsewhere,    ROUTE_NONE },
	{ "ANY",    "/e2b/snapshots",              e2b_elsewhere,    ROUTE_NONE },
	{ "ANY",    "/e2b/templates/{rest...}",    e2b_elsewhere,    ROUTE_NONE },
	{ "ANY",    "/e2b/v2/templates/{rest...}", e2b_elsewhere,    ROUTE_NONE },
	{ "ANY",    "/e2b/v3/templates",           e2b_elsewhere,    ROUTE_NONE },
	{ "ANY",    "/e2b/volumes",                e2b_elsewhere,    ROUTE_NONE },
	{ "ANY",    "/e2b/volumes/{rest...}",      e2b_elsewhere,    ROUTE_NONE },
	/* Calls of the Connect protocol (connect.h). */
	{ "POST",   "/e2b/process.Process/List",       e2b_process_list,    ROUTE_JSON,  .admit = e2b_admit },
	{ "POST",   "/e2b/process.Process/Start",      e2b_process_start,   ROUTE_BYTES, .admit = e2b_admit },
	{ "POST",   "/e2b/process.Process/Connect",    e2b_process_connect, ROUTE_BYTES, .admit = e2b_admit },
	{ "POST",   "/e2b/process.Process/SendInput",  e2b_process_input,   ROUTE_JSON,  .admit = e2b_admit },
	{ "POST",   "/e2b/process.Process/CloseStdin", e2b_process_close_stdin, ROUTE_JSON, .admit = e2b_admit },
	{ "POST",   "/e2b/process.Process/SendSignal", e2b_process_signal,  ROUTE_JSON,  .admit = e2b_admit },
	{ "POST",   "/e2b/process.Process/Update",     e2b_process_update,  ROUTE_JSON,  .admit = e2b_admit },
	{ "POST",   "/e2b/filesystem.Filesystem/Stat", e2b_file_stat,       ROUTE_JSON,  .admit = e2b_admit },
	{ "POST",   "/e2b/filesystem.Filesystem/MakeDir", e2b_file_make_dir, ROUTE_JSON, .admit = e2b_admit },
	{ "POST",   "/e2b/filesystem.Filesystem/Move", e2b_file_move,       ROUTE_JSON,  .admit = e2b_admit },
	{ "POST",   "/e2b/filesystem.Filesystem/ListDir", e2b_file_list,    ROUTE_JSON,  .admit = e2b_admit },
	{ "POST",   "/e2b/filesystem.Filesystem/Remove", e2b_file_remove,   ROUTE_JSON,  .admit = e2b_admit },
	{ "POST",   "/e2b/filesystem.Filesystem/WatchDir", e2b_file_watch,  ROUTE_BYTES, .admit = e2b_admit },
	{ "POST",   "/e2b/filesystem.Filesystem/CreateWatcher", e2b_watcher_create, ROUTE_JSON, .admit = e2b_admit },
	{ "POST",   "/e2b/filesystem.Filesystem/GetWatcherEvents", e2b_watcher_events, ROUTE_JSON, .admit = e2b_admit },
	{ "POST",   "/e2b/filesystem.Filesystem/RemoveWatcher", e2b_watcher_remove, ROUTE_JSON, .admit = e2b_admit },
	{ "POST",   "/e2b/process.Process/StreamInput", e2b_process_stream_input, ROUTE_BYTES,
	  .admit = e2b_refuse_stream_input },
};

/* Signed URLs, whose path their clients make anew: the prefix is not in it. */
static const struct route signed_table[] = {
	{ "GET",    "/files",                      e2b_file_read,    ROUTE_NONE, .admit = files_admit },
	{ "POST",   "/files",                      e2b_file_write,   ROUTE_STREAM, &e2b_upload_stream, .admit = files_admit },
};

static const struct route port_table[] = {
	{ ROUTE_ANY, "/{rest...}",                 api_port,         ROUTE_PIPE, &e2b_port_stream, .admit = e2b_port_admit },
};
/* clang-format on */

const struct route_table e2b_routes = { .prefix = "/e2b", .route = table, .n = DW_COUNT(table), .fail = e2b_fail };
const struct route_table e2b_signed_routes = {
	.prefix = "/files", .route = signed_table, .n = DW_COUNT(signed_table), .fail = e2b_fail
};
const struct route_table e2b_port_routes = {
	.prefix = " ", .route = port_table, .n = DW_COUNT(port_table), .fail = e2b_fail
};

const struct route_table *e2b_choose(const struct http_request *rq)
{
	return e2b_port_is_asked(rq) ? &e2b_port_routes : NULL;
}
