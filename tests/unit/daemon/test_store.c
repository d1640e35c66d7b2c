/* SPDX-License-Identifier: Apache-2.0 */
#include "store_fixture.h"

#include <sys/stat.h>

#include "daemon/store_templates.h"

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

static void end_build(struct store *s, const char *owner, unsigned n)
{
	struct build_record b = { .status = BUILD_FAILED };
	struct dw_err err = { 0 };
	snprintf(b.id, sizeof(b.id), BUILD_ID_PREFIX "%s%u", owner, n);
	snprintf(b.owner, sizeof(b.owner), "%s", owner);
	assert_int_equal(store_build_put(s, &b, &err), 0);
}

static int build_is_there(struct store *s, const char *owner, unsigned n)
{
	auto_build_record struct build_record b = { 0 };
	struct dw_err err = { 0 };
	char id[TEMPLATE_ID_SIZE];
	snprintf(id, sizeof(id), BUILD_ID_PREFIX "%s%u", owner, n);
	return store_build_get(s, owner, id, &b, &err);
}

static void builds_of_each_owner(void **state)
{
	struct fixture *f = *state;
	end_build(f->store, "few", 0);
	for (unsigned i = 0; i < DAEMON_BUILD_ROWS + 2; i++)
		end_build(f->store, "many", i);
	assert_int_equal(build_is_there(f->store, "many", 1), 0);
	assert_int_equal(build_is_there(f->store, "many", 2), 1);
	assert_int_equal(build_is_there(f->store, "few", 0), 1);
	/* Together too they are bounded, however many owners there are. */
	for (unsigned i = 0; i < DAEMON_BUILD_ROWS_ALL - DAEMON_BUILD_ROWS; i++) {
		char owner[8];
		snprintf(owner, sizeof(owner), "o%u", i % (DAEMON_BUILD_ROWS_ALL / DAEMON_BUILD_ROWS));
		end_build(f->store, owner, i);
	}
	assert_int_equal(build_is_there(f->store, "few", 0), 0);
	assert_int_equal(build_is_there(f->store, "many", 2), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(life_of_a_record, setup, teardown),
		cmocka_unit_test_setup_teardown(builds_of_each_owner, setup, teardown),
		cmocka_unit_test_setup_teardown(next_life, setup, teardown),
		cmocka_unit_test_setup_teardown(what_gathers_is_settled, setup, teardown),
		cmocka_unit_test_setup_teardown(old_files_open, setup, teardown),
	};
	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
