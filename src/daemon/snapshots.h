/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots: the files of sandboxes, which outlive them, as data_dir/snapshots/<id>.tar (runtime/layer.h). Each has a record. One is made under a
 * name that begins with a dot, and is there when it has its name and its record; what is half made at a start is removed.
 */
#pragma once

#include "daemon/store_snapshots.h"

struct snapshots;

struct snapshots_config {
	const char *data_dir;
	struct store *store;
	uint32_t max_owner; /* snapshots that an owner may have */
	uint64_t max_bytes; /* of all of them */
};

int DW_MUST_USE snapshots_open(const struct snapshots_config *config, struct snapshots **ret, struct dw_err *err);
void snapshots_close(struct snapshots *s);

/* One that is being made. */
struct snapshot_draft {
	struct snapshots *in;
	struct snapshot_row row; /* the id is chosen; the rest is the caller's to fill before the end */
	int fd;                  /* -1: there is none */
	uint64_t max_bytes;      /* what is reserved for it */
};
/* LIMIT "too_many_snapshots", TOO_LARGE "snapshots_full". */
int DW_MUST_USE snapshot_draft_begin(struct snapshots *s, const char *owner, struct snapshot_draft *ret,
				     struct dw_err *err);
/* It is on the disk, with its record, when this returns 0. */
int DW_MUST_USE snapshot_draft_finish(struct snapshot_draft *d, struct dw_err *err);
/* Harmless after finish; before it nothing is left. */
void snapshot_draft_done(struct snapshot_draft *d);
#define auto_snapshot_draft __attribute__((cleanup(snapshot_draft_done)))
#define SNAPSHOT_DRAFT_NONE ((struct snapshot_draft){ .fd = -1 })

/* NOT_FOUND "snapshot_not_found", for another owner's too. sandbox NULL: of any. *ret is to be dropped. */
int DW_MUST_USE snapshot_get(struct snapshots *s, const char *id, const char *owner, const char *sandbox,
			     struct snapshot_row *ret, struct dw_err *err);
/* The newest of a sandbox. NOT_FOUND. */
int DW_MUST_USE snapshot_newest(struct snapshots *s, const char *owner, const char *sandbox, struct snapshot_row *ret,
				struct dw_err *err);
/* Its archive. NOT_FOUND when it was deleted meanwhile; INTERNAL when it is not as it was written. */
int DW_MUST_USE snapshot_open(struct snapshots *s, const struct snapshot_row *row, int *ret_fd, struct dw_err *err);
/* Fine when there is none. Who reads it goes on. */
int DW_MUST_USE snapshot_delete(struct snapshots *s, const char *id, const char *owner, const char *sandbox,
				struct dw_err *err);

/* The object of the API; NULL when memory is out. */
json_t *snapshot_to_json(const struct snapshot_row *r);
