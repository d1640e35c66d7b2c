/* SPDX-License-Identifier: Apache-2.0 */
/* Background commands, and what they have in common with terminals and stdio processes. */
#include "daemon/api_process.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base64.h"
#include "daemon/clock.h"
#include "daemon/result_text.h"

int api_process_start(struct http_request *rq, const struct proc_spec *spec, struct proc **ret, struct dw_err *err)
{
	return procs_start(rq->app->procs, rq->app->manager, rq->id, http_client_fd(rq), rq->app->stop_fd, spec, ret,
			   err);
}

int api_process_check(struct http_request *rq, struct dw_err *err)
{
	struct sandbox *s;
	if (manager_enter(rq->app->manager, rq->id, &s, err) == 0) {
		manager_leave(s);
		return 0;
	}
	/* Others' operations take every place, but here none is begun. */
	return err->kind == DW_ERR_LIMIT ? 0 : -1;
}

/* Decimal text as the table writes pids; "" for a number that is none's. */
static int read_pid(const char *text, char ret[static PROC_ID_SIZE], struct dw_err *err)
{
	const bool negative = *text == '-';
	const char *digits = text + negative;
	if (!*digits || digits[strspn(digits, "0123456789")])
		return dw_err_set(err, DW_ERR_INVALID, "invalid_pid", "the pid must be a whole number");
	digits += strspn(digits, "0");
	const bool some = *digits && !negative && strlen(digits) < PROC_ID_SIZE;
	snprintf(ret, PROC_ID_SIZE, "%s", some ? digits : "");
	return 0;
}

/* *ret stays NULL when there is none. */
static int find(struct http_request *rq, enum proc_kind kind, struct proc **ret, struct dw_err *err)
{
	char pid[PROC_ID_SIZE];
	const char *id = rq->part;
	if (kind != PROC_STDIO) {
		if (read_pid(rq->part, pid, err) < 0)
			return -1;
		id = pid;
	}
	if (api_process_check(rq, err) < 0)
		return -1;
	*ret = procs_find(rq->app->procs, rq->id, kind, id);
	return 0;
}

int api_process_find(struct http_request *rq, enum proc_kind kind, struct proc **ret, struct dw_err *err)
{
	if (find(rq, kind, ret, err) < 0)
		return -1;
	if (!*ret)
		return dw_err_set(err, DW_ERR_NOT_FOUND, "process_not_found", "there is no such process");
	return 0;
}

int api_process_end(struct http_request *rq, struct http_reply *rp, enum proc_kind kind, struct dw_err *err)
{
	DW_AUTO(proc_unref) struct proc *p = NULL;
	if (find(rq, kind, &p, err) < 0)
		return -1;
	rp->json = json_pack("{sb}", "killed", p && proc_kill(p));
	return rp->json ? 0 : dw_err_errno(err, ENOMEM, "killing the process");
}

static int reply_empty(struct http_reply *rp, struct dw_err *err)
{
	rp->json = json_object();
	return rp->json ? 0 : dw_err_errno(err, ENOMEM, "answering");
}

/* Text as it is, for a terminal's NUL character too; for stdio base64, which becomes *ret_made. */
static int read_data(const json_t *body, enum proc_kind kind, const void **ret, size_t *ret_n, void **ret_made,
		     struct dw_err *err)
{
	const json_t *v = json_object_get(body, "data");
	if (!json_is_string(v))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "data must be a string");
	*ret = json_string_value(v);
	*ret_n = json_string_length(v);
	if (kind != PROC_STDIO)
		return 0;
	uint8_t *made = malloc(*ret_n / 4 * 3 + 1);
	if (!made)
		return dw_err_errno(err, ENOMEM, "writing to the process");
	*ret_made = made;
	if (!base64_decode(*ret, *ret_n, made, ret_n))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "data must be base64");
	*ret = made;
	return 0;
}

int api_process_input(struct http_request *rq, struct http_reply *rp, enum proc_kind kind, struct dw_err *err)
{
	DW_AUTO(proc_unref) struct proc *p = NULL;
	dw_autofree void *made = NULL;
	const void *data = NULL;
	size_t n = 0;
	if (read_data(rq->json, kind, &data, &n, &made, err) < 0 || api_process_find(rq, kind, &p, err) < 0 ||
	    proc_stdin(p, data, n, http_client_fd(rq), rq->app->stop_fd, err) < 0)
		return -1;
	return reply_empty(rp, err);
}

int api_process_input_end(struct http_request *rq, struct http_reply *rp, enum proc_kind kind, struct dw_err *err)
{
	DW_AUTO(proc_unref) struct proc *p = NULL;
	if (api_process_find(rq, kind, &p, err) < 0 ||
	    proc_stdin_close(p, http_client_fd(rq), rq->app->stop_fd, err) < 0)
		return -1;
	return reply_empty(rp, err);
}

int api_command_list(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	if (api_process_check(rq, err) < 0)
		return -1;
	rp->json = procs_list(rq->app->procs, rq->id);
	return rp->json ? 0 : dw_err_errno(err, ENOMEM, "listing the commands");
}

int api_command_kill(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	return api_process_end(rq, rp, PROC_COMMAND, err);
}

int api_command_stdin(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	return api_process_input(rq, rp, PROC_COMMAND, err);
}

int api_command_stdin_close(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	return api_process_input_end(rq, rp, PROC_COMMAND, err);
}

struct signal_name {
	const char *name;
	uint8_t number;
};

static const struct signal_name signal_names[] = {
	{ "HUP", SIGHUP },   { "INT", SIGINT },   { "QUIT", SIGQUIT },   { "ABRT", SIGABRT }, { "KILL", SIGKILL },
	{ "USR1", SIGUSR1 }, { "USR2", SIGUSR2 }, { "ALRM", SIGALRM },   { "TERM", SIGTERM }, { "CONT", SIGCONT },
	{ "STOP", SIGSTOP }, { "TSTP", SIGTSTP }, { "WINCH", SIGWINCH },
};

static int read_signal(const json_t *body, uint8_t *ret, struct dw_err *err)
{
	const json_t *v = json_object_get(body, "signal");
	const char *name = jsonx_plain_string(v);
	if (json_is_integer(v) && json_integer_value(v) >= 1 && json_integer_value(v) <= DW_AGENTP_SIGNAL_MAX) {
		*ret = (uint8_t)json_integer_value(v);
		return 0;
	}
	if (name && strncmp(name, "SIG", 3) == 0)
		name += 3;
	for (size_t i = 0; name && i < DW_COUNT(signal_names); i++) {
		if (strcmp(signal_names[i].name, name) == 0) {
			*ret = signal_names[i].number;
			return 0;
		}
	}
	return dw_err_set(err, DW_ERR_INVALID, "invalid_field",
			  "signal must be a name, as SIGINT, or a number from 1 to %u", DW_AGENTP_SIGNAL_MAX);
}

int api_command_signal(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	DW_AUTO(proc_unref) struct proc *p = NULL;
	uint8_t number, payload[8];
	if (read_signal(rq->json, &number, err) < 0 || api_process_find(rq, PROC_COMMAND, &p, err) < 0)
		return -1;
	const size_t n = dw_agentp_signal_build(number, payload, sizeof(payload));
	if (proc_control(p, DW_AGENTP_SIGNAL, payload, n, err) < 0)
		return -1;
	return reply_empty(rp, err);
}

/* One who waits for the end of a command. */
struct waiting {
	struct proc_waiter waiter;
	int client_fd, stop_fd;
	int64_t space_ms;
	bool begun, ended;
	struct proc_end end;
	struct proc_head_at head[PROC_STREAMS];
	struct result_text text;
};

static void waiting_free(void *arg)
{
	struct waiting *w = arg;
	proc_waiter_close(&w->waiter);
	free(w);
}

static size_t fill(void *arg, unsigned stream, char *buf, size_t max)
{
	struct waiting *w = arg;
	return proc_head(w->waiter.p, &w->head[stream], stream, buf, max);
}

static void begin_text(struct waiting *w)
{
	struct agent_result r = { .pid = proc_pid(w->waiter.p), .exit_code = w->end.exit_code };
	r.out.truncated = w->end.truncated;
	w->ended = true;
	result_text_init_pieces(&w->text, &r, fill, w,
				w->end.note[0]     ? w->end.note
				: w->end.truncated ? api_truncated_note
						   : "");
}

/* The end is there to be read, or a space keeps the client waiting. */
static ssize_t await(struct waiting *w, char *buf)
{
	const int64_t until = clock_mono_ms() + w->space_ms;
	while (!proc_end(&w->waiter, &w->end)) {
		/* The head of the answer goes out before its first byte, so that comes at once. */
		const bool first = !w->begun;
		w->begun = true;
		switch (first ? PROC_WAIT_LATE : proc_wait(&w->waiter, w->client_fd, w->stop_fd, until)) {
		case PROC_WAIT_NEWS:
			continue;
		case PROC_WAIT_LATE:
			buf[0] = ' ';
			return 1;
		case PROC_WAIT_CANCELLED: /* the client has gone: nothing is told, and nothing went wrong */
			return MHD_CONTENT_READER_END_OF_STREAM;
		case PROC_WAIT_STOPPING:
			break;
		}
		/* It ends with the daemon, and nobody knows how. */
		return MHD_CONTENT_READER_END_WITH_ERROR;
	}
	begin_text(w);
	return 0;
}

static ssize_t wait_next(void *arg, uint64_t pos, char *buf, size_t max)
{
	struct waiting *w = arg;
	if (!w->ended) {
		const ssize_t r = await(w, buf);
		if (r)
			return r;
	}
	const size_t n = result_text_read(&w->text, buf, max);
	/* Before its last byte leaves, so that who has it finds the command gone from the list. */
	if (n < max)
		proc_told(w->waiter.p);
	return n ? (ssize_t)n : MHD_CONTENT_READER_END_OF_STREAM;
}

static int wait_for(struct http_request *rq, struct proc *p, struct http_reply *rp, struct dw_err *err)
{
	struct waiting *w = calloc(1, sizeof(*w));
	if (!w)
		return dw_err_errno(err, ENOMEM, "waiting for the process");
	if (proc_waiter_open(&w->waiter, p, err) < 0) {
		free(w);
		return -1;
	}
	w->client_fd = http_client_fd(rq);
	w->stop_fd = rq->app->stop_fd;
	w->space_ms = api_space_ms();
	rp->response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 65536, wait_next, w, waiting_free);
	if (!rp->response) {
		waiting_free(w);
		return dw_err_errno(err, ENOMEM, "waiting for the process");
	}
	MHD_add_response_header(rp->response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	return 0;
}

int api_command_wait(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	DW_AUTO(proc_unref) struct proc *p = NULL;
	if (find(rq, PROC_COMMAND, &p, err) < 0)
		return -1;
	if (p)
		return wait_for(rq, p, rp, err);
	rp->json = json_pack("{ss ss si}", "stdout", "", "stderr", "process not found", "exit_code", 1);
	return rp->json ? 0 : dw_err_errno(err, ENOMEM, "waiting for the process");
}
