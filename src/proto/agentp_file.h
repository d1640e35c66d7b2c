/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories, and what happens in them: the requests beyond reading and writing a file, and their answers. Pure codec.
 *
 *   FILE_LIST    user, path, depth      ENTRY*, END   all entries below path, sorted, parents before children
 *   FILE_INFO    user, path             ENTRY, END
 *   FILE_REMOVE  user, path             END
 *   FILE_RENAME  user, path, to         ENTRY, END    of the new path
 *   FILE_MKDIR   user, path             MADE
 *   FILE_WATCH   user, path, recursive  EVENT*        DW_AGENTP_WATCHING first, until GONE or MOVED, or the daemon hangs up
 *
 * Any of them may be answered by ERROR, before the first ENTRY or EVENT only. Paths in answers are absolute for ENTRY, relative to the
 * watched directory for EVENT.
 */
#pragma once

#include "proto/agentp.h"

#define DW_AGENTP_ENTRIES_MAX      100000u        /* of one listing */
#define DW_AGENTP_ENTRIES_BYTES    (32u << 20)    /* of their frames */
#define DW_AGENTP_ENTRY_PATH_MAX   (4096u + 256u) /* a directory that has a path, a slash, a name */
#define DW_AGENTP_ENTRY_TARGET_MAX 4096u
#define DW_AGENTP_ENTRY_NAME_MAX   255u /* of an owner or a group */

struct dw_agentp_file_request {
	struct dw_span user, path; /* user: "" = "user"; path: as it was asked for, relative to the home */
	struct dw_span to;         /* FILE_RENAME */
	uint32_t depth;            /* FILE_LIST: levels, at least 1 */
	bool recursive;            /* FILE_WATCH */
};

/* The payload for a request of that type; 0 when it does not fit, or the parser would refuse it. */
size_t dw_agentp_file_request_build(enum dw_agentp_type type, const struct dw_agentp_file_request *q, void *out,
				    size_t cap);
/* BAD also for a type that is not one of those above. */
enum dw_parse dw_agentp_file_request_parse(uint8_t type, struct dw_span payload, struct dw_agentp_file_request *ret);

struct dw_agentp_entry {
	bool dir;            /* links are followed; what is neither file nor directory counts as a file */
	bool link;           /* the path itself is a symbolic link: target is set */
	bool known;          /* mode, size, modified, owner and group could be had */
	uint16_t mode;       /* permission bits, at most 07777 */
	uint64_t size;       /* bytes; 0 for a directory */
	int64_t modified_us; /* since 1970 */
	struct dw_span path; /* absolute */
	struct dw_span owner, group;
	struct dw_span target;
};

size_t dw_agentp_entry_build(const struct dw_agentp_entry *e, void *out, size_t cap);
enum dw_parse dw_agentp_entry_parse(struct dw_span payload, struct dw_agentp_entry *ret);

enum dw_agentp_happening {
	DW_AGENTP_HAPPENED_NOTHING = 0,
	DW_AGENTP_WATCHING, /* from here on nothing is missed; path: the directory's, absolute */
	DW_AGENTP_CREATED,
	DW_AGENTP_MODIFIED, /* the content */
	DW_AGENTP_REMOVED,
	DW_AGENTP_RENAMED, /* from path to to, both inside */
	DW_AGENTP_CHANGED, /* mode, owner, times */
	/* Without a path. */
	DW_AGENTP_OVERFLOW, /* too much at one time: some events are missing */
	DW_AGENTP_CROWDED,  /* too many directories: some are not watched */
	DW_AGENTP_GONE,     /* the directory was removed: the end */
	DW_AGENTP_MOVED,    /* the directory is somewhere else now: the end */
	DW_AGENTP_HAPPENING_COUNT,
};

struct dw_agentp_event {
	enum dw_agentp_happening what;
	bool dir;
	struct dw_span path, to;
};

size_t dw_agentp_event_build(const struct dw_agentp_event *e, void *out, size_t cap);
enum dw_parse dw_agentp_event_parse(struct dw_span payload, struct dw_agentp_event *ret);

/* One byte: whether anything had to be made. */
enum dw_parse dw_agentp_made_parse(struct dw_span payload, bool *ret_made);
