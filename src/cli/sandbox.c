/* SPDX-License-Identifier: Apache-2.0 */
/* declaw sandbox list, info, kill, pause, resume. */
#include <errno.h>
#include <string.h>

#include "cli/rows.h"
#include "cli/sandbox.h"

struct job {
	struct call call;
	bool wait, quiet;
	json_t *metadata, *state;
};

static int set_wait(void *to, const char *value, struct dw_err *err)
{
	((struct job *)to)->wait = true;
	return 0;
}

static int set_quiet(void *to, const char *value, struct dw_err *err)
{
	((struct job *)to)->quiet = true;
	return 0;
}

static int add_metadata(void *to, const char *value, struct dw_err *err)
{
	return call_add_pair(&((struct job *)to)->metadata, value, err);
}

static int add_state(void *to, const char *value, struct dw_err *err)
{
	if (strcmp(value, "running") != 0 && strcmp(value, "paused") != 0 && strcmp(value, "killed") != 0)
		return call_invalid(err, "it is running, paused or killed");
	return call_add_text(&((struct job *)to)->state, value, err);
}

static const struct cli_option list_options[] = {
	{ "--state", "STATE", add_state, "running, paused or killed; repeatable (running and paused)" },
	{ "--metadata", "NAME=VALUE", add_metadata, "only those that have it; repeatable" },
	{ "-q", NULL, set_quiet, "ids alone" },
	CALL_OPTIONS,
};
static const struct cli_option kill_options[] = {
	{ "--wait", NULL, set_wait, "return when nothing of it is left" },
	CALL_OPTIONS,
};
static const struct cli_option plain_options[] = { CALL_OPTIONS };

/* "3m", or "3m ago"; NULL where there is no time. */
static const char *span(const json_t *s, const char *key, bool ago, char buf[static CLI_AGE_MAX])
{
	const char *text = call_text(s, key);
	time_t t;

	if (!text || !cli_parse_time(text, &t))
		return NULL;
	const int64_t now = (int64_t)time(NULL);
	return cli_age(ago ? now - (int64_t)t : (int64_t)t - now, buf);
}

/* "a=1, b=2" or NULL. */
static char *pairs(const json_t *object)
{
	char *out = NULL;
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)object, key, value)
	{
		char *more = NULL;
		const char *text = json_string_value(value);
		if (asprintf(&more, "%s%s%s=%s", out ? out : "", out ? ", " : "", key, text ? text : "") < 0)
			more = NULL;
		free(out);
		out = more;
		if (!out)
			break;
	}
	return out;
}

static void add_row(struct table *t, const json_t *s)
{
	char since[CLI_AGE_MAX], left[CLI_AGE_MAX];
	dw_autofree char *metadata = pairs(json_object_get(s, "metadata"));
	const char *state = call_text(s, "state");

	table_add(t, call_text(s, "sandbox_id"));
	table_add(t, state);
	table_add(t, call_text(s, "template_id"));
	table_add(t, span(s, "started_at", true, since));
	table_add(t, state && strcmp(state, "running") == 0 ? span(s, "end_at", false, left) : NULL);
	table_add(t, metadata);
}

static int print_list(const struct job *j, json_t *list, struct dw_err *err)
{
	struct table t = { .columns = 6, .right = { [3] = true, [4] = true } };
	const json_t *s;
	size_t i;

	if (j->quiet)
		return rows_print_ids(list, "sandbox_id", err);
	if (j->call.json)
		return rows_print_json(list, "sandboxes", err);
	static const char *const heads[] = { "ID", "STATE", "TEMPLATE", "AGE", "LEFT", "METADATA" };
	for (i = 0; i < DW_COUNT(heads); i++)
		table_add(&t, heads[i]);
	json_array_foreach(list, i, s) add_row(&t, s);
	return rows_print_table(&t, err);
}

/* "/sandboxes?state=a&state=b&metadata={...}", without what is not asked; NULL: memory is out. */
static char *list_path(const struct job *j)
{
	dw_autofree char *json = j->metadata ? json_dumps(j->metadata, JSON_COMPACT) : NULL;
	dw_autofree char *metadata = json ? cli_percent(json) : NULL;
	char *out = NULL;
	const json_t *state;
	size_t i;

	if (asprintf(&out, "/sandboxes?limit=1000%s%s", metadata ? "&metadata=" : "", metadata ? metadata : "") < 0)
		return NULL;
	json_array_foreach(j->state, i, state)
	{
		char *more = NULL;
		if (asprintf(&more, "%s&state=%s", out, json_string_value(state)) < 0)
			more = NULL;
		free(out);
		out = more;
		if (!out)
			return NULL;
	}
	if (j->metadata && !metadata) {
		free(out);
		return NULL;
	}
	return out;
}

static int list(void *job, struct dw_err *err)
{
	const struct job *j = job;
	dw_autofree char *path = list_path(j);
	json_t *all = NULL;

	if (!path)
		return call_no_memory(err);
	if (rows_get(j->call.client, path, "sandboxes", &all, err) < 0)
		return -1;
	const int r = print_list(j, all, err);
	json_decref(all);
	return r;
}

static void add_time(struct table *t, const char *name, const json_t *s, const char *key, bool ago)
{
	char age[CLI_AGE_MAX], text[80];

	if (!span(s, key, ago, age))
		return;
	snprintf(text, sizeof(text), ago ? "%.19s UTC (%s ago)" : "%.19s UTC (in %s)", call_text(s, key), age);
	rows_add_field(t, name, text);
}

static void add_json(struct table *t, const char *name, const json_t *value)
{
	dw_autofree char *text = json_object_size(value) ? json_dumps(value, JSON_COMPACT) : NULL;
	rows_add_field(t, name, text);
}

static int print_info(const json_t *s, struct dw_err *err)
{
	struct table t = { .columns = 2 };
	dw_autofree char *metadata = pairs(json_object_get(s, "metadata"));

	rows_add_field(&t, "id", call_text(s, "sandbox_id"));
	rows_add_field(&t, "state", call_text(s, "state"));
	rows_add_field(&t, "template", call_text(s, "template_id"));
	add_time(&t, "started", s, "started_at", true);
	add_time(&t, "ends", s, "end_at", false);
	add_time(&t, "paused", s, "paused_at", true);
	add_time(&t, "killed", s, "killed_at", true);
	rows_add_field(&t, "because", call_text(s, "kill_reason"));
	rows_add_field(&t, "address", call_text(s, "guest_ip"));
	rows_add_field(&t, "metadata", metadata);
	add_json(&t, "lifecycle", json_object_get(s, "lifecycle"));
	add_json(&t, "resources", json_object_get(s, "resources"));
	add_json(&t, "network", json_object_get(s, "network"));
	return rows_print_table(&t, err);
}

/* One request for a sandbox: its answer on standard output where it is asked for. */
struct each {
	struct job *job;
	const char *method, *suffix;
	bool shows; /* what it answers is what the command is for */
	bool again; /* it is not the first */
};

static int ask(void *arg, const char *id, struct dw_err *err)
{
	struct each *e = arg;
	const struct call *call = &e->job->call;
	dw_autofree char *path = client_path(id, "%s", e->suffix);
	json_t *answer = NULL;
	int r = 0;

	if (e->again && e->shows && !call->json)
		putchar('\n');
	e->again = true;
	if (!path)
		return call_no_memory(err);
	if (client_json(call->client, e->method, path, NULL, &answer, err) < 0)
		return -1;
	if (!json_is_object(answer))
		r = call_bad_answer(err);
	else if (call->json && !json_object_get(answer, "sandbox_id"))
		DW_IGNORE(json_object_set_new(answer, "sandbox_id", json_string(id)));
	if (r == 0 && call->json)
		r = call_print_json(answer, call->word_n > 1, err);
	else if (r == 0 && e->shows)
		r = print_info(answer, err);
	json_decref(answer);
	return r;
}

static int ask_each(struct job *j, const char *method, const char *suffix, bool shows)
{
	struct each e = { .job = j, .method = method, .suffix = suffix, .shows = shows };
	return call_each(&j->call, ask, &e);
}

static int info(void *job, struct dw_err *err)
{
	return ask_each(job, "GET", "", true);
}

static int kill_sandboxes(void *job, struct dw_err *err)
{
	struct job *j = job;
	return ask_each(j, "DELETE", j->wait ? "" : "?async=true", false);
}

static int pause_sandboxes(void *job, struct dw_err *err)
{
	return ask_each(job, "POST", "/pause", false);
}

static int resume(void *job, struct dw_err *err)
{
	return ask_each(job, "POST", "/resume", false);
}

#define OPTIONS(table) table, DW_COUNT(table)

static const struct call_command list_command = {
	"sandbox list [OPTION]...",
	"Lists sandboxes: age, and how long they may still run.",
	OPTIONS(list_options),
	0,
	0,
	NULL,
	list,
};
static const struct call_command info_command = {
	"sandbox info ID...",
	"Says what the server knows of sandboxes, killed ones too.",
	OPTIONS(plain_options),
	1,
	SIZE_MAX,
	call_check_ids,
	info,
};
static const struct call_command kill_command = {
	"sandbox kill [--wait] ID...",
	"Ends sandboxes and everything in them.",
	OPTIONS(kill_options),
	1,
	SIZE_MAX,
	call_check_ids,
	kill_sandboxes,
};
static const struct call_command pause_command = {
	"sandbox pause ID...",
	"Stops everything in sandboxes where it is; memory and files stay.",
	OPTIONS(plain_options),
	1,
	SIZE_MAX,
	call_check_ids,
	pause_sandboxes,
};
static const struct call_command resume_command = {
	"sandbox resume ID...",
	"Lets paused sandboxes go on.",
	OPTIONS(plain_options),
	1,
	SIZE_MAX,
	call_check_ids,
	resume,
};
static int run(const struct call_command *command, int argc, char *const *argv)
{
	struct job j = { 0 };
	const int code = call_main(command, argc, argv, &j);

	json_decref(j.metadata);
	json_decref(j.state);
	return code;
}

static int run_list(int argc, char *const *argv)
{
	return run(&list_command, argc, argv);
}

static int run_info(int argc, char *const *argv)
{
	return run(&info_command, argc, argv);
}

static int run_kill(int argc, char *const *argv)
{
	return run(&kill_command, argc, argv);
}

static int run_pause(int argc, char *const *argv)
{
	return run(&pause_command, argc, argv);
}

static int run_resume(int argc, char *const *argv)
{
	return run(&resume_command, argc, argv);
}

int cli_sandbox(int argc, char *const *argv)
{
	static const struct cli_command commands[] = {
		{ "create", sandbox_create, "make one and print its id" },
		{ "list", run_list, "those there are" },
		{ "info", run_info, "what the server knows of one" },
		{ "exec", sandbox_exec, "run a command in one" },
		{ "connect", sandbox_connect, "a terminal in one" },
		{ "pause", run_pause, "stop everything in one where it is" },
		{ "resume", run_resume, "let a paused one go on" },
		{ "snapshot", sandbox_snapshot, "keep its files" },
		{ "snapshots", sandbox_snapshots, "what was kept of it" },
		{ "restore", sandbox_restore, "bring it back to files that were kept" },
		{ "kill", run_kill, "end one and everything in it" },
	};
	return cli_dispatch("declaw sandbox", "Sandboxes of a server.", commands, DW_COUNT(commands), argc, argv);
}
