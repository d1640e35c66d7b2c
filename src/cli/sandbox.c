/* SPDX-License-Identifier: Apache-2.0 */
/* declaw sandbox list, info, kill, pause, resume, snapshot, restore. */
#include <errno.h>
#include <string.h>

#include "cli/call.h"
#include "cli/place.h"
#include "cli/sandbox.h"
#include "cli/table.h"
#include "cli/text.h"

#define PAGES_MAX 10000u /* an endless list is no list */

struct job {
	struct call call;
	const char *snapshot;
	bool wait, quiet;
	json_t *metadata, *state;
};

static int set_snapshot(void *to, const char *value, struct dw_err *err)
{
	if (!place_is_id(value))
		return call_invalid(err, "it is no id of a snapshot");
	return call_once(&((struct job *)to)->snapshot, value, err);
}

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
static const struct cli_option restore_options[] = {
	{ "--snapshot", "SNAPSHOT", set_snapshot, "which one (the newest)" },
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

static int print_ids(const json_t *list, struct dw_err *err)
{
	const json_t *s;
	size_t i;

	json_array_foreach(list, i, s)
	{
		const char *id = call_text(s, "sandbox_id");
		if (!id || !place_is_id(id))
			return call_bad_answer(err);
		puts(id);
	}
	return 0;
}

static int print_list(const struct job *j, json_t *list, struct dw_err *err)
{
	struct table t = { .columns = 6, .right = { [3] = true, [4] = true } };
	const json_t *s;
	size_t i;

	if (j->quiet)
		return print_ids(list, err);
	if (j->call.json) {
		json_t *all = json_pack("{sO sI}", "sandboxes", list, "total", (json_int_t)json_array_size(list));
		const int r = all ? call_print_json(all, false, err) : call_no_memory(err);
		json_decref(all);
		return r;
	}
	static const char *const heads[] = { "ID", "STATE", "TEMPLATE", "AGE", "LEFT", "METADATA" };
	for (i = 0; i < DW_COUNT(heads); i++)
		table_add(&t, heads[i]);
	json_array_foreach(list, i, s) add_row(&t, s);
	const bool ok = table_print(&t, stdout);
	table_done(&t);
	return ok ? 0 : call_no_memory(err);
}

/* "?state=a&state=b&metadata={...}", without what is not asked; NULL: memory is out. */
static char *list_query(const struct job *j)
{
	dw_autofree char *json = j->metadata ? json_dumps(j->metadata, JSON_COMPACT) : NULL;
	dw_autofree char *metadata = json ? cli_percent(json) : NULL;
	char *out = NULL;
	const json_t *state;
	size_t i;

	if (asprintf(&out, "?limit=1000%s%s", metadata ? "&metadata=" : "", metadata ? metadata : "") < 0)
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

/* One page; ret_token: of the next, malloc'ed and encoded, NULL at the end. */
static int list_page(const struct job *j, const char *query, const char *token, json_t *list, char **ret_token,
		     struct dw_err *err)
{
	dw_autofree char *path = NULL;
	json_t *answer = NULL;

	if (asprintf(&path, "/sandboxes%s%s%s", query, token ? "&next_token=" : "", token ? token : "") < 0) {
		path = NULL;
		return call_no_memory(err);
	}
	if (client_json(j->call.client, "GET", path, NULL, &answer, err) < 0)
		return -1;
	const json_t *rows = json_object_get(answer, "sandboxes");
	const char *next = call_text(answer, "next_token");
	int r = json_is_array(rows) ? 0 : call_bad_answer(err);
	if (r == 0 && json_array_extend(list, (json_t *)(uintptr_t)rows) < 0)
		r = call_no_memory(err);
	*ret_token = NULL;
	if (r == 0 && next && *next && !(*ret_token = cli_percent(next)))
		r = call_no_memory(err);
	json_decref(answer);
	return r;
}

static int list(void *job, struct dw_err *err)
{
	const struct job *j = job;
	dw_autofree char *query = list_query(j);
	dw_autofree char *token = NULL;
	json_t *all = json_array();
	int r = query && all ? 0 : call_no_memory(err);

	for (unsigned page = 0; r == 0 && (page == 0 || token); page++) {
		dw_autofree char *this = DW_TAKE(token);
		r = page < PAGES_MAX ? list_page(j, query, this, all, &token, err) : call_bad_answer(err);
	}
	if (r == 0)
		r = print_list(j, all, err);
	json_decref(all);
	return r;
}

static void add_field(struct table *t, const char *name, const char *text)
{
	if (!text || !*text)
		return;
	table_add(t, name);
	table_add(t, text);
}

static void add_time(struct table *t, const char *name, const json_t *s, const char *key, bool ago)
{
	char age[CLI_AGE_MAX], text[80];

	if (!span(s, key, ago, age))
		return;
	snprintf(text, sizeof(text), ago ? "%.19s UTC (%s ago)" : "%.19s UTC (in %s)", call_text(s, key), age);
	add_field(t, name, text);
}

static void add_json(struct table *t, const char *name, const json_t *value)
{
	dw_autofree char *text = json_object_size(value) ? json_dumps(value, JSON_COMPACT) : NULL;
	add_field(t, name, text);
}

static int print_info(const json_t *s, struct dw_err *err)
{
	struct table t = { .columns = 2 };
	dw_autofree char *metadata = pairs(json_object_get(s, "metadata"));

	add_field(&t, "id", call_text(s, "sandbox_id"));
	add_field(&t, "state", call_text(s, "state"));
	add_field(&t, "template", call_text(s, "template_id"));
	add_time(&t, "started", s, "started_at", true);
	add_time(&t, "ends", s, "end_at", false);
	add_time(&t, "paused", s, "paused_at", true);
	add_time(&t, "killed", s, "killed_at", true);
	add_field(&t, "because", call_text(s, "kill_reason"));
	add_field(&t, "address", call_text(s, "guest_ip"));
	add_field(&t, "metadata", metadata);
	add_json(&t, "lifecycle", json_object_get(s, "lifecycle"));
	add_json(&t, "resources", json_object_get(s, "resources"));
	add_json(&t, "network", json_object_get(s, "network"));
	const bool ok = table_print(&t, stdout);
	table_done(&t);
	return ok ? 0 : call_no_memory(err);
}

/* One request for a sandbox: its answer on standard output where it is asked for. */
struct each {
	const char *method, *suffix;
	bool shows; /* what it answers is what the command is for */
};

static int ask(struct job *j, const struct each *e, const char *id, struct dw_err *err)
{
	dw_autofree char *path = client_path(id, "%s", e->suffix);
	json_t *answer = NULL;
	int r = 0;

	if (!path)
		return call_no_memory(err);
	if (client_json(j->call.client, e->method, path, NULL, &answer, err) < 0)
		return -1;
	if (!json_is_object(answer))
		r = call_bad_answer(err);
	else if (j->call.json && !json_object_get(answer, "sandbox_id"))
		DW_IGNORE(json_object_set_new(answer, "sandbox_id", json_string(id)));
	if (r == 0 && j->call.json)
		r = call_print_json(answer, j->call.word_n > 1, err);
	else if (r == 0 && e->shows)
		r = print_info(answer, err);
	json_decref(answer);
	return r;
}

/* All of them, though one fails; the exit code is that of the first that did. */
static int ask_each(struct job *j, const struct each *e)
{
	int code = CALL_OK;

	for (size_t i = 0; i < j->call.word_n; i++) {
		struct dw_err one = { 0 };
		if (i && e->shows && !j->call.json)
			putchar('\n');
		if (ask(j, e, j->call.word[i], &one) == 0)
			continue;
		/* A message may not name the sandbox that it is about. */
		if (j->call.word_n > 1)
			dw_err_wrap(&one, "%s", j->call.word[i]);
		const int failed = call_failed(&one);
		code = code ? code : failed;
	}
	return code;
}

static int info(void *job, struct dw_err *err)
{
	return ask_each(job, &(struct each){ "GET", "", true });
}

static int kill_sandboxes(void *job, struct dw_err *err)
{
	struct job *j = job;
	return ask_each(j, &(struct each){ "DELETE", j->wait ? "" : "?async=true", false });
}

static int pause_sandboxes(void *job, struct dw_err *err)
{
	return ask_each(job, &(struct each){ "POST", "/pause", false });
}

static int resume(void *job, struct dw_err *err)
{
	return ask_each(job, &(struct each){ "POST", "/resume", false });
}

/* Prints the id of the snapshot that was taken or restored. */
static int snapshot_request(struct job *j, const char *path, struct dw_err *err)
{
	json_t *answer = NULL;

	if (!path)
		return call_no_memory(err);
	if (client_json(j->call.client, "POST", path, NULL, &answer, err) < 0)
		return -1;
	const char *id = call_text(answer, "snapshot_id");
	int r = id && place_is_id(id) ? 0 : call_bad_answer(err);
	if (r == 0 && j->call.json)
		r = call_print_json(answer, false, err);
	else if (r == 0)
		puts(id);
	json_decref(answer);
	return r;
}

static int snapshot(void *job, struct dw_err *err)
{
	struct job *j = job;
	dw_autofree char *path = client_path(j->call.word[0], "/snapshot");
	return snapshot_request(j, path, err);
}

static int restore(void *job, struct dw_err *err)
{
	struct job *j = job;
	dw_autofree char *path = client_path(j->call.word[0], "/restore%s%s", j->snapshot ? "?snapshot_id=" : "",
					     j->snapshot ? j->snapshot : "");
	return snapshot_request(j, path, err);
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
static const struct call_command snapshot_command = {
	"sandbox snapshot ID",
	"Takes a snapshot of a sandbox and prints its id.",
	OPTIONS(plain_options),
	1,
	1,
	call_check_ids,
	snapshot,
};
static const struct call_command restore_command = {
	"sandbox restore ID [--snapshot SNAPSHOT]",
	"Brings a sandbox back to a snapshot, whose id it prints.",
	OPTIONS(restore_options),
	1,
	1,
	call_check_ids,
	restore,
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

static int run_snapshot(int argc, char *const *argv)
{
	return run(&snapshot_command, argc, argv);
}

static int run_restore(int argc, char *const *argv)
{
	return run(&restore_command, argc, argv);
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
		{ "snapshot", run_snapshot, "keep its state" },
		{ "restore", run_restore, "bring it back to a kept state" },
		{ "kill", run_kill, "end one and everything in it" },
	};
	return cli_dispatch("declaw sandbox", "Sandboxes of a server.", commands, DW_COUNT(commands), argc, argv);
}
