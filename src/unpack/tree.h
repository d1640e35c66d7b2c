/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes entries below the root. Every path is resolved with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, every last component is created anew
 * and never followed: what the archive made before can not send a later entry elsewhere, inside the root or out of it.
 */
#pragma once

#include "unpack/entry.h"

struct tree {
	enum unpack_mode mode;
	int root;
	/* The directory of the last entry: archives name one after the other what is in one directory. */
	int parent;
	char parent_path[UNPACK_PATH_MAX];
	uint64_t dirs_made; /* parents that the archive does not name, too */
	uint64_t dirs_max;
	uint64_t replaced_bytes, replaced_files; /* what later entries of the same name have taken away */
};

int DW_MUST_USE tree_open(struct tree *t, enum unpack_mode mode, uint64_t dirs_max, struct dw_err *err);
void tree_close(struct tree *t);

/*
 * 1 made, 0 dropped because an entry before it is in the way (a file where a directory is needed, a link among the parents, a full
 * directory where a file would go), -1 error.
 */
int DW_MUST_USE tree_dir(struct tree *t, const struct unpack_entry *e, struct dw_err *err);
int DW_MUST_USE tree_symlink(struct tree *t, const struct unpack_entry *e, const char *target, struct dw_err *err);
int DW_MUST_USE tree_hardlink(struct tree *t, const struct unpack_entry *e, struct dw_err *err);
int DW_MUST_USE tree_fifo(struct tree *t, const struct unpack_entry *e, struct dw_err *err);
/* 1: *ret_fd is open for writing, and tree_finish gives it owner and mode when it is full. */
int DW_MUST_USE tree_file(struct tree *t, const struct unpack_entry *e, int *ret_fd, struct dw_err *err);
int DW_MUST_USE tree_finish(struct tree *t, const struct unpack_entry *e, int fd, struct dw_err *err);

/* An error of the file system: one for the user when the disk is full or a limit was met. */
int tree_error(int errnum, const char *path, struct dw_err *err);
