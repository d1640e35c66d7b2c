/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the volumes' files only. */
#pragma once

#include <pthread.h>

#include "daemon/volumes.h"

#define VOLUME_FILES   "files"
#define VOLUME_ARCHIVE "archive.tar.gz"

/* Held by a request that attaches it, one for each attachment. */
struct volume_pinned {
	struct volume_pinned *next;
	char id[VOLUME_ID_SIZE];
};

struct volumes {
	struct volumes_config config;
	int dir_fd;
	pthread_mutex_t lock; /* of what follows, and of deleting; taken before the manager's and the store's */
	struct volume_pinned *pinned;
	pthread_mutex_t sweep;
};
