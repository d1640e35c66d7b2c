/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/clock.h"

#include <stdio.h>
#include <sys/random.h>
#include <time.h>

#include "core/macros.h"
#include "daemon/jsonx.h"
#include "sys/clock.h"

int64_t clock_wall_us(void)
{
	return dw_clock_wall_us();
}

int64_t clock_mono_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t clock_bound_ms(const char *variable, int64_t ms)
{
#ifdef DECLAW_TEST_HOOKS
	const char *text = getenv(variable);
	uint64_t n;
	if (text && jsonx_uint(text, (uint64_t)ms, &n) && n)
		return (int64_t)n;
#endif
	return ms;
}

const char *clock_iso(int64_t wall_us, char buf[static CLOCK_ISO_SIZE])
{
	time_t s = (time_t)(wall_us / 1000000);
	struct tm tm;
	char day[24] = "";
	if (gmtime_r(&s, &tm))
		strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buf, CLOCK_ISO_SIZE, "%s.%06d+00:00", day, (int)(wall_us % 1000000));
	return buf;
}

void random_token(char *buf, size_t n)
{
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	size_t have = 0;
	while (have < n) {
		unsigned char raw[64];
		ssize_t got = getrandom(raw, sizeof(raw), 0);
		/* It can not fail once the kernel's generator is seeded; an id that is not random must not exist. */
		dw_assert(got == (ssize_t)sizeof(raw));
		for (size_t i = 0; i < sizeof(raw) && have < n; i++) {
			/* 252 = 7 * 36: values above would favour the first letters. */
			if (raw[i] < 252)
				buf[have++] = alphabet[raw[i] % 36];
		}
	}
	buf[n] = '\0';
}
