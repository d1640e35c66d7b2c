/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/http.h"

#include <poll.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/utf8.h"

static const unsigned status_of[] = {
	[DW_ERR_INTERNAL] = 500,    [DW_ERR_INVALID] = 400,       [DW_ERR_UNAUTHORIZED] = 401,
	[DW_ERR_FORBIDDEN] = 403,   [DW_ERR_NOT_FOUND] = 404,     [DW_ERR_METHOD] = 405,
	[DW_ERR_TIMEOUT] = 408,     [DW_ERR_CONFLICT] = 409,      [DW_ERR_GONE] = 410,
	[DW_ERR_TOO_LARGE] = 413,   [DW_ERR_UNPROCESSABLE] = 422, [DW_ERR_LIMIT] = 429,
	[DW_ERR_UNAVAILABLE] = 503, [DW_ERR_BAD_GATEWAY] = 502,   [DW_ERR_GATEWAY_TIMEOUT] = 504,
};
_Static_assert(DW_COUNT(status_of) == DW_ERR__COUNT, "a status for each kind");

unsigned http_status(enum dw_err_kind kind)
{
	return (size_t)kind < DW_COUNT(status_of) ? status_of[kind] : 500;
}

json_t *http_error_json(const struct dw_err *err)
{
	/* A message may have been cut in the middle of a character. */
	char message[sizeof(err->message) * 3];
	utf8_sanitize_line(err->message, strlen(err->message), message, sizeof(message));
	return json_pack("{ss ss}", "message", message, "code", err->code[0] ? err->code : "internal");
}

static struct MHD_Response *text_response(char *text_take)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(strlen(text_take), text_take, MHD_RESPMEM_MUST_FREE);
	if (!r) {
		free(text_take);
		return NULL;
	}
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	return r;
}

struct MHD_Response *http_json_response(json_t *json_take)
{
	auto_json json_t *json = json_take;
	char *text = json ? json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	return text ? text_response(text) : NULL;
}

static void add_error_headers(const struct http_request *rq, struct MHD_Response *r)
{
	const struct dw_err *err = &rq->err;
	if (err->kind == DW_ERR_METHOD)
		MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, rq->allow);
	if (err->kind == DW_ERR_UNAUTHORIZED)
		MHD_add_response_header(r, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
	if (err->kind == DW_ERR_LIMIT || err->kind == DW_ERR_UNAVAILABLE ||
	    strcmp(err->code, "idempotency_in_progress") == 0)
		MHD_add_response_header(r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
}

static void log_failure(const struct http_request *rq, unsigned status)
{
	/* What a server inside a sandbox does is no failure of this one. */
	if (status >= 500 && rq->err.kind != DW_ERR_BAD_GATEWAY && rq->err.kind != DW_ERR_GATEWAY_TIMEOUT)
		log_event(LOG_LEVEL_ERROR, "request failed", "route", rq->route ? rq->route->pattern : "-", "id",
			  rq->id, "status", LOG_NUM(status), "message", rq->err.message, NULL);
}

static bool stopping(const struct app *app)
{
	struct pollfd p = { .fd = app->stop_fd, .events = POLLIN };
	return poll(&p, 1, 0) > 0;
}

enum MHD_Result http_send(struct http_request *rq, struct http_reply *rp)
{
	unsigned status = rp->status ? rp->status : 200;
	struct MHD_Response *r = NULL;
	if (rq->failed) {
		status = http_status(rq->err.kind);
		r = rq->table->fail ? rq->table->fail(rq, &status) : http_json_response(http_error_json(&rq->err));
		log_failure(rq, status);
		if (r)
			add_error_headers(rq, r);
	} else if (rp->response) {
		r = rp->response;
	} else {
		r = rp->text ? text_response(rp->text) : http_json_response(rp->json);
	}
	if (!r)
		return MHD_NO;
	/* A server that stops answers what it has begun, and keeps no connection; nor one that may be anybody's. */
	if (status != MHD_HTTP_SWITCHING_PROTOCOLS && (stopping(rq->app) || http_is_stranger(rq)))
		MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
	if (!MHD_get_response_header(r, "X-Request-Id"))
		MHD_add_response_header(r, "X-Request-Id", rq->request_id);
	rq->status = status;
	enum MHD_Result ret = MHD_queue_response(rq->conn, status, r);
	MHD_destroy_response(r);
	return ret;
}
