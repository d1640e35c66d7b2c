/* SPDX-License-Identifier: Apache-2.0 */
/* Paths inside a sandbox as E2B's clients write them. Pure. */
#pragma once

#include "core/err.h"
#include "daemon/bounds.h"

#define E2B_PATH_SIZE (DAEMON_PATH_MAX + 1)

/*
 * The path as the agent takes it: absolute, or relative to the account's home, which "" and "~" are, and in which "~/x" is. "." and ".."
 * are resolved by the text alone, as those clients expect. INVALID "invalid_path" when it is too long, or leads out of the
 * home by "..", which only an absolute path may.
 */
int DW_MUST_USE e2b_path(const char *path, const char *field, char ret[static E2B_PATH_SIZE], struct dw_err *err);
