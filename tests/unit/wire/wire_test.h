/* SPDX-License-Identifier: Apache-2.0 */
/* Support for the tests of src/wire: a tiny assembler for binary inputs, a guard page, rows as tests. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/rd.h"

/*
 * Assembles text into out; returns the size. Tokens, separated by white space:
 *   c00c        bytes in hex
 *   n:a.b       a DNS name, root included        l:a.b   labels without the root
 *   s:text      text as it is, up to white space
 *   x300:61     a byte 300 times
 *   [ ... ]     what is between, behind its length in two bytes; [1 and [3 for one and three bytes
 */
size_t assemble(const char *text, uint8_t *out, size_t cap);

/* A copy that ends right before an unmapped page, so that one byte read too far is a crash. Valid until the next call. */
const uint8_t *at_guard(const void *data, size_t n);

/* Registers one test per row; the first member of a row is its name. */
void add_rows(const void *rows, size_t count, size_t size, void (*body)(void **state));
void add_test(const char *name, void (*body)(void **state));
int run_all(const char *group);
#define ADD_ROWS(rows, body) add_rows(rows, sizeof(rows) / sizeof((rows)[0]), sizeof((rows)[0]), body)

const char *status_name(enum dw_parse status);
#define assert_status(got, want) assert_string_equal(status_name(got), status_name(want))
