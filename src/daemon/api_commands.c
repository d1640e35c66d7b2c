/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/api.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "daemon/agentc.h"
#include "daemon/api_process.h"
#include "daemon/clock.h"
#include "daemon/result_text.h"

const char api_truncated_note[] = "\n[declaw: output beyond 8 MiB per stream was dropped]\n";
/* An answer of this size is worth a buffer of its own. */
#define TEXT_AT_ONCE_MAX (64u << 10)
_Static_assert(DAEMON_OUTPUT_MAX == 8u << 20, "the note says it");

int api_check_user(const char **user, const char *field, struct dw_err *err)
{
	if (!*user || !**user)
		*user = "user";
	if (strlen(*user) > DAEMON_USER_MAX)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "%s must have at most %u bytes", field,
				  DAEMON_USER_MAX);
	return 0;
}

static int read_timeout(const json_t *body, uint32_t *ret_ms, double *ret_s, struct dw_err *err)
{
	const json_t *v = json_object_get(body, "timeout");
	double s = json_number_value(v);
	if (v && !json_is_null(v) && !json_is_number(v))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "timeout must be a number of seconds");
	if (s < 0 || s > DAEMON_TIMEOUT_MAX_S)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_timeout",
				  "timeout must be between 0 (none) and %u seconds", DAEMON_TIMEOUT_MAX_S);
	*ret_s = s;
	*ret_ms = (uint32_t)(s * 1000);
	/* Less than a millisecond is still a limit; 0 would be none. */
	if (s > 0 && *ret_ms == 0)
		*ret_ms = 1;
	return 0;
}

static int read_process(const json_t *body, struct agent_command *c, double *ret_timeout_s, struct dw_err *err)
{
	json_t *envs = NULL;
	if (jsonx_string(body, "user", &c->user, err) < 0 || jsonx_string(body, "cwd", &c->cwd, err) < 0 ||
	    create_spec_envs(body, &envs, err) < 0 || read_timeout(body, &c->timeout_ms, ret_timeout_s, err) < 0 ||
	    api_check_user(&c->user, "user", err) < 0)
		return -1;
	c->envs = envs;
	c->cwd = c->cwd ? c->cwd : "";
	if ((*c->cwd && *c->cwd != '/') || strlen(c->cwd) >= DAEMON_PATH_MAX)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_path",
				  "cwd must be an absolute path of less than %u bytes", DAEMON_PATH_MAX);
	return 0;
}

int api_read_pty(const json_t *body, struct agent_command *c, double *ret_timeout_s, struct dw_err *err)
{
	c->cmd = "";
	return read_process(body, c, ret_timeout_s, err);
}

int api_read_command(const json_t *body, struct agent_command *c, double *ret_timeout_s, struct dw_err *err)
{
	if (jsonx_string(body, "cmd", &c->cmd, err) < 0 || read_process(body, c, ret_timeout_s, err) < 0)
		return -1;
	/* The kernel's limit counts the NUL. */
	if (!c->cmd || !*c->cmd || strlen(c->cmd) >= DAEMON_CMD_MAX)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "cmd must have 1 to %u bytes",
				  DAEMON_CMD_MAX - 1);
	return 0;
}

int api_read_foreground(const json_t *body, struct dw_err *err)
{
	bool background = false, with_stdin = false;
	if (jsonx_bool(body, "background", &background, err) < 0 || jsonx_bool(body, "stdin", &with_stdin, err) < 0)
		return -1;
	if (background)
		return dw_err_set(err, DW_ERR_INVALID, "unsupported_option",
				  "background: a command whose output is streamed ends with the stream");
	if (with_stdin)
		return dw_err_set(err, DW_ERR_INVALID, "unsupported_option",
				  "stdin: a foreground command has no standard input");
	return 0;
}

/* One command under way. */
struct command_run {
	struct agent_op op;
	struct agent_result result;
	double timeout_s;
	bool ended;              /* text is there */
	struct result_text text; /* the answer, when it goes out as a stream */
	char note[sizeof(((struct dw_err *)NULL)->message) + 16];
	int64_t space_ms;
};

static void command_run_free(void *arg)
{
	struct command_run *run = arg;
	/* First: its bytes are counted in the sandbox, which the operation holds and may be the last to. */
	agent_result_done(&run->result);
	agent_op_close(&run->op);
	free(run);
}
DW_DEFINE_CLEANUP(struct command_run *, command_run_free)

/* Milliseconds from the start of a command until its answer begins without it. Test builds can shorten it. */
int64_t api_silent_ms(void)
{
	return clock_bound_ms("DECLAW_TEST_SILENT_MS", DAEMON_COMMAND_SILENT_MS);
}

int64_t api_space_ms(void)
{
	return DW_MIN(api_silent_ms(), (int64_t)DAEMON_COMMAND_SPACE_MS);
}

/* The result is complete: from here on it is read as text. */
static void begin_text(struct command_run *run)
{
	const bool truncated = run->result.out.truncated || run->result.err.truncated;
	result_text_init(&run->text, &run->result, run->note[0] ? run->note : truncated ? api_truncated_note : "");
	run->ended = true;
}

/*
 * The status has gone out already, so what can no longer be one becomes a result: 124 as of timeout(1), 137 as of SIGKILL.
 * False: nobody is there to be answered.
 */
static bool late_result(struct command_run *run, int ended, struct dw_err *err)
{
	if (ended < 0 && strcmp(err->code, "cancelled") == 0)
		return false;
	if (ended > 0 && !run->result.timed_out) {
		begin_text(run);
		return true;
	}
	if (ended > 0)
		dw_err_set(err, DW_ERR_TIMEOUT, "", "command timed out after %gs", run->timeout_s);
	run->result.exit_code = ended > 0 ? 124 : 137;
	snprintf(run->note, sizeof(run->note), "\n[declaw: %s]\n", err->message);
	begin_text(run);
	return true;
}

static ssize_t next_text(void *arg, uint64_t pos, char *buf, size_t max)
{
	struct command_run *run = arg;
	size_t n = result_text_read(&run->text, buf, max);
	return n ? (ssize_t)n : MHD_CONTENT_READER_END_OF_STREAM;
}

/* That the client has gone is no error, but that the daemon stops is. */
static ssize_t nobody_asks(const struct command_run *run)
{
	struct pollfd stop = { .fd = run->op.stop_fd, .events = POLLIN };
	return poll(&stop, 1, 0) > 0 ? MHD_CONTENT_READER_END_WITH_ERROR : MHD_CONTENT_READER_END_OF_STREAM;
}

/* A space now and then, which JSON allows before a value, keeps clients from giving up; then the answer. */
static ssize_t slow_next(void *arg, uint64_t pos, char *buf, size_t max)
{
	struct command_run *run = arg;
	if (!run->ended) {
		struct dw_err err = { 0 };
		int ended = agent_command_wait(&run->op, clock_mono_ms() + run->space_ms, &run->result, &err);
		if (ended == 0) {
			buf[0] = ' ';
			return 1;
		}
		if (!late_result(run, ended, &err))
			return nobody_asks(run);
	}
	return next_text(run, pos, buf, max);
}

static int no_memory(struct dw_err *err)
{
	return dw_err_set(err, DW_ERR_LIMIT, "output_too_large", "no memory for the command's output");
}

/* JSON of n bytes that next writes piece by piece. */
static int reply_pieces(struct command_run *run_take, uint64_t n, MHD_ContentReaderCallback next, struct http_reply *rp,
			struct dw_err *err)
{
	DW_AUTO(command_run_free) struct command_run *run = run_take;
	rp->response = MHD_create_response_from_callback(n, 65536, next, run, command_run_free);
	if (!rp->response)
		return no_memory(err);
	DW_IGNORE(DW_TAKE(run)); /* the response's now */
	MHD_add_response_header(rp->response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	return 0;
}

/* For a command that runs longer than some clients wait for the head of an answer (300 s). */
static int reply_slowly(struct command_run *run_take, struct http_reply *rp, struct dw_err *err)
{
	run_take->space_ms = api_space_ms();
	return reply_pieces(run_take, MHD_SIZE_UNKNOWN, slow_next, rp, err);
}

/* Short ones at once; a long one piece by piece, as the client takes it. */
static int reply_result(struct command_run *run_take, struct http_reply *rp, struct dw_err *err)
{
	DW_AUTO(command_run_free) struct command_run *run = run_take;
	begin_text(run);
	const size_t n = result_text_length(&run->text);
	if (n <= TEXT_AT_ONCE_MAX) {
		rp->text = malloc(n + 1);
		if (!rp->text)
			return no_memory(err);
		rp->text[result_text_read(&run->text, rp->text, n)] = '\0';
		return 0;
	}
	return reply_pieces(DW_TAKE(run), n, next_text, rp, err);
}

/* In the background: it is answered when it runs. */
static int start(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	/* Input may come later whether or not it was announced, so there is always a pipe for it. */
	struct agent_command c = { .with_stdin = true };
	struct proc_spec spec = { .kind = PROC_COMMAND, .command = &c };
	DW_AUTO(proc_unref) struct proc *p = NULL;
	if (api_read_command(rq->json, &c, &spec.timeout_s, err) < 0 || api_process_start(rq, &spec, &p, err) < 0)
		return -1;
	rp->json = json_pack("{sI}", "pid", (json_int_t)proc_pid(p));
	return rp->json ? 0 : dw_err_errno(err, ENOMEM, "starting the process");
}

int api_command_run(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	bool background = false, with_stdin = false;
	if (jsonx_bool(rq->json, "background", &background, err) < 0 ||
	    jsonx_bool(rq->json, "stdin", &with_stdin, err) < 0)
		return -1;
	if (background)
		return start(rq, rp, err);
	struct agent_command c = { 0 };
	DW_AUTO(command_run_free) struct command_run *run = calloc(1, sizeof(*run));
	if (!run)
		return dw_err_errno(err, ENOMEM, "running the command");
	if (api_read_foreground(rq->json, err) < 0 || api_read_command(rq->json, &c, &run->timeout_s, err) < 0 ||
	    agent_op_open(&run->op, rq->app->manager, rq->id, rq->app->stop_fd, err) < 0)
		return -1;
	/* A client that gave up may send the same command again: this one must not run beside it. */
	run->op.client_fd = http_client_fd(rq);
	const int64_t until = clock_mono_ms() + api_silent_ms();
	if (agent_command_start(&run->op, &c, err) < 0)
		return -1;
	int ended = agent_command_wait(&run->op, until, &run->result, err);
	if (ended < 0)
		return -1;
	if (ended == 0)
		return reply_slowly(DW_TAKE(run), rp, err);
	if (run->result.timed_out)
		return dw_err_set(err, DW_ERR_TIMEOUT, "command_timeout", "command timed out after %gs",
				  run->timeout_s);
	return reply_result(DW_TAKE(run), rp, err);
}
