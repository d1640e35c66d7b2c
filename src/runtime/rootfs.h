/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sandbox's file systems, made by the parked process in its own mount namespace.
 *
 * Made ahead: a tmpfs "stage" that becomes the root, so that the host's files are out of reach before anything is asked for; in it
 * /dev, /proc with its masks, and empty directories for what follows. On request: the layers, two overlays, the moves, and a
 * second pivot into the result. The stage stays behind as the place of the overlays' upper directories, in no mount table.
 */
#pragma once

#include <stdint.h>

#include "runtime/failpoint.h"
#include "runtime/keeper_proto.h"

/* stage_fd: a directory of the host to mount over. dev_fd: a detached mount, consumed. 0, or -errno and *ret_step. */
int DW_MUST_USE dw_rootfs_prepare(int stage_fd, int dev_fd, enum dw_step *ret_step);

/* fds: as struct dw_child_go says, so many as dw_go_fds says. */
int DW_MUST_USE dw_rootfs_enter(const struct dw_child_go *go, const int *fds, enum dw_step *ret_step);
