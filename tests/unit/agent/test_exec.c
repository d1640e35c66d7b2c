/* SPDX-License-Identifier: Apache-2.0 */
#include "drive.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#define MIB (1u << 20)

static void separates_output_and_error(void **state)
{
	struct answer a = run(&(struct command){ .cmd = "echo out; echo err >&2; exit 3" });
	assert_out(a, "out\n");
	assert_string_equal(a.err.p, "err\n");
	assert_int_equal(a.exits, 1);
	assert_int_equal(a.code, 3);
	assert_false(a.timed_out);
	assert_true(a.clean);
	assert_true(a.pid > 1);
	answer_free(&a);
}

static void runs_a_program_as_it_is(void **state)
{
	struct answer a = run(&(struct command){
		.program = true,
		.cmd = "printf",
		.args = { "[%s]", "", "a b", "it's", "\\n", "$HOME", "-n" },
	});
	assert_out(a, "[][a b][it's][\\n][$HOME][-n]");
	assert_int_equal(a.code, 0);
	answer_free(&a);
	a = run(&(struct command){
		.program = true, .cmd = "/bin/bash", .args = { "-l", "-c", "shopt -q login_shell && echo $0" } });
	assert_out(a, "/bin/bash\n");
	answer_free(&a);
	/* Relative to the home. */
	a = run(&(struct command){ .program = true, .cmd = "pwd", .cwd = "." });
	assert_int_equal(a.code, 0);
	assert_true(a.out.n > 1);
	answer_free(&a);
	a = run(&(struct command){ .program = true, .cmd = "no-such-program-here" });
	assert_int_equal(a.errors, 1);
	assert_int_equal(a.number, ENOENT);
	answer_free(&a);
	a = run(&(struct command){ .program = true, .cmd = "/etc/passwd" });
	assert_int_equal(a.number, EACCES);
	answer_free(&a);
}

static void tells_an_exit_code_from_a_signal(void **state)
{
	struct answer a = run(&(struct command){ .cmd = "kill -TERM $$" });
	assert_true(a.by_signal);
	answer_free(&a);
	a = run(&(struct command){ .cmd = "exit 143" });
	assert_int_equal(a.code, 143);
	assert_false(a.by_signal);
	answer_free(&a);
	a = run(&(struct command){ .cmd = "exec sleep 60", .timeout_ms = 50 });
	assert_true(a.timed_out && a.by_signal);
	answer_free(&a);
}

/* Some of these have ended, and been reaped, before the agent gets to say that they began. */
static void says_the_pid_of_the_shortest_command(void **state)
{
	for (int i = 0; i < 300; i++) {
		struct answer a = run(&(struct command){ .cmd = ":" });
		assert_int_equal(a.exits, 1);
		assert_true(a.pid > 1);
		answer_free(&a);
	}
}

static void reports_exit_codes(void **state)
{
	static const struct {
		const char *cmd;
		uint32_t code;
	} rows[] = {
		{ " ", 0 },
		{ "exit 0", 0 },
		{ "exit 1", 1 },
		{ "exit 255", 255 },
		{ "kill -9 $$", 137 },
		{ "kill -TERM $$", 143 },
		{ "kill -SEGV $$", 139 },
		{ "no-such-program-here", 127 },
		{ "/etc/passwd", 126 },
		{ "-x", 127 }, /* not an option of the shell */
		{ "+x", 127 },
		{ "yes | head -1 >/dev/null; exit ${PIPESTATUS[0]}", 141 }, /* SIGPIPE is at its default */
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		struct answer a = run(&(struct command){ .cmd = rows[i].cmd });
		assert_int_equal(a.exits, 1);
		if (a.code != rows[i].code)
			fail_msg("%s: %u instead of %u", rows[i].cmd, a.code, rows[i].code);
		answer_free(&a);
	}
}

static void feeds_standard_input(void **state)
{
	int sock = op_open();
	op_exec(sock, &(struct command){ .cmd = "cat; echo done", .with_stdin = true });
	op_send(sock, DW_AGENTP_STDIN, "one ", 4);
	op_send(sock, DW_AGENTP_STDIN, "", 0);
	op_send(sock, DW_AGENTP_STDIN, "two\n", 4);
	op_send(sock, DW_AGENTP_STDIN_CLOSE, NULL, 0);
	op_send(sock, DW_AGENTP_STDIN, "too late", 8);
	struct answer a = op_answer(sock);
	assert_out(a, "one two\ndone\n");
	assert_int_equal(a.exits, 1);
	answer_free(&a);
}

static void feeds_much_standard_input(void **state)
{
	static uint8_t block[MIB];
	int sock = op_open();
	op_exec(sock, &(struct command){ .cmd = "sleep 0.1; wc -c", .with_stdin = true });
	for (unsigned i = 0; i < 8; i++)
		op_send(sock, DW_AGENTP_STDIN, block, sizeof(block) - i);
	op_send(sock, DW_AGENTP_STDIN_CLOSE, NULL, 0);
	struct answer a = op_answer(sock);
	assert_int_equal(atoll((char *)a.out.p), 8 * MIB - 28);
	answer_free(&a);
}

static void standard_input_is_empty_unless_asked_for(void **state)
{
	struct answer a = run(&(struct command){ .cmd = "cat; readlink /proc/self/fd/0" });
	assert_out(a, "/dev/null\n");
	answer_free(&a);
	int sock = op_open();
	op_exec(sock, &(struct command){ .cmd = "sleep 0.05; echo alive" });
	op_send(sock, DW_AGENTP_STDIN, "nobody reads this", 17);
	a = op_answer(sock);
	assert_out(a, "alive\n");
	answer_free(&a);
}

static void a_command_that_does_not_read_is_not_hurt(void **state)
{
	static uint8_t block[MIB];
	int sock = op_open();
	op_exec(sock, &(struct command){ .cmd = "exec 0<&-; sleep 0.2; echo fine", .with_stdin = true });
	op_send(sock, DW_AGENTP_STDIN, block, sizeof(block));
	struct answer a = op_answer(sock);
	assert_out(a, "fine\n");
	assert_int_equal(a.code, 0);
	answer_free(&a);
}

static void environment_is_minimal_and_can_be_overridden(void **state)
{
	struct answer a = run(&(struct command){
		.cmd = "/usr/bin/env -u _ -u SHLVL -u PWD | sort",
		.env = { "FOO=bar=baz", "LANG=de_DE", "EMPTY=", "FOO=last" },
	});
	assert_out(a,
		   "EMPTY=\nFOO=last\nHOME=/home/user\nLANG=de_DE\nLOGNAME=user\n"
		   "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nSHELL=/bin/bash\nUSER=user\n");
	answer_free(&a);
}

static void runs_in_the_asked_directory(void **state)
{
	static const struct {
		const char *user, *cwd, *out;
		int error;
	} rows[] = {
		{ "user", "", "/home/user\n", 0 },
		{ "user", "/usr/bin", "/usr/bin\n", 0 },
		{ "user", "/usr/./bin/..", "/usr\n", 0 },
		{ "homeless", "", "/\n", 0 },
		{ "user", "/no/such/place", NULL, ENOENT },
		{ "user", "/etc/passwd", NULL, ENOTDIR },
		{ "user", "/home/closed", NULL, EACCES },
		{ "user", "tmp", NULL, EINVAL },
		{ "root", "/proc/self/fd/4", NULL, ENOENT }, /* nothing of the agent's is open in the child */
		{ "root", "/proc/self/fd/3", NULL, ENOTDIR },
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		struct answer a = run(&(struct command){ .cmd = "pwd -P", .user = rows[i].user, .cwd = rows[i].cwd });
		assert_int_equal(a.number, rows[i].error);
		assert_int_equal(a.exits, !rows[i].error);
		if (rows[i].out)
			assert_out(a, rows[i].out);
		else
			assert_non_null(strstr(a.message, rows[i].cwd));
		answer_free(&a);
	}
}

static void refuses_accounts_that_are_none(void **state)
{
	static char long_name[300];
	memset(long_name, 'a', sizeof(long_name) - 1);
	const char *const names[] = { "nobody-of-that-name",
				      "1000",
				      "0",
				      "1234",
				      "minus",
				      "keep",
				      "hex",
				      "short",
				      "root:x",
				      "roo",
				      "root ",
				      "user\n",
				      long_name };
	for (size_t i = 0; i < DW_COUNT(names); i++) {
		struct answer a = run(&(struct command){ .cmd = "id", .user = names[i] });
		assert_int_equal(a.exits + a.started, 0);
		assert_int_equal(a.errors, 1);
		assert_int_equal(a.number, EINVAL);
		if (names[i] != long_name)
			assert_non_null(strstr(a.message, names[i]));
		answer_free(&a);
	}
}

static void takes_on_the_identity(void **state)
{
	static const struct {
		const char *user, *out;
	} rows[] = {
		{ NULL, "1000\n1000\n1000 2000\n" },
		{ "user", "1000\n1000\n1000 2000\n" },
		{ "root", "0\n0\n0 2000\n" },
		{ "other", "1001\n1001\n1001\n" },
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		struct answer a = run(&(struct command){ .cmd = "id -u; id -g; id -G", .user = rows[i].user });
		assert_out(a, rows[i].out);
		answer_free(&a);
	}
	struct answer a =
		run(&(struct command){ .cmd = "grep -E 'Cap(Inh|Prm|Eff|Amb)|NoNew' /proc/self/status | cut -f2" });
	assert_out(a, "0000000000000000\n0000000000000000\n0000000000000000\n0000000000000000\n1\n");
	answer_free(&a);
}

static void starts_from_a_clean_state(void **state)
{
	static const struct {
		const char *cmd, *out;
	} rows[] = {
		{ "ls /proc/self/fd", "0\n1\n2\n3\n" }, /* 3 is that of ls */
		{ "umask", "0022\n" },
		{ "ulimit -Sn; ulimit -Hc", "1024\n0\n" },
		{ "grep -E 'Sig(Blk|Ign)' /proc/self/status | cut -f2", "0000000000000000\n0000000000000000\n" },
		{ "echo to stdout > /dev/stdout", "to stdout\n" },
		{ "cut -d' ' -f5,6 /proc/$$/stat | { read g s; [ $g = $$ ] && [ $s = $$ ] && echo leader; }",
		  "leader\n" },
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		struct answer a = run(&(struct command){ .cmd = rows[i].cmd });
		assert_out(a, rows[i].out);
		answer_free(&a);
	}
}

static void much_output_to_a_slow_reader(void **state)
{
	int sock = op_open();
	op_exec(sock, &(struct command){ .cmd = "head -c 50000000 /dev/zero | tr '\\0' x; echo end >&2" });
	sleep_ms(300);
	char *before = root_text("grep VmHWM /proc/$PPID/status | tr -dc 0-9");
	struct answer a = op_answer(sock);
	assert_int_equal(a.out.n, 50000000);
	assert_string_equal(a.err.p, "end\n");
	for (size_t i = 0; i < a.out.n; i++)
		if (a.out.p[i] != 'x')
			fail_msg("wrong byte at %zu", i);
	char *after = root_text("grep VmHWM /proc/$PPID/status | tr -dc 0-9");
	print_message("peak memory of the agent: %s KiB, then %s KiB\n", before, after);
	if (!SANITIZED)
		assert_true(atoi(after) < 8192);
	free(before);
	free(after);
	answer_free(&a);
}

static void output_before_the_exit_is_never_lost(void **state)
{
	int sock = op_open();
	/* The process ends long before the reader begins; a background child holds the pipe all the while. */
	op_exec(sock, &(struct command){
			      .cmd = "head -c 250000 /dev/zero; sleep 1000 & echo $! >&2; head -c 50000 /dev/zero" });
	sleep_ms(500);
	struct answer a = op_answer(sock);
	assert_int_equal(a.out.n, 300000);
	assert_int_equal(a.exits, 1);
	free(root_text("kill -9 %s", (char *)a.err.p));
	answer_free(&a);
}

static void binary_output_is_untouched(void **state)
{
	struct answer a =
		run(&(struct command){ .cmd = "for i in {0..255}; do printf \"\\\\x$(printf %x $i)\"; done" });
	assert_int_equal(a.out.n, 256);
	for (unsigned i = 0; i < 256; i++)
		assert_int_equal(a.out.p[i], i);
	answer_free(&a);
}

const struct CMUnitTest exec_tests[] = {
	cmocka_unit_test(separates_output_and_error),
	cmocka_unit_test(runs_a_program_as_it_is),
	cmocka_unit_test(tells_an_exit_code_from_a_signal),
	cmocka_unit_test(says_the_pid_of_the_shortest_command),
	cmocka_unit_test(reports_exit_codes),
	cmocka_unit_test(feeds_standard_input),
	cmocka_unit_test(feeds_much_standard_input),
	cmocka_unit_test(standard_input_is_empty_unless_asked_for),
	cmocka_unit_test(a_command_that_does_not_read_is_not_hurt),
	cmocka_unit_test(environment_is_minimal_and_can_be_overridden),
	cmocka_unit_test(runs_in_the_asked_directory),
	cmocka_unit_test(refuses_accounts_that_are_none),
	cmocka_unit_test(takes_on_the_identity),
	cmocka_unit_test(starts_from_a_clean_state),
	cmocka_unit_test(much_output_to_a_slow_reader),
	cmocka_unit_test(output_before_the_exit_is_never_lost),
	cmocka_unit_test(binary_output_is_untouched),
};
const size_t exec_tests_n = DW_COUNT(exec_tests);
