/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/agentc.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/clock.h"
#include "daemon/utf8.h"

/* No honest frame to the daemon is larger: data comes in chunks, and the rest is short. */
#define BUF_SIZE (DW_AGENTP_HEADER + DW_AGENTP_CHUNK)

/* Hands theirs to the agent over its control socket. An agent that does not take it in time is lost. */
static enum agent_status hand_over(int control_fd, int theirs)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} space = { 0 };
	char letter = 'O';
	struct iovec iov = { .iov_base = &letter, .iov_len = 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space.bytes, .msg_controllen = sizeof(space.bytes)
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &theirs, sizeof(theirs));
	const int64_t until = clock_mono_ms() + DAEMON_AGENT_SEND_MS;
	for (;;) {
		if (sendmsg(control_fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) == 1)
			return AGENT_OK;
		if (errno == EINTR)
			continue;
		int64_t left = until - clock_mono_ms();
		struct pollfd p = { .fd = control_fd, .events = POLLOUT };
		if ((errno != EAGAIN && errno != ETOOMANYREFS) || left <= 0)
			return AGENT_LOST;
		if (poll(&p, 1, (int)DW_MIN(left, 100)) < 0 && errno != EINTR)
			return AGENT_LOST;
	}
}

/* In the sandbox that op has entered. */
static int begin(struct agent_op *op, struct dw_err *err)
{
	int pair[2];
	op->buf = malloc(BUF_SIZE);
	if (!op->buf || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		dw_err_errno(err, op->buf ? errno : ENOMEM, "reaching the sandbox");
		agent_op_close(op);
		return -1;
	}
	op->fd = pair[0];
	enum agent_status st = hand_over(sandbox_agent_fd(op->sandbox), pair[1]);
	close(pair[1]);
	if (st != AGENT_OK) {
		agent_op_lost(op, st, err);
		agent_op_close(op);
		return -1;
	}
	return 0;
}

int agent_op_open(struct agent_op *op, struct manager *m, const char *id, int stop_fd, struct dw_err *err)
{
	*op = (struct agent_op){ .fd = -1, .client_fd = -1, .stop_fd = stop_fd };
	return manager_enter(m, id, &op->sandbox, err) < 0 ? -1 : begin(op, err);
}

int agent_op_open_build(struct agent_op *op, struct manager *m, const char *id, int stop_fd, struct dw_err *err)
{
	*op = (struct agent_op){ .fd = -1, .client_fd = -1, .stop_fd = stop_fd };
	return manager_enter_build(m, id, &op->sandbox, err) < 0 ? -1 : begin(op, err);
}

void agent_op_close(struct agent_op *op)
{
	if (!op->sandbox)
		return;
	if (op->fd >= 0)
		close(op->fd);
	free(op->buf);
	if (op->held)
		sandbox_release(op->sandbox);
	else
		manager_leave(op->sandbox);
	*op = (struct agent_op){ .fd = -1, .client_fd = -1, .stop_fd = -1 };
}

void agent_op_hold(struct agent_op *op)
{
	sandbox_hold(op->sandbox);
	manager_leave(op->sandbox);
	op->held = true;
}

/* Waits until fd is ready for events, or something ends the wait. */
static enum agent_status wait_for(struct agent_op *op, short events)
{
	for (;;) {
		struct pollfd p[] = {
			{ .fd = op->fd, .events = events },
			/* A client that only half-closes has gone as well: none of the known ones does that while it waits. */
			{ .fd = op->client_fd, .events = POLLRDHUP },
			{ .fd = op->stop_fd, .events = POLLIN },
		};
		int64_t left = op->deadline_ms ? op->deadline_ms - clock_mono_ms() : -1;
		if (op->deadline_ms && left <= 0)
			return AGENT_TIMEOUT;
		int r = poll(p, DW_COUNT(p), (int)DW_MIN(left, INT32_MAX));
		if (r < 0 && errno != EINTR)
			return AGENT_LOST;
		if (r <= 0)
			continue;
		if (p[1].revents || p[2].revents)
			return AGENT_CANCELLED;
		if (p[0].revents)
			return AGENT_OK;
	}
}

static enum agent_status send_all(struct agent_op *op, const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t put = send(op->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0 && errno != EAGAIN)
			return AGENT_LOST;
		if (put < 0) {
			enum agent_status st = wait_for(op, POLLOUT);
			if (st != AGENT_OK)
				return st;
			continue;
		}
		p += put;
		n -= (size_t)put;
	}
	return AGENT_OK;
}

enum agent_status agent_op_send(struct agent_op *op, enum dw_agentp_type type, const void *payload, size_t n)
{
	uint8_t head[DW_AGENTP_HEADER];
	op->asked = true;
	dw_agentp_header_build(head, (uint8_t)type, (uint32_t)n);
	enum agent_status st = send_all(op, head, sizeof(head));
	return st == AGENT_OK ? send_all(op, payload, n) : st;
}

/* More bytes behind what is there, if some have come: TIMEOUT otherwise. */
static enum agent_status receive_now(struct agent_op *op)
{
	ssize_t got;
	if (op->at) {
		memmove(op->buf, op->buf + op->at, op->n - op->at);
		op->n -= op->at;
		op->at = 0;
	}
	if (op->n == BUF_SIZE)
		return AGENT_LOST;
	do
		got = recv(op->fd, op->buf + op->n, BUF_SIZE - op->n, MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got < 0 && errno == EAGAIN)
		return AGENT_TIMEOUT;
	if (got <= 0)
		return AGENT_LOST;
	op->n += (size_t)got;
	return AGENT_OK;
}

static enum agent_status receive(struct agent_op *op)
{
	for (;;) {
		enum agent_status st = receive_now(op);
		if (st != AGENT_TIMEOUT)
			return st;
		st = wait_for(op, POLLIN);
		if (st != AGENT_OK)
			return st;
	}
}

/* A sandbox that talks without end must not keep its operation alive without end either. */
static enum agent_status still_wanted(const struct agent_op *op)
{
	struct pollfd p[] = {
		{ .fd = op->client_fd, .events = POLLRDHUP },
		{ .fd = op->stop_fd, .events = POLLIN },
	};
	if (op->deadline_ms && clock_mono_ms() >= op->deadline_ms)
		return AGENT_TIMEOUT;
	return poll(p, DW_COUNT(p), 0) > 0 ? AGENT_CANCELLED : AGENT_OK;
}

/* OK, MORE, or BAD. */
static enum dw_parse take_frame(struct agent_op *op, struct dw_agentp_frame *ret)
{
	enum dw_parse parse = dw_agentp_frame_parse(op->buf + op->at, op->n - op->at, ret);
	if (parse == DW_PARSE_OK)
		op->at += ret->frame_n;
	return parse == DW_PARSE_OK || parse == DW_PARSE_MORE ? parse : DW_PARSE_BAD;
}

enum agent_status agent_op_next(struct agent_op *op, struct dw_agentp_frame *ret)
{
	for (;;) {
		enum dw_parse parse = take_frame(op, ret);
		if (parse != DW_PARSE_MORE)
			return parse == DW_PARSE_OK ? AGENT_OK : AGENT_LOST;
		enum agent_status st = still_wanted(op);
		if (st == AGENT_OK)
			st = receive(op);
		if (st != AGENT_OK)
			return st;
	}
}

enum agent_status agent_op_poll(struct agent_op *op, struct dw_agentp_frame *ret)
{
	for (;;) {
		enum dw_parse parse = take_frame(op, ret);
		if (parse != DW_PARSE_MORE)
			return parse == DW_PARSE_OK ? AGENT_OK : AGENT_LOST;
		enum agent_status st = receive_now(op);
		if (st != AGENT_OK)
			return st;
	}
}

int agent_op_lost(struct agent_op *op, enum agent_status status, struct dw_err *err)
{
	/* Nobody reads this answer, or the server goes away: a retry elsewhere is the client's business. */
	if (status == AGENT_CANCELLED)
		return dw_err_set(err, DW_ERR_CONFLICT, "cancelled", "the operation was cancelled");
	sandbox_lost(op->sandbox, err);
	/* Nothing goes on in one that was killed. */
	err->begun = op->asked && strcmp(err->code, "sandbox_killed") != 0;
	return -1;
}

struct error_row {
	uint16_t number;
	enum dw_err_kind kind;
	const char *code;
};

/* The numbers come from inside the sandbox: they choose among these, and nothing else. */
static const struct error_row file_errors[] = {
	{ ENOENT, DW_ERR_NOT_FOUND, "not_found" },
	{ EACCES, DW_ERR_FORBIDDEN, "permission_denied" },
	{ EPERM, DW_ERR_FORBIDDEN, "permission_denied" },
	{ EROFS, DW_ERR_FORBIDDEN, "permission_denied" },
	{ EISDIR, DW_ERR_INVALID, "is_directory" },
	{ ENOTDIR, DW_ERR_INVALID, "invalid_path" },
	{ ELOOP, DW_ERR_INVALID, "invalid_path" },
	{ ENAMETOOLONG, DW_ERR_INVALID, "invalid_path" },
	{ ENOSPC, DW_ERR_TOO_LARGE, "not_enough_space" },
	{ EDQUOT, DW_ERR_TOO_LARGE, "not_enough_space" },
	{ EFBIG, DW_ERR_TOO_LARGE, "file_too_large" },
	{ E2BIG, DW_ERR_TOO_LARGE, "too_many_entries" },
	{ EEXIST, DW_ERR_CONFLICT, "already_exists" },
	{ ENOTEMPTY, DW_ERR_CONFLICT, "not_empty" },
	{ EBUSY, DW_ERR_CONFLICT, "busy" },
	{ EXDEV, DW_ERR_CONFLICT, "cross_device" },
	{ 0 },
};

/* Whatever was asked for: the sandbox has used up what it may have. */
static const struct error_row limit_errors[] = {
	{ EAGAIN, DW_ERR_LIMIT, "sandbox_limit" },
	{ ENOMEM, DW_ERR_LIMIT, "sandbox_limit" },
	{ EMFILE, DW_ERR_LIMIT, "sandbox_limit" },
	{ ENFILE, DW_ERR_LIMIT, "sandbox_limit" },
	{ 0 },
};

static const struct error_row *find_error(const struct error_row *row, uint16_t number)
{
	while (row->number && row->number != number)
		row++;
	return row->number ? row : NULL;
}

int agent_op_error(struct agent_op *op, struct dw_span payload, enum agent_kind kind, struct dw_err *err)
{
	uint16_t number;
	struct dw_span message;
	if (dw_agentp_error_parse(payload, &number, &message) != DW_PARSE_OK)
		return agent_op_lost(op, AGENT_LOST, err);
	char text[400];
	utf8_sanitize_line(message.p, message.n, text, sizeof(text));
	const struct error_row *row = find_error(limit_errors, number);
	if (!row && kind == AGENT_FILE)
		row = find_error(file_errors, number);
	if (row)
		return dw_err_set(err, row->kind, row->code, "%s", text);
	return dw_err_set(err, DW_ERR_INVALID, kind == AGENT_FILE ? "file_error" : "invalid_command", "%s", text);
}
