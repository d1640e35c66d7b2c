/* SPDX-License-Identifier: Apache-2.0 */
/* Which address is dialled for the one that the sandbox chose. */
#include "gate/target.h"
#include "gate_test.h"
#include "wire/dns.h"

static int local_answer; /* of gate_hostaddr_is_local */

int gate_hostaddr_is_local(struct gate *g, const struct dw_addr *a)
{
	return local_answer;
}

struct fixture {
	struct gate *g;
	struct gate_sandbox *s;
	struct target t;
	enum target_status told;
	unsigned times;
};

static void on_done(void *arg, enum target_status status)
{
	struct fixture *f = arg;

	f->told = status;
	f->times++;
}

static void start(struct fixture *f, const char *const *allow, const char *addr)
{
	*f = (struct fixture){ .g = test_gate_new() };
	f->g->loop.now_ms = 100000;
	f->s = test_attach(f->g, "one", "100.112.1.1", NULL, allow, NULL, false);
	f->t = (struct target){ .g = f->g,
				.sandbox = f->s,
				.proto = DW_PROTO_UDP,
				.dst = test_addr(addr),
				.port = 443,
				.done = on_done,
				.arg = f };
}

static void stop(struct fixture *f)
{
	target_cancel(&f->t);
	gate_sandbox_detach(f->g, f->s);
	test_gate_free(f->g);
}

static void pin(struct fixture *f, const char *name, const char *addr, uint64_t expires_ms)
{
	const struct dw_addr a = test_addr(addr);

	assert_true(dw_pins_add(f->s->pins, name, &a, expires_ms));
}

static const char *const names[] = { "one.test", "two.test", NULL };

static void assert_dials(const struct fixture *f, const char *addr, const char *name)
{
	const struct dw_addr a = test_addr(addr);

	assert_true(dw_addr_eq(&f->t.dial, &a));
	if (name)
		assert_string_equal(f->t.name, name);
	else
		assert_null(f->t.name);
}

static void test_an_address_stands_for_itself(void **state)
{
	struct fixture f;

	start(&f, names, "93.184.215.14");
	assert_int_equal(target_find(&f.t, DW_ALLOW), TARGET_READY);
	assert_dials(&f, "93.184.215.14", NULL);
	assert_null(target_name(&f.t));
	stop(&f);
}

static void test_a_fresh_pin_is_dialled(void **state)
{
	struct fixture f;

	start(&f, names, "93.184.215.14");
	pin(&f, "two.test", "93.184.215.14", 100001);
	pin(&f, "evil.test", "93.184.215.14", 900000);
	assert_int_equal(target_find(&f.t, DW_ALLOW_BY_NAME), TARGET_READY);
	assert_dials(&f, "93.184.215.14", "two.test");
	stop(&f);
}

static void test_a_stale_pin_is_asked_again(void **state)
{
	static const char *const same[] = { "93.184.215.99", "93.184.215.14", NULL };
	const unsigned asked = fake_questions;
	struct fixture f;

	start(&f, names, "93.184.215.14");
	pin(&f, "one.test", "93.184.215.14", 100000);
	assert_int_equal(target_find(&f.t, DW_ALLOW_BY_NAME), TARGET_ASKING);
	assert_int_equal(fake_questions, asked + 1);
	assert_string_equal(fake_last_name, "one.test");
	assert_int_equal(fake_last_type, DW_DNS_A);
	assert_string_equal(target_name(&f.t), "one.test");
	assert_int_equal(f.times, 0);
	fake_answer(0, 60, same);
	assert_int_equal(f.times, 1);
	assert_int_equal(f.told, TARGET_READY);
	assert_dials(&f, "93.184.215.14", "one.test");
	/* The pin is fresh again. */
	assert_int_equal(target_find(&f.t, DW_ALLOW_BY_NAME), TARGET_READY);
	stop(&f);
}

static void test_a_moved_name_is_followed(void **state)
{
	static const char *const moved[] = { "10.0.0.1", "93.184.215.99", NULL };
	static const char *const none[] = { NULL };
	struct fixture f;

	start(&f, names, "93.184.215.14");
	pin(&f, "one.test", "93.184.215.14", 1);
	pin(&f, "two.test", "93.184.215.14", 1);
	assert_int_equal(target_find(&f.t, DW_ALLOW_BY_NAME), TARGET_ASKING);
	char first[sizeof(fake_last_name)];
	snprintf(first, sizeof(first), "%s", fake_last_name);
	fake_answer(0, 60, moved);
	assert_int_equal(f.times, 0); /* another name may still have the very address */
	fake_answer(0, 60, none);
	assert_int_equal(f.times, 1);
	assert_int_equal(f.told, TARGET_READY);
	assert_dials(&f, "93.184.215.99", first);
	stop(&f);
}

static void test_a_name_that_is_gone(void **state)
{
	static const char *const private[] = { "10.0.0.1", "169.254.169.254", NULL };
	struct fixture f;

	start(&f, names, "93.184.215.14");
	pin(&f, "one.test", "93.184.215.14", 1);
	assert_int_equal(target_find(&f.t, DW_ALLOW_BY_NAME), TARGET_ASKING);
	fake_answer(0, 60, private);
	assert_int_equal(f.told, TARGET_FAILED);
	assert_int_equal(f.t.why, DW_REASON_NAME_GONE);
	assert_int_equal(target_find(&f.t, DW_ALLOW_BY_NAME), TARGET_ASKING);
	fake_answer_failed();
	assert_int_equal(f.times, 2);
	assert_int_equal(f.told, TARGET_FAILED);
	assert_int_equal(f.t.why, DW_REASON_RESOLVER_FAILED);
	fake_resolver_full = true;
	assert_int_equal(target_find(&f.t, DW_ALLOW_BY_NAME), TARGET_FAILED);
	assert_int_equal(f.t.why, DW_REASON_RESOLVER_FAILED);
	fake_resolver_full = false;
	stop(&f);
}

static void test_asking_anew_gives_the_old_question_up(void **state)
{
	static const char *const same[] = { "93.184.215.14", NULL };
	const unsigned cancelled = fake_cancelled;
	struct fixture f;

	start(&f, names, "93.184.215.14");
	pin(&f, "one.test", "93.184.215.14", 1);
	assert_int_equal(target_find(&f.t, DW_ALLOW_BY_NAME), TARGET_ASKING);
	assert_int_equal(target_find(&f.t, DW_ALLOW_BY_NAME), TARGET_ASKING);
	assert_int_equal(fake_cancelled, cancelled + 1);
	assert_int_equal(fake_waiting, 1);
	fake_answer(0, 60, same);
	assert_int_equal(f.times, 1);
	stop(&f);
}

static void test_the_floor_once_more(void **state)
{
	const struct dw_addr public = test_addr("93.184.215.14"), metadata = test_addr("169.254.169.254");
	struct dw_prefix exception = { .addr = public, .len = 32 };
	struct fixture f;

	start(&f, names, "93.184.215.14");
	local_answer = 0;
	assert_int_equal(target_check(f.g, &public), DW_REASON_NONE);
	assert_int_equal(target_check(f.g, &metadata), DW_REASON_FLOOR_METADATA);
	local_answer = 1;
	assert_int_equal(target_check(f.g, &public), DW_REASON_FLOOR_HOST);
	f.g->floor.exceptions = &exception;
	f.g->floor.exceptions_n = 1;
	assert_int_equal(target_check(f.g, &public), DW_REASON_NONE);
	local_answer = -5;
	assert_int_equal(target_check(f.g, &public), DW_REASON_GATE_RESOURCES);
	stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_address_stands_for_itself),
		cmocka_unit_test(test_a_fresh_pin_is_dialled),
		cmocka_unit_test(test_a_stale_pin_is_asked_again),
		cmocka_unit_test(test_a_moved_name_is_followed),
		cmocka_unit_test(test_a_name_that_is_gone),
		cmocka_unit_test(test_asking_anew_gives_the_old_question_up),
		cmocka_unit_test(test_the_floor_once_more),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
