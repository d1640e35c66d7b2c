/* SPDX-License-Identifier: Apache-2.0 */
/* declaw template ls, info, rm. */
#include "cli/template.h"

#include "cli/rows.h"

struct job {
	struct call call;
	bool quiet;
};

static int set_quiet(void *to, const char *value, struct dw_err *err)
{
	((struct job *)to)->quiet = true;
	return 0;
}

static const struct cli_option list_options[] = {
	{ "-q", NULL, set_quiet, "ids alone" },
	CALL_OPTIONS,
};
static const struct cli_option plain_options[] = { CALL_OPTIONS };

static int print_list(const json_t *rows, struct dw_err *err)
{
	static const char *const heads[] = { "ID", "ALIAS", "STATUS", "SOURCE", "SIZE", "AGE" };
	struct table t = { .columns = DW_COUNT(heads), .right = { [4] = true, [5] = true } };
	const json_t *v;
	size_t i;
	for (i = 0; i < DW_COUNT(heads); i++)
		table_add(&t, heads[i]);
	json_array_foreach(rows, i, v)
	{
		char size[CLI_SIZE_MAX], age[CLI_AGE_MAX];
		table_add(&t, call_text(v, "template_id"));
		table_add(&t, call_text(v, "alias"));
		table_add(&t, call_text(v, "status"));
		table_add(&t, call_text(v, "source"));
		table_add(&t, row_size(v, "size_bytes", size));
		table_add(&t, row_age(v, "created_at", age));
	}
	return rows_print_table(&t, err);
}

static int list(void *job, struct dw_err *err)
{
	const struct job *j = job;
	json_t *answer = NULL;
	if (client_json(j->call.client, "GET", "/templates", NULL, &answer, err) < 0)
		return -1;
	const json_t *rows = json_object_get(answer, "templates");
	int r = json_is_array(rows) ? 0 : call_bad_answer(err);
	if (r == 0 && j->quiet)
		r = rows_print_ids(rows, "template_id", err);
	else if (r == 0)
		r = j->call.json ? call_print_json(answer, false, err) : print_list(rows, err);
	json_decref(answer);
	return r;
}

static int print_info(const json_t *v, struct dw_err *err)
{
	struct table t = { .columns = 2 };
	char size[CLI_SIZE_MAX], sizes[128] = "";
	const json_t *cpus = json_object_get(v, "cpu_count"), *memory = json_object_get(v, "memory_mb"),
		     *disk = json_object_get(v, "disk_mb");
	if (json_is_integer(cpus) && json_is_integer(memory) && json_is_integer(disk))
		snprintf(sizes, sizeof(sizes), "%lld cores, %lld MiB of memory, %lld MiB of disk",
			 (long long)json_integer_value(cpus), (long long)json_integer_value(memory),
			 (long long)json_integer_value(disk));
	rows_add_field(&t, "id", call_text(v, "template_id"));
	rows_add_field(&t, "alias", call_text(v, "alias"));
	rows_add_field(&t, "status", call_text(v, "status"));
	rows_add_field(&t, "source", call_text(v, "source"));
	rows_add_field(&t, "made", call_text(v, "created_at"));
	rows_add_field(&t, "files", row_size(v, "size_bytes", size));
	rows_add_field(&t, "sandboxes", sizes);
	rows_add_field(&t, "start", call_text(v, "start_cmd"));
	return rows_print_table(&t, err);
}

static int info(void *job, struct dw_err *err)
{
	struct job *j = job;
	return rows_ask_each(&(struct rows_ask){ &j->call, "GET", "/templates", "template_id", print_info });
}

static int rm(void *job, struct dw_err *err)
{
	struct job *j = job;
	return rows_ask_each(&(struct rows_ask){ &j->call, "DELETE", "/templates", "template_id", NULL });
}

#define COMMAND(usage, about, options, min, max, check, run)                               \
	{                                                                                  \
		(usage), (about), (options), DW_COUNT(options), (min), (max), (check), run \
	}
static const struct call_command list_command =
	COMMAND("template ls [-q]", "Lists templates: the server's own, and yours.", list_options, 0, 0, NULL, list);
static const struct call_command info_command =
	COMMAND("template info ID...", "Shows what the server knows of templates, by id or alias.", plain_options, 1,
		SIZE_MAX, call_check_ids, info);
static const struct call_command rm_command =
	COMMAND("template rm ID...", "Deletes templates, by id or alias; not those that a sandbox is made of.",
		plain_options, 1, SIZE_MAX, call_check_ids, rm);
#define RUNNER(verb)                                                               \
	static int run_##verb(int argc, char *const *argv)                         \
	{                                                                          \
		return call_main(&verb##_command, argc, argv, &(struct job){ 0 }); \
	}
RUNNER(list)
RUNNER(info)
RUNNER(rm)

int cli_template(int argc, char *const *argv)
{
	static const struct cli_command commands[] = {
		{ "build", template_build, "make one of a Dockerfile, or of steps" },
		{ "import", template_import, "make one of an image's archive" },
		{ "debian", template_debian, "make one of Debian packages" },
		{ "ls", run_list, "those there are" },
		{ "info", run_info, "what the server knows of one" },
		{ "rm", run_rm, "delete" },
	};
	return cli_dispatch("declaw template", "Templates: what sandboxes are made from.", commands, DW_COUNT(commands),
			    argc, argv);
}
