/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/reap.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "agent/op.h"

/*
 * The kernel's own limit for process ids (PID_MAX_LIMIT); a bit for each is half a megabyte that is mostly never
 * touched.
 */
#define PID_LIMIT (1u << 22)
#define PROCS_MAX 32768u
/*
 * Each pass finds what was forked during the one before; a chain that outruns this many is left to the sandbox's
 * end.
 */
#define KILL_PASSES 8

struct proc {
	pid_t pid, parent, session;
};

static struct proc procs[PROCS_MAX];
static uint8_t marked[PID_LIMIT / 8];

void dw_reap(void)
{
	int status;
	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
		dw_op_reaped(pid, status);
}

static bool mark_get(pid_t pid)
{
	return pid > 0 && (unsigned)pid < PID_LIMIT && marked[pid / 8] & 1u << (pid % 8);
}

static void mark_set(pid_t pid, bool on)
{
	uint8_t bit = (uint8_t)(1u << (pid % 8));
	marked[pid / 8] = (uint8_t)(on ? marked[pid / 8] | bit : marked[pid / 8] & ~bit);
}

static pid_t pid_from_name(const char *name)
{
	int v;
	return dw_text_int(&name, &v) && !*name && v > 0 && (unsigned)v < PID_LIMIT ? v : 0;
}

/* False for one that is gone or a zombie: there is nothing to kill. */
static bool proc_read(int proc_fd, pid_t pid, struct proc *ret)
{
	char path[32], text[512];
	snprintf(path, sizeof(path), "%d/stat", pid);
	dw_autoclose int fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = '\0';
	/* The name is the process's own choice and may hold anything, so what counts starts behind its last ')'. */
	const char *p = strrchr(text, ')');
	int parent, group, session;
	if (!p || p[1] != ' ' || !p[2] || p[2] == 'Z' || p[2] == 'X')
		return false;
	p += 3;
	if (!dw_text_int(&p, &parent) || !dw_text_int(&p, &group) || !dw_text_int(&p, &session))
		return false;
	*ret = (struct proc){ .pid = pid, .parent = parent, .session = session };
	return true;
}

static size_t procs_list(void)
{
	DIR *d = opendir("/proc");
	if (!d)
		return 0;
	size_t n = 0;
	for (struct dirent *e; n < PROCS_MAX && (e = readdir(d));) {
		pid_t pid = pid_from_name(e->d_name);
		if (pid > 0 && proc_read(dirfd(d), pid, &procs[n]))
			n++;
	}
	closedir(d);
	return n;
}

/* One look at all processes; returns how many were killed. */
static size_t kill_pass(pid_t main_pid)
{
	size_t n = procs_list(), killed = 0;
	pid_t self = getpid();
	mark_set(main_pid, true);
	/* Parents mostly come before their children, so that this settles in one or two rounds. */
	for (bool more = true; more;) {
		more = false;
		for (size_t i = 0; i < n; i++) {
			const struct proc *p = &procs[i];
			if (mark_get(p->pid) || p->pid == self || (p->session != main_pid && !mark_get(p->parent)))
				continue;
			mark_set(p->pid, true);
			more = true;
		}
	}
	for (size_t i = 0; i < n; i++)
		if (mark_get(procs[i].pid) && kill(procs[i].pid, SIGKILL) == 0)
			killed++;
	for (size_t i = 0; i < n; i++)
		mark_set(procs[i].pid, false);
	mark_set(main_pid, false);
	return killed;
}

void dw_kill_command(pid_t main_pid)
{
	if (main_pid <= 1 || (unsigned)main_pid >= PID_LIMIT)
		return;
	/* The list before the group: once parents are dead, their children's chain to the command is lost. */
	size_t killed = kill_pass(main_pid);
	kill(main_pid, SIGKILL);
	kill(-main_pid, SIGKILL);
	for (unsigned i = 1; i < KILL_PASSES && killed; i++)
		killed = kill_pass(main_pid);
}
