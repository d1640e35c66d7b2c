/* SPDX-License-Identifier: Apache-2.0 */
/* declaw snapshot; declaw sandbox snapshot, snapshots, restore. */
#include <string.h>

#include "cli/place.h"
#include "cli/rows.h"
#include "cli/sandbox.h"

struct job {
	struct call call;
	const char *snapshot, *sandbox;
	bool quiet;
	const json_t *all; /* rm: those there are */
};

static int set_snapshot(void *to, const char *value, struct dw_err *err)
{
	if (!place_is_id(value))
		return call_invalid(err, "it is no id of a snapshot");
	return call_once(&((struct job *)to)->snapshot, value, err);
}

static int set_sandbox(void *to, const char *value, struct dw_err *err)
{
	if (!place_is_id(value))
		return call_invalid(err, "it is no id of a sandbox");
	return call_once(&((struct job *)to)->sandbox, value, err);
}

static int set_quiet(void *to, const char *value, struct dw_err *err)
{
	((struct job *)to)->quiet = true;
	return 0;
}

static const struct cli_option list_options[] = {
	{ "--sandbox", "SANDBOX", set_sandbox, "only those of this one" },
	{ "-q", NULL, set_quiet, "ids alone" },
	CALL_OPTIONS,
};
static const struct cli_option of_options[] = {
	{ "-q", NULL, set_quiet, "ids alone" },
	CALL_OPTIONS,
};
static const struct cli_option restore_options[] = {
	{ "--snapshot", "SNAPSHOT", set_snapshot, "which one (the newest)" },
	CALL_OPTIONS,
};
static const struct cli_option plain_options[] = { CALL_OPTIONS };

/* Prints the id of the snapshot that was taken or restored. The server writes or reads all of it before it answers. */
static int make(struct job *j, const char *path, struct dw_err *err)
{
	json_t *answer = NULL;
	if (!path)
		return call_no_memory(err);
	const struct client_request rq = { .method = "POST", .path = path, .patient = true };
	if (client_do(j->call.client, &rq, &answer, err) < 0)
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
	return make(j, path, err);
}

static int restore(void *job, struct dw_err *err)
{
	struct job *j = job;
	dw_autofree char *path = client_path(j->call.word[0], "/restore%s%s", j->snapshot ? "?snapshot_id=" : "",
					     j->snapshot ? j->snapshot : "");
	return make(j, path, err);
}

static int print_list(const json_t *rows, struct dw_err *err)
{
	static const char *const heads[] = { "ID", "SANDBOX", "TEMPLATE", "SIZE", "AGE" };
	struct table t = { .columns = DW_COUNT(heads), .right = { [3] = true, [4] = true } };
	const json_t *v;
	size_t i;
	for (i = 0; i < DW_COUNT(heads); i++)
		table_add(&t, heads[i]);
	json_array_foreach(rows, i, v)
	{
		char size[CLI_SIZE_MAX], age[CLI_AGE_MAX];
		table_add(&t, call_text(v, "snapshot_id"));
		table_add(&t, call_text(v, "sandbox_id"));
		table_add(&t, call_text(v, "template_id"));
		table_add(&t, row_size(v, "size_bytes", size));
		table_add(&t, row_age(v, "created_at", age));
	}
	return rows_print_table(&t, err);
}

static int list(void *job, struct dw_err *err)
{
	const struct job *j = job;
	const char *of = j->call.word_n ? j->call.word[0] : j->sandbox;
	dw_autofree char *path = NULL;
	json_t *all = NULL;
	int r;
	if (asprintf(&path, "/snapshots?limit=1000%s%s", of ? "&sandbox_id=" : "", of ? of : "") < 0) {
		path = NULL;
		return call_no_memory(err);
	}
	if (rows_get(j->call.client, path, "snapshots", &all, err) < 0)
		return -1;
	if (j->quiet)
		r = rows_print_ids(all, "snapshot_id", err);
	else
		r = j->call.json ? rows_print_json(all, "snapshots", err) : print_list(all, err);
	json_decref(all);
	return r;
}

/* A snapshot is deleted by the sandbox that it is of, which the list says. */
static int rm_one(void *arg, const char *id, struct dw_err *err)
{
	const struct job *j = arg;
	const char *sandbox = NULL;
	const json_t *row;
	size_t i;
	json_array_foreach(j->all, i, row)
	{
		const char *is = call_text(row, "snapshot_id");
		if (is && strcmp(is, id) == 0)
			sandbox = call_text(row, "sandbox_id");
	}
	if (!sandbox)
		return dw_err_set(err, DW_ERR_NOT_FOUND, "snapshot_not_found", "there is no such snapshot");
	if (!place_is_id(sandbox))
		return call_bad_answer(err);
	dw_autofree char *path = client_path(sandbox, "/snapshots/%s", id);
	if (!path)
		return call_no_memory(err);
	if (client_json(j->call.client, "DELETE", path, NULL, NULL, err) < 0)
		return -1;
	if (!j->call.json)
		return 0;
	json_t *done = json_pack("{ss}", "snapshot_id", id);
	const int r = done ? call_print_json(done, j->call.word_n > 1, err) : call_no_memory(err);
	json_decref(done);
	return r;
}

static int rm(void *job, struct dw_err *err)
{
	struct job *j = job;
	json_t *all = NULL;
	if (rows_get(j->call.client, "/snapshots?limit=1000", "snapshots", &all, err) < 0)
		return -1;
	j->all = all;
	const int code = call_each(&j->call, rm_one, j);
	json_decref(all);
	return code;
}

#define COMMAND(usage, about, options, min, max, check, run)                               \
	{                                                                                  \
		(usage), (about), (options), DW_COUNT(options), (min), (max), (check), run \
	}
static const struct call_command snapshot_command =
	COMMAND("sandbox snapshot ID", "Keeps the files of a sandbox, not its memory; prints the snapshot's id.",
		plain_options, 1, 1, call_check_ids, snapshot);
static const struct call_command snapshots_command =
	COMMAND("sandbox snapshots [-q] ID", "Lists the snapshots of a sandbox, the newest first.", of_options, 1, 1,
		call_check_ids, list);
static const struct call_command restore_command = COMMAND(
	"sandbox restore ID [--snapshot SNAPSHOT]",
	"Makes a sandbox again, under its id, with the files of a snapshot, whose id it prints. What runs in it ends.",
	restore_options, 1, 1, call_check_ids, restore);
static const struct call_command list_command =
	COMMAND("snapshot ls [--sandbox SANDBOX] [-q]", "Lists your snapshots, the newest first.", list_options, 0, 0,
		NULL, list);
static const struct call_command rm_command =
	COMMAND("snapshot rm SNAPSHOT...", "Deletes snapshots.", plain_options, 1, SIZE_MAX, call_check_ids, rm);

#define RUNNER(name, verb)                                                         \
	int name(int argc, char *const *argv)                                      \
	{                                                                          \
		return call_main(&verb##_command, argc, argv, &(struct job){ 0 }); \
	}
RUNNER(sandbox_snapshot, snapshot)
RUNNER(sandbox_snapshots, snapshots)
RUNNER(sandbox_restore, restore)
static RUNNER(run_list, list) static RUNNER(run_rm, rm)

	int cli_snapshot(int argc, char *const *argv)
{
	static const struct cli_command commands[] = {
		{ "ls", run_list, "those there are" },
		{ "rm", run_rm, "delete" },
	};
	return cli_dispatch("declaw snapshot", "Snapshots: the files of sandboxes, kept.", commands, DW_COUNT(commands),
			    argc, argv);
}
