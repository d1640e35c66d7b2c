/* SPDX-License-Identifier: Apache-2.0 */
#include "e2b/files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/api.h"
#include "daemon/clock.h"
#include "daemon/token.h"
#include "e2b/api.h"
#include "e2b/path.h"
#include "e2b/signature.h"
#include "e2b/target.h"

#define EXPIRES_DIGITS 20u /* of the largest number of 64 bits */

struct signed_url {
	struct signature_text text;
	const char *signature;
};

/* Anybody may ask, and is judged once for each sandbox: what nobody honest has signed is not worth that. */
static bool is_plausible(const struct signed_url *u)
{
	return u->signature && strlen(u->signature) == SIGNATURE_SIZE - 1 && strlen(u->text.path) <= DAEMON_PATH_MAX &&
	       strlen(u->text.user) <= DAEMON_USER_MAX &&
	       (!u->text.expires || strlen(u->text.expires) <= EXPIRES_DIGITS);
}

static int read_signed(const struct http_request *rq, struct signed_url *ret, struct dw_err *err)
{
	const char *path = NULL, *user = NULL;
	if (http_query(rq, "path", &path, err) < 0 || http_query(rq, "username", &user, err) < 0 ||
	    http_query(rq, "signature", &ret->signature, err) < 0 ||
	    http_query(rq, "signature_expiration", &ret->text.expires, err) < 0)
		return -1;
	ret->text.path = path ? path : "";
	ret->text.user = user ? user : "";
	ret->text.operation = strcmp(rq->route->method, "GET") == 0 ? "read" : "write";
	if (!is_plausible(ret))
		ret->signature = NULL;
	return 0;
}

static enum signature_verdict judge(const struct http_request *rq, const struct signed_url *u,
				    const struct evp_md_ctx_st *begun, const char *id)
{
	char token[TOKEN_SIZE];
	token_make(rq->app, TOKEN_ENVD, id, token);
	return signature_judge(begun, &u->text, token, u->signature, clock_wall_us() / 1000000);
}

struct ids {
	char (*id)[RECORD_ID_SIZE];
	size_t n, cap;
};

static void ids_done(struct ids *ids)
{
	free(ids->id);
}

static void add_id(void *arg, const struct record *r)
{
	struct ids *ids = arg;
	if (ids->n < ids->cap)
		snprintf(ids->id[ids->n++], sizeof(ids->id[0]), "%s", r->id);
}

/* The sandbox whose token has signed: a digest or two for each that is alive, away from the manager's lock. */
static enum signature_verdict find_signer(struct http_request *rq, const struct signed_url *u,
					  const struct evp_md_ctx_st *begun, char ret[static RECORD_ID_SIZE])
{
	__attribute__((cleanup(ids_done))) struct ids ids = { .cap = DAEMON_SANDBOX_MAX };
	struct dw_err err = { 0 };
	ids.id = calloc(ids.cap, sizeof(*ids.id));
	if (!ids.id || manager_alive_each(rq->app->manager, add_id, &ids, &err) < 0)
		return SIGNATURE_WRONG;
	for (size_t i = 0; i < ids.n; i++) {
		const enum signature_verdict v = judge(rq, u, begun, ids.id[i]);
		if (v == SIGNATURE_WRONG)
			continue;
		snprintf(ret, RECORD_ID_SIZE, "%s", ids.id[i]);
		return v;
	}
	return SIGNATURE_WRONG;
}

static enum signature_verdict judge_url(struct http_request *rq, const struct signed_url *u,
					char ret[static RECORD_ID_SIZE])
{
	const char *named = http_header(rq, "E2b-Sandbox-Id");
	if (!u->signature || (named && strlen(named) >= RECORD_ID_SIZE))
		return SIGNATURE_WRONG;
	struct evp_md_ctx_st *begun = signature_begin(&u->text);
	if (named)
		snprintf(ret, RECORD_ID_SIZE, "%s", named);
	const enum signature_verdict v = named ? judge(rq, u, begun, named) : find_signer(rq, u, begun, ret);
	signature_end(begun);
	return v;
}

int files_admit(struct http_request *rq, struct dw_err *err)
{
	struct signed_url u = { 0 };
	char id[RECORD_ID_SIZE] = "";
	if (http_header(rq, "X-Access-Token"))
		return e2b_admit(rq, err);
	if (read_signed(rq, &u, err) < 0)
		return -1;
	switch (judge_url(rq, &u, id)) {
	case SIGNATURE_RIGHT:
		return e2b_take_sandbox(rq, id, err);
	case SIGNATURE_EXPIRED:
		return dw_err_set(err, DW_ERR_UNAUTHORIZED, "signature_expired",
				  "the signature of this URL has expired");
	case SIGNATURE_WRONG:
		break;
	}
	return dw_err_set(
		err, DW_ERR_UNAUTHORIZED, "unauthorized",
		"the access token is missing (header X-Access-Token), and the URL is not signed with that of a "
		"sandbox that is alive for this path, user and operation");
}

int files_query_read(const struct http_request *rq, struct files_query *ret, struct dw_err *err)
{
	*ret = (struct files_query){ 0 };
	if (http_query(rq, "path", &ret->path, err) < 0 || http_query(rq, "username", &ret->user, err) < 0)
		return -1;
	if (ret->path && !*ret->path)
		ret->path = NULL;
	return api_check_user(&ret->user, "username", err);
}

int e2b_file_read(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct files_query q;
	char path[E2B_PATH_SIZE];
	if (files_query_read(rq, &q, err) < 0)
		return -1;
	if (!q.path)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_path", "path must name a file");
	if (e2b_path(q.path, "path", path, err) < 0)
		return -1;
	return api_file_download(rq, q.user, path, &rp->response, err);
}
