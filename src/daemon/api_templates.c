/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/api_templates.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "daemon/api.h"
#include "daemon/api_process.h"
#include "daemon/clock.h"

static int no_memory(struct dw_err *err)
{
	return dw_err_errno(err, ENOMEM, "describing the template");
}

/* The host's own, as an object like any other. */
static json_t *builtin_json(const char *name)
{
	return json_pack("{ss ss ss sb sn sI sI sI sn sn ss s{}}", "template_id", name, "alias", name, "status",
			 "ready", "builtin", 1, "created_at", "cpu_count", (json_int_t)DAEMON_SANDBOX_VCPUS,
			 "memory_mb", (json_int_t)DAEMON_SANDBOX_MEMORY_MB, "disk_mb",
			 (json_int_t)DAEMON_SANDBOX_DISK_MB, "size_bytes", "start_cmd", "source", "host", "envs");
}

static void add_one(void *arg, const struct template *t)
{
	json_t **list = arg;
	json_t *j = template_to_json(t);
	if (!*list || !j || json_array_append_new(*list, j) < 0) {
		json_decref(*list);
		*list = NULL;
	}
}

int api_template_list(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	static const char *const builtin[] = { "base", "python", "node" };
	json_t *list = json_array();
	struct dw_err ignored = { 0 };
	for (size_t i = 0; list && i < DW_COUNT(builtin); i++) {
		if (dw_runtime_template_check(rq->app->runtime, builtin[i], &ignored) == 0)
			DW_IGNORE(json_array_append_new(list, builtin_json(builtin[i]))); /* a missing one is seen */
	}
	if (store_template_each(rq->app->store, rq->caller.owner, add_one, &list, err) < 0) {
		json_decref(list);
		return -1;
	}
	rp->json = list ? json_pack("{so}", "templates", list) : NULL;
	return rp->json ? 0 : no_memory(err);
}

int api_template_get(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	auto_template struct template t = { 0 };
	if (template_is_builtin(rq->id) && dw_runtime_template_check(rq->app->runtime, rq->id, err) == 0) {
		rp->json = builtin_json(rq->id);
		return rp->json ? 0 : no_memory(err);
	}
	int r = store_template_find(rq->app->store, rq->caller.owner, rq->id, &t, err);
	if (r < 0)
		return -1;
	if (r == 0)
		return dw_err_set(err, DW_ERR_NOT_FOUND, "unknown_template", "there is no template \"%s\"", rq->id);
	rp->json = template_to_json(&t);
	return rp->json ? 0 : no_memory(err);
}

int api_template_delete(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	if (templates_delete(rq->app->templates, rq->caller.owner, rq->id, err) < 0)
		return -1;
	rp->json = json_object();
	return rp->json ? 0 : no_memory(err);
}

int api_build_get(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	auto_build_record struct build_record r = { 0 };
	DW_AUTO(build_unref) struct build *b = build_find(rq->app->templates, rq->caller.owner, rq->id);
	const char *text = NULL;
	uint64_t since = 0;
	if (http_query(rq, "since", &text, err) < 0)
		return -1;
	if (text && !jsonx_uint(text, INT64_MAX, &since))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "since must be the number of a line");
	if (b && build_look(b, since, &r, err) < 0)
		return -1;
	if (!b) {
		int found = store_build_get(rq->app->store, rq->caller.owner, rq->id, &r, err);
		if (found < 0)
			return -1;
		if (found == 0)
			return dw_err_set(err, DW_ERR_NOT_FOUND, "unknown_build", "there is no build \"%s\"", rq->id);
		build_record_since(&r, since);
	}
	rp->json = build_record_to_json(&r);
	return rp->json ? 0 : no_memory(err);
}

/* A build that somebody waits for. */
struct waiting {
	struct build *build;
	int client_fd, stop_fd;
	char *text; /* the answer; NULL while it is built */
	size_t at;
};

static void waiting_free(void *arg)
{
	struct waiting *w = arg;
	/* Nobody would learn how it ended, and who gave up may try again. */
	if (!w->text)
		build_cancel(w->build, "the client that waited for it has gone");
	build_unref(w->build);
	free(w->text);
	free(w);
}
DW_DEFINE_CLEANUP(struct waiting *, waiting_free)

enum wait {
	WAIT_ENDED = 0,
	WAIT_LATE,
	WAIT_GONE, /* the client, or the daemon stops */
};

static enum wait wait_until(const struct waiting *w, int64_t until_ms)
{
	for (;;) {
		const int64_t left = until_ms - clock_mono_ms();
		struct pollfd p[] = {
			{ .fd = build_ended_fd(w->build), .events = POLLIN },
			{ .fd = w->client_fd, .events = POLLRDHUP },
		};
		int r = left > 0 ? poll(p, DW_COUNT(p), (int)DW_MIN(left, (int64_t)60000)) : 0;
		if (r > 0 && p[0].revents)
			return WAIT_ENDED;
		if (r > 0)
			return WAIT_GONE;
		if (left <= 0)
			return WAIT_LATE;
	}
}

static int make_text(struct waiting *w, struct dw_err *err)
{
	auto_build_record struct build_record r = { 0 };
	if (build_look(w->build, 0, &r, err) < 0)
		return -1;
	auto_json json_t *j = build_record_to_json(&r);
	w->text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	return w->text ? 0 : no_memory(err);
}

/* A space now and then, which JSON allows before a value, keeps clients from giving up; then the answer. */
static ssize_t next_bytes(void *arg, uint64_t pos, char *buf, size_t max)
{
	struct waiting *w = arg;
	struct dw_err err = { 0 };
	if (!w->text) {
		switch (wait_until(w, clock_mono_ms() + api_space_ms())) {
		case WAIT_LATE:
			buf[0] = ' ';
			return 1;
		case WAIT_GONE:
			return MHD_CONTENT_READER_END_WITH_ERROR;
		case WAIT_ENDED:
			break;
		}
		if (make_text(w, &err) < 0)
			return MHD_CONTENT_READER_END_WITH_ERROR;
	}
	const size_t n = DW_MIN(max, strlen(w->text + w->at));
	memcpy(buf, w->text + w->at, n);
	w->at += n;
	return n ? (ssize_t)n : MHD_CONTENT_READER_END_OF_STREAM;
}

static int reply_slowly(struct waiting *w_take, struct http_reply *rp, struct dw_err *err)
{
	DW_AUTO(waiting_free) struct waiting *w = w_take;
	rp->response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, next_bytes, w, waiting_free);
	if (!rp->response)
		return no_memory(err);
	DW_IGNORE(DW_TAKE(w)); /* the response's now */
	MHD_add_response_header(rp->response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	return 0;
}

/* Until it has ended, or begins its answer without that. */
static int wait_for_end(struct http_request *rq, struct build *b_take, struct http_reply *rp, struct dw_err *err)
{
	DW_AUTO(build_unref) struct build *b = b_take;
	DW_AUTO(waiting_free) struct waiting *w = calloc(1, sizeof(*w));
	if (!w) {
		build_cancel(b, "the server is out of memory");
		return no_memory(err);
	}
	w->build = DW_TAKE(b);
	w->client_fd = http_client_fd(rq);
	switch (wait_until(w, clock_mono_ms() + api_silent_ms())) {
	case WAIT_GONE:
		return dw_err_set(err, DW_ERR_INVALID, "cancelled", "the client has gone");
	case WAIT_LATE:
		return reply_slowly(DW_TAKE(w), rp, err);
	case WAIT_ENDED:
		break;
	}
	if (make_text(w, err) < 0)
		return -1;
	rp->text = strdup(w->text);
	return rp->text ? 0 : no_memory(err);
}

int api_build_reply(struct http_request *rq, struct build *b_take, bool background, struct http_reply *rp,
		    struct dw_err *err)
{
	DW_AUTO(build_unref) struct build *b = b_take;
	auto_build_record struct build_record r = { 0 };
	if (build_launch(b, err) < 0)
		return -1;
	if (!background)
		return wait_for_end(rq, DW_TAKE(b), rp, err);
	if (build_look(b, 0, &r, err) < 0)
		return -1;
	rp->json = build_record_to_json(&r);
	return rp->json ? 0 : no_memory(err);
}

static bool is_template(void *arg, const char *name, char ret_id[static TEMPLATE_ID_SIZE])
{
	const struct http_request *rq = arg;
	auto_template struct template t = { 0 };
	struct dw_err err = { 0 };
	if (store_template_find(rq->app->store, rq->caller.owner, name, &t, &err) <= 0)
		return false;
	snprintf(ret_id, TEMPLATE_ID_SIZE, "%s", t.id);
	return true;
}

static int start(struct http_request *rq, struct build_spec *spec, bool background, struct http_reply *rp,
		 struct dw_err *err)
{
	struct build *b = NULL;
	if (build_new(rq->app->templates, rq->caller.owner, spec, &b, err) < 0)
		return -1;
	return api_build_reply(rq, b, background, rp, err);
}

int api_template_build(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	auto_build_spec struct build_spec spec = { 0 };
	struct build_rules rules;
	bool background;
	templates_rules(rq->app->templates, &rules);
	rules.is_template = is_template;
	rules.arg = rq;
	if (build_spec_parse(rq->json, &rules, &spec, &background, err) < 0)
		return -1;
	return start(rq, &spec, background, rp, err);
}

int api_template_debian(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	auto_build_spec struct build_spec spec = { 0 };
	struct build_rules rules;
	bool background;
	templates_rules(rq->app->templates, &rules);
	if (build_spec_parse_debian(rq->json, &rules, &spec, &background, err) < 0)
		return -1;
	return start(rq, &spec, background, rp, err);
}
