/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/port_conn.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/clock.h"
#include "daemon/utf8.h"

#define EARLY_SIZE (DAEMON_PORT_EARLY + DW_AGENTP_CHUNK)

/* Why there is no connection. The number comes from inside: it chooses among these answers. */
static int not_connected(struct port_conn *c, uint16_t port, struct dw_span payload, struct dw_err *err)
{
	uint16_t number;
	struct dw_span message;
	char text[300];
	if (dw_agentp_error_parse(payload, &number, &message) != DW_PARSE_OK)
		return agent_op_lost(&c->op, AGENT_LOST, err);
	switch (number) {
	case EAGAIN:
	case ENOMEM:
	case EMFILE:
	case ENFILE:
		return agent_op_error(&c->op, payload, AGENT_COMMAND, err);
	case ETIMEDOUT:
		return dw_err_set(err, DW_ERR_GATEWAY_TIMEOUT, "port_timeout", "port %u of the sandbox does not answer",
				  port);
	default:
		utf8_sanitize_line(message.p, message.n, text, sizeof(text));
		return dw_err_set(err, DW_ERR_BAD_GATEWAY, "port_unreachable",
				  "nothing answers on port %u of the sandbox: %s", port, text);
	}
}

static int dial(struct port_conn *c, uint16_t port, struct dw_err *err)
{
	uint8_t payload[2];
	struct dw_agentp_frame f;
	const size_t n = dw_agentp_connect_build(port, payload, sizeof(payload));
	c->op.deadline_ms = clock_mono_ms() + DAEMON_PORT_CONNECT_MS;
	enum agent_status st = agent_op_send(&c->op, DW_AGENTP_CONNECT, payload, n);
	if (st == AGENT_OK)
		st = agent_op_next(&c->op, &f);
	if (st == AGENT_TIMEOUT && sandbox_state(c->op.sandbox) == RECORD_RUNNING)
		return dw_err_set(err, DW_ERR_GATEWAY_TIMEOUT, "port_timeout", "port %u of the sandbox does not answer",
				  port);
	if (st != AGENT_OK)
		return agent_op_lost(&c->op, st, err);
	if (f.type == DW_AGENTP_ERROR)
		return not_connected(c, port, f.payload, err);
	return f.type == DW_AGENTP_CONNECTED && !f.payload.n ? 0 : agent_op_lost(&c->op, AGENT_LOST, err);
}

/* One more of both counts, or none. */
static int count(struct port_conn *c, atomic_uint *all, struct dw_err *err)
{
	atomic_uint *own = sandbox_ports(c->op.sandbox);
	const bool own_full = atomic_fetch_add(own, 1) >= DAEMON_PORTS_SANDBOX;
	const bool all_full = atomic_fetch_add(all, 1) >= DAEMON_PORTS;
	if (own_full || all_full) {
		atomic_fetch_sub(own, 1);
		atomic_fetch_sub(all, 1);
		return dw_err_set(err, DW_ERR_LIMIT, "too_many_connections",
				  "more than %u connections to ports of %s at one time",
				  own_full ? DAEMON_PORTS_SANDBOX : DAEMON_PORTS,
				  own_full ? "this sandbox" : "all sandboxes");
	}
	c->all = all;
	return 0;
}

int port_conn_open(struct port_conn *c, struct manager *m, atomic_uint *all, const char *id, uint16_t port,
		   int client_fd, int stop_fd, struct dw_err *err)
{
	if (agent_op_open(&c->op, m, id, stop_fd, err) < 0)
		return -1;
	c->op.client_fd = client_fd;
	agent_op_hold(&c->op);
	return count(c, all, err) < 0 ? -1 : dial(c, port, err);
}

void port_conn_close(struct port_conn *c)
{
	if (c->all) {
		atomic_fetch_sub(sandbox_ports(c->op.sandbox), 1);
		atomic_fetch_sub(c->all, 1);
	}
	c->all = NULL;
	agent_op_close(&c->op);
	free(c->early);
	c->early = NULL;
}

/* What one frame says. */
static void take(struct port_conn *c, enum agent_status st, const struct dw_agentp_frame *f, struct dw_span *ret)
{
	*ret = (struct dw_span){ .p = (const uint8_t *)"" };
	if (st == AGENT_OK && f->type == DW_AGENTP_DATA && f->payload.n)
		*ret = f->payload;
	else
		c->ended = true;
	c->broken |= c->ended && (st != AGENT_OK || f->type != DW_AGENTP_END || f->payload.n);
	/* Only after an honest end may the server inside still listen. */
	c->deaf |= c->broken;
}

static bool take_early(struct port_conn *c, struct dw_span *ret)
{
	*ret = (struct dw_span){ .p = (const uint8_t *)"" };
	if (c->early_at < c->early_n)
		*ret = (struct dw_span){ .p = c->early + c->early_at, .n = c->early_n - c->early_at };
	c->early_at = c->early_n;
	return ret->n || c->ended;
}

enum agent_status port_conn_next(struct port_conn *c, int64_t until_ms, struct dw_span *ret)
{
	struct dw_agentp_frame f = { 0 };
	if (take_early(c, ret))
		return AGENT_OK;
	c->op.deadline_ms = until_ms;
	const enum agent_status st = agent_op_next(&c->op, &f);
	if (st == AGENT_TIMEOUT || st == AGENT_CANCELLED)
		return st;
	take(c, st, &f, ret);
	return AGENT_OK;
}

enum agent_status port_conn_poll(struct port_conn *c, struct dw_span *ret)
{
	struct dw_agentp_frame f = { 0 };
	if (take_early(c, ret))
		return AGENT_OK;
	const enum agent_status st = agent_op_poll(&c->op, &f);
	if (st == AGENT_TIMEOUT)
		return st;
	take(c, st, &f, ret);
	return AGENT_OK;
}

/* Everything that has come, as far as there is room. */
static int pull(struct port_conn *c, struct dw_err *err)
{
	while (!c->ended && c->early_n < DAEMON_PORT_EARLY) {
		struct dw_agentp_frame f = { 0 };
		struct dw_span data;
		const enum agent_status st = agent_op_poll(&c->op, &f);
		if (st == AGENT_TIMEOUT)
			return 0;
		take(c, st, &f, &data);
		if (!c->early && data.n)
			c->early = malloc(EARLY_SIZE);
		if (!c->early && data.n)
			return dw_err_errno(err, ENOMEM, "reading the answer");
		/* A frame of an agent's own making may be larger than a chunk. */
		if (data.n > EARLY_SIZE - c->early_n) {
			c->ended = c->broken = c->deaf = true;
			return 0;
		}
		if (data.n)
			memcpy(c->early + c->early_n, data.p, data.n);
		c->early_n += data.n;
	}
	return 0;
}

static int64_t stall_ms(void)
{
	return clock_bound_ms("DECLAW_TEST_PORT_STALL_MS", DAEMON_PORT_STALL_MS);
}

/* Until more can be sent: the server inside may say all it has to say without taking the whole request. */
static int wait_room(struct port_conn *c, struct dw_err *err)
{
	const bool hear = !c->ended && c->early_n < DAEMON_PORT_EARLY;
	struct pollfd p[] = {
		{ .fd = c->op.fd, .events = (short)(POLLOUT | (hear ? POLLIN : 0)) },
		{ .fd = c->op.client_fd, .events = POLLRDHUP },
		{ .fd = c->op.stop_fd, .events = POLLIN },
	};
	/* A server that has begun to answer, and reads no more, has its reason in the answer. */
	const int64_t patience = c->early_n ? DW_MIN(DAEMON_PORT_REFUSED_MS, stall_ms()) : stall_ms();
	const int64_t left = c->moved_ms + patience - clock_mono_ms();
	c->deaf |= left <= 0 && c->early_n;
	if (c->deaf)
		return 0;
	if (left <= 0)
		return dw_err_set(err, DW_ERR_GATEWAY_TIMEOUT, "port_timeout",
				  "the server in the sandbox takes no more of the request");
	if (poll(p, DW_COUNT(p), (int)left) < 0 && errno != EINTR)
		return dw_err_errno(err, errno, "passing the request on");
	if (p[1].revents || p[2].revents)
		return agent_op_lost(&c->op, AGENT_CANCELLED, err);
	return p[0].revents & (POLLIN | POLLHUP | POLLERR) ? pull(c, err) : 0;
}

static int send_bytes(struct port_conn *c, const uint8_t *p, size_t n, struct dw_err *err)
{
	while (n && !c->deaf) {
		const ssize_t put = send(c->op.fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0 && errno != EAGAIN) {
			/* The agent has closed: what it said before counts. */
			c->deaf = true;
			return pull(c, err);
		}
		if (put > 0) {
			p += put;
			n -= (size_t)put;
			c->moved_ms = clock_mono_ms();
			continue;
		}
		/* It has said its last word, and takes nothing now: it will not any more. */
		if (c->ended)
			c->deaf = true;
		else if (wait_room(c, err) < 0)
			return -1;
	}
	return 0;
}

int port_conn_send(struct port_conn *c, const void *data, size_t n, struct dw_err *err)
{
	const uint8_t *p = data;
	while (n && !c->deaf) {
		uint8_t head[DW_AGENTP_HEADER];
		const size_t chunk = DW_MIN(n, (size_t)DW_AGENTP_CHUNK);
		dw_agentp_header_build(head, DW_AGENTP_DATA, (uint32_t)chunk);
		c->moved_ms = clock_mono_ms();
		if (send_bytes(c, head, sizeof(head), err) < 0 || send_bytes(c, p, chunk, err) < 0)
			return -1;
		p += chunk;
		n -= chunk;
	}
	return 0;
}
