/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/api.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/clock.h"
#include "daemon/log_query.h"

struct add_context {
	struct log_query *q;
	struct dw_err *err;
	bool failed;
};

static enum MHD_Result add_parameter(void *arg, enum MHD_ValueKind kind, const char *key, size_t key_n,
				     const char *value, size_t value_n)
{
	struct add_context *c = arg;
	const bool nul = value && strlen(value) != value_n;
	c->failed = (nul ? dw_err_set(c->err, DW_ERR_INVALID, "invalid_field", "%s must not hold a NUL character", key)
			 : log_query_add(c->q, key, value, c->err)) < 0;
	return c->failed ? MHD_NO : MHD_YES;
}

static int read_query(struct http_request *rq, struct log_query *q, struct dw_err *err)
{
	struct add_context c = { .q = q, .err = err };
	MHD_get_connection_values_n(rq->conn, MHD_GET_ARGUMENT_KIND, add_parameter, &c);
	if (c.failed || log_query_check(q, err) < 0)
		return -1;
	snprintf(q->filter.sandbox, sizeof(q->filter.sandbox), "%s", rq->id);
	return 0;
}

void api_catch_up(const struct http_request *rq)
{
	gatectl_barrier(rq->app->gate);
	store_log_flush(rq->app->store);
}

static int list(struct http_request *rq, const struct log_query *q, struct http_reply *rp, struct dw_err *err)
{
	json_t *rows = NULL;
	int64_t next = 0;
	const unsigned limit = q->limit ? (unsigned)q->limit : DAEMON_LOG_LIMIT_DEFAULT;
	if (store_log_list(rq->app->store, &q->filter, q->before, limit, &rows, &next, err) < 0)
		return -1;
	rp->json = json_pack("{so so}", "decisions", rows, "next", next ? json_integer(next) : json_null());
	return rp->json ? 0 : dw_err_errno(err, ENOMEM, "reading the network log");
}

/* One who follows: what its connection's thread waits for. */
struct following {
	struct store_follower *follower;
	int client_fd, stop_fd;
	bool greeted;
};

static void following_free(void *arg)
{
	struct following *f = arg;
	store_follow_close(f->follower);
	free(f);
}

static ssize_t put_comment(char *buf, size_t max)
{
	static const char comment[] = ":\n\n";
	const size_t n = sizeof(comment) - 1;
	if (max < n)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	memcpy(buf, comment, n);
	return (ssize_t)n;
}

/* In the connection's own thread, so it may wait. Never 0: that would make libmicrohttpd ask again at once. */
static ssize_t follow_next(void *arg, uint64_t pos, char *buf, size_t max)
{
	struct following *f = arg;
	/* A comment at once, so that the client sees that it follows before anything happens. */
	if (!f->greeted) {
		f->greeted = true;
		return put_comment(buf, max);
	}
	for (const int64_t until = clock_mono_ms() + DAEMON_FOLLOW_ALIVE_MS;;) {
		const ssize_t n = store_follow_read(f->follower, buf, max);
		if (n > 0)
			return n;
		if (n < 0)
			return MHD_CONTENT_READER_END_OF_STREAM;
		const int64_t left = until - clock_mono_ms();
		if (left <= 0)
			return put_comment(buf, max);
		struct pollfd p[] = {
			{ .fd = store_follow_fd(f->follower), .events = POLLIN },
			{ .fd = f->stop_fd, .events = POLLIN },
			{ .fd = f->client_fd, .events = POLLRDHUP },
		};
		if (poll(p, DW_COUNT(p), (int)left) < 0 && errno != EINTR)
			return MHD_CONTENT_READER_END_WITH_ERROR;
		/* Nor is it an error when the client has gone. */
		if (p[1].revents || p[2].revents)
			return MHD_CONTENT_READER_END_OF_STREAM;
	}
}

static int read_last_id(const struct http_request *rq, struct follow_from *from, struct dw_err *err)
{
	const char *text = http_header(rq, "Last-Event-ID");
	uint64_t id;
	if (!text)
		return 0;
	if (!jsonx_uint(text, INT64_MAX, &id))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "Last-Event-ID must be an id of this log");
	from->resume = true;
	from->after = (int64_t)id;
	return 0;
}

static int follow(struct http_request *rq, const struct log_query *q, struct http_reply *rp, struct dw_err *err)
{
	struct follow_from from = { .limit = (unsigned)q->limit };
	auto_record struct record r = { 0 };
	DW_AUTO(store_follow_close) struct store_follower *follower = NULL;
	if (read_last_id(rq, &from, err) < 0 ||
	    store_follow_open(rq->app->store, &q->filter, &from, &follower, err) < 0)
		return -1;
	/* Asked after the entry: a sandbox that ends from here on says so itself. */
	if (manager_info(rq->app->manager, rq->id, &r, err) < 0)
		return -1;
	if (r.state == RECORD_KILLED) {
		api_catch_up(rq);
		store_follow_ended(follower);
	}
	struct following *f = malloc(sizeof(*f));
	if (!f)
		return dw_err_errno(err, ENOMEM, "following the network log");
	*f = (struct following){
		.follower = DW_TAKE(follower),
		.client_fd = http_client_fd(rq),
		.stop_fd = rq->app->stop_fd,
	};
	/* What waits for a slow reader waits here, where it is bounded and counted, and not in the kernel. */
	DW_IGNORE(setsockopt(f->client_fd, SOL_SOCKET, SO_SNDBUF, &(int){ DAEMON_FOLLOW_SNDBUF }, sizeof(int)));
	rp->response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, follow_next, f, following_free);
	if (!rp->response) {
		following_free(f);
		return dw_err_errno(err, ENOMEM, "following the network log");
	}
	MHD_add_response_header(rp->response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/event-stream");
	MHD_add_response_header(rp->response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	return 0;
}

/* Also of a sandbox that was killed: that is when people look. */
int api_network_log(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct log_query q = LOG_QUERY_ANY;
	auto_record struct record r = { 0 };
	if (read_query(rq, &q, err) < 0 || manager_info(rq->app->manager, rq->id, &r, err) < 0)
		return -1;
	api_catch_up(rq);
	return q.follow ? follow(rq, &q, rp, err) : list(rq, &q, rp, err);
}
