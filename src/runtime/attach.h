/* SPDX-License-Identifier: Apache-2.0 */
/* Directories that a sandbox gets beside its template's, put in place by the parked process. */
#pragma once

#include "runtime/keeper_proto.h"

/*
 * What is attached, behind a file system of its own that has no writable layer: a sandbox that may mount can make a mount writable, but not
 * this one. layer: where the mount can be put, out of the sandbox's sight later. A descriptor like mount_fd, or -errno.
 */
int DW_MUST_USE dw_attach_seal(int mount_fd, const char *layer);
/*
 * root: the sandbox's file system, put together, without /dev and /proc. mount_fd: a detached read-only mount of what is attached; it
 * stays the caller's. Links in the path lead as they do inside. 0 or -errno.
 */
int DW_MUST_USE dw_attach_enter(const char *root, const struct dw_attach_rec *a, int mount_fd);
