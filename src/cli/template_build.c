/* SPDX-License-Identifier: Apache-2.0 */
/* declaw template build, import, debian: they begin a build and follow it. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cli/place.h"
#include "cli/template.h"
#include "cli/text.h"
#include "cli/volume.h"

#define DOCKERFILE_MAX (64u << 10)
#define LOOK_MS        300

struct job {
	struct call call;
	const char *alias, *file, *base, *start, *ready, *suite, *mirror, *tag;
	long cpus, memory, disk;
	json_t *run, *apt, *env, *allow, *deny;
	bool quiet, background;
	struct progress progress;
};

#define TEXT_SETTER(name)                                                      \
	static int set_##name(void *to, const char *value, struct dw_err *err) \
	{                                                                      \
		if (call_check_utf8("it", value, err) < 0)                     \
			return -1;                                             \
		return call_once(&((struct job *)to)->name, value, err);       \
	}
TEXT_SETTER(alias)
TEXT_SETTER(file)
TEXT_SETTER(base)
TEXT_SETTER(start)
TEXT_SETTER(ready)
TEXT_SETTER(suite)
TEXT_SETTER(mirror)
TEXT_SETTER(tag)

#define NUMBER_SETTER(name)                                                              \
	static int set_##name(void *to, const char *value, struct dw_err *err)           \
	{                                                                                \
		return call_number(value, 1, INT32_MAX, &((struct job *)to)->name, err); \
	}
NUMBER_SETTER(cpus)
NUMBER_SETTER(memory)
NUMBER_SETTER(disk)

#define LIST_ADDER(name)                                                       \
	static int add_##name(void *to, const char *value, struct dw_err *err) \
	{                                                                      \
		return call_add_text(&((struct job *)to)->name, value, err);   \
	}
LIST_ADDER(run)
LIST_ADDER(apt)
LIST_ADDER(allow)
LIST_ADDER(deny)

static int add_env(void *to, const char *value, struct dw_err *err)
{
	return call_add_pair(&((struct job *)to)->env, value, err);
}

static int set_quiet(void *to, const char *value, struct dw_err *err)
{
	((struct job *)to)->quiet = true;
	return 0;
}

static int set_background(void *to, const char *value, struct dw_err *err)
{
	((struct job *)to)->background = true;
	return 0;
}

#define SIZE_OPTIONS                                                                \
	{ "--cpus", "N", set_cpus, "cores of its sandboxes" },                      \
		{ "--memory", "MB", set_memory, "MiB of memory of its sandboxes" }, \
	{                                                                           \
		"--disk", "MB", set_disk, "MiB of disk of its sandboxes"            \
	}
#define WAIT_OPTIONS                                                                       \
	{ "--background", NULL, set_background, "print the build's id, and do not wait" }, \
	{                                                                                  \
		"-q", NULL, set_quiet, "no log on standard error"                          \
	}
#define NETWORK_OPTIONS                                                                              \
	{ "--allow", "ENTRY", add_allow, "what the build may reach, and nothing else; repeatable" }, \
	{                                                                                            \
		"--deny", "ENTRY", add_deny, "what it may not reach; repeatable"                     \
	}
#define START_OPTIONS                                                                         \
	{ "--start", "COMMAND", set_start, "runs in the background in every sandbox of it" }, \
	{                                                                                     \
		"--ready", "COMMAND", set_ready, "a sandbox is there when this succeeds"      \
	}
#define ALIAS_OPTION                                              \
	{                                                         \
		"--alias", "NAME", set_alias, "what it is called" \
	}

static const struct cli_option build_options[] = {
	ALIAS_OPTION,
	{ "-f", "FILE", set_file, "a Dockerfile, or the folder that has one; - is standard input" },
	{ "--base", "IMAGE", set_base, "an image, or a template's id or alias (ubuntu:22.04)" },
	{ "--run", "COMMAND", add_run, "a shell line that the build runs; repeatable" },
	{ "--apt", "PACKAGE", add_apt, "a Debian package; repeatable" },
	{ "--env", "NAME=VALUE", add_env, "a variable of the build and of every command; repeatable" },
	START_OPTIONS,
	NETWORK_OPTIONS,
	SIZE_OPTIONS,
	WAIT_OPTIONS,
	CALL_OPTIONS,
};
static const struct cli_option import_options[] = {
	ALIAS_OPTION, { "--tag", "TAG", set_tag, "which image, when there are several" }, SIZE_OPTIONS, WAIT_OPTIONS,
	CALL_OPTIONS,
};
static const struct cli_option debian_options[] = {
	ALIAS_OPTION,
	{ "--suite", "NAME", set_suite, "the release (bookworm)" },
	{ "--package", "PACKAGE", add_apt, "one more package; repeatable" },
	{ "--mirror", "URL", set_mirror, "where packages come from (Debian's own)" },
	START_OPTIONS,
	NETWORK_OPTIONS,
	SIZE_OPTIONS,
	WAIT_OPTIONS,
	CALL_OPTIONS,
};

/* Values that were given, into an object. */
static int put_text(json_t *o, const char *key, const char *value, struct dw_err *err)
{
	return value && json_object_set_new(o, key, json_string(value)) < 0 ? call_no_memory(err) : 0;
}

static int put_number(json_t *o, const char *key, long value, struct dw_err *err)
{
	return value && json_object_set_new(o, key, json_integer(value)) < 0 ? call_no_memory(err) : 0;
}

static int put_json(json_t *o, const char *key, json_t *value, struct dw_err *err)
{
	return value && json_object_set(o, key, value) < 0 ? call_no_memory(err) : 0;
}

static int put_network(json_t *o, const struct job *j, struct dw_err *err)
{
	if (!j->allow && !j->deny)
		return 0;
	json_t *network = json_object();
	int r = network ? put_json(network, "allow_out", j->allow, err) : call_no_memory(err);
	if (r == 0)
		r = put_json(network, "deny_out", j->deny, err);
	if (r == 0)
		r = put_json(o, "network", network, err);
	json_decref(network);
	return r;
}

static int put_common(json_t *o, const struct job *j, struct dw_err *err)
{
	if (put_text(o, "alias", j->alias, err) < 0 || put_number(o, "cpu_count", j->cpus, err) < 0 ||
	    put_number(o, "memory_mb", j->memory, err) < 0 || put_number(o, "disk_mb", j->disk, err) < 0 ||
	    put_network(o, j, err) < 0)
		return -1;
	return json_object_set_new(o, "background", json_true()) < 0 ? call_no_memory(err) : 0;
}

/* Lines of programs in a sandbox: escaped, so that they can not steer the terminal. */
static int show_lines(const struct job *j, const json_t *build, uint64_t *seen, struct dw_err *err)
{
	const json_t *lines = json_object_get(build, "logs"), *line;
	const json_int_t from = json_integer_value(json_object_get(build, "logs_from"));
	size_t i;
	json_array_foreach(lines, i, line)
	{
		dw_autofree char *shown =
			cli_escape(json_string_value(line) ? json_string_value(line) : "", json_string_length(line));
		if (!shown)
			return call_no_memory(err);
		if (!j->quiet)
			fprintf(stderr, "%s\n", shown);
	}
	if (from >= 0)
		*seen = DW_MAX(*seen, (uint64_t)from + json_array_size(lines));
	return 0;
}

/* The end of a build: its template's id, or what went wrong. */
static int conclude(const struct job *j, const json_t *build, struct dw_err *err)
{
	const char *status = call_text(build, "status"), *id = call_text(build, "template_id");
	const char *why = call_text(build, "error");
	if (j->call.json && call_print_json(build, false, err) < 0)
		return -1;
	if (status && strcmp(status, "completed") == 0 && id && place_is_id(id)) {
		if (!j->call.json)
			puts(id);
		return CALL_OK;
	}
	dw_autofree char *shown = cli_escape(why ? why : "", why ? strlen(why) : 0);
	cli_warn("the build failed: %s", shown && *shown ? shown : "the server does not say why");
	return CALL_FAILED;
}

static int look(const struct job *j, const char *id, uint64_t seen, json_t **ret, struct dw_err *err)
{
	dw_autofree char *path = NULL;
	if (asprintf(&path, "/templates/builds/%s?since=%llu", id, (unsigned long long)seen) < 0) {
		path = NULL;
		return call_no_memory(err);
	}
	return client_json(j->call.client, "GET", path, NULL, ret, err);
}

/* Takes the answer to the request that began it. */
static int follow(const struct job *j, json_t *answer_take, struct dw_err *err)
{
	json_t *build = answer_take;
	uint64_t seen = 0;
	char id[PLACE_ID_MAX + 1] = "";
	const char *given = call_text(build, "build_id");
	int r = given && place_is_id(given) ? 0 : call_bad_answer(err);
	if (r == 0)
		snprintf(id, sizeof(id), "%s", given);
	if (r == 0 && j->background) {
		if (j->call.json)
			r = call_print_json(build, false, err);
		else
			puts(id);
		json_decref(build);
		return r;
	}
	while (r == 0) {
		const char *status = call_text(build, "status");
		r = show_lines(j, build, &seen, err);
		if (r < 0 || !status || strcmp(status, "building") != 0)
			break;
		nanosleep(&(struct timespec){ .tv_nsec = LOOK_MS * 1000000L }, NULL);
		json_decref(DW_TAKE(build));
		r = look(j, id, seen, &build, err);
	}
	if (r == 0)
		r = conclude(j, build, err);
	json_decref(build);
	return r;
}

static int start(const struct job *j, const char *path, json_t *body_take, struct dw_err *err)
{
	json_t *answer = NULL;
	if (client_json(j->call.client, "POST", path, body_take, &answer, err) < 0)
		return -1;
	return follow(j, answer, err);
}

static int read_dockerfile(const char *file, char **ret, struct dw_err *err)
{
	dw_autofree char *inside = NULL;
	struct stat st;
	size_t n;
	if (stat(file, &st) == 0 && S_ISDIR(st.st_mode) && !(inside = place_join(file, "Dockerfile")))
		return call_no_memory(err);
	return cli_read_file(inside ? inside : file, DOCKERFILE_MAX, ret, &n, err);
}

static int check_build(void *job, struct dw_err *err)
{
	const struct job *j = job;
	if (j->file && (j->base || j->run || j->apt || j->env))
		return call_invalid(err, "a Dockerfile stands alone: --base, --run, --apt and --env have to be in it");
	if (j->ready && !j->start)
		return call_invalid(err, "--ready needs --start");
	return 0;
}

static int fill_steps(struct job *j, json_t *t, struct dw_err *err)
{
	dw_autofree char *text = NULL;
	if (j->file && (read_dockerfile(j->file, &text, err) < 0 || call_check_utf8("the Dockerfile", text, err) < 0))
		return -1;
	if (put_text(t, "dockerfile", text, err) < 0 || put_text(t, "base_image", j->base, err) < 0 ||
	    put_json(t, "run_cmds", j->run, err) < 0 || put_json(t, "apt_packages", j->apt, err) < 0 ||
	    put_json(t, "envs", j->env, err) < 0 || put_text(t, "start_cmd", j->start, err) < 0)
		return -1;
	return put_text(t, "ready_check", j->ready, err);
}

static int build(void *job, struct dw_err *err)
{
	struct job *j = job;
	json_t *steps = json_object(), *body = json_pack("{sO}", "template", steps);
	int r = steps && body ? fill_steps(j, steps, err) : call_no_memory(err);
	if (r == 0)
		r = put_common(body, j, err);
	json_decref(steps);
	if (r == 0)
		return start(j, "/templates/build", body, err);
	json_decref(body);
	return -1;
}

static int debian(void *job, struct dw_err *err)
{
	struct job *j = job;
	json_t *body = json_object();
	int r = body ? put_common(body, j, err) : call_no_memory(err);
	if (r == 0 && put_text(body, "suite", j->suite, err) == 0 && put_text(body, "mirror", j->mirror, err) == 0 &&
	    put_json(body, "packages", j->apt, err) == 0 && put_text(body, "start_cmd", j->start, err) == 0 &&
	    put_text(body, "ready_check", j->ready, err) == 0)
		return start(j, "/templates/debian", body, err);
	json_decref(body);
	return -1;
}

static int add_query(char **path, const char *key, const char *value, struct dw_err *err)
{
	dw_autofree char *encoded = value ? cli_percent(value) : NULL;
	char *more = NULL;
	if (!value)
		return 0;
	if (!encoded || asprintf(&more, "%s&%s=%s", *path, key, encoded) < 0)
		return call_no_memory(err);
	free(*path);
	*path = more;
	return 0;
}

static int add_query_number(char **path, const char *key, long value, struct dw_err *err)
{
	char text[24];
	snprintf(text, sizeof(text), "%ld", value);
	return add_query(path, key, value ? text : NULL, err);
}

static int import_path(const struct job *j, char **ret, struct dw_err *err)
{
	*ret = strdup("/templates/import?background=true");
	if (!*ret)
		return call_no_memory(err);
	if (add_query(ret, "alias", j->alias, err) < 0 || add_query(ret, "tag", j->tag, err) < 0 ||
	    add_query_number(ret, "cpu_count", j->cpus, err) < 0 ||
	    add_query_number(ret, "memory_mb", j->memory, err) < 0)
		return -1;
	return add_query_number(ret, "disk_mb", j->disk, err);
}

static void moved(void *arg, int64_t bytes)
{
	progress_move(&((struct job *)arg)->progress, bytes);
}

/* A folder in the OCI layout is packed, and an archive goes as it is. */
static int open_image(const char *from, int *ret_fd, int64_t *ret_size, struct dw_err *err)
{
	struct stat st;
	char shown[200];
	dw_autoclose int fd = strcmp(from, "-") == 0 ? dup(STDIN_FILENO) : open(from, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_file", "%s: %s",
				  cli_printable(from, strlen(from), shown, sizeof(shown)), strerror(errno));
	if (S_ISDIR(st.st_mode))
		return volume_pack(from, ret_fd, ret_size, err);
	*ret_size = S_ISREG(st.st_mode) ? st.st_size : -1;
	*ret_fd = DW_TAKE_FD(fd);
	return 0;
}

static int import(void *job, struct dw_err *err)
{
	struct job *j = job;
	dw_autofree char *path = NULL;
	dw_autoclose int fd = -1;
	int64_t size = -1;
	json_t *answer = NULL;
	if (import_path(j, &path, err) < 0 || open_image(j->call.word[0], &fd, &size, err) < 0)
		return -1;
	const struct client_request rq = {
		.method = "POST",
		.path = path,
		.arg = j,
		.upload = true,
		.upload_fd = fd,
		.upload_size = size,
		.moved = moved,
		.patient = true,
	};
	progress_init(&j->progress, j->quiet || j->call.json);
	progress_begin(&j->progress, j->call.word[0], size);
	const int r = client_do(j->call.client, &rq, &answer, err);
	progress_end(&j->progress);
	return r < 0 ? -1 : follow(j, answer, err);
}

#define COMMAND(usage, about, options, min, max, check, run)                               \
	{                                                                                  \
		(usage), (about), (options), DW_COUNT(options), (min), (max), (check), run \
	}
static const struct call_command build_command = COMMAND("template build [-f FILE] [--base IMAGE] [OPTION]...",
							 "Builds a template of a Dockerfile, or of the steps in its "
							 "options; shows the log, and prints the template's id.",
							 build_options, 0, 0, check_build, build);
static const struct call_command import_command =
	COMMAND("template import ARCHIVE|FOLDER [OPTION]...",
		"Makes a template of an image: an OCI archive, a folder in the OCI layout, or what docker save writes.",
		import_options, 1, 1, NULL, import);
static const struct call_command debian_command =
	COMMAND("template debian [OPTION]...", "Makes a template of Debian packages.", debian_options, 0, 0,
		check_build, debian);

static int run(const struct call_command *command, int argc, char *const *argv)
{
	struct job j = { 0 };
	const int code = call_main(command, argc, argv, &j);
	json_decref(j.run);
	json_decref(j.apt);
	json_decref(j.env);
	json_decref(j.allow);
	json_decref(j.deny);
	return code;
}

int template_build(int argc, char *const *argv)
{
	return run(&build_command, argc, argv);
}

int template_import(int argc, char *const *argv)
{
	return run(&import_command, argc, argv);
}

int template_debian(int argc, char *const *argv)
{
	return run(&debian_command, argc, argv);
}
