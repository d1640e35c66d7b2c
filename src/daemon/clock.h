/* SPDX-License-Identifier: Apache-2.0 */
/* Time and random tokens: what makes one run differ from another. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* "2026-01-15T10:30:00.123456+00:00": always six digits, because some clients read nothing else. */
#define CLOCK_ISO_SIZE 40

int64_t clock_wall_us(void);
/* Also counts while the machine is suspended, as a sandbox's end must. */
int64_t clock_mono_ms(void);
/* ms; in test builds what the environment variable says instead, when that is less and more than 0. */
int64_t clock_bound_ms(const char *variable, int64_t ms);
const char *clock_iso(int64_t wall_us, char buf[static CLOCK_ISO_SIZE]);

/* n characters of [a-z0-9] from the kernel's generator, and a NUL. */
void random_token(char *buf, size_t n);
