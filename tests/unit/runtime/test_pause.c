/* SPDX-License-Identifier: Apache-2.0 */
/* Halting a sandbox, and what the host says it uses: on this host's cgroups, and once more as if it had v1 alone. */
#include "fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void start(struct fixture *f)
{
	fixture_start(f);
	fixture_fill(f);
}

/* A file in the sandbox's /tmp that a program inside makes longer all the time. */
static void start_counter(const struct dw_sandbox_handle *h)
{
	const char *answer = fixture_ask(h, 'c',
					 "(while :; do echo >> /tmp/n; sleep 0.005; done) >/dev/null 2>&1 & while ! "
					 "test -s /tmp/n; do sleep 0.01; done");
	assert_string_equal(answer, "status 0");
}

static long counted(const struct dw_sandbox_handle *h)
{
	char path[64];
	struct stat st;
	snprintf(path, sizeof(path), "/proc/%d/root/tmp/n", h->init_pid);
	return stat(path, &st) < 0 ? -1 : (long)st.st_size;
}

static void freeze(struct fixture *f, const struct dw_sandbox_handle *h)
{
	struct dw_err err = { 0 };
	bool frozen = false;
	for (int i = 0; i < 2000 && !frozen; i++, usleep(1000)) {
		if (dw_runtime_freeze(f->rt, h->slot, &frozen, &err) < 0)
			fail_msg("freeze: %s", err.message);
	}
	assert_true(frozen);
}

static void thaw(struct fixture *f, const struct dw_sandbox_handle *h)
{
	struct dw_err err = { 0 };
	if (dw_runtime_thaw(f->rt, h->slot, &err) < 0)
		fail_msg("thaw: %s", err.message);
}

static void test_nothing_runs(void **state)
{
	struct fixture *f = *state;
	start(f);
	struct dw_sandbox_handle h = fixture_create(f), other = fixture_create(f);
	start_counter(&h);
	start_counter(&other);
	for (int i = 0; i < 3; i++) {
		freeze(f, &h);
		const long at = counted(&h), others = counted(&other);
		assert_true(at > 0);
		usleep(200000);
		assert_int_equal(counted(&h), at);
		/* Nobody else is halted. */
		assert_true(counted(&other) > others);
		thaw(f, &h);
		WAIT_FOR(counted(&h) > at);
	}
	/* Twice the same is fine. */
	freeze(f, &h);
	freeze(f, &h);
	thaw(f, &h);
	thaw(f, &h);
	assert_string_equal(fixture_ask(&h, 'c', "true"), "status 0");
	fixture_destroy(f, &h);
	fixture_destroy(f, &other);
}

static void test_a_halted_one_dies(void **state)
{
	struct fixture *f = *state;
	start(f);
	struct dw_sandbox_handle h = fixture_create(f);
	start_counter(&h);
	assert_string_equal(fixture_ask(&h, 'b', ""), "ok");
	freeze(f, &h);
	fixture_destroy(f, &h);
	assert_true(kill(h.init_pid, 0) < 0);
	WAIT_FOR(host_processes(f->keeper) == 2);
	WAIT_FOR(gate_links(f->gate_fd) == 2);
	/* The end of the server takes one that is halted as well; teardown sees that nothing is left. */
	h = fixture_create(f);
	freeze(f, &h);
	fixture_stop(f);
	close(h.agent_fd);
}

static void test_a_keeper_that_dies(void **state)
{
	struct fixture *f = *state;
	start(f);
	struct dw_sandbox_handle h = fixture_create(f);
	start_counter(&h);
	freeze(f, &h);
	const pid_t first = f->keeper;
	kill(first, SIGKILL);
	uint32_t slot;
	WAIT_FOR(dw_runtime_next_exit(f->rt, &slot) == -1);
	bool frozen;
	struct dw_err err = { 0 };
	assert_int_equal(dw_runtime_freeze(f->rt, h.slot, &frozen, &err), -1);
	assert_string_equal(err.code, "runtime_gone");
	dw_runtime_stop(f->rt);
	close(f->gate_fd);
	close(h.agent_fd);
	/* What v1 holds back is let go of by the next server. */
	fixture_start(f);
	WAIT_FOR(host_processes(first) == 0);
	fixture_stop(f);
	fixture_start(f);
	assert_int_equal(host_cgroups(first), 0);
}

static void test_none_there(void **state)
{
	struct fixture *f = *state;
	struct dw_err err = { 0 };
	struct dw_usage u;
	bool frozen;
	start(f);
	struct dw_sandbox_handle h = fixture_create(f);
	fixture_destroy(f, &h);
	const uint32_t slots[] = { 0, 999999, 0xffffffff, h.slot };
	for (size_t i = 0; i < DW_COUNT(slots); i++) {
		assert_int_equal(dw_runtime_freeze(f->rt, slots[i], &frozen, &err), -1);
		assert_int_equal(err.kind, DW_ERR_NOT_FOUND);
		assert_int_equal(dw_runtime_thaw(f->rt, slots[i], &err), -1);
		assert_int_equal(err.kind, DW_ERR_NOT_FOUND);
		assert_int_equal(dw_runtime_usage(f->rt, slots[i], &u, &err), -1);
		assert_int_equal(err.kind, DW_ERR_NOT_FOUND);
	}
}

static struct dw_usage usage(struct fixture *f, const struct dw_sandbox_handle *h)
{
	struct dw_err err = { 0 };
	struct dw_usage u;
	if (dw_runtime_usage(f->rt, h->slot, &u, &err) < 0)
		fail_msg("usage: %s", err.message);
	return u;
}

static void test_usage(void **state)
{
	struct fixture *f = *state;
	start(f);
	struct dw_sandbox_handle h = fixture_create(f);
	const struct dw_usage before = usage(f, &h);
	assert_true(before.disk_bytes < 4u << 20);
	assert_string_equal(fixture_ask(&h, 'c', "head -c 8388608 /dev/zero > /tmp/eight"), "status 0");
	assert_string_equal(fixture_ask(&h, 'c', "i=0; while test $i -lt 20000; do i=$((i+1)); done"), "status 0");
	const struct dw_usage after = usage(f, &h);
	assert_true(after.disk_bytes >= before.disk_bytes + (8u << 20) && after.disk_bytes < 32u << 20);
	assert_true(after.memory_bytes >= before.memory_bytes + (7u << 20) && after.memory_bytes <= 256u << 20);
	assert_true(after.cpu_us > before.cpu_us + 1000);
	/* What stands still takes no time, and can be measured all the same. */
	start_counter(&h);
	freeze(f, &h);
	const struct dw_usage still = usage(f, &h);
	usleep(100000);
	const struct dw_usage later = usage(f, &h);
	assert_int_equal(later.cpu_us, still.cpu_us);
	assert_int_equal(later.disk_bytes, still.disk_bytes);
	fixture_destroy(f, &h);
}

static int setup_v1(void **state)
{
	setenv("DECLAW_TEST_NO_CGROUP2", "1", 1);
	return fixture_setup(state);
}

static int teardown_v1(void **state)
{
	int r = fixture_teardown(state);
	unsetenv("DECLAW_TEST_NO_CGROUP2");
	return r;
}

static bool has_v1(void)
{
	bool all = true;
	static const char *const names[] = { "memory", "pids", "cpu", "cpuacct", "freezer" };
	for (size_t i = 0; i < DW_COUNT(names); i++) {
		char path[64];
		snprintf(path, sizeof(path), "/sys/fs/cgroup/%s/cgroup.procs", names[i]);
		all = all && access(path, F_OK) == 0;
	}
	return all;
}

#define EACH(setup, teardown)                                                                      \
	{                                                                                          \
		cmocka_unit_test_setup_teardown(test_nothing_runs, setup, teardown),               \
			cmocka_unit_test_setup_teardown(test_a_halted_one_dies, setup, teardown),  \
			cmocka_unit_test_setup_teardown(test_a_keeper_that_dies, setup, teardown), \
			cmocka_unit_test_setup_teardown(test_none_there, setup, teardown),         \
			cmocka_unit_test_setup_teardown(test_usage, setup, teardown),              \
	}

int main(void)
{
	need_root();
	const struct CMUnitTest tests[] = EACH(fixture_setup, fixture_teardown);
	const struct CMUnitTest v1[] = EACH(setup_v1, teardown_v1);
	int failed = cmocka_run_group_tests_name("runtime_pause", tests, NULL, NULL);
#ifdef DECLAW_TEST_HOOKS
	if (has_v1())
		failed += cmocka_run_group_tests_name("runtime_pause_v1", v1, NULL, NULL);
#else
	(void)v1;
	(void)has_v1;
#endif
	return failed;
}
