/* SPDX-License-Identifier: Apache-2.0 */
/* Processes are started, and followed by streams. A process outlives its stream, unless the call had a time-out: that is the process's. */
#include "e2b/rpc_process.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base64.h"
#include "daemon/clock.h"
#include "e2b/path.h"
#include "e2b/target.h"

#define TAG_MAX 1024u

static const char ping_text[] = "{\"event\":{\"keepalive\":{}}}";

/* One who follows a process. */
struct following {
	struct connect_stream stream; /* first: connect_reply frees it */
	struct proc_waiter waiter;
	struct proc_reader reader;
	bool reading;
	bool starter; /* the process's time-out is the call's */
	char buf[DAEMON_STREAM_PIECE];
};

static void following_done(struct connect_stream *s)
{
	struct following *f = (struct following *)s;
	if (f->reading)
		proc_reader_finish(&f->waiter, &f->reader);
	proc_waiter_close(&f->waiter);
}

/* Also without having been a stream. */
static void following_free(struct following *f)
{
	following_done(&f->stream);
	connect_out_done(&f->stream.out);
	free(f);
}
DW_DEFINE_CLEANUP(struct following *, following_free)

static bool put_failure(struct following *f, enum dw_err_kind kind, const char *code, const char *text)
{
	struct dw_err err;
	dw_err_set(&err, kind, code, "%s", text);
	return connect_put_end(&f->stream.out, &err);
}

static bool put_data(struct following *f, enum proc_stream stream, size_t n)
{
	const bool pty = proc_kind(f->waiter.p) == PROC_PTY;
	char text[BASE64_LENGTH(DAEMON_STREAM_PIECE) + 64];
	int at = snprintf(text, sizeof(text), "{\"event\":{\"data\":{\"%s\":\"",
			  pty                  ? "pty"
			  : stream == PROC_OUT ? "stdout"
					       : "stderr");
	base64_encode(f->buf, n, text + at);
	at += (int)BASE64_LENGTH(n);
	memcpy(text + at, "\"}}}", 4);
	return connect_said(&f->stream, connect_put(&f->stream.out, 0, text, (size_t)at + 4));
}

/* "killed": as the system describes it, in lower case at the beginning, as programs in Go do. */
static void describe_signal(uint32_t number, char *out, size_t size)
{
	const char *text = sigdescr_np((int)number);
	if (text)
		snprintf(out, size, "signal: %c%s", *text >= 'A' && *text <= 'Z' ? *text | 0x20 : *text, text + 1);
	else
		snprintf(out, size, "signal: signal %u", (unsigned)number);
}

static bool put_end(struct following *f, const struct proc_end *end)
{
	char status[64];
	proc_told(f->waiter.p);
	if (end->timed_out && f->starter)
		return put_failure(f, DW_ERR_TIMEOUT, "process_timeout", end->error);
	if (end->lost)
		return put_failure(f, DW_ERR_GONE, "sandbox_gone", end->error);
	if (end->signal)
		describe_signal(end->signal, status, sizeof(status));
	else
		snprintf(status, sizeof(status), "exit status %u", (unsigned)end->exit_code);
	const bool well = !end->signal && !end->exit_code;
	return connect_put_json(&f->stream.out,
				json_pack("{s{s{si sb ss ss*}}}", "event", "end", "exitCode",
					  end->signal ? -1 : (int)end->exit_code, "exited", end->signal == 0, "status",
					  status, "error", well ? NULL : status)) &&
	       connect_put_end(&f->stream.out, NULL);
}

static bool put_lost(struct following *f, uint64_t lost)
{
	char text[160];
	snprintf(text, sizeof(text),
		 "%llu bytes of output were lost because this stream was not read in time; connect again for what "
		 "follows",
		 (unsigned long long)lost);
	return put_failure(f, DW_ERR_LIMIT, "data_loss", text);
}

static bool wait_news(struct following *f)
{
	struct connect_stream *s = &f->stream;
	switch (proc_wait(&f->waiter, s->client_fd, s->stop_fd, connect_due(s))) {
	case PROC_WAIT_NEWS:
		return true;
	case PROC_WAIT_LATE:
		return connect_put_due(s, ping_text);
	case PROC_WAIT_CANCELLED:
		break;
	case PROC_WAIT_STOPPING:
		return put_failure(f, DW_ERR_UNAVAILABLE, "stopping", "the server is stopping");
	}
	return false;
}

static bool step(struct connect_stream *s)
{
	struct following *f = (struct following *)s;
	struct proc_end end;
	enum proc_stream stream = PROC_OUT;
	uint64_t lost = 0;
	/* Asked first: nothing is written after the end. */
	const bool ended = proc_end(&f->waiter, &end);
	const size_t n = proc_read(&f->waiter, &f->reader, f->buf, sizeof(f->buf), &stream, &lost);
	if (lost)
		return put_lost(f, lost);
	if (n)
		return put_data(f, stream, n);
	return ended ? put_end(f, &end) : wait_news(f);
}

static int follow(struct http_request *rq, struct http_reply *rp, struct proc *p, const struct connect_call *call,
		  bool starter, struct dw_err *err)
{
	DW_AUTO(following_free) struct following *f = calloc(1, sizeof(*f));
	if (!f)
		return dw_err_errno(err, ENOMEM, "following the process");
	connect_stream_init(&f->stream, rq, call);
	f->stream.step = step;
	f->stream.release = following_done;
	f->starter = starter;
	/* Its time-out is kept inside, and this hears of it. */
	if (starter)
		f->stream.until_ms = INT64_MAX;
	f->waiter.fd = -1;
	if (proc_waiter_open(&f->waiter, p, err) < 0)
		return -1;
	f->reading = true;
	proc_reader_begin_live(&f->waiter, &f->reader);
	if (!connect_put_json(&f->stream.out,
			      json_pack("{s{s{sI}}}", "event", "start", "pid", (json_int_t)proc_pid(p))))
		return dw_err_errno(err, ENOMEM, "following the process");
	struct following *taken = DW_TAKE(f);
	return connect_reply(rq, rp, &taken->stream, err);
}

/* The strings of an array, borrowed; malloc'ed. */
static int read_args(const json_t *process, const char ***ret, size_t *ret_n, struct dw_err *err)
{
	const json_t *args = NULL, *arg;
	size_t i;
	if (message_array(process, "args", &args, err) < 0)
		return -1;
	if (json_array_size(args) > DW_AGENTP_ARG_MAX)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "process.args has more than %u",
				  DW_AGENTP_ARG_MAX);
	*ret = calloc(json_array_size(args) + 1, sizeof(**ret));
	if (!*ret)
		return dw_err_errno(err, ENOMEM, "starting the process");
	json_array_foreach(args, i, arg)
	{
		(*ret)[i] = jsonx_plain_string(arg);
		if (!(*ret)[i])
			return dw_err_set(err, DW_ERR_INVALID, "invalid_field",
					  "process.args must be strings without NUL characters");
	}
	*ret_n = json_array_size(args);
	return 0;
}

static int check_envs(const json_t *envs, struct dw_err *err)
{
	const char *key;
	const json_t *value;
	json_object_foreach((json_t *)(uintptr_t)envs, key, value)
	{
		if (!*key || strchr(key, '=') || !jsonx_plain_string(value))
			return dw_err_set(
				err, DW_ERR_INVALID, "invalid_field",
				"process.envs must map names without \"=\" to strings without NUL characters");
	}
	return 0;
}

static int read_process(const json_t *message, struct agent_command *c, const char ***args,
			char cwd[static E2B_PATH_SIZE], struct dw_err *err)
{
	const json_t *process = NULL;
	const char *dir = NULL;
	c->program = true;
	c->cmd = c->cwd = "";
	if (message_message(message, "process", &process, err) < 0 ||
	    message_string(process, "cmd", &c->cmd, err) < 0 || message_string(process, "cwd", &dir, err) < 0 ||
	    message_message(process, "envs", &c->envs, err) < 0 || check_envs(c->envs, err) < 0 ||
	    read_args(process, args, &c->arg_n, err) < 0)
		return -1;
	c->args = *args;
	if (!*c->cmd)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "process.cmd must name a program");
	if (dir && *dir) {
		if (e2b_path(dir, "process.cwd", cwd, err) < 0)
			return -1;
		c->cwd = cwd;
	}
	return 0;
}

static int read_start(const json_t *message, struct proc_spec *spec, struct agent_command *c, struct dw_err *err)
{
	bool pty = false;
	/* Clients of old do not say, and write to it. */
	c->with_stdin = true;
	if (message_bool(message, "stdin", &c->with_stdin, err) < 0 ||
	    rpc_process_size(message, &pty, &c->cols, &c->rows, err) < 0 ||
	    message_string(message, "tag", &spec->tag, err) < 0)
		return -1;
	if (spec->tag && (!*spec->tag || strlen(spec->tag) > TAG_MAX))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "tag must have 1 to %u bytes", TAG_MAX);
	spec->kind = pty ? PROC_PTY : PROC_COMMAND;
	return 0;
}

int e2b_process_start(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct connect_call call;
	struct agent_command c = { 0 };
	struct proc_spec spec = { .command = &c, .paced = true };
	DW_AUTO(proc_unref) struct proc *p = NULL;
	dw_autofree const char **args = NULL;
	char cwd[E2B_PATH_SIZE];
	if (connect_begin(rq, &call, err) < 0 || read_process(rq->json, &c, &args, cwd, err) < 0 ||
	    read_start(rq->json, &spec, &c, err) < 0)
		return -1;
	c.user = call.user;
	c.timeout_ms = call.timeout_ms;
	spec.timeout_s = (double)call.timeout_ms / 1000;
	if (procs_start(rq->app->procs, rq->app->manager, rq->id, http_client_fd(rq), rq->app->stop_fd, &spec, &p,
			err) < 0)
		return -1;
	if (follow(rq, rp, p, &call, true, err) == 0)
		return 0;
	/* Nobody knows of it. */
	proc_kill(p);
	return -1;
}

int e2b_process_connect(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct connect_call call;
	DW_AUTO(proc_unref) struct proc *p = NULL;
	if (connect_begin(rq, &call, err) < 0 || rpc_process_find(rq, &p, err) < 0)
		return -1;
	return follow(rq, rp, p, &call, false, err);
}

int e2b_refuse_stream_input(struct http_request *rq, struct dw_err *err)
{
	if (e2b_admit(rq, err) < 0)
		return -1;
	return dw_err_set(err, DW_ERR_INVALID, "stream_unimplemented",
			  "streams from the client are not taken: use SendInput");
}

/* Never reached: the head is refused. */
int e2b_process_stream_input(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	return e2b_refuse_stream_input(rq, err);
}
