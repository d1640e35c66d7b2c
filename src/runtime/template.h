/* SPDX-License-Identifier: Apache-2.0 */
/* The templates of this host and the read-only layers that sandboxes stand on. */
#pragma once

#include <stdbool.h>

#include "core/err.h"
#include "runtime/failpoint.h"

#define DW_LOWER_MAX 2 /* the root, and /usr on top of it */

struct dw_templates {
	int root_fd, usr_fd; /* O_PATH, in the keeper's mount namespace */
	int dev_fd;          /* a small file system with the device nodes of every sandbox */
	bool idmap_root, idmap_usr, idmap_dev;
};

/*
 * Builds what is below data_dir/templates. The caller is in a mount namespace of its own: the device file system is mounted there.
 * Says on stderr when a file system has no idmapped mounts. 0, or -1 with err.
 */
int DW_MUST_USE dw_templates_open(const char *data_dir, struct dw_templates *ret, struct dw_err *err);
void dw_templates_close(struct dw_templates *t);

/* 0, or -1 with unknown_template or template_unavailable. */
int DW_MUST_USE dw_template_check(const char *name, struct dw_err *err);

/*
 * Makes a detached mount read-only and its files the namespace's users' - unless its file system has no idmapped mounts: then *ret_foreign,
 * and stderr hears of it once. 0 or -errno.
 */
int DW_MUST_USE dw_template_dress(const struct dw_templates *t, int mount_fd, int userns_fd, bool *ret_foreign);

/* Fresh mounts of the layers for one user namespace. Returns how many; or -errno with the step, and nothing open. */
int DW_MUST_USE dw_template_lowers(const struct dw_templates *t, int userns_fd, int ret_fds[static DW_LOWER_MAX],
				   enum dw_step *ret_step);
