/* SPDX-License-Identifier: Apache-2.0 */
/* What exec and connect share: whose the process is, where it runs, with what, and for how long. */
#pragma once

#include "cli/call.h"

/* The first member of their jobs. */
struct process {
	struct call call;
	const char *user, *cwd; /* NULL: the server's default */
	long timeout;           /* seconds; 0: as long as the sandbox */
	json_t *env;            /* NULL: none */
};

/* For options: to is a struct process. */
int process_set_user(void *to, const char *value, struct dw_err *err);
int process_set_cwd(void *to, const char *value, struct dw_err *err);
int process_set_timeout(void *to, const char *value, struct dw_err *err);
int process_add_env(void *to, const char *value, struct dw_err *err);

/* -1 unless what was given can be sent and the first word is an id. job: a struct process. */
int process_check(void *job, struct dw_err *err);
