/* SPDX-License-Identifier: Apache-2.0 */
/* The limits of policy/limits.h as clients, operators and the gate write them. */
#pragma once

#include "core/err.h"
#include "daemon/jsonx.h"
#include "policy/limits.h"

/*
 * The `limits` object: obj NULL gives no limit (all zero). Members that are absent or null stay 0. INVALID "invalid_field", naming
 * the member and its range; a member that is no limit is refused, because a limit must not be dropped silently.
 */
int DW_MUST_USE limits_spec_parse(const json_t *obj, struct dw_limits *ret, struct dw_err *err);

/* One limit by the name it has in `limits`, from n bytes of decimal text: false when it is no number within its range. */
bool limits_spec_set(struct dw_limits *l, const char *name, const char *text, size_t n);
/* "a whole number between 1 and ...": its range, for messages. name must be that of a limit. */
const char *limits_spec_range(const char *name);

/* Those that are not 0, as an object; NULL when there is none. */
json_t *limits_spec_json(const struct dw_limits *l);
/* What own does not say comes from base. */
struct dw_limits limits_spec_over(const struct dw_limits *own, const struct dw_limits *base);
