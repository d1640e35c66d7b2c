/* SPDX-License-Identifier: Apache-2.0 */
/* Commands on terminals: real ones, with real programs on them. */
#include "drive.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int start(const char *cmd)
{
	int sock = op_open();
	op_exec(sock, &(struct command){ .cmd = cmd, .cols = 80, .rows = 24 });
	return sock;
}

static void type(int sock, const char *text)
{
	op_send(sock, DW_AGENTP_STDIN, text, strlen(text));
}

static void resize(int sock, uint16_t cols, uint16_t rows)
{
	uint8_t payload[4];
	assert_int_equal(dw_agentp_resize_build(cols, rows, payload, sizeof(payload)), 4);
	op_send(sock, DW_AGENTP_RESIZE, payload, sizeof(payload));
}

static void check_end(struct answer a, uint32_t code)
{
	assert_int_equal(a.started, 1);
	assert_int_equal(a.exits, 1);
	if (a.code != code)
		fail_msg("code %u instead of %u: %s", a.code, code, (char *)a.out.p);
	assert_true(a.clean);
	assert_int_equal(a.err.n, 0);
	answer_free(&a);
}

/* Of one that op_expect has begun to read. */
static void assert_ends(int sock, uint32_t code)
{
	check_end(op_rest(sock), code);
}

static void has_size_and_type_from_the_start(void **state)
{
	struct answer a = run(&(struct command){
		.cmd = "stty size; echo $TERM; [ -t 0 -a -t 1 -a -t 2 ] && echo all; tty | tr 0-9 N; ps -o tty= -p $$ "
		       ">/dev/tty "
		       "&& echo own; ls /proc/self/fd | wc -l; echo wrong >&2; exit 3",
		.cols = 132,
		.rows = 50,
	});
	assert_non_null(strstr((char *)a.out.p, "50 132\r\nxterm-256color\r\nall\r\n/dev/pts/N\r\n"));
	assert_non_null(strstr((char *)a.out.p, "own\r\n4\r\nwrong\r\n")); /* the three, and ls's own */
	assert_int_equal(a.err.n, 0);
	assert_int_equal(a.code, 3);
	assert_true(a.pid > 1 && a.clean);
	answer_free(&a);
	a = run(&(struct command){ .cmd = "echo $TERM", .cols = 1, .rows = 4096, .env = { "TERM=dumb" } });
	assert_out(a, "dumb\r\n");
	answer_free(&a);
	a = run(&(struct command){ .cmd = "echo \"$TERM\"; tty; (: </dev/tty) 2>/dev/null || echo none" });
	assert_out(a, "dumb\nnot a tty\nnone\n"); /* bash's own word for no TERM */
	answer_free(&a);
}

static void belongs_to_the_account_alone(void **state)
{
	int sock = start("stat -c '%u %a' $(tty); tty > /home/user/tty; cat <$(tty) & echo mine >$(tty); echo rea''dy; "
			 "sleep 1000");
	op_expect(sock, "ready\r\n");
	char *text = root_text("stat -c '%%u %%a' $(cat /home/user/tty)");
	assert_string_equal(text, "1000 620\n");
	free(text);
	struct answer a = run(&(struct command){
		.cmd = "t=$(cat /home/user/tty); (: <$t) 2>/dev/null && echo read; (: >$t) 2>/dev/null && echo write; "
		       "echo done",
		.user = "other",
	});
	assert_out(a, "done\n");
	answer_free(&a);
	a = run(&(struct command){ .cmd = "id -u; stat -c %u $(tty)", .user = "root", .cols = 80, .rows = 24 });
	assert_out(a, "0\r\n0\r\n");
	answer_free(&a);
	close(sock);
}

static void can_be_resized(void **state)
{
	int sock = start("trap 'stty size; exit 4' WINCH; echo ready; while :; do sleep 0.02; done");
	op_expect(sock, "ready\r\n");
	resize(sock, 132, 50);
	op_expect(sock, "50 132\r\n");
	assert_ends(sock, 4);
}

static void echoes_and_ends_lines(void **state)
{
	int sock = start("cat; echo between; cat; exit 5");
	type(sock, "hello\r");
	op_expect(sock, "hello\r\nhello\r\n");
	op_send(sock, DW_AGENTP_STDIN_CLOSE, NULL, 0);
	op_expect(sock, "between\r\n");
	type(sock, "again\r"); /* a terminal's input has no end for good */
	op_expect(sock, "again\r\nagain\r\n");
	op_send(sock, DW_AGENTP_STDIN_CLOSE, NULL, 0);
	assert_ends(sock, 5);
}

static void types_the_end_of_file_that_is_set(void **state)
{
	int sock = start("stty eof ^X; echo ready; cat; stty eof undef; echo then; read -r l; echo \"<$l>\"");
	op_expect(sock, "ready\r\n");
	op_send(sock, DW_AGENTP_STDIN_CLOSE, NULL, 0);
	op_expect(sock, "then\r\n");
	op_send(sock, DW_AGENTP_STDIN_CLOSE, NULL, 0); /* there is none: nothing is typed */
	type(sock, "x\r");
	op_expect(sock, "<x>\r\n");
	assert_ends(sock, 0);
}

static void raw_bytes_pass(void **state)
{
	int sock = start("stty raw -echo; echo ready; head -c 6 | od -An -tx1");
	op_expect(sock, "ready");
	op_send(sock, DW_AGENTP_STDIN, "\0\3\4\r\32\377", 6);
	op_expect(sock, "00 03 04 0d 1a ff");
	assert_ends(sock, 0);
}

static void an_empty_command_is_a_login_shell_with_jobs(void **state)
{
	int sock = start("");
	type(sock, "shopt -q login_shell && echo lo''gin $0 $PWD\r");
	op_expect(sock, "login -bash /home/user\r\n");
	char sleeper[64];
	snprintf(sleeper, sizeof(sleeper), "sleep 1000.%d", getpid()); /* other runs may be on the machine */
	type(sock, sleeper);
	type(sock, "\r");
	wait_until("pgrep -x -f '%s'", sleeper);
	type(sock, "\3");
	op_expect_both(sock, "^C", "$ "); /* what is typed while the shell takes its terminal back may be thrown away */
	type(sock, "echo co''de=$?\r");
	op_expect(sock, "code=130\r\n");
	type(sock, sleeper);
	type(sock, "\r");
	wait_until("pgrep -x -f '%s'", sleeper);
	type(sock, "\32");
	op_expect(sock, "Stopped");
	type(sock, "kill %1; fg; echo code=$?\r");
	op_expect(sock, "code=143\r\n");
	type(sock, "stty size; exit 7\r");
	op_expect(sock, "24 80\r\n");
	assert_ends(sock, 7);
}

static void ctrl_c_reaches_the_foreground_only(void **state)
{
	int sock = start("");
	type(sock, "sleep 1003 & (trap 'echo int; exit 4' INT; echo rea''dy; while :; do sleep 0.02; done)\r");
	op_expect(sock, "ready\r\n");
	type(sock, "\3");
	op_expect_both(sock, "int\r\n", "$ ");
	type(sock, "kill %1 && echo ali''ve; exit 0\r");
	op_expect(sock, "alive\r\n");
	assert_ends(sock, 0);
	/* Without job control the command and all it starts are one group. */
	/* Short sleeps: a shell that is told between two commands waits for the next one's end before it runs its trap. */
	sock = start("trap 'echo two; exit 4' INT; echo ready; while :; do sleep 0.02; done");
	op_expect(sock, "ready\r\n");
	type(sock, "\3");
	struct answer a = op_rest(sock);
	assert_non_null(strstr((char *)a.out.p, "two\r\n"));
	assert_int_equal(a.code, 4);
	answer_free(&a);
}

static void says_how_it_ended(void **state)
{
	static const struct {
		const char *cmd;
		uint32_t code;
	} rows[] = {
		{ "true", 0 }, { "exit 255", 255 }, { "kill -9 $$", 137 }, { "no-such-program-here", 127 },
		{ "-x", 127 },
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++)
		check_end(op_answer(start(rows[i].cmd)), rows[i].code);
	struct answer a =
		run(&(struct command){ .cmd = "true", .cols = 80, .rows = 24, .user = "nobody-of-that-name" });
	assert_int_equal(a.number, EINVAL);
	assert_int_equal(a.started, 0);
	answer_free(&a);
	a = run(&(struct command){ .cmd = "true", .cols = 80, .rows = 24, .cwd = "/no/such/place" });
	assert_int_equal(a.number, ENOENT);
	answer_free(&a);
}

static void output_before_the_exit_is_never_lost(void **state)
{
	static const char *const cmds[] = {
		"seq 100000 199999",
		"(trap '' HUP; exec sleep 1000) & echo $! >/home/user/holder; seq 100000 "
		"199999", /* somebody keeps the terminal */
	};
	for (size_t i = 0; i < DW_COUNT(cmds); i++) {
		int sock = start(cmds[i]);
		sleep_ms(300);
		struct answer a = op_answer(sock);
		assert_int_equal(a.out.n, 800000);
		for (unsigned k = 0; k < 100000; k++) {
			char line[16];
			snprintf(line, sizeof(line), "%u\r\n", 100000 + k);
			assert_memory_equal(a.out.p + (size_t)k * 8, line, 8);
		}
		assert_int_equal(a.exits, 1);
		answer_free(&a);
	}
	free(root_text("kill -9 $(cat /home/user/holder)"));
	/* Very small ones, many times: the last bytes race with the end. */
	for (unsigned i = 0; i < 100; i++) {
		struct answer a = run(&(struct command){ .cmd = "echo last", .cols = 80, .rows = 24 });
		assert_out(a, "last\r\n");
		answer_free(&a);
	}
}

static void one_who_floods_what_it_keeps_does_not_hold_the_end(void **state)
{
	int sock = start("trap '' HUP; yes & echo $! >/home/user/holder; sleep 0.1; exit 3");
	uint64_t before = now_ms();
	check_end(op_answer(sock), 3);
	assert_true(now_ms() - before < 5000);
	wait_until("! kill -0 $(cat /home/user/holder)"); /* its terminal is gone */
}

static void closing_all_copies_is_not_the_end(void **state)
{
	int sock = start("exec </dev/null >/dev/null 2>&1; sleep 0.2; echo back >/dev/tty; exit 3");
	op_expect(sock, "back\r\n");
	assert_ends(sock, 3);
}

/* One of its own session (before set -m: a leader of a group would leave its parent for that), a job of the shell's, one that ignores the hang-up, and the foreground. */
static const char spread[] =
	"setsid sleep 1000 & c=$!; set -m; sleep 1000 & a=$!; nohup sleep 1000 >/dev/null 2>&1 & b=$!\n"
	"sleep 0.2; echo $a $b $c $$ >/home/user/ptypids; echo rea''dy; trap '' HUP; sleep 1000";

static void assert_all_gone(void)
{
	char *pids = root_text("cat /home/user/ptypids");
	pids[strcspn(pids, "\n")] = '\0';
	assert_true(strlen(pids) > 6);
	wait_until("for p in %s; do ! kill -0 $p 2>/dev/null || exit 1; done", pids);
	free(pids);
}

static void a_hang_up_kills_the_session(void **state)
{
	int sock = start(spread);
	op_expect(sock, "ready\r\n");
	close(sock);
	assert_all_gone();
}

static void a_timeout_kills_the_session(void **state)
{
	struct answer a = run(&(struct command){ .cmd = spread, .cols = 80, .rows = 24, .timeout_ms = 700 });
	assert_int_equal(a.exits, 1);
	assert_int_equal(a.code, 137);
	assert_true(a.timed_out);
	answer_free(&a);
	assert_all_gone();
}

static void much_output_to_a_slow_reader(void **state)
{
	int sock = start("head -c 6000000 /dev/zero | tr '\\0' x; echo; echo end");
	sleep_ms(300);
	assert_true(agent_peak_kib() < 8192); /* and it answers */
	struct answer a = op_answer(sock);
	assert_int_equal(a.out.n, 6000000 + 7);
	for (size_t i = 0; i < 6000000; i++)
		if (a.out.p[i] != 'x')
			fail_msg("wrong byte at %zu", i);
	assert_string_equal(a.out.p + 6000000, "\r\nend\r\n");
	assert_true(agent_peak_kib() < 8192);
	answer_free(&a);
	sock = start("echo $$ >/home/user/flood; exec yes");
	wait_until("[ -s /home/user/flood ]");
	close(sock);
	wait_until("! kill -0 $(cat /home/user/flood)");
}

#define MUCH 1000000u

static const uint8_t *much(void)
{
	static uint8_t data[MUCH];
	for (unsigned i = 0; i < MUCH; i++)
		data[i] = (uint8_t)(i * 7 + i / 251);
	return data;
}

/* Its checksum, by the way of a pipe. */
static char *checksum_of_much(void)
{
	int sock = op_open();
	op_exec(sock, &(struct command){ .cmd = "md5sum", .with_stdin = true });
	op_send(sock, DW_AGENTP_STDIN, much(), MUCH);
	op_send(sock, DW_AGENTP_STDIN_CLOSE, NULL, 0);
	struct answer a = op_answer(sock);
	assert_int_equal(a.out.n, 36);
	char *sum = strndup((char *)a.out.p, 32);
	answer_free(&a);
	return sum;
}

static void much_input_waits_and_output_does_not(void **state)
{
	char *sum = checksum_of_much();
	int sock = start(
		"stty raw -echo; echo ready; sleep 0.3; echo tick; sleep 0.1; echo tock; head -c 1000000 | md5sum");
	op_expect(sock, "ready");
	pid_t writer = fork();
	if (writer == 0) {
		for (unsigned at = 0; at < MUCH; at += 50000)
			op_send(sock, DW_AGENTP_STDIN, much() + at, 50000);
		_exit(0);
	}
	op_expect(sock, "tock"); /* long after the terminal was full */
	op_expect(sock, sum);
	int status;
	assert_int_equal(waitpid(writer, &status, 0), writer);
	assert_ends(sock, 0);
	free(sum);
}

/* Nobody reads, what is typed does not fit, and then the daemon hangs up; or the command just ends. */
static void input_that_nobody_reads(void **state)
{
	int sock = start("stty raw -echo; echo ready; exec sleep 1000");
	op_expect(sock, "ready");
	op_send(sock, DW_AGENTP_STDIN, much(), 200000);
	resize(sock, 90, 30);
	sleep_ms(50);
	close(sock);
	sock = start("stty raw -echo; echo ready; sleep 0.3; exit 6");
	op_expect(sock, "ready");
	op_send(sock, DW_AGENTP_STDIN, much(), 200000);
	assert_ends(sock, 6);
	/* Echo fills the other direction, which nobody reads either. */
	sock = start("echo ready; exec sleep 1000");
	op_expect(sock, "ready");
	for (unsigned i = 0; i < 200; i++)
		op_send(sock, DW_AGENTP_STDIN, "all work and no play\r", 21);
	free(root_text("true"));
	close(sock);
}

static void a_replaced_ptmx_is_not_used(void **state)
{
	free(root_text("mkfifo /tmp/trap && mount --bind /tmp/trap /dev/ptmx && mount -t tmpfs none /dev/pts && "
		       "mkfifo /dev/pts/ptmx /dev/pts/0"));
	struct answer a = run(&(struct command){ .cmd = "stty size", .cols = 77, .rows = 33 });
	free(root_text("umount /dev/ptmx /dev/pts && rm /tmp/trap"));
	assert_out(a, "33 77\r\n");
	answer_free(&a);
	check_end(op_answer(start("tty | grep -q ^/dev/pts/")), 0);
}

static void malformed_frames_kill_the_command(void **state)
{
	static const char *const frames[] = { "\0\0\0\4\6\0\0\0\0", "\0\0\0\4\6\x10\1\0\1", "\0\0\0\3\6\0\1\0",
					      "\0\0\0\0\6", "\0\0\0\1\5x" };
	for (size_t i = 0; i < DW_COUNT(frames); i++) {
		int sock = start("echo $$ >/home/user/pid; echo ready; exec sleep 1000");
		op_expect(sock, "ready");
		op_send_raw(sock, frames[i], DW_AGENTP_HEADER + (size_t)frames[i][3]);
		struct answer a = op_rest(sock);
		assert_int_equal(a.exits + a.errors, 0);
		answer_free(&a);
		wait_until("! kill -0 $(cat /home/user/pid)");
	}
}

/* The kernel gives the number of a terminal free in its own time after the last descriptor of it was closed. */
static int start_patiently(const char *cmd)
{
	for (int i = 0;; i++) {
		int sock = start(cmd);
		if (op_next_type(sock) == DW_AGENTP_STARTED)
			return sock;
		assert_true(i < 500);
		close(sock);
		usleep(10000);
	}
}

static void there_are_so_many_terminals(void **state)
{
	int socks[DRIVE_TTYS];
	for (size_t i = 0; i < DW_COUNT(socks); i++)
		socks[i] = start_patiently("exec sleep 1000");
	struct answer a = op_answer(start("true"));
	assert_int_equal(a.errors, 1);
	assert_int_equal(a.number, EAGAIN);
	answer_free(&a);
	for (size_t i = 0; i < DW_COUNT(socks); i++)
		close(socks[i]);
	assert_agent_idle();
	close(start_patiently("exec sleep 1000"));
}

static void many_leave_nothing(void **state)
{
	int socks[40];
	for (size_t i = 0; i < DW_COUNT(socks); i++)
		socks[i] = start_patiently(i % 2 ? "sleep 0.1; exit 2" : "exec sleep 1000");
	for (size_t i = 0; i < DW_COUNT(socks); i++) {
		if (i % 2)
			check_end(op_rest(socks[i]), 2);
		else
			close(socks[i]);
	}
	assert_agent_idle();
	wait_until("[ $(ls /dev/pts | wc -l) = 1 ]"); /* ptmx itself */
}

const struct CMUnitTest pty_tests[] = {
	cmocka_unit_test(has_size_and_type_from_the_start),
	cmocka_unit_test(belongs_to_the_account_alone),
	cmocka_unit_test(can_be_resized),
	cmocka_unit_test(echoes_and_ends_lines),
	cmocka_unit_test(types_the_end_of_file_that_is_set),
	cmocka_unit_test(raw_bytes_pass),
	cmocka_unit_test(an_empty_command_is_a_login_shell_with_jobs),
	cmocka_unit_test(ctrl_c_reaches_the_foreground_only),
	cmocka_unit_test(says_how_it_ended),
	cmocka_unit_test(output_before_the_exit_is_never_lost),
	cmocka_unit_test(one_who_floods_what_it_keeps_does_not_hold_the_end),
	cmocka_unit_test(closing_all_copies_is_not_the_end),
	cmocka_unit_test(a_hang_up_kills_the_session),
	cmocka_unit_test(a_timeout_kills_the_session),
	cmocka_unit_test(much_output_to_a_slow_reader),
	cmocka_unit_test(much_input_waits_and_output_does_not),
	cmocka_unit_test(input_that_nobody_reads),
	cmocka_unit_test(a_replaced_ptmx_is_not_used),
	cmocka_unit_test(malformed_frames_kill_the_command),
	cmocka_unit_test(there_are_so_many_terminals),
	cmocka_unit_test(many_leave_nothing),
};
const size_t pty_tests_n = DW_COUNT(pty_tests);
