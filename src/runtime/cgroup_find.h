/* SPDX-License-Identifier: Apache-2.0 */
/* Where the host has its cgroup hierarchies, and what dead servers left in them. */
#pragma once

#include "runtime/cgroup.h"

#define DW_CGROUP_CONTROLS 3
enum dw_cgroup_control {
	DW_CGROUP_MEMORY = 1u << 0,
	DW_CGROUP_PIDS = 1u << 1,
	DW_CGROUP_CPU = 1u << 2,
};
extern const char *const dw_cgroup_control_names[DW_CGROUP_CONTROLS]; /* by bit number */

/* Opens the caller's own cgroup in each hierarchy that is needed and picks our parent's name; makes nothing. */
int DW_MUST_USE dw_cgroups_find(struct dw_cgroups *ret, struct dw_err *err);

/* Kills and removes what servers that no longer run left below host_fd. What cannot be removed is left alone. */
void dw_cgroups_sweep(int host_fd);
