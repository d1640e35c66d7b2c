/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volumes: directories that outlive sandboxes, below data_dir/volumes/<id>: files/ (what sandboxes get, of 1000:1000) and archive.tar.gz (what
 * a download gives). A volume never changes: a sandbox has a copy of it or reads it, and what it has made of it becomes another volume.
 *
 * One is made in a directory whose name begins with a dot, which is no volume, and is there when it has its name and its record. What is
 * half made at a start is removed.
 */
#pragma once

#include <jansson.h>

#include "daemon/manager.h"
#include "daemon/store_volumes.h"
#include "daemon/unpack_run.h"

struct volumes;

struct volumes_config {
	const char *data_dir;
	const char *unpack_path; /* of declaw-unpack; outlives the volumes */
	struct store *store;
	uint64_t max_bytes; /* of one, as an archive and unpacked */
	int stop_fd;
};

/* Makes the directory, and removes what an earlier life has left half made. */
int DW_MUST_USE volumes_open(const struct volumes_config *config, struct volumes **ret, struct dw_err *err);
void volumes_close(struct volumes *v);

uint64_t volumes_max_bytes(const struct volumes *v);

/* A name of 1 to 128 bytes, UTF-8, without control characters. INVALID. */
int DW_MUST_USE volume_check_name(const char *name, struct dw_err *err);
/* NOT_FOUND "volume_not_found", for another owner's too. */
int DW_MUST_USE volume_get(struct volumes *v, const char *id, const char *owner, struct volume_row *ret,
			   struct dw_err *err);
/* The object of the API; NULL when memory is out. */
json_t *volume_to_json(const struct volume_row *v, uint64_t max_bytes);

/* One that is being made. */
struct volume_draft;

/* INVALID for a bad name, LIMIT when the owner has too many, TOO_LARGE "no_space". */
int DW_MUST_USE volume_draft_new(struct volumes *v, const char *owner, const char *name, struct volume_draft **ret,
				 struct dw_err *err);
/* More of its archive. TOO_LARGE. */
int DW_MUST_USE volume_draft_write(struct volume_draft *d, const void *p, size_t n, struct dw_err *err);
/* The archive's file, for who writes it in another way. */
int volume_draft_fd(struct volume_draft *d);
/*
 * Unpacks it (one without a byte is empty) and makes it a volume. *ret_counts: what was dropped. Errors as unpack_finish's; LIMIT. Nothing is
 * left of it on failure, when the draft is freed.
 */
int DW_MUST_USE volume_draft_finish(struct volume_draft *d, struct volume_row *ret, struct unpack_counts *ret_counts,
				    struct dw_err *err);
void volume_draft_free(struct volume_draft *d);
DW_DEFINE_CLEANUP(struct volume_draft *, volume_draft_free)

/* Its archive, from the start. */
int DW_MUST_USE volume_archive(struct volumes *v, const struct volume_row *row, struct dw_err *err);

/*
 * Its files/, as an O_PATH descriptor, or a directory below it. subpath: relative, NULL for none. It can not be deleted until volume_unpin.
 * NOT_FOUND; INVALID when subpath is no directory in it.
 */
int DW_MUST_USE volume_pin(struct volumes *v, const char *id, const char *owner, const char *subpath, int *ret_fd,
			   struct volume_row *ret, struct dw_err *err);
void volume_unpin(struct volumes *v, const char *id);

/* Takes the record away; the files go with volume_sweep. NOT_FOUND; CONFLICT "volume_in_use". */
int DW_MUST_USE volume_delete(struct volumes *v, struct manager *m, const char *id, const char *owner,
			      struct dw_err *err);
/* Removes the files of deleted volumes: for when the client has its answer. arg: the volumes. */
void volume_sweep(void *arg);
