/* SPDX-License-Identifier: Apache-2.0 */
#include "e2b/target.h"

#include <stdio.h>
#include <string.h>

#include "daemon/token.h"

/* The id in the header, if it can be one. */
static int read_id(const struct http_request *rq, char ret[static ROUTE_ID_SIZE], struct dw_err *err)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
	const char *id = http_header(rq, "E2b-Sandbox-Id");
	const size_t n = id ? strlen(id) : 0;
	if (!n || n >= ROUTE_ID_SIZE || strspn(id, plain) != n)
		return dw_err_set(
			err, DW_ERR_INVALID, "invalid_sandbox_id",
			"the header E2b-Sandbox-Id must name a sandbox: clients send it when their sandbox URL "
			"(E2B_SANDBOX_URL) is set");
	memcpy(ret, id, n + 1);
	return 0;
}

bool e2b_has_token(const struct http_request *rq, const char *id)
{
	return token_check(rq->app, TOKEN_ENVD, id, http_header(rq, "X-Access-Token"));
}

int e2b_take_sandbox(struct http_request *rq, const char *id, struct dw_err *err)
{
	auto_record struct record r = { 0 };
	if (manager_info(rq->app->manager, id, &r, err) < 0)
		return -1;
	snprintf(rq->id, sizeof(rq->id), "%s", r.id);
	snprintf(rq->caller.owner, sizeof(rq->caller.owner), "%s", r.owner);
	return 0;
}

int e2b_target(struct http_request *rq, struct dw_err *err)
{
	char id[ROUTE_ID_SIZE];
	return read_id(rq, id, err) < 0 ? -1 : e2b_take_sandbox(rq, id, err);
}

int e2b_admit(struct http_request *rq, struct dw_err *err)
{
	char id[ROUTE_ID_SIZE];
	if (read_id(rq, id, err) < 0)
		return -1;
	if (!e2b_has_token(rq, id))
		return dw_err_set(
			err, DW_ERR_UNAUTHORIZED, "unauthorized",
			"the access token is missing or not this sandbox's: the header X-Access-Token must hold the "
			"envdAccessToken that the sandbox was created or connected with");
	if (e2b_take_sandbox(rq, id, err) < 0)
		return -1;
	/* In the request log, where a key's id stands: no stranger's request. */
	snprintf(rq->caller.key_id, sizeof(rq->caller.key_id), "token");
	return 0;
}

int e2b_check_running(struct http_request *rq, struct dw_err *err)
{
	struct sandbox *s;
	if (manager_enter(rq->app->manager, rq->id, &s, err) == 0) {
		manager_leave(s);
		return 0;
	}
	/* Others' operations take every place, but here none is begun. */
	return err->kind == DW_ERR_LIMIT ? 0 : -1;
}
