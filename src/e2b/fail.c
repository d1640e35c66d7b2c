/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "e2b/api.h"
#include "e2b/connect.h"

/* Whether the sandbox that an envd call is about does not run. A repeat does no harm where nothing was begun. */
static bool not_running(const struct http_request *rq)
{
	static const char *const codes[] = { "sandbox_not_found", "sandbox_killed", "sandbox_gone", "sandbox_paused",
					     "sandbox_not_running" };
	bool any = false;
	for (size_t i = 0; i < DW_COUNT(codes); i++)
		any |= strcmp(rq->err.code, codes[i]) == 0;
	/* Calls with an API key say 404, as for any other resource. */
	return any && rq->route && (rq->route->admit || rq->route->open);
}

struct MHD_Response *e2b_fail(const struct http_request *rq, unsigned *status)
{
	auto_json json_t *plain = http_error_json(&rq->err);
	/* Clients take 502 for "does not run", and repeat. */
	if (not_running(rq))
		*status = rq->err.begun ? MHD_HTTP_CONFLICT : MHD_HTTP_BAD_GATEWAY;
	if (rq->route && connect_is_call(rq->route))
		return connect_fail(rq, status);
	/* A request that is written to a full disk again does no harm. */
	if (strcmp(rq->err.code, "not_enough_space") == 0)
		*status = MHD_HTTP_INSUFFICIENT_STORAGE;
	if (strcmp(rq->err.code, "unsupported_encoding") == 0)
		*status = MHD_HTTP_UNSUPPORTED_MEDIA_TYPE;
	/* Their clients know no 410: what was killed is not there. */
	if (*status == MHD_HTTP_GONE)
		*status = MHD_HTTP_NOT_FOUND;
	return http_json_response(json_pack("{si sO sO}", "code", (int)*status, "message",
					    json_object_get(plain, "message"), "error_code",
					    json_object_get(plain, "code")));
}
