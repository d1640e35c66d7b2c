/* SPDX-License-Identifier: Apache-2.0 */
/* declaw files cat, ls, rm. */
#include "cli/files.h"

#include <string.h>

#include "cli/table.h"
#include "cli/text.h"

struct job {
	struct call call;
	const char *user;
	bool is_long, recursive;
};

static int set_user(void *to, const char *value, struct dw_err *err)
{
	return call_once(&((struct job *)to)->user, value, err);
}

static int set_long(void *to, const char *value, struct dw_err *err)
{
	((struct job *)to)->is_long = true;
	return 0;
}

static int set_recursive(void *to, const char *value, struct dw_err *err)
{
	((struct job *)to)->recursive = true;
	return 0;
}

#define USER_OPTION                                                                          \
	{                                                                                    \
		"--user", "USER", set_user, "whose permissions and home folder count (user)" \
	}

static const struct cli_option cat_options[] = { USER_OPTION, CALL_SERVER_OPTIONS };
static const struct cli_option ls_options[] = {
	{ "-l", NULL, set_long, "with mode, owner, size and time" },
	USER_OPTION,
	CALL_OPTIONS,
};
static const struct cli_option rm_options[] = {
	{ "-r", NULL, set_recursive, "folders too, with all that is in them" },
	USER_OPTION,
	CALL_OPTIONS,
};

char *files_path(const char *id, const char *suffix, const char *path, const char *user)
{
	dw_autofree char *p = cli_percent(path);
	dw_autofree char *u = user ? cli_percent(user) : NULL;

	if (!p || (user && !u))
		return NULL;
	return client_path(id, "/files%s?path=%s%s%s", suffix, p, u ? "&username=" : "", u ? u : "");
}

static int get(struct client *c, const struct place *p, const char *suffix, const char *user, json_t **ret,
	       struct dw_err *err)
{
	dw_autofree char *path = files_path(p->id, suffix, p->path, user);
	return path ? client_json(c, "GET", path, NULL, ret, err) : call_no_memory(err);
}

int files_info(struct client *c, const struct place *p, const char *user, json_t **ret, struct dw_err *err)
{
	json_t *entry = NULL;

	if (get(c, p, "/info", user, &entry, err) < 0)
		return -1;
	if (!call_text(entry, "name") || !call_text(entry, "type")) {
		json_decref(entry);
		return call_bad_answer(err);
	}
	*ret = entry;
	return 0;
}

int files_list(struct client *c, const struct place *p, const char *user, json_t **ret, struct dw_err *err)
{
	json_t *list = NULL;

	if (get(c, p, "/list", user, &list, err) < 0)
		return -1;
	if (!json_is_array(list)) {
		json_decref(list);
		return call_bad_answer(err);
	}
	*ret = list;
	return 0;
}

bool files_is_folder(const json_t *entry)
{
	const char *type = call_text(entry, "type");
	return type && strcmp(type, "dir") == 0;
}

static int check(void *job, struct dw_err *err)
{
	const struct job *j = job;
	struct place p;
	char shown[64];

	if (j->user && call_check_utf8("--user", j->user, err) < 0)
		return -1;
	for (size_t i = 0; i < j->call.word_n; i++) {
		const char *word = j->call.word[i];
		if (!place_parse(word, &p) || !*p.id)
			return call_invalid(err, "\"%s\" is not written ID:PATH",
					    cli_printable(word, strlen(word), shown, sizeof(shown)));
	}
	return 0;
}

/* f for each word, though one fails; the exit code of the first that did. */
static int each(struct job *j, int (*f)(struct job *j, const struct place *p, struct dw_err *err))
{
	int code = CALL_OK;

	for (size_t i = 0; i < j->call.word_n; i++) {
		struct dw_err err = { 0 };
		struct place p;
		if (place_parse(j->call.word[i], &p) && f(j, &p, &err) == 0)
			continue;
		char shown[128];
		dw_err_wrap(&err, "%s", cli_printable(j->call.word[i], strlen(j->call.word[i]), shown, sizeof(shown)));
		const int failed = call_failed(&err);
		code = code ? code : failed;
	}
	return code;
}

static int to_stdout(void *arg, const char *p, size_t n, struct dw_err *err)
{
	return call_write(STDOUT_FILENO, p, n, err);
}

static int cat_one(struct job *j, const struct place *p, struct dw_err *err)
{
	dw_autofree char *path = files_path(p->id, "/raw", p->path, j->user);
	const struct client_request rq = { .method = "GET", .path = path, .sink = to_stdout };

	return path ? client_do(j->call.client, &rq, NULL, err) : call_no_memory(err);
}

static int cat(void *job, struct dw_err *err)
{
	return each(job, cat_one);
}

static int by_name(const void *a, const void *b)
{
	const char *x = call_text(*(json_t *const *)a, "name"), *y = call_text(*(json_t *const *)b, "name");
	return strcmp(x ? x : "", y ? y : "");
}

static void add_long(struct table *t, const json_t *e)
{
	char size[CLI_SIZE_MAX], when[32];
	const json_t *bytes = json_object_get(e, "size");
	const char *modified = call_text(e, "modified"), *target = call_text(e, "symlink_target"),
		   *name = call_text(e, "name");
	dw_autofree char *both = NULL;

	snprintf(when, sizeof(when), "%.10s %.8s", modified ? modified : "-",
		 modified && strlen(modified) > 19 ? modified + 11 : "");
	table_add(t, call_text(e, "mode"));
	table_add(t, call_text(e, "owner"));
	table_add(t, call_text(e, "group"));
	table_add(t, json_is_integer(bytes) && json_integer_value(bytes) >= 0
			     ? cli_size((uint64_t)json_integer_value(bytes), size)
			     : NULL);
	table_add(t, when);
	if (asprintf(&both, "%s%s%s%s", name ? name : "?", files_is_folder(e) ? "/" : "", target ? " -> " : "",
		     target ? target : "") < 0)
		both = NULL;
	table_add(t, both);
}

static void add_short(struct table *t, const json_t *e)
{
	dw_autofree char *both = NULL;
	const char *name = call_text(e, "name");

	if (asprintf(&both, "%s%s", name ? name : "?", files_is_folder(e) ? "/" : "") < 0)
		both = NULL;
	table_add(t, both);
}

static int print_entries(const struct job *j, json_t *list, struct dw_err *err)
{
	const size_t n = json_array_size(list);
	struct table t = { .columns = j->is_long ? 6 : 1, .right = { [3] = true } };
	json_t **entry = calloc(n + 1, sizeof(json_t *));

	if (!entry)
		return call_no_memory(err);
	for (size_t i = 0; i < n; i++)
		entry[i] = json_array_get(list, i);
	qsort(entry, n, sizeof(json_t *), by_name);
	for (size_t i = 0; i < n; i++)
		(j->is_long ? add_long : add_short)(&t, entry[i]);
	free(entry);
	const bool ok = table_print(&t, stdout);
	table_done(&t);
	return ok ? 0 : call_no_memory(err);
}

static int ls_one(struct job *j, const struct place *p, struct dw_err *err)
{
	json_t *entry = NULL, *list = NULL;

	/* A server may have an empty list for a folder that is not there. */
	if (files_info(j->call.client, p, j->user, &entry, err) < 0)
		return -1;
	int r = 0;
	if (files_is_folder(entry))
		r = files_list(j->call.client, p, j->user, &list, err);
	else if (!(list = json_pack("[O]", entry)))
		r = call_no_memory(err);
	if (r == 0)
		r = j->call.json ? call_print_json(list, false, err) : print_entries(j, list, err);
	json_decref(entry);
	json_decref(list);
	return r;
}

static int ls(void *job, struct dw_err *err)
{
	return each(job, ls_one);
}

static int rm_one(struct job *j, const struct place *p, struct dw_err *err)
{
	json_t *answer = NULL;

	if (!j->recursive) {
		if (files_info(j->call.client, p, j->user, &answer, err) < 0)
			return -1;
		const bool folder = files_is_folder(answer) && !json_object_get(answer, "symlink_target");
		json_decref(DW_TAKE(answer));
		if (folder)
			return dw_err_set(err, DW_ERR_CONFLICT, "is_folder", "it is a folder (-r removes it)");
	}
	dw_autofree char *path = files_path(p->id, "", p->path, j->user);
	if (!path)
		return call_no_memory(err);
	if (client_json(j->call.client, "DELETE", path, NULL, &answer, err) < 0)
		return -1;
	const int r = j->call.json ? call_print_json(answer, true, err) : 0;
	json_decref(answer);
	return r;
}

static int rm(void *job, struct dw_err *err)
{
	return each(job, rm_one);
}

static const struct call_command cat_command = {
	"files cat ID:PATH...",
	"Writes files to standard output, byte for byte.",
	cat_options,
	DW_COUNT(cat_options),
	1,
	SIZE_MAX,
	check,
	cat,
};
static const struct call_command ls_command = {
	"files ls [-l] ID:PATH...",
	"Lists folders and files.",
	ls_options,
	DW_COUNT(ls_options),
	1,
	SIZE_MAX,
	check,
	ls,
};
static const struct call_command rm_command = {
	"files rm [-r] ID:PATH...",
	"Removes files, and with -r folders.",
	rm_options,
	DW_COUNT(rm_options),
	1,
	SIZE_MAX,
	check,
	rm,
};

static int run_cat(int argc, char *const *argv)
{
	return call_main(&cat_command, argc, argv, &(struct job){ 0 });
}

static int run_ls(int argc, char *const *argv)
{
	return call_main(&ls_command, argc, argv, &(struct job){ 0 });
}

static int run_rm(int argc, char *const *argv)
{
	return call_main(&rm_command, argc, argv, &(struct job){ 0 });
}

int cli_files(int argc, char *const *argv)
{
	static const struct cli_command commands[] = {
		{ "cp", files_cp, "copy into a sandbox or out of one" },
		{ "cat", run_cat, "write a file to standard output" },
		{ "ls", run_ls, "list a folder" },
		{ "rm", run_rm, "remove" },
	};
	return cli_dispatch("declaw files", "Files of sandboxes.", commands, DW_COUNT(commands), argc, argv);
}
