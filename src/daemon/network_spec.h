/* SPDX-License-Identifier: Apache-2.0 */
/* The `network` object of a request: checked, and turned into a policy image for the gate. */
#pragma once

#include <stdbool.h>

#include "core/err.h"
#include "daemon/jsonx.h"

/*
 * network: the object as given, or NULL (absent). field names it in messages ("network"). On success *ret_fd is a sealed memfd with the
 * image; the caller closes it. allow_out that is given, also as null or [], denies what it does not name; a network without lists
 * is the server's default (default_allow). INVALID "invalid_field", "invalid_network_entry", "unsupported_option", ...
 */
int DW_MUST_USE network_spec_compile(const json_t *network, bool default_allow, int *ret_fd, struct dw_err *err);
