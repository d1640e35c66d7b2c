/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls that a sandbox may use. Compiled once, loaded by each sandbox before its agent runs. */
#pragma once

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"

/* Owned by the caller: free(ret->filter). */
/* builder: the wider one of a sandbox that builds images, which also mounts and makes namespaces below its own. */
int DW_MUST_USE dw_seccomp_compile(bool builder, struct sock_fprog *ret, struct dw_err *err);
