/* SPDX-License-Identifier: Apache-2.0 */
#include "gate_test.h"

#include <sys/mman.h>

struct gate *test_gate_new(void)
{
	struct gate *g = calloc(1, sizeof(*g));

	assert_non_null(g);
	g->fds = (struct gate_fds){ -1, -1, -1, -1, -1, -1, -1, -1 };
	assert_int_equal(dw_loop_init(&g->loop), 0);
	assert_int_equal(gate_sandboxes_init(g), 0);
	return g;
}

void test_gate_free(struct gate *g)
{
	test_turn(g);
	dw_loop_done(&g->loop);
	free(g->sandboxes);
	free(g);
}

struct dw_addr test_addr(const char *text)
{
	struct dw_addr a = { 0 };

	assert_true(dw_addr_parse(text, strlen(text), &a));
	return a;
}

static size_t count(const char *const *list)
{
	size_t n = 0;

	while (list && list[n])
		n++;
	return n;
}

static struct test_policy compile(const char *const *allow, const char *const *deny, bool default_allow, bool observe)
{
	const struct dw_policy_spec spec = { .allow = allow,
					     .allow_n = count(allow),
					     .allow_present = allow != NULL,
					     .deny = deny,
					     .deny_n = count(deny),
					     .default_allow = default_allow,
					     .observe = observe };
	struct test_policy t = { 0 };
	struct dw_err err = { 0 };
	void *image = NULL;

	if (dw_policy_compile(&spec, &image, &t.image_n, &err) < 0)
		fail_msg("policy: %s", err.message);
	t.image = mmap(NULL, t.image_n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(t.image != MAP_FAILED);
	memcpy(t.image, image, t.image_n);
	free(image);
	if (dw_policy_open(t.image, t.image_n, &t.policy, &err) < 0)
		fail_msg("policy: %s", err.message);
	return t;
}

struct test_policy test_policy(const char *const *allow, const char *const *deny, bool default_allow)
{
	return compile(allow, deny, default_allow, false);
}

struct test_policy test_policy_observing(const char *const *allow, const char *const *deny)
{
	return compile(allow, deny, false, true);
}

struct gate_sandbox *test_attach(struct gate *g, const char *id, const char *addr4, const char *addr6,
				 const char *const *allow, const char *const *deny, bool default_allow)
{
	struct test_policy t = test_policy(allow, deny, default_allow);
	struct dw_addr a4 = test_addr(addr4);
	struct dw_addr a6 = { 0 };
	struct dw_err err = { 0 };

	if (addr6)
		a6 = test_addr(addr6);
	if (gate_sandbox_attach(g, id, &a4, &a6, 1, &(struct dw_limits){ 0 }, t.image, t.image_n, t.policy, &err) < 0)
		fail_msg("attach: %s", err.message);
	return gate_sandbox_by_id(g, id);
}

void test_turn(struct gate *g)
{
	for (int i = 0; i < 8; i++)
		assert_int_equal(dw_loop_once(&g->loop, 2), 0);
}
