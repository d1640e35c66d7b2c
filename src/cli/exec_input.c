/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One loop holds two requests: the stream of what the command writes, and what is read for it, one request after the other, so that
 * it arrives in order and no faster than the command takes it.
 */
#include "cli/exec_input.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli/base64.h"
#include "cli/place.h"
#include "cli/terminal.h"

#define READ_MAX     32768
#define START_MOST_S 60u
#define KILL_MOST_S  3u /* leaving does not wait for a server that hangs */
#define POLL_MS      1000

struct talk {
	struct process *process;
	struct terminal terminal;
	char *cmd_id;
	CURLM *multi;
	struct transfer *output, *input;
	struct call_stream stream;
	bool ended, input_ended;
	int code, signal;
};

static int show(struct talk *t, const struct event *e, const json_t *event, struct dw_err *err)
{
	const json_t *data = json_object_get(event, "data");
	const size_t n = json_string_length(data);
	dw_autofree char *text = strdup(n ? json_string_value(data) : "");
	size_t bytes = 0;

	if (!text)
		return call_no_memory(err);
	if (!json_is_string(data) || !base64_decode(text, n, &bytes))
		return call_bad_answer(err);
	const int r = call_put(strcmp(e->name, "stderr") == 0 ? STDERR_FILENO : STDOUT_FILENO, text, bytes, err);
	if (r > 0)
		t->signal = SIGPIPE;
	return r < 0 ? -1 : 0;
}

static int take_exit(struct talk *t, const json_t *event, struct dw_err *err)
{
	const json_t *code = json_object_get(event, "exit_code");
	const json_int_t v = json_integer_value(code);

	if (!json_is_integer(code) || v < 0 || v > 255)
		return call_bad_answer(err);
	t->code = (int)v;
	t->ended = true;
	return 0;
}

static int print_json(const struct event *e, json_t *event, struct dw_err *err)
{
	if (json_object_set_new(event, "type", json_string(e->name)) < 0)
		return call_no_memory(err);
	const int r = call_print_json(event, true, err);
	fflush(stdout);
	return r;
}

static int take_event(void *arg, const struct event *e)
{
	struct talk *t = arg;
	json_t *event = json_loadb(e->data, e->n, 0, NULL);
	const bool end = strcmp(e->name, "exit") == 0;
	int r = 0;

	if (!json_is_object(event))
		r = call_bad_answer(t->stream.err);
	else if (t->process->call.json)
		r = print_json(e, event, t->stream.err);
	else if (strcmp(e->name, "stdout") == 0 || strcmp(e->name, "stderr") == 0)
		r = show(t, e, event, t->stream.err);
	if (r == 0 && end)
		r = take_exit(t, event, t->stream.err);
	json_decref(event);
	t->stream.failed = r < 0;
	return t->stream.failed || t->ended || t->signal;
}

static int begin(struct talk *t, const struct client_request *rq, struct transfer **ret, struct dw_err *err)
{
	if (!rq->path)
		return call_no_memory(err);
	if (transfer_new(t->process->call.client, rq, ret, err) < 0)
		return -1;
	return curl_multi_add_handle(t->multi, transfer_easy(*ret)) == CURLM_OK ? 0 : call_no_memory(err);
}

static char *stdio_path(const struct talk *t, const char *suffix)
{
	return client_path(t->process->call.word[0], "/stdio/%s%s", t->cmd_id, suffix);
}

static int follow(struct talk *t, struct dw_err *err)
{
	dw_autofree char *path = stdio_path(t, "/stream");
	const struct client_request rq = {
		.method = "GET", .path = path, .events = true, .sink = call_take_piece, .arg = &t->stream
	};

	return begin(t, &rq, &t->output, err);
}

/* Sends what can be read, or that there will be no more. */
static int send_input(struct talk *t, struct dw_err *err)
{
	char bytes[READ_MAX];
	const ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	t->input_ended = n <= 0;
	dw_autofree char *path = stdio_path(t, n > 0 ? "/stdin" : "/stdin/close");
	dw_autofree char *text = n > 0 ? base64_encode(bytes, (size_t)n) : NULL;
	json_t *body = text ? json_pack("{ss}", "data", text) : NULL;
	const struct client_request rq = { .method = "POST", .path = path, .body = body, .patient = true };
	const int r = n > 0 && !body ? call_no_memory(err) : begin(t, &rq, &t->input, err);
	json_decref(body);
	return r;
}

static int obey_signals(struct talk *t)
{
	for (int s; (s = terminal_signal(&t->terminal));) {
		if (s == SIGTSTP)
			terminal_obey(&t->terminal, s);
		else if (s != SIGWINCH && s != SIGCONT)
			t->signal = s;
	}
	return 0;
}

/* Takes what has ended. */
static int reap(struct talk *t, struct dw_err *err)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(t->multi, &left))) {
		const CURLcode code = m->data.result;
		struct transfer **slot =
			t->output && transfer_easy(t->output) == m->easy_handle ? &t->output : &t->input;
		const bool is_output = slot == &t->output;

		curl_multi_remove_handle(t->multi, m->easy_handle);
		if (transfer_end(DW_TAKE(*slot), code, NULL, err) < 0) {
			/* Input that a command does not read any more is no failure; its end tells how it fared. */
			if (is_output || (err->kind != DW_ERR_NOT_FOUND && err->kind != DW_ERR_CONFLICT))
				return -1;
			t->input_ended = true;
		}
		if (is_output && !t->ended && !t->signal)
			return dw_err_set(err, DW_ERR_INTERNAL, "connection_broken",
					  "the connection broke before the command's end");
	}
	return 0;
}

static int step(struct talk *t, struct dw_err *err)
{
	struct curl_waitfd fds[2] = { { .fd = t->terminal.signal_fd, .events = CURL_WAIT_POLLIN },
				      { .fd = STDIN_FILENO, .events = CURL_WAIT_POLLIN } };
	const bool reading = !t->input && !t->input_ended;
	int running;

	if (curl_multi_perform(t->multi, &running) != CURLM_OK)
		return call_no_memory(err);
	if (reap(t, err) < 0)
		return -1;
	if (t->ended || t->signal)
		return 0;
	if (curl_multi_poll(t->multi, fds, reading ? 2 : 1, POLL_MS, NULL) != CURLM_OK)
		return call_no_memory(err);
	if (fds[0].revents && obey_signals(t) < 0)
		return -1;
	return reading && !t->signal && fds[1].revents ? send_input(t, err) : 0;
}

static int start(struct talk *t, const json_t *body, struct dw_err *err)
{
	dw_autofree char *path = client_path(t->process->call.word[0], "/stdio");
	const struct client_request rq = { .method = "POST", .path = path, .body = body, .most_s = START_MOST_S };
	json_t *answer = NULL;

	if (!path)
		return call_no_memory(err);
	if (client_do(t->process->call.client, &rq, &answer, err) < 0)
		return -1;
	const char *id = call_text(answer, "cmd_id");
	int r = 0;
	if (!id || !place_is_id(id))
		r = call_bad_answer(err);
	else if (!(t->cmd_id = strdup(id)))
		r = call_no_memory(err);
	json_decref(answer);
	return r;
}

static void end_transfer(struct talk *t, struct transfer **slot)
{
	if (!*slot)
		return;
	curl_multi_remove_handle(t->multi, transfer_easy(*slot));
	transfer_free(DW_TAKE(*slot));
}

static void kill_command(struct talk *t)
{
	dw_autofree char *path = stdio_path(t, "");
	const struct client_request rq = { .method = "DELETE", .path = path, .most_s = KILL_MOST_S };
	struct dw_err ignored = { 0 };
	json_t *answer = NULL;

	if (path && client_do(t->process->call.client, &rq, &answer, &ignored) == 0)
		json_decref(answer);
}

int exec_with_input(struct process *p, const json_t *body, struct dw_err *err)
{
	struct talk t = { .process = p };

	t.stream.events = (struct events){ .take = take_event, .arg = &t };
	/* First of all: from the moment that the server is asked, a signal must not end this without ending what was made. */
	if (terminal_open(&t.terminal, err) < 0)
		return -1;
	t.multi = curl_multi_init();
	int r = t.multi ? start(&t, body, err) : call_no_memory(err);
	if (r == 0)
		r = follow(&t, err);
	while (r == 0 && !t.ended && !t.signal)
		r = step(&t, err);
	end_transfer(&t, &t.output);
	end_transfer(&t, &t.input);
	curl_multi_cleanup(t.multi);
	events_done(&t.stream.events);
	if (t.cmd_id && !t.ended)
		kill_command(&t);
	free(t.cmd_id);
	if (t.signal)
		terminal_obey(&t.terminal, t.signal);
	terminal_close(&t.terminal);
	return r < 0 ? -1 : t.code;
}
