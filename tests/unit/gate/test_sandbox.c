/* SPDX-License-Identifier: Apache-2.0 */
/* The table of sandboxes: who is found by what, and when an entry goes. */
#include "gate_test.h"

static const char *const allow_some[] = { "example.com", NULL };
static const char *const allow_none[] = { NULL };

static int setup(void **state)
{
	fake_rejudged = fake_closed = fake_forgotten = 0;
	fake_on_rejudge = NULL;
	*state = test_gate_new();
	return 0;
}

static int teardown(void **state)
{
	test_gate_free(*state);
	return 0;
}

static void test_lookup(void **state)
{
	struct gate *g = *state;
	struct dw_addr none = { 0 };
	struct dw_addr a4 = test_addr("100.112.1.1");
	struct dw_addr a6 = test_addr("fd64:6377::6470:101");
	struct dw_addr other = test_addr("100.112.1.2");
	struct gate_sandbox *s;

	assert_null(gate_sandbox_by_addr(g, &a4));
	s = test_attach(g, "one", "100.112.1.1", "fd64:6377::6470:101", allow_some, NULL, false);
	assert_ptr_equal(gate_sandbox_by_addr(g, &a4), s);
	assert_ptr_equal(gate_sandbox_by_addr(g, &a6), s);
	assert_ptr_equal(gate_sandbox_by_id(g, "one"), s);
	assert_null(gate_sandbox_by_addr(g, &other));
	assert_null(gate_sandbox_by_addr(g, &none));
	assert_null(gate_sandbox_by_id(g, "on"));
	assert_null(gate_sandbox_by_id(g, ""));
	gate_sandbox_detach(g, s);
	assert_null(gate_sandbox_by_addr(g, &a4));
	assert_null(gate_sandbox_by_addr(g, &a6));
	assert_null(gate_sandbox_by_id(g, "one"));
	assert_int_equal(fake_closed, 1);
	assert_int_equal(fake_forgotten, 1);
}

/* An entry without IPv6 must not be found under "no address". */
static void test_without_ipv6(void **state)
{
	struct gate *g = *state;
	struct dw_addr none = { 0 };
	struct gate_sandbox *s = test_attach(g, "one", "100.112.1.1", NULL, allow_some, NULL, false);
	struct gate_sandbox *t = test_attach(g, "two", "100.112.1.2", NULL, allow_some, NULL, false);

	assert_null(gate_sandbox_by_addr(g, &none));
	gate_sandbox_detach(g, s);
	gate_sandbox_detach(g, t);
}

static void attach_fails(struct gate *g, const char *id, const char *addr4, const char *addr6)
{
	struct test_policy t = test_policy(allow_none, NULL, false);
	struct dw_addr a4 = test_addr(addr4);
	struct dw_addr a6 = test_addr(addr6);
	struct dw_err err = { 0 };

	assert_int_equal(
		gate_sandbox_attach(g, id, &a4, &a6, 1, &(struct dw_limits){ 0 }, t.image, t.image_n, t.policy, &err),
		-1);
	assert_string_equal(err.code, "exists");
	assert_int_equal(err.kind, DW_ERR_CONFLICT);
}

static void test_exists(void **state)
{
	struct gate *g = *state;
	struct gate_sandbox *s = test_attach(g, "one", "100.112.1.1", "fd64:6377::6470:101", allow_some, NULL, false);

	attach_fails(g, "one", "100.112.1.2", "fd64:6377::6470:102");
	attach_fails(g, "two", "100.112.1.1", "fd64:6377::6470:102");
	attach_fails(g, "two", "100.112.1.2", "fd64:6377::6470:101");
	assert_null(gate_sandbox_by_id(g, "two"));
	gate_sandbox_detach(g, s);
}

static void test_instance_is_new_each_time(void **state)
{
	struct gate *g = *state;
	struct gate_sandbox *s = test_attach(g, "one", "100.112.1.1", NULL, allow_some, NULL, false);
	uint64_t first = s->instance;

	s->flow_n = 1; /* something still holds it */
	gate_sandbox_detach(g, s);
	test_turn(g);
	assert_int_equal(s->instance, first); /* not freed */
	assert_true(test_attach(g, "one", "100.112.1.1", NULL, allow_some, NULL, false)->instance != first);
	gate_sandbox_detach(g, gate_sandbox_by_id(g, "one"));
	s->flow_n = 0;
	gate_sandbox_unused(g, s); /* freed by the next turn: the leak checker watches */
}

/* Not detached: unused means nothing. */
static void test_unused_while_attached(void **state)
{
	struct gate *g = *state;
	struct gate_sandbox *s = test_attach(g, "one", "100.112.1.1", NULL, allow_some, NULL, false);

	gate_sandbox_unused(g, s);
	test_turn(g);
	assert_ptr_equal(gate_sandbox_by_id(g, "one"), s);
	gate_sandbox_detach(g, s);
	gate_sandbox_detach(g, s); /* twice is once */
	assert_int_equal(fake_closed, 1);
}

static void new_policy_is_in_force(struct gate *g, struct gate_sandbox *s)
{
	assert_int_equal(s->generation, 2);
	assert_int_equal(dw_decide_query(s->policy, "example.com").verdict, DW_DENY);
	assert_true(dw_decide_query(s->policy, "example.org").verdict != DW_DENY);
}

static void test_update(void **state)
{
	static const char *const other[] = { "example.org", NULL };
	struct gate *g = *state;
	struct gate_sandbox *s = test_attach(g, "one", "100.112.1.1", NULL, allow_some, NULL, false);
	struct test_policy t = test_policy(other, NULL, false);
	struct dw_addr a = test_addr("192.0.2.1");

	assert_true(dw_pins_add(s->pins, "example.com", &a, 1));
	fake_on_rejudge = new_policy_is_in_force;
	assert_int_equal(gate_sandbox_update(g, s, 2, &(struct dw_limits){ 0 }, t.image, t.image_n, t.policy), 0);
	assert_int_equal(fake_rejudged, 1);
	assert_int_equal(dw_pins_count(s->pins), 1); /* pins are the sandbox's, not the policy's */
	gate_sandbox_detach(g, s);
}

static void test_many(void **state)
{
	struct gate *g = *state;
	char id[32];
	char addr[32];

	for (unsigned int i = 0; i < 3000; i++) {
		snprintf(id, sizeof(id), "sbx-%u", i);
		snprintf(addr, sizeof(addr), "100.113.%u.%u", i / 256, i % 256);
		test_attach(g, id, addr, NULL, allow_none, NULL, false);
	}
	for (unsigned int i = 0; i < 3000; i++) {
		struct dw_addr a;

		snprintf(id, sizeof(id), "sbx-%u", (i * 7) % 3000);
		snprintf(addr, sizeof(addr), "100.113.%u.%u", ((i * 7) % 3000) / 256, ((i * 7) % 3000) % 256);
		a = test_addr(addr);
		assert_non_null(gate_sandbox_by_addr(g, &a));
		assert_string_equal(gate_sandbox_by_addr(g, &a)->id, id);
		gate_sandbox_detach(g, gate_sandbox_by_id(g, id));
		assert_null(gate_sandbox_by_addr(g, &a));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_lookup, setup, teardown),
		cmocka_unit_test_setup_teardown(test_without_ipv6, setup, teardown),
		cmocka_unit_test_setup_teardown(test_exists, setup, teardown),
		cmocka_unit_test_setup_teardown(test_instance_is_new_each_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unused_while_attached, setup, teardown),
		cmocka_unit_test_setup_teardown(test_update, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many, setup, teardown),
	};

	return cmocka_run_group_tests_name("gate/sandbox", tests, NULL, NULL);
}
