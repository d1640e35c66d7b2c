/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots, and what is made of them: the same sandbox again, or a new one. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/api.h"
#include "daemon/list_query.h"
#include "daemon/snapshots.h"
#include "daemon/template_find.h"
#include "daemon/volume_attach.h"

int api_snapshot_create(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	auto_snapshot_row struct snapshot_row row = { 0 };
	if (manager_snapshot(rq->app->manager, rq->app->snapshots, rq->id, &row, err) < 0)
		return -1;
	rp->json = snapshot_to_json(&row);
	return rp->json ? 0 : dw_err_errno(err, ENOMEM, "describing the snapshot");
}

struct page {
	json_t *rows;
	uint64_t limit;
	int64_t last; /* seq of the last row */
	bool more;
};

static void add_row(void *arg, const struct snapshot_row *r)
{
	struct page *p = arg;
	p->more = json_array_size(p->rows) == p->limit;
	if (p->more)
		return;
	json_array_append_new(p->rows, snapshot_to_json(r));
	p->last = r->seq;
}

/* One row more than asked for tells whether there is another page; its token is the number of this one's last row. */
static int list(const struct http_request *rq, struct http_reply *rp, const char *sandbox, uint64_t limit,
		uint64_t before, struct dw_err *err)
{
	auto_json json_t *rows = json_array();
	struct page p = { .rows = rows, .limit = limit };
	char token[LIST_TOKEN_SIZE];
	if (before > INT64_MAX)
		before = INT64_MAX;
	if (store_snapshot_each(rq->app->store, rq->caller.owner, sandbox, (int64_t)before, limit + 1, add_row, &p,
				err) < 0)
		return -1;
	rp->json = json_pack("{sO ss?}", "snapshots", rows, "next_token",
			     p.more ? list_token((uint64_t)p.last, token) : NULL);
	return rp->json ? 0 : dw_err_errno(err, ENOMEM, "listing snapshots");
}

int api_snapshot_list(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	/* Clients know no pages here: all that an owner can have. */
	return list(rq, rp, rq->id, rq->app->options.snapshots, 0, err);
}

int api_snapshot_list_all(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	static const char *const known[] = { "limit", "next_token" };
	auto_list_query struct list_query q = { 0 };
	const char *sandbox = NULL;
	if (list_query_init(&q, err) < 0 || http_query(rq, "sandbox_id", &sandbox, err) < 0)
		return -1;
	for (size_t i = 0; i < DW_COUNT(known); i++) {
		const char *value = NULL;
		if (http_query(rq, known[i], &value, err) < 0 ||
		    (value && list_query_add(&q, known[i], value, err) < 0))
			return -1;
	}
	return list(rq, rp, sandbox && *sandbox ? sandbox : NULL, q.limit, q.offset, err);
}

int api_snapshot_delete(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	if (snapshot_delete(rq->app->snapshots, rq->part, rq->caller.owner, rq->id, err) < 0)
		return -1;
	rp->json = json_object();
	return 0;
}

/* What was mounted is mounted again; what was copied is among the files. A new array. */
static json_t *mounted(const json_t *volumes)
{
	json_t *ret = json_array();
	for (size_t i = 0; ret && i < json_array_size(volumes); i++) {
		json_t *v = json_array_get(volumes, i);
		const char *mode = json_string_value(json_object_get(v, "mode"));
		if (mode && strcmp(mode, "copy") != 0 && json_array_append_new(ret, json_deep_copy(v)) < 0)
			json_decref(DW_TAKE(ret));
	}
	return ret;
}

/* Opens what the sandbox stands on: the snapshot's files, its template, and mounted (an array) volumes. *ret_echo as volume_spec_parse. */
static int open_all(const struct http_request *rq, const struct snapshot_row *row, const json_t *volumes,
		    struct create_spec *spec, json_t **ret_echo, struct dw_err *err)
{
	if (snapshot_open(rq->app->snapshots, row, &spec->layer_fd, err) < 0)
		return -1;
	snprintf(spec->record.template_name, sizeof(spec->record.template_name), "%s", row->template_name);
	spec->volumes = (struct volume_spec){ 0 };
	return volume_spec_parse(volumes, &spec->volumes, ret_echo, err);
}

/* Whether the request names another template than the snapshot's: 1, 0, or -1 with err. */
static int is_other(const struct http_request *rq, const struct create_spec *spec, const struct snapshot_row *row,
		    struct dw_err *err)
{
	auto_template struct template t = { 0 };
	const char *name = spec->record.template_name;
	if (strcmp(name, row->template_name) == 0)
		return 0;
	/* By its other name, perhaps. */
	int r = template_is_builtin(name) ? 0 : store_template_find(rq->app->store, rq->caller.owner, name, &t, err);
	return r > 0 ? strcmp(t.id, row->template_name) != 0 : r < 0 ? -1 : 1;
}

int api_snapshot_use(const struct http_request *rq, struct create_spec *spec, struct dw_err *err)
{
	const char *id = NULL;
	const json_t *template_given = json_object_get(rq->json, "template"), *own = spec->record.doc->volumes;
	auto_snapshot_row struct snapshot_row row = { 0 };
	if (jsonx_string(rq->json, "snapshot_id", &id, err) < 0)
		return -1;
	if (!id)
		return 0;
	if (snapshot_get(rq->app->snapshots, id, rq->caller.owner, NULL, &row, err) < 0)
		return -1;
	const int other = template_given && !json_is_null(template_given) ? is_other(rq, spec, &row, err) : 0;
	if (other < 0)
		return -1;
	if (other)
		return dw_err_set(
			err, DW_ERR_UNPROCESSABLE, "template_mismatch",
			"the snapshot's files stand on the template \"%s\"; leave template out, or name that one",
			row.template_name);
	if (!json_is_string(json_object_get(rq->json, "name")))
		snprintf(spec->record.name, sizeof(spec->record.name), "%s", row.template_name);
	auto_json json_t *volumes = mounted(row.volumes);
	json_t *echo = NULL;
	if (!volumes || (own && json_array_extend(volumes, (json_t *)(uintptr_t)own) < 0))
		return dw_err_errno(err, ENOMEM, "reading the request");
	if (open_all(rq, &row, volumes, spec, &echo, err) < 0)
		return -1;
	json_decref(spec->record.doc->volumes);
	spec->record.doc->volumes = echo;
	return 0;
}

/* What clients wrote is shared by all copies of a record, and a create completes it: this one gets its own. */
static int own_doc(struct record *r, struct dw_err *err)
{
	struct record_doc *doc = record_doc_copy(r->doc);
	if (!doc)
		return dw_err_errno(err, ENOMEM, "restoring the sandbox");
	record_done(r);
	r->doc = doc;
	return 0;
}

/* As the sandbox was made: its record, policy, life cycle, and the snapshot's files. */
static int restore_spec(const struct http_request *rq, const struct snapshot_row *row, struct create_spec *spec,
			struct dw_err *err)
{
	if (manager_info(rq->app->manager, rq->id, &spec->record, err) < 0 || own_doc(&spec->record, err) < 0 ||
	    network_spec_compile(spec->record.doc->network, rq->app->options.default_allow, &spec->network, err) < 0)
		return -1;
	const json_t *lifecycle = spec->record.doc->lifecycle;
	const char *on_timeout = json_string_value(json_object_get(lifecycle, "on_timeout"));
	spec->pause_on_timeout = on_timeout && strcmp(on_timeout, "pause") == 0;
	spec->auto_resume = json_is_true(json_object_get(lifecycle, "auto_resume"));
	create_spec_sizes(spec);
	spec->record.killed_us = spec->record.paused_us = 0;
	spec->record.reason[0] = '\0';
	auto_json json_t *volumes = mounted(row->volumes);
	auto_json json_t *echo = NULL;
	if (!volumes)
		return dw_err_errno(err, ENOMEM, "restoring the sandbox");
	if (open_all(rq, row, volumes, spec, &echo, err) < 0 ||
	    template_find(rq->app->store, rq->app->options.data_dir, template_mb_max(rq->app->options.template_mb),
			  spec, err) < 0)
		return -1;
	return volume_attach(rq->app->volumes, rq->caller.owner, spec, err);
}

static int find_snapshot(const struct http_request *rq, struct snapshot_row *ret, struct dw_err *err)
{
	const char *id = NULL;
	if (http_query(rq, "snapshot_id", &id, err) < 0)
		return -1;
	if (id && *id)
		return snapshot_get(rq->app->snapshots, id, rq->caller.owner, rq->id, ret, err);
	return snapshot_newest(rq->app->snapshots, rq->caller.owner, rq->id, ret, err);
}

/* Until its end a sandbox can be changed: what was answered then holds for the new one, the policy above all. */
static int take_last_changes(const struct http_request *rq, struct create_spec *spec, const struct record *final,
			     struct dw_err *err)
{
	struct record *r = &spec->record;
	r->timeout_s = final->timeout_s;
	if (final->generation == r->generation)
		return 0;
	struct network_spec network = { .policy_fd = -1 };
	json_t *own = final->doc->network ? json_deep_copy(final->doc->network) : NULL;
	if (final->doc->network && !own)
		return dw_err_errno(err, ENOMEM, "restoring the sandbox");
	json_decref(r->doc->network);
	r->doc->network = own;
	if (network_spec_compile(own, rq->app->options.default_allow, &network, err) < 0)
		return -1;
	network_spec_done(&spec->network);
	spec->network = network;
	r->generation = final->generation;
	return 0;
}

/* All that can be wrong is found out before the old one ends. */
static int restore(const struct http_request *rq, const struct snapshot_row *row, struct record *ret,
		   struct dw_err *err)
{
	auto_create_spec struct create_spec spec = CREATE_SPEC_EMPTY;
	if (restore_spec(rq, row, &spec, err) < 0)
		return -1;
	if (spec.root_fd < 0 && dw_runtime_template_check(rq->app->runtime, spec.record.template_name, err) < 0)
		return -1;
	auto_record struct record final = { 0 };
	if (manager_kill_final(rq->app->manager, rq->id, "restore", &final, err) < 0 ||
	    take_last_changes(rq, &spec, &final, err) < 0)
		return -1;
	procs_forget(rq->app->procs, rq->id);
	return manager_recreate(rq->app->manager, &spec, ret, err);
}

int api_restore(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	auto_snapshot_row struct snapshot_row row = { 0 };
	auto_record struct record r = { 0 };
	if (find_snapshot(rq, &row, err) < 0 || manager_claim(rq->app->manager, rq->id, err) < 0)
		return -1;
	const int done = restore(rq, &row, &r, err);
	manager_release(rq->app->manager, rq->id);
	if (done < 0)
		return -1;
	rp->json = json_pack("{ss ss ss ss si ss}", "sandbox_id", r.id, "node_id", "local", "snapshot_id", row.id,
			     "guest_ip", r.guest_ip, "envd_port", (int)DAEMON_PORT_RESERVED, "kept", "files");
	return rp->json ? 0 : dw_err_errno(err, ENOMEM, "describing the sandbox");
}
