/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 (RFC 4648, section 4): with padding, without line breaks. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Characters that n bytes become. */
#define BASE64_LENGTH(n) (((n) + 2) / 3 * 4)

/* Writes BASE64_LENGTH(n) characters, without a NUL. */
void base64_encode(const void *data, size_t n, char *out);
/*
 * out has room for n / 4 * 3 bytes; *ret_n: how many there are. False for what the encoder does not write: other characters,
 * padding that is missing or in the middle, bits set in what is padded away.
 */
bool base64_decode(const char *text, size_t n, uint8_t *out, size_t *ret_n);
