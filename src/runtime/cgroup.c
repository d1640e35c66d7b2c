/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "runtime/cgroup_find.h"

/* The scheduler's default period; a quota of one percent of it is the kernel's minimum of 1 ms. */
#define CPU_PERIOD_US 100000u

static int write_at(int dir_fd, const char *path, const char *text)
{
	dw_autoclose int fd = openat(dir_fd, path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	size_t n = strlen(text);
	ssize_t w = write(fd, text, n);
	if (w < 0)
		return -errno;
	return (size_t)w == n ? 0 : -EIO;
}

static int write_number(int dir_fd, uint32_t slot, const char *file, uint64_t value)
{
	char path[80], text[24];
	snprintf(path, sizeof(path), "s%" PRIu32 "/%s", slot, file);
	snprintf(text, sizeof(text), "%" PRIu64, value);
	return write_at(dir_fd, path, text);
}

/* Moves one process of ours out of the way, because a v2 cgroup with controllers for its children may hold none itself. */
static int move_aside(int host_fd, const char *leaf, pid_t pid)
{
	char path[128], text[16];
	snprintf(path, sizeof(path), "%s/cgroup.procs", leaf);
	snprintf(text, sizeof(text), "%d", pid);
	return write_at(host_fd, path, text);
}

static int enable_v2(struct dw_cgroup_tree *t, const char *name)
{
	char want[64] = "", path[128];
	for (unsigned c = 0; c < DW_CGROUP_LIMITS; c++) {
		if (t->controls & (1u << c))
			snprintf(want + strlen(want), sizeof(want) - strlen(want), "+%s ", dw_cgroup_control_names[c]);
	}
	if (!want[0])
		return 0; /* only for kill and freeze, on a hybrid host */
	int r = write_at(t->host_fd, "cgroup.subtree_control", want);
	if (r == -EBUSY) {
		const char *leaf = "declaw-server";
		if (mkdirat(t->host_fd, leaf, 0755) < 0 && errno != EEXIST)
			return -errno;
		if ((r = move_aside(t->host_fd, leaf, getppid())) < 0 ||
		    (r = move_aside(t->host_fd, leaf, getpid())) < 0)
			return r;
		r = write_at(t->host_fd, "cgroup.subtree_control", want);
	}
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/cgroup.subtree_control", name);
	return write_at(t->host_fd, path, want);
}

/* Makes our parent cgroup and locks it for as long as this process (or the builder) lives. */
static int make_parent(struct dw_cgroup_tree *t, const char *name)
{
	if (mkdirat(t->host_fd, name, 0755) < 0)
		return -errno;
	t->parent_fd = openat(t->host_fd, name, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	return t->parent_fd < 0 || flock(t->parent_fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
}

static int open_tree_parent(struct dw_cgroup_tree *t, const char *name)
{
	/* One server at a time sweeps and makes its own: between mkdir and lock another would take it for a dead one's. */
	if (flock(t->host_fd, LOCK_EX) < 0)
		return -errno;
	dw_cgroups_sweep(t->host_fd);
	int r = make_parent(t, name);
	flock(t->host_fd, LOCK_UN);
	return r < 0 || !t->v2 ? r : enable_v2(t, name);
}

int dw_cgroups_open(struct dw_cgroups *ret, struct dw_err *err)
{
	struct dw_cgroups cg = { 0 };
	if (dw_cgroups_find(&cg, err) < 0)
		return -1;
	for (unsigned i = 0; i < cg.n; i++) {
		int r = open_tree_parent(&cg.trees[i], cg.name);
		if (r < 0) {
			dw_cgroups_close(&cg);
			if (r == -EBUSY)
				return dw_err_set(
					err, DW_ERR_INTERNAL, "cgroup_not_delegated",
					"the server's cgroup holds other processes, so it cannot be divided; start "
					"the server as a systemd service with Delegate=yes");
			return dw_err_errno(err, -r, "cannot make the cgroup %s", cg.name);
		}
	}
	*ret = cg;
	return 0;
}

void dw_cgroups_close(struct dw_cgroups *cg)
{
	for (unsigned i = 0; i < cg->n; i++) {
		struct dw_cgroup_tree *t = &cg->trees[i];
		if (t->parent_fd >= 0)
			close(t->parent_fd);
		unlinkat(t->host_fd, cg->name, AT_REMOVEDIR);
		close(t->host_fd);
	}
	cg->n = 0;
}

int dw_cgroups_make(const struct dw_cgroups *cg, uint32_t slot)
{
	char dir[16];
	snprintf(dir, sizeof(dir), "s%" PRIu32, slot);
	for (unsigned i = 0; i < cg->n; i++) {
		if (mkdirat(cg->trees[i].parent_fd, dir, 0755) == 0)
			continue;
		int e = errno;
		while (i-- > 0)
			unlinkat(cg->trees[i].parent_fd, dir, AT_REMOVEDIR);
		return -e;
	}
	return 0;
}

int dw_cgroups_v2_fd(const struct dw_cgroups *cg, uint32_t slot)
{
	char dir[16];
	snprintf(dir, sizeof(dir), "s%" PRIu32, slot);
	for (unsigned i = 0; i < cg->n; i++) {
		if (!cg->trees[i].v2)
			continue;
		int fd = openat(cg->trees[i].parent_fd, dir, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
		return fd < 0 ? -errno : fd;
	}
	return -ENOENT;
}

int dw_cgroups_v1_procs(const struct dw_cgroups *cg, uint32_t slot, int ret_fds[static DW_CGROUP_TREES])
{
	char path[40];
	int n = 0;
	snprintf(path, sizeof(path), "s%" PRIu32 "/cgroup.procs", slot);
	for (unsigned i = 0; i < cg->n; i++) {
		if (cg->trees[i].v2)
			continue;
		int fd = openat(cg->trees[i].parent_fd, path, O_WRONLY | O_CLOEXEC);
		if (fd < 0) {
			int e = errno;
			while (n-- > 0)
				close(ret_fds[n]);
			return -e;
		}
		ret_fds[n++] = fd;
	}
	return n;
}

static int limit_memory(const struct dw_cgroup_tree *t, uint32_t slot, uint32_t memory_mb)
{
	uint64_t bytes = (uint64_t)memory_mb << 20;
	int r = write_number(t->parent_fd, slot, t->v2 ? "memory.max" : "memory.limit_in_bytes", bytes);
	if (r < 0)
		return r;
	/* Swap off, where the kernel can: on v1 "memory and swap together" may not exceed memory alone. */
	if (t->v2)
		r = write_number(t->parent_fd, slot, "memory.swap.max", 0);
	else
		r = write_number(t->parent_fd, slot, "memory.memsw.limit_in_bytes", bytes);
	return r == -ENOENT ? 0 : r;
}

static int limit_cpu(const struct dw_cgroup_tree *t, uint32_t slot, uint32_t percent)
{
	uint64_t quota = (uint64_t)percent * CPU_PERIOD_US / 100;
	if (!t->v2)
		return write_number(t->parent_fd, slot, "cpu.cfs_quota_us",
				    quota); /* the period is 100 ms by default */
	char path[40], text[48];
	snprintf(path, sizeof(path), "s%" PRIu32 "/cpu.max", slot);
	snprintf(text, sizeof(text), "%" PRIu64 " %u", quota, CPU_PERIOD_US);
	return write_at(t->parent_fd, path, text);
}

int dw_cgroups_limit(const struct dw_cgroups *cg, uint32_t slot, const struct dw_limits *limits)
{
	for (unsigned i = 0; i < cg->n; i++) {
		const struct dw_cgroup_tree *t = &cg->trees[i];
		int r = 0;
		if (t->controls & DW_CGROUP_MEMORY)
			r = limit_memory(t, slot, limits->memory_mb);
		if (r == 0 && (t->controls & DW_CGROUP_PIDS))
			r = write_number(t->parent_fd, slot, "pids.max", limits->pids_max);
		if (r == 0 && (t->controls & DW_CGROUP_CPU))
			r = limit_cpu(t, slot, limits->cpu_percent);
		if (r < 0)
			return r;
	}
	return 0;
}

int dw_cgroups_remove(const struct dw_cgroups *cg, uint32_t slot)
{
	char dir[16];
	int r = 0;
	snprintf(dir, sizeof(dir), "s%" PRIu32, slot);
	for (unsigned i = 0; i < cg->n; i++) {
		if (unlinkat(cg->trees[i].parent_fd, dir, AT_REMOVEDIR) < 0 && errno != ENOENT)
			r = -EBUSY;
	}
	return r;
}
