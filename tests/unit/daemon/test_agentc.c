/* SPDX-License-Identifier: Apache-2.0 */
/* The client side of agents against an agent that misbehaves. */
#include "support.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "daemon/agentc.h"
#include "daemon/clock.h"
#include "daemon/manager_internal.h"

/* A sandbox without anything but its control socket; the test plays the agent at the other end. */
struct fixture {
	struct manager m;
	int control, stop_fd;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct sandbox *s = calloc(1, sizeof(*s));
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
	s->record.doc->envs = json_pack("{ss}", "FROM", "sandbox");
	snprintf(s->record.id, sizeof(s->record.id), "sbx-1");
	pthread_mutex_init(&s->gate_lock, NULL);
	manager_link(s);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	struct sandbox *s = manager_find(&f->m, "sbx-1");
	/* Every operation has given back what it took. */
	assert_int_equal(s->refs, 1);
	assert_int_equal(s->ops, 0);
	assert_int_equal(s->output_held, 0);
	manager_unlink(s);
	manager_unref(s);
	if (f->control >= 0)
		close(f->control);
	close(f->stop_fd);
	free(f);
	return 0;
}

static void open_op(struct fixture *f, struct agent_op *op, int *ret_agent)
{
	struct dw_err err = { 0 };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} space;
	char letter;
	struct iovec iov = { &letter, 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space.bytes, .msg_controllen = sizeof(space.bytes)
	};
	assert_int_equal(agent_op_open(op, &f->m, "sbx-1", f->stop_fd, &err), 0);
	assert_int_equal(recvmsg(f->control, &m, MSG_CMSG_CLOEXEC), 1);
	assert_int_equal(letter, 'O');
	assert_non_null(CMSG_FIRSTHDR(&m));
	memcpy(ret_agent, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(*ret_agent));
}

struct row {
	const char *name;
	const char *bytes; /* what the agent says, then it hangs up */
	size_t n;
	int want; /* of agent_command_wait */
	const char *code, *word;
	enum dw_err_kind kind;
};

#define BYTES(s) s, sizeof(s) - 1
#define LOST     -1, "sandbox_gone", "no answer", DW_ERR_GONE

/* clang-format off */
static const struct row rows[] = {
	{ "nothing", BYTES(""), LOST },
	{ "half a header", BYTES("\0\0\0"), LOST },
	{ "a header without its payload", BYTES("\0\0\0\7\x21" "abc"), LOST },
	{ "a length over the limit", BYTES("\xff\xff\xff\xff\x21"), LOST },
	{ "a chunk larger than any honest one", BYTES("\0\x02\0\0\x21" "abc"), LOST },
	{ "a type that does not exist", BYTES("\0\0\0\0\x63"), LOST },
	{ "a request, which is the daemon's to send", BYTES("\0\0\0\1\4x"), LOST },
	{ "a frame of a file operation", BYTES("\0\0\0\0\x11"), LOST },
	{ "STARTED too short", BYTES("\0\0\0\3\x20" "\0\0\1"), LOST },
	{ "STARTED too long", BYTES("\0\0\0\5\x20" "\0\0\0\1\1"), LOST },
	{ "EXIT too short", BYTES("\0\0\0\4\x23" "\0\0\0\0"), LOST },
	{ "ERROR without a message", BYTES("\0\0\0\2\x25" "\0\x16"), LOST },
	{ "ERROR with a length that lies", BYTES("\0\0\0\7\x25" "\0\x16\0\0\0\x09x"), LOST },
	{ "output, then the end", BYTES("\0\0\0\1\x21x"), LOST },
	{ "an honest EXIT", BYTES("\0\0\0\4\x20" "\0\0\0\2" "\0\0\0\2\x21hi" "\0\0\0\5\x23" "\0\0\0\7\0"), 1, NULL, NULL, 0 },
	{ "what comes after EXIT does not matter", BYTES("\0\0\0\5\x23" "\0\0\0\7\0" "\xff\xff\xff"), 1, NULL, NULL, 0 },
	{ "an honest ERROR", BYTES("\0\0\0\x0a\x25" "\0\x16\0\0\0\4nope"), -1, "invalid_command", "nope", DW_ERR_INVALID },
	{ "ERROR with hostile text", BYTES("\0\0\0\x0a\x25" "\0\x16\0\0\0\4a\nb\xff"), -1, "invalid_command", "a\xef\xbf\xbd" "b\xef\xbf\xbd", DW_ERR_INVALID },
	{ "ERROR for want of processes", BYTES("\0\0\0\x07\x25" "\0\x0b\0\0\0\1x"), -1, "sandbox_limit", "x", DW_ERR_LIMIT },
	{ "ERROR with a number nobody knows", BYTES("\0\0\0\x07\x25" "\xff\xff\0\0\0\1x"), -1, "invalid_command", "x", DW_ERR_INVALID },
};
/* clang-format on */

static void check(void **state)
{
	const struct row *r = *state;
	void *inner;
	assert_int_equal(setup(&inner), 0);
	struct fixture *f = inner;
	{
		auto_agent_op struct agent_op op = { .fd = -1 };
		dw_autoclose int agent = -1;
		struct agent_result result = { 0 };
		struct dw_err err = { 0 };
		const struct agent_command c = { .cmd = "x", .user = "user", .cwd = "" };
		open_op(f, &op, &agent);
		assert_int_equal(agent_command_start(&op, &c, &err), 0);
		assert_int_equal(send(agent, r->bytes, r->n, 0), (ssize_t)r->n);
		assert_int_equal(shutdown(agent, SHUT_WR), 0);
		assert_int_equal(agent_command_wait(&op, 0, &result, &err), r->want);
		if (r->code) {
			assert_string_equal(err.code, r->code);
			assert_non_null(strstr(err.message, r->word));
			assert_int_equal(err.kind, r->kind);
		} else {
			assert_int_equal(result.exit_code, 7);
		}
		agent_result_done(&result);
	}
	assert_int_equal(teardown(&inner), 0);
}

/* Writes output for as long as somebody reads it. */
static void *babble(void *arg)
{
	const int fd = *(const int *)arg;
	static uint8_t frame[DW_AGENTP_HEADER + DW_AGENTP_CHUNK];
	dw_agentp_header_build(frame, DW_AGENTP_STDOUT, DW_AGENTP_CHUNK);
	while (send(fd, frame, sizeof(frame), MSG_NOSIGNAL) > 0)
		;
	return NULL;
}

static void an_agent_that_never_ends(void **state)
{
	struct fixture *f = *state;
	auto_agent_op struct agent_op op = { .fd = -1 };
	dw_autoclose int agent = -1;
	struct agent_result result = { 0 };
	struct dw_err err = { 0 };
	pthread_t thread;
	open_op(f, &op, &agent);
	assert_int_equal(pthread_create(&thread, NULL, babble, &agent), 0);
	op.deadline_ms = clock_mono_ms() + 300;
	assert_int_equal(agent_command_wait(&op, 0, &result, &err), -1);
	assert_int_equal(err.kind, DW_ERR_GONE);
	assert_true(result.out.truncated);
	assert_int_equal(result.out.n, DAEMON_OUTPUT_MAX);
	agent_result_done(&result);
	agent_op_close(&op);
	pthread_join(thread, NULL);
}

static void a_silent_agent(void **state)
{
	struct fixture *f = *state;
	auto_agent_op struct agent_op op = { .fd = -1 };
	dw_autoclose int agent = -1;
	struct agent_result result = { 0 };
	struct dw_err err = { 0 };
	open_op(f, &op, &agent);
	const int64_t begun = clock_mono_ms();
	op.deadline_ms = begun + 1000;
	/* Only the inner limit has come: not an error, and the deadline still stands. */
	assert_int_equal(agent_command_wait(&op, begun + 50, &result, &err), 0);
	assert_int_equal(op.deadline_ms, begun + 1000);
	op.deadline_ms = begun + 100;
	assert_int_equal(agent_command_wait(&op, 0, &result, &err), -1);
	assert_string_equal(err.code, "sandbox_gone");
	assert_true(clock_mono_ms() - begun >= 100);
}

static void a_client_that_goes(void **state)
{
	struct fixture *f = *state;
	auto_agent_op struct agent_op op = { .fd = -1 };
	dw_autoclose int agent = -1;
	struct agent_result result = { 0 };
	struct dw_err err = { 0 };
	int client[2];
	char byte;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, client), 0);
	open_op(f, &op, &agent);
	op.client_fd = client[0];
	close(client[1]);
	assert_int_equal(agent_command_wait(&op, 0, &result, &err), -1);
	assert_string_equal(err.code, "cancelled");
	agent_op_close(&op);
	/* The agent sees it. */
	assert_int_equal(recv(agent, &byte, 1, 0), 0);
	close(client[0]);
}

static void a_daemon_that_stops(void **state)
{
	struct fixture *f = *state;
	auto_agent_op struct agent_op op = { .fd = -1 };
	dw_autoclose int agent = -1;
	struct agent_result result = { 0 };
	struct dw_err err = { 0 };
	const uint64_t one = 1;
	open_op(f, &op, &agent);
	assert_int_equal(write(f->stop_fd, &one, sizeof(one)), sizeof(one));
	assert_int_equal(agent_command_wait(&op, 0, &result, &err), -1);
	assert_string_equal(err.code, "cancelled");
}

static void a_control_socket_nobody_reads(void **state)
{
	struct fixture *f = *state;
	struct dw_err err = { 0 };
	struct agent_op op;
	/* The agent has died: its end is closed. */
	close(f->control);
	f->control = -1;
	assert_int_equal(agent_op_open(&op, &f->m, "sbx-1", f->stop_fd, &err), -1);
	assert_int_equal(err.kind, DW_ERR_GONE);
}

static void operations_are_counted(void **state)
{
	struct fixture *f = *state;
	struct dw_err err = { 0 };
	struct sandbox *held[DAEMON_OPS_PER_SANDBOX], *more;
	for (unsigned i = 0; i < DAEMON_OPS_PER_SANDBOX; i++)
		assert_int_equal(manager_enter(&f->m, "sbx-1", &held[i], &err), 0);
	assert_int_equal(manager_enter(&f->m, "sbx-1", &more, &err), -1);
	assert_string_equal(err.code, "too_many_operations");
	manager_leave(held[0]);
	assert_int_equal(manager_enter(&f->m, "sbx-1", &held[0], &err), 0);
	for (unsigned i = 0; i < DAEMON_OPS_PER_SANDBOX; i++)
		manager_leave(held[i]);
}

static void a_paused_one_takes_no_operation(void **state)
{
	struct fixture *f = *state;
	struct dw_err err = { 0 };
	struct sandbox *s = manager_find(&f->m, "sbx-1"), *entered;
	s->record.state = RECORD_PAUSED;
	assert_int_equal(manager_enter(&f->m, "sbx-1", &entered, &err), -1);
	assert_int_equal(err.kind, DW_ERR_CONFLICT);
	assert_string_equal(err.code, "sandbox_paused");
	/* Neither while it is just being paused. */
	s->record.state = RECORD_RUNNING;
	s->pausing = PAUSING_FREEZE;
	assert_int_equal(manager_enter(&f->m, "sbx-1", &entered, &err), -1);
	assert_string_equal(err.code, "sandbox_paused");
	s->pausing = PAUSING_NOT;
	/* One that had begun before, and got no answer since. */
	assert_int_equal(manager_enter(&f->m, "sbx-1", &entered, &err), 0);
	s->record.state = RECORD_PAUSED;
	assert_int_equal(sandbox_lost(entered, &err), -1);
	assert_string_equal(err.code, "sandbox_paused");
	manager_leave(entered);
	s->record.state = RECORD_RUNNING;
}

static void file_answers(void **state)
{
	struct fixture *f = *state;
	/* clang-format off */
	static const struct { const char *bytes; size_t n; int want; const char *code; } answers[] = {
		{ BYTES("\0\0\0\x08\x24" "\0\0\0\1\0\0\0\2"), 0, NULL },
		{ BYTES("\0\0\0\x07\x24" "\0\0\0\1\0\0\0"), -1, "sandbox_gone" },
		{ BYTES("\0\0\0\x01\x21x"), -1, "sandbox_gone" },
		{ BYTES("\0\0\0\x07\x25" "\0\x1c\0\0\0\1x"), -1, "not_enough_space" },
		{ BYTES("\0\0\0\x07\x25" "\0\x02\0\0\0\1x"), -1, "not_found" },
		{ BYTES("\0\0\0\x07\x25" "\0\x0d\0\0\0\1x"), -1, "permission_denied" },
		{ BYTES("\0\0\0\x07\x25" "\0\x63\0\0\0\1x"), -1, "file_error" },
	};
	/* clang-format on */
	for (size_t i = 0; i < DW_COUNT(answers); i++) {
		auto_agent_op struct agent_op op = { .fd = -1 };
		dw_autoclose int agent = -1;
		struct dw_err err = { 0 };
		uint64_t size = 0;
		open_op(f, &op, &agent);
		assert_int_equal(agent_file_start(&op, DW_AGENTP_FILE_WRITE, "user", "/x", &err), 0);
		assert_int_equal(send(agent, answers[i].bytes, answers[i].n, 0), (ssize_t)answers[i].n);
		assert_int_equal(agent_file_finish(&op, &size, &err), answers[i].want);
		if (answers[i].code)
			assert_string_equal(err.code, answers[i].code);
		else
			assert_true(size == 0x100000002);
	}
}

int main(void)
{
	ROW_TESTS(rows, check);
	const struct CMUnitTest more[] = {
		cmocka_unit_test_setup_teardown(an_agent_that_never_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(a_silent_agent, setup, teardown),
		cmocka_unit_test_setup_teardown(a_client_that_goes, setup, teardown),
		cmocka_unit_test_setup_teardown(a_daemon_that_stops, setup, teardown),
		cmocka_unit_test_setup_teardown(a_control_socket_nobody_reads, setup, teardown),
		cmocka_unit_test_setup_teardown(operations_are_counted, setup, teardown),
		cmocka_unit_test_setup_teardown(a_paused_one_takes_no_operation, setup, teardown),
		cmocka_unit_test_setup_teardown(file_answers, setup, teardown),
	};
	return cmocka_run_group_tests_name("hostile agent", tests, NULL, NULL) +
	       cmocka_run_group_tests_name("agent operations", more, NULL, NULL);
}
