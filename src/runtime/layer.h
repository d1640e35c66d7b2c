/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writable layer of a sandbox as an archive: a pax tar of the overlays' upper directories, "root" and "usr", as they are on disk:
 * a removed file of the template is a character device 0:0, a directory that hides the template's has an attribute. Ids are numbers
 * inside. Directories come before what is in them and once more after it, so that their times can be set last without remembering them.
 *
 * Both sides run with the rights of one sandbox over its own files, because names, attributes and data are that sandbox's choice.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "core/macros.h"

/* What both sides hold to, so that what can be packed can be unpacked. */
#define DW_LAYER_PATH_MAX (PATH_MAX - 1)
/* Its second entry ends an archive that is whole. */
#define DW_LAYER_LAST "usr"
/* Of one file, names and values; the archive library reads at most 1 MiB of a file's attributes, coded. */
#define DW_LAYER_XATTR_MAX (256u << 10)

enum dw_pack_end {
	DW_PACK_FAILED = 0, /* errnum says why */
	DW_PACK_DONE,
	DW_PACK_TOO_LARGE,
	DW_PACK_LONG_PATH,
	DW_PACK_MANY_LINKS,
	DW_PACK_HUGE_FILE,
	DW_PACK_XATTRS,
};

struct dw_pack_report {
	uint32_t end; /* enum dw_pack_end */
	int32_t errnum;
	uint64_t bytes;
};

/* Packs "root" and "usr" of the working directory. What vanishes meanwhile and sockets are left out; no fifo or device is opened. */
void dw_layer_pack(int out_fd, uint64_t max_bytes, struct dw_pack_report *ret);

/* Unpacks from the start of layer_fd into dir_fd, where empty "root" and "usr" are. 0 or -errno; EBADMSG: not such an archive, or not all of one. */
int DW_MUST_USE dw_layer_fill(int layer_fd, int dir_fd);

/* "root" or "usr", or a path below; without empty parts, "." and "..". */
bool dw_layer_name_ok(const char *name);
/* Whether an attribute is one that is kept. Those by which the kernel finds files of a layer again are not: they speak of a layer that is gone. */
bool dw_layer_xattr_ok(const char *name);
