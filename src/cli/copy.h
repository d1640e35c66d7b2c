/* SPDX-License-Identifier: Apache-2.0 */
/* declaw files cp: what both directions share. */
#pragma once

#include <signal.h>

#include "cli/files.h"
#include "cli/progress.h"

#define COPY_DEPTH_MAX 100u /* folders in folders; a sandbox could go on for ever */

/* Names of folders that wait for their turn, over all levels: a sandbox may have listings as long as it likes. */
#define COPY_WAITING_MAX 200000u

struct copy {
	struct call call;
	const char *user;
	bool quiet;
	struct progress progress;
	uint64_t files, bytes;
	size_t waiting;             /* of COPY_WAITING_MAX */
	bool incomplete;            /* something was left out, and was told of */
	volatile sig_atomic_t stop; /* the number of the signal that asks for it */
};

/* To and from a sandbox; -1 with err. Each finds out itself whether it is one file or a folder. */
int copy_up(struct copy *c, const char *from, const struct place *to, struct dw_err *err);
int copy_down(struct copy *c, const struct place *from, const char *to, struct dw_err *err);

/* Tells that what is at path is left out; the copy goes on, and its exit code will say so. */
void copy_skip(struct copy *c, const char *path, const char *why);
/* Whether a refusal concerns one file alone, so that the rest of a folder can be copied. */
bool copy_is_local(const struct dw_err *err);
