/* SPDX-License-Identifier: Apache-2.0 */
/* Directories that a sandbox gets beside its template's, put in place by the parked process. */
#pragma once

#include "runtime/keeper_proto.h"

/*
 * root: the sandbox's file system, put together, without /dev and /proc. mount_fd: a detached read-only mount of what is attached; it
 * stays the caller's. Links in the path lead as they do inside. 0 or -errno.
 */
int DW_MUST_USE dw_attach_enter(const char *root, const struct dw_attach_rec *a, int mount_fd);
