/* SPDX-License-Identifier: Apache-2.0 */
/* Where the host has its cgroup hierarchies, and what dead servers left in them. */
#pragma once

#include "runtime/cgroup.h"

#define DW_CGROUP_CONTROLS 5
/* Of these the first three are limits, which every host must give. */
#define DW_CGROUP_LIMITS 3
enum dw_cgroup_control {
	DW_CGROUP_MEMORY = 1u << 0,
	DW_CGROUP_PIDS = 1u << 1,
	DW_CGROUP_CPU = 1u << 2,
	/* v2 has these two in its core; a host without v2 may have them as hierarchies of their own. */
	DW_CGROUP_CPUACCT = 1u << 3,
	DW_CGROUP_FREEZER = 1u << 4,
};
extern const char *const dw_cgroup_control_names[DW_CGROUP_CONTROLS]; /* by bit number */

/* Opens the caller's own cgroup in each hierarchy that is needed and picks our parent's name; makes nothing. */
int DW_MUST_USE dw_cgroups_find(struct dw_cgroups *ret, struct dw_err *err);

/* Kills and removes what servers that no longer run left below host_fd. What cannot be removed is left alone. */
void dw_cgroups_sweep(int host_fd);
