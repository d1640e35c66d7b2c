/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the handlers of templates. */
#pragma once

#include "daemon/http.h"
#include "daemon/templates.h"

/* Launches the build (taken), and answers: at once, or when it has ended. */
int DW_MUST_USE api_build_reply(struct http_request *rq, struct build *b_take, bool background, struct http_reply *rp,
				struct dw_err *err);
