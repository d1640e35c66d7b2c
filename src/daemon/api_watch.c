/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens in a directory, as it happens. The daemon keeps nothing of it: one event at a time goes from the agent to the client, and a
 * client that reads slowly makes the agent wait, whose queue in the kernel then says that it overflowed.
 */
#include "daemon/api.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "daemon/agent_file.h"
#include "daemon/clock.h"
#include "daemon/sse.h"

struct watching {
	struct agent_op op;
	struct sse_out out;
	json_t *path; /* of the directory, absolute */
	bool ended;
};

static void watching_free(void *arg)
{
	struct watching *w = arg;
	agent_op_close(&w->op);
	sse_out_done(&w->out);
	json_decref(w->path);
	free(w);
}
DW_DEFINE_CLEANUP(struct watching *, watching_free)

static json_t *now_json(void)
{
	char text[CLOCK_ISO_SIZE];
	return json_string(clock_iso(clock_wall_us(), text));
}

/* name in the watched directory as an absolute path. */
static json_t *path_json(const struct watching *w, struct dw_span name)
{
	const char *base = json_string_value(w->path);
	auto_json json_t *rel = agent_text_json(name);
	return rel ? json_sprintf("%s/%s", strcmp(base, "/") == 0 ? "" : base, json_string_value(rel)) : NULL;
}

static bool put_change(struct watching *w, const char *type, const struct dw_agentp_event *e)
{
	json_t *j = json_pack("{ss so so sb so}", "type", type, "path", path_json(w, e->path), "name",
			      agent_text_json(e->path), "is_dir", e->dir, "timestamp", now_json());
	if (j && e->to.n &&
	    (json_object_set_new(j, "new_path", path_json(w, e->to)) < 0 ||
	     json_object_set_new(j, "new_name", agent_text_json(e->to)) < 0))
		json_decref(DW_TAKE(j));
	return sse_put_json(&w->out, "change", j);
}

static bool put_end(struct watching *w, const char *reason)
{
	w->ended = true;
	return sse_put_json(&w->out, "end", json_pack("{ss so}", "reason", reason, "timestamp", now_json()));
}

static bool put_overflow(struct watching *w, const char *reason)
{
	return sse_put_json(&w->out, "overflow", json_pack("{ss so}", "reason", reason, "timestamp", now_json()));
}

/* False when memory is out. */
static bool put_event(struct watching *w, const struct dw_agentp_event *e)
{
	static const char *const type[DW_AGENTP_HAPPENING_COUNT] = {
		[DW_AGENTP_CREATED] = "create", [DW_AGENTP_MODIFIED] = "write", [DW_AGENTP_REMOVED] = "remove",
		[DW_AGENTP_RENAMED] = "rename", [DW_AGENTP_CHANGED] = "chmod",
	};
	switch (e->what) {
	case DW_AGENTP_CREATED:
	case DW_AGENTP_MODIFIED:
	case DW_AGENTP_REMOVED:
	case DW_AGENTP_RENAMED:
	case DW_AGENTP_CHANGED:
		return put_change(w, type[e->what], e);
	case DW_AGENTP_OVERFLOW:
		return put_overflow(w, "too_many_events");
	case DW_AGENTP_CROWDED:
		return put_overflow(w, "too_many_directories");
	case DW_AGENTP_GONE:
		return put_end(w, "directory_removed");
	case DW_AGENTP_MOVED:
		return put_end(w, "directory_moved");
	case DW_AGENTP_WATCHING: /* once is enough; no honest agent says it again */
	case DW_AGENTP_HAPPENED_NOTHING:
	case DW_AGENTP_HAPPENING_COUNT:
		break;
	}
	return put_end(w, "sandbox_gone");
}

static bool put_lost(struct watching *w)
{
	struct dw_err err = { 0 };
	DW_IGNORE(agent_op_lost(&w->op, AGENT_LOST, &err)); /* for its code: killed, paused or gone */
	return put_end(w, err.code);
}

static bool put_next(struct watching *w)
{
	struct dw_agentp_frame f;
	struct dw_agentp_event e;
	struct pollfd stop = { .fd = w->op.stop_fd, .events = POLLIN };
	w->op.deadline_ms = clock_mono_ms() + DAEMON_FOLLOW_ALIVE_MS;
	switch (agent_op_next(&w->op, &f)) {
	case AGENT_OK:
		if (f.type != DW_AGENTP_EVENT || dw_agentp_event_parse(f.payload, &e) != DW_PARSE_OK)
			return put_lost(w);
		return put_event(w, &e);
	case AGENT_TIMEOUT:
		return sse_put_ping(&w->out);
	case AGENT_CANCELLED:
		if (poll(&stop, 1, 0) > 0)
			return put_end(w, "server_stopping");
		w->ended = true; /* the client has gone: nothing is told, and nothing went wrong */
		return true;
	case AGENT_LOST:
		break;
	}
	return put_lost(w);
}

/* In the connection's own thread, so it may wait. */
static ssize_t watch_next(void *arg, uint64_t pos, char *buf, size_t max)
{
	struct watching *w = arg;
	while (sse_out_empty(&w->out)) {
		if (w->ended)
			return MHD_CONTENT_READER_END_OF_STREAM;
		if (!put_next(w))
			return MHD_CONTENT_READER_END_WITH_ERROR;
	}
	return (ssize_t)sse_take(&w->out, buf, max);
}

static int read_request(struct http_request *rq, struct dw_agentp_file_request *q, struct dw_err *err)
{
	const char *path = NULL, *user = NULL;
	if (jsonx_string(rq->json, "path", &path, err) < 0 || jsonx_string(rq->json, "username", &user, err) < 0 ||
	    jsonx_bool(rq->json, "recursive", &q->recursive, err) < 0 || api_check_path(path, "path", err) < 0 ||
	    api_check_user(&user, "username", err) < 0)
		return -1;
	q->path = (struct dw_span){ .p = (const uint8_t *)path, .n = strlen(path) };
	q->user = (struct dw_span){ .p = (const uint8_t *)user, .n = strlen(user) };
	return 0;
}

/* From here on nothing that happens is missed. */
static int begin(struct http_request *rq, const struct dw_agentp_file_request *q, struct watching *w,
		 struct dw_err *err)
{
	struct dw_agentp_event e;
	if (agent_op_open(&w->op, rq->app->manager, rq->id, rq->app->stop_fd, err) < 0)
		return -1;
	w->op.client_fd = http_client_fd(rq);
	if (agent_file_request(&w->op, DW_AGENTP_FILE_WATCH, q, err) < 0 || agent_file_event(&w->op, &e, err) < 0)
		return -1;
	if (e.what != DW_AGENTP_WATCHING)
		return agent_op_lost(&w->op, AGENT_LOST, err);
	w->path = agent_text_json(e.path);
	return w->path ? 0 : dw_err_errno(err, ENOMEM, "watching the directory");
}

int api_file_watch(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct dw_agentp_file_request q = { 0 };
	bool stream = false;
	DW_AUTO(watching_free) struct watching *w = calloc(1, sizeof(*w));
	if (!w)
		return dw_err_errno(err, ENOMEM, "watching the directory");
	if (sse_wanted(rq, &stream, err) < 0 || read_request(rq, &q, err) < 0 || begin(rq, &q, w, err) < 0)
		return -1;
	if (!stream) {
		/* Clients that can not read events still learn whether there would be any. */
		rp->json = json_object();
		return rp->json ? 0 : dw_err_errno(err, ENOMEM, "watching the directory");
	}
	if (!sse_put_json(&w->out, "start",
			  json_pack("{sO sb so}", "path", w->path, "recursive", q.recursive, "timestamp", now_json())))
		return dw_err_errno(err, ENOMEM, "watching the directory");
	return sse_reply(rq, rp, watch_next, watching_free, DW_TAKE(w), err);
}
