/* SPDX-License-Identifier: Apache-2.0 */
/* Sandboxes in E2B's words. They are the same that our own API has, and a killed one is as unknown here as one that never was. */
#include "e2b/api.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/clock.h"
#include "daemon/timestamp.h"
#include "e2b/create_map.h"
#include "e2b/members.h"
#include "e2b/show.h"

#define TIMEOUT_DEFAULT_S    300u
#define TIMEOUT_DEFAULT_V1_S 15u /* of their first version */

static int no_memory(struct dw_err *err)
{
	return dw_err_errno(err, ENOMEM, "describing the sandbox");
}

static int find_alive(struct http_request *rq, struct record *ret, struct dw_err *err)
{
	if (manager_info(rq->app->manager, rq->id, ret, err) < 0)
		return -1;
	if (ret->state == RECORD_KILLED)
		return dw_err_set(err, DW_ERR_NOT_FOUND, "sandbox_not_found", "there is no sandbox %s any more: %s",
				  rq->id, ret->reason);
	return 0;
}

static int reply_nothing(struct http_reply *rp, struct dw_err *err)
{
	rp->status = MHD_HTTP_NO_CONTENT;
	rp->response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	return rp->response ? 0 : dw_err_errno(err, ENOMEM, "answering");
}

static int create(struct http_request *rq, struct http_reply *rp, uint32_t timeout_s, struct dw_err *err)
{
	auto_create_spec struct create_spec spec = CREATE_SPEC_EMPTY;
	auto_record struct record r = { 0 };
	auto_json json_t *ours = NULL;
	const struct create_rules rules = { .strict_security = rq->app->options.strict_security };
	const bool default_allow = rq->app->options.default_allow;
	if (create_map(rq->json, timeout_s, default_allow, &ours, err) < 0 ||
	    create_spec_parse(ours, &rules, &spec, err) < 0)
		return -1;
	snprintf(spec.record.owner, sizeof(spec.record.owner), "%s", rq->caller.owner);
	if (manager_create(rq->app->manager, &spec, &r, err) < 0)
		return -1;
	rp->status = MHD_HTTP_CREATED;
	rp->json = show_made(rq, &r);
	if (rp->json)
		return 0;
	/* Nobody will ever learn its id. */
	DW_IGNORE(manager_kill(rq->app->manager, r.id, "not reported", err));
	return no_memory(err);
}

int e2b_create(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	return create(rq, rp, TIMEOUT_DEFAULT_S, err);
}

int e2b_create_v1(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	return create(rq, rp, TIMEOUT_DEFAULT_V1_S, err);
}

static int read_timeout(const json_t *body, uint32_t *ret, bool *ret_present, struct dw_err *err)
{
	int64_t value = TIMEOUT_DEFAULT_S;
	if (jsonx_integer(body, "timeout", &value, ret_present, err) < 0)
		return -1;
	return create_spec_timeout(value, "timeout", ret, err);
}

/* 200 for one that runs, whose end only moves away; 201 for one that was paused, and has the time from now. */
int e2b_connect(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	static const struct member known[] = { { "timeout" }, { "memory" } };
	struct manager *m = rq->app->manager;
	auto_record struct record r = { 0 };
	uint32_t timeout;
	bool present;
	if (members_check(rq->json, "", known, DW_COUNT(known), err) < 0 ||
	    read_timeout(rq->json, &timeout, &present, err) < 0 || create_map_memory(rq->json, "memory", err) < 0 ||
	    find_alive(rq, &r, err) < 0)
		return -1;
	const bool paused = r.state == RECORD_PAUSED;
	if (manager_set_timeout(m, rq->id, timeout, !paused, err) < 0)
		return -1;
	bool resumed = false;
	if (paused) {
		resumed = manager_resume(m, rq->id, err) == 0;
		/* Another one may have been faster: then it runs, as was asked. */
		if (!resumed && err->kind != DW_ERR_CONFLICT)
			return -1;
	}
	rp->status = resumed ? MHD_HTTP_CREATED : MHD_HTTP_OK;
	rp->json = show_made(rq, &r);
	return rp->json ? 0 : no_memory(err);
}

int e2b_get(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	auto_record struct record r = { 0 };
	if (find_alive(rq, &r, err) < 0)
		return -1;
	rp->json = show_detail(rq, &r);
	return rp->json ? 0 : no_memory(err);
}

int e2b_kill(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	auto_record struct record r = { 0 };
	if (find_alive(rq, &r, err) < 0 || manager_kill(rq->app->manager, rq->id, "killed", err) < 0)
		return -1;
	return reply_nothing(rp, err);
}

int e2b_timeout(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	static const struct member known[] = { { "timeout" } };
	uint32_t timeout;
	bool present;
	if (members_check(rq->json, "", known, DW_COUNT(known), err) < 0 ||
	    read_timeout(rq->json, &timeout, &present, err) < 0)
		return -1;
	if (!present)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "timeout must be a number of seconds");
	if (manager_set_timeout(rq->app->manager, rq->id, timeout, false, err) < 0)
		return -1;
	return reply_nothing(rp, err);
}

/* 409 means to their clients that it is paused already, and nothing else. */
int e2b_pause(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	static const struct member known[] = { { "memory" } };
	auto_record struct record r = { 0 };
	/* Their earlier clients send no body. */
	if (rq->body_n && jsonx_parse_object(rq->body, (size_t)rq->body_n, &rq->json, err) < 0)
		return -1;
	if (members_check(rq->json, "", known, DW_COUNT(known), err) < 0 ||
	    create_map_memory(rq->json, "memory", err) < 0 || find_alive(rq, &r, err) < 0)
		return -1;
	if (manager_pause(rq->app->manager, rq->id, err) == 0)
		return reply_nothing(rp, err);
	struct dw_err why = { 0 };
	record_done(&r);
	if (strcmp(err->code, "build_sandbox") == 0)
		err->kind = DW_ERR_FORBIDDEN; /* nor does it become pausable by asking again */
	if (err->kind == DW_ERR_CONFLICT && find_alive(rq, &r, &why) == 0 && r.state != RECORD_PAUSED)
		err->kind = DW_ERR_UNAVAILABLE;
	return -1;
}

/* Seconds, as theirs; to microseconds. */
static int read_time(const struct http_request *rq, const char *key, int64_t *ret_us, struct dw_err *err)
{
	const char *text = NULL;
	if (http_query(rq, key, &text, err) < 0)
		return -1;
	if (text && !timestamp_parse(text, ret_us))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "%s must be a Unix time in seconds", key);
	return 0;
}

static json_t *sample_json(const struct metrics_sample *s, const struct record *r)
{
	char at[CLOCK_ISO_SIZE];
	/* Their cache is the kernel's memory for files; here the disk is in memory, and is told as the disk alone. */
	return json_pack("{ss sI sf si sI sI si sI sI}", "timestamp", clock_iso(s->at_us, at), "timestampUnix",
			 (json_int_t)(s->at_us / 1000000), "cpuUsedPct", (double)s->cpu_percent, "cpuCount",
			 (int)r->vcpus, "memUsed", (json_int_t)s->memory_kb << 10, "memTotal",
			 (json_int_t)r->memory_mb << 20, "memCache", 0, "diskUsed", (json_int_t)s->disk_kb << 10,
			 "diskTotal", (json_int_t)DAEMON_SANDBOX_DISK_MB << 20);
}

int e2b_metrics(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	int64_t start = 0, end = INT64_MAX;
	dw_autofree struct metrics_sample *all = NULL;
	auto_record struct record r = { 0 };
	size_t n = 0;
	if (read_time(rq, "start", &start, err) < 0 || read_time(rq, "end", &end, err) < 0 ||
	    find_alive(rq, &r, err) < 0 || manager_metrics(rq->app->manager, rq->id, &all, &n, err) < 0)
		return -1;
	auto_json json_t *list = json_array();
	for (size_t i = 0; i < n; i++)
		if (all[i].at_us >= start && all[i].at_us <= end &&
		    json_array_append_new(list, sample_json(&all[i], &r)) < 0)
			return no_memory(err);
	rp->json = DW_TAKE(list);
	return rp->json ? 0 : no_memory(err);
}

int e2b_elsewhere(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	return dw_err_set(
		err, DW_ERR_NOT_FOUND, "not_served",
		"this server does not have that in E2B's API; templates, volumes and snapshots are in its own");
}
