/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes in JSON: base64 with padding, without line breaks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The bytes of base64 text, in place. False for what is none. */
bool base64_decode(char *text, size_t n, size_t *ret_n);
/* malloc'ed, with a NUL behind it; NULL: memory is out. */
char *base64_encode(const void *bytes, size_t n);
