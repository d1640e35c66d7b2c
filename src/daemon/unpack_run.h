/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unpacks an archive from outside with a declaw-unpack of its own, which is confined to the target before it reads a byte (src/unpack).
 * What it reports is not trusted further than numbers and plain words go: an archive may have taken it over.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

enum unpack_what {
	UNPACK_RUN_VOLUME =
		0, /* gzip tar; regular files and directories of 1000:1000 are left of it. dir_fd belongs to 1000:1000 */
	UNPACK_RUN_TEMPLATE, /* tar or gzip tar of a root file system: everything but devices */
};

struct unpack_order {
	const char *path; /* of the program: app.unpack_path */
	enum unpack_what what;
	int dir_fd;  /* the target, an empty directory; borrowed for unpack_start */
	int from_fd; /* the archive, read from where it stands; borrowed for unpack_start. -1: unpack_feed brings it */
	int stop_fd; /* readable when waiting must end; -1 for none */
	uint64_t max_bytes, max_entries;
};

struct unpack_counts {
	uint64_t files, dirs, links, bytes;
	/* What the archive had and the target has not: by what it was, by its path, by what stood in its way. */
	uint64_t dropped, dropped_links, dropped_kinds, dropped_paths, dropped_conflicts;
};

struct unpack_run;

/* LIMIT "too_many_unpacks"; TOO_LARGE "no_space"; INTERNAL. */
int DW_MUST_USE unpack_start(const struct unpack_order *o, struct unpack_run **ret, struct dw_err *err);
/* The next bytes. Waits for the program; -1 with what unpack_finish would say when it has given the archive up. */
int DW_MUST_USE unpack_feed(struct unpack_run *u, const void *p, size_t n, struct dw_err *err);
/*
 * No more bytes come. INVALID "bad_archive", "bad_owner"; TOO_LARGE "too_large", "too_many", "no_space"; TIMEOUT; UNAVAILABLE "stopping".
 * The target then holds what there was before: the caller removes it.
 */
int DW_MUST_USE unpack_finish(struct unpack_run *u, struct unpack_counts *ret, struct dw_err *err);
/* Ends the program if it has not ended. */
void unpack_free(struct unpack_run *u);
DW_DEFINE_CLEANUP(struct unpack_run *, unpack_free)

/* What the program has written, for tests: 0 and *ret, or -1 with its error. */
int DW_MUST_USE unpack_report_parse(const char *text, size_t n, struct unpack_counts *ret, struct dw_err *err);
