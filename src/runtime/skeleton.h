/* SPDX-License-Identifier: Apache-2.0 */
/* The root directory of the templates that are made of this host's /usr: everything but /usr itself. */
#pragma once

#include "core/err.h"

/*
 * Builds <dir_fd>/<name> anew: complete beside its final name, then renamed over it. Only what every user of the host may read is
 * copied, and of that only what programs in /usr need. 0, or -1 with err.
 */
int DW_MUST_USE dw_skeleton_build(int dir_fd, const char *name, struct dw_err *err);
