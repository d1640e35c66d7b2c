/* SPDX-License-Identifier: Apache-2.0 */
/* declaw sandbox create. */
#include <string.h>

#include "cli/call.h"
#include "cli/place.h"
#include "cli/sandbox.h"
#include "cli/text.h"

#define NETWORK_FILE_MAX (16u << 20) /* 100,000 entries of the longest names are more than a server takes */

struct job {
	struct call call;
	const char *template, *snapshot, *network, *on_timeout;
	long timeout;
	bool auto_resume;
	json_t *allow, *deny, *env, *metadata, *volumes;
};

static int set_template(void *to, const char *value, struct dw_err *err)
{
	return call_once(&((struct job *)to)->template, value, err);
}

static int set_snapshot(void *to, const char *value, struct dw_err *err)
{
	if (call_check_id(value, err) < 0)
		return -1;
	return call_once(&((struct job *)to)->snapshot, value, err);
}

static int set_network(void *to, const char *value, struct dw_err *err)
{
	return call_once(&((struct job *)to)->network, value, err);
}

static int set_on_timeout(void *to, const char *value, struct dw_err *err)
{
	if (strcmp(value, "kill") != 0 && strcmp(value, "pause") != 0)
		return call_invalid(err, "it is kill or pause");
	return call_once(&((struct job *)to)->on_timeout, value, err);
}

static int set_timeout(void *to, const char *value, struct dw_err *err)
{
	return call_number(value, 1, INT32_MAX, &((struct job *)to)->timeout, err);
}

static int set_auto_resume(void *to, const char *value, struct dw_err *err)
{
	((struct job *)to)->auto_resume = true;
	return 0;
}

static int add_allow(void *to, const char *value, struct dw_err *err)
{
	return call_add_text(&((struct job *)to)->allow, value, err);
}

static int add_deny(void *to, const char *value, struct dw_err *err)
{
	return call_add_text(&((struct job *)to)->deny, value, err);
}

static int add_env(void *to, const char *value, struct dw_err *err)
{
	return call_add_pair(&((struct job *)to)->env, value, err);
}

static int add_metadata(void *to, const char *value, struct dw_err *err)
{
	return call_add_pair(&((struct job *)to)->metadata, value, err);
}

/* ID:PATH, and ":ro" behind it for one that is read in place. */
static int add_volume(void *to, const char *value, struct dw_err *err)
{
	struct job *j = to;
	struct place p;
	if (!place_parse(value, &p) || !*p.id || p.path[0] != '/')
		return call_invalid(err, "it is VOLUME:/PATH or VOLUME:/PATH:ro");
	if (call_check_utf8("the path", p.path, err) < 0)
		return -1;
	const size_t n = strlen(p.path);
	const bool ro = n > 3 && strcmp(p.path + n - 3, ":ro") == 0;
	json_t *one = json_pack("{ss ss%}", "volume_id", p.id, "mount_path", p.path, ro ? n - 3 : n);
	if (one && ro && json_object_set_new(one, "mode", json_string("mount-ro")) < 0)
		json_decref(DW_TAKE(one));
	if (!j->volumes)
		j->volumes = json_array();
	return one && json_array_append_new(j->volumes, one) == 0 ? 0 : call_no_memory(err);
}

static const struct cli_option options[] = {
	{ "--template", "NAME", set_template, "what it is made from (base)" },
	{ "--snapshot", "SNAPSHOT", set_snapshot, "it starts with the files, and has the template, of this one" },
	{ "--timeout", "SECONDS", set_timeout, "how long it may run (300)" },
	{ "--allow", "ENTRY", add_allow, "what it may reach, and nothing else; repeatable" },
	{ "--deny", "ENTRY", add_deny, "what it may not reach; repeatable" },
	{ "--network", "FILE", set_network,
	  "JSON: a network object, to which --allow and --deny add; - is standard input" },
	{ "--env", "NAME=VALUE", add_env, "a variable that its commands see; repeatable" },
	{ "--metadata", "NAME=VALUE", add_metadata, "what the server keeps with it; repeatable" },
	{ "--volume", "ID:PATH[:ro]", add_volume,
	  "a volume: a copy of it at PATH, or with :ro the volume itself, to be read; repeatable" },
	{ "--on-timeout", "kill|pause", set_on_timeout, "what happens when its time is up (kill)" },
	{ "--auto-resume", NULL, set_auto_resume, "a command or file operation wakes it when it is paused" },
	CALL_OPTIONS,
};

static int extend(json_t *network, const char *key, json_t *more, struct dw_err *err)
{
	json_t *list = json_object_get(network, key);

	if (!more)
		return 0;
	if (list && !json_is_array(list))
		return call_invalid(err, "%s of the network file is no list", key);
	if (!list)
		return json_object_set(network, key, more) < 0 ? call_no_memory(err) : 0;
	return json_array_extend(list, more) < 0 ? call_no_memory(err) : 0;
}

int sandbox_read_network(const char *path, json_t **ret, struct dw_err *err)
{
	dw_autofree char *text = NULL;
	char shown[128];
	size_t n = 0;
	json_error_t where;

	cli_printable(path, strlen(path), shown, sizeof(shown));
	if (cli_read_file(path, NETWORK_FILE_MAX, &text, &n, err) < 0)
		return -1;
	json_t *j = json_loadb(text, n, JSON_REJECT_DUPLICATES, &where);
	if (!j)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_file", "%s: line %d: no JSON", shown, where.line);
	if (!json_is_object(j)) {
		json_decref(j);
		return dw_err_set(err, DW_ERR_INVALID, "invalid_file", "%s: it must be one JSON object", shown);
	}
	*ret = j;
	return 0;
}

/* In the check, so that a bad file is found before anything is asked of a server. */
static int add_network(struct job *j, json_t *body, struct dw_err *err)
{
	json_t *network = NULL;

	if (!j->network && !j->allow && !j->deny)
		return 0;
	if (j->network && sandbox_read_network(j->network, &network, err) < 0)
		return -1;
	if (!network)
		network = json_object();
	if (json_object_set_new(body, "network", network) < 0)
		return call_no_memory(err);
	return extend(network, "allow_out", j->allow, err) < 0 || extend(network, "deny_out", j->deny, err) < 0 ? -1
														: 0;
}

static bool set(json_t *body, const char *key, json_t *value_take)
{
	return json_object_set_new(body, key, value_take) == 0;
}

static int create_body(struct job *j, json_t *body, struct dw_err *err)
{
	if (j->template && call_check_utf8("--template", j->template, err) < 0)
		return -1;
	bool ok = (!j->template || set(body, "template", json_string(j->template))) &&
		  (!j->snapshot || set(body, "snapshot_id", json_string(j->snapshot))) &&
		  (!j->timeout || set(body, "timeout", json_integer(j->timeout))) &&
		  (!j->env || set(body, "envs", json_incref(j->env))) &&
		  (!j->metadata || set(body, "metadata", json_incref(j->metadata))) &&
		  (!j->volumes || set(body, "volumes", json_incref(j->volumes)));
	if (ok && (j->on_timeout || j->auto_resume))
		ok = set(body, "lifecycle",
			 json_pack("{ss* sb}", "on_timeout", j->on_timeout, "auto_resume", j->auto_resume));
	return ok ? add_network(j, body, err) : call_no_memory(err);
}

static void print_warnings(const json_t *answer)
{
	const json_t *list = json_object_get(answer, "warnings"), *w;
	size_t i;

	json_array_foreach(list, i, w)
	{
		const char *text = json_is_string(w) ? json_string_value(w) : call_text(w, "message");
		dw_autofree char *shown = text ? cli_escape(text, strlen(text)) : NULL;
		if (shown)
			cli_warn("warning: %s", shown);
	}
}

static int create(void *job, struct dw_err *err)
{
	struct job *j = job;
	json_t *body = json_object(), *answer = NULL;

	if (!body)
		return call_no_memory(err);
	if (create_body(j, body, err) < 0) {
		json_decref(body);
		return -1;
	}
	/* The server unpacks a snapshot, however large, before it answers. */
	const struct client_request rq = {
		.method = "POST", .path = "/sandboxes", .body = body, .patient = j->snapshot != NULL
	};
	int r = client_do(j->call.client, &rq, &answer, err);
	json_decref(body);
	if (r < 0)
		return -1;
	const char *id = call_text(answer, "sandbox_id");
	r = id && place_is_id(id) ? 0 : call_bad_answer(err);
	if (r == 0 && j->call.json)
		r = call_print_json(answer, false, err);
	else if (r == 0)
		puts(id);
	if (r == 0)
		print_warnings(answer);
	json_decref(answer);
	return r;
}

static const struct call_command command = {
	"sandbox create [OPTION]...",
	"Makes a sandbox and prints its id. What it may reach: docs/policy.md.",
	options,
	DW_COUNT(options),
	0,
	0,
	NULL,
	create,
};

int sandbox_create(int argc, char *const *argv)
{
	struct job j = { 0 };
	const int code = call_main(&command, argc, argv, &j);

	json_decref(j.allow);
	json_decref(j.deny);
	json_decref(j.env);
	json_decref(j.metadata);
	json_decref(j.volumes);
	return code;
}
