/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/api.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/clock.h"
#include "daemon/list_query.h"
#include "daemon/template_find.h"
#include "daemon/token.h"
#include "daemon/volume_attach.h"

int api_health(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	rp->json = json_pack("{ss ss ss si}", "status", "ok", "version", DECLAW_VERSION, "gate",
			     gatectl_is_up(rq->app->gate) ? "up" : "down", "sandboxes",
			     (int)manager_alive_count(rq->app->manager));
	return 0;
}

static int reply_record(const struct http_request *rq, struct http_reply *rp, const struct record *r,
			struct dw_err *err)
{
	rp->json = record_to_json(r, http_domain(rq));
	return rp->json ? 0 : dw_err_errno(err, ENOMEM, "describing the sandbox");
}

/* Published clients expect the tokens once, in the answer to a create. */
static int add_tokens(const struct app *app, const char *id, json_t *j, struct dw_err *err)
{
	static const char *const keys[] = { "envd_access_token", "traffic_access_token" };
	static const enum token_kind kinds[] = { TOKEN_ENVD, TOKEN_TRAFFIC };
	for (size_t i = 0; i < DW_COUNT(keys); i++) {
		char token[TOKEN_SIZE];
		token_make(app, kinds[i], id, token);
		if (json_object_set_new(j, keys[i], json_string(token)) < 0)
			return dw_err_errno(err, ENOMEM, "describing the sandbox");
	}
	return 0;
}

static int create_as(const struct http_request *rq, struct create_spec *spec, struct record *ret, struct dw_err *err)
{
	snprintf(spec->record.owner, sizeof(spec->record.owner), "%s", rq->caller.owner);
	const struct options *o = &rq->app->options;
	/* The template before the volumes: it says how large the disk is that they are copied to. */
	if (api_snapshot_use(rq, spec, err) < 0 ||
	    template_find(rq->app->store, o->data_dir, template_mb_max(o->template_mb), spec, err) < 0 ||
	    volume_attach(rq->app->volumes, rq->caller.owner, spec, err) < 0)
		return -1;
	return manager_create(rq->app->manager, spec, ret, err);
}

/* The answer as text, kept for replays. */
static int create(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	auto_create_spec struct create_spec spec = CREATE_SPEC_EMPTY;
	auto_record struct record r = { 0 };
	auto_json json_t *j = NULL;
	const struct create_rules rules = {
		.default_allow = rq->app->options.default_allow,
		.strict_security = rq->app->options.strict_security,
	};
	if (create_spec_parse(rq->json, &rules, &spec, err) < 0 || create_as(rq, &spec, &r, err) < 0)
		return -1;
	j = record_to_json(&r, http_domain(rq));
	if (j && json_array_size(spec.warnings) && json_object_set(j, "warnings", spec.warnings) < 0)
		json_decref(DW_TAKE(j));
	if (j && add_tokens(rq->app, r.id, j, err) == 0)
		rp->text = json_dumps(j, JSON_COMPACT);
	rp->status = 201;
	if (rp->text)
		return 0;
	/* Nobody will ever learn its id. */
	DW_IGNORE(manager_kill(rq->app->manager, r.id, "not reported", err));
	return dw_err_errno(err, ENOMEM, "describing the sandbox");
}

static int hash_body(const json_t *body, uint8_t hash[static AUTH_HASH_SIZE], struct dw_err *err)
{
	/* Parsed and sorted, so that a client may spell the same request in another way. */
	dw_autofree char *text = json_dumps(body, JSON_COMPACT | JSON_SORT_KEYS);
	if (!text)
		return dw_err_errno(err, ENOMEM, "reading the request");
	auth_sha256(text, strlen(text), hash);
	return 0;
}

int api_create(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	const char *given = http_header(rq, "Idempotency-Key");
	const char *owner = rq->caller.owner;
	uint8_t hash[AUTH_HASH_SIZE];
	if (!given)
		return create(rq, rp, err);
	size_t n = strlen(given);
	if (!n || n > DAEMON_KEY_MAX)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "Idempotency-Key must have 1 to %u characters",
				  DAEMON_KEY_MAX);
	if (hash_body(rq->json, hash, err) < 0)
		return -1;
	switch (idem_begin(rq->app->idem, owner, given, hash, clock_mono_ms(), &rp->text)) {
	case IDEM_NEW:
		if (create(rq, rp, err) < 0) {
			idem_abandon(rq->app->idem, owner, given);
			return -1;
		}
		idem_finish(rq->app->idem, owner, given, rp->text);
		return 0;
	case IDEM_REPLAY:
		rp->status = 201;
		return 0;
	case IDEM_BUSY:
		return dw_err_set(err, DW_ERR_CONFLICT, "idempotency_in_progress",
				  "a request with this Idempotency-Key is under way");
	case IDEM_MISMATCH:
		return dw_err_set(err, DW_ERR_UNPROCESSABLE, "idempotency_key_reused",
				  "this Idempotency-Key was used with another request body");
	case IDEM_FULL:
		break;
	}
	return dw_err_set(err, DW_ERR_LIMIT, "too_many_requests",
			  "too many requests with an Idempotency-Key at one time");
}

/* One page, cut out of everything that matches. */
struct page {
	const struct list_query *q;
	const char *domain, *owner;
	json_t *rows;
	uint64_t total;
};

static void add_row(void *arg, const struct record *r)
{
	struct page *p = arg;
	if ((r->state == RECORD_RUNNING && !p->q->running) || (r->state == RECORD_PAUSED && !p->q->paused))
		return;
	if (strcmp(r->owner, p->owner) != 0 || !list_query_matches(p->q, r->doc->metadata))
		return;
	if (p->total >= p->q->offset && json_array_size(p->rows) < p->q->limit)
		json_array_append_new(p->rows, record_to_json(r, p->domain));
	p->total++;
}

struct add_context {
	struct list_query *q;
	struct dw_err *err;
	bool failed;
};

static enum MHD_Result add_parameter(void *arg, enum MHD_ValueKind kind, const char *key, const char *value)
{
	struct add_context *c = arg;
	c->failed = list_query_add(c->q, key, value, c->err) < 0;
	return c->failed ? MHD_NO : MHD_YES;
}

int api_list(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	auto_list_query struct list_query q = { 0 };
	if (list_query_init(&q, err) < 0)
		return -1;
	struct add_context c = { .q = &q, .err = err };
	MHD_get_connection_values(rq->conn, MHD_GET_ARGUMENT_KIND, add_parameter, &c);
	if (c.failed)
		return -1;
	if (MHD_lookup_connection_value(rq->conn, MHD_GET_ARGUMENT_KIND, "state") == NULL)
		q.running = q.paused = true;
	auto_json json_t *rows = json_array();
	struct page p = { .q = &q, .domain = http_domain(rq), .owner = rq->caller.owner, .rows = rows };
	if ((q.running || q.paused) && manager_alive_each(rq->app->manager, add_row, &p, err) < 0)
		return -1;
	if (q.killed && store_killed_each(rq->app->store, add_row, &p, err) < 0)
		return -1;
	const uint64_t next = q.offset + json_array_size(rows);
	char token[LIST_TOKEN_SIZE];
	rp->json = json_pack("{sO ss? sI}", "sandboxes", rows, "next_token",
			     next < p.total ? list_token(next, token) : NULL, "total", (json_int_t)p.total);
	return rp->json ? 0 : dw_err_errno(err, ENOMEM, "listing sandboxes");
}

int api_get(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	auto_record struct record r = { 0 };
	uint64_t timeout = 0;
	if (http_query_number(rq, "timeout", DAEMON_TIMEOUT_MAX_S, false, &timeout, err) < 0 ||
	    manager_info(rq->app->manager, rq->id, &r, err) < 0)
		return -1;
	/* How one client connects; a killed sandbox is only reported. */
	if (timeout && r.state != RECORD_KILLED) {
		if (manager_set_timeout(rq->app->manager, rq->id, (uint32_t)timeout, true, err) < 0 &&
		    err->kind != DW_ERR_GONE)
			return -1;
		record_done(&r);
		if (manager_info(rq->app->manager, rq->id, &r, err) < 0)
			return -1;
	}
	return reply_record(rq, rp, &r, err);
}

static int wants_async(const struct http_request *rq, bool *ret, struct dw_err *err)
{
	const char *text = NULL;
	if (http_query(rq, "async", &text, err) < 0)
		return -1;
	*ret = text && (strcmp(text, "true") == 0 || strcmp(text, "1") == 0);
	return 0;
}

static int kill_one(struct http_request *rq, const char *id, bool async, struct dw_err *err)
{
	struct manager *m = rq->app->manager;
	if (manager_check_owner(m, id, rq->caller.owner, err) < 0)
		return -1;
	return async ? manager_kill_async(m, id, "killed", err) : manager_kill(m, id, "killed", err);
}

int api_kill(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	bool async;
	if (wants_async(rq, &async, err) < 0 || kill_one(rq, rq->id, async, err) < 0)
		return -1;
	rp->status = async ? 202 : 200;
	rp->json = json_pack("{sb}", async ? "queued" : "killed", 1);
	return 0;
}

int api_kill_many(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	json_t *ids = NULL, *id;
	size_t i;
	bool async;
	if (wants_async(rq, &async, err) < 0 || jsonx_array(rq->json, "sandbox_ids", &ids, err) < 0)
		return -1;
	if (!ids || json_array_size(ids) > DAEMON_KILL_MANY_MAX)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "sandbox_ids must be a list of at most %u ids",
				  DAEMON_KILL_MANY_MAX);
	json_array_foreach(ids, i,
			   id) if (!jsonx_plain_string(id) ||
				   json_string_length(id) >=
					   RECORD_ID_SIZE) return dw_err_set(err, DW_ERR_INVALID, "invalid_field",
									     "sandbox_ids[%zu] must be an id", i);
	json_t *results = json_object();
	json_array_foreach(ids, i, id)
	{
		struct dw_err why = { 0 };
		json_t *r = kill_one(rq, json_string_value(id), async, &why) == 0
				    ? json_pack("{sb}", async ? "queued" : "killed", 1)
				    : json_pack("{ss}", "error", why.message);
		json_object_set_new(results, json_string_value(id), r);
	}
	rp->status = async ? 202 : 200;
	rp->json = json_pack("{so}", "results", results);
	return 0;
}

int api_status(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	auto_record struct record r = { 0 };
	if (manager_info(rq->app->manager, rq->id, &r, err) < 0)
		return -1;
	rp->json = json_pack("{sb}", "is_running", r.state == RECORD_RUNNING);
	return 0;
}

int api_timeout(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	int64_t value = 0;
	bool present;
	uint32_t timeout;
	if (jsonx_integer(rq->json, "timeout", &value, &present, err) < 0 ||
	    create_spec_timeout(value, "timeout", &timeout, err) < 0 ||
	    manager_set_timeout(rq->app->manager, rq->id, timeout, false, err) < 0)
		return -1;
	rp->json = json_pack("{sb}", "ok", 1);
	return 0;
}
