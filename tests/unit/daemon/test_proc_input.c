/* SPDX-License-Identifier: Apache-2.0 */
/* What processes are sent to read. */
#include "proc_fixture.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/syscall.h>

/* What the next sends of the queue's bytes fail with. In place of the C library's. */
static atomic_int send_error, send_failures;

ssize_t send(int fd, const void *buf, size_t n, int flags)
{
	if (flags == (MSG_DONTWAIT | MSG_NOSIGNAL) && atomic_load(&send_failures) > 0) {
		atomic_fetch_sub(&send_failures, 1);
		errno = atomic_load(&send_error);
		return -1;
	}
	return syscall(SYS_sendto, fd, buf, n, flags, NULL, 0);
}

static size_t read_all(int fd, char *buf, size_t max, int wait_ms)
{
	size_t n = 0;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	while (n < max && poll(&p, 1, wait_ms) > 0) {
		const ssize_t got = recv(fd, buf + n, max - n, MSG_DONTWAIT);
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	return n;
}

struct writer {
	struct proc *p;
	int stop_fd;
	char letter;
	size_t n;
	int r;
};

static void *write_input(void *arg)
{
	struct writer *w = arg;
	struct dw_err err = { 0 };
	char *data = malloc(w->n);
	memset(data, w->letter, w->n);
	w->r = proc_stdin(w->p, data, w->n, -1, w->stop_fd, &err);
	free(data);
	return NULL;
}

/* Two requests with more than fits anywhere: each arrives whole, and as one. */
static void input_keeps_its_order(void **state)
{
	struct fixture *f = *state;
	struct proc *p = NULL;
	struct dw_err err = { 0 };
	const size_t each = 3 << 20;
	char *got = malloc(8 << 20), *text = malloc(8 << 20);
	pthread_t threads[2];
	int fd;
	assert_int_equal(start(f, PROC_STDIO, BYTES(STARTED), &p, &fd, &err), 0);
	struct writer w[] = { { p, f->stop_fd, 'a', each, -1 }, { p, f->stop_fd, 'b', each, -1 } };
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_input, &w[i]), 0);
	size_t n = 0, some;
	while ((some = read_all(fd, got + n, (8 << 20) - n, 3000)))
		n += some;
	for (size_t i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(w[0].r, 0);
	assert_int_equal(w[1].r, 0);
	size_t len = 0;
	for (size_t at = 0; at < n;) {
		struct dw_agentp_frame frame;
		assert_int_equal(dw_agentp_frame_parse(got + at, n - at, &frame), DW_PARSE_OK);
		assert_int_equal(frame.type, DW_AGENTP_STDIN);
		memcpy(text + len, frame.payload.p, frame.payload.n);
		len += frame.payload.n;
		at += frame.frame_n;
	}
	assert_int_equal(len, 2 * each);
	for (size_t i = 1; i < len; i++)
		assert_int_equal(text[i] != text[i - 1], i == each);
	free(got);
	free(text);
	close(fd);
	proc_unref(p);
}

/* A program that reads nothing: a request waits, says how much was taken, and a kill gets through all the same. */
static void input_that_nobody_reads(void **state)
{
	struct fixture *f = *state;
	struct proc *p = NULL;
	struct dw_err err = { 0 };
	static char data[4 << 20];
	size_t taken = 0, of = 0;
	int fd;
	assert_int_equal(start(f, PROC_COMMAND, BYTES(STARTED), &p, &fd, &err), 0);
	assert_int_equal(proc_stdin(p, data, sizeof(data), -1, f->stop_fd, &err), -1);
	assert_string_equal(err.code, "stdin_full");
	assert_int_equal(sscanf(strchr(err.message, ':') + 1, "%zu of %zu", &taken, &of), 2);
	assert_int_equal(of, sizeof(data));
	assert_in_range(taken, 1, sizeof(data) - 1);
	const size_t n = read_all(fd, data, sizeof(data), 300);
	/* With headers, what arrives is at least what was said. */
	assert_true(n > taken);
	assert_true(proc_kill(p));
	assert_int_equal(wait_end(p).exit_code, 137);
	close(fd);
	proc_unref(p);
}

/* Memory that is short for a moment loses no input. */
static void a_send_that_fails_for_a_while(void **state)
{
	struct fixture *f = *state;
	struct proc *p = NULL;
	struct dw_err err = { 0 };
	char got[DW_AGENTP_HEADER + 5];
	int fd;
	assert_int_equal(start(f, PROC_STDIO, BYTES(STARTED), &p, &fd, &err), 0);
	atomic_store(&send_error, ENOBUFS);
	atomic_store(&send_failures, 2);
	assert_int_equal(proc_stdin(p, "hello", 5, -1, f->stop_fd, &err), 0);
	assert_int_equal(read_all(fd, got, sizeof(got), 10000), sizeof(got));
	assert_memory_equal(got + DW_AGENTP_HEADER, "hello", 5);
	/* And meanwhile nobody tries without a pause. */
	assert_int_equal(atomic_load(&send_failures), 0);
	close(fd);
	proc_unref(p);
}

/* Input that can not be sent ends the process: it is not lost in silence. */
static void a_send_that_fails(void **state)
{
	struct fixture *f = *state;
	struct proc *p = NULL;
	struct dw_err err = { 0 };
	int fd;
	assert_int_equal(start(f, PROC_STDIO, BYTES(STARTED), &p, &fd, &err), 0);
	atomic_store(&send_error, EIO);
	atomic_store(&send_failures, 1);
	assert_int_equal(proc_stdin(p, "hello", 5, -1, f->stop_fd, &err), 0);
	assert_int_equal(wait_end(p).exit_code, 137);
	close(fd);
	proc_unref(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(input_keeps_its_order, setup, teardown),
		cmocka_unit_test_setup_teardown(input_that_nobody_reads, setup, teardown),
		cmocka_unit_test_setup_teardown(a_send_that_fails_for_a_while, setup, teardown),
		cmocka_unit_test_setup_teardown(a_send_that_fails, setup, teardown),
	};
	return cmocka_run_group_tests_name("input of processes", tests, NULL, NULL);
}
