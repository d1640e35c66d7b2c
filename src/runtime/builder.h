/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The builder: a process beside the keeper that does what may wait for the kernel (namespaces, links, cgroup directories), so that
 * the keeper never does. It lives in the gate's network namespace, which it makes. Its children are the keeper's children.
 */
#pragma once

#include <linux/filter.h>
#include <stdbool.h>

#include "runtime/cgroup.h"
#include "runtime/template.h"

struct dw_builder_config {
	int sock;     /* requests in, answers out; the end of file ends the builder */
	int agent_fd; /* the sealed program */
	const struct dw_cgroups *cgroups;
	const struct dw_templates *templates;
	const struct sock_fprog *filter, *builder_filter;
	bool no_ipv6;
};

/* First record: a dw_builder_rep with the gate namespace's descriptor, or with errnum. Returns at the end of file. */
void dw_builder_main(const struct dw_builder_config *config);
