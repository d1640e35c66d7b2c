/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clocks of our programs, in one place so that a test can move them. In builds with test hooks the environment
 * variable DECLAW_TEST_CLOCK names a file of two native int64: microseconds that are added to the wall clock,
 * milliseconds that are added to the monotonic ones. It is mapped as the program starts, shared, so whoever writes to
 * it moves the clocks of every program that has it. Other builds know nothing of it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

uint64_t dw_clock_mono_ms(void); /* CLOCK_MONOTONIC */
uint64_t dw_clock_boot_ms(void); /* CLOCK_BOOTTIME: counts on while the machine is suspended */
int64_t dw_clock_wall_us(void);  /* CLOCK_REALTIME, since 1970 */

/* Whether a test can move the clocks: then nobody may rely on sleeping until a time. */
bool dw_clock_is_movable(void);

#ifdef DECLAW_TEST_HOOKS
/* What the variable does, for unit tests; NULL: back to the real clocks. A file that is not there ends the program. */
void dw_clock_use_file(const char *path);
#endif
