/* SPDX-License-Identifier: Apache-2.0 */
/* The one API key: its file, and comparing what a request carries with it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

#define AUTH_HASH_SIZE 32

struct auth {
	uint8_t hash[AUTH_HASH_SIZE]; /* SHA-256 of the key; the key itself is not kept */
};

/* Reads the key file, or makes it (mode 0600) with a fresh key when it does not exist. *ret_made tells which. */
int DW_MUST_USE auth_load(struct auth *a, const char *path, bool *ret_made, struct dw_err *err);

/*
 * Either header is enough: "Authorization: Bearer <key>" or "X-API-Key: <key>" (NULL = absent). When both are there, one right
 * one suffices. Takes the same time whichever byte differs.
 */
bool auth_check(const struct auth *a, const char *authorization, const char *api_key);

void auth_sha256(const void *data, size_t n, uint8_t out[static AUTH_HASH_SIZE]);
