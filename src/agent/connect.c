/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to a port inside. Its life: the two loopback addresses are tried, one after the other (CONNECTED, or
 * ERROR with what the first one said); bytes go both ways, each way with one buffer and only as fast as the other side
 * takes them; each direction ends by itself (END, and a half-close on the side of TCP); when both have, the operation
 * is over. A connection that breaks: what the peer had sent before is still forwarded, then ERROR.
 */
#include "agent/connect.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* Chunks per wake-up and operation, so that one flood does not starve the others. */
#define CHUNKS_PER_TURN 16

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static socklen_t address_fill(const struct dw_op *op, union address *a)
{
	memset(a, 0, sizeof(*a));
	if (!op->second_try) {
		a->v4.sin_family = AF_INET;
		a->v4.sin_port = htons(op->port);
		a->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		return sizeof(a->v4);
	}
	a->v6.sin6_family = AF_INET6;
	a->v6.sin6_port = htons(op->port);
	a->v6.sin6_addr = in6addr_loopback;
	return sizeof(a->v6);
}

/* Begins to connect. 0, or the errno that says why not. */
static int attempt(struct dw_op *op)
{
	union address a;
	const socklen_t n = address_fill(op, &a);
	op->fd[DW_OP_PEER] = socket(a.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (op->fd[DW_OP_PEER] < 0)
		return errno;
	const int one = 1;
	/* What a client wrote at once goes on at once; without this it is slower, not wrong. */
	DW_IGNORE(setsockopt(op->fd[DW_OP_PEER], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
	if (connect(op->fd[DW_OP_PEER], &a.any, n) != 0 && errno != EINPROGRESS)
		return errno;
	dw_op_watch(op, DW_OP_PEER, EPOLLOUT);
	return 0;
}

/* The first address' answer is the one to tell: most listen there. */
static void refused(struct dw_op *op, int error)
{
	if (!op->fault)
		op->fault = (uint16_t)error;
	if (!op->second_try) {
		op->second_try = true;
		dw_op_close_fd(op, DW_OP_PEER);
		if (attempt(op) == 0)
			return;
	}
	struct dw_fault f;
	dw_fault_errno(&f, op->fault, "port %u can not be connected to", op->port);
	dw_op_error(op, &f);
}

/*
 * Where nobody listens, a port of the range that outgoing connections take theirs from can be connected to itself
 * (RFC 9293, 3.5: simultaneous open).
 */
static bool is_own_peer(int fd)
{
	union address own, peer;
	socklen_t own_n = sizeof(own), peer_n = sizeof(peer);
	return getsockname(fd, &own.any, &own_n) == 0 && getpeername(fd, &peer.any, &peer_n) == 0 && own_n == peer_n &&
	       own.v4.sin_port ==
		       peer.v4.sin_port; /* both addresses are the loopback's, both forms have the port there */
}

/* Ends one direction: what the daemon still sends can not be delivered. */
static void peer_deaf(struct dw_op *op, int error)
{
	/* EPIPE: it had been closed from the other side, which that side's END tells. */
	if (!op->fault && error != EPIPE)
		op->fault = (uint16_t)error;
	op->in_ended = true;
	op->left = 0;
}

/* Gives the peer what is left of a DATA payload; false when it does not take all now. */
static bool peer_write(struct dw_op *op)
{
	while (op->left) {
		ssize_t n = send(op->fd[DW_OP_PEER], op->in + op->in_at, op->left, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return false;
		if (n < 0) {
			peer_deaf(op, errno);
			break;
		}
		op->in_at += (size_t)n;
		op->left -= (size_t)n;
	}
	return true;
}

/* Every whole frame that has come. */
static void input(struct dw_op *op)
{
	while (peer_write(op) && !op->in_ended) {
		struct dw_agentp_frame frame;
		enum dw_parse res = dw_op_frame(op, &frame);
		if (res == DW_PARSE_MORE)
			return;
		const bool data = res == DW_PARSE_OK && frame.type == DW_AGENTP_DATA;
		const bool end = res == DW_PARSE_OK && frame.type == DW_AGENTP_END && !frame.payload.n;
		if (!data && !end) {
			dw_op_abort(op);
			return;
		}
		op->in_at += DW_AGENTP_HEADER;
		op->left = frame.payload.n;
		if (end) {
			op->in_ended = true;
			/* Fails when the connection is broken, and then reading from it says so. */
			DW_IGNORE(shutdown(op->fd[DW_OP_PEER], SHUT_WR));
		}
	}
}

/* One more frame into the empty out buffer; false when there is nothing to send now. */
static bool peer_read(struct dw_op *op)
{
	uint8_t *p = dw_op_out(op);
	if (!p) {
		dw_op_abort(op);
		return false;
	}
	ssize_t n = recv(op->fd[DW_OP_PEER], p, DW_AGENTP_CHUNK, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n > 0) {
		dw_op_queue(op, DW_AGENTP_DATA, (size_t)n);
		return true;
	}
	if (n < 0 && !op->fault)
		op->fault = (uint16_t)errno;
	if (op->fault) {
		struct dw_fault f;
		dw_fault_errno(&f, op->fault, "the connection to port %u broke", op->port);
		dw_op_error(op, &f);
		return false;
	}
	op->out_ended = true;
	dw_op_queue(op, DW_AGENTP_END, 0);
	return true;
}

/* Forwards what there is until the socket is full, the peer has no more, or it is somebody else's turn. */
static void pump(struct dw_op *op)
{
	for (unsigned i = 0; i < CHUNKS_PER_TURN && dw_op_flush(op) && !op->out_ended; i++)
		if (!peer_read(op))
			break;
	if (op->state != DW_OP_CONNECT)
		return;
	const bool full = op->out_at < op->out_n;
	if (!full && op->in_ended && op->out_ended) {
		dw_op_close(op);
		return;
	}
	dw_op_watch(op, DW_OP_PEER, (full || op->out_ended ? 0u : EPOLLIN) | (op->left ? EPOLLOUT : 0u));
	/* A hang-up is always told. Behind the END nothing is read, so the daemon may shut its side down then. */
	dw_op_watch(op, DW_OP_SOCK, EPOLLHUP | (full ? EPOLLOUT : 0u) | (op->left || op->in_ended ? 0u : EPOLLIN));
}

static void established(struct dw_op *op)
{
	int error = 0;
	socklen_t n = sizeof(error);
	if (getsockopt(op->fd[DW_OP_PEER], SOL_SOCKET, SO_ERROR, &error, &n) != 0)
		error = errno;
	if (!error && is_own_peer(op->fd[DW_OP_PEER]))
		error = ECONNREFUSED;
	if (error) {
		refused(op, error);
		return;
	}
	if (!dw_op_out(op)) {
		dw_op_abort(op);
		return;
	}
	op->connected = true;
	op->fault = 0;
	op->deadline = 0;
	dw_op_queue(op, DW_AGENTP_CONNECTED, 0);
	input(op);
}

void dw_connect_event(struct dw_op *op, enum dw_op_fd which, uint32_t events)
{
	if (which == DW_OP_PEER && !op->connected) {
		established(op);
	} else if (which == DW_OP_PEER) {
		input(op);
	} else if (which == DW_OP_SOCK && events & EPOLLIN) {
		int got = dw_op_recv(op);
		if (got < 0)
			dw_op_abort(op);
		else if (got > 0)
			input(op);
	}
	if (op->state == DW_OP_CONNECT && op->connected)
		pump(op);
}

void dw_connect_deadline(struct dw_op *op)
{
	op->fault = ETIMEDOUT;
	op->second_try = true;
	refused(op, ETIMEDOUT);
}

void dw_connect_abort(const struct dw_op *op)
{
	/* A reset: a plain close would tell the peer that it has got all there was. */
	const struct linger now = { .l_onoff = 1 };
	if (op->connected && !op->in_ended)
		DW_IGNORE(setsockopt(op->fd[DW_OP_PEER], SOL_SOCKET, SO_LINGER, &now, sizeof(now)));
}

void dw_connect_start(struct dw_op *op, struct dw_span payload)
{
	if (dw_agentp_connect_parse(payload, &op->port) != DW_PARSE_OK) {
		dw_op_close(op);
		return;
	}
	op->state = DW_OP_CONNECT;
	op->deadline = dw_agent.now + DW_AGENT_CONNECT_MS;
	dw_op_watch(op, DW_OP_SOCK, EPOLLHUP);
	int error = attempt(op);
	if (error)
		refused(op, error);
}
