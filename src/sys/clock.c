/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#ifdef DECLAW_TEST_HOOKS
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "core/macros.h"

struct offsets {
	int64_t wall_us, mono_ms;
};

static const struct offsets *moved; /* NULL: the real clocks */

void dw_clock_use_file(const char *path)
{
	dw_autoclose int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	struct stat st;
	void *p = NULL;

	if (path) {
		if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size >= (off_t)sizeof(*moved))
			p = mmap(NULL, sizeof(*moved), PROT_READ, MAP_SHARED, fd, 0);
		/* A test of time that runs on the real clock would pass for nothing. */
		if (!p || p == MAP_FAILED) {
			fprintf(stderr, "DECLAW_TEST_CLOCK: %s is not a file of two numbers\n", path);
			abort();
		}
	}
	/* The old mapping stays: another thread may be reading it. */
	__atomic_store_n(&moved, p, __ATOMIC_RELEASE);
}

/* As the program starts: later it may have given up the right to open files. */
__attribute__((constructor)) static void start(void)
{
	dw_clock_use_file(getenv("DECLAW_TEST_CLOCK"));
}

static int64_t mono_offset_ms(void)
{
	const struct offsets *o = __atomic_load_n(&moved, __ATOMIC_ACQUIRE);

	return o ? __atomic_load_n(&o->mono_ms, __ATOMIC_RELAXED) : 0;
}

static int64_t wall_offset_us(void)
{
	const struct offsets *o = __atomic_load_n(&moved, __ATOMIC_ACQUIRE);

	return o ? __atomic_load_n(&o->wall_us, __ATOMIC_RELAXED) : 0;
}

bool dw_clock_is_movable(void)
{
	return __atomic_load_n(&moved, __ATOMIC_ACQUIRE) != NULL;
}
#else
static int64_t mono_offset_ms(void)
{
	return 0;
}

static int64_t wall_offset_us(void)
{
	return 0;
}

bool dw_clock_is_movable(void)
{
	return false;
}
#endif

static struct timespec now(clockid_t id)
{
	struct timespec ts;

	/* These clocks with a valid pointer can not fail. */
	clock_gettime(id, &ts);
	return ts;
}

static uint64_t ms_of(struct timespec ts)
{
	return (uint64_t)((int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000 + mono_offset_ms());
}

uint64_t dw_clock_mono_ms(void)
{
	return ms_of(now(CLOCK_MONOTONIC));
}

uint64_t dw_clock_boot_ms(void)
{
	return ms_of(now(CLOCK_BOOTTIME));
}

int64_t dw_clock_wall_us(void)
{
	const struct timespec ts = now(CLOCK_REALTIME);

	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000 + wall_offset_us();
}
