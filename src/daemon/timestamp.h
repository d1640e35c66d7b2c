/* SPDX-License-Identifier: Apache-2.0 */
/* Points in time as clients write them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * Unix seconds ("1767225600", "1767225600.25") or RFC 3339 ("2026-01-01T00:00:00Z", with a fraction, with an offset) to microseconds
 * since 1970. A space stands for the '+' of an offset, since that is what an unescaped '+' in a query becomes. Strict:
 * false for anything else, for years before 1970 or after 9999, and for days that no month has. Leap seconds are refused.
 */
bool timestamp_parse(const char *text, int64_t *ret_us);
