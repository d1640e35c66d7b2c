/* SPDX-License-Identifier: Apache-2.0 */
/* declaw policy ... */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "cli/check.h"
#include "cli/cli.h"
#include "cli/policy_file.h"
#include "cli/show.h"

#define TARGETS_FILE_MAX (64u << 20)

/* Everything the words of one command line say. */
struct job {
	struct policy_lists lists;
	bool default_allow, json, verbose, help;
	const char *policy_file;
	bool stdin_taken;
	struct check check; /* floor and lookups, before a policy is there */
	struct dw_addr *host;
	struct dw_prefix *private;
	struct show_target *target;
	size_t target_n;
	struct { /* --allow and --deny in their order, which go behind the file's */
		const char *text;
		bool allow;
	} * entry;
	size_t entry_n;
};

static void job_done(struct job *j)
{
	policy_lists_done(&j->lists);
	free(j->check.lookup);
	if (j->check.pins)
		dw_pins_free(j->check.pins);
	free(j->host);
	free(j->private);
	for (size_t i = 0; i < j->target_n; i++)
		free(j->target[i].text);
	free(j->target);
	free(j->entry);
}

/* The growing of a typed array, whose pointer C does not let pass as a void pointer's address. */
#define GROW(array, n)                                                  \
	({                                                              \
		void *grown_ = (array);                                 \
		void *new_ = cli_grow(&grown_, &(n), sizeof(*(array))); \
		(array) = grown_;                                       \
		(__typeof__(array))new_;                                \
	})

static int no_memory(struct dw_err *err)
{
	return dw_err_errno(err, ENOMEM, "reading the command line");
}

static int invalid(struct dw_err *err, const char *value, const char *want)
{
	char shown[128];
	return dw_err_set(err, DW_ERR_INVALID, "invalid_option", "\"%s\" must be %s",
			  cli_printable(value, strlen(value), shown, sizeof(shown)), want);
}

static int take_stdin(struct job *j, const char *path, struct dw_err *err)
{
	if (strcmp(path, "-") != 0)
		return 0;
	if (j->stdin_taken)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_option", "standard input can be read only once");
	j->stdin_taken = true;
	return 0;
}

static int set_policy(void *to, const char *value, struct dw_err *err)
{
	struct job *j = to;
	if (j->policy_file)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_option", "given twice");
	j->policy_file = value;
	return take_stdin(j, value, err);
}

static int add_entry(struct job *j, bool allow, const char *text, struct dw_err *err)
{
	__typeof__(j->entry) e = GROW(j->entry, j->entry_n);
	if (!e)
		return no_memory(err);
	e->text = text;
	e->allow = allow;
	return 0;
}

static int set_allow(void *to, const char *value, struct dw_err *err)
{
	return add_entry(to, true, value, err);
}

static int set_deny(void *to, const char *value, struct dw_err *err)
{
	return add_entry(to, false, value, err);
}

static int set_default(void *to, const char *value, struct dw_err *err)
{
	struct job *j = to;
	j->default_allow = strcmp(value, "allow") == 0;
	return j->default_allow || strcmp(value, "deny") == 0 ? 0 : invalid(err, value, "allow or deny");
}

static int set_resolve(void *to, const char *value, struct dw_err *err)
{
	static const char want[] = "NAME=ADDR or NAME=ADDR,ADDR with at most 64 addresses";
	struct job *j = to;
	const char *why = NULL, *at = strchr(value, '=');
	char shown[128];
	if (!at)
		return invalid(err, value, want);
	struct check_lookup *l = GROW(j->check.lookup, j->check.lookup_n);
	if (!l)
		return no_memory(err);
	if (dw_host_canon(value, (size_t)(at - value), l->name, &why) != DW_HOST_OK)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_option", "the name of \"%s\": %s",
				  cli_printable(value, strlen(value), shown, sizeof(shown)), why);
	for (size_t i = 0; i + 1 < j->check.lookup_n; i++) {
		if (strcmp(j->check.lookup[i].name, l->name) == 0)
			return dw_err_set(err, DW_ERR_INVALID, "invalid_option",
					  "%s is given twice (NAME=ADDR,ADDR gives it more addresses)", l->name);
	}
	for (bool more = true; more; l->addr_n++) {
		const char *s = at + 1;
		size_t n = strcspn(s, ",");
		more = s[n] == ',';
		at = s + n;
		if (l->addr_n == CHECK_ANSWERS_MAX || !dw_addr_parse(s, n, &l->addr[l->addr_n]))
			return invalid(err, value, want);
	}
	return 0;
}

static int set_host(void *to, const char *value, struct dw_err *err)
{
	struct job *j = to;
	struct dw_addr *a = GROW(j->host, j->check.floor.host_n);
	if (!a)
		return no_memory(err);
	return dw_addr_parse(value, strlen(value), a) ? 0 : invalid(err, value, "an IP address");
}

static int set_private(void *to, const char *value, struct dw_err *err)
{
	struct job *j = to;
	const size_t n = strlen(value);
	struct dw_prefix *p = GROW(j->private, j->check.floor.exceptions_n);
	struct dw_addr a;
	if (!p)
		return no_memory(err);
	if (!dw_addr_parse(value, n, &a))
		return dw_prefix_parse(value, n, p) ? 0 : invalid(err, value, "an address or a CIDR");
	*p = (struct dw_prefix){ .addr = a, .len = dw_addr_bits(&a) };
	return 0;
}

static int add_target(struct job *j, const char *s, size_t n, struct dw_err *err)
{
	struct target parsed;
	if (target_parse(s, n, &parsed, err) < 0)
		return -1;
	struct show_target *t = GROW(j->target, j->target_n);
	if (!t || !(t->text = strndup(s, n)))
		return no_memory(err);
	t->target = parsed;
	return 0;
}

/* One a line; empty lines and what starts with '#' are none. */
static int read_targets(struct job *j, const char *path, struct dw_err *err)
{
	dw_autofree char *text = NULL;
	size_t n = 0, line = 0;
	if (take_stdin(j, path, err) < 0 || cli_read_file(path, TARGETS_FILE_MAX, &text, &n, err) < 0)
		return -1;
	for (const char *p = text, *end = text + n; p < end;) {
		const char *stop = memchr(p, '\n', (size_t)(end - p));
		const char *next = stop ? stop + 1 : end;
		if (!stop)
			stop = end;
		line++;
		while (stop > p && strchr(" \t\r", stop[-1]) && stop[-1])
			stop--;
		while (p < stop && (*p == ' ' || *p == '\t'))
			p++;
		if (p < stop && *p != '#' && add_target(j, p, (size_t)(stop - p), err) < 0)
			return dw_err_wrap(err, "line %zu", line);
		p = next;
	}
	return 0;
}

static int set_targets(void *to, const char *value, struct dw_err *err)
{
	return read_targets(to, value, err);
}

static int word(void *to, const char *w, struct dw_err *err)
{
	return strcmp(w, "-") == 0 ? read_targets(to, w, err) : add_target(to, w, strlen(w), err);
}

static int set_json(void *to, const char *value, struct dw_err *err)
{
	((struct job *)to)->json = true;
	return 0;
}

static int set_verbose(void *to, const char *value, struct dw_err *err)
{
	((struct job *)to)->verbose = true;
	return 0;
}

static int set_help(void *to, const char *value, struct dw_err *err)
{
	((struct job *)to)->help = true;
	return 0;
}

/* clang-format off */
static const struct cli_option options[] = {
	{ "--policy", "FILE", set_policy, "JSON: a network object, or a whole create request; - is standard input" },
	{ "--allow", "ENTRY", set_allow, "one more entry of allow_out (repeatable)" },
	{ "--deny", "ENTRY", set_deny, "one more entry of deny_out (repeatable)" },
	{ "--default-egress", "allow|deny", set_default, "the server's default where the lists leave it open (allow)" },
	{ "--resolve", "NAME=ADDR[,ADDR]", set_resolve,
	  "the sandbox has looked NAME up and these are its addresses (repeatable)" },
	{ "--host", "ADDR", set_host, "an address of the server's own machine (repeatable)" },
	{ "--allow-private", "CIDR", set_private, "as the server's option of this name (repeatable)" },
	{ "--targets", "FILE", set_targets, "targets, one a line; - is standard input" },
	{ "--json", NULL, set_json, "print a JSON array, with the steps of each decision" },
	{ "--verbose", NULL, set_verbose, "print the steps of each decision" },
	{ "--help", NULL, set_help, "print this" },
};
/* clang-format on */

static void print_help(void)
{
	puts("Usage: declaw policy check [OPTION]... TARGET...\n"
	     "Say what a network policy does with each target, by which rule, and why.\n\n"
	     "A TARGET is\n"
	     "  NAME                a DNS query\n"
	     "  NAME:PORT[/PROTO]   a connection to a name\n"
	     "  ADDR:PORT[/PROTO]   a connection to an address; [ADDR]:PORT for IPv6\n"
	     "  NAME@ADDR:PORT[/PROTO]  a connection to an address that shows a name\n"
	     "  ADDR/icmp\n"
	     "  -                   targets from standard input, one a line\n"
	     "PROTO is what the connection opens with: tls, http, tcp (neither), quic, or udp (not quic).\n");
	cli_print_options(options, DW_COUNT(options));
	puts("\nExit code: 0 all allowed, 1 at least one denied, 2 wrong usage or a bad policy.");
}

static int load_policy(struct job *j, struct dw_err *err)
{
	dw_autofree char *text = NULL;
	size_t n = 0;
	if (j->policy_file && (cli_read_file(j->policy_file, POLICY_FILE_MAX, &text, &n, err) < 0 ||
			       policy_lists_parse(text, n, &j->lists, err) < 0))
		return dw_err_wrap(err, "--policy");
	for (size_t i = 0; i < j->entry_n; i++) {
		if (policy_lists_add(&j->lists, j->entry[i].allow, j->entry[i].text, err) < 0)
			return -1;
	}
	return 0;
}

static int run(struct job *j, struct dw_err *err)
{
	dw_autofree void *image = NULL;
	DW_AUTO(dw_policy_close) struct dw_policy *policy = NULL;
	size_t n = 0;
	if (load_policy(j, err) < 0 || policy_lists_compile(&j->lists, j->default_allow, &image, &n, err) < 0 ||
	    dw_policy_open(image, n, &policy, err) < 0)
		return -1;
	j->check.policy = policy;
	j->check.floor.host = j->host;
	j->check.floor.exceptions = j->private;
	if (check_play_lookups(&j->check, err) < 0)
		return -1;
	const struct show s = {
		.check = &j->check, .target = j->target, .target_n = j->target_n, .verbose = j->verbose
	};
	const long refused = j->json ? show_json(&s, stdout) : show_table(&s, stdout);
	if (refused < 0)
		return no_memory(err);
	if (fflush(stdout) != 0)
		return dw_err_errno(err, errno, "writing the result");
	return refused ? CLI_NO : CLI_OK;
}

static int check(int argc, char *const *argv)
{
	__attribute__((cleanup(job_done))) struct job j = { .default_allow = true };
	struct dw_err err = { 0 };
	if (cli_parse(options, DW_COUNT(options), argc, argv, &j, word, &err) < 0)
		return cli_fail(&err);
	if (j.help) {
		print_help();
		return CLI_OK;
	}
	if (j.target_n == 0) {
		dw_err_set(&err, DW_ERR_INVALID, "invalid_target", "no target: %s (see declaw policy check --help)",
			   TARGET_FORMS);
		return cli_fail(&err);
	}
	int r = run(&j, &err);
	return r < 0 ? cli_fail(&err) : r;
}

static const struct cli_command commands[] = {
	{ "check", check, "what a policy does with names, addresses and connections" },
};

int cli_policy(int argc, char *const *argv)
{
	return cli_dispatch("declaw policy", "Network policies.", commands, DW_COUNT(commands), argc, argv);
}
