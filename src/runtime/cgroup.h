/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control groups, v1, v2 and both at once. One parent per server and hierarchy below the server's own cgroup, one child
 * per sandbox. Limits: memory, swap off, processes, CPU quota. The same cgroups say what is used, and freeze.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"

#define DW_CGROUP_TREES 5

struct dw_cgroup_tree {
	int host_fd;       /* the server's own cgroup */
	int parent_fd;     /* our parent below it */
	unsigned controls; /* enum dw_cgroup_control bits */
	bool v2;
};

struct dw_cgroups {
	char name[48]; /* of our parent: "declaw-<pid>-<random>" */
	struct dw_cgroup_tree trees[DW_CGROUP_TREES];
	unsigned n;
};

struct dw_limits {
	uint32_t memory_mb, pids_max, cpu_percent;
};

/* Finds the hierarchies, removes parents of dead servers, makes ours. 0, or -1 with err and nothing left. */
int DW_MUST_USE dw_cgroups_open(struct dw_cgroups *ret, struct dw_err *err);
/* Removes our parents (children must be gone) and closes. */
void dw_cgroups_close(struct dw_cgroups *cg);

/* One child per hierarchy. 0 or -errno with nothing left. */
int DW_MUST_USE dw_cgroups_make(const struct dw_cgroups *cg, uint32_t slot);
/* The child's directory in the v2 hierarchy, for CLONE_INTO_CGROUP; -ENOENT when there is none. */
int DW_MUST_USE dw_cgroups_v2_fd(const struct dw_cgroups *cg, uint32_t slot);
/* Opens cgroup.procs of the v1 children; the process that writes "0" moves itself. Returns how many, or -errno. */
int DW_MUST_USE dw_cgroups_v1_procs(const struct dw_cgroups *cg, uint32_t slot, int ret_fds[static DW_CGROUP_TREES]);
int DW_MUST_USE dw_cgroups_limit(const struct dw_cgroups *cg, uint32_t slot, const struct dw_limits *limits);

/*
 * cgroup_use.c: halts every process of the child, or lets them go on; both take effect a moment later. 0 or -errno; -EOPNOTSUPP: this
 * host can not.
 */
int DW_MUST_USE dw_cgroups_freeze(const struct dw_cgroups *cg, uint32_t slot, bool frozen);
/* 1: each process of it has halted; 0: not yet, or not asked to; or -errno. */
int DW_MUST_USE dw_cgroups_frozen(const struct dw_cgroups *cg, uint32_t slot);
/* Whether what is frozen also holds back a SIGKILL until it is thawed (v1). */
bool dw_cgroups_frozen_survives(const struct dw_cgroups *cg);
/* CPU time since the child was made; 0 where the host does not count it. */
uint64_t dw_cgroups_cpu_us(const struct dw_cgroups *cg, uint32_t slot);
uint64_t dw_cgroups_memory_bytes(const struct dw_cgroups *cg, uint32_t slot);

/* 0 when nothing is left, -EBUSY while processes are still leaving. */
int DW_MUST_USE dw_cgroups_remove(const struct dw_cgroups *cg, uint32_t slot);
