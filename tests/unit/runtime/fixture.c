/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct fixture the_fixture;

void need_root(void)
{
	if (geteuid() == 0)
		return;
	printf("skipped: these tests make namespaces and cgroups, which needs root\n");
	exit(77);
}

void fixture_start(struct fixture *f)
{
	struct dw_err err = { 0 };
	const struct dw_runtime_config c = {
		.data_dir = f->dir, .agent_path = STUB_AGENT, .pool = 2, .max_sandboxes = 8
	};
	if (dw_runtime_start(&c, &f->rt, &err) < 0)
		fail_msg("start: %s", err.message);
	f->keeper = find_keeper(getpid());
	assert_true(f->keeper > 0);
	f->gate_fd = fcntl(dw_runtime_gate_netns_fd(f->rt), F_DUPFD_CLOEXEC, 3);
}

void fixture_fill(struct fixture *f)
{
	struct dw_err err = { 0 };
	if (dw_runtime_fill(f->rt, &err) < 0)
		fail_msg("fill: %s", err.message);
}

void fixture_stop(struct fixture *f)
{
	dw_runtime_stop(f->rt);
	f->rt = NULL;
	assert_int_equal(host_processes(f->keeper), 0);
	assert_int_equal(host_cgroups(f->keeper), 0);
	assert_int_equal(host_mounts(f->dir), 0);
	WAIT_FOR(gate_links(f->gate_fd) == 0);
	close(f->gate_fd);
	f->gate_fd = -1;
}

int fixture_setup(void **state)
{
	struct fixture *f = &the_fixture;
	*f = (struct fixture){ .gate_fd = -1 };
	snprintf(f->dir, sizeof(f->dir), "/tmp/declaw-test-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;
	if (f->rt)
		fixture_stop(f);
	return nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

struct dw_sandbox_spec fixture_spec(void)
{
	return (struct dw_sandbox_spec){
		.root_fd = -1,
		.layer_fd = -1,
		.template_name = "base",
		.hostname = "test-box",
		.memory_mb = 256,
		.pids_max = 64,
		.cpu_percent = 150,
		.disk_mb = 32,
	};
}

struct dw_sandbox_handle fixture_create(struct fixture *f)
{
	struct dw_err err = { 0 };
	struct dw_sandbox_handle h = { 0 };
	const struct dw_sandbox_spec spec = fixture_spec();
	if (dw_runtime_create(f->rt, &spec, &h, &err) < 0)
		fail_msg("create: %s", err.message);
	return h;
}

void fixture_destroy(struct fixture *f, struct dw_sandbox_handle *h)
{
	struct dw_err err = { 0 };
	if (dw_runtime_destroy(f->rt, h->slot, &err) < 0)
		fail_msg("destroy: %s", err.message);
	close(h->agent_fd);
	h->agent_fd = -1;
}

const char *fixture_ask(const struct dw_sandbox_handle *h, char op, const char *arg)
{
	static char answer[65536];
	char q[4096];
	int n = snprintf(q, sizeof(q), "%c%s", op, arg);
	if (send(h->agent_fd, q, (size_t)n, MSG_NOSIGNAL) != n)
		return "send failed";
	ssize_t r = recv(h->agent_fd, answer, sizeof(answer) - 1, 0);
	if (r <= 0)
		return "no answer";
	answer[r] = '\0';
	return answer;
}

/* The file's beginning as text, in a static buffer; "" when there is none. */
static const char *slurp(const char *path)
{
	static char text[16384];
	text[0] = '\0';
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

unsigned host_processes(pid_t keeper)
{
	char mark[32];
	unsigned count = 0;
	snprintf(mark, sizeof(mark), "/declaw-%d-", keeper);
	DIR *d = opendir("/proc");
	for (const struct dirent *e; d && (e = readdir(d));) {
		char path[300];
		snprintf(path, sizeof(path), "/proc/%s/cgroup", e->d_name);
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && strstr(slurp(path), mark))
			count++;
	}
	if (d)
		closedir(d);
	return count;
}

static char cgroup_mark[32];
static unsigned cgroup_count;

static int count_cgroup(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	if (flag == FTW_D && strstr(path, cgroup_mark))
		cgroup_count++;
	return 0;
}

unsigned host_cgroups(pid_t keeper)
{
	snprintf(cgroup_mark, sizeof(cgroup_mark), "/declaw-%d-", keeper);
	cgroup_count = 0;
	nftw("/sys/fs/cgroup", count_cgroup, 16, FTW_PHYS);
	return cgroup_count;
}

unsigned host_mounts(const char *dir)
{
	unsigned count = 0;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[4096];
	while (f && fgets(line, sizeof(line), f))
		count += strstr(line, dir) != NULL;
	if (f)
		fclose(f);
	return count;
}

unsigned gate_links(int gate_fd)
{
	int status = 0;
	pid_t pid = fork(); /* a namespace cannot be left again without a handle on the old one */
	if (pid == 0) {
		unsigned n = 0;
		if (setns(gate_fd, CLONE_NEWNET) < 0)
			_exit(255);
		struct if_nameindex *all = if_nameindex();
		for (struct if_nameindex *i = all; i && i->if_index; i++)
			n += i->if_name[0] == 'g';
		_exit((int)n);
	}
	waitpid(pid, &status, 0);
	return (unsigned)WEXITSTATUS(status);
}

pid_t find_keeper(pid_t parent)
{
	pid_t found = 0;
	DIR *d = opendir("/proc");
	for (const struct dirent *e; d && !found && (e = readdir(d));) {
		char path[300];
		int pid, ppid;
		snprintf(path, sizeof(path), "/proc/%s/stat", e->d_name);
		if (sscanf(slurp(path), "%d (declaw-keeper) %*c %d", &pid, &ppid) == 2 && ppid == parent)
			found = pid;
	}
	if (d)
		closedir(d);
	return found;
}
