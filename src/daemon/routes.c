/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/routes.h"

#include <stdio.h>
#include <string.h>

#include "daemon/api.h"

/* clang-format off */
static const struct route table[] = {
	{ "GET",    "/health",                     api_health,       ROUTE_NONE, NULL, true },
	{ "POST",   "/sandboxes",                  api_create,       ROUTE_JSON },
	{ "GET",    "/sandboxes",                  api_list,         ROUTE_NONE },
	{ "POST",   "/sandboxes/kill-many",        api_kill_many,    ROUTE_JSON },
	{ "GET",    "/sandboxes/{id}",             api_get,          ROUTE_NONE },
	{ "DELETE", "/sandboxes/{id}",             api_kill,         ROUTE_NONE },
	{ "GET",    "/sandboxes/{id}/status",      api_status,       ROUTE_NONE },
	{ "PATCH",  "/sandboxes/{id}/timeout",     api_timeout,      ROUTE_JSON },
	{ "POST",   "/sandboxes/{id}/commands",    api_command_run,  ROUTE_JSON },
	{ "GET",    "/sandboxes/{id}/commands",    api_command_list, ROUTE_NONE },
	{ "GET",    "/sandboxes/{id}/files",       api_file_read,    ROUTE_NONE },
	{ "POST",   "/sandboxes/{id}/files",       api_file_write,   ROUTE_JSON },
	{ "GET",    "/sandboxes/{id}/files/raw",   api_file_read,    ROUTE_NONE },
	{ "PUT",    "/sandboxes/{id}/files/raw",   api_file_upload,  ROUTE_STREAM, &api_file_upload_stream },
	{ "GET",    "/sandboxes/{id}/network",     api_network_get,  ROUTE_NONE },
	{ "PUT",    "/sandboxes/{id}/network",     api_network_put,  ROUTE_JSON },
	{ "PATCH",  "/sandboxes/{id}/network",     api_network_patch, ROUTE_JSON },
	{ "GET",    "/sandboxes/{id}/network/log", api_network_log,  ROUTE_NONE },
	{ "GET",    "/sandboxes/{id}/network/suggest", api_network_suggest, ROUTE_NONE },
};
/* clang-format on */

const struct route *route_table(size_t *ret_n)
{
	*ret_n = DW_COUNT(table);
	return table;
}

static bool id_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static void take_id(const char *s, size_t n, char *id, size_t size)
{
	bool ok = n < size;
	for (size_t i = 0; i < n && ok; i++)
		ok = id_char(s[i]);
	snprintf(id, size, "%.*s", ok ? (int)n : 0, s);
}

/* Segment by segment; a {id} matches any non-empty one. */
static bool matches(const char *pattern, const char *path, char *id, size_t id_size)
{
	while (*pattern == '/' && *path == '/') {
		size_t pn = strcspn(++pattern, "/"), n = strcspn(++path, "/");
		if (pn == 4 && memcmp(pattern, "{id}", 4) == 0) {
			if (!n)
				return false;
			take_id(path, n, id, id_size);
		} else if (pn != n || memcmp(pattern, path, n) != 0) {
			return false;
		}
		pattern += pn;
		path += n;
	}
	return !*pattern && !*path;
}

enum route_match route_find(const char *method, const char *path, const struct route **ret, char *id, size_t id_size,
			    char *allow, size_t allow_size)
{
	const char *pattern = NULL;
	size_t n = 0;
	id[0] = allow[0] = '\0';
	for (const struct route *r = table; r < table + DW_COUNT(table); r++) {
		/* The first pattern that fits has the path: literal ones stand before {id} in the table. */
		if (pattern ? strcmp(pattern, r->pattern) != 0 : !matches(r->pattern, path, id, id_size))
			continue;
		pattern = r->pattern;
		if (strcmp(r->method, method) == 0) {
			*ret = r;
			return ROUTE_FOUND;
		}
		if (n < allow_size)
			n += (size_t)snprintf(allow + n, allow_size - n, "%s%s", n ? ", " : "", r->method);
	}
	return pattern ? ROUTE_METHOD : ROUTE_UNKNOWN;
}
