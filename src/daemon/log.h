/* SPDX-License-Identifier: Apache-2.0 */
/* Diagnostics on stderr: one line per event, key=value, every value escaped. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum log_level {
	LOG_LEVEL_ERROR = 0,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
};

/* Pairs of key and value (const char *), ended by NULL. One write(2) per line; too long ones are cut. */
void log_event(enum log_level level, const char *event, ...) __attribute__((sentinel));

/* Decimal text of a number in buf, for use as a value. */
#define LOG_NUM(n) log_num((char[24]){ 0 }, (int64_t)(n))
const char *log_num(char buf[static 24], int64_t n);

/* Appends value to buf at *at, quoted and escaped where needed; never overflows. For log_event and its test. */
void log_escape(char *buf, size_t size, size_t *at, const char *value);
