/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers of the E2B routes, one file per resource. */
#pragma once

#include "daemon/api.h"

/* api_health.c */
api_handler e2b_health;

/* fail.c: how errors look. {"code": <HTTP status>, "message", "error_code": <our code>} */
struct MHD_Response *e2b_fail(const struct http_request *rq, unsigned *status);
