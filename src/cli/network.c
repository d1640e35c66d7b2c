/* SPDX-License-Identifier: Apache-2.0 */
/* declaw network get, set, allow, deny, suggest. */
#include "cli/network.h"

#include <string.h>

#include "cli/call.h"
#include "cli/sandbox.h"
#include "cli/table.h"
#include "cli/text.h"

struct job {
	struct call call;
	bool remove, policy;
	long generation;
	json_t *body;
};

static int set_remove(void *to, const char *value, struct dw_err *err)
{
	((struct job *)to)->remove = true;
	return 0;
}

static int set_policy(void *to, const char *value, struct dw_err *err)
{
	((struct job *)to)->policy = true;
	return 0;
}

static int set_generation(void *to, const char *value, struct dw_err *err)
{
	return call_number(value, 1, 9999999999, &((struct job *)to)->generation, err);
}

#define GENERATION_OPTION                                                                                  \
	{                                                                                                  \
		"--generation", "N", set_generation, "only if no other change came behind that generation" \
	}

static const struct cli_option get_options[] = { CALL_OPTIONS };
static const struct cli_option set_options[] = { GENERATION_OPTION, CALL_OPTIONS };
static const struct cli_option edit_options[] = {
	{ "--remove", NULL, set_remove, "take the entries out of the list" },
	GENERATION_OPTION,
	CALL_OPTIONS,
};
static const struct cli_option suggest_options[] = {
	{ "--policy", NULL, set_policy, "the network object alone, as network set takes it" },
	CALL_OPTIONS,
};

static void add(struct table *t, const char *name, const char *value)
{
	table_add(t, name);
	table_add(t, value);
}

static void add_value(struct table *t, const char *name, const json_t *value)
{
	dw_autofree char *text =
		json_is_string(value) || json_is_null(value) ? NULL : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	if (value && !json_is_null(value))
		add(t, name, text ? text : json_string_value(value));
}

/* A line for each entry of a list: an empty one, which closes everything, is seen. */
static void add_list(struct table *t, const char *name, const json_t *list)
{
	const json_t *entry;
	size_t i;

	if (json_is_array(list) && !json_array_size(list))
		add(t, name, "(empty: nothing)");
	json_array_foreach(list, i, entry) add(t, name, json_string_value(entry));
}

static void add_network(struct table *t, const json_t *network)
{
	const char *key;
	json_t *value;

	add_list(t, "allow_out", json_object_get(network, "allow_out"));
	add_list(t, "deny_out", json_object_get(network, "deny_out"));
	json_object_foreach((json_t *)(uintptr_t)network, key, value)
	{
		if (strcmp(key, "allow_out") != 0 && strcmp(key, "deny_out") != 0)
			add_value(t, key, value);
	}
}

static int show(const struct job *j, const json_t *answer, struct dw_err *err)
{
	static const char *const counts[] = { "flows", "udp_flows", "half_open", "bytes_out", "bytes_in" };
	struct table t = { .columns = 2 };
	const json_t *enforced = json_object_get(answer, "enforced"), *missing = json_object_get(answer, "not_found");

	if (!json_is_object(answer))
		return call_bad_answer(err);
	if (j->call.json)
		return call_print_json(answer, false, err);
	if (!json_object_size(json_object_get(answer, "network")))
		add(&t, "network", "(none of its own: the server's default)");
	add_network(&t, json_object_get(answer, "network"));
	add_value(&t, "generation", json_object_get(answer, "generation"));
	for (size_t i = 0; i < DW_COUNT(counts); i++)
		add_value(&t, counts[i], json_object_get(enforced, counts[i]));
	add_list(&t, "not found", json_object_size(missing) ? NULL : missing);
	const bool ok = table_print(&t, stdout);
	table_done(&t);
	return ok ? 0 : call_no_memory(err);
}

/* Does the request and shows what came of it. */
static int ask(struct job *j, const char *method, const char *query, json_t *body_take, struct dw_err *err)
{
	dw_autofree char *path = client_path(j->call.word[0], "/network%s", query);
	json_t *answer = NULL;

	if (!path) {
		json_decref(body_take);
		return call_no_memory(err);
	}
	if (client_json(j->call.client, method, path, body_take, &answer, err) < 0)
		return -1;
	const int r = show(j, answer, err);
	json_decref(answer);
	return r;
}

static int get(void *job, struct dw_err *err)
{
	return ask(job, "GET", "", NULL, err);
}

static int check_set(void *job, struct dw_err *err)
{
	struct job *j = job;
	if (call_check_first_id(job, err) < 0)
		return -1;
	return j->call.word_n > 1 ? sandbox_read_network(j->call.word[1], &j->body, err) : 0;
}

static int set(void *job, struct dw_err *err)
{
	struct job *j = job;
	char query[40] = "";

	if (j->generation)
		snprintf(query, sizeof(query), "?generation=%ld", j->generation);
	return ask(j, "PUT", query, json_incref(j->body), err);
}

static int check_entries(void *job, struct dw_err *err)
{
	struct job *j = job;

	for (size_t i = 1; i < j->call.word_n; i++)
		if (call_add_text(&j->body, j->call.word[i], err) < 0)
			return -1;
	return call_check_first_id(job, err);
}

static int edit(struct job *j, const char *list, struct dw_err *err)
{
	json_t *body = json_pack("{s{sO}}", j->remove ? "remove" : "add", list, j->body);

	if (!body || (j->generation && json_object_set_new(body, "generation", json_integer(j->generation)) < 0)) {
		json_decref(body);
		return call_no_memory(err);
	}
	return ask(j, "PATCH", "", body, err);
}

static int allow(void *job, struct dw_err *err)
{
	return edit(job, "allow_out", err);
}

static int deny(void *job, struct dw_err *err)
{
	return edit(job, "deny_out", err);
}

static int number(const json_t *row, const char *key, char *buf, size_t size)
{
	return snprintf(buf, size, "%lld", (long long)json_integer_value(json_object_get(row, key)));
}

static void add_entries(struct table *t, const json_t *list)
{
	const json_t *row;
	char count[24];
	size_t i;

	json_array_foreach(list, i, row)
	{
		number(row, "count", count, sizeof(count));
		table_add(t, call_text(row, "entry"));
		table_add(t, count);
		table_add(t, call_text(row, "why"));
	}
}

/* What no entry would open. */
static void print_not_coverable(const json_t *list)
{
	const json_t *row;
	size_t i;

	json_array_foreach(list, i, row)
	{
		const char *name = call_text(row, "name"), *addr = call_text(row, "addr"), *why = call_text(row, "why");
		const char *target = name ? name : addr ? addr : "?";
		dw_autofree char *shown = cli_escape(target, strlen(target));
		dw_autofree char *reason = why ? cli_escape(why, strlen(why)) : NULL;
		char port[24];
		number(row, "port", port, sizeof(port));
		printf("not covered: %s port %s: %s\n", shown ? shown : "?", port, reason ? reason : "refused");
	}
}

static int show_suggestion(const struct job *j, const json_t *answer, struct dw_err *err)
{
	const json_t *network = json_object_get(answer, "network");
	const json_int_t overflow = json_integer_value(json_object_get(answer, "overflow"));
	struct table t = { .columns = 3, .right = { [1] = true } };

	if (!json_is_object(network))
		return call_bad_answer(err);
	if (j->policy)
		return call_print_json(network, false, err);
	if (j->call.json)
		return call_print_json(answer, false, err);
	table_add(&t, "ENTRY");
	table_add(&t, "COUNT");
	table_add(&t, "WHY");
	add_entries(&t, json_object_get(answer, "entries"));
	const bool ok = table_print(&t, stdout);
	table_done(&t);
	print_not_coverable(json_object_get(answer, "not_coverable"));
	if (overflow > 0)
		printf("and %lld kinds of traffic that were not kept\n", (long long)overflow);
	return ok ? 0 : call_no_memory(err);
}

static int suggest(void *job, struct dw_err *err)
{
	struct job *j = job;
	dw_autofree char *path = client_path(j->call.word[0], "/network/suggest");
	json_t *answer = NULL;

	if (!path)
		return call_no_memory(err);
	if (client_json(j->call.client, "GET", path, NULL, &answer, err) < 0)
		return -1;
	const int r = show_suggestion(j, answer, err);
	json_decref(answer);
	return r;
}

static const struct call_command get_command = {
	"network get ID",
	"Shows what a sandbox may reach, and how much it does.",
	get_options,
	DW_COUNT(get_options),
	1,
	1,
	call_check_first_id,
	get,
};
static const struct call_command set_command = {
	"network set ID FILE",
	"Replaces the whole network of a sandbox by the JSON object in FILE (- is standard input).\nConnections that "
	"it denies have ended when this returns.",
	set_options,
	DW_COUNT(set_options),
	2,
	2,
	check_set,
	set,
};
static const struct call_command allow_command = {
	"network allow [--remove] ID ENTRY...",
	"Adds to what a sandbox may reach. Where it had no such list, nothing else may be reached from then on.",
	edit_options,
	DW_COUNT(edit_options),
	2,
	SIZE_MAX,
	check_entries,
	allow,
};
static const struct call_command deny_command = {
	"network deny [--remove] ID ENTRY...",
	"Adds to what a sandbox may not reach.",
	edit_options,
	DW_COUNT(edit_options),
	2,
	SIZE_MAX,
	check_entries,
	deny,
};
static const struct call_command suggest_command = {
	"network suggest ID",
	"Shows the smallest policy that would have allowed what the sandbox did while it was observed.",
	suggest_options,
	DW_COUNT(suggest_options),
	1,
	1,
	call_check_first_id,
	suggest,
};

static int run(const struct call_command *command, int argc, char *const *argv)
{
	struct job j = { 0 };
	const int code = call_main(command, argc, argv, &j);

	json_decref(j.body);
	return code;
}

static int run_get(int argc, char *const *argv)
{
	return run(&get_command, argc, argv);
}

static int run_set(int argc, char *const *argv)
{
	return run(&set_command, argc, argv);
}

static int run_allow(int argc, char *const *argv)
{
	return run(&allow_command, argc, argv);
}

static int run_deny(int argc, char *const *argv)
{
	return run(&deny_command, argc, argv);
}

static int run_suggest(int argc, char *const *argv)
{
	return run(&suggest_command, argc, argv);
}

int cli_network(int argc, char *const *argv)
{
	static const struct cli_command commands[] = {
		{ "get", run_get, "what one may reach" },
		{ "set", run_set, "replace it" },
		{ "allow", run_allow, "add to what it may reach" },
		{ "deny", run_deny, "add to what it may not" },
		{ "log", network_log, "what it tried, and what became of it" },
		{ "suggest", run_suggest, "the smallest policy for what it did" },
	};
	return cli_dispatch("declaw network", "What sandboxes may reach.", commands, DW_COUNT(commands), argc, argv);
}
