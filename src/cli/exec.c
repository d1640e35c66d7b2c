/* SPDX-License-Identifier: Apache-2.0 */
/* declaw sandbox exec: a command in a sandbox, its output as it comes. Its connection is its life: when it ends, so does the command. */
#include <string.h>

#include "cli/exec_input.h"
#include "cli/sandbox.h"
#include "cli/text.h"

struct job {
	struct process process;
	bool input; /* ours is the command's */

	struct call_stream stream;
	bool ended;
	int code;
};

static int set_input(void *to, const char *value, struct dw_err *err)
{
	(void)value, (void)err;
	((struct job *)to)->input = true;
	return 0;
}

static const struct cli_option options[] = {
	{ "-i", NULL, set_input, "give it this standard input" },
	{ "--user", "USER", process_set_user, "who runs it (user)" },
	{ "--cwd", "FOLDER", process_set_cwd, "where it runs (the user's home)" },
	{ "--env", "NAME=VALUE", process_add_env, "a variable, over those of the sandbox; repeatable" },
	{ "--timeout", "SECONDS", process_set_timeout, "how long it may run (as long as the sandbox)" },
	CALL_OPTIONS,
};

static int check(void *job, struct dw_err *err)
{
	struct job *j = job;

	for (size_t i = 1; i < j->process.call.word_n; i++)
		if (call_check_utf8("the command", j->process.call.word[i], err) < 0)
			return -1;
	if (j->input && j->process.timeout)
		return call_invalid(err, "--timeout does not go with -i: run `timeout SECONDS COMMAND` in the sandbox");
	return process_check(job, err);
}

static json_t *make_body(const struct job *j, bool stream)
{
	dw_autofree char *cmd =
		cli_quote_words((char *const *)(uintptr_t)(j->process.call.word + 1), j->process.call.word_n - 1);
	json_t *body = cmd ? json_pack("{ss ss* ss* sO*}", "cmd", cmd, "user", j->process.user, "cwd", j->process.cwd,
				       "envs", j->process.env)
			   : NULL;
	bool ok =
		body &&
		(!j->process.timeout || json_object_set_new(body, "timeout", json_integer(j->process.timeout)) == 0) &&
		(!stream || json_object_set_new(body, "stream", json_true()) == 0);

	if (ok)
		return body;
	json_decref(body);
	return NULL;
}

/* Every command's exit code is one that a process can have. */
static int take_code(struct job *j, const json_t *code, struct dw_err *err)
{
	const json_int_t v = json_integer_value(code);

	if (!json_is_integer(code) || v < 0 || v > 255)
		return call_bad_answer(err);
	j->code = (int)v;
	j->ended = true;
	return 0;
}

static int put(const json_t *text, int fd, struct dw_err *err)
{
	return json_string_length(text) ? call_write(fd, json_string_value(text), json_string_length(text), err) : 0;
}

static int show(struct job *j, const json_t *event, struct dw_err *err)
{
	const char *type = call_text(event, "type");
	const json_t *error = json_object_get(event, "error");
	const json_t *data = json_object_get(event, "data"), *lost = json_object_get(event, "bytes");

	if (json_is_string(error)) {
		dw_autofree char *shown = cli_escape(json_string_value(error), json_string_length(error));
		cli_warn("%s", shown ? shown : "");
	}
	if (!type)
		return 0;
	if (strcmp(type, "stdout") == 0)
		return put(data, STDOUT_FILENO, err);
	if (strcmp(type, "stderr") == 0)
		return put(data, STDERR_FILENO, err);
	if (strcmp(type, "dropped") == 0 && json_is_integer(lost))
		cli_warn("%lld bytes of output were lost", (long long)json_integer_value(lost));
	return 0;
}

static int take_event(void *arg, const struct event *e)
{
	struct job *j = arg;
	json_t *event = json_loadb(e->data, e->n, JSON_ALLOW_NUL, NULL);
	const json_t *code = json_object_get(event, "exit_code");
	int r = 0;

	if (!json_is_object(event))
		r = call_bad_answer(j->stream.err);
	else if (j->process.call.json)
		r = call_print_json(event, true, j->stream.err);
	else
		r = show(j, event, j->stream.err);
	if (r == 0 && j->process.call.json)
		fflush(stdout);
	if (r == 0 && code)
		r = take_code(j, code, j->stream.err);
	json_decref(event);
	j->stream.failed = r < 0;
	return j->stream.failed || j->ended;
}

/* For a server without the stream: the output at the end. */
static int run_whole(struct job *j, struct dw_err *err)
{
	dw_autofree char *path = client_path(j->process.call.word[0], "/commands");
	json_t *body = make_body(j, false), *answer = NULL;
	const struct client_request rq = { .method = "POST", .path = path, .body = body, .patient = true };

	int r = path && body ? client_do(j->process.call.client, &rq, &answer, err) : call_no_memory(err);
	json_decref(body);
	if (r < 0)
		return -1;
	if (j->process.call.json)
		r = call_print_json(answer, false, err);
	else if (put(json_object_get(answer, "stdout"), STDOUT_FILENO, err) < 0 ||
		 put(json_object_get(answer, "stderr"), STDERR_FILENO, err) < 0)
		r = -1;
	if (r == 0)
		r = take_code(j, json_object_get(answer, "exit_code"), err);
	json_decref(answer);
	return r < 0 ? -1 : j->code;
}

static bool no_such_route(const struct dw_err *err)
{
	return err->kind == DW_ERR_METHOD ||
	       (err->kind == DW_ERR_NOT_FOUND && strcmp(err->code, "route_not_found") == 0);
}

static int run_with_input(struct job *j, struct dw_err *err)
{
	json_t *body = make_body(j, false);
	const int r = body ? exec_with_input(&j->process, body, err) : call_no_memory(err);

	json_decref(body);
	return r;
}

static int run_without_input(struct job *j, struct dw_err *err)
{
	dw_autofree char *path = client_path(j->process.call.word[0], "/commands/stream");
	json_t *body = make_body(j, true);
	const struct client_request rq = {
		.method = "POST",
		.path = path,
		.body = body,
		.events = true,
		.sink = call_take_piece,
		.arg = &j->stream,
	};

	j->stream.events = (struct events){ .take = take_event, .arg = j };
	const int r = path && body ? client_do(j->process.call.client, &rq, NULL, err) : call_no_memory(err);
	json_decref(body);
	events_done(&j->stream.events);
	if (r < 0)
		return no_such_route(err) ? run_whole(j, err) : -1;
	if (!j->ended)
		return dw_err_set(err, DW_ERR_INTERNAL, "connection_broken",
				  "the connection broke before the command's end, and the command with it");
	return j->code;
}

static int run(void *job, struct dw_err *err)
{
	struct job *j = job;

	return j->input ? run_with_input(j, err) : run_without_input(j, err);
}

static const struct call_command command = {
	"sandbox exec ID [OPTION]... -- COMMAND [ARGUMENT]...",
	"Runs a command in a sandbox and shows its output as it comes. The exit code is the command's. The words are\n"
	"quoted, so that they arrive as they are: for pipes and variables, run sh -c. Interrupting it ends the "
	"command.",
	options,
	DW_COUNT(options),
	2,
	SIZE_MAX,
	check,
	run,
};

int sandbox_exec(int argc, char *const *argv)
{
	struct job j = { 0 };
	const int code = call_main(&command, argc, argv, &j);

	json_decref(j.process.env);
	return code;
}
