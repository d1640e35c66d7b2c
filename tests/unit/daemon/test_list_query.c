/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include "daemon/bounds.h"
#include "daemon/list_query.h"

struct row {
	const char *name;
	const char *pairs[8]; /* key, value, ... */
	const char *error;    /* a word of the message; NULL: fine */
	bool running, killed;
	uint64_t limit, offset;
	const char *metadata; /* sorted JSON */
	bool paused;
};

/* clang-format off */
static const struct row rows[] = {
	{ "nothing", {0}, NULL, false, false, 100, 0, "{}" },
	{ "running", {"state", "running"}, NULL, true, false, 100, 0, "{}" },
	{ "live is running", {"state", "live"}, NULL, true, false, 100, 0, "{}" },
	{ "repeated", {"state", "running", "state", "paused", "state", "killed"}, NULL, true, true, 100, 0, "{}", true },
	{ "with commas", {"state", "paused,killed"}, NULL, false, true, 100, 0, "{}", true },
	{ "all", {"state", "all"}, NULL, true, true, 100, 0, "{}", true },
	{ "paused", {"state", "paused"}, NULL, false, false, 100, 0, "{}", true },
	{ "creating", {"state", "creating"}, NULL, false, false, 100, 0, "{}" },
	{ "unknown state", {"state", "sleeping"}, "state" },
	{ "empty state", {"state", ""}, "state" },
	{ "prefix of a state", {"state", "run"}, "state" },
	{ "limit", {"limit", "7"}, NULL, false, false, 7, 0, "{}" },
	{ "limit is capped", {"limit", "5000"}, NULL, false, false, DAEMON_LIST_MAX, 0, "{}" },
	{ "limit 0", {"limit", "0"}, "limit" },
	{ "limit of letters", {"limit", "ten"}, "limit" },
	{ "limit without a value", {"limit", NULL}, "limit" },
	{ "offset", {"offset", "12"}, NULL, false, false, 100, 12, "{}" },
	{ "negative offset", {"offset", "-1"}, "offset" },
	{ "token", {"next_token", "o40"}, NULL, false, false, 100, 40, "{}" },
	{ "empty token", {"next_token", ""}, NULL, false, false, 100, 0, "{}" },
	{ "foreign token", {"next_token", "abc"}, "next_token" },
	{ "metadata as JSON", {"metadata", "{\"a\":\"b\"}"}, NULL, false, false, 100, 0, "{\"a\":\"b\"}" },
	{ "metadata as Python shows it", {"metadata", "{'a': 'b', 'c': \"d'\"}"}, NULL, false, false, 100, 0, "{\"a\":\"b\",\"c\":\"d'\"}" },
	{ "metadata as pairs", {"metadata", "a=b&c=d"}, NULL, false, false, 100, 0, "{\"a\":\"b\",\"c\":\"d\"}" },
	{ "metadata by name", {"metadata.k", "v"}, NULL, false, false, 100, 0, "{\"k\":\"v\"}" },
	{ "metadata that is none", {"metadata", "{'a': 1}"}, NULL, false, false, 100, 0, "{}" },
	{ "metadata cut off", {"metadata", "{'a': 'b"}, NULL, false, false, 100, 0, "{}" },
	{ "unknown parameter", {"order", "up"}, NULL, false, false, 100, 0, "{}" },
};
/* clang-format on */

static void check(void **state)
{
	const struct row *r = *state;
	auto_list_query struct list_query q = { 0 };
	struct dw_err err = { 0 };
	int result = list_query_init(&q, &err);
	for (size_t i = 0; i < 8 && r->pairs[i] && result == 0; i += 2)
		result = list_query_add(&q, r->pairs[i], r->pairs[i + 1], &err);
	assert_int_equal(result, r->error ? -1 : 0);
	if (r->error) {
		assert_int_equal(err.kind, DW_ERR_INVALID);
		assert_non_null(strstr(err.message, r->error));
		return;
	}
	assert_int_equal(q.running, r->running);
	assert_int_equal(q.paused, r->paused);
	assert_int_equal(q.killed, r->killed);
	assert_int_equal(q.limit, r->limit);
	assert_int_equal(q.offset, r->offset);
	char *text = json_dumps(q.metadata, JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(text, r->metadata);
	free(text);
}

static void matching(void **state)
{
	auto_list_query struct list_query q = { 0 };
	struct dw_err err = { 0 };
	auto_json json_t *has = json_pack("{ss ss}", "a", "1", "b", "2");
	auto_json json_t *other = json_pack("{ss}", "a", "2");
	assert_int_equal(list_query_init(&q, &err), 0);
	assert_true(list_query_matches(&q, has));
	assert_int_equal(list_query_add(&q, "metadata.a", "1", &err), 0);
	assert_true(list_query_matches(&q, has));
	assert_false(list_query_matches(&q, other));
	assert_false(list_query_matches(&q, NULL));
}

int main(void)
{
	ROW_TESTS(rows, check);
	const struct CMUnitTest more[] = { cmocka_unit_test(matching) };
	return cmocka_run_group_tests_name("list query", tests, NULL, NULL) +
	       cmocka_run_group_tests_name("matching", more, NULL, NULL);
}
