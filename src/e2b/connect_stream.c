/* SPDX-License-Identifier: Apache-2.0 */
#include "e2b/connect.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/clock.h"

void connect_out_done(struct connect_out *o)
{
	free(o->p);
	*o = (struct connect_out){ 0 };
}

static bool reserve(struct connect_out *o, size_t more)
{
	if (o->at) {
		memmove(o->p, o->p + o->at, o->n - o->at);
		o->n -= o->at;
		o->at = 0;
	}
	if (o->cap - o->n >= more)
		return true;
	const size_t cap = DW_MAX(o->cap * 2, o->n + more);
	char *grown = realloc(o->p, cap);
	if (!grown)
		return false;
	o->p = grown;
	o->cap = cap;
	return true;
}

bool connect_put(struct connect_out *o, uint8_t flags, const char *text, size_t n)
{
	if (n > UINT32_MAX || !reserve(o, CONNECT_HEAD + n))
		return false;
	connect_head_build((uint8_t *)o->p + o->n, flags, (uint32_t)n);
	memcpy(o->p + o->n + CONNECT_HEAD, text, n);
	o->n += CONNECT_HEAD + n;
	o->ended |= flags & CONNECT_END;
	return true;
}

bool connect_put_json(struct connect_out *o, json_t *take)
{
	auto_json json_t *json = take;
	dw_autofree char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	return text && connect_put(o, 0, text, strlen(text));
}

bool connect_put_end(struct connect_out *o, const struct dw_err *err)
{
	if (!err)
		return connect_put(o, CONNECT_END, "{}", 2);
	auto_json json_t *json = json_pack("{so}", "error", connect_error_json(err));
	dw_autofree char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	return text && connect_put(o, CONNECT_END, text, strlen(text));
}

void connect_stream_init(struct connect_stream *s, const struct http_request *rq, const struct connect_call *call)
{
	*s = (struct connect_stream){
		.every_ms = clock_bound_ms("DECLAW_TEST_PING_MS", call->ping_ms),
		.until_ms = call->timeout_ms ? clock_mono_ms() + call->timeout_ms : INT64_MAX,
		.client_fd = http_client_fd(rq),
		.stop_fd = rq->app->stop_fd,
	};
	s->ping_ms = clock_mono_ms() + s->every_ms;
}

bool connect_said(struct connect_stream *s, bool ok)
{
	s->ping_ms = clock_mono_ms() + s->every_ms;
	return ok;
}

int64_t connect_due(const struct connect_stream *s)
{
	return DW_MIN(s->ping_ms, s->until_ms);
}

bool connect_put_due(struct connect_stream *s, const char *ping)
{
	const int64_t now = clock_mono_ms();
	struct dw_err late;
	if (now >= s->until_ms) {
		dw_err_set(&late, DW_ERR_TIMEOUT, "process_timeout", "the call's time is over");
		return connect_put_end(&s->out, &late);
	}
	if (now < s->ping_ms)
		return true;
	return connect_said(s, connect_put(&s->out, 0, ping, strlen(ping)));
}

static ssize_t next(void *arg, uint64_t pos, char *buf, size_t max)
{
	struct connect_stream *s = arg;
	struct connect_out *o = &s->out;
	while (o->at == o->n) {
		if (o->ended)
			return MHD_CONTENT_READER_END_OF_STREAM;
		if (!s->step(s))
			return MHD_CONTENT_READER_END_WITH_ERROR;
	}
	const size_t n = DW_MIN(o->n - o->at, max);
	memcpy(buf, o->p + o->at, n);
	o->at += n;
	return (ssize_t)n;
}

static void stream_free(void *arg)
{
	struct connect_stream *s = arg;
	s->release(s);
	connect_out_done(&s->out);
	free(s);
}

int connect_reply(struct http_request *rq, struct http_reply *rp, struct connect_stream *s, struct dw_err *err)
{
	/* What waits for a slow reader waits where it is bounded and counted, and not in the kernel. */
	DW_IGNORE(setsockopt(s->client_fd, SOL_SOCKET, SO_SNDBUF, &(int){ DAEMON_FOLLOW_SNDBUF }, sizeof(int)));
	rp->response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, next, s, stream_free);
	if (!rp->response) {
		stream_free(s);
		return dw_err_errno(err, ENOMEM, "streaming the answer");
	}
	MHD_add_response_header(rp->response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/connect+json");
	MHD_add_response_header(rp->response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	return 0;
}
