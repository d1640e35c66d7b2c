/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon as its request handlers see it. */
#pragma once

#include <stdatomic.h>

#include "daemon/auth.h"
#include "daemon/gatectl.h"
#include "daemon/idem.h"
#include "daemon/keys.h"
#include "daemon/manager.h"
#include "daemon/options.h"
#include "daemon/proc.h"
#include "daemon/request_log.h"
#include "daemon/routes.h"
#include "daemon/store.h"
#include "daemon/templates.h"

struct app {
	struct options options;
	struct route_tables routes;
	uint8_t file_key[AUTH_HASH_SIZE]; /* the key of the key file, hashed */
	struct keys *keys;
	uint8_t token_secret[AUTH_HASH_SIZE]; /* token.h */
	struct request_counts requests;
	atomic_ullong gate_restarts;
	struct dw_runtime *runtime;
	struct gatectl *gate;
	struct store *store;
	struct manager *manager;
	struct procs *procs;
	struct watchers *watchers; /* e2b/watchers.h */
	struct idem *idem;
	atomic_uint ports; /* connections to ports inside sandboxes */
	struct volumes *volumes;
	struct templates *templates;
	struct snapshots *snapshots;
	char domain[OPTIONS_ENDPOINT_STRLEN]; /* where it listens */
	char unpack_path[PATH_MAX];           /* of declaw-unpack */
	int stop_fd;                          /* an eventfd: readable from when the daemon stops; never read */
	int fatal_fd;                         /* an eventfd: readable when the keeper was lost */
};
