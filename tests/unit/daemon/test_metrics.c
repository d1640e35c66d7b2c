/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include "daemon/bounds.h"
#include "daemon/metrics.h"

static struct dw_usage usage(uint64_t cpu_us, uint64_t memory, uint64_t disk)
{
	return (struct dw_usage){ .cpu_us = cpu_us, .memory_bytes = memory, .disk_bytes = disk };
}

/* In hundredths of a percent, since it is a float. */
static int share(const struct metrics *m, uint64_t cpu_us, int64_t mono_ms)
{
	const struct dw_usage u = usage(cpu_us, 0, 0);
	return (int)(metrics_measure(m, &u, 1, mono_ms).cpu_percent * 100 + 0.5f);
}

static void shares(void **state)
{
	struct metrics m = { 0 };
	metrics_begin(&m, 1000);
	assert_int_equal(share(&m, 500000, 2000), 5000);
	/* Two cores. */
	assert_int_equal(share(&m, 2000000, 2000), 20000);
	/* No time has passed, or it went backwards. */
	assert_int_equal(share(&m, 500000, 1000), 0);
	assert_int_equal(share(&m, 500000, 900), 0);
	struct dw_usage u = usage(1000000, 0, 0);
	metrics_add(&m, &u, 1, 3000);
	assert_int_equal(share(&m, 1000000, 4000), 0);
	assert_int_equal(share(&m, 1250000, 4000), 2500);
	/* A count that is smaller than before (it could not be read). */
	assert_int_equal(share(&m, 0, 4000), 0);
	/* So soon after the last one that one's share stands. */
	assert_int_equal(share(&m, 1000001, 3010), 5000);
	metrics_done(&m);
}

static void files_are_no_memory(void **state)
{
	struct metrics m = { 0 };
	struct dw_usage u = usage(0, 10 << 20, 4 << 20);
	struct metrics_sample s = metrics_measure(&m, &u, 77, 1);
	assert_int_equal(s.memory_kb, 6 << 10);
	assert_int_equal(s.disk_kb, 4 << 10);
	assert_int_equal(s.at_us, 77);
	u = usage(0, 1 << 20, 4 << 20);
	assert_int_equal(metrics_measure(&m, &u, 77, 1).memory_kb, 0);
	u = usage(UINT64_MAX, UINT64_MAX, 0);
	assert_int_equal(metrics_measure(&m, &u, 77, 1).memory_kb, UINT32_MAX);
}

static void the_oldest_goes(void **state)
{
	struct metrics m = { 0 };
	const struct dw_usage u = usage(0, 0, 0);
	const size_t max = DAEMON_METRICS_SAMPLES;
	for (size_t i = 0; i < 3 * max + 5; i++) {
		metrics_add(&m, &u, (int64_t)i, (int64_t)i);
		assert_int_equal(m.n, i + 1 < max ? i + 1 : max);
		assert_true(m.cap <= max);
		assert_int_equal(metrics_at(&m, m.n - 1)->at_us, i);
		assert_int_equal(metrics_at(&m, 0)->at_us, i + 1 < max ? 0 : i + 1 - max);
	}
	for (size_t i = 1; i < m.n; i++)
		assert_int_equal(metrics_at(&m, i)->at_us, metrics_at(&m, i - 1)->at_us + 1);
	metrics_done(&m);
	metrics_done(&m);
	assert_int_equal(m.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(shares), cmocka_unit_test(files_are_no_memory),
					    cmocka_unit_test(the_oldest_goes) };
	return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
