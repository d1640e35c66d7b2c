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

/* Puts size bytes of policy into the record times times; the largest that the file of what is not yet in its place was. */
static off_t write_much(struct fixture *f, size_t size, int times, bool settle)
{
	char path[96];
	off_t largest = 0;
	char *text = calloc(1, size + 3);
	struct dw_err err = { 0 };
	snprintf(path, sizeof(path), "%s/state.db-wal", f->dir);
	for (int i = 1; i <= times; i++) {
		struct stat st;
		/* Another one each time: pages that stay the same are not written. */
		memset(text, 'a' + i % 26, size + 2);
		text[0] = text[size + 1] = '"';
		assert_int_equal(store_sandbox_network(f->store, "sbx-a", text, (uint64_t)i, &err), 0);
		if (settle)
			store_settle(f->store);
		assert_int_equal(stat(path, &st), 0);
		largest = DW_MAX(largest, st.st_size);
	}
	free(text);
	return largest;
}

/* What gathers is bounded with a hand and without; and whichever moved it to its place, it is there in the next life. */
static void what_gathers_is_settled(void **state)
{
	struct fixture *f = *state;
	auto_record struct record r = { 0 };
	struct dw_err err = { 0 };
	const off_t page = 4096 + 24, policy = 300 << 10;
	make_record(&r, "sbx-a");
	assert_int_equal(store_sandbox_insert(f->store, &r, &err), 0);
	off_t largest = write_much(f, policy, 40, true);
	assert_true(largest >= DAEMON_WAL_PAGES * page && largest < DAEMON_WAL_PAGES * page + 2 * policy);
	largest = write_much(f, policy, 120, false);
	assert_true(largest >= DAEMON_WAL_PAGES_MAX * page && largest < DAEMON_WAL_PAGES_MAX * page + 2 * policy);
	store_close(f->store);
	assert_int_equal(store_open(f->dir, &f->store, &err), 0);
	auto_record struct record got = { 0 };
	assert_int_equal(store_sandbox_get(f->store, "sbx-a", &got, &err), 1);
	assert_int_equal(got.generation, 120);
	assert_int_equal(json_string_length(got.doc->network), policy);
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
		      json_pack("{ss ss sf ss ss si ss ss ss si sb}", "event", "decision", "sandbox", id, "time",
				1.5 + n, "proto", "tcp", "addr", "1.2.3.4", "port", 443, "name", name, "verdict",
				verdict, "reason", "not_in_allow_out", "count", 2, "closed", 0),
		      300, false);
}

static struct log_filter filter_of(const char *id)
{
	struct log_filter f = LOG_FILTER_ANY;
	snprintf(f.sandbox, sizeof(f.sandbox), "%s", id);
	return f;
}

static json_t *list(struct store *s, const struct log_filter *f, unsigned limit)
{
	struct dw_err err = { 0 };
	json_t *rows = NULL;
	int64_t next;
	store_log_flush(s);
	assert_int_equal(store_log_list(s, f, 0, limit, &rows, &next, &err), 0);
	return rows;
}

static size_t count(struct store *s, const struct log_filter *f)
{
	auto_json json_t *rows = list(s, f, 100000);
	return json_array_size(rows);
}

static const char *text(const json_t *row, const char *key)
{
	return json_string_value(json_object_get(row, key));
}

static int64_t number(const json_t *row, const char *key)
{
	return json_integer_value(json_object_get(row, key));
}

static void decisions(void **state)
{
	struct fixture *f = *state;
	struct log_filter a = filter_of("sbx-a");
	for (int i = 0; i < 10; i++)
		add_decision(f->store, i % 2 ? "sbx-b" : "sbx-a", i < 4 ? "deny" : "allow", i);
	/* No sandbox, no verdict: not for the log. */
	store_log_add(f->store, json_pack("{ss}", "verdict", "deny"), 10, false);
	store_log_add(f->store, json_pack("{ss}", "sandbox", "sbx-a"), 10, false);
	auto_json json_t *rows = list(f->store, &a, 3);
	assert_int_equal(json_array_size(rows), 3);
	json_t *newest = json_array_get(rows, 0);
	assert_string_equal(text(newest, "name"), "host8.example");
	assert_string_equal(text(newest, "time"), "1970-01-01T00:00:09.500000+00:00");
	assert_string_equal(text(newest, "protocol"), "tcp");
	assert_int_equal(number(newest, "port"), 443);
	assert_int_equal(number(newest, "count"), 2);
	assert_true(json_is_false(json_object_get(newest, "closed")));
	assert_null(json_object_get(newest, "qtype"));
	assert_null(json_object_get(newest, "would"));
	snprintf(a.verdict, sizeof(a.verdict), "deny");
	assert_int_equal(count(f->store, &a), 2);
	a = filter_of("sbx-c");
	assert_int_equal(count(f->store, &a), 0);
}

static void pages(void **state)
{
	struct fixture *f = *state;
	struct dw_err err = { 0 };
	const struct log_filter a = filter_of("sbx-a");
	int64_t before = 0, seen = INT64_MAX;
	int n = 0, rounds = 0;
	for (int i = 0; i < 7; i++)
		add_decision(f->store, "sbx-a", "deny", i);
	store_log_flush(f->store);
	do {
		json_t *rows = NULL, *row;
		size_t i;
		assert_int_equal(store_log_list(f->store, &a, before, 3, &rows, &before, &err), 0);
		json_array_foreach(rows, i, row)
		{
			assert_true(number(row, "id") < seen);
			seen = number(row, "id");
			n++;
		}
		json_decref(rows);
		rounds++;
	} while (before);
	assert_int_equal(n, 7);
	assert_int_equal(rounds, 3);
}

static void filters(void **state)
{
	struct fixture *f = *state;
	struct log_filter a = filter_of("s");
	store_log_add(f->store,
		      json_pack("{ss sf ss ss ss ss}", "sandbox", "s", "time", 100.0, "proto", "dns", "verdict",
				"allow", "reason", "observed", "name", "a.b.test"),
		      9, false);
	store_log_add(f->store,
		      json_pack("{ss sf ss ss ss ss si ss}", "sandbox", "s", "time", 200.0, "proto", "udp", "verdict",
				"allow", "reason", "observed", "addr", "9.9.9.9", "port", 443, "would",
				"not_in_allow_out"),
		      9, false);
	store_log_add(f->store,
		      json_pack("{ss sf ss ss ss ss}", "sandbox", "s", "time", 300.0, "proto", "dns", "verdict", "deny",
				"reason", "name_not_allowed", "name", "xb.test"),
		      9, false);
	assert_int_equal(count(f->store, &a), 3);
	snprintf(a.name, sizeof(a.name), ".b.test");
	assert_int_equal(count(f->store, &a), 1);
	snprintf(a.name, sizeof(a.name), "xb.test");
	assert_int_equal(count(f->store, &a), 1);
	snprintf(a.name, sizeof(a.name), "b.test");
	assert_int_equal(count(f->store, &a), 0);
	a = filter_of("s");
	a.would_set = true;
	assert_int_equal(count(f->store, &a), 2);
	a.would = true;
	assert_int_equal(count(f->store, &a), 1);
	a = filter_of("s");
	a.port = 443;
	assert_int_equal(count(f->store, &a), 1);
	a.port = 0;
	assert_int_equal(count(f->store, &a), 0);
	a = filter_of("s");
	a.since_us = 200000000;
	assert_int_equal(count(f->store, &a), 2);
	a.until_us = 300000000;
	assert_int_equal(count(f->store, &a), 1);
	a = filter_of("s");
	snprintf(a.addr, sizeof(a.addr), "9.9.9.9");
	snprintf(a.protocol, sizeof(a.protocol), "udp");
	snprintf(a.reason, sizeof(a.reason), "observed");
	assert_int_equal(count(f->store, &a), 1);
	snprintf(a.reason, sizeof(a.reason), "x' OR 1 --");
	assert_int_equal(count(f->store, &a), 0);
}

static void add_flow(struct store *s, const char *id, int flow, bool end)
{
	store_log_add(s,
		      json_pack("{ss sf ss ss si ss ss si sb si si si}", "sandbox", id, "time", end ? 20.0 : 10.0,
				"proto", "tcp", "addr", "1.2.3.4", "port", 443, "verdict", "allow", "reason",
				"allow_entry", "flow", flow, "closed", end, "bytes_out", end ? 7 : 0, "bytes_in",
				end ? 9 : 0, "duration_ms", end ? 1000 : 0),
		      200, false);
}

static void a_flow_is_one_row(void **state)
{
	struct fixture *f = *state;
	const struct log_filter a = filter_of("s");
	add_flow(f->store, "s", 5, false);
	add_flow(f->store, "t", 5, false);
	store_log_flush(f->store);
	add_flow(f->store, "s", 5, true);
	auto_json json_t *rows = list(f->store, &a, 10);
	assert_int_equal(json_array_size(rows), 1);
	json_t *row = json_array_get(rows, 0);
	assert_true(json_is_true(json_object_get(row, "closed")));
	assert_int_equal(number(row, "flow"), 5);
	assert_int_equal(number(row, "bytes_out"), 7);
	assert_int_equal(number(row, "bytes_in"), 9);
	assert_int_equal(number(row, "duration_ms"), 1000);
	assert_string_equal(text(row, "time"), "1970-01-01T00:00:10.000000+00:00");
	assert_string_equal(text(row, "ended"), "1970-01-01T00:00:20.000000+00:00");
	const struct log_filter t = filter_of("t");
	auto_json json_t *other = list(f->store, &t, 10);
	assert_null(json_object_get(json_array_get(other, 0), "ended"));
}

/* Another life of the gate counts its flows from 1 again; and an end whose decision is not there is a row of its own. */
static void flows_of_two_gates(void **state)
{
	struct fixture *f = *state;
	const struct log_filter a = filter_of("s");
	add_flow(f->store, "s", 1, false);
	store_log_gate_ended(f->store);
	add_flow(f->store, "s", 1, true);
	auto_json json_t *rows = list(f->store, &a, 10);
	assert_int_equal(json_array_size(rows), 2);
	assert_int_equal(number(json_array_get(rows, 1), "bytes_out"), 0);
	assert_non_null(text(json_array_get(rows, 1), "ended"));
	assert_int_equal(number(json_array_get(rows, 0), "bytes_out"), 7);
}

static void a_restart_ends_flows(void **state)
{
	struct fixture *f = *state;
	struct dw_err err = { 0 };
	const struct log_filter a = filter_of("s");
	add_flow(f->store, "s", 1, false);
	store_log_flush(f->store);
	store_close(f->store);
	assert_int_equal(store_open(f->dir, &f->store, &err), 0);
	auto_json json_t *rows = list(f->store, &a, 10);
	assert_true(json_is_true(json_object_get(json_array_get(rows, 0), "closed")));
}

/* As version 1 wrote them. */
static void old_files_open(void **state)
{
	struct fixture *f = *state;
	struct dw_err err = { 0 };
	char command[2500];
	const struct log_filter a = filter_of("sbx-old");
	auto_record struct record got = { 0 };
	store_close(f->store);
	f->store = NULL;
	snprintf(command, sizeof(command),
		 "python3 - <<'E'\n"
		 "import sqlite3, os\n"
		 "os.chdir('%s')\n"
		 "for name in ('log.db', 'state.db'): os.remove(name)\n"
		 "d = sqlite3.connect('log.db')\n"
		 "d.execute('CREATE TABLE decision (id INTEGER PRIMARY KEY AUTOINCREMENT, sandbox TEXT NOT NULL, "
		 "time_us INTEGER"
		 " NOT NULL, protocol TEXT, addr TEXT, port INTEGER, qtype TEXT, name TEXT, verdict TEXT NOT NULL, "
		 "reason TEXT,"
		 " rule TEXT, message TEXT, count INTEGER NOT NULL, closed INTEGER NOT NULL, bytes_out INTEGER, "
		 "bytes_in INTEGER,"
		 " duration_ms INTEGER) STRICT')\n"
		 "d.execute(\"INSERT INTO decision (sandbox, time_us, verdict, count, closed) VALUES ('sbx-old', 1, "
		 "'deny', 3, 0)\")\n"
		 "d.execute('PRAGMA user_version = 1'); d.commit()\n"
		 "d = sqlite3.connect('state.db')\n"
		 "words = 'id template name state reason guest_ip metadata envs network security lifecycle'.split()\n"
		 "numbers = 'timeout_s vcpus memory_mb started_us end_us killed_us'.split()\n"
		 "d.execute('CREATE TABLE sandbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, ' + ', '.join([w + ' TEXT "
		 "NOT NULL' for w"
		 " in words] + [n + ' INTEGER NOT NULL' for n in numbers]) + ') STRICT')\n"
		 "values = ['sbx-old', 'base', 'n', 'killed', 'r', '', '{}', '{}', '{}', 'null', '{}'] + [1] * 6\n"
		 "d.execute('INSERT INTO sandbox (%%s) VALUES (%%s)' %% (','.join(words + numbers), ','.join('?' * "
		 "17)), values)\n"
		 "d.execute('PRAGMA user_version = 1'); d.commit()\nE",
		 f->dir);
	assert_int_equal(system(command), 0);
	assert_int_equal(store_open(f->dir, &f->store, &err), 0);
	auto_json json_t *rows = list(f->store, &a, 10);
	assert_int_equal(json_array_size(rows), 1);
	assert_int_equal(number(json_array_get(rows, 0), "count"), 3);
	assert_int_equal(store_sandbox_get(f->store, "sbx-old", &got, &err), 1);
	assert_int_equal(got.generation, 1);
	assert_int_equal(store_sandbox_network(f->store, "sbx-old", "{}", 7, &err), 0);
	record_done(&got);
	assert_int_equal(store_sandbox_get(f->store, "sbx-old", &got, &err), 1);
	assert_int_equal(got.generation, 7);
}

static void a_sandbox_pushes_out_only_its_own(void **state)
{
	struct fixture *f = *state;
	const struct log_filter loud = filter_of("loud"), quiet = filter_of("quiet");
	add_decision(f->store, "quiet", "deny", 0);
	for (int i = 0; i < (int)DAEMON_LOG_ROWS_SANDBOX + 1500; i++)
		add_decision(f->store, "loud", "deny", i);
	auto_json json_t *rows = list(f->store, &loud, DAEMON_LOG_ROWS_SANDBOX + 5000);
	assert_int_equal(json_array_size(rows), DAEMON_LOG_ROWS_SANDBOX);
	assert_string_equal(text(json_array_get(rows, DAEMON_LOG_ROWS_SANDBOX - 1), "name"), "host1500.example");
	assert_int_equal(count(f->store, &quiet), 1);
}

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

struct seen {
	int rows;
	int64_t count;
	char last[400];
};

static void see(void *arg, const struct observed *o)
{
	struct seen *s = arg;
	s->rows++;
	s->count += o->count;
	snprintf(s->last, sizeof(s->last), "%s|%s|%s|%u|%s|%d", o->protocol, o->name, o->addr, o->port, o->reason,
		 o->denied);
}

static void observe_pinned(struct store *s, const char *proto, const char *name, const char *addr, int port,
			   const char *verdict, const char *reason, const char *would, bool pinned)
{
	store_log_add(s,
		      json_pack("{ss sf ss ss* ss* si ss ss ss* sb}", "sandbox", "s", "time", 1.0, "proto", proto,
				"name", name, "addr", addr, "port", port, "verdict", verdict, "reason", reason, "would",
				would, "pinned", pinned),
		      10, true);
}

static void observe(struct store *s, const char *proto, const char *name, const char *addr, int port,
		    const char *verdict, const char *reason, const char *would)
{
	observe_pinned(s, proto, name, addr, port, verdict, reason, would, false);
}

static struct seen seen(struct store *s, int64_t *ret_overflow)
{
	struct seen out = { 0 };
	struct dw_err err = { 0 };
	store_log_flush(s);
	assert_int_equal(store_observed_each(s, "s", see, &out, ret_overflow, &err), 0);
	return out;
}

static void observed(void **state)
{
	struct fixture *f = *state;
	int64_t overflow;
	add_decision(f->store, "s", "allow", 1);
	assert_int_equal(seen(f->store, &overflow).rows, 0);
	/* An address that the sandbox was not given for the name, whatever else it was given for it. */
	observe(f->store, "tcp", "a.test", "1.1.1.1", 443, "allow", "observed", "not_in_allow_out");
	assert_string_equal(seen(f->store, &overflow).last, "tcp||1.1.1.1|443|not_in_allow_out|0");
	observe(f->store, "dns", "a.test", NULL, 0, "allow", "observed", "name_not_allowed");
	observe_pinned(f->store, "tcp", "a.test", "1.1.1.1", 443, "allow", "observed", "not_in_allow_out", true);
	observe_pinned(f->store, "tcp", "a.test", "2.2.2.2", 443, "allow", "observed", "not_in_allow_out", true);
	struct seen s = seen(f->store, &overflow);
	assert_int_equal(s.rows, 3);
	assert_int_equal(s.count, 4);
	assert_string_equal(s.last, "tcp|a.test||443|not_in_allow_out|0");
	/* A name that would not have been enough. */
	observe_pinned(f->store, "tcp", "a.test", "2.2.2.2", 443, "allow", "observed", "sni_missing", true);
	assert_string_equal(seen(f->store, &overflow).last, "tcp||2.2.2.2|443|sni_missing|0");
	observe(f->store, "tcp", NULL, "10.0.0.1", 80, "deny", "private_address", NULL);
	assert_string_equal(seen(f->store, &overflow).last, "tcp||10.0.0.1|80|private_address|1");
	/* Nothing that an entry could be about. */
	observe(f->store, "dns", "b.test", NULL, 0, "deny", "resolver_failed", NULL);
	observe(f->store, "tcp", NULL, "1.1.1.1", 80, "deny", "limit_flows", NULL);
	assert_int_equal(seen(f->store, &overflow).rows, 5);
	assert_int_equal(overflow, 0);
	/* Allowed for its address: the name on it is what the flow said, and an entry for that name would not open it. */
	observe(f->store, "tcp", "unasked.test", "3.3.3.3", 443, "allow", "allow_entry", NULL);
	assert_string_equal(seen(f->store, &overflow).last, "tcp||3.3.3.3|443|allow_entry|0");
	observe_pinned(f->store, "tcp", "a.test", "3.3.3.3", 443, "allow", "allow_entry", NULL, true);
	assert_string_equal(seen(f->store, &overflow).last, "tcp|a.test||443|allow_entry|0");
	/* Its pin is gone by now. */
	observe(f->store, "tcp", "before.test", "4.4.4.4", 443, "allow", "allow_name", NULL);
	assert_string_equal(seen(f->store, &overflow).last, "tcp|before.test||443|allow_name|0");
	assert_int_equal(seen(f->store, &overflow).rows, 8);
}

/* The gate's row for everything beyond what it tells one by one: an entry may be missing, and the reader must know. */
static void what_the_gate_did_not_tell_is_counted(void **state)
{
	struct fixture *f = *state;
	int64_t overflow;
	observe(f->store, "tcp", NULL, NULL, 0, "allow", "observed", "not_in_allow_out");
	observe(f->store, "tcp", NULL, NULL, 0, "allow", "allow_entry", NULL);
	observe(f->store, "dns", NULL, NULL, 0, "deny", "limit_dns_rate", NULL);
	assert_int_equal(seen(f->store, &overflow).rows, 0);
	assert_int_equal(overflow, 2);
	observe(f->store, "dns", "a.test", NULL, 0, "allow", "observed", "name_not_allowed");
	/* The end of many flows. */
	store_log_add(f->store,
		      json_pack("{ss ss ss ss si ss ss sb si}", "sandbox", "s", "proto", "tcp", "addr", "1.1.1.1",
				"name", "a.test", "port", 443, "verdict", "allow", "reason", "allow_entry", "closed",
				true, "count", 50),
		      10, true);
	assert_int_equal(seen(f->store, &overflow).rows, 1);
	assert_int_equal(overflow, 2);
}

static void observed_is_bounded(void **state)
{
	struct fixture *f = *state;
	int64_t overflow;
	char name[32];
	for (int i = 0; i < (int)DAEMON_OBSERVED_SANDBOX + 10; i++) {
		snprintf(name, sizeof(name), "n%d.test", i);
		observe(f->store, "dns", name, NULL, 0, "allow", "observed", "name_not_allowed");
	}
	observe(f->store, "dns", "n0.test", NULL, 0, "allow", "observed", "name_not_allowed");
	struct seen s = seen(f->store, &overflow);
	assert_int_equal(s.rows, DAEMON_OBSERVED_SANDBOX);
	assert_int_equal(s.count, DAEMON_OBSERVED_SANDBOX + 1);
	assert_int_equal(overflow, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(life_of_a_record, setup, teardown),
		cmocka_unit_test_setup_teardown(next_life, setup, teardown),
		cmocka_unit_test_setup_teardown(what_gathers_is_settled, setup, teardown),
		cmocka_unit_test_setup_teardown(decisions, setup, teardown),
		cmocka_unit_test_setup_teardown(pages, setup, teardown),
		cmocka_unit_test_setup_teardown(filters, setup, teardown),
		cmocka_unit_test_setup_teardown(a_flow_is_one_row, setup, teardown),
		cmocka_unit_test_setup_teardown(flows_of_two_gates, setup, teardown),
		cmocka_unit_test_setup_teardown(a_restart_ends_flows, setup, teardown),
		cmocka_unit_test_setup_teardown(old_files_open, setup, teardown),
		cmocka_unit_test_setup_teardown(following, setup, teardown),
		cmocka_unit_test_setup_teardown(a_slow_follower_loses_rows_and_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(followers_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(observed, setup, teardown),
		cmocka_unit_test_setup_teardown(observed_is_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(what_the_gate_did_not_tell_is_counted, setup, teardown),
		cmocka_unit_test_setup_teardown(a_sandbox_ends_its_flows, setup, teardown),
		cmocka_unit_test_setup_teardown(followers_hear_of_flows_that_end_with_the_gate, setup, teardown),
		cmocka_unit_test_setup_teardown(a_sandbox_pushes_out_only_its_own, setup, teardown),
	};
	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
