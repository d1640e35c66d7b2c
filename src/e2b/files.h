/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One file of a sandbox by /files. A request carries the sandbox's token, or its URL is signed with it. A signed URL need not say which sandbox
 * it is about: their client drops the path that a sandbox URL has, and sends no headers; then it is the one whose token has signed it.
 */
#pragma once

#include "daemon/http.h"

/* The admission of the routes (daemon/routes.h). UNAUTHORIZED, and as e2b_admit's. */
int DW_MUST_USE files_admit(struct http_request *rq, struct dw_err *err);

/* What a query says. */
struct files_query {
	const char *path; /* NULL: not given */
	const char *user; /* never NULL, and checked */
};
int DW_MUST_USE files_query_read(const struct http_request *rq, struct files_query *ret, struct dw_err *err);
