/* SPDX-License-Identifier: Apache-2.0 */
/* A process table with one sandbox; the test plays its agent. */
#pragma once

#include "support.h"

#include "daemon/manager_internal.h"
#include "daemon/proc_internal.h"

struct fixture {
	struct manager m;
	struct procs *procs;
	int control, stop_fd;
};

#define BYTES(s) s, sizeof(s) - 1
#define STARTED        \
	"\0\0\0\4\x20" \
	"\0\0\0\x09"
#define EXIT_SEVEN     \
	"\0\0\0\5\x23" \
	"\0\0\0\7\0"

int setup(void **state);
int teardown(void **state);
int start_command(struct fixture *f, enum proc_kind kind, const char *cmd, const json_t *envs, const char *bytes,
		  size_t n, struct proc **ret, int *ret_fd, struct dw_err *err);
int start(struct fixture *f, enum proc_kind kind, const char *bytes, size_t n, struct proc **ret, int *ret_fd,
	  struct dw_err *err);
struct proc_end wait_end(struct proc *p);
