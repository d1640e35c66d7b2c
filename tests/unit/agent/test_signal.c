/* SPDX-License-Identifier: Apache-2.0 */
#include "drive.h"

#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>

static void send_signal(int sock, uint8_t number)
{
	uint8_t payload[1];
	assert_int_equal(dw_agentp_signal_build(number, payload, sizeof(payload)), 1);
	op_send(sock, DW_AGENTP_SIGNAL, payload, 1);
}

static void ends_a_command(void **state)
{
	static const uint8_t numbers[] = { SIGINT, SIGTERM, SIGKILL, SIGHUP, 64 };
	for (size_t i = 0; i < DW_COUNT(numbers); i++) {
		int sock = op_open();
		op_exec(sock, &(struct command){ .cmd = "echo ready; exec sleep 1000" });
		op_expect(sock, "ready\n");
		send_signal(sock, numbers[i]);
		struct answer a = op_rest(sock);
		assert_int_equal(a.exits, 1);
		assert_int_equal(a.code, 128u + numbers[i]);
		assert_false(a.timed_out);
		answer_free(&a);
	}
}

static void a_script_may_handle_it(void **state)
{
	int sock = op_open();
	op_exec(sock,
		&(struct command){
			.cmd = "n=0; trap 'n=$((n + 1)); echo term $n' TERM; trap 'exit 9' USR1; echo ready; while "
			       ":; do sleep 0.02; done" });
	op_expect(sock, "ready\n");
	send_signal(sock, SIGTERM);
	op_expect(sock, "term 1\n");
	send_signal(sock, SIGTERM);
	op_expect(sock, "term 2\n");
	send_signal(sock, SIGUSR1);
	/* That ends the sleep as well, so the shell says so; only its code counts. */
	struct answer a = op_rest(sock);
	assert_int_equal(a.code, 9);
	answer_free(&a);
}

static void reaches_the_whole_group(void **state)
{
	int sock = op_open();
	op_exec(sock, &(struct command){
			      .cmd = "trap '' USR1; cd /home/user; for n in first second; do (trap \"echo $n; exit\" "
				     "USR1; : >up.$n; while :; do sleep 0.02; done) & done; wait" });
	wait_until("[ -e /home/user/up.first -a -e /home/user/up.second ]");
	send_signal(sock, SIGUSR1);
	struct answer a = op_answer(sock);
	assert_int_equal(a.code, 0);
	assert_non_null(strstr((char *)a.out.p, "first\n"));
	assert_non_null(strstr((char *)a.out.p, "second\n"));
	answer_free(&a);
}

static void stops_and_goes_on(void **state)
{
	int sock = op_open();
	op_exec(sock, &(struct command){ .cmd = "echo $$ > /home/user/stopped; echo ready; while :; do :; done" });
	op_expect(sock, "ready\n");
	send_signal(sock, SIGSTOP);
	wait_until("grep -q '^State:.T' /proc/$(cat /home/user/stopped)/status");
	send_signal(sock, SIGCONT);
	wait_until("grep -q '^State:.[RS]' /proc/$(cat /home/user/stopped)/status");
	send_signal(sock, SIGKILL);
	struct answer a = op_rest(sock);
	assert_int_equal(a.code, 137);
	answer_free(&a);
}

/* The main process is gone and its number may be somebody else's; the output is still awaited. */
static void nobody_is_hit_after_the_end(void **state)
{
	int sock = op_open();
	op_exec(sock,
		&(struct command){
			.cmd = "(trap 'echo hit' TERM; while kill -0 $$ 2>/dev/null; do :; done; echo gone; sleep "
			       "0.05; sleep 0.01) & exit 3" });
	op_expect(sock, "gone\n");
	send_signal(sock, SIGTERM);
	struct answer a = op_rest(sock);
	assert_int_equal(a.exits, 1);
	assert_int_equal(a.code, 3);
	assert_out(a, "");
	answer_free(&a);
}

static void does_not_wait_for_output_to_be_read(void **state)
{
	int sock = op_open();
	op_exec(sock, &(struct command){ .cmd = "echo $$ > /home/user/noisy; exec yes" });
	wait_until("[ -s /home/user/noisy ]");
	sleep_ms(100);
	send_signal(sock, SIGTERM);
	wait_until("! kill -0 $(cat /home/user/noisy)");
	struct answer a = op_answer(sock);
	assert_int_equal(a.code, 143);
	answer_free(&a);
}

const struct CMUnitTest signal_tests[] = {
	cmocka_unit_test(ends_a_command),
	cmocka_unit_test(a_script_may_handle_it),
	cmocka_unit_test(reaches_the_whole_group),
	cmocka_unit_test(stops_and_goes_on),
	cmocka_unit_test(nobody_is_hit_after_the_end),
	cmocka_unit_test(does_not_wait_for_output_to_be_read),
};
const size_t signal_tests_n = DW_COUNT(signal_tests);
