/* SPDX-License-Identifier: Apache-2.0 */
/* Members of their requests: those that this server knows, and those that it does not do. */
#pragma once

#include "daemon/jsonx.h"

struct member {
	const char *name;
	const char *refused; /* what it would mean, when this server does not do it; NULL when it does */
};

/*
 * Every member of obj (NULL: none) is one of known, or asks for nothing: null, false, "", [] and {} do. INVALID
 * "unsupported_option" otherwise, which names it. before: stands before the names in messages.
 */
int DW_MUST_USE members_check(const json_t *obj, const char *before, const struct member *known, size_t n,
			      struct dw_err *err);
