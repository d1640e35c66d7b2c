/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept for readers that are waited for, and how a program is shown in a list. */
#include "support.h"

#include "daemon/proc_log.h"
#include "daemon/proc_text.h"

#define TAIL_MAX (64u << 10)

static size_t take(struct proc_log *l, struct proc_reader *r, size_t max, uint64_t *lost)
{
	static char buf[TAIL_MAX];
	enum proc_stream stream;
	return proc_reader_next(l, r, buf, DW_MIN(max, sizeof(buf)), &stream, lost);
}

static void what_all_have_read_is_dropped(void **state)
{
	static const char data[10000];
	struct proc_log l;
	struct proc_reader a, b;
	uint64_t lost;
	/* Nothing is counted for anybody else. */
	proc_log_init(&l, 0, TAIL_MAX, NULL);
	proc_reader_open(&l, &a, 0);
	proc_reader_open(&l, &b, 0);
	proc_log_add(&l, PROC_OUT, data, sizeof(data));
	const size_t full = proc_log_cost(&l);
	assert_true(full >= sizeof(data));
	while (take(&l, &a, 4096, &lost))
		assert_int_equal(lost, 0);
	proc_log_forget_read(&l);
	assert_int_equal(proc_log_cost(&l), full);
	assert_true(take(&l, &b, 9000, &lost) > 0);
	assert_true(take(&l, &b, 9000, &lost) > 0);
	proc_log_forget_read(&l);
	assert_true(proc_log_cost(&l) < full);
	while (take(&l, &b, 4096, &lost))
		assert_int_equal(lost, 0);
	proc_log_forget_read(&l);
	assert_int_equal(proc_log_cost(&l), 0);
	/* They go on. */
	proc_log_add(&l, PROC_ERR, "x", 1);
	assert_int_equal(take(&l, &a, 10, &lost), 1);
	assert_int_equal(take(&l, &b, 10, &lost), 1);
	proc_reader_close(&l, &a);
	proc_reader_close(&l, &b);
	/* Without a reader nothing is kept. */
	proc_log_add(&l, PROC_OUT, data, sizeof(data));
	proc_log_forget_read(&l);
	assert_int_equal(proc_log_cost(&l), 0);
	proc_log_done(&l);
}

static void who_is_cut_is_told_what_it_lost(void **state)
{
	static const char data[10000];
	struct proc_log l;
	struct proc_reader slow, fast;
	uint64_t lost;
	proc_log_init(&l, 0, TAIL_MAX, NULL);
	proc_reader_open(&l, &slow, 0);
	proc_reader_open(&l, &fast, 0);
	proc_log_add(&l, PROC_OUT, data, sizeof(data));
	while (take(&l, &fast, sizeof(data), &lost))
		;
	proc_log_cut(&l);
	assert_true(slow.cut);
	assert_false(fast.cut);
	assert_int_equal(proc_log_cost(&l), 0);
	proc_log_add(&l, PROC_OUT, data, 100);
	assert_int_equal(take(&l, &fast, 200, &lost), 100);
	/* It stands behind what it lost, and does not count for what is kept. */
	assert_int_equal(take(&l, &slow, 200, &lost), 0);
	assert_int_equal(lost, sizeof(data));
	proc_log_forget_read(&l);
	assert_int_equal(proc_log_cost(&l), 0);
	proc_reader_close(&l, &slow);
	proc_reader_close(&l, &fast);
	proc_log_done(&l);
}

static void quotes_for_a_shell(void **state)
{
	static const struct {
		const char *args[3];
		size_t n;
		const char *want;
	} rows[] = {
		{ { 0 }, 0, "/bin/bash" },
		{ { "-l", "-c", "ls -l" }, 3, "/bin/bash -l -c 'ls -l'" },
		{ { "", "a'b", "''" }, 3, "/bin/bash '' 'a'\\''b' ''\\'''\\'''" },
		{ { "$x", "a\nb", "*" }, 3, "/bin/bash '$x' 'a\nb' '*'" },
		{ { "a=b", "x/y:z", "~" }, 3, "/bin/bash a=b x/y:z '~'" },
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		const struct agent_command c = {
			.cmd = "/bin/bash", .cwd = "", .program = true, .args = rows[i].args, .arg_n = rows[i].n
		};
		dw_autofree char *text = proc_text_quote(&c);
		assert_non_null(text);
		assert_string_equal(text, rows[i].want);
	}
}

static void shows_a_program(void **state)
{
	static const char *const args[] = { "-c", "a \"b\"" };
	struct agent_command c = { .cmd = "sh", .cwd = "", .program = true, .args = args, .arg_n = 2 };
	dw_autofree char *text = proc_text_program(&c);
	assert_string_equal(text, "{\"cmd\":\"sh\",\"args\":[\"-c\",\"a \\\"b\\\"\"]}");
	c.cwd = "/tmp";
	c.arg_n = 0;
	dw_autofree char *more = proc_text_program(&c);
	assert_string_equal(more, "{\"cmd\":\"sh\",\"args\":[],\"cwd\":\"/tmp\"}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_all_have_read_is_dropped),
		cmocka_unit_test(who_is_cut_is_told_what_it_lost),
		cmocka_unit_test(quotes_for_a_shell),
		cmocka_unit_test(shows_a_program),
	};
	return cmocka_run_group_tests_name("paced processes", tests, NULL, NULL);
}
