/* SPDX-License-Identifier: Apache-2.0 */
/* The one canonical form of a host name, used by the API, DNS, SNI, Host and policy checks alike. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/macros.h"

/* RFC 1035 section 2.3.4: 253 visible characters and a NUL. */
#define DW_HOST_MAX  253
#define DW_HOST_SIZE (DW_HOST_MAX + 1)

enum dw_host_status {
	DW_HOST_BAD = 0, /* not a host name in canonicalisable form; *ret_why says which rule */
	DW_HOST_OK,
};

/*
 * Writes the canonical form of s: ASCII lower case, one trailing dot dropped, labels of 1..63 letters, digits, '-' and
 * '_' ('-' neither first nor last), at most 253 characters, and not a number in any spelling that a resolver would take for an
 * address ("1.2.3.4", "2130706433", "0x7f.1", "127.1": a name whose last label is all digits or starts with 0x is
 * refused). Non-ASCII bytes, NUL, control characters, spaces, empty labels, '..' are refused, never repaired.
 * A single label ("localhost", "db") is a valid host name. On DW_HOST_BAD ret is untouched and *ret_why (may be NULL)
 * points to a static phrase such as "an empty label".
 */
enum dw_host_status DW_MUST_USE dw_host_canon(const char *s, size_t n, char ret[static DW_HOST_SIZE],
					      const char **ret_why);
