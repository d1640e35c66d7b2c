/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/http.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "daemon/clock.h"
#include "daemon/api.h"
#include "daemon/bounds.h"
#include "daemon/log.h"
#include "daemon/strangers.h"
#include "daemon/tls.h"

struct http_server {
	struct app *app;
	struct MHD_Daemon *mhd;
	struct strangers *strangers;
	_Atomic int64_t log_second; /* of the last line of libmicrohttpd, and how many it had */
	atomic_uint log_lines;
	bool quiet;          /* nobody connects any more; the main thread's */
	atomic_uint active;  /* requests that are not completed */
	atomic_uint tunnels; /* connections that belong to no request any more */
};

const char *http_header(const struct http_request *rq, const char *name)
{
	return MHD_lookup_connection_value(rq->conn, MHD_HEADER_KIND, name);
}

int http_query(const struct http_request *rq, const char *key, const char **ret, struct dw_err *err)
{
	const char *value = NULL;
	size_t n = 0;
	if (MHD_lookup_connection_value_n(rq->conn, MHD_GET_ARGUMENT_KIND, key, strlen(key), &value, &n) == MHD_NO)
		return 0;
	if (!value) {
		value = "";
		n = 0;
	}
	if (strlen(value) != n)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "%s must not hold a NUL character", key);
	*ret = value;
	return 0;
}

int http_query_number(const struct http_request *rq, const char *key, uint64_t max, bool clamp, uint64_t *ret,
		      struct dw_err *err)
{
	const char *text = NULL;
	uint64_t v = 0;
	if (http_query(rq, key, &text, err) < 0)
		return -1;
	if (!text)
		return 0;
	if (!jsonx_uint(text, DW_MAX(max, (uint64_t)UINT32_MAX), &v) || v < 1 || (v > max && !clamp))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "%s must be a whole number between 1 and %llu",
				  key, (unsigned long long)max);
	*ret = DW_MIN(v, max);
	return 0;
}

void http_tunnel_enter(struct http_server *h)
{
	atomic_fetch_add(&h->tunnels, 1);
}

void http_tunnel_leave(struct http_server *h)
{
	atomic_fetch_sub(&h->tunnels, 1);
}

int http_client_fd(const struct http_request *rq)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(rq->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
	return info ? info->connect_fd : -1;
}

const char *http_domain(const struct http_request *rq)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]";
	const char *host = http_header(rq, MHD_HTTP_HEADER_HOST);
	size_t n = host ? strlen(host) : 0;
	return n && n <= 255 && strspn(host, plain) == n ? host : rq->app->domain;
}

/* What the connection is known by since it began; NULL only when it could not be listed. */
static struct stranger *stranger_of(struct MHD_Connection *conn)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	return info ? info->socket_context : NULL;
}

bool http_is_stranger(const struct http_request *rq)
{
	struct stranger *s = stranger_of(rq->conn);
	return !s || strangers_has(rq->server->strangers, s);
}

void http_vouch(const struct http_request *rq)
{
	struct stranger *s = stranger_of(rq->conn);
	if (s)
		strangers_vouch(rq->server->strangers, s);
}

/* A valid key makes the connection a client's for as long as it lasts. */
static bool check_key(struct http_request *rq)
{
	if (!keys_check(rq->app->keys, http_header(rq, MHD_HTTP_HEADER_AUTHORIZATION), http_header(rq, "X-API-Key"),
			&rq->caller))
		return false;
	http_vouch(rq);
	return true;
}

/* The declared length of the body; 0 without one, UINT64_MAX for one whose length is not known ahead. */
static uint64_t declared_length(const struct http_request *rq)
{
	const char *text = http_header(rq, MHD_HTTP_HEADER_CONTENT_LENGTH);
	uint64_t n = 0;
	if (http_header(rq, MHD_HTTP_HEADER_TRANSFER_ENCODING))
		return UINT64_MAX;
	/* libmicrohttpd has refused what is no number. */
	return text && jsonx_uint(text, UINT64_MAX - 1, &n) ? n : 0;
}

/* libmicrohttpd takes any other coding for a body that ends with the connection. */
static bool is_framed(const struct http_request *rq)
{
	const char *coding = http_header(rq, MHD_HTTP_HEADER_TRANSFER_ENCODING);
	return !coding || strcasecmp(coding, "chunked") == 0;
}

static int check_framing(const struct http_request *rq, struct dw_err *err)
{
	return is_framed(rq) ? 0
			     : dw_err_set(err, DW_ERR_INVALID, "invalid_request",
					  "the only Transfer-Encoding that this server knows is \"chunked\"");
}

/* What it held is given back now: its client may send, or say nothing, for long. */
static void set_failed(struct http_request *rq)
{
	rq->failed = true;
	if (rq->stream)
		rq->route->stream->abort(rq);
	free(rq->body);
	rq->body = NULL;
	rq->body_cap = 0;
}

static uint64_t body_limit(const struct http_request *rq)
{
	if (rq->route->body == ROUTE_PIPE)
		return UINT64_MAX;
	if (rq->route->body != ROUTE_STREAM)
		return DAEMON_JSON_MAX;
	return rq->route->stream->limit ? rq->route->stream->limit(rq) : DAEMON_RAW_MAX;
}

static int too_large(struct http_request *rq, struct dw_err *err)
{
	return dw_err_set(err, DW_ERR_TOO_LARGE, "body_too_large", "the request body is larger than %llu MiB",
			  (unsigned long long)body_limit(rq) >> 20);
}

static bool is_open(const struct http_request *rq)
{
	return rq->route->open || (rq->app->options.metrics_open && rq->route->handler == api_prometheus);
}

/* A route's own judgement, or the key. */
static int admit(struct http_request *rq, struct dw_err *err)
{
	if (rq->route && rq->route->admit) {
		if (rq->route->admit(rq, err) < 0)
			return -1;
		http_vouch(rq);
		return 0;
	}
	if (check_key(rq) || (rq->route && is_open(rq)))
		return 0;
	return dw_err_set(err, DW_ERR_UNAUTHORIZED, "unauthorized",
			  "unauthorized: the API key is missing or not valid");
}

/* What can be said from the head alone: the key first, so that strangers learn nothing about paths. */
static int check_head(struct http_request *rq, const char *method, const char *path, struct dw_err *err)
{
	const struct route_tables *all = &rq->app->routes;
	rq->table = all->choose ? all->choose(rq) : NULL;
	if (!rq->table)
		rq->table = route_table_of(all, path);
	enum route_match m =
		route_find(rq->table, method, path, &rq->route, rq->id, rq->part, rq->allow, sizeof(rq->allow));
	rq->drain_max = DAEMON_DRAIN_ANON_MAX;
	if (admit(rq, err) < 0)
		return -1;
	/* Open routes have strangers, too. */
	if (!http_is_stranger(rq))
		rq->drain_max = DAEMON_DRAIN_MAX;
	if (m == ROUTE_UNKNOWN)
		return dw_err_set(err, DW_ERR_NOT_FOUND, "route_not_found", "there is no such route");
	if (m == ROUTE_METHOD)
		return dw_err_set(err, DW_ERR_METHOD, "method_not_allowed", "this route takes %s", rq->allow);
	/* Here for every route, before anything else is said: others' sandboxes are as unknown as those that never were. */
	if (strstr(rq->route->pattern, "/sandboxes/{id}") &&
	    manager_check_owner(rq->app->manager, rq->id, rq->caller.owner, err) < 0)
		return -1;
	if (check_framing(rq, err) < 0)
		return -1;
	uint64_t n = declared_length(rq);
	if (n != UINT64_MAX && n > body_limit(rq))
		return too_large(rq, err);
	/* Whatever may be sent may also be read and dropped, but for what has no end. */
	if (rq->route->body != ROUTE_PIPE)
		rq->drain_max = DW_MAX(rq->drain_max, body_limit(rq));
	if (rq->route->stream)
		return rq->route->stream->begin(rq, err);
	return 0;
}

/* The client waits for a word before it sends the body, or the body is not worth reading: answer now. */
static bool answer_now(const struct http_request *rq)
{
	uint64_t n = declared_length(rq);
	const char *expect = http_header(rq, MHD_HTTP_HEADER_EXPECT);
	return rq->failed && (!is_framed(rq) || (n != UINT64_MAX && n > rq->drain_max) ||
			      (n && expect && strncasecmp(expect, "100", 3) == 0));
}

static int append(struct http_request *rq, const char *p, size_t n, struct dw_err *err)
{
	if (rq->route->body != ROUTE_JSON && rq->route->body != ROUTE_BYTES)
		return 0;
	size_t have = (size_t)rq->body_n;
	if (rq->body_cap - have < n) {
		size_t cap = DW_MAX(rq->body_cap * 2, have + n);
		char *grown = realloc(rq->body, cap);
		if (!grown)
			return dw_err_errno(err, ENOMEM, "reading the request body");
		rq->body = grown;
		rq->body_cap = cap;
	}
	memcpy(rq->body + have, p, n);
	return 0;
}

static enum MHD_Result take_body(struct http_request *rq, const char *p, size_t n)
{
	if (!rq->failed) {
		int r = rq->body_n + n > body_limit(rq) ? too_large(rq, &rq->err)
			: rq->route->stream             ? rq->route->stream->data(rq, p, n, &rq->err)
							: append(rq, p, n, &rq->err);
		if (r < 0) {
			/* From here on only reading along, as far as that makes sense. */
			rq->drain_max += DW_MIN(rq->body_n, UINT64_MAX - rq->drain_max);
			set_failed(rq);
		}
	}
	rq->body_n += n;
	return rq->failed && rq->body_n > rq->drain_max ? MHD_NO : MHD_YES;
}

static int run(struct http_request *rq, struct http_reply *rp)
{
	if (rq->failed)
		return -1;
	if (rq->route->body == ROUTE_JSON &&
	    jsonx_parse_object(rq->body ? rq->body : "", (size_t)rq->body_n, &rq->json, &rq->err) < 0)
		return -1;
	return rq->route->handler(rq, rp, &rq->err);
}

static enum MHD_Result finish(struct http_request *rq)
{
	struct http_reply rp = { 0 };
	/* A handler may take as long as a command does; the idle limit is for idle connections. */
	MHD_set_connection_option(rq->conn, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
	if (run(rq, &rp) < 0)
		set_failed(rq);
	MHD_set_connection_option(rq->conn, MHD_CONNECTION_OPTION_TIMEOUT, DAEMON_KEEPALIVE_S);
	return http_send(rq, &rp);
}

/* libmicrohttpd takes the query apart in place, and some clients' mistakes can be told only from what they sent. */
static void *on_uri(void *cls, const char *uri, struct MHD_Connection *conn)
{
	struct http_request *rq = calloc(1, sizeof(*rq));
	const char *query = strchr(uri, '?');
	if (rq && query)
		rq->query = strdup(query + 1);
	if (rq)
		rq->target = strdup(uri);
	return rq;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *conn, const char *url, const char *method,
				  const char *version, const char *data, size_t *data_n, void **state)
{
	struct http_server *h = cls;
	struct http_request *rq = *state;
	if (!rq)
		return MHD_NO;
	if (!rq->app) {
		rq->app = h->app;
		rq->server = h;
		rq->conn = conn;
		rq->method = method;
		atomic_fetch_add(&h->active, 1);
		request_begin(rq);
		if (check_head(rq, method, url, &rq->err) < 0)
			set_failed(rq);
		return answer_now(rq) ? http_send(rq, &(struct http_reply){ 0 }) : MHD_YES;
	}
	if (*data_n) {
		size_t n = *data_n;
		*data_n = 0;
		return take_body(rq, data, n);
	}
	return finish(rq);
}

static void on_completed(void *cls, struct MHD_Connection *conn, void **state, enum MHD_RequestTerminationCode code)
{
	struct http_server *h = cls;
	struct http_request *rq = *state;
	if (!rq)
		return;
	if (rq->app)
		request_end(rq);
	if (rq->stream)
		rq->route->stream->abort(rq);
	if (rq->after)
		rq->after(rq->after_arg);
	json_decref(rq->json);
	free(rq->body);
	free(rq->query);
	free(rq->target);
	/* One whose head never came whole was not begun. */
	if (rq->app)
		atomic_fetch_sub(&h->active, 1);
	free(rq);
	*state = NULL;
}

static void on_connection(void *cls, struct MHD_Connection *conn, void **context,
			  enum MHD_ConnectionNotificationCode code)
{
	struct http_server *h = cls;
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
	switch (code) {
	case MHD_CONNECTION_NOTIFY_STARTED:
		*context = info ? strangers_enter(h->strangers, info->connect_fd) : NULL;
		/* What can not be watched is not served. */
		if (info && !*context)
			shutdown(info->connect_fd, SHUT_RDWR);
		break;
	case MHD_CONNECTION_NOTIFY_CLOSED:
		if (*context)
			strangers_leave(h->strangers, *context);
		*context = NULL;
		break;
	}
}

static void DW_PRINTF(2, 0) on_log(void *cls, const char *fmt, va_list ap)
{
	struct http_server *h = cls;
	const int64_t second = clock_mono_ms() / 1000;
	char line[512];
	/* Strangers cause most of these, as fast as they can connect. Two that race here cost a line more or less. */
	if (atomic_exchange(&h->log_second, second) != second)
		atomic_store(&h->log_lines, 0);
	if (atomic_fetch_add(&h->log_lines, 1) >= DAEMON_HTTP_LOG_LINES)
		return;
	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	log_event(LOG_LEVEL_WARN, "http", "message", line, NULL);
}

static int listen_on(const struct options_endpoint *want, struct options_endpoint *ret, struct dw_err *err)
{
	struct sockaddr_storage ss;
	socklen_t n = dw_addr_to_sockaddr(&want->addr, want->port, &ss);
	char text[OPTIONS_ENDPOINT_STRLEN];
	const int one = 1;
	dw_autoclose int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    (ss.ss_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0) ||
	    /* Accepted sockets inherit it. */
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&ss, n) < 0 || listen(fd, 511) < 0)
		return dw_err_errno(err, errno, "listening on %s", options_format_endpoint(want, text));
	n = sizeof(ss);
	if (getsockname(fd, (struct sockaddr *)&ss, &n) < 0)
		return dw_err_errno(err, errno, "listening on %s", options_format_endpoint(want, text));
	*ret = (struct options_endpoint){ .addr = want->addr };
	DW_IGNORE(dw_addr_from_sockaddr(&ss, &ret->port)); /* only the port is news */
	return DW_TAKE_FD(fd);
}

int http_start(struct app *app, struct http_server **ret, struct options_endpoint *ret_endpoint, struct dw_err *err)
{
	dw_autoclose int fd = listen_on(&app->options.listen, ret_endpoint, err);
	if (fd < 0)
		return -1;
	options_format_endpoint(ret_endpoint, app->domain);
	dw_autofree struct http_server *h = calloc(1, sizeof(*h));
	if (!h)
		return dw_err_errno(err, ENOMEM, "starting the HTTP server");
	h->app = app;
	h->strangers = strangers_new();
	if (!h->strangers)
		return dw_err_errno(err, ENOMEM, "starting the HTTP server");
	const unsigned flags = MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_ERROR_LOG |
			       MHD_USE_ITC | MHD_ALLOW_UPGRADE | (app->options.tls_cert[0] ? MHD_USE_TLS : 0);
	struct MHD_OptionItem tls[3] = { { .option = MHD_OPTION_END } };
	if (app->options.tls_cert[0])
		tls_options(tls);
	h->mhd = MHD_start_daemon(flags, 0, NULL, NULL, on_request, h,                            /**/
				  MHD_OPTION_EXTERNAL_LOGGER, on_log, h,                          /**/
				  MHD_OPTION_URI_LOG_CALLBACK, on_uri, h,                         /**/
				  MHD_OPTION_LISTEN_SOCKET, fd,                                   /**/
				  MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,                   /**/
				  MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,                 /**/
				  MHD_OPTION_CONNECTION_LIMIT, DAEMON_CONNECTIONS,                /**/
				  MHD_OPTION_CONNECTION_TIMEOUT, DAEMON_KEEPALIVE_S,              /**/
				  MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)DAEMON_HEADER_POOL, /**/
				  MHD_OPTION_THREAD_STACK_SIZE, (size_t)DAEMON_THREAD_STACK,      /**/
				  MHD_OPTION_STRICT_FOR_CLIENT, 1,                                /**/
				  MHD_OPTION_ARRAY, tls,                                          /**/
				  MHD_OPTION_END);
	if (!h->mhd) {
		strangers_free(h->strangers);
		return dw_err_set(err, DW_ERR_INTERNAL, "internal", "the HTTP server did not start");
	}
	/* libmicrohttpd owns the listening socket now. */
	DW_IGNORE(DW_TAKE_FD(fd));
	*ret = DW_TAKE(h);
	return 0;
}

void http_quiesce(struct http_server *h, int grace_ms)
{
	const int64_t until = clock_mono_ms() + grace_ms;
	/* It would give the descriptor once more, closed or another's by then. */
	const int fd = h->quiet ? -1 : MHD_quiesce_daemon(h->mhd);
	h->quiet = true;
	if (fd >= 0)
		close(fd);
	while (atomic_load(&h->active) && clock_mono_ms() < until)
		poll(NULL, 0, 10);
}

void http_stop(struct http_server *h)
{
	if (!h)
		return;
	/* They end by themselves when the daemon stops; libmicrohttpd must not take their connections from them before. */
	while (atomic_load(&h->tunnels))
		poll(NULL, 0, 10);
	MHD_stop_daemon(h->mhd);
	strangers_free(h->strangers);
	free(h);
}
