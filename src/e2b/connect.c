/* SPDX-License-Identifier: Apache-2.0 */
#include "e2b/connect.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "daemon/api.h"
#include "daemon/base64.h"

#define PING_DEFAULT_S 90u
#define PING_MAX_S     3600u
#define TIMEOUT_DIGITS 10u

static bool is_stream(const struct route *r)
{
	return r->body == ROUTE_BYTES;
}

bool connect_is_call(const struct route *r)
{
	return strstr(r->pattern, "/process.Process/") || strstr(r->pattern, "/filesystem.Filesystem/");
}

/* The codec; parameters as "; charset=utf-8" say nothing new. */
static int check_type(const struct http_request *rq, struct dw_err *err)
{
	const char *want = is_stream(rq->route) ? "application/connect+json" : "application/json";
	const char *type = http_header(rq, MHD_HTTP_HEADER_CONTENT_TYPE);
	const size_t n = type ? strcspn(type, "; \t") : 0;
	if (n == strlen(want) && strncasecmp(type, want, n) == 0)
		return 0;
	return dw_err_set(err, DW_ERR_INVALID, "unsupported_media_type", "this call takes %s", want);
}

static int check_encoding(const struct http_request *rq, struct dw_err *err)
{
	const char *name = is_stream(rq->route) ? "Connect-Content-Encoding" : MHD_HTTP_HEADER_CONTENT_ENCODING;
	const char *encoding = http_header(rq, name), *version = http_header(rq, "Connect-Protocol-Version");
	if (encoding && strcasecmp(encoding, "identity") != 0)
		return dw_err_set(err, DW_ERR_INVALID, "unsupported_encoding",
				  "%s: messages are taken without compression only", name);
	if (version && strcmp(version, "1") != 0)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_header", "Connect-Protocol-Version must be 1");
	return 0;
}

static int read_timeout(const struct http_request *rq, uint32_t *ret, struct dw_err *err)
{
	const char *text = http_header(rq, "Connect-Timeout-Ms");
	uint64_t ms = 0;
	if (!text)
		return 0;
	if (strlen(text) > TIMEOUT_DIGITS || !jsonx_uint(text, UINT64_MAX, &ms) || !ms)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_header",
				  "Connect-Timeout-Ms must be a positive number of at most %u digits", TIMEOUT_DIGITS);
	*ret = (uint32_t)DW_MIN(ms, (uint64_t)UINT32_MAX);
	return 0;
}

/* What is no number of seconds is no reason to refuse a call. */
static int64_t read_ping_ms(const struct http_request *rq)
{
	const char *text = http_header(rq, "Keepalive-Ping-Interval");
	uint64_t s = 0;
	if (!text || !jsonx_uint(text, UINT64_MAX, &s) || !s)
		s = PING_DEFAULT_S;
	return (int64_t)DW_MIN(s, (uint64_t)PING_MAX_S) * 1000;
}

/* "Basic " and base64 of "user:"; the password is nobody's business: the token has decided. */
static int read_user(const struct http_request *rq, char ret[static DAEMON_USER_MAX + 1], struct dw_err *err)
{
	const char *given = http_header(rq, MHD_HTTP_HEADER_AUTHORIZATION), *user = NULL;
	uint8_t text[2 * DAEMON_USER_MAX];
	size_t n = 0;
	if (given && strncasecmp(given, "Basic ", 6) == 0) {
		given += 6 + strspn(given + 6, " ");
		if (strlen(given) / 4 * 3 >= sizeof(text) || !base64_decode(given, strlen(given), text, &n) ||
		    memchr(text, 0, n))
			return dw_err_set(err, DW_ERR_INVALID, "invalid_user",
					  "Authorization: Basic must hold the base64 of a short \"user:\"");
		text[n] = '\0';
		text[strcspn((char *)text, ":")] = '\0';
		user = (char *)text;
	}
	if (api_check_user(&user, "Authorization", err) < 0)
		return -1;
	snprintf(ret, DAEMON_USER_MAX + 1, "%s", user);
	return 0;
}

/* The body of a stream's request: exactly one envelope with a message. */
static int open_envelope(struct http_request *rq, struct dw_err *err)
{
	struct connect_frame f;
	const size_t n = (size_t)rq->body_n;
	switch (connect_frame_parse(n ? rq->body : "", n, DAEMON_JSON_MAX - CONNECT_HEAD, &f)) {
	case DW_PARSE_OK:
		break;
	case DW_PARSE_BIG:
		return dw_err_set(err, DW_ERR_TOO_LARGE, "body_too_large", "the message is larger than %u MiB",
				  DAEMON_JSON_MAX >> 20);
	case DW_PARSE_MORE:
		return dw_err_set(err, DW_ERR_INVALID, "invalid_envelope", "the request's envelope is not whole");
	case DW_PARSE_BAD:
		return dw_err_set(err, DW_ERR_INVALID, "invalid_envelope", "the request's envelope has unknown flags");
	}
	if (f.flags)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_envelope",
				  "the request's envelope must hold a message that is not compressed");
	if (f.frame_n != n)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_envelope", "the request must be one envelope");
	/* A message without a field may be written as nothing. */
	return jsonx_parse_object(f.message.n ? (const char *)f.message.p : "{}", f.message.n ? f.message.n : 2,
				  &rq->json, err);
}

int connect_begin(struct http_request *rq, struct connect_call *ret, struct dw_err *err)
{
	struct connect_call c = { .ping_ms = read_ping_ms(rq) };
	if (check_type(rq, err) < 0 || check_encoding(rq, err) < 0 || read_timeout(rq, &c.timeout_ms, err) < 0 ||
	    read_user(rq, c.user, err) < 0 || (is_stream(rq->route) && open_envelope(rq, err) < 0))
		return -1;
	*ret = c;
	return 0;
}

struct code_row {
	const char *ours, *theirs;
};

/* Where the kind alone says too little. */
static const struct code_row codes[] = {
	{ "already_exists", "already_exists" },
	{ "process_ended", "not_found" },
	{ "stdin_full", "resource_exhausted" },
	{ "cancelled", "canceled" },
	{ "data_loss", "data_loss" },
	{ "stream_unimplemented", "unimplemented" },
	{ "unsupported_encoding", "unimplemented" },
	{ "process_timeout", "deadline_exceeded" },
	{ "stopping", "unavailable" },
};

static const char *const kinds[DW_ERR__COUNT] = {
	[DW_ERR_INTERNAL] = "internal",
	[DW_ERR_INVALID] = "invalid_argument",
	[DW_ERR_UNAUTHORIZED] = "unauthenticated",
	[DW_ERR_FORBIDDEN] = "permission_denied",
	[DW_ERR_NOT_FOUND] = "not_found",
	[DW_ERR_METHOD] = "unimplemented",
	[DW_ERR_TIMEOUT] = "deadline_exceeded",
	[DW_ERR_CONFLICT] = "failed_precondition",
	[DW_ERR_GONE] = "unavailable",
	[DW_ERR_TOO_LARGE] = "resource_exhausted",
	[DW_ERR_UNPROCESSABLE] = "invalid_argument",
	[DW_ERR_LIMIT] = "resource_exhausted",
	[DW_ERR_UNAVAILABLE] = "unavailable",
};

static const char *code_of(const struct dw_err *err)
{
	/* sandbox_not_found, sandbox_paused: it can not be talked to. */
	if (strncmp(err->code, "sandbox_", 8) == 0 && strcmp(err->code, "sandbox_limit") != 0)
		return "unavailable";
	for (size_t i = 0; i < DW_COUNT(codes); i++)
		if (strcmp(codes[i].ours, err->code) == 0)
			return codes[i].theirs;
	return kinds[err->kind];
}

json_t *connect_error_json(const struct dw_err *err)
{
	auto_json json_t *plain = http_error_json(err);
	return json_pack("{ss sO}", "code", code_of(err), "message", json_object_get(plain, "message"));
}

static struct MHD_Response *fail_stream(const struct dw_err *err)
{
	struct connect_out o = { 0 };
	struct MHD_Response *r = NULL;
	if (connect_put_end(&o, err))
		r = MHD_create_response_from_buffer(o.n, o.p, MHD_RESPMEM_MUST_COPY);
	connect_out_done(&o);
	if (r)
		MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, "application/connect+json");
	return r;
}

struct MHD_Response *connect_fail(const struct http_request *rq, unsigned *status)
{
	if (strcmp(rq->err.code, "unsupported_media_type") == 0)
		*status = MHD_HTTP_UNSUPPORTED_MEDIA_TYPE;
	else if (is_stream(rq->route) && *status != MHD_HTTP_UNAUTHORIZED && *status != MHD_HTTP_BAD_GATEWAY) {
		*status = MHD_HTTP_OK;
		return fail_stream(&rq->err);
	}
	return http_json_response(connect_error_json(&rq->err));
}
