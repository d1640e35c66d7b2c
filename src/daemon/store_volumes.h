/* SPDX-License-Identifier: Apache-2.0 */
/* The volumes' records, a table of state.db. Their contents are files (volumes.h). */
#pragma once

#include "daemon/store.h"

#define VOLUME_ID_PREFIX "vol-"
#define VOLUME_ID_RANDOM 8
#define VOLUME_ID_SIZE   16

struct volume_row {
	char id[VOLUME_ID_SIZE];
	char owner[DAEMON_OWNER_MAX + 1];
	char name[DAEMON_NAME_MAX + 1];
	int64_t archive_bytes; /* of the archive that a download gives */
	int64_t bytes, files;  /* of the contents */
	int64_t created_us;
};

/* LIMIT "too_many_volumes" when the owner has max already. */
int DW_MUST_USE store_volume_insert(struct store *s, const struct volume_row *v, int64_t max, struct dw_err *err);
int DW_MUST_USE store_volume_remove(struct store *s, const char *id, struct dw_err *err);
/* 1 and *ret, 0 when owner has none with this id, -1 with err. owner NULL: anybody's. */
int DW_MUST_USE store_volume_get(struct store *s, const char *id, const char *owner, struct volume_row *ret,
				 struct dw_err *err);
/* Calls visit for limit of the owner's volumes, newest first, after offset of them; *ret_total: how many there are. owner NULL: everybody's. */
int DW_MUST_USE store_volume_each(struct store *s, const char *owner, uint64_t offset, uint64_t limit,
				  void (*visit)(void *arg, const struct volume_row *v), void *arg, uint64_t *ret_total,
				  struct dw_err *err);
