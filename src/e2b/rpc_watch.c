/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens in a directory, as it happens: one event at a time goes from the agent to the client. A client that reads slowly makes the
 * agent wait, whose queue in the kernel may then overflow; as these clients know no event for that, the stream ends with an error.
 */
#include "e2b/rpc_files.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "daemon/clock.h"

static json_t *entry_of(const struct rpc_watched *w, struct dw_span name)
{
	struct rpc_path path = { 0 };
	struct dw_err ignored;
	json_t *entry = NULL;
	const int n = snprintf(path.text, sizeof(path.text), "%s/%.*s", strcmp(w->path, "/") == 0 ? "" : w->path,
			       (int)name.n, (const char *)name.p);
	if (n < 0 || (size_t)n >= sizeof(path.text))
		return NULL;
	snprintf(path.call.user, sizeof(path.call.user), "%s", w->user);
	/* It may have gone meanwhile. */
	return rpc_files_info(w->rq, &path, &entry, &ignored) == 0 ? entry : NULL;
}

static bool add(const struct rpc_watched *w, struct rpc_event *ret, const char *type, struct dw_span name, bool there)
{
	json_t *entry = there && w->rq ? entry_of(w, name) : NULL;
	json_t *j = json_pack("{so ss so*}", "name", agent_text_json(name), "type", type, "entry", entry);
	ret->message[ret->n] = j;
	ret->n += j != NULL;
	return j != NULL;
}

enum rpc_watch rpc_watch_event(const struct rpc_watched *w, const struct dw_agentp_event *e, struct rpc_event *ret,
			       struct dw_err *err)
{
	bool ok = true;
	*ret = (struct rpc_event){ 0 };
	switch (e->what) {
	case DW_AGENTP_CREATED:
		ok = add(w, ret, "EVENT_TYPE_CREATE", e->path, true);
		break;
	case DW_AGENTP_MODIFIED:
		ok = add(w, ret, "EVENT_TYPE_WRITE", e->path, true);
		break;
	case DW_AGENTP_CHANGED:
		ok = add(w, ret, "EVENT_TYPE_CHMOD", e->path, true);
		break;
	case DW_AGENTP_REMOVED:
		ok = add(w, ret, "EVENT_TYPE_REMOVE", e->path, false);
		break;
	case DW_AGENTP_RENAMED:
		/* They have an event for the old name only. */
		ok = add(w, ret, "EVENT_TYPE_RENAME", e->path, false) && add(w, ret, "EVENT_TYPE_CREATE", e->to, true);
		break;
	case DW_AGENTP_OVERFLOW:
		dw_err_set(err, DW_ERR_LIMIT, "data_loss",
			   "too much happened at one time, and some of it is not known: look, and watch again");
		return RPC_WATCH_OVER;
	case DW_AGENTP_CROWDED:
		dw_err_set(err, DW_ERR_LIMIT, "too_many_directories",
			   "there are more directories below than can be watched: watch some of them");
		return RPC_WATCH_OVER;
	case DW_AGENTP_GONE:
		dw_err_set(err, DW_ERR_NOT_FOUND, "not_found", "the directory was removed");
		return RPC_WATCH_OVER;
	case DW_AGENTP_MOVED:
		dw_err_set(err, DW_ERR_NOT_FOUND, "not_found", "the directory was moved");
		return RPC_WATCH_OVER;
	case DW_AGENTP_WATCHING: /* once is enough; no honest agent says it again */
	case DW_AGENTP_HAPPENED_NOTHING:
	case DW_AGENTP_HAPPENING_COUNT:
		dw_err_set(err, DW_ERR_GONE, "sandbox_gone", "the sandbox's agent answers nonsense");
		return RPC_WATCH_OVER;
	}
	if (ok)
		return RPC_WATCH_EVENT;
	for (unsigned i = 0; i < ret->n; i++)
		json_decref(ret->message[i]);
	return RPC_WATCH_MEMORY;
}

struct watching {
	struct connect_stream stream; /* first: connect_reply frees it */
	struct agent_op op;
	struct rpc_watched what;
};

static void watching_done(struct connect_stream *s)
{
	agent_op_close(&((struct watching *)s)->op);
}

static void watching_free(struct watching *w)
{
	watching_done(&w->stream);
	connect_out_done(&w->stream.out);
	free(w);
}
DW_DEFINE_CLEANUP(struct watching *, watching_free)

static bool put_over(struct watching *w, const struct dw_err *err)
{
	return connect_put_end(&w->stream.out, err);
}

static bool put_event(struct watching *w, const struct dw_agentp_event *e)
{
	struct rpc_event event;
	struct dw_err err;
	bool ok = true;
	switch (rpc_watch_event(&w->what, e, &event, &err)) {
	case RPC_WATCH_EVENT:
		break;
	case RPC_WATCH_OVER:
		return put_over(w, &err);
	case RPC_WATCH_MEMORY:
		return false;
	}
	for (unsigned i = 0; i < event.n; i++)
		ok &= connect_put_json(&w->stream.out, json_pack("{so}", "filesystem", event.message[i]));
	return connect_said(&w->stream, ok);
}

static bool put_lost(struct watching *w)
{
	struct dw_err err = { 0 };
	DW_IGNORE(agent_op_lost(&w->op, AGENT_LOST, &err)); /* for its code: killed, paused or gone */
	return put_over(w, &err);
}

static bool put_cancelled(struct watching *w)
{
	struct pollfd stop = { .fd = w->op.stop_fd, .events = POLLIN };
	struct dw_err err;
	if (poll(&stop, 1, 0) <= 0)
		return false;
	dw_err_set(&err, DW_ERR_UNAVAILABLE, "stopping", "the server is stopping");
	return put_over(w, &err);
}

static bool step(struct connect_stream *s)
{
	struct watching *w = (struct watching *)s;
	struct dw_agentp_frame f;
	struct dw_agentp_event e;
	w->op.deadline_ms = connect_due(s);
	switch (agent_op_next(&w->op, &f)) {
	case AGENT_OK:
		if (f.type != DW_AGENTP_EVENT || dw_agentp_event_parse(f.payload, &e) != DW_PARSE_OK)
			return put_lost(w);
		return put_event(w, &e);
	case AGENT_TIMEOUT:
		return connect_put_due(s, "{\"keepalive\":{}}");
	case AGENT_CANCELLED:
		return put_cancelled(w);
	case AGENT_LOST:
		break;
	}
	return put_lost(w);
}

int rpc_watch_begin(struct http_request *rq, struct agent_op *op, struct rpc_watched *ret, struct connect_call *call,
		    struct dw_err *err)
{
	struct rpc_path path;
	struct dw_agentp_file_request q = { 0 };
	struct dw_agentp_event e;
	bool with_entry = false, network = false;
	if (rpc_path_read(rq, "path", &path, err) < 0 || message_bool(rq->json, "recursive", &q.recursive, err) < 0 ||
	    message_bool(rq->json, "includeEntry", &with_entry, err) < 0 ||
	    /* There are none in a sandbox: allowed or not is the same. */
	    message_bool(rq->json, "allowNetworkMounts", &network, err) < 0 ||
	    rpc_files_begin(rq, &path, DW_AGENTP_FILE_WATCH, q, op, err) < 0)
		return -1;
	op->client_fd = http_client_fd(rq);
	if (agent_file_event(op, &e, err) < 0)
		return -1;
	if (e.what != DW_AGENTP_WATCHING || e.path.n >= sizeof(ret->path))
		return agent_op_lost(op, AGENT_LOST, err);
	ret->rq = with_entry ? rq : NULL;
	snprintf(ret->user, sizeof(ret->user), "%s", path.call.user);
	snprintf(ret->path, sizeof(ret->path), "%.*s", (int)e.path.n, (const char *)e.path.p);
	*call = path.call;
	return 0;
}

int e2b_file_watch(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct connect_call call;
	DW_AUTO(watching_free) struct watching *w = calloc(1, sizeof(*w));
	if (!w)
		return dw_err_errno(err, ENOMEM, "watching the directory");
	if (rpc_watch_begin(rq, &w->op, &w->what, &call, err) < 0)
		return -1;
	connect_stream_init(&w->stream, rq, &call);
	w->stream.step = step;
	w->stream.release = watching_done;
	if (!connect_put(&w->stream.out, 0, "{\"start\":{}}", 12))
		return dw_err_errno(err, ENOMEM, "watching the directory");
	struct watching *taken = DW_TAKE(w);
	return connect_reply(rq, rp, &taken->stream, err);
}
