/* SPDX-License-Identifier: Apache-2.0 */
/* User namespaces and mounts that show files with a namespace's own numbers. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/macros.h"

/* Maps 0..65535 inside to uid_base.. outside, users and groups. 0 or -errno. */
int DW_MUST_USE dw_userns_map(pid_t pid, uint32_t uid_base);

/* A user namespace that no process is in, mapped as above; a descriptor or -errno. */
int DW_MUST_USE dw_userns_make(uint32_t uid_base);

/*
 * A detached, read-only copy of the mount that tree_fd is on, rooted at tree_fd. With userns_fd >= 0 its files belong to
 * that namespace's users. A descriptor or -errno (EINVAL, EPERM, EOPNOTSUPP...: the file system cannot). dev_ok keeps device nodes usable.
 */
int DW_MUST_USE dw_mount_clone(int tree_fd, int userns_fd, bool dev_ok);
/* The same of a detached copy that is there already: what a process of another mount namespace made. 0 or -errno, then it is as it was. */
int DW_MUST_USE dw_mount_dress(int mount_fd, int userns_fd, bool dev_ok);
