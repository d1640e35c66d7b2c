/* SPDX-License-Identifier: Apache-2.0 */
/* The child's side of a command: from fork to exec. Runs alone in its process, so static buffers are its own. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "agent/account.h"
#include "agent/exec.h"

#define STATUS_FD 3

/* As login programs set it; PWD included, and TERM. */
#define ENV_BASE_MAX 8
#define PATH_DEFAULT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static _Noreturn void fail(const struct dw_fault *f)
{
	/* Shorter than PIPE_BUF, so it comes whole or, if the agent is gone, not at all. */
	DW_IGNORE(write(STATUS_FD, f, sizeof(*f)));
	_exit(127);
}

struct env {
	size_t n;
	char *v[DW_AGENTP_ENV_MAX + ENV_BASE_MAX + 1];
};

/* A later value replaces an earlier one. */
static void env_put(struct env *env, struct dw_span key, struct dw_span value)
{
	char *text = malloc(key.n + 1 + value.n + 1);
	if (!text) {
		struct dw_fault f;
		dw_fault_errno(&f, ENOMEM, "the environment could not be set up");
		fail(&f);
	}
	snprintf(text, key.n + 1 + value.n + 1, "%.*s=%.*s", (int)key.n, (const char *)key.p, (int)value.n,
		 (const char *)value.p);
	size_t i = 0;
	while (i < env->n && strncmp(env->v[i], text, key.n + 1) != 0)
		i++;
	env->v[i] = text;
	if (i == env->n)
		env->n++;
}

static struct dw_span span_of(const char *s)
{
	return (struct dw_span){ .p = (const uint8_t *)s, .n = strlen(s) };
}

static void env_build(struct env *env, const struct dw_agentp_exec *e, const struct dw_account *a, const char *cwd)
{
	const struct {
		const char *key, *value;
	} base[] = {
		{ "HOME", a->home },      { "USER", a->name },   { "LOGNAME", a->name }, { "SHELL", a->shell },
		{ "PATH", PATH_DEFAULT }, { "LANG", "C.UTF-8" }, { "PWD", cwd },         { "TERM", "xterm-256color" },
	};
	_Static_assert(DW_COUNT(base) == ENV_BASE_MAX, "room for the base environment");
	for (size_t i = 0; i < DW_COUNT(base) - !e->cols; i++)
		env_put(env, span_of(base[i].key), span_of(base[i].value));
	for (unsigned i = 0; i < e->env_n; i++)
		env_put(env, e->env[i].key, e->env[i].value);
	env->v[env->n] = NULL;
}

/* Standard streams on 0 to 2, the status pipe on 3, nothing else. The sources are all above 3 (main.c sees to it). */
static void take_fds(const struct dw_spawn *s)
{
	if (dup2(s->in, 0) < 0 || dup2(s->out, 1) < 0 || dup2(s->err, 2) < 0 ||
	    dup3(s->status, STATUS_FD, O_CLOEXEC) < 0)
		_exit(127);
	dw_close_from(STATUS_FD + 1);
}

/* The terminal becomes the session's own, and the account's alone: its group is the one that devpts gives it. */
static void give_tty(const struct dw_account *a)
{
	struct dw_fault f;
	if (ioctl(0, TIOCSCTTY, 0) == 0 && fchown(0, a->uid, (gid_t)-1) == 0 && fchmod(0, 0620) == 0)
		return;
	dw_fault_errno(&f, errno, "the terminal could not be set up");
	fail(&f);
}

/* A pipe belongs to its maker, so without this the command could not open its own /dev/stdout. */
static void give_streams(const struct dw_agentp_exec *e, const struct dw_account *a)
{
	if (e->cols) {
		give_tty(a);
		return;
	}
	for (int fd = e->with_stdin ? 0 : 1; fd <= 2; fd++)
		DW_IGNORE(fchown(fd, a->uid, a->gid)); /* only that convenience would be missing */
}

static void set_limits(void)
{
	/* One byte, not none: with 1 alone the kernel also leaves the host's core dump program alone (core(5)). */
	const struct rlimit no_core = { 1, 1 };
	DW_IGNORE(setrlimit(RLIMIT_CORE, &no_core)); /* fails only when there is no room for 1, or it is so already */
	DW_IGNORE(setrlimit(RLIMIT_NOFILE, &dw_agent.nofile));
}

/* Returns where the command runs: what was asked for, or the home, or "/" for an account whose home is not there. */
static const char *enter_cwd(const struct dw_agentp_exec *e, const struct dw_account *a)
{
	static char cwd[PATH_MAX];
	if (e->cwd.n == 0) {
		if (chdir(a->home) == 0)
			return a->home;
		return chdir("/") == 0 ? "/" : "";
	}
	struct dw_fault f;
	int n = snprintf(cwd, sizeof(cwd), "%.*s", (int)e->cwd.n, (const char *)e->cwd.p);
	if (n < 0 || (size_t)n >= sizeof(cwd)) {
		dw_fault_set(&f, ENAMETOOLONG, "the working directory's path is longer than %d bytes", PATH_MAX - 1);
		fail(&f);
	}
	if (cwd[0] != '/' && e->program) {
		n = snprintf(cwd, sizeof(cwd), "%s/%.*s", a->home, (int)e->cwd.n, (const char *)e->cwd.p);
		if (n < 0 || (size_t)n >= sizeof(cwd)) {
			dw_fault_set(&f, ENAMETOOLONG, "the working directory's path is longer than %d bytes",
				     PATH_MAX - 1);
			fail(&f);
		}
	}
	if (cwd[0] != '/') {
		dw_fault_set(&f, EINVAL, "the working directory \"%s\" is not an absolute path", cwd);
		fail(&f);
	}
	if (chdir(cwd) != 0) {
		dw_fault_errno(&f, errno, "the working directory \"%s\" can not be entered", cwd);
		fail(&f);
	}
	return cwd;
}

static _Noreturn void run_shell(const struct dw_agentp_exec *e, struct env *env)
{
	struct dw_fault f;
	char *cmd = e->cmd.n ? strndup((const char *)e->cmd.p, e->cmd.n) : NULL;
	if (e->cmd.n && !cmd) {
		dw_fault_errno(&f, ENOMEM, "the command could not be started");
		fail(&f);
	}
	/* The dash in front is what makes a login shell. */
	char bash[] = "-bash", sh[] = "-sh", opt_c[] = "-c", dashes[] = "--";
	char *argv[] = { bash + (cmd != NULL), NULL, NULL, NULL, NULL };
	if (cmd) {
		/* A command that looks like an option is still a command. */
		const bool odd = cmd[0] == '-' || cmd[0] == '+';
		argv[1] = opt_c;
		argv[2] = odd ? dashes : cmd;
		argv[3] = odd ? cmd : NULL;
	}
	execve("/bin/bash", argv, env->v);
	if (errno == ENOENT) {
		argv[0] = sh + (cmd != NULL);
		execve("/bin/sh", argv, env->v);
	}
	if (errno == E2BIG)
		dw_fault_errno(&f, E2BIG, "the command or its environment is too long");
	else
		dw_fault_errno(&f, errno, "the shell could not be started");
	fail(&f);
}

static _Noreturn void run_program(const struct dw_agentp_exec *e, struct env *env)
{
	static char *argv[DW_AGENTP_ARG_MAX + 2];
	struct dw_fault f;
	bool ok = true;
	argv[0] = strndup((const char *)e->cmd.p, e->cmd.n);
	for (unsigned i = 0; i < e->arg_n; i++) {
		argv[i + 1] = strndup(e->arg[i].n ? (const char *)e->arg[i].p : "", e->arg[i].n);
		ok &= argv[i + 1] != NULL;
	}
	if (!ok || !argv[0]) {
		dw_fault_errno(&f, ENOMEM, "the command could not be started");
		fail(&f);
	}
	environ = env->v; /* where PATH is looked for */
	execvp(argv[0], argv);
	dw_fault_errno(&f, errno, "\"%.200s\" could not be started", argv[0]);
	fail(&f);
}

void dw_spawn_child(const struct dw_spawn *s)
{
	static struct dw_account account;
	static struct env env;
	struct dw_fault f;
	setsid(); /* can not fail in a process that was just forked */
	take_fds(s);
	dw_child_init();
	set_limits();
	if (dw_account_find(s->exec->user, &account, &f) != 0)
		fail(&f);
	give_streams(s->exec, &account);
	if (dw_account_become(&account, &f) != 0)
		fail(&f);
	umask(022);
	const char *cwd = enter_cwd(s->exec, &account);
	env_build(&env, s->exec, &account, cwd);
	if (s->exec->program)
		run_program(s->exec, &env);
	run_shell(s->exec, &env);
}
