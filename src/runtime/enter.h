/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a parked process: from its clone to its last act, becoming the agent. */
#pragma once

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/macros.h"
#include "runtime/cgroup.h"

/* What the builder hands to its child by the copy of its memory. All descriptors are open in the child. */
struct dw_parked {
	uint32_t slot;
	int control_fd;                 /* to the keeper, later to the daemon */
	int sync_fd;                    /* to the builder: what is set up outside */
	int agent_fd;                   /* the sealed program */
	int procs_fds[DW_CGROUP_TREES]; /* cgroups (v1) to move itself into */
	int procs_n;
	const struct sock_fprog *filter, *builder_filter;
	bool no_ipv6;
};

/* Builder to child on the sync socket; MAPPED carries the device file system. */
#define DW_SYNC_MAPPED 'm'
#define DW_SYNC_LINKED 'l'

_Noreturn void dw_parked_main(struct dw_parked *p);
