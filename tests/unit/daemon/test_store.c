/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include <sys/stat.h>

#include "daemon/store.h"

struct fixture {
	char dir[64];
	struct store *store;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct dw_err err = { 0 };
	make_dir(f->dir);
	assert_int_equal(store_open(f->dir, &f->store, &err), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	store_close(f->store);
	remove_dir(f->dir);
	free(f);
	return 0;
}

static void make_record(struct record *r, const char *id)
{
	*r = (struct record){ .state = RECORD_RUNNING,
			      .timeout_s = 300,
			      .vcpus = 2,
			      .memory_mb = 1024,
			      .started_us = 10,
			      .end_us = 20,
			      .doc = record_doc_new() };
	assert_non_null(r->doc);
	r->doc->metadata = json_pack("{ss}", "a", "\xc3\xa9");
	r->doc->envs = json_object();
	r->doc->network = json_pack("{s[s]}", "allow_out", "x.com");
	r->doc->lifecycle = json_object();
	snprintf(r->id, sizeof(r->id), "%s", id);
	snprintf(r->template_name, sizeof(r->template_name), "base");
	snprintf(r->name, sizeof(r->name), "it's; DROP TABLE sandbox");
	snprintf(r->guest_ip, sizeof(r->guest_ip), "100.112.1.0");
}

static void same(const struct record *a, const struct record *b)
{
	assert_string_equal(a->id, b->id);
	assert_string_equal(a->name, b->name);
	assert_string_equal(a->template_name, b->template_name);
	assert_string_equal(a->guest_ip, b->guest_ip);
	assert_int_equal(a->started_us, b->started_us);
	assert_true(json_equal(a->doc->metadata, b->doc->metadata));
	assert_true(json_equal(a->doc->network, b->doc->network));
	assert_null(b->doc->security);
}

static void count_row(void *arg, const struct record *r)
{
	++*(int *)arg;
}

static void life_of_a_record(void **state)
{
	struct fixture *f = *state;
	auto_record struct record r = { 0 };
	auto_record struct record got = { 0 };
	struct dw_err err = { 0 };
	int killed = 0;
	make_record(&r, "sbx-1");
	assert_int_equal(store_sandbox_get(f->store, "sbx-1", &got, &err), 0);
	assert_int_equal(store_sandbox_insert(f->store, &r, &err), 0);
	assert_int_equal(store_sandbox_insert(f->store, &r, &err), -1);
	assert_int_equal(store_sandbox_get(f->store, "sbx-1", &got, &err), 1);
	same(&r, &got);
	assert_int_equal(got.state, RECORD_RUNNING);
	record_done(&got);
	assert_int_equal(store_killed_each(f->store, count_row, &killed, &err), 0);
	assert_int_equal(killed, 0);
	r.timeout_s = 7;
	r.killed_us = 15;
	snprintf(r.reason, sizeof(r.reason), "timeout");
	assert_int_equal(store_sandbox_kill(f->store, &r, &err), 0);
	assert_int_equal(store_sandbox_get(f->store, "sbx-1", &got, &err), 1);
	assert_int_equal(got.state, RECORD_KILLED);
	assert_int_equal(got.timeout_s, 7);
	assert_int_equal(got.killed_us, 15);
	assert_string_equal(got.reason, "timeout");
	assert_int_equal(store_killed_each(f->store, count_row, &killed, &err), 0);
	assert_int_equal(killed, 1);
	store_sandbox_remove(f->store, "sbx-1");
	record_done(&got);
	assert_int_equal(store_sandbox_get(f->store, "sbx-1", &got, &err), 0);
}

static void next_life(void **state)
{
	struct fixture *f = *state;
	auto_record struct record r = { 0 };
	auto_record struct record got = { 0 };
	struct dw_err err = { 0 };
	struct stat st;
	char path[96];
	int n = 0;
	make_record(&r, "sbx-2");
	assert_int_equal(store_sandbox_insert(f->store, &r, &err), 0);
	store_close(f->store);
	assert_int_equal(store_open(f->dir, &f->store, &err), 0);
	assert_int_equal(store_kill_leftovers(f->store, "server restarted", 99, &n, &err), 0);
	assert_int_equal(n, 1);
	assert_int_equal(store_sandbox_get(f->store, "sbx-2", &got, &err), 1);
	assert_int_equal(got.state, RECORD_KILLED);
	assert_string_equal(got.reason, "server restarted");
	assert_int_equal(got.killed_us, 99);
	snprintf(path, sizeof(path), "%s/state.db", f->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void add_decision(struct store *s, const char *id, const char *verdict, int n)
{
	char name[32];
	snprintf(name, sizeof(name), "host%d.example", n);
	store_log_add(s,
		      json_pack("{ss ss sf ss ss si ss ss ss si sb}", "event", "decision", "sandbox", id, "time", 1.5,
				"proto", "tcp", "addr", "1.2.3.4", "port", 443, "name", name, "verdict", verdict,
				"reason", "not_in_allow_out", "count", 2, "closed", 0),
		      300);
}

static void decisions(void **state)
{
	struct fixture *f = *state;
	struct dw_err err = { 0 };
	json_t *rows = NULL;
	for (int i = 0; i < 10; i++)
		add_decision(f->store, i % 2 ? "sbx-b" : "sbx-a", i < 4 ? "deny" : "allow", i);
	/* No sandbox, no verdict: not for the log. */
	store_log_add(f->store, json_pack("{ss}", "verdict", "deny"), 10);
	store_log_add(f->store, json_pack("{ss}", "sandbox", "sbx-a"), 10);
	store_log_flush(f->store);
	assert_int_equal(store_log_list(f->store, "sbx-a", 3, false, &rows, &err), 0);
	assert_int_equal(json_array_size(rows), 3);
	json_t *last = json_array_get(rows, 2);
	assert_string_equal(json_string_value(json_object_get(last, "name")), "host8.example");
	assert_string_equal(json_string_value(json_object_get(last, "time")), "1970-01-01T00:00:01.500000+00:00");
	assert_string_equal(json_string_value(json_object_get(last, "protocol")), "tcp");
	assert_int_equal(json_integer_value(json_object_get(last, "port")), 443);
	assert_int_equal(json_integer_value(json_object_get(last, "count")), 2);
	assert_null(json_object_get(last, "qtype"));
	json_decref(rows);
	assert_int_equal(store_log_list(f->store, "sbx-a", 100, true, &rows, &err), 0);
	assert_int_equal(json_array_size(rows), 2);
	json_decref(rows);
	assert_int_equal(store_log_list(f->store, "sbx-c", 100, false, &rows, &err), 0);
	assert_int_equal(json_array_size(rows), 0);
	json_decref(rows);
}

static void a_sandbox_pushes_out_only_its_own(void **state)
{
	struct fixture *f = *state;
	struct dw_err err = { 0 };
	json_t *rows = NULL;
	add_decision(f->store, "quiet", "deny", 0);
	for (int i = 0; i < (int)DAEMON_LOG_ROWS_SANDBOX + 1500; i++)
		add_decision(f->store, "loud", "deny", i);
	store_log_flush(f->store);
	assert_int_equal(store_log_list(f->store, "loud", DAEMON_LOG_ROWS_SANDBOX + 5000, false, &rows, &err), 0);
	assert_int_equal(json_array_size(rows), DAEMON_LOG_ROWS_SANDBOX);
	assert_string_equal(json_string_value(json_object_get(json_array_get(rows, 0), "name")), "host1500.example");
	json_decref(rows);
	assert_int_equal(store_log_list(f->store, "quiet", 100, false, &rows, &err), 0);
	assert_int_equal(json_array_size(rows), 1);
	json_decref(rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(life_of_a_record, setup, teardown),
		cmocka_unit_test_setup_teardown(next_life, setup, teardown),
		cmocka_unit_test_setup_teardown(decisions, setup, teardown),
		cmocka_unit_test_setup_teardown(a_sandbox_pushes_out_only_its_own, setup, teardown),
	};
	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
