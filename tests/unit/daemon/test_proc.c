/* SPDX-License-Identifier: Apache-2.0 */
/* The process table against agents that behave and agents that do not; the test plays the agent. */
#include "support.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "daemon/clock.h"
#include "daemon/manager_internal.h"
#include "daemon/proc_internal.h"

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

struct fixture {
	struct manager m;
	struct procs *procs;
	int control, stop_fd;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct sandbox *s = calloc(1, sizeof(*s));
	struct dw_err err = { 0 };
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	pthread_mutex_init(&f->m.lock, NULL);
	pthread_cond_init(&f->m.change, NULL);
	f->control = pair[1];
	f->stop_fd = eventfd(0, EFD_CLOEXEC);
	s->m = &f->m;
	s->refs = 1;
	s->agent_fd = pair[0];
	s->network.policy_fd = -1;
	s->record.state = RECORD_RUNNING;
	s->record.doc = record_doc_new();
	s->record.doc->envs = json_object();
	snprintf(s->record.id, sizeof(s->record.id), "sbx-1");
	pthread_mutex_init(&s->gate_lock, NULL);
	manager_link(s);
	assert_int_equal(procs_new(&f->procs, &err), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	struct sandbox *s = manager_find(&f->m, "sbx-1");
	procs_free(f->procs);
	/* Everything was given back. */
	assert_int_equal(s->refs, 1);
	assert_int_equal(s->ops, 0);
	assert_int_equal(s->output_held, 0);
	manager_unlink(s);
	manager_unref(s);
	close(f->control);
	close(f->stop_fd);
	free(f);
	return 0;
}

/* What the agent of the next start does with its end. */
struct script {
	struct fixture *f;
	const char *bytes;
	size_t n;
	int fd; /* the agent's end, afterwards */
};

static void *play(void *arg)
{
	struct script *s = arg;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} space;
	char letter;
	struct iovec iov = { &letter, 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space.bytes, .msg_controllen = sizeof(space.bytes)
	};
	assert_int_equal(recvmsg(s->f->control, &m, MSG_CMSG_CLOEXEC), 1);
	memcpy(&s->fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(s->fd));
	static uint8_t request[DW_AGENTP_FRAME_MAX];
	assert_int_equal(recv(s->fd, request, DW_AGENTP_HEADER, MSG_WAITALL), DW_AGENTP_HEADER);
	const size_t rest = (size_t)request[1] << 16 | (size_t)request[2] << 8 | request[3];
	assert_int_equal(recv(s->fd, request, rest, MSG_WAITALL), (ssize_t)rest);
	assert_int_equal(send(s->fd, s->bytes, s->n, MSG_NOSIGNAL), (ssize_t)s->n);
	return NULL;
}

static int start_command(struct fixture *f, enum proc_kind kind, const char *cmd, const json_t *envs, const char *bytes,
			 size_t n, struct proc **ret, int *ret_fd, struct dw_err *err)
{
	struct script s = { .f = f, .bytes = bytes, .n = n, .fd = -1 };
	const struct agent_command c = { .cmd = cmd, .user = "user", .cwd = "", .envs = envs, .with_stdin = true };
	const struct proc_spec spec = { .kind = kind, .command = &c };
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, play, &s), 0);
	const int r = procs_start(f->procs, &f->m, "sbx-1", -1, f->stop_fd, &spec, ret, err);
	pthread_join(thread, NULL);
	*ret_fd = s.fd;
	return r;
}

static int start(struct fixture *f, enum proc_kind kind, const char *bytes, size_t n, struct proc **ret, int *ret_fd,
		 struct dw_err *err)
{
	return start_command(f, kind, "x", NULL, bytes, n, ret, ret_fd, err);
}

#define BYTES(s) s, sizeof(s) - 1
#define STARTED        \
	"\0\0\0\4\x20" \
	"\0\0\0\x09"
#define EXIT_SEVEN     \
	"\0\0\0\5\x23" \
	"\0\0\0\7\0"

static struct proc_end wait_end(struct proc *p)
{
	struct proc_waiter w;
	struct proc_end end = { 0 };
	struct dw_err err = { 0 };
	const int64_t until = clock_mono_ms() + 20000;
	assert_int_equal(proc_waiter_open(&w, p, &err), 0);
	while (!proc_end(&w, &end))
		assert_int_equal(proc_wait(&w, -1, -1, until), PROC_WAIT_NEWS);
	proc_waiter_close(&w);
	return end;
}

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
	ROW_TESTS(rows, check);
	const struct CMUnitTest more[] = {
		cmocka_unit_test_setup_teardown(starts_that_fail, setup, teardown),
		cmocka_unit_test_setup_teardown(a_pid_twice, setup, teardown),
		cmocka_unit_test_setup_teardown(input_keeps_its_order, setup, teardown),
		cmocka_unit_test_setup_teardown(input_that_nobody_reads, setup, teardown),
		cmocka_unit_test_setup_teardown(a_daemon_that_stops, setup, teardown),
		cmocka_unit_test_setup_teardown(a_sandbox_that_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(finished_ones_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(running_ones_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(results_leave_room, setup, teardown),
		cmocka_unit_test_setup_teardown(a_copy_that_stays_open, setup, teardown),
		cmocka_unit_test_setup_teardown(an_end_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_send_that_fails_for_a_while, setup, teardown),
		cmocka_unit_test_setup_teardown(a_send_that_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(long_ones_are_listed_in_part, setup, teardown),
	};
	return cmocka_run_group_tests_name("ends of processes", tests, NULL, NULL) +
	       cmocka_run_group_tests_name("process table", more, NULL, NULL);
}
