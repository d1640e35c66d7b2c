/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/routes.h"

#include <stdio.h>
#include <string.h>

#include "daemon/api.h"

/* clang-format off */
static const struct route table[] = {
	{ "GET",    "/health",                     api_health,       ROUTE_NONE, NULL, true },
	{ "GET",    "/metrics",                    api_prometheus,     ROUTE_NONE },
	{ "GET",    "/openapi.json",               api_openapi,      ROUTE_NONE },
	{ "GET",    "/auth/me",                    api_auth_me,      ROUTE_NONE },
	{ "GET",    "/accounts/{owner}",           api_account,      ROUTE_NONE },
	{ "GET",    "/accounts/{owner}/api-keys",  api_key_list,     ROUTE_NONE },
	{ "POST",   "/accounts/{owner}/api-keys",  api_key_create,   ROUTE_JSON },
	{ "DELETE", "/accounts/{owner}/api-keys/{key_id}", api_key_revoke, ROUTE_NONE },
	{ "GET",    "/accounts/{owner}/wallet",    api_no_billing,   ROUTE_NONE },
	{ "GET",    "/accounts/{owner}/usage",     api_no_billing,   ROUTE_NONE },
	{ "GET",    "/accounts/{owner}/usage/daily", api_no_billing, ROUTE_NONE },
	{ "GET",    "/accounts/{owner}/deposits",  api_no_billing,   ROUTE_NONE },
	{ "GET",    "/accounts/{owner}/overview",  api_no_billing,   ROUTE_NONE },
	{ "POST",   "/sandboxes",                  api_create,       ROUTE_JSON },
	{ "GET",    "/sandboxes",                  api_list,         ROUTE_NONE },
	{ "POST",   "/sandboxes/kill-many",        api_kill_many,    ROUTE_JSON },
	{ "GET",    "/sandboxes/{id}",             api_get,          ROUTE_NONE },
	{ "DELETE", "/sandboxes/{id}",             api_kill,         ROUTE_NONE },
	{ "GET",    "/sandboxes/{id}/status",      api_status,       ROUTE_NONE },
	{ "PATCH",  "/sandboxes/{id}/timeout",     api_timeout,      ROUTE_JSON },
	{ "POST",   "/sandboxes/{id}/pause",       api_pause,        ROUTE_NONE },
	{ "POST",   "/sandboxes/{id}/resume",      api_resume,       ROUTE_NONE },
	{ "POST",   "/sandboxes/{id}/snapshot",    api_snapshot_create, ROUTE_NONE },
	{ "POST",   "/sandboxes/{id}/snapshots",   api_snapshot_create, ROUTE_NONE },
	{ "GET",    "/sandboxes/{id}/snapshots",   api_snapshot_list, ROUTE_NONE },
	{ "DELETE", "/sandboxes/{id}/snapshots/{snapshot_id}", api_snapshot_delete, ROUTE_NONE },
	{ "POST",   "/sandboxes/{id}/restore",     api_restore,      ROUTE_NONE },
	{ "GET",    "/snapshots",                  api_snapshot_list_all, ROUTE_NONE },
	{ "GET",    "/sandboxes/{id}/metrics",     api_metrics,      ROUTE_NONE },
	{ "POST",   "/sandboxes/{id}/commands",    api_command_run,  ROUTE_JSON },
	{ "GET",    "/sandboxes/{id}/commands",    api_command_list, ROUTE_NONE },
	{ "POST",   "/sandboxes/{id}/commands/stream", api_command_stream, ROUTE_JSON },
	{ "DELETE", "/sandboxes/{id}/commands/{pid}", api_command_kill, ROUTE_NONE },
	{ "GET",    "/sandboxes/{id}/commands/{pid}/wait", api_command_wait, ROUTE_NONE },
	{ "GET",    "/sandboxes/{id}/commands/{pid}/stream", api_command_follow, ROUTE_NONE },
	{ "POST",   "/sandboxes/{id}/commands/{pid}/stdin", api_command_stdin, ROUTE_JSON },
	{ "POST",   "/sandboxes/{id}/commands/{pid}/stdin/close", api_command_stdin_close, ROUTE_NONE },
	{ "POST",   "/sandboxes/{id}/commands/{pid}/signal", api_command_signal, ROUTE_JSON },
	{ "POST",   "/sandboxes/{id}/pty",         api_pty_create,   ROUTE_JSON },
	{ "GET",    "/sandboxes/{id}/pty/{pid}/stream", api_pty_stream, ROUTE_NONE },
	{ "POST",   "/sandboxes/{id}/pty/{pid}/stdin", api_pty_stdin, ROUTE_JSON },
	{ "PATCH",  "/sandboxes/{id}/pty/{pid}",   api_pty_resize,   ROUTE_JSON },
	{ "DELETE", "/sandboxes/{id}/pty/{pid}",   api_pty_kill,     ROUTE_NONE },
	{ "POST",   "/sandboxes/{id}/stdio",       api_stdio_start,  ROUTE_JSON },
	{ "GET",    "/sandboxes/{id}/stdio/{cmd_id}/stream", api_stdio_stream, ROUTE_NONE },
	{ "POST",   "/sandboxes/{id}/stdio/{cmd_id}/stdin", api_stdio_stdin, ROUTE_JSON },
	{ "POST",   "/sandboxes/{id}/stdio/{cmd_id}/stdin/close", api_stdio_stdin_close, ROUTE_NONE },
	{ "DELETE", "/sandboxes/{id}/stdio/{cmd_id}", api_stdio_kill, ROUTE_NONE },
	{ "GET",    "/sandboxes/{id}/files",       api_file_read,    ROUTE_NONE },
	{ "POST",   "/sandboxes/{id}/files",       api_file_write,   ROUTE_JSON },
	{ "DELETE", "/sandboxes/{id}/files",       api_file_remove,  ROUTE_NONE },
	{ "PATCH",  "/sandboxes/{id}/files",       api_file_rename,  ROUTE_JSON },
	{ "POST",   "/sandboxes/{id}/files/batch", api_file_batch,   ROUTE_JSON },
	{ "GET",    "/sandboxes/{id}/files/list",  api_file_list,    ROUTE_NONE },
	{ "GET",    "/sandboxes/{id}/files/exists", api_file_exists, ROUTE_NONE },
	{ "GET",    "/sandboxes/{id}/files/info",  api_file_info,    ROUTE_NONE },
	{ "POST",   "/sandboxes/{id}/files/mkdir", api_file_mkdir,   ROUTE_JSON },
	{ "POST",   "/sandboxes/{id}/files/watch", api_file_watch,   ROUTE_JSON },
	{ "GET",    "/sandboxes/{id}/files/raw",   api_file_read,    ROUTE_NONE },
	{ "PUT",    "/sandboxes/{id}/files/raw",   api_file_upload,  ROUTE_STREAM, &api_file_upload_stream },
	{ "GET",    "/templates",                  api_template_list, ROUTE_NONE },
	{ "POST",   "/templates/build",            api_template_build, ROUTE_JSON },
	{ "POST",   "/templates/import",           api_template_import, ROUTE_STREAM, &api_template_import_stream },
	{ "POST",   "/templates/debian",           api_template_debian, ROUTE_JSON },
	{ "GET",    "/templates/builds/{build_id}", api_build_get,   ROUTE_NONE },
	{ "GET",    "/templates/{template_id}",    api_template_get, ROUTE_NONE },
	{ "DELETE", "/templates/{template_id}",    api_template_delete, ROUTE_NONE },
	{ "GET",    "/sandboxes/{id}/network",     api_network_get,  ROUTE_NONE },
	{ "PUT",    "/sandboxes/{id}/network",     api_network_put,  ROUTE_JSON },
	{ "PATCH",  "/sandboxes/{id}/network",     api_network_patch, ROUTE_JSON },
	{ "GET",    "/sandboxes/{id}/network/log", api_network_log,  ROUTE_NONE },
	{ ROUTE_ANY, "/sandboxes/{id}/ports/{port}", api_port,   ROUTE_PIPE, &api_port_stream },
	{ ROUTE_ANY, "/sandboxes/{id}/ports/{port}/{rest...}", api_port, ROUTE_PIPE, &api_port_stream },
	{ "GET",    "/sandboxes/{id}/network/suggest", api_network_suggest, ROUTE_NONE },
	{ "POST",   "/sandboxes/{id}/volumes/snapshot", api_volume_snapshot, ROUTE_NONE },
	{ "POST",   "/sandboxes/{id}/volumes/{volume_id}/commit", api_volume_commit, ROUTE_NONE },
	{ "POST",   "/volumes",                    api_volume_create, ROUTE_STREAM, &api_volume_upload_stream },
	{ "GET",    "/volumes",                    api_volume_list,  ROUTE_NONE },
	{ "POST",   "/volumes/empty",              api_volume_empty, ROUTE_NONE },
	{ "POST",   "/volumes/ingest",             api_volume_ingest, ROUTE_STREAM, &api_volume_ingest_stream },
	{ "GET",    "/volumes/{volume_id}",        api_volume_get,   ROUTE_NONE },
	{ "DELETE", "/volumes/{volume_id}",        api_volume_delete, ROUTE_NONE },
	{ "GET",    "/volumes/{volume_id}/download", api_volume_download, ROUTE_NONE },
	{ "PUT",    "/volumes/{volume_id}/files/raw", api_volume_files, ROUTE_STREAM, &api_volume_files_stream },
	{ "GET",    "/volumes/{volume_id}/files/raw", api_volume_files, ROUTE_NONE },
	{ "GET",    "/volumes/{volume_id}/files/list", api_volume_files, ROUTE_NONE },
	{ "GET",    "/volumes/{volume_id}/files/info", api_volume_files, ROUTE_NONE },
	{ "GET",    "/volumes/{volume_id}/files/exists", api_volume_files, ROUTE_NONE },
	{ "DELETE", "/volumes/{volume_id}/files",  api_volume_files, ROUTE_NONE },
	{ "PATCH",  "/volumes/{volume_id}/files",  api_volume_files, ROUTE_NONE },
	{ "POST",   "/volumes/{volume_id}/files/mkdir", api_volume_files, ROUTE_NONE },
	{ "GET",    "/volumes/{volume_id}/locks",  api_volume_locks, ROUTE_NONE },
	{ "POST",   "/volumes/{volume_id}/locks",  api_volume_locks, ROUTE_NONE },
	{ "DELETE", "/volumes/{volume_id}/locks",  api_volume_locks, ROUTE_NONE },
	{ "POST",   "/volumes/{volume_id}/locks/renew", api_volume_locks, ROUTE_NONE },
};
/* clang-format on */

const struct route_table daemon_routes = { .prefix = "", .route = table, .n = DW_COUNT(table) };

static bool has_prefix(const char *path, const char *prefix)
{
	const size_t n = strlen(prefix);
	return strncmp(path, prefix, n) == 0 && (!n || !path[n] || path[n] == '/');
}

const struct route_table *route_table_of(const struct route_tables *all, const char *path)
{
	size_t i = 0;
	while (i + 1 < all->n && !has_prefix(path, all->table[i]->prefix))
		i++;
	return all->table[i];
}

const struct route *route_at(const struct route_tables *all, size_t number)
{
	for (size_t i = 0; i < all->n; number -= all->table[i++]->n)
		if (number < all->table[i]->n)
			return &all->table[i]->route[number];
	return NULL;
}

size_t route_number(const struct route_tables *all, const struct route *r)
{
	size_t before = 0, i = 0;
	while (r < all->table[i]->route || r >= all->table[i]->route + all->table[i]->n)
		before += all->table[i++]->n;
	return before + (size_t)(r - all->table[i]->route);
}

static bool id_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static void take_id(const char *s, size_t n, char id[static ROUTE_ID_SIZE])
{
	bool ok = n < ROUTE_ID_SIZE;
	for (size_t i = 0; i < n && ok; i++)
		ok = id_char(s[i]);
	snprintf(id, ROUTE_ID_SIZE, "%.*s", ok ? (int)n : 0, s);
}

static bool is_tail(const char *segment, size_t n)
{
	static const char end[] = "...}";
	return n > sizeof(end) && segment[0] == '{' && strcmp(segment + n - (sizeof(end) - 1), end) == 0;
}

bool route_matches(const char *pattern, const char *path, char id[static ROUTE_ID_SIZE],
		   char part[static ROUTE_ID_SIZE])
{
	char *const word[] = { id, part };
	size_t words = 0;
	id[0] = part[0] = '\0';
	while (*pattern == '/' && *path == '/') {
		size_t pn = strcspn(++pattern, "/"), n = strcspn(++path, "/");
		if (is_tail(pattern, pn))
			return true;
		if (*pattern == '{') {
			dw_assert(words < DW_COUNT(word));
			if (!n)
				return false;
			take_id(path, n, word[words++]);
		} else if (pn != n || memcmp(pattern, path, n) != 0) {
			return false;
		}
		pattern += pn;
		path += n;
	}
	return !*pattern && !*path;
}

enum route_match route_find(const struct route_table *t, const char *method, const char *path, const struct route **ret,
			    char id[static ROUTE_ID_SIZE], char part[static ROUTE_ID_SIZE], char *allow,
			    size_t allow_size)
{
	const char *pattern = NULL;
	size_t n = 0;
	allow[0] = '\0';
	for (const struct route *r = t->route; r < t->route + t->n; r++) {
		/* The first pattern that fits has the path: literal ones stand before those in braces in the table. */
		if (!pattern && route_matches(r->pattern, path, id, part))
			pattern = r->pattern;
		if (!pattern || strcmp(pattern, r->pattern) != 0)
			continue;
		if (strcmp(r->method, method) == 0 || strcmp(r->method, ROUTE_ANY) == 0) {
			*ret = r;
			return ROUTE_FOUND;
		}
		if (n < allow_size)
			n += (size_t)snprintf(allow + n, allow_size - n, "%s%s", n ? ", " : "", r->method);
	}
	return pattern ? ROUTE_METHOD : ROUTE_UNKNOWN;
}
