/* SPDX-License-Identifier: Apache-2.0 */
/* What is typed into a sandbox's terminal, on its way to the server, which takes text. Pure. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/macros.h"

#define KEYS_MAX 4096u /* bytes of one go; more waits in the terminal */

struct keys {
	bool escapes; /* "~." at the begin of a line leaves, "~~" is one "~" */
	/* private */
	bool in_line, after_tilde;
	unsigned char tail[4]; /* the begin of a character that is not complete */
	size_t tail_n;
};

/*
 * What n bytes (up to KEYS_MAX) add, as a JSON string; one without characters when there is nothing yet. Bytes that no UTF-8 has become
 * U+FFFD, and a NUL stays. end: nothing comes behind it. False: memory is out. ret_leave: "~." was typed, what stood before it is in ret.
 */
bool DW_MUST_USE keys_take(struct keys *k, const char *p, size_t n, bool end, json_t **ret, bool *ret_leave);
