/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/op.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "agent/connect.h"
#include "agent/exec.h"
#include "agent/file.h"
#include "agent/reap.h"

/* Takes a stdin chunk of the usual size without growing; a larger frame grows it to that frame's size. */
#define IN_SIZE (DW_AGENTP_HEADER + DW_AGENTP_CHUNK)

static struct dw_op ops[DW_AGENT_OPS_MAX];

#define NO_FDS                             \
	{                                  \
		-1, -1, -1, -1, -1, -1, -1 \
	}
_Static_assert(DW_OP_FD_COUNT == 7, "NO_FDS has all");

void dw_op_watch(struct dw_op *op, enum dw_op_fd which, uint32_t events)
{
	if (op->fd[which] < 0 || op->events[which] == events)
		return;
	struct epoll_event ev = {
		.events = events,
		.data.u64 = (uint64_t)op->gen << 32 | (uint64_t)(op - ops) << 8 | (uint64_t)which,
	};
	int how = !op->events[which] ? EPOLL_CTL_ADD : events ? EPOLL_CTL_MOD : EPOLL_CTL_DEL;
	if (epoll_ctl(dw_agent.epoll_fd, how, op->fd[which], &ev) == 0)
		op->events[which] = events;
	else
		op->deaf = true;
}

void dw_op_close_fd(struct dw_op *op, enum dw_op_fd which)
{
	if (op->fd[which] < 0)
		return;
	/* Closing alone would leave the registration in place while a forked child has not closed its copy yet. */
	dw_op_watch(op, which, 0);
	close(op->fd[which]);
	op->fd[which] = -1;
}

void dw_op_close(struct dw_op *op)
{
	for (unsigned i = 0; i < DW_OP_FD_COUNT; i++)
		dw_op_close_fd(op, i);
	free(op->in);
	free(op->out);
	*op = (struct dw_op){ .gen = op->gen + 1, .fd = NO_FDS };
}

void dw_op_abort(struct dw_op *op)
{
	if (op->state == DW_OP_EXEC && op->pid > 0)
		dw_kill_command(op->pid);
	if (op->state == DW_OP_FILE && op->pid > 0)
		kill(op->pid, SIGKILL);
	if (op->state == DW_OP_CONNECT)
		dw_connect_abort(op);
	dw_op_close(op);
}

void dw_op_abort_all(void)
{
	for (unsigned i = 0; i < DW_AGENT_OPS_MAX; i++)
		if (ops[i].state != DW_OP_FREE)
			dw_op_abort(&ops[i]);
}

/* No slot, so no buffer: the socket is new and takes a small frame at once. */
static void refuse(int sock, int number, const char *message)
{
	uint8_t frame[DW_AGENTP_HEADER + 256];
	size_t n = dw_agentp_error_build((uint16_t)number, message, frame + DW_AGENTP_HEADER,
					 sizeof(frame) - DW_AGENTP_HEADER);
	dw_agentp_header_build(frame, DW_AGENTP_ERROR, (uint32_t)n);
	/* If even this does not go out, the end of file says as much. */
	DW_IGNORE(send(sock, frame, DW_AGENTP_HEADER + n, MSG_DONTWAIT | MSG_NOSIGNAL));
	close(sock);
}

void dw_op_new(int sock)
{
	struct dw_op *op = NULL;
	for (unsigned i = 0; i < DW_AGENT_OPS_MAX && !op; i++)
		if (ops[i].state == DW_OP_FREE)
			op = &ops[i];
	if (!op) {
		refuse(sock, EAGAIN, "too many operations at one time in this sandbox");
		return;
	}
	*op = (struct dw_op){
		.state = DW_OP_REQUEST,
		.gen = op->gen,
		.fd = NO_FDS,
		.deadline = dw_agent.now + DW_AGENT_REQUEST_MS,
	};
	op->fd[DW_OP_SOCK] = sock;
	dw_op_watch(op, DW_OP_SOCK, EPOLLIN);
}

enum dw_parse dw_op_frame(const struct dw_op *op, struct dw_agentp_frame *ret)
{
	if (op->in_at == op->in_n)
		return DW_PARSE_MORE;
	return dw_agentp_frame_parse(op->in + op->in_at, op->in_n - op->in_at, ret);
}

/* Room for at least one more byte: moves what is left to the front, or grows up to the largest frame. */
static bool in_room(struct dw_op *op)
{
	if (op->in_at > 0) {
		op->in_n -= op->in_at;
		memmove(op->in, op->in + op->in_at, op->in_n);
		op->in_at = 0;
	}
	if (op->in_n < op->in_cap)
		return true;
	if (op->in_cap >= DW_AGENTP_HEADER + DW_AGENTP_FRAME_MAX)
		return false;
	size_t cap = DW_MAX(op->in_cap * 4, IN_SIZE);
	cap = DW_MIN(cap, DW_AGENTP_HEADER + DW_AGENTP_FRAME_MAX);
	uint8_t *p = realloc(op->in, cap);
	if (!p)
		return false;
	op->in = p;
	op->in_cap = cap;
	return true;
}

int dw_op_recv(struct dw_op *op)
{
	if (!in_room(op))
		return -1;
	ssize_t n = recv(op->fd[DW_OP_SOCK], op->in + op->in_n, op->in_cap - op->in_n, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	op->in_n += (size_t)n;
	return n ? 1 : -1;
}

uint8_t *dw_op_out(struct dw_op *op)
{
	dw_assert(op->out_at == op->out_n);
	if (!op->out)
		op->out = malloc(DW_AGENTP_HEADER + DW_AGENTP_CHUNK);
	return op->out ? op->out + DW_AGENTP_HEADER : NULL;
}

void dw_op_queue(struct dw_op *op, enum dw_agentp_type type, size_t payload_n)
{
	dw_assert(op->out && payload_n <= DW_AGENTP_CHUNK);
	dw_agentp_header_build(op->out, (uint8_t)type, (uint32_t)payload_n);
	op->out_at = 0;
	op->out_n = DW_AGENTP_HEADER + payload_n;
}

bool dw_op_flush(struct dw_op *op)
{
	while (op->out_at < op->out_n) {
		ssize_t n = send(op->fd[DW_OP_SOCK], op->out + op->out_at, op->out_n - op->out_at,
				 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			dw_op_abort(op);
		if (n < 0)
			return false;
		op->out_at += (size_t)n;
	}
	return true;
}

/* In DW_OP_ENDING: closes when all is sent. */
static void finish(struct dw_op *op)
{
	if (dw_op_flush(op))
		dw_op_close(op);
	else if (op->state == DW_OP_ENDING)
		dw_op_watch(op, DW_OP_SOCK, EPOLLOUT);
}

void dw_op_end(struct dw_op *op)
{
	for (unsigned i = DW_OP_SOCK + 1; i < DW_OP_FD_COUNT; i++)
		dw_op_close_fd(op, i);
	op->state = DW_OP_ENDING;
	op->deadline = 0;
	op->pid = 0;
	finish(op);
}

void dw_op_error(struct dw_op *op, const struct dw_fault *f)
{
	uint8_t *p = dw_op_out(op);
	if (!p) {
		dw_op_abort(op);
		return;
	}
	dw_op_queue(op, DW_AGENTP_ERROR, dw_agentp_error_build(f->number, f->message, p, DW_AGENTP_CHUNK));
	dw_op_end(op);
}

static void request(struct dw_op *op)
{
	int got = dw_op_recv(op);
	struct dw_agentp_frame frame;
	enum dw_parse res = got > 0 ? dw_op_frame(op, &frame) : DW_PARSE_MORE;
	if (got < 0 || res == DW_PARSE_BAD || res == DW_PARSE_BIG) {
		dw_op_close(op);
		return;
	}
	if (res == DW_PARSE_MORE)
		return;
	op->in_at += frame.frame_n;
	op->deadline = 0;
	if (frame.type == DW_AGENTP_EXEC)
		dw_exec_start(op, frame.payload);
	else if (frame.type == DW_AGENTP_CONNECT)
		dw_connect_start(op, frame.payload);
	else if (dw_file_is_request(frame.type))
		dw_file_start(op, &frame);
	else
		dw_op_close(op);
}

void dw_op_dispatch(uint64_t epoll_data, uint32_t events)
{
	struct dw_op *op = &ops[(uint32_t)epoll_data >> 8];
	enum dw_op_fd which = epoll_data & 0xff;
	if (op->state == DW_OP_FREE || op->gen != (uint32_t)(epoll_data >> 32) || op->fd[which] < 0)
		return;
	if (which == DW_OP_SOCK && events & (EPOLLHUP | EPOLLERR)) {
		dw_op_abort(op);
		return;
	}
	switch (op->state) {
	case DW_OP_REQUEST:
		request(op);
		break;
	case DW_OP_EXEC:
		dw_exec_event(op, which, events);
		break;
	case DW_OP_CONNECT:
		dw_connect_event(op, which, events);
		break;
	case DW_OP_ENDING:
		finish(op);
		break;
	case DW_OP_FILE:
	case DW_OP_FREE:
		break;
	}
}

void dw_op_expire(void)
{
	for (unsigned i = 0; i < DW_AGENT_OPS_MAX; i++) {
		struct dw_op *op = &ops[i];
		bool due = op->deadline && op->deadline <= dw_agent.now;
		if (op->state == DW_OP_FREE || (!due && !op->deaf))
			continue;
		if (op->state == DW_OP_EXEC && !op->deaf)
			dw_exec_deadline(op);
		else if (op->state == DW_OP_CONNECT && !op->deaf)
			dw_connect_deadline(op);
		else
			dw_op_abort(op);
	}
}

int dw_op_next_timeout(void)
{
	uint64_t next = UINT64_MAX;
	for (unsigned i = 0; i < DW_AGENT_OPS_MAX; i++)
		if (ops[i].state != DW_OP_FREE && ops[i].deadline)
			next = DW_MIN(next, ops[i].deadline);
	if (next == UINT64_MAX)
		return -1;
	return next <= dw_agent.now ? 0 : (int)DW_MIN(next - dw_agent.now, (uint64_t)INT32_MAX);
}

void dw_op_reaped(pid_t pid, int wait_status)
{
	for (unsigned i = 0; i < DW_AGENT_OPS_MAX; i++) {
		struct dw_op *op = &ops[i];
		if (op->state == DW_OP_FREE || op->pid != pid)
			continue;
		op->pid = 0;
		if (op->state == DW_OP_EXEC)
			dw_exec_exited(op, wait_status);
		else
			dw_op_close(op);
		return;
	}
}
