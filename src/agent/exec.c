/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command as the loop sees it. Its life: the child is forked; the status pipe ends (exec worked: STARTED) or
 * carries a fault (ERROR); output is forwarded one chunk at a time, and while the socket does not take a chunk the
 * pipes are not read, so that a slow reader slows the command and costs one buffer; the main process is reaped; the
 * pipes reach their end, or 100 ms pass because somebody else holds them, and then only what is in them at that
 * moment is still forwarded; EXIT.
 *
 * A command on a terminal is the same with the terminal's master as both its input and its output; see pty.c.
 */
#include "agent/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "agent/pty.h"
#include "agent/reap.h"

/* Chunks per wake-up and operation, so that one flood does not starve the others. */
#define CHUNKS_PER_TURN 16

/* One more chunk of a stream into the empty out buffer; closes the stream at its end. */
static bool stream_read(struct dw_op *op, enum dw_op_fd which)
{
	uint8_t *p = dw_op_out(op);
	if (!p) {
		dw_op_abort(op);
		return false;
	}
	size_t *drain = &op->drain[which - DW_OP_STDOUT];
	size_t room = op->draining ? DW_MIN(*drain, DW_AGENTP_CHUNK) : DW_AGENTP_CHUNK;
	ssize_t n = room ? read(op->fd[which], p, room) : 0;
	/* What a terminal holds can not be counted before, so there draining ends when it is empty. */
	if (n < 0 && (errno == EINTR || (errno == EAGAIN && !op->draining)))
		return false;
	if (n <= 0) {
		dw_op_close_fd(op, which);
		return false;
	}
	if (op->draining)
		*drain -= (size_t)n;
	dw_op_queue(op, which == DW_OP_STDOUT ? DW_AGENTP_STDOUT : DW_AGENTP_STDERR, (size_t)n);
	return true;
}

static bool streams_closed(const struct dw_op *op)
{
	return op->fd[DW_OP_STDOUT] < 0 && op->fd[DW_OP_STDERR] < 0;
}

static void queue_exit(struct dw_op *op)
{
	const struct dw_agentp_exit e = { .code = op->exit_code,
					  .timed_out = op->timed_out,
					  .by_signal = op->by_signal };
	uint8_t *out = dw_op_out(op);
	if (!out) {
		dw_op_abort(op);
		return;
	}
	dw_op_queue(op, DW_AGENTP_EXIT, dw_agentp_exit_build(&e, out, DW_AGENTP_CHUNK));
	dw_op_end(op);
}

/* Forwards what there is until the socket is full, the pipes are empty, or it is somebody else's turn. */
static void pump(struct dw_op *op)
{
	for (unsigned chunks = 0; chunks < CHUNKS_PER_TURN && dw_op_flush(op);) {
		enum dw_op_fd first = op->turn ? DW_OP_STDERR : DW_OP_STDOUT;
		enum dw_op_fd second = op->turn ? DW_OP_STDOUT : DW_OP_STDERR;
		op->turn = !op->turn;
		bool got = (op->fd[first] >= 0 && stream_read(op, first)) ||
			   (op->state == DW_OP_EXEC && op->fd[second] >= 0 && stream_read(op, second));
		if (op->state != DW_OP_EXEC || !got)
			break;
		chunks++;
	}
	if (op->state != DW_OP_EXEC)
		return;
	bool full = op->out_at < op->out_n;
	if (!full && op->exited && streams_closed(op)) {
		queue_exit(op);
		return;
	}
	dw_op_watch(op, DW_OP_STDOUT, full ? 0 : EPOLLIN);
	dw_op_watch(op, DW_OP_STDERR, full ? 0 : EPOLLIN);
	/* A hang-up is always told. While the command does not take its input, no more of it is received. */
	dw_op_watch(op, DW_OP_SOCK, EPOLLHUP | (full ? EPOLLOUT : 0u) | (op->left ? 0u : EPOLLIN));
}

/* Gives the command what is left of a STDIN payload; false when its pipe is full. */
static bool stdin_write(struct dw_op *op)
{
	while (op->left && op->fd[DW_OP_STDIN] >= 0) {
		ssize_t n = write(op->fd[DW_OP_STDIN], op->in + op->in_at, op->left);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			dw_op_watch(op, DW_OP_STDIN, EPOLLOUT);
			return false;
		}
		if (n < 0) {
			/* The command does not read (any more): the rest is dropped, as a closed pipe would. */
			dw_op_close_fd(op, DW_OP_STDIN);
			break;
		}
		op->in_at += (size_t)n;
		op->left -= (size_t)n;
	}
	op->in_at += op->left;
	op->left = 0;
	dw_op_watch(op, DW_OP_STDIN, 0);
	return true;
}

/* A terminal's input has no end: its end-of-file character is typed, in the place of the frame's last byte. */
static void stdin_close(struct dw_op *op)
{
	uint8_t eof;
	if (!op->on_tty)
		dw_op_close_fd(op, DW_OP_STDIN);
	else if (dw_pty_eof(op->fd[DW_OP_STDIN], &eof)) {
		op->in[--op->in_at] = eof;
		op->left = 1;
	}
}

/* The command's main process leads its group, and until it is reaped its id is nobody else's. */
static void signal_group(const struct dw_op *op, uint8_t number)
{
	if (op->pid > 1)
		kill(-op->pid, number);
}

/* Acts on one frame; false for one that should not have come. */
static bool take_frame(struct dw_op *op, const struct dw_agentp_frame *frame)
{
	uint16_t cols, rows;
	uint8_t number;
	op->in_at += DW_AGENTP_HEADER;
	if (frame->type == DW_AGENTP_STDIN) {
		op->left = frame->payload.n;
		return true;
	}
	op->in_at += frame->payload.n;
	if (frame->type == DW_AGENTP_STDIN_CLOSE && !frame->payload.n)
		stdin_close(op);
	else if (frame->type == DW_AGENTP_SIGNAL && dw_agentp_signal_parse(frame->payload, &number) == DW_PARSE_OK)
		signal_group(op, number);
	else if (frame->type == DW_AGENTP_RESIZE && op->on_tty &&
		 dw_agentp_resize_parse(frame->payload, &cols, &rows) == DW_PARSE_OK)
		dw_pty_resize(op->fd[DW_OP_STDIN], cols, rows);
	else
		return false;
	return true;
}

/* Every whole frame that has come. Input for a command without standard input, or after its end, is dropped. */
static void input(struct dw_op *op)
{
	while (stdin_write(op)) {
		struct dw_agentp_frame frame;
		enum dw_parse res = dw_op_frame(op, &frame);
		if (res == DW_PARSE_MORE)
			return;
		if (res != DW_PARSE_OK || !take_frame(op, &frame)) {
			dw_op_abort(op);
			return;
		}
	}
}

static void sock_readable(struct dw_op *op)
{
	int got = dw_op_recv(op);
	if (got < 0)
		dw_op_abort(op);
	else if (got > 0)
		input(op);
}

/* The status pipe has something to say: its end means that the command runs. */
static void status_read(struct dw_op *op)
{
	struct dw_fault f;
	ssize_t n = read(op->fd[DW_OP_STATUS], &f, sizeof(f));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != 0) {
		if (n != (ssize_t)sizeof(f))
			dw_fault_set(&f, EIO, "the command could not be started");
		dw_op_error(op, &f);
		return;
	}
	dw_op_close_fd(op, DW_OP_STATUS);
	struct dw_wr w = dw_wr_init(dw_op_out(op), DW_AGENTP_CHUNK);
	if (!w.buf) {
		dw_op_abort(op);
		return;
	}
	dw_wr_u32(&w, op->shown_pid);
	dw_op_queue(op, DW_AGENTP_STARTED, w.len);
	op->started = true;
	input(op);
}

void dw_exec_event(struct dw_op *op, enum dw_op_fd which, uint32_t events)
{
	if (which == DW_OP_STATUS)
		status_read(op);
	else if (which == DW_OP_STDIN)
		input(op);
	else if (which == DW_OP_SOCK && events & EPOLLIN)
		sock_readable(op);
	if (op->state == DW_OP_EXEC && op->started)
		pump(op);
}

void dw_exec_deadline(struct dw_op *op)
{
	op->deadline = 0;
	if (!op->exited) {
		op->timed_out = true;
		dw_kill_command(op->pid);
		return;
	}
	/* Somebody else still holds the pipes. What is in them now was written in time; more is not waited for. */
	op->draining = true;
	for (unsigned i = 0; i < 2; i++) {
		int n = 0;
		if (op->on_tty)
			op->drain[i] = DW_PTY_HELD_MAX;
		else if (op->fd[DW_OP_STDOUT + i] >= 0 && ioctl(op->fd[DW_OP_STDOUT + i], FIONREAD, &n) == 0 && n > 0)
			op->drain[i] = (size_t)n;
	}
	pump(op);
}

void dw_exec_exited(struct dw_op *op, int wait_status)
{
	op->exited = true;
	op->exit_code = (uint8_t)(WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status));
	op->by_signal = op->timed_out || WIFSIGNALED(wait_status);
	if (op->timed_out)
		op->exit_code = 128 + SIGKILL;
	op->deadline = dw_agent.now + DW_AGENT_LINGER_MS;
	dw_op_close_fd(op, DW_OP_STDIN);
	/* Now the terminal ends as soon as nobody else holds it. */
	dw_op_close_fd(op, DW_OP_TTY);
	/* The child was the only holder of the status pipe, so its verdict is there even if its event comes later. */
	if (!op->started)
		status_read(op);
	if (op->state == DW_OP_EXEC)
		pump(op);
}

/* The agent's end in fd, the child's in *ret_child. */
static int pipe_for(struct dw_op *op, enum dw_op_fd which, int *ret_child)
{
	int p[2];
	if (pipe2(p, O_CLOEXEC) != 0)
		return -1;
	bool agent_writes = which == DW_OP_STDIN;
	op->fd[which] = p[agent_writes];
	*ret_child = p[!agent_writes];
	return fcntl(op->fd[which], F_SETFL, O_NONBLOCK);
}

static int fork_command(struct dw_op *op, const struct dw_spawn *s)
{
	op->pid = fork();
	if (op->pid == 0)
		dw_spawn_child(s);
	op->shown_pid = (uint32_t)op->pid;
	return op->pid > 0 ? 0 : -1;
}

static int spawn_piped(struct dw_op *op, const struct dw_agentp_exec *e)
{
	dw_autoclose int in = -1;
	dw_autoclose int out = -1;
	dw_autoclose int err = -1;
	dw_autoclose int status = -1;
	if (pipe_for(op, DW_OP_STATUS, &status) != 0 || pipe_for(op, DW_OP_STDOUT, &out) != 0 ||
	    pipe_for(op, DW_OP_STDERR, &err) != 0 || (e->with_stdin && pipe_for(op, DW_OP_STDIN, &in) != 0))
		return -1;
	const struct dw_spawn s = {
		.exec = e,
		.in = e->with_stdin ? in : dw_agent.null_fd,
		.out = out,
		.err = err,
		.status = status,
	};
	return fork_command(op, &s);
}

static int spawn_on_tty(struct dw_op *op, const struct dw_agentp_exec *e)
{
	dw_autoclose int status = -1;
	op->on_tty = true;
	if (pipe_for(op, DW_OP_STATUS, &status) != 0 || dw_pty_open(e->cols, e->rows, op->fd) != 0)
		return -1;
	const int tty = op->fd[DW_OP_TTY];
	return fork_command(op, &(struct dw_spawn){ .exec = e, .in = tty, .out = tty, .err = tty, .status = status });
}

void dw_exec_start(struct dw_op *op, struct dw_span payload)
{
	static struct dw_agentp_exec e; /* 48 KiB, used until the fork only */
	if (dw_agentp_exec_parse(payload, &e) != DW_PARSE_OK) {
		dw_op_close(op);
		return;
	}
	op->state = DW_OP_EXEC;
	if ((e.cols ? spawn_on_tty(op, &e) : spawn_piped(op, &e)) != 0) {
		struct dw_fault f;
		dw_fault_errno(&f, errno, "the command could not be started");
		op->pid = 0;
		dw_op_error(op, &f);
		return;
	}
	if (e.timeout_ms)
		op->deadline = dw_agent.now + e.timeout_ms + 1;
	dw_op_watch(op, DW_OP_STATUS, EPOLLIN);
	dw_op_watch(op, DW_OP_SOCK, EPOLLHUP);
}
