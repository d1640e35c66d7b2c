/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/cgroup.h"
#include "runtime/failpoint.h"

static void test_create_destroy(void **state)
{
	struct fixture *f = *state;
	fixture_start(f);
	fixture_fill(f);
	struct dw_sandbox_handle h = fixture_create(f);
	assert_true(h.slot > 0);
	assert_true(h.uid_base >= 0x10000000);
	assert_int_equal(kill(h.init_pid, 0), 0);
	assert_true(host_processes(f->keeper) >= 1);
	fixture_destroy(f, &h);
	assert_true(kill(h.init_pid, 0) < 0);
	/* Again, and a slot that never was. */
	assert_int_equal(dw_runtime_destroy(f->rt, h.slot, NULL), 0);
	assert_int_equal(dw_runtime_destroy(f->rt, 999999, NULL), 0);
	assert_int_equal(dw_runtime_destroy(f->rt, 0xffffffff, NULL), 0);
	/* What follows behind: only the pool's two slots stay. */
	WAIT_FOR(gate_links(f->gate_fd) == 2);
	WAIT_FOR(host_processes(f->keeper) == 2);
	fixture_stop(f);
}

static void test_many(void **state)
{
	struct fixture *f = *state;
	struct dw_err err = { 0 };
	struct dw_sandbox_handle h[8], one;
	const struct dw_sandbox_spec spec = fixture_spec();
	fixture_start(f);
	fixture_fill(f);
	for (size_t i = 0; i < 8; i++) {
		h[i] = fixture_create(f);
		for (size_t j = 0; j < i; j++) {
			assert_int_not_equal(h[i].slot, h[j].slot);
			assert_int_not_equal(h[i].uid_base, h[j].uid_base);
			assert_false(dw_addr_eq(&h[i].addr4, &h[j].addr4));
		}
	}
	assert_int_equal(dw_runtime_create(f->rt, &spec, &one, &err), -1);
	assert_int_equal(err.kind, DW_ERR_LIMIT);
	assert_string_equal(err.code, "too_many_sandboxes");
	fixture_destroy(f, &h[3]);
	h[3] = fixture_create(f);
	for (size_t i = 0; i < 8; i++)
		fixture_destroy(f, &h[i]);
	/* The end, with some alive, takes all of them. */
	for (size_t i = 0; i < 3; i++)
		h[i] = fixture_create(f);
	fixture_stop(f);
	for (size_t i = 0; i < 3; i++)
		close(h[i].agent_fd);
}

static void *create_destroy_loop(void *arg)
{
	struct fixture *f = arg;
	const struct dw_sandbox_spec spec = fixture_spec();
	for (int i = 0; i < 25; i++) {
		struct dw_sandbox_handle h;
		struct dw_err err = { 0 };
		if (dw_runtime_create(f->rt, &spec, &h, &err) < 0) {
			fprintf(stderr, "create: %s\n", err.message);
			return NULL;
		}
		if (dw_runtime_destroy(f->rt, h.slot, &err) < 0)
			return NULL;
		close(h.agent_fd);
	}
	return arg;
}

static unsigned open_fds(pid_t pid)
{
	char path[32];
	unsigned n = 0;
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	DIR *d = opendir(path);
	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

static void test_threads(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[4];
	fixture_start(f);
	fixture_fill(f);
	WAIT_FOR(gate_links(f->gate_fd) == 2);
	unsigned mine = open_fds(getpid());
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, create_destroy_loop, f), 0);
	for (size_t i = 0; i < 4; i++) {
		void *r = NULL;
		pthread_join(threads[i], &r);
		assert_ptr_equal(r, f);
	}
	assert_int_equal(open_fds(getpid()), mine);
	WAIT_FOR(gate_links(f->gate_fd) == 2);
	/* req, event, epoll, builder, templates, cgroups, and two per parked slot: no growth with the number of rounds. */
	assert_true(open_fds(f->keeper) < 40);
}

static void test_exit_event(void **state)
{
	struct fixture *f = *state;
	uint32_t slot = 0;
	fixture_start(f);
	fixture_fill(f);
	assert_int_equal(dw_runtime_next_exit(f->rt, &slot), 0);
	struct dw_sandbox_handle h = fixture_create(f), other = fixture_create(f);
	fixture_ask(&h, 'x', "");
	struct pollfd p = { .fd = dw_runtime_event_fd(f->rt), .events = POLLIN };
	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(dw_runtime_next_exit(f->rt, &slot), 1);
	assert_int_equal(slot, h.slot);
	assert_int_equal(dw_runtime_next_exit(f->rt, &slot), 0);
	fixture_destroy(f, &h);
	fixture_destroy(f, &other);
	/* A destroy is no event. */
	assert_int_equal(poll(&p, 1, 100), 0);
}

static void test_destroy_takes_all(void **state)
{
	struct fixture *f = *state;
	fixture_start(f);
	fixture_fill(f);
	WAIT_FOR(host_processes(f->keeper) == 2);
	struct dw_sandbox_handle h = fixture_create(f);
	assert_string_equal(fixture_ask(&h, 'b', ""), "ok");
	WAIT_FOR(host_processes(f->keeper) == 23);
	fixture_destroy(f, &h);
	/* At once, not behind: only parked ones may be there. */
	assert_true(host_processes(f->keeper) <= 2);
}

/* Another server starts where this one's pids mean nothing, and clears away what dead servers left. */
static void test_a_server_in_another_pid_namespace(void **state)
{
	struct fixture *f = *state;
	fixture_start(f);
	fixture_fill(f);
	struct dw_sandbox_handle h = fixture_create(f);
	pid_t outer = fork();
	if (outer == 0) {
		struct dw_cgroups other = { 0 };
		if (unshare(CLONE_NEWPID) < 0)
			_exit(2);
		pid_t inner = fork();
		if (inner == 0) {
			if (dw_cgroups_open(&other, NULL) < 0)
				_exit(3);
			dw_cgroups_close(&other);
			_exit(0);
		}
		int status = -1;
		waitpid(inner, &status, 0);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 4);
	}
	int status = -1;
	assert_int_equal(waitpid(outer, &status, 0), outer);
	assert_int_equal(status, 0);
	assert_int_equal(kill(h.init_pid, 0), 0);
	struct dw_sandbox_handle again = fixture_create(f);
	fixture_destroy(f, &again);
	fixture_destroy(f, &h);
	fixture_stop(f);
}

static void test_not_filled(void **state)
{
	struct fixture *f = *state;
	struct dw_err err = { 0 };
	struct dw_sandbox_handle h;
	struct dw_sandbox_spec spec = fixture_spec();
	fixture_start(f);
	assert_int_equal(dw_runtime_create(f->rt, &spec, &h, &err), -1);
	assert_int_equal(err.kind, DW_ERR_UNAVAILABLE);
	assert_int_equal(gate_links(f->gate_fd), 0);
}

static void expect_invalid(struct fixture *f, const struct dw_sandbox_spec *spec, const char *code)
{
	struct dw_err err = { 0 };
	struct dw_sandbox_handle h;
	assert_int_equal(dw_runtime_create(f->rt, spec, &h, &err), -1);
	assert_int_equal(err.kind, DW_ERR_INVALID);
	assert_string_equal(err.code, code);
}

static void test_bad_specs(void **state)
{
	static const char *const hostnames[] = { "", "-a", "a-", "a.b", "a b", "a\nb", "a/b", "\xc3\xa4", NULL };
	struct fixture *f = *state;
	struct dw_sandbox_spec spec;
	struct dw_err err = { 0 };
	fixture_start(f);
	fixture_fill(f);
	for (size_t i = 0; i < DW_COUNT(hostnames); i++) {
		spec = fixture_spec();
		spec.hostname = hostnames[i];
		expect_invalid(f, &spec, "invalid_hostname");
	}
	spec = fixture_spec();
	spec.memory_mb = 0;
	expect_invalid(f, &spec, "invalid_limit");
	spec = fixture_spec();
	spec.disk_mb = 0xffffffff;
	expect_invalid(f, &spec, "invalid_limit");
	spec = fixture_spec();
	spec.template_name = "../host";
	expect_invalid(f, &spec, "unknown_template");
	assert_int_equal(dw_runtime_template_check(f->rt, "nonesuch", &err), -1);
	assert_string_equal(err.code, "unknown_template");
	assert_int_equal(dw_runtime_template_check(f->rt, "base", &err), 0);
}

/* In a process and a mount namespace of its own, where the host has no node. */
static int template_unavailable(struct fixture *f)
{
	struct dw_err err = { 0 };
	struct dw_sandbox_handle h;
	struct dw_sandbox_spec spec = fixture_spec();
	spec.template_name = "node";
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return 1;
	static const char *const places[] = { "/usr/bin/node", "/usr/local/bin/node" };
	for (size_t i = 0; i < DW_COUNT(places); i++) {
		if (access(places[i], F_OK) == 0 && mount("/dev/null", places[i], NULL, MS_BIND, NULL) < 0)
			return 2;
	}
	const struct dw_runtime_config c = {
		.data_dir = f->dir, .agent_path = STUB_AGENT, .pool = 1, .max_sandboxes = 2
	};
	if (dw_runtime_start(&c, &f->rt, &err) < 0 || dw_runtime_fill(f->rt, &err) < 0)
		return 3;
	int r = dw_runtime_create(f->rt, &spec, &h, &err);
	int checked = dw_runtime_template_check(f->rt, "node", NULL);
	dw_runtime_stop(f->rt);
	if (r == 0 || checked == 0)
		return 4;
	if (err.kind != DW_ERR_UNPROCESSABLE || strcmp(err.code, "template_unavailable") != 0)
		return 5;
	return strstr(err.message, "nodejs") ? 0 : 6;
}

static void test_template_unavailable(void **state)
{
	struct fixture *f = *state;
	int status = -1;
	pid_t pid = fork();
	if (pid == 0)
		_exit(template_unavailable(f));
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

/* Runs in a process of its own: a daemon that dies with sandboxes alive. */
static void daemon_that_dies(struct fixture *f, int to_parent)
{
	fixture_start(f);
	fixture_fill(f);
	fixture_create(f);
	fixture_create(f);
	if (write(to_parent, &f->keeper, sizeof(f->keeper)) != sizeof(f->keeper))
		_exit(1);
	raise(SIGKILL);
}

static void test_daemon_killed(void **state)
{
	struct fixture *f = *state;
	int p[2];
	pid_t keeper = 0;
	assert_int_equal(pipe(p), 0);
	pid_t pid = fork();
	if (pid == 0)
		daemon_that_dies(f, p[1]);
	assert_int_equal(read(p[0], &keeper, sizeof(keeper)), sizeof(keeper));
	waitpid(pid, NULL, 0);
	WAIT_FOR(host_processes(keeper) == 0);
	WAIT_FOR(host_cgroups(keeper) == 0);
	WAIT_FOR(kill(keeper, 0) < 0);
	close(p[0]);
	close(p[1]);
}

static void test_keeper_killed(void **state)
{
	struct fixture *f = *state;
	uint32_t slot;
	fixture_start(f);
	fixture_fill(f);
	WAIT_FOR(gate_links(f->gate_fd) == 2);
	struct dw_sandbox_handle h = fixture_create(f);
	assert_string_equal(fixture_ask(&h, 'b', ""), "ok");
	pid_t first = f->keeper;
	kill(first, SIGKILL);
	/* The processes die with it; the cgroups are swept by the next server. */
	WAIT_FOR(host_processes(first) == 0);
	WAIT_FOR(gate_links(f->gate_fd) == 0);
	WAIT_FOR(dw_runtime_next_exit(f->rt, &slot) == -1);
	const struct dw_sandbox_spec spec = fixture_spec();
	struct dw_err err = { 0 };
	struct dw_sandbox_handle none;
	assert_int_equal(dw_runtime_create(f->rt, &spec, &none, &err), -1);
	assert_string_equal(err.code, "runtime_gone");
	dw_runtime_stop(f->rt);
	close(f->gate_fd);
	close(h.agent_fd);
	fixture_start(f);
	assert_int_equal(host_cgroups(first), 0);
}

/* Whether the step belongs to what is made ahead: then no slot can be made at all. */
static void fail_at(struct fixture *f, const char *step)
{
	struct dw_err err = { 0 };
	struct dw_sandbox_handle h;
	struct dw_sandbox_spec spec = fixture_spec();
	/* Something attached, so that each step is one of this create. */
	dw_autoclose int dir = open(f->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	const struct dw_attach attach = { .dir_fd = dir, .path = "/mnt/here" };
	spec.attach = &attach;
	spec.attach_n = 1;
	setenv("DECLAW_TEST_FAIL", step, 1);
	fixture_start(f);
	fixture_fill(f);
	for (int i = 0; i < 2; i++) {
		int r = dw_runtime_create(f->rt, &spec, &h, &err);
		if (r == 0)
			fail_msg("step %s did not fail", step);
		assert_int_equal(err.kind, DW_ERR_INTERNAL);
		if (!strstr(err.message, step))
			fail_msg("step %s: the message is \"%s\"", step, err.message);
	}
	/* At most the pool's slots (steps after parking) are there. */
	unsigned links = 99;
	for (int i = 0; i < 500 && links > 2; i++, usleep(10000))
		links = gate_links(f->gate_fd);
	if (links > 2)
		fail_msg("step %s: %u links are left", step, links);
	WAIT_FOR(host_processes(f->keeper) <= 2);
	fixture_stop(f);
	unsetenv("DECLAW_TEST_FAIL");
}

static void test_failure_at_each_step(void **state)
{
	struct fixture *f = *state;
	/* The last are not of a create: test_extras.c. */
	for (size_t i = 1; i < DW_STEP_PACK_START; i++)
		fail_at(f, dw_runtime_steps[i]);
}

int main(void)
{
	need_root();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_create_destroy, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_many, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_threads, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_exit_event, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_destroy_takes_all, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_a_server_in_another_pid_namespace, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(test_not_filled, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_bad_specs, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_template_unavailable, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_daemon_killed, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_keeper_killed, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_failure_at_each_step, fixture_setup, fixture_teardown),
	};
	return cmocka_run_group_tests_name("runtime_lifecycle", tests, NULL, NULL);
}
