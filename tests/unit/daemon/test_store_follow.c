/* SPDX-License-Identifier: Apache-2.0 */
/* Those who follow the log. */
#include "store_fixture.h"

/* Everything that can be read now. */
static char *drain(struct store_follower *f, bool *ret_end)
{
	char *all = calloc(1, 1 << 20);
	size_t n = 0;
	ssize_t got;
	assert_non_null(all);
	while ((got = store_follow_read(f, all + n, DW_MIN((size_t)100, (1u << 20) - n - 1))) > 0)
		n += (size_t)got;
	if (ret_end)
		*ret_end = got < 0;
	return all;
}

static struct store_follower *open_follower(struct fixture *f, const struct log_filter *filter, struct follow_from from)
{
	struct store_follower *out = NULL;
	struct dw_err err = { 0 };
	assert_int_equal(store_follow_open(f->store, filter, &from, &out, &err), 0);
	return out;
}

static int times(const char *all, const char *what)
{
	int n = 0;
	for (const char *at = all; (at = strstr(at, what)); at += strlen(what))
		n++;
	return n;
}

static void following(void **state)
{
	struct fixture *f = *state;
	struct log_filter a = filter_of("s");
	bool end;
	add_decision(f->store, "s", "deny", 1);
	add_decision(f->store, "s", "deny", 2);
	store_log_flush(f->store);
	DW_AUTO(store_follow_close)
	struct store_follower *past = open_follower(f, &a, (struct follow_from){ .limit = 1 });
	DW_AUTO(store_follow_close) struct store_follower *live = open_follower(f, &a, (struct follow_from){ 0 });
	DW_AUTO(store_follow_close)
	struct store_follower *resumed = open_follower(f, &a, (struct follow_from){ .resume = true, .after = 0 });
	snprintf(a.verdict, sizeof(a.verdict), "deny");
	DW_AUTO(store_follow_close) struct store_follower *refusals = open_follower(f, &a, (struct follow_from){ 0 });
	add_flow(f->store, "s", 3, false);
	add_flow(f->store, "other", 4, false);
	add_flow(f->store, "s", 3, true);
	store_log_end(f->store, "other");
	store_log_flush(f->store);
	dw_autofree char *p = drain(past, &end);
	assert_false(end);
	assert_int_equal(times(p, "event: decision\n"), 2);
	assert_int_equal(times(p, "event: end\n"), 1);
	assert_null(strstr(p, "host1.example"));
	assert_true(strstr(p, "host2.example") < strstr(p, "\"flow\":3"));
	dw_autofree char *l = drain(live, &end);
	assert_int_equal(times(l, "event: decision\n"), 1);
	assert_int_equal(times(l, "\"id\":3,"), 2);
	/* A reader comes back after the newest row it had, not after an older one that ended since. */
	assert_int_equal(times(l, "id: 3\n"), 1);
	/* Both in one batch, and yet each as it was. */
	assert_int_equal(times(l, "\"closed\":false"), 1);
	assert_int_equal(times(l, "\"closed\":true"), 1);
	dw_autofree char *r = drain(resumed, &end);
	assert_int_equal(times(r, "event: decision\n"), 3);
	dw_autofree char *d = drain(refusals, &end);
	assert_string_equal(d, "");
	store_log_end(f->store, "s");
	store_log_flush(f->store);
	dw_autofree char *last = drain(live, &end);
	assert_true(end);
	assert_string_equal(last, "event: end_of_log\ndata: {}\n\n");
}

/* Also those whose end was lost on the way. */
static void a_sandbox_ends_its_flows(void **state)
{
	struct fixture *f = *state;
	const struct log_filter a = filter_of("s"), t = filter_of("t");
	DW_AUTO(store_follow_close) struct store_follower *live = open_follower(f, &a, (struct follow_from){ 0 });
	bool end;
	add_flow(f->store, "s", 1, false);
	add_flow(f->store, "s", 2, false);
	add_flow(f->store, "t", 3, false);
	add_flow(f->store, "s", 2, true);
	store_log_end(f->store, "s");
	auto_json json_t *rows = list(f->store, &a, 10);
	auto_json json_t *others = list(f->store, &t, 10);
	assert_int_equal(json_array_size(rows), 2);
	for (size_t i = 0; i < 2; i++)
		assert_true(json_is_true(json_object_get(json_array_get(rows, i), "closed")));
	assert_non_null(text(json_array_get(rows, 1), "ended"));
	assert_string_equal(text(json_array_get(rows, 0), "ended"), "1970-01-01T00:00:20.000000+00:00");
	assert_true(json_is_false(json_object_get(json_array_get(others, 0), "closed")));
	dw_autofree char *l = drain(live, &end);
	assert_true(end);
	assert_int_equal(times(l, "event: end\n"), 2);
	assert_true(strstr(l, "event: end_of_log") > strstr(l, "\"closed\":true,\"bytes_out\":0"));
}

static void followers_hear_of_flows_that_end_with_the_gate(void **state)
{
	struct fixture *f = *state;
	struct log_filter a = filter_of("s");
	DW_AUTO(store_follow_close) struct store_follower *live = open_follower(f, &a, (struct follow_from){ 0 });
	a.port = 80;
	DW_AUTO(store_follow_close) struct store_follower *others = open_follower(f, &a, (struct follow_from){ 0 });
	add_flow(f->store, "s", 1, false);
	add_flow(f->store, "t", 1, false);
	store_log_gate_ended(f->store);
	store_log_flush(f->store);
	dw_autofree char *l = drain(live, NULL);
	assert_int_equal(times(l, "event: end\n"), 1);
	assert_int_equal(times(l, "\"closed\":true"), 1);
	dw_autofree char *o = drain(others, NULL);
	assert_string_equal(o, "");
}

static void a_slow_follower_loses_rows_and_is_told(void **state)
{
	struct fixture *f = *state;
	const struct log_filter a = filter_of("s");
	DW_AUTO(store_follow_close) struct store_follower *slow = open_follower(f, &a, (struct follow_from){ 0 });
	const int n = 3000;
	for (int i = 0; i < n; i++)
		add_decision(f->store, "s", "deny", i);
	store_log_flush(f->store);
	dw_autofree char *all = drain(slow, NULL);
	assert_true(strlen(all) <= DAEMON_FOLLOW_BYTES + 100);
	const char *told = strstr(all, "event: dropped\ndata: {\"count\":");
	assert_non_null(told);
	assert_int_equal(times(all, "event: decision\n") + atoi(told + strlen("event: dropped\ndata: {\"count\":")), n);
	/* It goes on from there. */
	add_decision(f->store, "s", "deny", n);
	store_log_flush(f->store);
	dw_autofree char *more = drain(slow, NULL);
	assert_int_equal(times(more, "event: decision\n"), 1);
	assert_int_equal(times(more, "dropped"), 0);
}

static void followers_are_bounded(void **state)
{
	struct fixture *f = *state;
	struct store_follower *all[DAEMON_FOLLOWERS], *more = NULL;
	struct dw_err err = { 0 };
	const struct follow_from from = { 0 };
	for (unsigned i = 0; i < DAEMON_FOLLOWERS; i++) {
		char id[16];
		snprintf(id, sizeof(id), "s%u", i / DAEMON_FOLLOWERS_SANDBOX);
		const struct log_filter a = filter_of(id);
		all[i] = open_follower(f, &a, from);
		if (i + 1 == DAEMON_FOLLOWERS_SANDBOX) {
			assert_int_equal(store_follow_open(f->store, &a, &from, &more, &err), -1);
			assert_int_equal(err.kind, DW_ERR_LIMIT);
		}
	}
	const struct log_filter a = filter_of("new");
	assert_int_equal(store_follow_open(f->store, &a, &from, &more, &err), -1);
	for (unsigned i = 0; i < DAEMON_FOLLOWERS; i++)
		store_follow_close(all[i]);
	more = open_follower(f, &a, from);
	store_follow_close(more);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(following, setup, teardown),
		cmocka_unit_test_setup_teardown(a_slow_follower_loses_rows_and_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(followers_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(a_sandbox_ends_its_flows, setup, teardown),
		cmocka_unit_test_setup_teardown(followers_hear_of_flows_that_end_with_the_gate, setup, teardown),
	};
	return cmocka_run_group_tests_name("store_follow", tests, NULL, NULL);
}
