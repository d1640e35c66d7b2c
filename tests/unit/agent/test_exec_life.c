/* SPDX-License-Identifier: Apache-2.0 */
/* How commands end, how many there may be, and callers that do not keep to the protocol. */
#include "drive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

#include "agent/agent.h"

/* Four ways to leave the foreground: a job, one of its own group, one of its own session, and a grandchild. */
static const char spread[] =
	"sleep 1000 & echo $!; set -m; sleep 1000 & echo $!; set +m; setsid sleep 1000 & echo $!\n"
	"(trap '' TERM HUP; sleep 1000 & echo $!; sleep 1000) & echo $!; sleep 0.2; echo ready; sleep 1000";

static void assert_all_gone(const char *pids)
{
	char list[256];
	snprintf(list, sizeof(list), "%s", pids);
	char *end = strstr(list, "ready");
	assert_non_null(end);
	*end = '\0';
	unsigned n = 0;
	for (char *p = list; *p; p++) {
		n += *p == '\n';
		*p = *p == '\n' ? ' ' : *p;
	}
	assert_int_equal(n, 5);
	wait_until("for p in %s; do ! kill -0 $p 2>/dev/null || exit 1; done", list);
}

static void a_timeout_kills_everything_of_the_command(void **state)
{
	uint64_t start = now_ms();
	struct answer a = run(&(struct command){ .cmd = spread, .timeout_ms = 600 });
	uint64_t took = now_ms() - start;
	assert_true(took >= 600 && took < 3000);
	assert_int_equal(a.exits, 1);
	assert_int_equal(a.code, 137);
	assert_true(a.timed_out);
	assert_all_gone((char *)a.out.p);
	answer_free(&a);
}

static void a_timeout_needs_no_reader(void **state)
{
	int sock = op_open();
	op_exec(sock, &(struct command){ .cmd = "echo $$ > /home/user/flood; exec yes", .timeout_ms = 300 });
	wait_until("[ -s /home/user/flood ] && ! kill -0 $(cat /home/user/flood)");
	struct answer a = op_answer(sock);
	assert_true(a.timed_out && a.code == 137 && a.out.n > 0);
	answer_free(&a);
}

static void a_command_in_time_is_not_timed_out(void **state)
{
	struct answer a = run(&(struct command){ .cmd = "kill -9 $$", .timeout_ms = 60000 });
	assert_int_equal(a.code, 137);
	assert_false(a.timed_out);
	answer_free(&a);
}

static void a_hang_up_kills_everything_of_the_command(void **state)
{
	int sock = op_open();
	char cmd[1024];
	snprintf(cmd, sizeof(cmd), "exec >/home/user/pids; %s", spread);
	op_exec(sock, &(struct command){ .cmd = cmd });
	wait_until("grep -q ready /home/user/pids");
	close(sock);
	char *pids = root_text("cat /home/user/pids");
	assert_all_gone(pids);
	free(pids);
}

static void a_daemon_does_not_hold_the_caller(void **state)
{
	uint64_t start = now_ms();
	struct answer a = run(&(struct command){ .cmd = "setsid sleep 1000 & echo $!; exit 5" });
	assert_true(now_ms() - start < 2000);
	assert_int_equal(a.code, 5);
	/* It was put in the background to stay. */
	free(root_text("kill -9 %s", (char *)a.out.p));
	answer_free(&a);
	start = now_ms();
	a = run(&(struct command){ .cmd = "yes & echo $! >&2; sleep 0.02" });
	assert_true(now_ms() - start < 2000);
	assert_int_equal(a.exits, 1);
	wait_until("! kill -0 %s", (char *)a.err.p); /* of SIGPIPE */
	answer_free(&a);
}

static void many_at_one_time(void **state)
{
	enum { N = 100 };
	int socks[N];
	uint64_t start = now_ms();
	for (unsigned i = 0; i < N; i++) {
		char cmd[64];
		snprintf(cmd, sizeof(cmd), "sleep 0.3; echo %u; exit %u", i, i);
		socks[i] = op_open();
		op_exec(socks[i], &(struct command){ .cmd = cmd });
	}
	for (unsigned i = 0; i < N; i++) {
		struct answer a = op_answer(socks[i]);
		assert_int_equal(a.exits, 1);
		assert_int_equal(a.code, i);
		assert_int_equal(atoi((char *)a.out.p), i);
		answer_free(&a);
	}
	print_message("%d commands of 0.3 s: %u ms\n", N, (unsigned)(now_ms() - start));
}

static void too_many_at_one_time_are_refused(void **state)
{
	enum { MAX = DW_AGENT_OPS_MAX };
	int socks[MAX];
	for (unsigned i = 0; i < MAX; i++)
		socks[i] = op_open();
	struct answer a = run(&(struct command){ .cmd = "true" });
	assert_int_equal(a.errors, 1);
	assert_int_equal(a.number, EAGAIN);
	answer_free(&a);
	for (unsigned i = 0; i < MAX; i++)
		close(socks[i]);
	wait_until("true");
}

static void a_command_that_is_too_long_is_refused(void **state)
{
	char *cmd = malloc(200001);
	assert_non_null(cmd);
	memset(cmd, '#', 200000);
	cmd[200000] = '\0';
	struct answer a = run(&(struct command){ .cmd = cmd });
	assert_int_equal(a.number, E2BIG);
	answer_free(&a);
	free(cmd);
}

static void malformed_requests_end_the_operation(void **state)
{
#define ROW(text)                      \
	{                              \
		text, sizeof(text) - 1 \
	}
	static const struct {
		const char *p;
		size_t n;
	} rows[] = {
		ROW("\0\0\0\0\0"),                                          /* type 0 */
		ROW("\0\0\0\0\x63"),                                        /* unknown type */
		ROW("\xff\xff\xff\xff\1"),                                  /* endless */
		ROW("\0\x10\0\1\1"),                                        /* one byte over the limit */
		ROW("\0\0\0\0\1"),                                          /* EXEC without anything */
		ROW("\0\0\0\0\2"),                                          /* FILE_READ without anything */
		ROW("\0\0\0\1\4x"),                                         /* STDIN first */
		ROW("\0\0\0\5\x23\0\0\0\0\0"),                              /* EXIT, which is the agent's to say */
		ROW("\0\0\0\x14\1\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1x\0\0"), /* unknown flag */
		ROW("\0\0\0\x13\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),  /* no command */
		ROW("\0\0\0\x18\1\2\0\0\0\0\0\x50\0\0\0\0\0\0\0\0\0\0\0\0\0\1x\0\0"), /* no rows */
		ROW("\0\0\0\x15\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1x\0\0\0"),         /* trailing bytes */
		ROW("\0\0\0\x14\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1x\0\1"), /* an environment that is cut off */
		ROW("\0\0\0\4\6\0\x50\0\x18"),                              /* RESIZE first */
		ROW("\0\0\0\1\7\x0f"),                                      /* SIGNAL first */
		ROW("\0\0\0\2\x0e\0\0"),                                    /* CONNECT to port 0 */
		ROW("\0\0\0\3\x0e\0\1\0"),                                  /* CONNECT with more */
		ROW("\0\0\0\0\x29"),                                        /* CONNECTED, which is the agent's to say */
		ROW("\0\0\0\x0c\2\0\0\0\0\0\0\0\4/a\0b"),                   /* NUL in a path */
		ROW("\0\0\0\x0c\2\0\0\0\0\0\0\0\5/abc"),                    /* a string beyond the payload */
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		int sock = op_open();
		op_send_raw(sock, rows[i].p, rows[i].n);
		struct answer a = op_answer(sock);
		assert_true(a.clean);
		assert_int_equal(a.errors + a.exits + a.ends + a.started, 0);
		answer_free(&a);
	}
}

static void a_malformed_frame_kills_the_command(void **state)
{
	static const char *const frames[] = { "\0\0\0\0\x10", "\0\0\0\1\5x",    "\0\0\0\0\1",
					      "\0\0\0\0\x7f", "\x7f\0\0\0\4",   "\0\0\0\0\7",
					      "\0\0\0\1\7",   "\0\0\0\1\7\x41", "\0\0\0\4\6\0\x50\0\x18" };
	for (size_t i = 0; i < DW_COUNT(frames); i++) {
		int sock = op_open();
		op_exec(sock, &(struct command){ .cmd = "echo $$ >/home/user/pid; echo; exec sleep 1000",
						 .with_stdin = i % 2 });
		op_wait_for(sock, DW_AGENTP_STDOUT);
		op_send_raw(sock, frames[i], DW_AGENTP_HEADER + (size_t)frames[i][3]);
		struct answer a = op_answer(sock);
		assert_int_equal(a.exits + a.errors, 0);
		answer_free(&a);
		wait_until("! kill -0 $(cat /home/user/pid)");
	}
}

static int send_control(const void *p, size_t n, const int *fds, size_t fds_n)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(8 * sizeof(int))];
	} c = {
		.head = { .cmsg_len = CMSG_LEN(fds_n * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS }
	};
	if (fds_n)
		memcpy(CMSG_DATA(&c.head), fds, fds_n * sizeof(int));
	struct iovec iov = { .iov_base = (void *)(uintptr_t)p, .iov_len = n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	if (fds_n) {
		m.msg_control = &c;
		m.msg_controllen = CMSG_SPACE(fds_n * sizeof(int));
	}
	return sendmsg(drive_control(), &m, 0) == (ssize_t)n ? 0 : -1;
}

static void odd_control_messages_do_no_harm(void **state)
{
	int ours[6], theirs[6];
	for (unsigned i = 0; i < 6; i++) {
		int pair[2];
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		ours[i] = pair[0];
		theirs[i] = pair[1];
	}
	assert_int_equal(send_control("O", 1, NULL, 0), 0);
	assert_int_equal(send_control("X", 1, theirs, 1), 0);
	assert_int_equal(send_control("O", 1, theirs + 1, 5), 0); /* the first is used, the others are closed */
	for (unsigned i = 0; i < 6; i++)
		close(theirs[i]);
	op_exec(ours[1], &(struct command){ .cmd = "echo used" });
	struct answer a = op_answer(ours[1]);
	assert_out(a, "used\n");
	answer_free(&a);
	for (unsigned i = 0; i < 6; i++) {
		char c;
		if (i != 1) {
			assert_int_equal(recv(ours[i], &c, 1, 0), 0);
			close(ours[i]);
		}
	}
}

static void orphans_are_reaped(void **state)
{
	char *pids = root_text("for i in 1 2 3 4 5 6 7 8; do (setsid sleep 0.05 & echo -n \"$! \") ; done");
	/* A zombie would still be there. */
	wait_until("for p in %s; do [ ! -e /proc/$p ] || exit 1; done", pids);
	free(pids);
}

static void the_account_can_not_look_into_the_agent(void **state)
{
	static const char *const cmds[] = {
		"ls /proc/$PPID/fd/",   "cat /proc/$PPID/environ", "readlink /proc/$PPID/exe",
		"cat /proc/$PPID/maps", "ls /proc/$PPID/root/",    "ls /proc/$PPID/cwd/",
		"kill -9 $PPID",
	};
	for (size_t i = 0; i < DW_COUNT(cmds); i++) {
		struct answer a = run(&(struct command){ .cmd = cmds[i] });
		assert_int_equal(a.exits, 1);
		if (a.code == 0)
			fail_msg("%s was allowed: %s", cmds[i], (const char *)a.out.p);
		answer_free(&a);
	}
}

static void pid1_survives_signals_from_inside(void **state)
{
	if (!drive_is_pid1)
		return; /* the other run of this program, as PID 1, is where it means something */
	/* A fault's signal would reach a sanitizer's handler; the agent itself has none. */
	free(root_text("for s in KILL STOP TERM INT HUP PIPE USR1 CHLD QUIT %s; do kill -$s $PPID; done",
		       SANITIZED ? "" : "SEGV BUS ILL FPE TRAP SYS ABRT"));
	/* To everybody but the caller and PID 1. */
	free(root_text("sleep 1000 & kill -9 -1; wait; true"));
	free(root_text("true"));
}

static void the_agent_keeps_nothing_of_ended_operations(void **state)
{
	assert_agent_idle();
	char *fds = root_text("ls -l /proc/$PPID/fd | grep -v total | sed 's/.* -> //; s/:.*//' | sort | uniq -c");
	print_message("%s", fds);
	assert_null(strstr(fds, " /\n"));
	free(fds);
}

static int compare_u64(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

static void how_long_a_command_takes(void **state)
{
	enum { N = 300 };
	static uint64_t took[N];
	static const char *const cmds[] = { "true", "exec /bin/true" };
	for (size_t c = 0; c < DW_COUNT(cmds); c++) {
		for (unsigned i = 0; i < N; i++) {
			struct timespec t0, t1;
			clock_gettime(CLOCK_MONOTONIC, &t0);
			struct answer a = run(&(struct command){ .cmd = cmds[c] });
			clock_gettime(CLOCK_MONOTONIC, &t1);
			took[i] = (uint64_t)((t1.tv_sec - t0.tv_sec) * 1000000 + (t1.tv_nsec - t0.tv_nsec) / 1000);
			assert_int_equal(a.exits, 1);
			answer_free(&a);
		}
		qsort(took, N, sizeof(took[0]), compare_u64);
		print_message("%s: p50 %u us, p99 %u us\n", cmds[c], (unsigned)took[N / 2],
			      (unsigned)took[N * 99 / 100]);
	}
}

const struct CMUnitTest exec_life_tests[] = {
	cmocka_unit_test(a_timeout_kills_everything_of_the_command),
	cmocka_unit_test(a_timeout_needs_no_reader),
	cmocka_unit_test(a_command_in_time_is_not_timed_out),
	cmocka_unit_test(a_hang_up_kills_everything_of_the_command),
	cmocka_unit_test(a_daemon_does_not_hold_the_caller),
	cmocka_unit_test(many_at_one_time),
	cmocka_unit_test(too_many_at_one_time_are_refused),
	cmocka_unit_test(a_command_that_is_too_long_is_refused),
	cmocka_unit_test(malformed_requests_end_the_operation),
	cmocka_unit_test(a_malformed_frame_kills_the_command),
	cmocka_unit_test(odd_control_messages_do_no_harm),
	cmocka_unit_test(orphans_are_reaped),
	cmocka_unit_test(the_account_can_not_look_into_the_agent),
	cmocka_unit_test(pid1_survives_signals_from_inside),
	cmocka_unit_test(the_agent_keeps_nothing_of_ended_operations),
	cmocka_unit_test(how_long_a_command_takes),
};
const size_t exec_life_tests_n = DW_COUNT(exec_life_tests);
