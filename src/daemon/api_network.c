/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/api.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/suggest.h"

static int no_memory(struct dw_err *err)
{
	return dw_err_errno(err, ENOMEM, "describing the network");
}

/* What the gate has of it, NULL when it has nothing: then nothing leaves the sandbox. */
static json_t *enforced(struct http_request *rq)
{
	struct dw_err err = { 0 };
	json_t *reply = NULL;
	if (gatectl_query(rq->app->gate, rq->id, &reply, &err) < 0)
		return NULL;
	DW_IGNORE(json_object_del(reply, "seq"));
	DW_IGNORE(json_object_del(reply, "ok"));
	return reply;
}

/* Also of a sandbox that was killed: as it was at its end, enforced by nobody. */
int api_network_get(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	auto_record struct record r = { 0 };
	if (manager_info(rq->app->manager, rq->id, &r, err) < 0)
		return -1;
	rp->json = json_pack("{so? sI so?}", "network", json_deep_copy(r.doc->network), "generation",
			     (json_int_t)r.generation, "enforced", r.state != RECORD_KILLED ? enforced(rq) : NULL);
	return rp->json ? 0 : no_memory(err);
}

/* Around the text that the store got, so that ten thousand entries are written out once. */
static int reply_changed(struct http_request *rq, struct http_reply *rp, const struct manager_changed *changed,
			 const json_t *not_found, struct dw_err *err)
{
	dw_autofree char *network = changed->text;
	rq->after = manager_old_free;
	rq->after_arg = changed->old;
	dw_autofree char *more = not_found ? json_dumps(not_found, JSON_COMPACT) : NULL;
	if (not_found && !more)
		return no_memory(err);
	if (asprintf(&rp->text, "{\"network\":%s,\"generation\":%llu%s%s}", network,
		     (unsigned long long)changed->generation, more ? ",\"not_found\":" : "", more ? more : "") < 0) {
		rp->text = NULL;
		return no_memory(err);
	}
	return 0;
}

/* A whole network that was compiled before. */
struct put {
	struct http_request *rq;
	struct network_spec spec;
};

static int make_put(void *arg, const json_t *now, json_t **ret_network, char **ret_text, struct network_spec *ret_spec,
		    struct dw_err *err)
{
	struct put *p = arg;
	*ret_text = jsonx_compact(p->rq->body, (size_t)p->rq->body_n);
	if (!*ret_text)
		return no_memory(err);
	*ret_network = DW_TAKE(p->rq->json);
	*ret_spec = p->spec;
	p->spec.policy_fd = -1;
	return 0;
}

/* The whole policy, in place of the old one; the answer comes when it is in force. */
int api_network_put(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct put p = { .rq = rq, .spec = { .policy_fd = -1 } };
	struct manager_change change = { .make = make_put, .arg = &p };
	struct manager_changed changed;
	if (http_query_number(rq, "generation", INT64_MAX, false, &change.generation, err) < 0 ||
	    network_spec_compile(rq->json, rq->app->options.default_allow, &p.spec, err) < 0)
		return -1;
	int r = manager_change_network(rq->app->manager, rq->id, &change, &changed, err);
	network_spec_done(&p.spec);
	return r < 0 ? -1 : reply_changed(rq, rp, &changed, NULL, err);
}

struct patch {
	const struct http_request *rq;
	json_t *not_found;
};

static int make_patch(void *arg, const json_t *now, json_t **ret_network, char **ret_text,
		      struct network_spec *ret_spec, struct dw_err *err)
{
	struct patch *p = arg;
	auto_json json_t *network = NULL;
	if (network_spec_edit(now, p->rq->json, &network, &p->not_found, err) < 0 ||
	    network_spec_compile(network, p->rq->app->options.default_allow, ret_spec, err) < 0)
		return -1;
	*ret_network = DW_TAKE(network);
	return 0;
}

/* Some of it; changes of one sandbox come one after the other, so that none is lost. */
int api_network_patch(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct patch p = { .rq = rq };
	struct manager_change change = { .make = make_patch, .arg = &p };
	struct manager_changed changed;
	if (network_spec_generation(rq->json, &change.generation, err) < 0)
		return -1;
	int r = manager_change_network(rq->app->manager, rq->id, &change, &changed, err);
	auto_json json_t *not_found = p.not_found;
	return r < 0 ? -1 : reply_changed(rq, rp, &changed, not_found, err);
}

/* Also of a sandbox that was killed: that is when people look. */
int api_network_suggest(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	auto_record struct record r = { 0 };
	DW_AUTO(suggestion_free) struct suggestion *s = suggestion_new();
	int64_t overflow = 0;
	if (!s)
		return no_memory(err);
	if (manager_info(rq->app->manager, rq->id, &r, err) < 0)
		return -1;
	api_catch_up(rq);
	if (store_observed_each(rq->app->store, rq->id, suggestion_add, s, &overflow, err) < 0)
		return -1;
	rp->json = suggestion_json(s, overflow);
	return rp->json ? 0 : no_memory(err);
}
