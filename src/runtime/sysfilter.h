/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls that a sandbox may use. Compiled once, loaded by each sandbox before its agent runs. */
#pragma once

#include <linux/filter.h>
#include <stdint.h>

#include "core/err.h"

/* Owned by the caller: free(ret->filter). */
int DW_MUST_USE dw_seccomp_compile(struct sock_fprog *ret, struct dw_err *err);
