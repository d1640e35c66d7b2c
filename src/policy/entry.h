/* SPDX-License-Identifier: Apache-2.0 */
/* One entry of allow_out or deny_out: text in, struct out; strict, no allocation. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "policy/host.h"

enum dw_entry_kind {
	DW_ENTRY_NONE = 0,
	DW_ENTRY_ALL,    /* "*", "0.0.0.0/0", "::/0": every target of both families */
	DW_ENTRY_HOST,   /* host */
	DW_ENTRY_SUFFIX, /* "*.host": host holds what follows "*." */
	DW_ENTRY_REGEX,  /* "~regex" */
	DW_ENTRY_PREFIX, /* an address (full length) or a CIDR */
};

struct dw_entry {
	enum dw_entry_kind kind;
	uint16_t port_lo; /* 0..65535 without a port, else 1 <= lo <= hi */
	uint16_t port_hi;
	struct dw_prefix prefix; /* PREFIX; never of length 0 */
	char host[DW_HOST_SIZE]; /* HOST and SUFFIX, canonical */
	const char *regex;       /* REGEX: span in the caller's text, "~" and port left out; syntax not checked here */
	size_t regex_n;
};

/* Parses s[0..n). On false ret is untouched and *ret_why points to a static phrase that says what is wrong. */
bool DW_MUST_USE dw_entry_parse(const char *s, size_t n, struct dw_entry *ret, const char **ret_why);
