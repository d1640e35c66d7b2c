/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sandbox that an envd call is about. Its id stands in the header E2b-Sandbox-Id, and its token in X-Access-Token: who has that may do
 * everything inside the sandbox, and needs no API key.
 */
#pragma once

#include "daemon/http.h"

/* The port that clients mean when they mean envd. */
#define E2B_ENVD_PORT 49983

/*
 * Whose sandbox a request is about. Both set the request's id to that of a sandbox that there was at some time, and its caller to
 * the sandbox's owner. INVALID "invalid_sandbox_id" without the header, NOT_FOUND.
 */
/* Admission of a route (daemon/routes.h) by the token. UNAUTHORIZED comes first, so that it tells nothing of whether there is such a sandbox. */
int DW_MUST_USE e2b_admit(struct http_request *rq, struct dw_err *err);
/* By nothing else, so no admission, which makes its client a known one: for the handler of an open route. */
int DW_MUST_USE e2b_target(struct http_request *rq, struct dw_err *err);

/* Whether the request carries the token of the sandbox with this id. */
bool e2b_has_token(const struct http_request *rq, const char *id);
/* A sandbox found another way becomes the request's, as above. NOT_FOUND. */
int DW_MUST_USE e2b_take_sandbox(struct http_request *rq, const char *id, struct dw_err *err);
/*
 * A sandbox of the request that is alive: GONE, NOT_FOUND, CONFLICT "sandbox_paused" otherwise. These leave as 502, by which clients know that
 * it does not run.
 */
int DW_MUST_USE e2b_check_running(struct http_request *rq, struct dw_err *err);
