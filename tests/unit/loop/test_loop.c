/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop: order of timers, dropping of stale events in a batch, deferred work after the batch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

#include <cmocka.h>

#include "loop/loop.h"
#include "sys/clock.h"

static char order[256];

static void note(const char *what)
{
	size_t n = 0;

	while (order[n])
		n++;
	snprintf(order + n, sizeof(order) - n, "%s", what);
}

static int setup(void **state)
{
	struct dw_loop *l = calloc(1, sizeof(*l));

	order[0] = '\0';
	assert_non_null(l);
	assert_int_equal(dw_loop_init(l), 0);
	*state = l;
	return 0;
}

static int teardown(void **state)
{
	struct dw_loop *l = *state;

	dw_loop_done(l);
	free(l);
	return 0;
}

static void note_arg(void *arg)
{
	note(arg);
}

static void test_timers_in_order(void **state)
{
	struct dw_loop *l = *state;
	struct dw_timer t[5] = { 0 };
	static char names[5][2] = { "a", "b", "c", "d", "e" };
	const uint64_t at[5] = { 5, 1, 4, 2, 3 };

	for (size_t i = 0; i < 5; i++)
		assert_int_equal(dw_timer_set(l, &t[i], l->now_ms + at[i], note_arg, names[i]), 0);
	dw_timer_del(l, &t[4]);
	dw_timer_del(l, &t[4]); /* harmless when not armed */
	assert_int_equal(dw_timer_set(l, &t[1], l->now_ms + 8, note_arg, names[1]), 0);
	while (l->heap_n > 0)
		assert_int_equal(dw_loop_once(l, -1), 0);
	assert_string_equal(order, "dcab");
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(t[i].index, 0);
}

static uint64_t fired_at;
static uint32_t fired;

static void check_order(void *arg)
{
	struct dw_timer *t = arg;

	assert_true(t->at_ms >= fired_at);
	fired_at = t->at_ms;
	fired++;
}

static void test_timer_heap_many(void **state)
{
	struct dw_loop *l = *state;
	struct dw_timer *t = calloc(1000, sizeof(*t));
	unsigned int seed = 7;
	uint32_t want = 0;

	assert_non_null(t);
	fired_at = 0;
	fired = 0;
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(dw_timer_set(l, &t[i], l->now_ms + (uint64_t)(rand_r(&seed) % 20), check_order, &t[i]),
				 0);
	for (size_t i = 0; i < 1000; i += 3)
		dw_timer_del(l, &t[i]);
	for (size_t i = 1; i < 1000; i += 3)
		assert_int_equal(dw_timer_set(l, &t[i], l->now_ms + (uint64_t)(rand_r(&seed) % 20), check_order, &t[i]),
				 0);
	want = l->heap_n;
	assert_int_equal(want, 666);
	while (l->heap_n > 0)
		assert_int_equal(dw_loop_once(l, -1), 0);
	assert_int_equal(fired, want);
	free(t);
}

struct again {
	struct dw_loop *l;
	struct dw_timer timer;
	int runs;
};

static void arm_again(void *arg)
{
	struct again *a = arg;

	a->runs++;
	assert_int_equal(dw_timer_set(a->l, &a->timer, 0, arm_again, a), 0);
}

/* A timer that is always due must not keep the loop from its descriptors. */
static void test_timer_that_is_always_due(void **state)
{
	struct dw_loop *l = *state;
	struct again a = { .l = l };

	assert_int_equal(dw_timer_set(l, &a.timer, 0, arm_again, &a), 0);
	assert_int_equal(dw_loop_once(l, -1), 0);
	assert_int_equal(a.runs, 1);
	assert_int_equal(dw_loop_once(l, -1), 0);
	assert_int_equal(a.runs, 2);
	dw_timer_del(l, &a.timer);
}

struct pair {
	struct dw_loop *l;
	struct dw_watch w[2];
	int sv[2][2];
	int seen;
	struct dw_defer free_me;
};

static void pair_gone(void *arg)
{
	struct pair *p = arg;

	note("freed");
	for (int i = 0; i < 2; i++) {
		close(p->sv[i][0]);
		close(p->sv[i][1]);
	}
	free(p);
}

/* Whichever comes first deletes both and asks to be freed. */
static void on_pair(void *arg, uint32_t events)
{
	struct pair *p = arg;

	assert_true(events & EPOLLIN);
	note("event ");
	p->seen++;
	dw_watch_del(p->l, &p->w[0]);
	dw_watch_del(p->l, &p->w[1]);
	dw_defer(p->l, &p->free_me, pair_gone, p);
	dw_defer(p->l, &p->free_me, pair_gone, p);
}

static void test_stale_event_is_dropped(void **state)
{
	struct dw_loop *l = *state;
	struct pair *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	p->l = l;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, p->sv[i]), 0);
		assert_int_equal(dw_watch_add(l, &p->w[i], p->sv[i][0], EPOLLIN, on_pair, p), 0);
		assert_int_equal(write(p->sv[i][1], "x", 1), 1);
	}
	assert_int_equal(dw_loop_once(l, 1000), 0);
	assert_string_equal(order, "event freed");
}

struct swap {
	struct dw_loop *l;
	struct dw_watch first, second;
	int other_fd;
	int swapped_events;
};

static void swapped(void *arg, uint32_t events)
{
	struct swap *s = arg;

	s->swapped_events++;
}

/* The other watch of the batch gets a new descriptor: the old one's event is not for it. */
static void on_swap(void *arg, uint32_t events)
{
	struct swap *s = arg;

	dw_watch_del(s->l, &s->first);
	dw_watch_del(s->l, &s->second);
	assert_int_equal(dw_watch_add(s->l, &s->second, s->other_fd, EPOLLIN, swapped, s), 0);
}

static void test_event_of_an_earlier_descriptor(void **state)
{
	struct dw_loop *l = *state;
	struct swap s = { .l = l };
	int sv[3][2];

	for (int i = 0; i < 3; i++)
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv[i]), 0);
	s.other_fd = sv[2][0];
	assert_int_equal(dw_watch_add(l, &s.first, sv[0][0], EPOLLIN, on_swap, &s), 0);
	assert_int_equal(dw_watch_add(l, &s.second, sv[1][0], EPOLLIN, on_swap, &s), 0);
	assert_int_equal(write(sv[0][1], "x", 1), 1);
	assert_int_equal(write(sv[1][1], "x", 1), 1);
	assert_int_equal(dw_loop_once(l, 1000), 0);
	assert_int_equal(s.swapped_events, 0);
	assert_int_equal(write(sv[2][1], "x", 1), 1);
	assert_int_equal(dw_loop_once(l, 1000), 0);
	assert_int_equal(s.swapped_events, 1);
	dw_watch_del(l, &s.second);
	dw_watch_del(l, &s.second);
	for (int i = 0; i < 3; i++) {
		close(sv[i][0]);
		close(sv[i][1]);
	}
}

static void test_watch_set_and_errors(void **state)
{
	struct dw_loop *l = *state;
	struct swap s = { .l = l };
	struct dw_watch never = { 0 };
	int sv[2];

	dw_watch_del(l, &never); /* a zeroed one was never registered */
	assert_int_equal(dw_watch_add(l, &s.first, -1, EPOLLIN, swapped, &s), -9 /* EBADF */);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	assert_int_equal(dw_watch_add(l, &s.first, sv[0], 0, swapped, &s), 0);
	assert_int_equal(write(sv[1], "x", 1), 1);
	assert_int_equal(dw_loop_once(l, 0), 0);
	assert_int_equal(s.swapped_events, 0);
	assert_int_equal(dw_watch_set(l, &s.first, EPOLLIN), 0);
	assert_int_equal(dw_loop_once(l, 0), 0);
	assert_int_equal(s.swapped_events, 1);
	assert_int_equal(dw_watch_set(l, &s.first, 0), 0);
	close(sv[1]);
	assert_int_equal(dw_loop_once(l, 0), 0); /* HUP comes even so */
	assert_int_equal(s.swapped_events, 2);
	dw_watch_del(l, &s.first);
	close(sv[0]);
}

struct twice {
	struct dw_loop *l;
	struct dw_defer d;
	int runs;
};

static void defer_again(void *arg)
{
	struct twice *t = arg;

	t->runs++;
	dw_defer(t->l, &t->d, defer_again, t);
}

static void test_defer_order_and_requeue(void **state)
{
	struct dw_loop *l = *state;
	struct dw_defer a = { 0 };
	struct dw_defer b = { 0 };
	struct twice t = { .l = l };
	static char na[] = "a";
	static char nb[] = "b";

	dw_defer(l, &a, note_arg, na);
	dw_defer(l, &b, note_arg, nb);
	dw_defer(l, &t.d, defer_again, &t);
	assert_string_equal(order, "");
	assert_int_equal(dw_loop_once(l, -1), 0); /* deferred work keeps it from waiting */
	assert_string_equal(order, "ab");
	assert_int_equal(t.runs, 1);
	assert_int_equal(dw_loop_once(l, -1), 0);
	assert_int_equal(t.runs, 2);
}

static void stop_loop(void *arg)
{
	struct dw_loop *l = arg;

	l->stop = true;
}

static void test_run_until_stop(void **state)
{
	struct dw_loop *l = *state;
	struct dw_timer t = { 0 };
	uint64_t before = l->now_ms;

	assert_int_equal(dw_timer_set(l, &t, before + 20, stop_loop, l), 0);
	assert_int_equal(dw_loop_run(l), 0);
	assert_true(l->now_ms >= before + 20);
}

#ifdef DECLAW_TEST_HOOKS
static int64_t *clock_file; /* wall microseconds, monotonic milliseconds */

static int setup_clock(void **state)
{
	char path[] = "/tmp/test_loop_clock.XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 16), 0);
	clock_file = mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(clock_file != MAP_FAILED);
	close(fd);
	dw_clock_use_file(path);
	assert_int_equal(unlink(path), 0);
	assert_true(dw_clock_is_movable());
	return setup(state);
}

static int teardown_clock(void **state)
{
	dw_clock_use_file(NULL);
	assert_false(dw_clock_is_movable());
	munmap(clock_file, 16);
	return teardown(state);
}

#define DAY_MS 86400000

static void test_clocks_move(void **state)
{
	const uint64_t mono = dw_clock_mono_ms();
	const uint64_t boot = dw_clock_boot_ms();
	const int64_t wall = dw_clock_wall_us();

	clock_file[1] = DAY_MS;
	assert_in_range(dw_clock_mono_ms(), mono + DAY_MS, mono + DAY_MS + 10000);
	assert_in_range(dw_clock_boot_ms(), boot + DAY_MS, boot + DAY_MS + 10000);
	assert_in_range(dw_clock_wall_us(), wall, wall + 10000000);
	clock_file[0] = -1000ll * DAY_MS;
	assert_true(dw_clock_wall_us() < wall - 999ll * DAY_MS);
}

/* A day passes at once: what is due runs, in order and once, what is not waits on, and it goes on as usual. */
static void test_a_day_passes(void **state)
{
	struct dw_loop *l = *state;
	struct dw_timer t[4] = { 0 };
	static char names[4][2] = { "a", "b", "c", "d" };
	const uint64_t at[4] = { DAY_MS, 3600000, 2 * DAY_MS, 1000 };
	const uint64_t start = l->now_ms;

	for (size_t i = 0; i < 4; i++)
		assert_int_equal(dw_timer_set(l, &t[i], start + at[i], note_arg, names[i]), 0);
	assert_int_equal(dw_loop_once(l, 0), 0);
	assert_string_equal(order, "");
	clock_file[1] = DAY_MS;
	assert_int_equal(dw_loop_once(l, 0), 0);
	assert_string_equal(order, "dba");
	assert_int_equal(l->heap_n, 1);
	assert_in_range(l->now_ms, start + DAY_MS, start + DAY_MS + 10000);
	assert_int_equal(dw_timer_set(l, &t[0], l->now_ms + 30, note_arg, names[0]), 0);
	while (t[0].index)
		assert_int_equal(dw_loop_once(l, -1), 0);
	assert_string_equal(order, "dbaa");
	assert_int_equal(l->heap_n, 1);
	dw_timer_del(l, &t[2]);
}

static void *move_a_day(void *arg)
{
	const struct timespec pause = { .tv_nsec = 50000000 };

	nanosleep(&pause, NULL);
	__atomic_store_n(&clock_file[1], DAY_MS, __ATOMIC_RELAXED);
	return NULL;
}

/* ... also while the loop sleeps. */
static void test_a_day_passes_asleep(void **state)
{
	struct dw_loop *l = *state;
	struct dw_timer t = { 0 };
	struct timespec before;
	struct timespec after;
	pthread_t thread;

	assert_int_equal(dw_timer_set(l, &t, l->now_ms + 3600000, stop_loop, l), 0);
	clock_gettime(CLOCK_MONOTONIC, &before);
	assert_int_equal(pthread_create(&thread, NULL, move_a_day, NULL), 0);
	assert_int_equal(dw_loop_run(l), 0);
	clock_gettime(CLOCK_MONOTONIC, &after);
	pthread_join(thread, NULL);
	assert_true(after.tv_sec - before.tv_sec < 5);
}

/* The wall clock is nobody's business here. */
static void test_wall_clock_jumps(void **state)
{
	struct dw_loop *l = *state;
	struct dw_timer t = { 0 };
	const uint64_t start = l->now_ms;

	assert_int_equal(dw_timer_set(l, &t, start + 60, note_arg, order + 100), 0);
	for (int i = 0; t.index; i++) {
		clock_file[0] = i % 2 ? 1000ll * DAY_MS : -1000ll * DAY_MS;
		assert_int_equal(dw_loop_once(l, -1), 0);
	}
	assert_in_range(l->now_ms, start + 60, start + 10000);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_timers_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_timer_heap_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_timer_that_is_always_due, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stale_event_is_dropped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_event_of_an_earlier_descriptor, setup, teardown),
		cmocka_unit_test_setup_teardown(test_watch_set_and_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_defer_order_and_requeue, setup, teardown),
		cmocka_unit_test_setup_teardown(test_run_until_stop, setup, teardown),
#ifdef DECLAW_TEST_HOOKS
		cmocka_unit_test_setup_teardown(test_clocks_move, setup_clock, teardown_clock),
		cmocka_unit_test_setup_teardown(test_a_day_passes, setup_clock, teardown_clock),
		cmocka_unit_test_setup_teardown(test_a_day_passes_asleep, setup_clock, teardown_clock),
		cmocka_unit_test_setup_teardown(test_wall_clock_jumps, setup_clock, teardown_clock),
#endif
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
