/* SPDX-License-Identifier: Apache-2.0 */
/* Text for people and for shells. Pure. Strings that are returned are malloc'ed; NULL: memory is out. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "core/macros.h"

/*
 * What may go to a terminal of n bytes that a server or a sandbox chose: printable UTF-8 stays. Control characters (also C1, which
 * terminals take as the begin of a sequence), line breaks, marks that turn the direction of writing, and bytes that are not UTF-8
 * become \n, \t, \r, \xNN or \uNNNN; a backslash becomes two.
 */
char *cli_escape(const char *s, size_t n);
/* How many columns UTF-8 text takes, each character one. */
size_t cli_width(const char *s);

/* One word as a POSIX shell reads it back: as it is where that is safe, else in single quotes. */
char *cli_quote(const char *word);
/* Words with a space between, each quoted. */
char *cli_quote_words(char *const *word, size_t n);

#define CLI_SIZE_MAX 16
/* "812", "1.2K", "30M", "4.0G": bytes in powers of 1024. Returns buf. */
const char *cli_size(uint64_t bytes, char buf[static CLI_SIZE_MAX]);
#define CLI_AGE_MAX 24
/* "12s", "5m", "3h", "2d": a span of seconds, its sign in front when it is negative. Returns buf. */
const char *cli_age(int64_t seconds, char buf[static CLI_AGE_MAX]);

/* The server's timestamps, "2026-01-15T10:30:00.123456+00:00" (or Z). False for anything else. */
bool cli_parse_time(const char *s, time_t *ret);

/* "K=V"; ret_n is the length of K, which must be there. */
bool cli_split_pair(const char *s, size_t *ret_n, const char **ret_value);

/* Percent-encoded for a path segment or a query value: all but letters, digits and "-._~" (RFC 3986, section 2.3). */
char *cli_percent(const char *s);
