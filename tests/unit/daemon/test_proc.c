/* SPDX-License-Identifier: Apache-2.0 */
/* The process table against agents that behave and agents that do not. */
#include "proc_fixture.h"

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#include "daemon/clock.h"

struct row {
	const char *name;
	const char *bytes; /* after STARTED */
	size_t n;
	uint32_t exit_code;
	const char *error; /* part of it; NULL: none */
};

/* clang-format off */
static const struct row rows[] = {
	{ "an honest end", BYTES("\0\0\0\2\x21hi" EXIT_SEVEN), 7, NULL },
	{ "a time-out", BYTES("\0\0\0\5\x23" "\0\0\0\x89\1"), 124, "timed out" },
	{ "it hangs up", BYTES(""), 137, "no answer" },
	{ "half a header", BYTES("\0\0\0"), 137, "no answer" },
	{ "half a chunk", BYTES("\0\0\0\7\x21" "abc"), 137, "no answer" },
	{ "a length over the limit", BYTES("\xff\xff\xff\xff\x21"), 137, "no answer" },
	{ "a type that does not exist", BYTES("\0\0\0\0\x63"), 137, "no answer" },
	{ "STARTED again", BYTES(STARTED), 137, "no answer" },
	{ "a frame of a file operation", BYTES("\0\0\0\0\x11"), 137, "no answer" },
	{ "ERROR after it was started", BYTES("\0\0\0\x07\x25" "\0\x16\0\0\0\1x"), 137, "no answer" },
	{ "EXIT that is none", BYTES("\0\0\0\5\x23" "\0\0\0\7\2"), 137, "no answer" },
	{ "more after EXIT", BYTES(EXIT_SEVEN "\xff\xff\xff"), 7, NULL },
};
/* clang-format on */

/* Once with all of it behind STARTED, so that the start reads it, once a moment later, so that the thread does. */
static void check(void **state)
{
	const struct row *r = *state;
	for (int later = 0; later < 2; later++) {
		void *inner;
		assert_int_equal(setup(&inner), 0);
		struct fixture *f = inner;
		struct proc *p = NULL;
		struct dw_err err = { 0 };
		char bytes[256];
		int fd;
		memcpy(bytes, STARTED, sizeof(STARTED) - 1);
		memcpy(bytes + sizeof(STARTED) - 1, r->bytes, r->n);
		assert_int_equal(start(f, PROC_COMMAND, bytes, sizeof(STARTED) - 1 + (later ? 0 : r->n), &p, &fd, &err),
				 0);
		assert_int_equal(proc_pid(p), 9);
		if (later && r->n)
			assert_int_equal(send(fd, r->bytes, r->n, MSG_NOSIGNAL), (ssize_t)r->n);
		close(fd);
		const struct proc_end end = wait_end(p);
		assert_int_equal(end.exit_code, r->exit_code);
		assert_int_equal(end.error[0] != '\0', r->error != NULL);
		if (r->error)
			assert_non_null(strstr(end.error, r->error));
		assert_false(proc_kill(p));
		assert_int_equal(proc_stdin(p, "x", 1, -1, f->stop_fd, &err), -1);
		assert_string_equal(err.code, "process_ended");
		assert_int_equal(proc_stdin_close(p, -1, f->stop_fd, &err), 0);
		proc_unref(p);
		assert_int_equal(teardown(&inner), 0);
	}
}

static void starts_that_fail(void **state)
{
	struct fixture *f = *state;
	/* clang-format off */
	static const struct { const char *bytes; size_t n; const char *code; } answers[] = {
		{ BYTES("\0\0\0\x0a\x25" "\0\x16\0\0\0\4nope"), "invalid_command" },
		{ BYTES("\0\0\0\x07\x25" "\0\x0b\0\0\0\1x"), "sandbox_limit" },
		{ BYTES("\0\0\0\4\x20" "\0\0\0\0"), "sandbox_gone" },
		{ BYTES("\0\0\0\4\x20" "\xff\xff\xff\xff"), "sandbox_gone" },
		{ BYTES("\0\0\0\3\x20" "\0\0\0"), "sandbox_gone" },
		{ BYTES("\0\0\0\2\x21hi"), "sandbox_gone" },
		{ BYTES(EXIT_SEVEN), "sandbox_gone" },
	};
	/* clang-format on */
	for (size_t i = 0; i < DW_COUNT(answers); i++) {
		struct proc *p = NULL;
		struct dw_err err = { 0 };
		int fd;
		assert_int_equal(start(f, PROC_COMMAND, answers[i].bytes, answers[i].n, &p, &fd, &err), -1);
		assert_string_equal(err.code, answers[i].code);
		assert_null(p);
		close(fd);
	}
	json_t *list = procs_list(f->procs, "sbx-1");
	assert_int_equal(json_array_size(list), 0);
	json_decref(list);
}

static void a_pid_twice(void **state)
{
	struct fixture *f = *state;
	struct proc *first = NULL, *second = NULL;
	struct dw_err err = { 0 };
	int fd, other;
	assert_int_equal(start(f, PROC_COMMAND, BYTES(STARTED), &first, &fd, &err), 0);
	assert_int_equal(start(f, PROC_COMMAND, BYTES(STARTED), &second, &other, &err), -1);
	assert_string_equal(err.code, "sandbox_gone");
	close(other);
	/* Another kind has numbers of its own. */
	assert_int_equal(start(f, PROC_PTY, BYTES(STARTED), &second, &other, &err), 0);
	close(other);
	proc_unref(second);
	/* One that has ended gives its number up. */
	close(fd);
	wait_end(first);
	while (start(f, PROC_COMMAND, BYTES(STARTED), &second, &fd, &err) < 0) {
		close(fd); /* the thread has not yet counted it as finished */
		poll(NULL, 0, 10);
	}
	struct proc *found = procs_find(f->procs, "sbx-1", PROC_COMMAND, "9");
	assert_ptr_equal(found, second);
	proc_unref(found);
	proc_unref(first);
	proc_unref(second);
	close(fd);
}

static void a_daemon_that_stops(void **state)
{
	struct fixture *f = *state;
	struct proc *p = NULL;
	struct proc_waiter w;
	struct dw_err err = { 0 };
	const uint64_t one = 1;
	int fd;
	static char data[4 << 20];
	assert_int_equal(start(f, PROC_COMMAND, BYTES(STARTED), &p, &fd, &err), 0);
	assert_int_equal(write(f->stop_fd, &one, sizeof(one)), sizeof(one));
	assert_int_equal(proc_stdin(p, data, sizeof(data), -1, f->stop_fd, &err), -1);
	assert_string_equal(err.code, "cancelled");
	assert_int_equal(proc_waiter_open(&w, p, &err), 0);
	assert_int_equal(proc_wait(&w, -1, f->stop_fd, clock_mono_ms() + 10000), PROC_WAIT_STOPPING);
	proc_waiter_close(&w);
	close(fd);
	proc_unref(p);
}

/* The sandbox ends: what runs in it ends with a reason, what has ended is forgotten. */
static void a_sandbox_that_ends(void **state)
{
	struct fixture *f = *state;
	struct proc *p = NULL;
	struct dw_err err = { 0 };
	int fd;
	assert_int_equal(start(f, PROC_PTY, BYTES(STARTED), &p, &fd, &err), 0);
	pthread_mutex_lock(&f->m.lock);
	struct sandbox *s = manager_find(&f->m, "sbx-1");
	s->record.state = RECORD_KILLED;
	snprintf(s->record.reason, sizeof(s->record.reason), "test");
	pthread_mutex_unlock(&f->m.lock);
	/* Even if the agent's end stays open. */
	const struct proc_end end = wait_end(p);
	assert_int_equal(end.exit_code, 137);
	assert_non_null(strstr(end.error, "killed (test)"));
	for (int i = 0; i < 200; i++) {
		struct proc *found = procs_find(f->procs, "sbx-1", PROC_PTY, "9");
		if (!found)
			break;
		proc_unref(found);
		assert_true(i < 199);
		poll(NULL, 0, 50);
	}
	close(fd);
	proc_unref(p);
}

/* While a program is started, its copy of the daemon's descriptors keeps a closed one open for a moment. */
static void a_copy_that_stays_open(void **state)
{
	struct fixture *f = *state;
	struct proc *p = NULL;
	struct dw_err err = { 0 };
	int fd;
	assert_int_equal(start(f, PROC_COMMAND, BYTES(STARTED), &p, &fd, &err), 0);
	pthread_mutex_lock(&p->lock);
	const int copy = dup(p->fd);
	pthread_mutex_unlock(&p->lock);
	assert_true(copy >= 0);
	assert_int_equal(send(fd, EXIT_SEVEN, sizeof(EXIT_SEVEN) - 1, 0), sizeof(EXIT_SEVEN) - 1);
	assert_int_equal(wait_end(p).exit_code, 7);
	close(fd);
	poll(NULL, 0, 200);
	pthread_mutex_lock(&f->procs->lock);
	const unsigned refs = p->refs, running = p->box->running;
	pthread_mutex_unlock(&f->procs->lock);
	/* This test's and the table's: the thread gave its own back, once. */
	assert_int_equal(refs, 2);
	assert_int_equal(running, 0);
	close(copy);
	proc_unref(p);
}

/* The only one, and over before the thread has seen it: it is forgotten all the same. */
static void an_end_at_once(void **state)
{
	struct fixture *f = *state;
	struct proc *p = NULL;
	struct dw_err err = { 0 };
	int fd;
	poll(NULL, 0, 100); /* the thread waits, and for nothing */
	assert_int_equal(start(f, PROC_COMMAND, BYTES(STARTED EXIT_SEVEN), &p, &fd, &err), 0);
	close(fd);
	assert_int_equal(wait_end(p).exit_code, 7);
	proc_unref(p);
	pthread_mutex_lock(&f->m.lock);
	manager_find(&f->m, "sbx-1")->record.state = RECORD_KILLED;
	pthread_mutex_unlock(&f->m.lock);
	for (int i = 0; (p = procs_find(f->procs, "sbx-1", PROC_COMMAND, "9")); i++) {
		proc_unref(p);
		assert_true(i < 100);
		poll(NULL, 0, 50);
	}
}

int main(void)
{
	ROW_TESTS(rows, check);
	const struct CMUnitTest more[] = {
		cmocka_unit_test_setup_teardown(starts_that_fail, setup, teardown),
		cmocka_unit_test_setup_teardown(a_pid_twice, setup, teardown),
		cmocka_unit_test_setup_teardown(a_daemon_that_stops, setup, teardown),
		cmocka_unit_test_setup_teardown(a_sandbox_that_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(a_copy_that_stays_open, setup, teardown),
		cmocka_unit_test_setup_teardown(an_end_at_once, setup, teardown),
	};
	return cmocka_run_group_tests_name("ends of processes", tests, NULL, NULL) +
	       cmocka_run_group_tests_name("process table", more, NULL, NULL);
}
