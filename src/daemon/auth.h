/* SPDX-License-Identifier: Apache-2.0 */
/* The key file: the first API key, made at the first start, and where clients of this machine find it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

#define AUTH_HASH_SIZE 32

/* Reads the key file, or makes it (mode 0600) with a fresh key when it does not exist. *ret_made tells which; hash: the key's SHA-256. */
int DW_MUST_USE auth_load(const char *path, uint8_t hash[static AUTH_HASH_SIZE], bool *ret_made, struct dw_err *err);

void auth_sha256(const void *data, size_t n, uint8_t out[static AUTH_HASH_SIZE]);
