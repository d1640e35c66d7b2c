/* SPDX-License-Identifier: Apache-2.0 */
/* declaw volume. */
#include "cli/volume.h"

#include <string.h>

#include "cli/place.h"
#include "cli/rows.h"

int volume_set_name(void *to, const char *value, struct dw_err *err)
{
	if (call_check_utf8("--name", value, err) < 0)
		return -1;
	return call_once(&((struct volume_job *)to)->name, value, err);
}

int volume_set_quiet(void *to, const char *value, struct dw_err *err)
{
	((struct volume_job *)to)->quiet = true;
	return 0;
}

static const struct cli_option list_options[] = {
	{ "-q", NULL, volume_set_quiet, "ids alone" },
	CALL_OPTIONS,
};
static const struct cli_option take_options[] = {
	{ "--name", "NAME", volume_set_name, "what it is called" },
	CALL_OPTIONS,
};
static const struct cli_option plain_options[] = { CALL_OPTIONS };

static void warn_dropped(const json_t *answer)
{
	const json_t *dropped = json_object_get(answer, "dropped"), *n;
	const char *kind;
	json_object_foreach((json_t *)(uintptr_t)dropped, kind, n)
	{
		dw_autofree char *shown = cli_escape(kind, strlen(kind));
		if (shown && json_integer_value(n) > 0)
			cli_warn("left out (%s): %lld", shown, (long long)json_integer_value(n));
	}
}

int volume_made(const struct volume_job *j, json_t *answer_take, struct dw_err *err)
{
	const char *id = call_text(answer_take, "volume_id");
	int r = id && place_is_id(id) ? 0 : call_bad_answer(err);
	if (r == 0 && j->call.json)
		r = call_print_json(answer_take, false, err);
	else if (r == 0)
		puts(id);
	if (r == 0)
		warn_dropped(answer_take);
	json_decref(answer_take);
	return r;
}

static int print_list(const json_t *list, struct dw_err *err)
{
	static const char *const heads[] = { "ID", "NAME", "SIZE", "FILES", "AGE" };
	struct table t = { .columns = DW_COUNT(heads), .right = { [2] = true, [3] = true, [4] = true } };
	const json_t *v;
	size_t i;
	for (i = 0; i < DW_COUNT(heads); i++)
		table_add(&t, heads[i]);
	json_array_foreach(list, i, v)
	{
		char size[CLI_SIZE_MAX], age[CLI_AGE_MAX], files[24] = "-";
		if (json_is_integer(json_object_get(v, "file_count")))
			snprintf(files, sizeof(files), "%lld",
				 (long long)json_integer_value(json_object_get(v, "file_count")));
		table_add(&t, call_text(v, "volume_id"));
		table_add(&t, call_text(v, "name"));
		table_add(&t, row_size(v, "content_bytes", size));
		table_add(&t, files);
		table_add(&t, row_age(v, "created_at", age));
	}
	return rows_print_table(&t, err);
}

static int list(void *job, struct dw_err *err)
{
	const struct volume_job *j = job;
	json_t *all = NULL;
	if (rows_get(j->call.client, "/volumes?limit=1000", "volumes", &all, err) < 0)
		return -1;
	int r;
	if (j->quiet)
		r = rows_print_ids(all, "volume_id", err);
	else
		r = j->call.json ? rows_print_json(all, "volumes", err) : print_list(all, err);
	json_decref(all);
	return r;
}

static int print_info(const json_t *v, struct dw_err *err)
{
	struct table t = { .columns = 2 };
	char packed[CLI_SIZE_MAX], content[CLI_SIZE_MAX], most[CLI_SIZE_MAX], age[CLI_AGE_MAX], made[80] = "";
	if (row_age(v, "created_at", age))
		snprintf(made, sizeof(made), "%.19s UTC (%s ago)", call_text(v, "created_at"), age);
	rows_add_field(&t, "id", call_text(v, "volume_id"));
	rows_add_field(&t, "name", call_text(v, "name"));
	rows_add_field(&t, "content", row_size(v, "content_bytes", content));
	rows_add_field(&t, "archive", row_size(v, "size_bytes", packed));
	rows_add_field(&t, "at most", row_size(v, "quota_bytes", most));
	rows_add_field(&t, "made", made);
	return rows_print_table(&t, err);
}

static int info(void *job, struct dw_err *err)
{
	struct volume_job *j = job;
	return rows_ask_each(&(struct rows_ask){ &j->call, "GET", "/volumes", "volume_id", print_info });
}

static int rm(void *job, struct dw_err *err)
{
	struct volume_job *j = job;
	return rows_ask_each(&(struct rows_ask){ &j->call, "DELETE", "/volumes", "volume_id", NULL });
}

/* It reads all of it before it answers. */
static int take(struct volume_job *j, const char *path, struct dw_err *err)
{
	const struct client_request rq = { .method = "POST", .path = path, .patient = true };
	json_t *answer = NULL;
	if (client_do(j->call.client, &rq, &answer, err) < 0)
		return -1;
	return volume_made(j, answer, err);
}

static int commit(void *job, struct dw_err *err)
{
	struct volume_job *j = job;
	dw_autofree char *name = j->name ? cli_percent(j->name) : NULL;
	dw_autofree char *path = client_path(j->call.word[0], "/volumes/%s/commit%s%s", j->call.word[1],
					     name ? "?name=" : "", name ? name : "");
	return path && (name || !j->name) ? take(j, path, err) : call_no_memory(err);
}

static int check_place(void *job, struct dw_err *err)
{
	const struct volume_job *j = job;
	struct place p;
	if (!place_parse(j->call.word[0], &p) || !*p.id)
		return call_invalid(err, "it is to be a folder in a sandbox, ID:PATH");
	return call_check_utf8("the path", p.path, err);
}

static int snapshot(void *job, struct dw_err *err)
{
	struct volume_job *j = job;
	struct place p;
	if (!place_parse(j->call.word[0], &p))
		return call_no_memory(err);
	dw_autofree char *name = j->name ? cli_percent(j->name) : NULL;
	dw_autofree char *folder = cli_percent(p.path);
	dw_autofree char *path = folder ? client_path(p.id, "/volumes/snapshot?path=%s%s%s", folder,
						      name ? "&name=" : "", name ? name : "")
					: NULL;
	return path && (name || !j->name) ? take(j, path, err) : call_no_memory(err);
}

#define COMMAND(usage, about, options, min, max, check, run)                               \
	{                                                                                  \
		(usage), (about), (options), DW_COUNT(options), (min), (max), (check), run \
	}
static const struct call_command list_command =
	COMMAND("volume ls [-q]", "Lists your volumes, the newest first.", list_options, 0, 0, NULL, list);
static const struct call_command info_command = COMMAND("volume info ID...", "Shows what the server knows of volumes.",
							plain_options, 1, SIZE_MAX, call_check_ids, info);
static const struct call_command rm_command =
	COMMAND("volume rm ID...", "Deletes volumes; not those that a sandbox reads in place.", plain_options, 1,
		SIZE_MAX, call_check_ids, rm);
static const struct call_command commit_command =
	COMMAND("volume commit SANDBOX ID [--name NAME]",
		"Makes a volume of what a sandbox has made of an attached one, and prints its id.", take_options, 2, 2,
		call_check_ids, commit);
static const struct call_command snapshot_command =
	COMMAND("volume snapshot SANDBOX:PATH [--name NAME]",
		"Makes a volume of a folder in a sandbox (an absolute path), and prints its id.", take_options, 1, 1,
		check_place, snapshot);

#define RUNNER(verb)                                                                      \
	static int run_##verb(int argc, char *const *argv)                                \
	{                                                                                 \
		return call_main(&verb##_command, argc, argv, &(struct volume_job){ 0 }); \
	}
RUNNER(list)
RUNNER(info)
RUNNER(rm)
RUNNER(commit)
RUNNER(snapshot)

int cli_volume(int argc, char *const *argv)
{
	static const struct cli_command commands[] = {
		{ "create", volume_create, "make one of a folder or an archive, and print its id" },
		{ "ls", run_list, "those there are" },
		{ "info", run_info, "what the server knows of one" },
		{ "download", volume_download, "its archive" },
		{ "snapshot", run_snapshot, "make one of a folder in a sandbox" },
		{ "commit", run_commit, "make one of what a sandbox has made of another" },
		{ "rm", run_rm, "delete" },
	};
	return cli_dispatch("declaw volume", "Volumes: folders that outlive sandboxes.", commands, DW_COUNT(commands),
			    argc, argv);
}
