/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a directory of a sandbox into a volume's archive, through the sandbox's agent: what it says may be a lie, and the archive is unpacked as
 * one from outside.
 */
#pragma once

#include "daemon/volumes.h"

struct volume_take_from {
	struct manager *manager;
	const char *sandbox;
	const char *path;       /* absolute, as seen from inside */
	int stop_fd, client_fd; /* whoever has asked: it ends with them */
	uint64_t max_bytes;
};

/*
 * Files and directories, as root sees them. *ret_left_out: links and other things that are neither. NOT_FOUND, GONE, CONFLICT as any file
 * operation; INVALID when path is no directory; TOO_LARGE; CONFLICT "file_changed" when a file became shorter meanwhile; TIMEOUT.
 */
int DW_MUST_USE volume_take(const struct volume_take_from *from, struct volume_draft *d, uint64_t *ret_left_out,
			    struct dw_err *err);

/* Whether path is dir or below it, whatever it has of slashes and dots. Pure. */
bool volume_take_is_below(const char *path, const char *dir);
