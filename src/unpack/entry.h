/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of an entry of an archive from outside: pure, bytes in and a verdict out. Nothing here touches a file; what is taken is
 * still created by calls that can not leave the target (tree.h), so a mistake here costs tidiness and not safety.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

enum unpack_mode {
	UNPACK_VOLUME = 0, /* regular files and directories, all of one owner: the strict one is zero */
	UNPACK_TEMPLATE,   /* a root file system: everything but devices, owners and modes kept */
};

enum unpack_kind {
	UNPACK_OTHER = 0, /* devices, sockets, what a later tar invents */
	UNPACK_FILE,
	UNPACK_DIR,
	UNPACK_SYMLINK,
	UNPACK_HARDLINK,
	UNPACK_FIFO,
};

enum unpack_verdict {
	UNPACK_DROP_KIND = 0, /* devices and the like */
	UNPACK_DROP_LINK,     /* links, where there are none */
	UNPACK_DROP_PATH,     /* absolute, with "..", too long or too deep */
	UNPACK_TAKE,
	UNPACK_REFUSE, /* the whole archive: err says why */
};

#define UNPACK_PATH_MAX  4096 /* with the end, as PATH_MAX */
#define UNPACK_NAME_MAX  255
#define UNPACK_DEPTH_MAX 128
#define UNPACK_ID_MAX    65535 /* a sandbox has no ids above it */

/* An entry as the archive has it; borrowed. */
struct unpack_claim {
	enum unpack_kind kind;
	const char *path;   /* NULL when it could not be read */
	const char *target; /* of a link; NULL otherwise */
	int64_t uid, gid, mtime;
	uint32_t mode; /* with setuid, setgid and sticky */
};

/* What to make; path and hard are canonical: relative, no empty, "." or ".." component. */
struct unpack_entry {
	enum unpack_kind kind;
	char path[UNPACK_PATH_MAX]; /* "" is the target itself, of a directory only */
	char hard[UNPACK_PATH_MAX]; /* of a hard link: the entry it links to */
	uint32_t uid, gid, mode;
	int64_t mtime; /* in seconds; of a file */
};

/* UNPACK_TAKE fills *ret. UNPACK_REFUSE fills err. */
enum unpack_verdict unpack_judge(enum unpack_mode mode, const struct unpack_claim *c, struct unpack_entry *ret,
				 struct dw_err *err);

/* Where the parent of a canonical path ends: *ret_name is its last component, the result the length of what stands before the slash. */
size_t unpack_parent(const char *path, const char **ret_name);

/*
 * An extended attribute that is kept: what a program may do. Everything else belongs to the host's security, or takes room that
 * nobody counts.
 */
bool unpack_keeps_xattr(enum unpack_mode mode, const char *name, const void *value, size_t n);

/* A printable excerpt of a hostile name, for messages: at most size - 1 characters of plain ASCII. */
void unpack_printable(const char *s, char *buf, size_t size);
