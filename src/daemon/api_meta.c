/* SPDX-License-Identifier: Apache-2.0 */
/* What the server says of itself to programs: its numbers, and its own description. */
#include "daemon/api.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/metrics_text.h"
#include "daemon/openapi_text.h"

int api_prometheus(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	size_t n = 0;
	char *text = metrics_text(rq->app, &n);
	rp->response = text ? MHD_create_response_from_buffer(n, text, MHD_RESPMEM_MUST_FREE) : NULL;
	if (!rp->response) {
		free(text);
		return dw_err_errno(err, ENOMEM, "writing the metrics");
	}
	MHD_add_response_header(rp->response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
	return 0;
}

int api_openapi(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	union {
		const void *in;
		void *out;
	} text = { .in = openapi_text }; /* libmicrohttpd only reads what is persistent, and has no const */
	rp->response = MHD_create_response_from_buffer(openapi_text_n, text.out, MHD_RESPMEM_PERSISTENT);
	if (!rp->response)
		return dw_err_errno(err, ENOMEM, "describing the API");
	MHD_add_response_header(rp->response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	return 0;
}
