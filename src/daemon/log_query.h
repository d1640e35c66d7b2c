/* SPDX-License-Identifier: Apache-2.0 */
/* What GET /sandboxes/{id}/network/log asks for. */
#pragma once

#include "daemon/store.h"

struct log_query {
	struct log_filter filter; /* its sandbox is not set here */
	uint64_t limit;           /* 0 = not given */
	int64_t before;           /* 0 = not given */
	bool follow;
};
#define LOG_QUERY_ANY                    \
	{                                \
		.filter = LOG_FILTER_ANY \
	}

/*
 * One parameter of the query string; value NULL counts as "". Unknown names are ignored; a name that is repeated counts as
 * the last. INVALID "invalid_field", naming the parameter.
 */
int DW_MUST_USE log_query_add(struct log_query *q, const char *key, const char *value, struct dw_err *err);
/* What the parameters mean together; after the last. INVALID. */
int DW_MUST_USE log_query_check(const struct log_query *q, struct dw_err *err);
