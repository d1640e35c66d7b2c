/* SPDX-License-Identifier: Apache-2.0 */
/* Processes of a sandbox: listed, written to, signalled, resized. */
#include "e2b/rpc_process.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "daemon/utf8.h"
#include "e2b/target.h"

static int no_memory(struct dw_err *err)
{
	return dw_err_errno(err, ENOMEM, "answering");
}

static int reply_empty(struct http_reply *rp, struct dw_err *err)
{
	rp->json = json_object();
	return rp->json ? 0 : no_memory(err);
}

static int not_found(struct dw_err *err)
{
	return dw_err_set(err, DW_ERR_NOT_FOUND, "process_not_found", "there is no such process");
}

int rpc_process_find(struct http_request *rq, struct proc **ret, struct dw_err *err)
{
	const json_t *selector = NULL;
	const char *tag = NULL;
	uint32_t pid = 0;
	bool by_pid = false;
	char text[PROC_ID_SIZE];
	if (message_message(rq->json, "process", &selector, err) < 0 ||
	    message_uint32(selector, "pid", &pid, &by_pid, err) < 0 || message_string(selector, "tag", &tag, err) < 0)
		return -1;
	if (by_pid == (tag != NULL))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "process must have either pid or tag");
	if (e2b_check_running(rq, err) < 0)
		return -1;
	snprintf(text, sizeof(text), "%u", (unsigned)pid);
	*ret = by_pid ? procs_find_pid(rq->app->procs, rq->id, text) : procs_find_tag(rq->app->procs, rq->id, tag);
	return *ret ? 0 : not_found(err);
}

/* The same, and it runs. */
static int find_running(struct http_request *rq, struct proc **ret, struct dw_err *err)
{
	struct connect_call call;
	if (connect_begin(rq, &call, err) < 0 || rpc_process_find(rq, ret, err) < 0)
		return -1;
	return proc_runs(*ret) ? 0 : not_found(err);
}

struct list {
	json_t *processes;
	size_t max; /* bytes of the texts of each */
};

/* A shell's command, or a text that is too long for the list. */
static json_t *plain_config(const struct proc_view *v, size_t max)
{
	const size_t n = strlen(v->cmd);
	if (v->program || n > max)
		return json_pack("{ss% s[]}", "cmd", v->cmd, utf8_valid_prefix(v->cmd, DW_MIN(n, max)), "args");
	return json_pack("{ss s[ss]}", "cmd", "/bin/bash", "args", "-c", v->cmd);
}

static int list_one(void *arg, const struct proc_view *v)
{
	struct list *l = arg;
	json_t *config =
		v->program && strlen(v->program) <= l->max ? json_loads(v->program, 0, NULL) : plain_config(v, l->max);
	json_t *envs = strlen(v->envs) <= l->max ? json_loads(v->envs, 0, NULL) : json_object();
	if (!config || !envs || json_object_set(config, "envs", envs) < 0)
		json_decref(DW_TAKE(config));
	json_decref(envs);
	json_t *item = json_pack("{so sI ss*}", "config", config, "pid", (json_int_t)v->pid, "tag", v->tag);
	return item && json_array_append_new(l->processes, item) == 0 ? 0 : -1;
}

int e2b_process_list(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	struct connect_call call;
	auto_json json_t *processes = json_array();
	struct list l = { .processes = processes, .max = DAEMON_PROC_OWN / 2 };
	if (connect_begin(rq, &call, err) < 0 || e2b_check_running(rq, err) < 0)
		return -1;
	if (!processes || procs_each(rq->app->procs, rq->id, list_one, &l) < 0)
		return no_memory(err);
	rp->json = json_pack("{sO}", "processes", processes);
	return rp->json ? 0 : no_memory(err);
}

static int send_input(struct http_request *rq, struct proc *p, const json_t *input, struct dw_err *err)
{
	const bool pty = proc_kind(p) == PROC_PTY;
	dw_autofree uint8_t *bytes = NULL;
	size_t n = 0;
	if (message_field(input, pty ? "stdin" : "pty"))
		return dw_err_set(err, DW_ERR_CONFLICT, "wrong_input", "%s: its input is input.%s",
				  pty ? "the process runs on a terminal" : "the process has no terminal",
				  pty ? "pty" : "stdin");
	if (message_bytes(input, pty ? "pty" : "stdin", &bytes, &n, err) < 0)
		return -1;
	if (!bytes)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "input must have either stdin or pty");
	return proc_stdin(p, bytes, n, http_client_fd(rq), rq->app->stop_fd, err);
}

int e2b_process_input(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	DW_AUTO(proc_unref) struct proc *p = NULL;
	const json_t *input = NULL;
	if (find_running(rq, &p, err) < 0 || message_message(rq->json, "input", &input, err) < 0 ||
	    send_input(rq, p, input, err) < 0)
		return -1;
	return reply_empty(rp, err);
}

int e2b_process_close_stdin(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	DW_AUTO(proc_unref) struct proc *p = NULL;
	if (find_running(rq, &p, err) < 0)
		return -1;
	if (proc_kind(p) == PROC_PTY)
		return dw_err_set(err, DW_ERR_CONFLICT, "wrong_input",
				  "a terminal's input has no end: send its end-of-file character, as ^D (\"\\x04\")");
	if (proc_stdin_close(p, http_client_fd(rq), rq->app->stop_fd, err) < 0)
		return -1;
	return reply_empty(rp, err);
}

int e2b_process_signal(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	static const struct message_enum signals[] = { { "SIGNAL_UNSPECIFIED", 0 },
						       { "SIGNAL_SIGTERM", SIGTERM },
						       { "SIGNAL_SIGKILL", SIGKILL } };
	DW_AUTO(proc_unref) struct proc *p = NULL;
	uint8_t payload[8];
	int number = 0;
	if (find_running(rq, &p, err) < 0 ||
	    message_enum(rq->json, "signal", signals, DW_COUNT(signals), &number, err) < 0)
		return -1;
	if (number != SIGTERM && number != SIGKILL)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field",
				  "signal must be SIGNAL_SIGTERM (15) or SIGNAL_SIGKILL (9)");
	/* This one always gets through; the other waits behind input that the process does not read. */
	if (number == SIGKILL)
		proc_kill(p);
	else if (proc_control(p, DW_AGENTP_SIGNAL, payload,
			      dw_agentp_signal_build((uint8_t)number, payload, sizeof(payload)), err) < 0)
		return -1;
	return reply_empty(rp, err);
}

static int read_cells(const json_t *size, const char *name, uint16_t *ret, struct dw_err *err)
{
	uint32_t v = 0;
	if (message_uint32(size, name, &v, NULL, err) < 0)
		return -1;
	if (v < 1 || v > DW_AGENTP_TTY_MAX)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "pty.size.%s must be between 1 and %u", name,
				  DW_AGENTP_TTY_MAX);
	*ret = (uint16_t)v;
	return 0;
}

int rpc_process_size(const json_t *message, bool *ret_present, uint16_t *cols, uint16_t *rows, struct dw_err *err)
{
	const json_t *pty = NULL, *size = NULL;
	if (message_message(message, "pty", &pty, err) < 0 || message_message(pty, "size", &size, err) < 0)
		return -1;
	*ret_present = pty != NULL;
	if (!pty)
		return 0;
	return read_cells(size, "cols", cols, err) < 0 ? -1 : read_cells(size, "rows", rows, err);
}

int e2b_process_update(struct http_request *rq, struct http_reply *rp, struct dw_err *err)
{
	DW_AUTO(proc_unref) struct proc *p = NULL;
	uint16_t cols = 0, rows = 0;
	uint8_t payload[8];
	bool resize = false;
	if (find_running(rq, &p, err) < 0 || rpc_process_size(rq->json, &resize, &cols, &rows, err) < 0)
		return -1;
	if (resize && proc_kind(p) != PROC_PTY)
		return dw_err_set(err, DW_ERR_CONFLICT, "no_terminal", "the process has no terminal");
	if (resize && proc_control(p, DW_AGENTP_RESIZE, payload,
				   dw_agentp_resize_build(cols, rows, payload, sizeof(payload)), err) < 0)
		return -1;
	return reply_empty(rp, err);
}
