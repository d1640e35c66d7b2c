/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "policy/limits.h"

static void test_fill(void **state)
{
	struct dw_limits l = { 0 };
	dw_limits_fill(&l);
	assert_int_equal(l.flows, DW_LIMIT_FLOWS);
	assert_int_equal(l.half_open, DW_LIMIT_HALF_OPEN);
	assert_int_equal(l.flows_per_second, DW_LIMIT_FLOWS_PER_SECOND);
	assert_int_equal(l.dns_per_second, DW_LIMIT_DNS_PER_SECOND);
	assert_int_equal(l.names_per_minute, DW_LIMIT_NAMES_PER_MINUTE);
	assert_int_equal(l.bytes, 0);

	l = (struct dw_limits){ 1, 2, 3, 4, 5, 6 };
	dw_limits_fill(&l);
	assert_int_equal(l.flows, 1);
	assert_int_equal(l.half_open, 2);
	assert_int_equal(l.flows_per_second, 3);
	assert_int_equal(l.dns_per_second, 4);
	assert_int_equal(l.names_per_minute, 5);
	assert_int_equal(l.bytes, 6);

	l = (struct dw_limits){ UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT64_MAX };
	dw_limits_fill(&l);
	assert_int_equal(l.flows, DW_LIMIT_FLOWS_MAX);
	assert_int_equal(l.half_open, DW_LIMIT_FLOWS_MAX);
	assert_int_equal(l.flows_per_second, DW_LIMIT_RATE_MAX);
	assert_int_equal(l.dns_per_second, DW_LIMIT_RATE_MAX);
	assert_int_equal(l.names_per_minute, DW_LIMIT_NAMES_MAX);
	assert_true(l.bytes == UINT64_MAX);
}

/* The table names every member, and says the range that it holds. */
static void test_table(void **state)
{
	static const char *const names[] = { "flows",          "half_open",        "flows_per_second",
					     "dns_per_second", "names_per_minute", "bytes" };
	struct dw_limits l = { 0 };
	char range[64];
	assert_int_equal(DW_COUNT(names), DW_LIMIT_COUNT);
	for (size_t i = 0; i < DW_LIMIT_COUNT; i++) {
		const struct dw_limit *t = &dw_limit_table[i];
		assert_string_equal(t->name, names[i]);
		snprintf(range, sizeof(range), "a whole number between 1 and %llu", (unsigned long long)t->max);
		assert_string_equal(t->range, range);
		dw_limit_set(&l, t, i + 1);
		assert_int_equal(dw_limit_get(&l, t), i + 1);
	}
	assert_int_equal(l.flows, 1);
	assert_int_equal(l.half_open, 2);
	assert_int_equal(l.flows_per_second, 3);
	assert_int_equal(l.dns_per_second, 4);
	assert_int_equal(l.names_per_minute, 5);
	assert_int_equal(l.bytes, 6);
	/* Each in its own width, beside the others. */
	dw_limit_set(&l, &dw_limit_table[4], UINT32_MAX);
	dw_limit_set(&l, &dw_limit_table[5], UINT64_MAX);
	assert_int_equal(l.dns_per_second, 4);
	assert_int_equal(l.names_per_minute, UINT32_MAX);
	assert_true(dw_limit_get(&l, &dw_limit_table[5]) == UINT64_MAX);
	assert_int_equal(dw_limit_get(&l, &dw_limit_table[4]), UINT32_MAX);
}

/* How many tokens there are to be had at one time. */
static uint32_t drain(struct dw_bucket *b, uint32_t rate, uint64_t now_ms)
{
	uint32_t n = 0;
	while (dw_bucket_take(b, rate, now_ms))
		n++;
	return n;
}

static void test_burst_and_rate(void **state)
{
	static const uint64_t starts[] = { 0, 1, 123456789, UINT64_MAX - 100000 };
	for (size_t i = 0; i < DW_COUNT(starts); i++) {
		struct dw_bucket b = { 0 };
		uint64_t now = starts[i];
		assert_int_equal(drain(&b, 10, now), 20);
		assert_int_equal(drain(&b, 10, now + 99), 0);
		assert_int_equal(drain(&b, 10, now + 100), 1);
		assert_int_equal(drain(&b, 10, now + 1100), 10);
		assert_int_equal(drain(&b, 10, now + 3099), 19);
		assert_int_equal(drain(&b, 10, now + 3100), 1);
		assert_int_equal(drain(&b, 10, now + 90000), 20);
	}
}

/* Asking every millisecond, and refusals in between, lose nothing. */
static void test_exact(void **state)
{
	struct dw_bucket b = { 0 };
	uint32_t n = 0;
	for (uint64_t now = 5; now <= 5 + 10000; now++)
		n += drain(&b, 7, now);
	assert_int_equal(n, 14 + 70);
}

static void test_extremes(void **state)
{
	struct dw_bucket b = { 0 };
	assert_int_equal(drain(&b, 0, 0), 0);
	assert_int_equal(drain(&b, 0, UINT64_MAX), 0);
	b = (struct dw_bucket){ 0 };
	assert_int_equal(drain(&b, DW_LIMIT_RATE_MAX, 0), 2 * DW_LIMIT_RATE_MAX);
	assert_int_equal(drain(&b, DW_LIMIT_RATE_MAX, 1), DW_LIMIT_RATE_MAX / 1000);
	b.tokens_m = 0;
	b.last_ms = 0;
	assert_true(dw_bucket_take(&b, UINT32_MAX, UINT64_MAX));
	assert_true(b.tokens_m == 2000u * (uint64_t)UINT32_MAX - 1000);
}

static void test_backwards(void **state)
{
	struct dw_bucket b = { 0 };
	assert_int_equal(drain(&b, 10, 5000), 20);
	assert_int_equal(drain(&b, 10, 1000), 0);
	assert_int_equal(drain(&b, 10, 0), 0);
	assert_int_equal(drain(&b, 10, 5000), 0);
	assert_int_equal(drain(&b, 10, 5100), 1);
}

/* A lower rate holds for what was saved up under the higher one, at once. */
static void test_rate_changes(void **state)
{
	struct dw_bucket b = { 0 };
	assert_true(dw_bucket_take(&b, 1000, 50));
	assert_int_equal(drain(&b, 3, 50), 6);
	b = (struct dw_bucket){ 0 };
	assert_true(dw_bucket_take(&b, 1000, 50));
	assert_int_equal(drain(&b, 3, 40), 6);
	assert_int_equal(drain(&b, 3, 51), 0);
	assert_int_equal(drain(&b, 1000, 1051),
			 1000); /* a higher one is not a gift: the time that passed is paid at it */
}

static void test_window(void **state)
{
	struct dw_name_window w = { 0 };
	for (uint64_t hash = 0; hash < 3; hash++)
		assert_true(dw_name_window_take(&w, hash * 64 + 5, 3, 1000));
	assert_false(dw_name_window_take(&w, 7, 3, 1000));
	assert_true(dw_name_window_take(&w, 5 + 64, 3, 60999)); /* known */
	assert_false(dw_name_window_take(&w, 7, 3, 60999));
	assert_int_equal(w.n, 3);
	/* A minute after the first name. */
	assert_true(dw_name_window_take(&w, 7, 3, 61000));
	assert_int_equal(w.n, 1);
	assert_int_equal(w.start_ms, 61000);
	assert_true(dw_name_window_take(&w, 5, 3, 120999));
	assert_true(dw_name_window_take(&w, 6, 3, 120999));
	assert_false(dw_name_window_take(&w, 8, 3, 120999));
	dw_name_window_done(&w);
	assert_null(w.set);
	assert_int_equal(w.n + w.cap, 0);
	dw_name_window_done(&w);
}

static void test_window_none(void **state)
{
	struct dw_name_window w = { 0 };
	assert_false(dw_name_window_take(&w, 5, 0, 1000));
	assert_false(dw_name_window_take(&w, 0, 0, 1000));
	assert_int_equal(w.n, 0);
	/* Lowered below what is in it: what is known stays known. */
	for (uint64_t hash = 1; hash <= 10; hash++)
		assert_true(dw_name_window_take(&w, hash, 10, 1000));
	assert_true(dw_name_window_take(&w, 3, 2, 1000));
	assert_false(dw_name_window_take(&w, 11, 2, 1000));
	dw_name_window_done(&w);
}

/* 0 marks a free place; a name with that hash takes part all the same. */
static void test_window_zero(void **state)
{
	struct dw_name_window w = { 0 };
	assert_true(dw_name_window_take(&w, 0, 1, 1000));
	assert_true(dw_name_window_take(&w, 0, 1, 1000));
	assert_int_equal(w.n, 1);
	assert_false(dw_name_window_take(&w, 2, 1, 1000));
	dw_name_window_done(&w);
}

static void test_window_backwards(void **state)
{
	struct dw_name_window w = { 0 };
	assert_true(dw_name_window_take(&w, 1, 2, 100000));
	assert_true(dw_name_window_take(&w, 2, 2, 100000));
	assert_false(dw_name_window_take(&w, 3, 2, 99999));
	assert_false(dw_name_window_take(&w, 3, 2, 0));
	assert_true(dw_name_window_take(&w, 2, 2, 0));
	dw_name_window_done(&w);
}

/* Growing keeps every name; hashes that all begin at one place are told apart; memory has an end whatever max says. */
static void test_window_many(void **state)
{
	static const uint64_t steps[] = { 1, UINT64_C(0x9e3779b97f4a7c15) };
	for (size_t i = 0; i < DW_COUNT(steps); i++) {
		struct dw_name_window w = { 0 };
		for (uint64_t k = 1; k <= DW_LIMIT_NAMES_MAX; k++)
			assert_true(dw_name_window_take(&w, k * steps[i], UINT32_MAX, 1000));
		assert_int_equal(w.n, DW_LIMIT_NAMES_MAX);
		assert_false(dw_name_window_take(&w, (DW_LIMIT_NAMES_MAX + 1) * steps[i], UINT32_MAX, 1000));
		for (uint64_t k = 1; k <= DW_LIMIT_NAMES_MAX; k++)
			assert_true(dw_name_window_take(&w, k * steps[i], 0, 1000));
		assert_true(w.cap <= 4 * DW_LIMIT_NAMES_MAX);
		dw_name_window_done(&w);
	}
	struct dw_name_window w = { 0 };
	for (uint64_t k = 1; k <= 500; k++)
		assert_true(dw_name_window_take(&w, k << 32, 1000, 1000));
	for (uint64_t k = 1; k <= 500; k++)
		assert_true(dw_name_window_take(&w, k << 32, 0, 1000));
	assert_false(dw_name_window_take(&w, UINT64_C(501) << 32, 500, 1000));
	dw_name_window_done(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fill),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_burst_and_rate),
		cmocka_unit_test(test_exact),
		cmocka_unit_test(test_extremes),
		cmocka_unit_test(test_backwards),
		cmocka_unit_test(test_rate_changes),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_window_none),
		cmocka_unit_test(test_window_zero),
		cmocka_unit_test(test_window_backwards),
		cmocka_unit_test(test_window_many),
	};
	return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
