/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /auth/me and /accounts: who the key belongs to, and the keys of that owner, for clients that have a log-in or a settings page. There
 * is no money here, and what is about money says so.
 */
#include "daemon/api.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "daemon/clock.h"

int api_auth_me(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	rp->json = json_pack("{ss ss}", "owner_id", rq->caller.owner, "key_id", rq->caller.key_id);
	return rp->json ? 0 : dw_err_errno(err, ENOMEM, "describing the key");
}

/* The account in the path is the key's own: of others nothing is said, not even whether they exist. */
static int check_own(const struct http_request *rq, struct dw_err *err)
{
	if (strcmp(rq->id, rq->caller.owner) == 0)
		return 0;
	return dw_err_set(err, DW_ERR_FORBIDDEN, "forbidden", "cannot access another account");
}

static int oldest(void *arg, const struct dw_key *k)
{
	int64_t *since = arg;
	if (!*since || k->created_us < *since)
		*since = k->created_us;
	return 0;
}

int api_account(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	int64_t since = 0;
	char created[CLOCK_ISO_SIZE];
	/* An owner is there since its first key is. */
	if (check_own(rq, err) < 0 || keys_each(rq->app->keys, rq->caller.owner, oldest, &since, err) < 0)
		return -1;
	rp->json = json_pack("{ss ss? ss ss}", "owner_id", rq->caller.owner, "email", NULL, "tier", "self-hosted",
			     "created_at", clock_iso(since, created));
	return rp->json ? 0 : dw_err_errno(err, ENOMEM, "describing the account");
}

/* null for never. */
static json_t *time_json(int64_t us)
{
	char text[CLOCK_ISO_SIZE];
	return us ? json_string(clock_iso(us, text)) : json_null();
}

static json_t *key_json(const struct dw_key *k)
{
	char masked[DW_KEY_HINT_SIZE + 4];
	snprintf(masked, sizeof(masked), "%s...", k->hint);
	return json_pack("{ss ss ss so so sb}", "key_id", k->id, "name", k->name, "masked_key", masked, "created_at",
			 time_json(k->created_us), "last_used_at", time_json(k->last_used_us), "revoked",
			 k->revoked_us != 0);
}

struct rows {
	json_t *array;
	struct dw_err *err;
};

static int add_row(void *arg, const struct dw_key *k)
{
	const struct rows *rows = arg;
	return json_array_append_new(rows->array, key_json(k)) == 0
		       ? 0
		       : dw_err_errno(rows->err, ENOMEM, "listing API keys");
}

int api_key_list(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	auto_json json_t *array = json_array();
	struct rows rows = { .array = array, .err = err };
	if (check_own(rq, err) < 0 || keys_each(rq->app->keys, rq->caller.owner, add_row, &rows, err) < 0)
		return -1;
	rp->json = json_pack("{sO}", "api_keys", array);
	return rp->json ? 0 : dw_err_errno(err, ENOMEM, "listing API keys");
}

int api_key_create(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	const char *name = NULL;
	char key[DW_KEY_SIZE];
	struct dw_key made;
	if (check_own(rq, err) < 0 || jsonx_string(rq->json, "name", &name, err) < 0)
		return -1;
	if (!name)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "name is missing: what the key is for");
	if (keys_create(rq->app->keys, name, rq->caller.owner, key, &made, err) < 0)
		return -1;
	rp->status = 201;
	rp->json = json_pack("{ss ss ss so}", "key_id", made.id, "api_key", key, "name", made.name, "created_at",
			     time_json(made.created_us));
	OPENSSL_cleanse(key, sizeof(key));
	if (rp->json)
		return 0;
	/* Nobody will ever learn it. */
	DW_IGNORE(keys_revoke(rq->app->keys, made.id, NULL, err));
	return dw_err_errno(err, ENOMEM, "describing the API key");
}

int api_key_revoke(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	if (check_own(rq, err) < 0 || keys_revoke(rq->app->keys, rq->part, rq->caller.owner, err) < 0)
		return -1;
	rp->json = json_pack("{ss sb}", "key_id", rq->part, "revoked", 1);
	return rp->json ? 0 : dw_err_errno(err, ENOMEM, "describing the API key");
}

int api_no_billing(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	if (check_own(rq, err) < 0)
		return -1;
	return dw_err_set(err, DW_ERR_NOT_FOUND, "no_billing",
			  "this server has no billing: no wallet, no usage and no deposits are kept");
}
