/* SPDX-License-Identifier: Apache-2.0 */
/*
 * declaw sandbox connect: a terminal of a sandbox in one's own. One loop holds up to three requests: the stream of what the terminal shows;
 * what was typed, one request after the other, so that it arrives in order (what is typed meanwhile waits in the user's own terminal);
 * and the new size, one at a time as well. The sandbox's terminal ends when the user leaves.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "cli/base64.h"
#include "cli/keys.h"
#include "cli/process.h"
#include "cli/sandbox.h"
#include "cli/terminal.h"

#define KILL_MOST_S 3u /* leaving does not wait for a server that hangs */
#define POLL_MS     1000

enum slot { STREAM = 0, INPUT, RESIZE, SLOT__COUNT };

struct job {
	struct process process;

	struct terminal terminal;
	struct keys keys;
	json_int_t pid;
	CURLM *multi;
	struct transfer *slot[SLOT__COUNT];
	struct call_stream stream;
	bool made, ended, leaving, resized, input_ended;
	unsigned asked; /* how many signals asked it to end */
	int code, signal;
};

static const struct cli_option options[] = {
	{ "--user", "USER", process_set_user, "whose shell it is (user)" },
	{ "--cwd", "FOLDER", process_set_cwd, "where it begins (the user's home)" },
	{ "--env", "NAME=VALUE", process_add_env, "a variable, over those of the sandbox; repeatable" },
	{ "--timeout", "SECONDS", process_set_timeout, "how long it may last (as long as the sandbox)" },
	CALL_SERVER_OPTIONS,
};

static json_t *size_json(void)
{
	uint16_t cols = 80, rows = 24;
	terminal_size(&cols, &rows);
	return json_pack("{si si}", "cols", (int)cols, "rows", (int)rows);
}

/* 1 where nobody reads it any more. */
static int show(const json_t *event, struct dw_err *err)
{
	const json_t *data = json_object_get(event, "data");
	const size_t n = json_string_length(data);
	dw_autofree char *text = n ? strdup(json_string_value(data)) : NULL;
	size_t bytes = 0;

	if (!n)
		return 0;
	if (!text)
		return call_no_memory(err);
	if (!base64_decode(text, n, &bytes))
		return call_bad_answer(err);
	return call_put(STDOUT_FILENO, text, bytes, err);
}

static int take_event(void *arg, const struct event *e)
{
	struct job *j = arg;
	json_t *event = json_loadb(e->data, e->n, 0, NULL);
	const json_t *code = json_object_get(event, "exit_code");
	int r = 0;

	if (strcmp(e->name, "exit") == 0) {
		const json_int_t v = json_integer_value(code);
		r = json_is_integer(code) && v >= 0 && v <= 255 ? 0 : call_bad_answer(j->stream.err);
		j->code = (int)v;
		j->ended = r == 0;
	} else if (strcmp(e->name, "data") == 0) {
		r = show(event, j->stream.err);
	}
	json_decref(event);
	if (r > 0) {
		j->signal = SIGPIPE;
		j->leaving = true;
	}
	j->stream.failed = r < 0;
	return j->stream.failed || j->ended || j->leaving;
}

/* Begins a request of a slot. body is taken. */
static int begin(struct job *j, enum slot slot, const char *method, const char *suffix, json_t *body_take,
		 struct dw_err *err)
{
	dw_autofree char *path = client_path(j->process.call.word[0], "/pty/%lld%s", (long long)j->pid, suffix);
	struct client_request rq = { .method = method, .path = path, .body = body_take };
	int r;

	if (slot == STREAM) {
		rq.events = true;
		rq.sink = call_take_piece;
		rq.arg = &j->stream;
	}
	r = path && (body_take || slot == STREAM) ? transfer_new(j->process.call.client, &rq, &j->slot[slot], err)
						  : call_no_memory(err);
	json_decref(body_take);
	if (r == 0 && curl_multi_add_handle(j->multi, transfer_easy(j->slot[slot])) != CURLM_OK)
		return call_no_memory(err);
	return r;
}

static int send_keys(struct job *j, struct dw_err *err)
{
	char bytes[KEYS_MAX];
	json_t *text = NULL;
	const ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	j->input_ended = n <= 0;
	/* A terminal that is gone is left; the end of a file is typed, as a person does it. */
	if (n <= 0 && j->terminal.is_tty) {
		j->leaving = true;
		return 0;
	}
	if (!keys_take(&j->keys, n > 0 ? bytes : "\x04", n > 0 ? (size_t)n : 1, n <= 0, &text, &j->leaving))
		return call_no_memory(err);
	if (!json_string_length(text)) {
		json_decref(text);
		return 0;
	}
	return begin(j, INPUT, "POST", "/stdin", json_pack("{so}", "data", text), err);
}

static int obey_signals(struct job *j, struct dw_err *err)
{
	for (int s; (s = terminal_signal(&j->terminal));) {
		if (s == SIGWINCH || s == SIGCONT) {
			j->resized = true;
			/* As long as nothing is made, Ctrl-C is to be a signal. */
			if (j->made && terminal_raw(&j->terminal, err) < 0)
				return -1;
		} else if (s == SIGTSTP) {
			terminal_obey(&j->terminal, s);
		} else {
			j->signal = s;
			j->leaving = true;
			j->asked++;
		}
	}
	return 0;
}

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/*
 * Waits for the answer: 0 with what libcurl said. One who leaves waits for it too, but not for long: the terminal that the server is
 * making must be ended. 1 when it was given up.
 */
static int await(struct job *j, CURLcode *ret, struct dw_err *err)
{
	int64_t until = 0;
	int running, left;

	for (;;) {
		if (curl_multi_perform(j->multi, &running) != CURLM_OK)
			return call_no_memory(err);
		const CURLMsg *m = curl_multi_info_read(j->multi, &left);
		if (m) {
			*ret = m->data.result;
			return 0;
		}
		if (j->leaving && !until)
			until = now_ms() + KILL_MOST_S * 1000;
		if (j->asked > 1 || (until && now_ms() >= until))
			return 1;
		struct curl_waitfd fd = { .fd = j->terminal.signal_fd, .events = CURL_WAIT_POLLIN };
		if (curl_multi_poll(j->multi, &fd, 1, POLL_MS, NULL) != CURLM_OK)
			return call_no_memory(err);
		if (fd.revents && obey_signals(j, err) < 0)
			return -1;
	}
}

static int take_pid(struct job *j, const json_t *answer, struct dw_err *err)
{
	const json_t *pid = json_object_get(answer, "pid");

	j->made = json_is_integer(pid);
	j->pid = json_integer_value(pid);
	return j->made ? 0 : call_bad_answer(err);
}

/* Has the server make the terminal; made stays false where one leaves before it has answered. */
static int create(struct job *j, struct dw_err *err)
{
	dw_autofree char *path = client_path(j->process.call.word[0], "/pty");
	struct transfer *t = NULL;
	CURLcode code = CURLE_OK;
	json_t *answer = NULL;
	json_t *body = json_pack("{so ss* ss* sO*}", "size", size_json(), "user", j->process.user, "cwd",
				 j->process.cwd, "envs", j->process.env);
	const struct client_request rq = { .method = "POST", .path = path, .body = body };

	/* 0 is no limit but the sandbox's own. */
	const bool ok = path && body && json_object_set_new(body, "timeout", json_integer(j->process.timeout)) == 0;
	int r = ok ? transfer_new(j->process.call.client, &rq, &t, err) : call_no_memory(err);
	json_decref(body);
	if (r < 0)
		return -1;
	r = curl_multi_add_handle(j->multi, transfer_easy(t)) == CURLM_OK ? await(j, &code, err) : call_no_memory(err);
	curl_multi_remove_handle(j->multi, transfer_easy(t));
	if (r != 0) {
		transfer_free(t);
		return r < 0 ? -1 : 0;
	}
	r = transfer_end(t, code, &answer, err);
	if (r == 0)
		r = take_pid(j, answer, err);
	json_decref(answer);
	return r;
}

/* Takes what has ended. */
static int reap(struct job *j, struct dw_err *err)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(j->multi, &left))) {
		const CURLcode code = m->data.result;
		size_t i = 0;
		while (i < SLOT__COUNT && !(j->slot[i] && transfer_easy(j->slot[i]) == m->easy_handle))
			i++;
		dw_assert(i < SLOT__COUNT);
		curl_multi_remove_handle(j->multi, m->easy_handle);
		if (transfer_end(DW_TAKE(j->slot[i]), code, NULL, err) < 0) {
			/* Input that comes too late, after the shell has ended, says nothing that its end does not say. */
			if (i == STREAM || (err->kind != DW_ERR_NOT_FOUND && err->kind != DW_ERR_CONFLICT))
				return -1;
			j->input_ended = true;
		}
		if (i == STREAM && !j->ended && !j->leaving)
			return dw_err_set(err, DW_ERR_INTERNAL, "connection_broken",
					  "the connection broke before the terminal's end");
	}
	return 0;
}

static int step(struct job *j, struct dw_err *err)
{
	struct curl_waitfd fds[2] = { { .fd = j->terminal.signal_fd, .events = CURL_WAIT_POLLIN },
				      { .fd = STDIN_FILENO, .events = CURL_WAIT_POLLIN } };
	const bool typing = !j->slot[INPUT] && !j->input_ended;
	int running;

	if (j->resized && !j->slot[RESIZE]) {
		j->resized = false;
		if (begin(j, RESIZE, "PATCH", "", json_pack("{so}", "size", size_json()), err) < 0)
			return -1;
	}
	if (curl_multi_perform(j->multi, &running) != CURLM_OK)
		return call_no_memory(err);
	if (reap(j, err) < 0)
		return -1;
	if (j->ended || j->leaving)
		return 0;
	if (curl_multi_poll(j->multi, fds, typing ? 2 : 1, POLL_MS, NULL) != CURLM_OK)
		return call_no_memory(err);
	if (fds[0].revents && obey_signals(j, err) < 0)
		return -1;
	return typing && !j->leaving && fds[1].revents ? send_keys(j, err) : 0;
}

static void end_slots(struct job *j)
{
	for (size_t i = 0; i < SLOT__COUNT; i++) {
		if (!j->slot[i])
			continue;
		curl_multi_remove_handle(j->multi, transfer_easy(j->slot[i]));
		transfer_free(DW_TAKE(j->slot[i]));
	}
}

/* The terminal of the sandbox that nobody looks at any more. */
static void kill_pty(struct job *j)
{
	dw_autofree char *path = client_path(j->process.call.word[0], "/pty/%lld", (long long)j->pid);
	const struct client_request rq = { .method = "DELETE", .path = path, .most_s = KILL_MOST_S };
	struct dw_err ignored = { 0 };
	json_t *answer = NULL;

	if (path && client_do(j->process.call.client, &rq, &answer, &ignored) == 0)
		json_decref(answer);
}

static int talk(struct job *j, struct dw_err *err)
{
	j->keys.escapes = j->terminal.is_tty;
	int r = begin(j, STREAM, "GET", "/stream", NULL, err);
	if (r == 0)
		r = terminal_raw(&j->terminal, err);
	while (r == 0 && !j->ended && !j->leaving)
		r = step(j, err);
	end_slots(j);
	terminal_restore(&j->terminal);
	return r;
}

static int run(void *job, struct dw_err *err)
{
	struct job *j = job;

	j->stream.events = (struct events){ .take = take_event, .arg = j };
	/* First of all: from the moment that the server is asked, a signal must not end this without ending what was made. */
	if (terminal_open(&j->terminal, err) < 0)
		return -1;
	j->multi = curl_multi_init();
	int r = j->multi ? create(j, err) : call_no_memory(err);
	if (r == 0 && !j->leaving)
		r = talk(j, err);
	curl_multi_cleanup(j->multi);
	events_done(&j->stream.events);
	if (j->made && !j->ended)
		kill_pty(j);
	if (j->signal)
		terminal_obey(&j->terminal, j->signal);
	terminal_close(&j->terminal);
	return r < 0 ? -1 : j->code;
}

static const struct call_command command = {
	"sandbox connect ID [OPTION]...",
	"Opens a login shell on a terminal of the sandbox. The exit code is the shell's. Leaving ends the shell: type\n"
	"Enter ~ . where it does not answer.",
	options,
	DW_COUNT(options),
	1,
	1,
	process_check,
	run,
};

int sandbox_connect(int argc, char *const *argv)
{
	struct job j = { 0 };
	const int code = call_main(&command, argc, argv, &j);

	json_decref(j.process.env);
	return code;
}
