/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include "daemon/routes.h"

struct row {
	const char *name, *method, *path;
	enum route_match want;
	const char *pattern; /* or the allowed methods */
	const char *id;
};

/* clang-format off */
static const struct row rows[] = {
	{ "health", "GET", "/health", ROUTE_FOUND, "/health", "" },
	{ "create", "POST", "/sandboxes", ROUTE_FOUND, "/sandboxes", "" },
	{ "kill-many is no id", "POST", "/sandboxes/kill-many", ROUTE_FOUND, "/sandboxes/kill-many", "" },
	{ "kill-many takes only POST", "GET", "/sandboxes/kill-many", ROUTE_METHOD, "POST" },
	{ "an id", "GET", "/sandboxes/sbx-abc12345", ROUTE_FOUND, "/sandboxes/{id}", "sbx-abc12345" },
	{ "an id below", "PUT", "/sandboxes/x_Y-1/files/raw", ROUTE_FOUND, "/sandboxes/{id}/files/raw", "x_Y-1" },
	{ "what can be no id", "GET", "/sandboxes/a.b", ROUTE_FOUND, "/sandboxes/{id}", "" },
	{ "an id that is too long", "GET", "/sandboxes/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	  ROUTE_FOUND, "/sandboxes/{id}", "" },
	{ "an empty id", "GET", "/sandboxes/", ROUTE_UNKNOWN },
	{ "an empty id inside", "GET", "/sandboxes//status", ROUTE_UNKNOWN },
	{ "a slash too many", "GET", "/sandboxes/x/status/", ROUTE_UNKNOWN },
	{ "unknown", "GET", "/nothing", ROUTE_UNKNOWN },
	{ "root", "GET", "/", ROUTE_UNKNOWN },
	{ "no slash", "OPTIONS", "*", ROUTE_UNKNOWN },
	{ "case matters", "GET", "/Health", ROUTE_UNKNOWN },
	{ "an account", "GET", "/accounts/me-1/api-keys", ROUTE_FOUND, "/accounts/{owner}/api-keys", "me-1" },
	{ "two words", "DELETE", "/accounts/a/api-keys/k", ROUTE_FOUND, "/accounts/{owner}/api-keys/{key_id}", "a" },
	{ "a process", "GET", "/sandboxes/x/commands/12/wait", ROUTE_FOUND, "/sandboxes/{id}/commands/{pid}/wait", "x" },
	{ "stream is no pid", "POST", "/sandboxes/x/commands/stream", ROUTE_FOUND, "/sandboxes/{id}/commands/stream", "x" },
	{ "a pid without more", "GET", "/sandboxes/x/commands/12", ROUTE_METHOD, "DELETE" },
	{ "a slash in a pid", "GET", "/sandboxes/x/commands/1/2/wait", ROUTE_UNKNOWN },
	{ "a second word that is empty", "DELETE", "/accounts/a/api-keys/", ROUTE_UNKNOWN },
	{ "wrong method", "DELETE", "/sandboxes", ROUTE_METHOD, "POST, GET" },
	{ "wrong method below an id", "PATCH", "/sandboxes/x", ROUTE_METHOD, "GET, DELETE" },
	{ "HEAD is a method of its own", "HEAD", "/health", ROUTE_METHOD, "GET" },
};
/* clang-format on */

static void check(void **state)
{
	const struct row *r = *state;
	const struct route *route = NULL;
	char id[ROUTE_ID_SIZE], part[ROUTE_ID_SIZE], allow[64];
	assert_int_equal(route_find(&daemon_routes, r->method, r->path, &route, id, part, allow, sizeof(allow)),
			 r->want);
	if (r->want == ROUTE_FOUND) {
		assert_string_equal(route->pattern, r->pattern);
		assert_string_equal(id, r->id);
	} else {
		assert_null(route);
	}
	if (r->want == ROUTE_METHOD)
		assert_string_equal(allow, r->pattern);
}

struct shape {
	const char *pattern, *path;
	bool fits;
	const char *id, *part;
};

static const struct shape shapes[] = {
	{ "/a/{id}/p/{part}", "/a/x/p/80", true, "x", "80" },
	{ "/a/{id}/p/{part}/{rest...}", "/a/x/p/80", false },
	{ "/a/{id}/p/{part}/{rest...}", "/a/x/p/80/", true, "x", "80" },
	{ "/a/{id}/p/{part}/{rest...}", "/a/x/p/80/b", true, "x", "80" },
	{ "/a/{id}/p/{part}/{rest...}", "/a/x/p/80//b/c/", true, "x", "80" },
	{ "/a/{id}/p/{part}/{rest...}", "/a/x/p//b", false },
	{ "/a/{id}/p/{part}/{rest...}", "/a/x/q/80/b", false },
	{ "/{rest...}", "/", true, "", "" },
	{ "/{rest...}", "/a/b", true, "", "" },
	{ "/{rest...}", "*", false },
	{ "/a/{rest...}", "/b", false },
	{ "/a/{...}", "/a/b", true, "b", "" }, /* a tail has a name */
	{ "/a/b...}", "/a/c", false },
};

static void patterns(void **state)
{
	for (size_t i = 0; i < DW_COUNT(shapes); i++) {
		const struct shape *s = &shapes[i];
		char id[ROUTE_ID_SIZE], part[ROUTE_ID_SIZE];
		assert_int_equal(route_matches(s->pattern, s->path, id, part), s->fits);
		if (s->fits) {
			assert_string_equal(id, s->id);
			assert_string_equal(part, s->part);
		}
	}
}

/* Every row can be reached: no earlier one hides it. */
static void table_is_sound(void **state)
{
	const size_t n = daemon_routes.n;
	const struct route *t = daemon_routes.route;
	for (size_t i = 0; i < n; i++) {
		char path[128] = "", id[ROUTE_ID_SIZE], part[ROUTE_ID_SIZE], allow[64];
		const struct route *found = NULL;
		size_t at = 0, words = 0;
		/* A word for each segment in braces. */
		for (const char *p = t[i].pattern; *p; p++) {
			if (*p == '{') {
				at += (size_t)snprintf(path + at, sizeof(path) - at, "word-%zu", ++words);
				p = strchr(p, '}');
			} else {
				path[at++] = *p;
			}
		}
		assert_int_equal(route_find(&daemon_routes, t[i].method, path, &found, id, part, allow, sizeof(allow)),
				 ROUTE_FOUND);
		assert_string_equal(id, words > 0 ? "word-1" : "");
		assert_string_equal(part, words > 1 ? "word-2" : "");
		assert_ptr_equal(found, &t[i]);
		assert_non_null(found->handler);
		assert_int_equal(found->body == ROUTE_STREAM || found->body == ROUTE_PIPE, found->stream != NULL);
		assert_int_equal(found->open, strcmp(found->pattern, "/health") == 0);
	}
}

int main(void)
{
	ROW_TESTS(rows, check);
	const struct CMUnitTest more[] = { cmocka_unit_test(patterns), cmocka_unit_test(table_is_sound) };
	return cmocka_run_group_tests_name("routes", tests, NULL, NULL) +
	       cmocka_run_group_tests_name("route table", more, NULL, NULL);
}
