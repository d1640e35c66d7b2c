/* SPDX-License-Identifier: Apache-2.0 */
/* What a watch keeps of the directories that it watches, and of names it has told of. One watch is one process. */
#pragma once

#include <stddef.h>

#include "agent/agent.h"
#include "proto/agentp_file.h"

#define DW_WATCH_DIRS_MAX  8192u  /* of one watch: some 1 KiB each in the kernel, which counts them too */
#define DW_WATCH_NAMES_MAX 65536u /* told of after a look into a new directory; beyond these one may be told of twice */

struct dw_watch_dir {
	int wd;
	int parent; /* its watch; 0 = the watched directory itself, or one whose parent is not known any more */
	size_t at;  /* in the list of all */
	char name[];
};

/* The directory of a watch; NULL for one that is not known (any more). */
struct dw_watch_dir *dw_watch_find(int wd);
/* Enters it, or moves it: what is watched stays so when it is renamed. NULL without memory, or when there are too many. */
struct dw_watch_dir *dw_watch_put(int wd, int parent, const char *name);
void dw_watch_drop(struct dw_watch_dir *d);
/* The one with that name in another one, and not the watch but (0 = any); NULL when it is not watched. */
struct dw_watch_dir *dw_watch_child(int parent, const char *name, int but);
/* Whether d is top or somewhere below it. */
bool dw_watch_below(const struct dw_watch_dir *d, const struct dw_watch_dir *top);
/* The i-th of all; NULL beyond the last. Dropping moves the last one into the gap. */
struct dw_watch_dir *dw_watch_nth(size_t i);
/*
 * The path of name in the directory wd, relative to the watched one; name "" is the directory itself. NULL when it is not known, or
 * longer than any that can be told. Valid until the next call but one.
 */
const char *dw_watch_path(int wd, const char *name);

/* Notes that name in wd was told of. False when it was before. */
bool dw_watch_tell(int wd, const char *name);
/* Forgets that; true when it was noted. */
bool dw_watch_untell(int wd, const char *name);
void dw_watch_untell_all(void);
