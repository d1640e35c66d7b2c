/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/copy.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "cli/text.h"

/* A handler gets no argument. */
static struct copy *running;

static int set_user(void *to, const char *value, struct dw_err *err)
{
	return call_once(&((struct copy *)to)->user, value, err);
}

static int set_quiet(void *to, const char *value, struct dw_err *err)
{
	((struct copy *)to)->quiet = true;
	return 0;
}

static const struct cli_option options[] = {
	{ "-q", NULL, set_quiet, "no progress on standard error" },
	{ "--user", "USER", set_user, "who reads or owns the files inside (user)" },
	CALL_OPTIONS,
};

void copy_skip(struct copy *c, const char *path, const char *why)
{
	dw_autofree char *shown = cli_escape(path, strlen(path));

	progress_end(&c->progress);
	cli_warn("%s: left out: %s", shown ? shown : "?", why);
	c->incomplete = true;
}

bool copy_is_local(const struct dw_err *err)
{
	return (err->kind == DW_ERR_NOT_FOUND && strcmp(err->code, "sandbox_not_found") != 0) ||
	       err->kind == DW_ERR_UNPROCESSABLE;
}

static int check(void *job, struct dw_err *err)
{
	struct copy *c = job;
	struct place from, to;

	if (c->user && call_check_utf8("--user", c->user, err) < 0)
		return -1;
	if (!place_parse(c->call.word[0], &from) || !place_parse(c->call.word[1], &to))
		return call_invalid(err, "a path is missing behind the ':'");
	if (!*from.id == !*to.id)
		return call_invalid(
			err,
			"one of the two must be in a sandbox (ID:PATH), the other here (a path here that has a ':' "
			"is written ./NAME)");
	return 0;
}

static void stop(int number)
{
	running->stop = number;
}

static void catch_signals(struct copy *c)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction now, act = { .sa_handler = stop };

	running = c;
	for (size_t i = 0; i < DW_COUNT(numbers); i++) {
		/* What is ignored stays so (nohup). */
		if (sigaction(numbers[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
			DW_IGNORE(sigaction(numbers[i], &act, NULL)); /* then it ends at once, as without this */
	}
}

static int report(const struct copy *c, struct dw_err *err)
{
	char size[CLI_SIZE_MAX];

	if (c->call.json) {
		json_t *j = json_pack("{sI sI sb}", "files", (json_int_t)c->files, "bytes", (json_int_t)c->bytes,
				      "complete", !c->incomplete);
		const int r = j ? call_print_json(j, false, err) : call_no_memory(err);
		json_decref(j);
		return r;
	}
	if (c->progress.on)
		fprintf(stderr, "%llu file%s, %s\n", (unsigned long long)c->files, c->files == 1 ? "" : "s",
			cli_size(c->bytes, size));
	return 0;
}

static int run(void *job, struct dw_err *err)
{
	struct copy *c = job;
	struct place from, to;
	int r = place_parse(c->call.word[0], &from) && place_parse(c->call.word[1], &to) ? 0 : call_no_memory(err);

	progress_init(&c->progress, c->quiet || c->call.json);
	catch_signals(c);
	if (r == 0)
		r = *from.id ? copy_down(c, &from, to.path, err) : copy_up(c, from.path, &to, err);
	progress_end(&c->progress);
	if (c->stop) {
		signal(c->stop, SIG_DFL);
		raise(c->stop);
	}
	if (r == 0)
		r = report(c, err);
	return r < 0 ? -1 : c->incomplete ? CALL_FAILED : CALL_OK;
}

static const struct call_command command = {
	"files cp [-q] SRC DST",
	"Copies a file or a folder between this machine and a sandbox, where a path is written ID:PATH. Where DST is "
	"a\n"
	"folder that exists, the copy goes into it.",
	options,
	DW_COUNT(options),
	2,
	2,
	check,
	run,
};

int files_cp(int argc, char *const *argv)
{
	return call_main(&command, argc, argv, &(struct copy){ 0 });
}
