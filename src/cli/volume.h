/* SPDX-License-Identifier: Apache-2.0 */
/* declaw volume: what its files share. */
#pragma once

#include "cli/call.h"
#include "cli/progress.h"

struct volume_job {
	struct call call;
	const char *name;
	bool quiet;
	struct progress progress;
};

int volume_set_name(void *to, const char *value, struct dw_err *err);
int volume_set_quiet(void *to, const char *value, struct dw_err *err);

/* The answer of a request that has made a volume: its id, or all of it as JSON, and what was left out on standard error. Takes it. */
int volume_made(const struct volume_job *j, json_t *answer_take, struct dw_err *err);

/* volume_send.c */
int volume_create(int argc, char *const *argv);
int volume_download(int argc, char *const *argv);

/* volume_pack.c: a folder's files and folders as a gzipped tar in a file without a name. */
int DW_MUST_USE volume_pack(const char *folder, int *ret_fd, int64_t *ret_size, struct dw_err *err);
