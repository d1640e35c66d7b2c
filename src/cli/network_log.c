/* SPDX-License-Identifier: Apache-2.0 */
/* declaw network log: the newest decisions, oldest first, or all new ones as they are made. */
#include <assert.h>
#include <string.h>

#include "cli/call.h"
#include "cli/network.h"
#include "cli/table.h"
#include "cli/text.h"

struct job {
	struct call call;
	bool follow;
	char *query; /* "?a=b&c=d" */

	struct call_stream stream;
	bool ended;
};

static int add_parameter(struct job *j, const char *key, const char *value, struct dw_err *err)
{
	dw_autofree char *encoded = cli_percent(value);
	char *more = NULL;

	if (!encoded || asprintf(&more, "%s%c%s=%s", j->query ? j->query : "", j->query ? '&' : '?', key, encoded) < 0)
		return call_no_memory(err);
	free(j->query);
	j->query = more;
	return 0;
}

/* The server knows the values, and says what is wrong with one. */
#define PARAMETER(name)                                                        \
	static int set_##name(void *to, const char *value, struct dw_err *err) \
	{                                                                      \
		return add_parameter(to, #name, value, err);                   \
	}
PARAMETER(verdict)
PARAMETER(would)
PARAMETER(reason)
PARAMETER(proto)
PARAMETER(addr)
PARAMETER(port)
PARAMETER(name)
PARAMETER(since)
PARAMETER(until)
PARAMETER(limit)
PARAMETER(before)

static int set_follow(void *to, const char *value, struct dw_err *err)
{
	struct job *j = to;
	if (j->follow)
		return 0;
	j->follow = true;
	return add_parameter(j, "follow", "true", err);
}

static const struct cli_option options[] = {
	{ "--follow", NULL, set_follow,
	  "go on with new ones until the sandbox ends; with --limit, the newest come first" },
	{ "--verdict", "allow|deny", set_verdict, "only these" },
	{ "--would", "true|false", set_would, "only what would have been refused, or only the rest" },
	{ "--reason", "REASON", set_reason, "only with this reason" },
	{ "--proto", "PROTO", set_proto, "only tcp, udp, icmp, dns or other" },
	{ "--name", "HOST", set_name, "only to this name; *.HOST for every name below it" },
	{ "--addr", "ADDR", set_addr, "only to this address" },
	{ "--port", "PORT", set_port, "only to this port" },
	{ "--since", "TIME", set_since, "from then on: Unix seconds, or 2026-01-31T12:00:00Z" },
	{ "--until", "TIME", set_until, "before then" },
	{ "--limit", "N", set_limit, "the newest N, up to 1000 (100)" },
	{ "--before", "ID", set_before, "older than this one: next of an answer as JSON" },
	CALL_OPTIONS,
};

/* "name (address):port", as much as there is. */
static char *target(const json_t *row)
{
	const char *name = call_text(row, "name"), *addr = call_text(row, "addr");
	const json_t *port = json_object_get(row, "port");
	char *out, number[24] = "";

	if (json_integer_value(port) > 0)
		snprintf(number, sizeof(number), ":%lld", (long long)json_integer_value(port));
	const bool both = name && *name && addr && *addr, six = addr && strchr(addr, ':') && !both;
	if (asprintf(&out, "%s%s%s%s%s%s", name ? name : "",
		     both  ? " ("
		     : six ? "["
			   : "",
		     addr ? addr : "",
		     both  ? ")"
		     : six ? "]"
			   : "",
		     number, "") < 0)
		return NULL;
	return out;
}

static void add_row(struct table *t, const json_t *row)
{
	char when[24], count[24];
	const char *at = call_text(row, "time"), *would = call_text(row, "would");
	dw_autofree char *to = target(row);

	/* To the second, as people read it. */
	snprintf(when, sizeof(when), "%.19s", at ? at : "-");
	if (strlen(when) > 10)
		when[10] = ' ';
	snprintf(count, sizeof(count), "%lld", (long long)json_integer_value(json_object_get(row, "count")));
	table_add(t, when);
	table_add(t, call_text(row, "verdict"));
	table_add(t, call_text(row, "protocol"));
	table_add(t, to);
	table_add(t, would ? would : call_text(row, "reason"));
	table_add(t, count);
	table_add(t, call_text(row, "rule"));
}

#define COLUMNS 7

static int print_rows(const json_t *list, struct dw_err *err)
{
	static const char *const heads[] = { "TIME (UTC)", "VERDICT", "PROTO", "TARGET", "REASON", "COUNT", "RULE" };
	static_assert(DW_COUNT(heads) == COLUMNS, "");
	struct table t = { .columns = COLUMNS, .right = { [5] = true } };

	for (size_t i = 0; i < DW_COUNT(heads); i++)
		table_add(&t, heads[i]);
	for (size_t i = json_array_size(list); i > 0; i--)
		add_row(&t, json_array_get(list, i - 1));
	const bool ok = table_print(&t, stdout);
	table_done(&t);
	return ok ? 0 : call_no_memory(err);
}

static int show_page(const struct job *j, const char *path, struct dw_err *err)
{
	json_t *answer = NULL;

	if (client_json(j->call.client, "GET", path, NULL, &answer, err) < 0)
		return -1;
	const json_t *list = json_object_get(answer, "decisions");
	int r;
	if (!json_is_array(list))
		r = call_bad_answer(err);
	else
		r = j->call.json ? call_print_json(answer, false, err) : print_rows(list, err);
	json_decref(answer);
	return r;
}

/* A line of a log that goes on: its columns stay where they are, as far as it fits. */
static int print_line(const json_t *row, struct dw_err *err)
{
	struct table t = { .columns = COLUMNS };
	add_row(&t, row);
	const bool ok = !t.failed;
	if (ok)
		printf("%-19s  %-7s  %-5s  %-40s  %-20s  %5s  %s\n", t.cell[0], t.cell[1], t.cell[2], t.cell[3],
		       t.cell[4], t.cell[5], t.cell[6]);
	table_done(&t);
	return ok ? 0 : call_no_memory(err);
}

static int show_event(const struct job *j, const char *name, json_t *row, struct dw_err *err)
{
	const json_int_t lost = json_integer_value(json_object_get(row, "count"));

	if (j->call.json) {
		DW_IGNORE(json_object_set_new(row, "event",
					      json_string(name))); /* without memory the printing fails too */
		return call_print_json(row, true, err);
	}
	if (strcmp(name, "dropped") == 0)
		cli_warn("%lld rows were lost, because they were not read fast enough", (long long)lost);
	return strcmp(name, "decision") == 0 ? print_line(row, err) : 0;
}

static int take_event(void *arg, const struct event *e)
{
	struct job *j = arg;
	json_t *row = json_loadb(e->data, e->n, JSON_ALLOW_NUL, NULL);

	if (!json_is_object(row)) {
		j->stream.failed = call_bad_answer(j->stream.err) < 0;
	} else {
		j->stream.failed = show_event(j, e->name, row, j->stream.err) < 0;
		fflush(stdout);
	}
	json_decref(row);
	j->ended = strcmp(e->name, "end_of_log") == 0;
	return j->stream.failed || j->ended;
}

static int follow(struct job *j, const char *path, struct dw_err *err)
{
	const struct client_request rq = {
		.method = "GET",
		.path = path,
		.events = true,
		.sink = call_take_piece,
		.arg = &j->stream,
	};

	j->stream.events = (struct events){ .take = take_event, .arg = j };
	const int r = client_do(j->call.client, &rq, NULL, err);
	events_done(&j->stream.events);
	if (r == 0 && !j->ended)
		return dw_err_set(err, DW_ERR_UNAVAILABLE, "connection_broken",
				  "the server ended the log before the sandbox did");
	return r;
}

static int run(void *job, struct dw_err *err)
{
	struct job *j = job;
	dw_autofree char *path = client_path(j->call.word[0], "/network/log%s", j->query ? j->query : "");

	if (!path)
		return call_no_memory(err);
	return j->follow ? follow(j, path, err) : show_page(j, path, err);
}

static const struct call_command command = {
	"network log ID [OPTION]...",
	"Shows what a sandbox tried to reach and what became of it, oldest first.",
	options,
	DW_COUNT(options),
	1,
	1,
	call_check_first_id,
	run,
};

int network_log(int argc, char *const *argv)
{
	struct job j = { 0 };
	const int code = call_main(&command, argc, argv, &j);

	free(j.query);
	return code;
}
