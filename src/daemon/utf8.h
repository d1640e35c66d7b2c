/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 of untrusted bytes: checking, and making valid by U+FFFD. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Length of the longest valid prefix. */
size_t utf8_valid_prefix(const void *data, size_t n);

/* Valid as far as it goes: a sequence that the end cuts short is accepted. For the start of a longer text. */
bool utf8_valid_start(const void *data, size_t n);

/*
 * Text with each maximal invalid part replaced by U+FFFD (the Unicode recommendation, and what Python does).
 * malloc'ed with a NUL behind it, *ret_n bytes; NULL when memory is out.
 */
char *utf8_replace(const void *data, size_t n, size_t *ret_n);

/*
 * The first character of n > 0 bytes as it stands inside a JSON string, invalid ones as U+FFFD. Returns how many bytes it was made of;
 * *ret_n: how many it is now.
 */
#define UTF8_JSON_MAX 6
size_t utf8_json_char(const void *data, size_t n, char out[static UTF8_JSON_MAX], size_t *ret_n);

/* Into a fixed buffer for one-line messages: also control characters become U+FFFD; cut at a character boundary. */
void utf8_sanitize_line(const void *data, size_t n, char *out, size_t size);
