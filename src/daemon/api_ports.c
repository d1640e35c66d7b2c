/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports of a sandbox as paths of this server: docs/ports.md. A request goes on as it comes, head first, then the body as the server inside takes
 * it; when all of it has gone, the answer comes back in the same way.
 */
#include "daemon/api.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "daemon/port_exchange.h"
#include "daemon/port_head.h"

struct fields {
	struct dw_http_field field[PORT_FIELDS_MAX];
	size_t n;
	bool many;
	struct http_request *rq;
};

/* A key to this server is for nobody inside. Other credentials are the server's inside. */
static bool is_our_key(struct http_request *rq, const char *name, const char *value)
{
	struct caller ignored;
	return strcasecmp(name, MHD_HTTP_HEADER_AUTHORIZATION) == 0 && value &&
	       keys_check(rq->app->keys, value, NULL, &ignored);
}

static enum MHD_Result add_field(void *arg, enum MHD_ValueKind kind, const char *name, size_t name_n, const char *value,
				 size_t value_n)
{
	struct fields *f = arg;
	f->many |= f->n == PORT_FIELDS_MAX;
	if (f->many)
		return MHD_NO;
	if (!is_our_key(f->rq, name, value))
		f->field[f->n++] = (struct dw_http_field){
			.name = { .p = (const uint8_t *)name, .n = name_n },
			.value = { .p = (const uint8_t *)(value ? value : ""), .n = value_n },
		};
	return MHD_YES;
}

static void client_address(const struct http_request *rq, char out[static DW_ADDR_STRLEN])
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(rq->conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	struct sockaddr_storage ss = { 0 };
	uint16_t port;
	snprintf(out, DW_ADDR_STRLEN, "unknown");
	if (!info || !info->client_addr)
		return;
	const bool v6 = info->client_addr->sa_family == AF_INET6;
	memcpy(&ss, info->client_addr, v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
	const struct dw_addr a = dw_addr_from_sockaddr(&ss, &port);
	dw_addr_format(&a, out);
}

/* A client that vanishes without a word is noticed, however long nobody has anything to say. */
static void watch_client(int fd)
{
	const int one = 1, idle = 60, every = 15, tries = 4;
	/* Without these it is noticed later. */
	DW_IGNORE(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)));
	DW_IGNORE(setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle)));
	DW_IGNORE(setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof(every)));
	DW_IGNORE(setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &tries, sizeof(tries)));
}

/* What the sandbox's network says of its ports. NOT_FOUND, GONE, FORBIDDEN "public_traffic_off". */
static int read_network(const struct http_request *rq, const struct api_port_where *where,
			char host[static PORT_HOST_MAX + 1], struct dw_err *err)
{
	auto_record struct record r = { 0 };
	host[0] = '\0';
	if (manager_info(rq->app->manager, rq->id, &r, err) < 0)
		return -1;
	/* One that was killed says so when it is entered. */
	if (r.state == RECORD_KILLED)
		return 0;
	const char *mask = json_string_value(json_object_get(r.doc->network, "mask_request_host"));
	if (!where->with_token && json_is_false(json_object_get(r.doc->network, "allow_public_traffic")))
		return dw_err_set(err, DW_ERR_FORBIDDEN, "public_traffic_off",
				  "the sandbox's network has allow_public_traffic false: its ports can not be reached");
	if (mask && port_host_ok(mask))
		port_host_fill(mask, where->port, host);
	return 0;
}

static int read_path(const struct http_request *rq, struct api_port_where *ret, struct dw_err *err)
{
	if (port_number(rq->part, &ret->port, err) < 0)
		return -1;
	if (!rq->target)
		return dw_err_errno(err, ENOMEM, "reading the request");
	ret->target = port_target(rq->target, rq->id, rq->part);
	return ret->target
		       ? 0
		       : dw_err_set(err, DW_ERR_INVALID, "invalid_request",
				    "what stands in the path before the port's own part must not be percent-encoded");
}

/* Judges the request, makes its head, and connects: in this order, so that nothing inside hears of a request that is refused. */
static int connect_and_send(struct http_request *rq, struct port_head *h, uint16_t port, struct dw_err *err)
{
	const size_t size = DAEMON_HEADER_POOL + 4096;
	struct port_exchange *e = rq->stream;
	dw_autofree uint8_t *buf = malloc(size);
	struct dw_wr w = dw_wr_init(buf, size);
	if (!buf)
		return dw_err_errno(err, ENOMEM, "passing the request on");
	if (port_head_judge(h, err) < 0 || port_head_build(h, &w, err) < 0)
		return -1;
	e->client = rq->conn;
	e->to_head = strcmp(rq->method, MHD_HTTP_METHOD_HEAD) == 0;
	e->websocket = h->websocket;
	e->chunked = h->chunked;
	watch_client(http_client_fd(rq));
	if (port_conn_open(&e->conn, rq->app->manager, &rq->app->ports, rq->id, port, http_client_fd(rq),
			   rq->app->stop_fd, err) < 0)
		return -1;
	return port_conn_send(&e->conn, buf, w.len, err);
}

int api_port_begin(struct http_request *rq, const struct api_port_where *where, struct dw_err *err)
{
	char host[PORT_HOST_MAX + 1], client[DW_ADDR_STRLEN];
	struct port_head h = {
		.method = rq->method,
		.target = where->target,
		.host = host,
		.domain = http_domain(rq),
		.prefix = where->prefix,
		.client = client,
	};
	dw_autofree struct fields *f = calloc(1, sizeof(*f));
	struct port_exchange *e = rq->stream = calloc(1, sizeof(*e));
	if (!f || !e)
		return dw_err_errno(err, ENOMEM, "passing the request on");
	e->conn.op.fd = -1;
	if (where->port == DAEMON_PORT_RESERVED)
		return dw_err_set(err, DW_ERR_FORBIDDEN, "reserved_port", "port %u is reserved", DAEMON_PORT_RESERVED);
	if (read_network(rq, where, host, err) < 0)
		return -1;
	f->rq = rq;
	MHD_get_connection_values_n(rq->conn, MHD_HEADER_KIND, add_field, f);
	if (f->many)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_request", "the request has more than %u headers",
				  PORT_FIELDS_MAX);
	h.field = f->field;
	h.field_n = f->n;
	h.tls = rq->app->options.tls_cert[0];
	client_address(rq, client);
	return connect_and_send(rq, &h, where->port, err);
}

static int port_begin(struct http_request *rq, struct dw_err *err)
{
	char prefix[2 * ROUTE_ID_SIZE + 32];
	struct api_port_where where = { .prefix = prefix };
	if (read_path(rq, &where, err) < 0)
		return -1;
	snprintf(prefix, sizeof(prefix), "/sandboxes/%s/ports/%s", rq->id, rq->part);
	return api_port_begin(rq, &where, err);
}

int api_port_data(struct http_request *rq, const void *p, size_t n, struct dw_err *err)
{
	struct port_exchange *e = rq->stream;
	char size[24];
	if (!e->chunked)
		return port_conn_send(&e->conn, p, n, err);
	const int size_n = snprintf(size, sizeof(size), "%zx\r\n", n);
	if (port_conn_send(&e->conn, size, (size_t)size_n, err) < 0 || port_conn_send(&e->conn, p, n, err) < 0)
		return -1;
	return port_conn_send(&e->conn, "\r\n", 2, err);
}

void api_port_abort(struct http_request *rq)
{
	port_exchange_free(rq->stream);
	rq->stream = NULL;
}

const struct route_stream api_port_stream = {
	.begin = port_begin,
	.data = api_port_data,
	.abort = api_port_abort,
};

int api_port(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct port_exchange *e = rq->stream;
	if (e->chunked && port_conn_send(&e->conn, "0\r\n\r\n", 5, err) < 0)
		return -1;
	if (port_answer_read(e, err) < 0)
		return -1;
	rp->status = e->answer.status;
	if (rp->status == MHD_HTTP_SWITCHING_PROTOCOLS) {
		rp->response = port_tunnel_response(e);
	} else {
		rq->stream = NULL; /* the response's */
		rp->response = port_answer_response(e);
	}
	return rp->response ? 0 : dw_err_errno(err, ENOMEM, "passing the answer on");
}
