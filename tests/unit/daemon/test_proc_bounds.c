/* SPDX-License-Identifier: Apache-2.0 */
/* How much the process table holds. */
#include "proc_fixture.h"

#include <poll.h>
#include <sys/socket.h>

/* Finished ones are kept up to a number: then the oldest go. */
static void finished_ones_are_bounded(void **state)
{
	struct fixture *f = *state;
	struct dw_err err = { 0 };
	for (unsigned i = 1; i <= DAEMON_PROCS_SANDBOX + 20; i++) {
		char bytes[] = "\0\0\0\4\x20"
			       "\0\0\0\0"
			       "\0\0\0\1\x21x" EXIT_SEVEN;
		struct proc *p = NULL;
		int fd;
		bytes[7] = (char)(i >> 8);
		bytes[8] = (char)i;
		assert_int_equal(start(f, PROC_COMMAND, bytes, sizeof(bytes) - 1, &p, &fd, &err), 0);
		close(fd);
		proc_unref(p);
	}
	json_t *list = procs_list(f->procs, "sbx-1");
	assert_int_equal(json_array_size(list), DAEMON_PROCS_SANDBOX);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 0), "pid")), 21);
	json_decref(list);
}

static void running_ones_are_bounded(void **state)
{
	struct fixture *f = *state;
	struct dw_err err = { 0 };
	int fds[DAEMON_PROCS_RUNNING];
	struct proc *p = NULL;
	for (unsigned i = 0; i < DAEMON_PROCS_RUNNING; i++) {
		char bytes[] = "\0\0\0\4\x20"
			       "\0\0\0\0";
		bytes[8] = (char)(i + 1);
		assert_int_equal(start(f, PROC_COMMAND, bytes, sizeof(bytes) - 1, &p, &fds[i], &err), 0);
		proc_unref(p);
	}
	/* Nothing is asked of the agent. */
	const struct agent_command c = { .cmd = "x", .user = "user", .cwd = "" };
	const struct proc_spec spec = { .command = &c };
	assert_int_equal(procs_start(f->procs, &f->m, "sbx-1", -1, f->stop_fd, &spec, &p, &err), -1);
	assert_string_equal(err.code, "too_many_processes");
	for (unsigned i = 0; i < DAEMON_PROCS_RUNNING; i++)
		close(fds[i]);
}

/* What one process holds of its sandbox's share is counted, and results give way before it is used up. */
static void results_leave_room(void **state)
{
	struct fixture *f = *state;
	struct dw_err err = { 0 };
	static char frame[DW_AGENTP_HEADER + DW_AGENTP_CHUNK];
	dw_agentp_header_build((uint8_t *)frame, DW_AGENTP_STDOUT, DW_AGENTP_CHUNK);
	struct sandbox *s = manager_find(&f->m, "sbx-1");
	for (unsigned i = 1; i <= 8; i++) {
		char bytes[] = "\0\0\0\4\x20"
			       "\0\0\0\0";
		struct proc *p = NULL;
		int fd;
		bytes[8] = (char)i;
		assert_int_equal(start(f, PROC_COMMAND, bytes, sizeof(bytes) - 1, &p, &fd, &err), 0);
		for (size_t at = 0; at < DAEMON_OUTPUT_MAX; at += DW_AGENTP_CHUNK)
			for (size_t n = 0; n < sizeof(frame);)
				n += (size_t)send(fd, frame + n, sizeof(frame) - n, 0);
		assert_int_equal(send(fd, EXIT_SEVEN, sizeof(EXIT_SEVEN) - 1, 0), sizeof(EXIT_SEVEN) - 1);
		assert_int_equal(wait_end(p).exit_code, 7);
		close(fd);
		proc_unref(p);
	}
	for (int i = 0; i < 200 && s->output_held > DAEMON_OUTPUT_SANDBOX_MAX / 2 + DAEMON_OUTPUT_MAX; i++)
		poll(NULL, 0, 50);
	assert_in_range(s->output_held, DAEMON_OUTPUT_MAX, DAEMON_OUTPUT_SANDBOX_MAX / 2 + DAEMON_OUTPUT_MAX);
	struct proc *newest = procs_find(f->procs, "sbx-1", PROC_COMMAND, "8");
	assert_non_null(newest);
	proc_unref(newest);
	assert_null(procs_find(f->procs, "sbx-1", PROC_COMMAND, "1"));
}

/* However long the commands are, a list of them is short. */
static void long_ones_are_listed_in_part(void **state)
{
	struct fixture *f = *state;
	struct dw_err err = { 0 };
	static char cmd[100000], value[60000];
	memset(value, 'v', sizeof(value) - 1);
	for (size_t i = 0; i < sizeof(cmd) - 1; i++)
		cmd[i] = "\xe2\x82\xac"[i % 3];
	json_t *envs = json_pack("{ss}", "A", value);
	for (unsigned i = 1; i <= DAEMON_PROCS_RUNNING; i++) {
		char bytes[] = "\0\0\0\4\x20"
			       "\0\0\0\0";
		struct proc *p = NULL;
		int fd;
		bytes[8] = (char)i;
		assert_int_equal(start_command(f, PROC_COMMAND, cmd, envs, bytes, sizeof(bytes) - 1, &p, &fd, &err), 0);
		proc_unref(p);
		json_t *list = procs_list(f->procs, "sbx-1"), *item = json_array_get(list, 0);
		const char *shown = json_string_value(json_object_get(item, "cmd"));
		const size_t n = strlen(shown), max = DW_MIN(DAEMON_PROC_OWN, DAEMON_PROC_LIST / i);
		assert_int_equal(json_array_size(list), i);
		assert_in_range(n, max - 2, max);
		assert_memory_equal(shown, cmd, n);
		assert_int_equal(n % 3, 0);
		assert_int_equal(json_object_size(json_object_get(item, "envs")), 0);
		assert_true(json_is_true(json_object_get(item, "truncated")));
		json_decref(list);
		close(fd);
	}
	json_decref(envs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(finished_ones_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(running_ones_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(results_leave_room, setup, teardown),
		cmocka_unit_test_setup_teardown(long_ones_are_listed_in_part, setup, teardown),
	};
	return cmocka_run_group_tests_name("bounds of the process table", tests, NULL, NULL);
}
