/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output as events. A command of POST commands/stream lives with its answer: the connection's thread reads what it writes as the client
 * takes it, so a slow client slows it down, nothing is dropped, and a client that goes takes it along. The others are
 * processes of the table, which wait for nobody: their readers may fall behind, and are told then.
 */
#include "daemon/api_process.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base64.h"
#include "daemon/clock.h"
#include "daemon/line_events.h"
#include "daemon/sse.h"

/* Events that are made before they are sent: enough to fill what the connection takes at a time. */
#define OUT_ENOUGH (16u << 10)

/* What both kinds of stream have. */
struct events {
	struct sse_out out;
	struct line_events lines;
	bool begun, done;
	int64_t ping_ms, flush_ms; /* when they are due; flush_ms 0 = nothing to flush */
	int64_t every_ms;
	int client_fd, stop_fd;
};

/* Milliseconds between two signs of life. Test builds can shorten them. */
static int64_t alive_ms(void)
{
	return clock_bound_ms("DECLAW_TEST_PING_MS", DAEMON_STREAM_ALIVE_MS);
}

static void events_init(struct events *e, const struct http_request *rq)
{
	*e = (struct events){
		.client_fd = http_client_fd(rq),
		.stop_fd = rq->app->stop_fd,
		.every_ms = alive_ms(),
	};
	e->ping_ms = clock_mono_ms() + e->every_ms;
}

static void events_done(struct events *e)
{
	sse_out_done(&e->out);
	line_events_done(&e->lines);
}

/* Something was said: the client knows that the stream lives. */
static bool said(struct events *e, bool ok)
{
	e->ping_ms = clock_mono_ms() + e->every_ms;
	return ok;
}

/* Takes some of a piece of output. False when memory is out. */
static bool put_lines(struct events *e, unsigned stream, struct dw_span *piece)
{
	while (piece->n && e->out.n - e->out.at < OUT_ENOUGH) {
		const size_t n = line_events_take(&e->lines, stream, (const char *)piece->p, piece->n, &e->out);
		if (!n)
			return false;
		piece->p += n;
		piece->n -= n;
	}
	if (!line_events_waiting(&e->lines))
		e->flush_ms = 0;
	else if (!e->flush_ms)
		e->flush_ms = clock_mono_ms() + DAEMON_STREAM_FLUSH_MS;
	return said(e, true);
}

/* The last events. error: "" when it ended by itself. */
static bool put_end(struct events *e, const char *error, uint32_t exit_code)
{
	e->done = true;
	if (!line_events_flush(&e->lines, true, &e->out))
		return false;
	if (*error && !sse_put_json(&e->out, "error", json_pack("{ss}", "error", error)))
		return false;
	return sse_put_json(&e->out, "exit", json_pack("{sI}", "exit_code", (json_int_t)exit_code));
}

static int64_t next_due(const struct events *e)
{
	return e->flush_ms ? DW_MIN(e->flush_ms, e->ping_ms) : e->ping_ms;
}

/* What is due when nothing came. */
static bool put_due(struct events *e)
{
	const int64_t now = clock_mono_ms();
	bool ok = true;
	if (e->flush_ms && now >= e->flush_ms) {
		e->flush_ms = 0;
		ok = line_events_flush(&e->lines, false, &e->out);
	}
	if (ok && now >= e->ping_ms)
		ok = said(e, sse_put_ping(&e->out));
	return ok;
}

/* The body of a content reader: step puts something to out, waits, or says that it is over (done). False ends the connection. */
static ssize_t next_bytes(struct events *e, bool (*step)(void *arg), void *arg, char *buf, size_t max)
{
	/* A sign of life at once, so that the client sees the head of the answer before anything happens. */
	if (!e->begun) {
		e->begun = true;
		if (!sse_put_ping(&e->out))
			return MHD_CONTENT_READER_END_WITH_ERROR;
	}
	while (sse_out_empty(&e->out)) {
		if (e->done)
			return MHD_CONTENT_READER_END_OF_STREAM;
		if (!step(arg))
			return MHD_CONTENT_READER_END_WITH_ERROR;
	}
	return (ssize_t)sse_take(&e->out, buf, max);
}

static int reply_events(struct http_request *rq, struct http_reply *rp, MHD_ContentReaderCallback next,
			void (*release)(void *arg), void *arg, struct dw_err *err)
{
	if (sse_reply(rq, rp, next, release, arg, err) < 0)
		return -1;
	/* Clients wait for the end of the connection, not only of the answer. */
	MHD_add_response_header(rp->response, MHD_HTTP_HEADER_CONNECTION, "close");
	return 0;
}

/* A command that lives with its answer. */
struct streaming {
	struct events events;
	struct agent_op op;
	struct dw_span piece; /* of the last frame */
	unsigned stream;
	double timeout_s;
	unsigned late; /* waits after the operation's deadline */
};

static void streaming_free(void *arg)
{
	struct streaming *s = arg;
	agent_op_close(&s->op);
	events_done(&s->events);
	free(s);
}
DW_DEFINE_CLEANUP(struct streaming *, streaming_free)

static bool is_stopping(int stop_fd)
{
	struct pollfd p = { .fd = stop_fd, .events = POLLIN };
	return poll(&p, 1, 0) > 0;
}

static bool put_lost(struct streaming *s, enum agent_status st)
{
	struct dw_err err = { 0 };
	if (st == AGENT_CANCELLED)
		return is_stopping(s->op.stop_fd) && put_end(&s->events, "the server is stopping", 137);
	DW_IGNORE(agent_op_lost(&s->op, st, &err)); /* it fails by design: why is what counts */
	return put_end(&s->events, err.message, 137);
}

static bool put_exit(struct streaming *s, const struct dw_agentp_frame *f)
{
	char text[64];
	struct dw_agentp_exit e;
	if (dw_agentp_exit_parse(f->payload, &e) != DW_PARSE_OK)
		return put_lost(s, AGENT_LOST);
	snprintf(text, sizeof(text), "command timed out after %gs", s->timeout_s);
	return put_end(&s->events, e.timed_out ? text : "", e.timed_out ? 124 : e.code);
}

static bool put_frame(struct streaming *s, const struct dw_agentp_frame *f)
{
	switch (f->type) {
	case DW_AGENTP_STDOUT:
	case DW_AGENTP_STDERR:
		s->piece = f->payload;
		s->stream = f->type == DW_AGENTP_STDERR;
		return true;
	case DW_AGENTP_EXIT:
		return put_exit(s, f);
	default:
		return put_lost(s, AGENT_LOST);
	}
}

/*
 * Until when to wait for the agent. Nothing is read while the client does not read, and the deadline may pass in that time: what was said
 * before it still stands in the sockets, and the agent may have to wake up for the rest. So it gets a moment for each frame,
 * but not for ever.
 */
static int64_t answer_by(struct streaming *s)
{
	const int64_t deadline = s->op.deadline_ms, now = clock_mono_ms();
	if (!deadline || now < deadline || s->late >= DAEMON_STREAM_LATE)
		return deadline;
	s->late++;
	return now + DAEMON_STREAM_LATE_MS;
}

static bool streaming_step(void *arg)
{
	struct streaming *s = arg;
	struct dw_agentp_frame f;
	if (s->piece.n)
		return put_lines(&s->events, s->stream, &s->piece);
	const int64_t deadline = s->op.deadline_ms, until = answer_by(s), due = next_due(&s->events);
	const bool sooner = !until || due < until;
	s->op.deadline_ms = sooner ? due : until;
	const enum agent_status st = agent_op_next(&s->op, &f);
	s->op.deadline_ms = deadline;
	if (st == AGENT_OK)
		return put_frame(s, &f);
	return st == AGENT_TIMEOUT && sooner ? put_due(&s->events) : put_lost(s, st);
}

static ssize_t streaming_next(void *arg, uint64_t pos, char *buf, size_t max)
{
	struct streaming *s = arg;
	return next_bytes(&s->events, streaming_step, s, buf, max);
}

/* One known client joins the pieces it gets by "\n", and can be told from others only by what it sends. */
static bool joins_lines(const struct http_request *rq)
{
	static const char name[] = "python-httpx";
	const char *agent = http_header(rq, MHD_HTTP_HEADER_USER_AGENT);
	return agent && strncmp(agent, name, sizeof(name) - 1) == 0 && http_header(rq, "X-API-Key") &&
	       !http_header(rq, MHD_HTTP_HEADER_AUTHORIZATION);
}

/* Waits until it runs, so that a command that can not be started is an error and not a stream. */
static int wait_started(struct streaming *s, struct dw_err *err)
{
	struct dw_agentp_frame f;
	const enum agent_status st = agent_op_next(&s->op, &f);
	if (st != AGENT_OK)
		return agent_op_lost(&s->op, st, err);
	if (f.type == DW_AGENTP_ERROR)
		return agent_op_error(&s->op, f.payload, AGENT_COMMAND, err);
	if (f.type != DW_AGENTP_STARTED || f.payload.n != 4)
		return agent_op_lost(&s->op, AGENT_LOST, err);
	return 0;
}

static int stream_command(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct agent_command c = { 0 };
	DW_AUTO(streaming_free) struct streaming *s = calloc(1, sizeof(*s));
	if (!s)
		return dw_err_errno(err, ENOMEM, "running the command");
	events_init(&s->events, rq);
	s->events.lines.strip = joins_lines(rq);
	if (api_read_foreground(rq->json, err) < 0 || api_read_command(rq->json, &c, &s->timeout_s, err) < 0 ||
	    agent_op_open(&s->op, rq->app->manager, rq->id, rq->app->stop_fd, err) < 0)
		return -1;
	s->op.client_fd = s->events.client_fd;
	if (agent_command_start(&s->op, &c, err) < 0 || wait_started(s, err) < 0)
		return -1;
	return reply_events(rq, rp, streaming_next, streaming_free, DW_TAKE(s), err);
}

/* That client takes every answer for a stream, and one without events for success. */
static int reply_failure(struct http_request *rq, struct http_reply *rp, const struct dw_err *why, struct dw_err *err)
{
	DW_AUTO(streaming_free) struct streaming *s = calloc(1, sizeof(*s));
	if (!s)
		return dw_err_errno(err, ENOMEM, "running the command");
	events_init(&s->events, rq);
	s->op.fd = -1;
	if (!put_end(&s->events, why->message, 1))
		return dw_err_errno(err, ENOMEM, "running the command");
	return reply_events(rq, rp, streaming_next, streaming_free, DW_TAKE(s), err);
}

int api_command_stream(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	if (stream_command(rq, rp, err) == 0)
		return 0;
	const struct dw_err why = *err;
	return joins_lines(rq) ? reply_failure(rq, rp, &why, err) : -1;
}

/* One who follows a process of the table. */
struct following {
	struct events events;
	struct proc_waiter waiter;
	struct proc_reader reader;
	enum proc_kind kind;
	bool reading;
	uint8_t buf[DAEMON_STREAM_PIECE];
	struct dw_span piece;
	enum proc_stream stream;
};

static void following_free(void *arg)
{
	struct following *f = arg;
	if (f->reading)
		proc_reader_finish(&f->waiter, &f->reader);
	proc_waiter_close(&f->waiter);
	events_done(&f->events);
	free(f);
}
DW_DEFINE_CLEANUP(struct following *, following_free)

/* Bytes of a terminal or of stdio: one event. */
static bool put_bytes(struct following *f)
{
	static const char *const names[] = { "stdout", "stderr" };
	static const char begin[] = "{\"data\":\"";
	char text[sizeof(begin) + BASE64_LENGTH(DAEMON_STREAM_PIECE) + 48], end[48] = "\"}";
	size_t n = sizeof(begin) - 1;
	memcpy(text, begin, n);
	base64_encode(f->piece.p, f->piece.n, text + n);
	n += BASE64_LENGTH(f->piece.n);
	f->piece.n = 0;
	/* An entry's number is the position behind its bytes: it rises over both streams, and a reader goes on from any. */
	if (f->kind == PROC_STDIO)
		snprintf(end, sizeof(end), "\",\"entry_id\":%llu}", (unsigned long long)f->reader.at);
	memcpy(text + n, end, strlen(end));
	n += strlen(end);
	return said(&f->events, sse_put(&f->events.out, f->kind == PROC_PTY ? "data" : names[f->stream], text, n));
}

/* The reader fell behind what is kept. */
static bool put_dropped(struct following *f, uint64_t lost)
{
	if (!line_events_flush(&f->events.lines, true, &f->events.out))
		return false;
	line_events_skip(&f->events.lines, lost);
	return said(&f->events, sse_put_json(&f->events.out, "dropped",
					     json_pack("{ss sI}", "type", "dropped", "bytes", (json_int_t)lost)));
}

static bool put_proc_end(struct following *f, const struct proc_end *end)
{
	/* A terminal's client knows no errors, and the command's list knows of waits alone. */
	if (f->kind != PROC_COMMAND)
		proc_told(f->waiter.p);
	return put_end(&f->events, f->kind == PROC_COMMAND ? end->error : "", end->exit_code);
}

static bool wait_news(struct following *f)
{
	switch (proc_wait(&f->waiter, f->events.client_fd, f->events.stop_fd, next_due(&f->events))) {
	case PROC_WAIT_NEWS:
		return true;
	case PROC_WAIT_LATE:
		return put_due(&f->events);
	case PROC_WAIT_CANCELLED:
		break;
	case PROC_WAIT_STOPPING:
		return put_end(&f->events, f->kind == PROC_COMMAND ? "the server is stopping" : "", 137);
	}
	return false;
}

static bool following_step(void *arg)
{
	struct following *f = arg;
	struct proc_end end;
	uint64_t lost = 0;
	if (f->piece.n)
		return f->kind == PROC_COMMAND ? put_lines(&f->events, f->stream, &f->piece) : put_bytes(f);
	/* Asked first: nothing is written after the end. */
	const bool ended = proc_end(&f->waiter, &end);
	f->piece.p = f->buf;
	f->piece.n = proc_read(&f->waiter, &f->reader, f->buf, sizeof(f->buf), &f->stream, &lost);
	if (lost)
		return put_dropped(f, lost);
	if (f->piece.n)
		return true;
	return ended ? put_proc_end(f, &end) : wait_news(f);
}

static ssize_t following_next(void *arg, uint64_t pos, char *buf, size_t max)
{
	struct following *f = arg;
	return next_bytes(&f->events, following_step, f, buf, max);
}

int api_stream_process(struct http_request *rq, struct http_reply *rp, struct proc *p, enum proc_kind kind,
		       uint64_t from, struct dw_err *err)
{
	DW_AUTO(following_free) struct following *f = calloc(1, sizeof(*f));
	if (!f)
		return dw_err_errno(err, ENOMEM, "following the process");
	events_init(&f->events, rq);
	f->kind = kind;
	if (proc_waiter_open(&f->waiter, p, err) < 0)
		return -1;
	f->reading = true;
	if (kind == PROC_PTY)
		proc_reader_begin_live(&f->waiter, &f->reader);
	else
		proc_reader_begin(&f->waiter, &f->reader, from);
	f->events.lines.positions = true;
	f->events.lines.at = f->reader.at;
	return reply_events(rq, rp, following_next, following_free, DW_TAKE(f), err);
}

int api_command_follow(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	DW_AUTO(proc_unref) struct proc *p = NULL;
	const char *text = NULL;
	uint64_t from = 0;
	if (http_query(rq, "from", &text, err) < 0)
		return -1;
	if (text && !jsonx_uint(text, INT64_MAX, &from))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "from must be a position of this stream");
	if (api_process_find(rq, PROC_COMMAND, &p, err) < 0)
		return -1;
	return api_stream_process(rq, rp, p, PROC_COMMAND, from, err);
}
