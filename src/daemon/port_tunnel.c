/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A WebSocket, once both sides have agreed to one: bytes, both ways, each way one buffer and only as fast as the other side takes them.
 * It has a thread of its own, as the connection had: libmicrohttpd's may have the TLS to do.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/clock.h"
#include "daemon/port_exchange.h"

struct tunnel {
	struct port_exchange *e; /* owned from its begin on */
	struct http_server *server;
	struct MHD_UpgradeResponseHandle *urh;
	int sock;
	uint8_t up[DW_AGENTP_HEADER + DW_AGENTP_CHUNK]; /* one frame from the client: up[up_at..up_n) is to be sent */
	size_t up_at, up_n;
	struct dw_span down; /* to the client */
	bool client_ended, over;
	int64_t moved_ms;
};

static void queue_up(struct tunnel *t, enum dw_agentp_type type, size_t n)
{
	dw_agentp_header_build(t->up, (uint8_t)type, (uint32_t)n);
	t->up_at = 0;
	t->up_n = DW_AGENTP_HEADER + n;
}

/* False when nothing moves now. */
static bool flush(int fd, const uint8_t *p, size_t n, size_t *ret_put, bool *ret_over)
{
	const ssize_t put = send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	*ret_put = put > 0 ? (size_t)put : 0;
	*ret_over |= put < 0 && errno != EAGAIN && errno != EINTR;
	return put > 0;
}

static bool move_up(struct tunnel *t)
{
	size_t put;
	if (t->up_at == t->up_n && !t->client_ended) {
		const ssize_t got = recv(t->sock, t->up + DW_AGENTP_HEADER, DW_AGENTP_CHUNK, MSG_DONTWAIT);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return false;
		t->client_ended = got <= 0;
		/* What it said before its end is delivered; then the server inside may still answer. */
		queue_up(t, got > 0 ? DW_AGENTP_DATA : DW_AGENTP_END, got > 0 ? (size_t)got : 0);
	}
	if (t->up_at == t->up_n || !flush(t->e->conn.op.fd, t->up + t->up_at, t->up_n - t->up_at, &put, &t->over))
		return false;
	t->up_at += put;
	return true;
}

static bool move_down(struct tunnel *t)
{
	size_t put;
	if (!t->down.n) {
		t->down = t->e->behind.n ? t->e->behind : t->e->body;
		*(t->e->behind.n ? &t->e->behind : &t->e->body) = (struct dw_span){ 0 };
	}
	if (!t->down.n) {
		if (port_conn_poll(&t->e->conn, &t->down) == AGENT_TIMEOUT)
			return false;
		t->over |= !t->down.n;
	}
	if (t->over || !flush(t->sock, t->down.p, t->down.n, &put, &t->over))
		return false;
	t->down.p += put;
	t->down.n -= put;
	return true;
}

static int64_t patience(const struct tunnel *t)
{
	if (t->client_ended)
		return DAEMON_PORT_LINGER_MS;
	return t->down.n ? clock_bound_ms("DECLAW_TEST_PORT_STALL_MS", DAEMON_PORT_STALL_MS)
			 : clock_bound_ms("DECLAW_TEST_PORT_IDLE_MS", DAEMON_PORT_IDLE_MS);
}

/* Until something can move. One whose other side is full is not read, and not asked whether it is there. */
static void wait_for_more(struct tunnel *t)
{
	const bool up = t->up_at < t->up_n;
	const short client = (short)((!up && !t->client_ended ? POLLIN : 0) | (t->down.n ? POLLOUT : 0));
	const short inside = (short)((t->down.n ? 0 : POLLIN) | (up ? POLLOUT : 0));
	struct pollfd p[] = {
		{ .fd = client ? t->sock : -1, .events = client },
		{ .fd = inside ? t->e->conn.op.fd : -1, .events = inside },
		{ .fd = t->e->conn.op.stop_fd, .events = POLLIN },
	};
	const int64_t left = t->moved_ms + patience(t) - clock_mono_ms();
	if (left > 0 && poll(p, DW_COUNT(p), (int)left) < 0 && errno != EINTR)
		t->over = true;
	t->over |= left <= 0 || p[2].revents;
}

static void *tunnel_main(void *arg)
{
	struct tunnel *t = arg;
	t->moved_ms = clock_mono_ms();
	while (!t->over) {
		/* Both, whatever the first one says. */
		const bool up = move_up(t), down = move_down(t);
		if (up || down)
			t->moved_ms = clock_mono_ms();
		else if (!t->over)
			wait_for_more(t);
	}
	struct http_server *server = t->server;
	MHD_upgrade_action(t->urh, MHD_UPGRADE_ACTION_CLOSE);
	port_exchange_free(t->e); /* and t */
	http_tunnel_leave(server);
	return NULL;
}

static int begin_thread(struct tunnel *t)
{
	pthread_attr_t attr;
	pthread_t thread;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, DAEMON_THREAD_STACK);
	const int r = pthread_create(&thread, &attr, tunnel_main, t);
	pthread_attr_destroy(&attr);
	return r;
}

/* libmicrohttpd has sent the head. extra: what the client has sent already. */
static void on_upgrade(void *cls, struct MHD_Connection *conn, void *con_cls, const char *extra, size_t extra_n,
		       MHD_socket sock, struct MHD_UpgradeResponseHandle *urh)
{
	struct http_request *rq = con_cls;
	struct tunnel *t = cls;
	rq->stream = NULL; /* t's now */
	t->server = rq->server;
	t->urh = urh;
	t->sock = sock;
	if (extra_n) {
		memcpy(t->up + DW_AGENTP_HEADER, extra, DW_MIN(extra_n, (size_t)DW_AGENTP_CHUNK));
		queue_up(t, DW_AGENTP_DATA, extra_n);
	}
	http_tunnel_enter(t->server);
	/* All that libmicrohttpd can have read ahead fits. */
	t->over = extra_n > DW_AGENTP_CHUNK;
	if (begin_thread(t) != 0) {
		t->over = true;
		tunnel_main(t);
	}
}

struct MHD_Response *port_tunnel_response(struct port_exchange *e)
{
	struct tunnel *t = e->tunnel = calloc(1, sizeof(*t));
	struct MHD_Response *r = t ? MHD_create_response_for_upgrade(on_upgrade, t) : NULL;
	if (!r)
		return NULL;
	t->e = e;
	/* Only a head that fills its buffer leaves something in body, too. */
	e->behind = (struct dw_span){ .p = e->head + e->answer.head_n, .n = e->head_n - e->answer.head_n };
	if (port_answer_fields(e, r) && MHD_add_response_header(r, MHD_HTTP_HEADER_UPGRADE, "websocket") == MHD_YES)
		return r;
	MHD_destroy_response(r);
	return NULL;
}
