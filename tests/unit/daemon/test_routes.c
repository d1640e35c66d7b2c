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
	{ "wrong method", "DELETE", "/sandboxes", ROUTE_METHOD, "POST, GET" },
	{ "wrong method below an id", "PATCH", "/sandboxes/x", ROUTE_METHOD, "GET, DELETE" },
	{ "HEAD is a method of its own", "HEAD", "/health", ROUTE_METHOD, "GET" },
};
/* clang-format on */

static void check(void **state)
{
	const struct row *r = *state;
	const struct route *route = NULL;
	char id[72], allow[64];
	assert_int_equal(route_find(r->method, r->path, &route, id, sizeof(id), allow, sizeof(allow)), r->want);
	if (r->want == ROUTE_FOUND) {
		assert_string_equal(route->pattern, r->pattern);
		assert_string_equal(id, r->id);
	} else {
		assert_null(route);
	}
	if (r->want == ROUTE_METHOD)
		assert_string_equal(allow, r->pattern);
}

/* Every row can be reached: no earlier one hides it. */
static void table_is_sound(void **state)
{
	size_t n;
	const struct route *t = route_table(&n);
	for (size_t i = 0; i < n; i++) {
		char path[128] = "", id[72], allow[64];
		const struct route *found = NULL;
		const char *hole = strstr(t[i].pattern, "{id}");
		snprintf(path, sizeof(path), "%.*s%s%s", hole ? (int)(hole - t[i].pattern) : 100, t[i].pattern,
			 hole ? "sbx-1" : "", hole ? hole + 4 : "");
		assert_int_equal(route_find(t[i].method, path, &found, id, sizeof(id), allow, sizeof(allow)),
				 ROUTE_FOUND);
		assert_ptr_equal(found, &t[i]);
		assert_non_null(found->handler);
		assert_int_equal(found->body == ROUTE_STREAM, found->stream != NULL);
		assert_int_equal(found->open, strcmp(found->pattern, "/health") == 0);
	}
}

int main(void)
{
	ROW_TESTS(rows, check);
	const struct CMUnitTest more[] = { cmocka_unit_test(table_is_sound) };
	return cmocka_run_group_tests_name("routes", tests, NULL, NULL) +
	       cmocka_run_group_tests_name("route table", more, NULL, NULL);
}
