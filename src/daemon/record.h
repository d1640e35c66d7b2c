/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a sandbox, alive or not, as clients see it. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/macros.h"
#include "daemon/jsonx.h"
#include "daemon/bounds.h"
#include "runtime/runtime.h"

#define RECORD_ID_PREFIX "sbx-"
#define RECORD_ID_RANDOM 8
#define RECORD_ID_SIZE   72 /* what the gate takes; ours are 12 characters */

enum record_state {
	RECORD_KILLED = 0,
	RECORD_RUNNING,
	RECORD_PAUSED, /* in memory only: what is alive is not read from the store, and does not outlive the server */
};

/*
 * The parts that clients wrote. Shared by every copy of a record, also of other threads, and never changed: readers must not
 * even take references to what is inside (jansson's own counts are not meant for that), but copy what they keep.
 */
struct record_doc {
	atomic_uint refs;
	json_t *metadata, *envs, *lifecycle; /* objects */
	json_t *network, *security;          /* as given; NULL for null */
	json_t *volumes;                     /* an array, as volume_spec.h writes it; NULL for none */
};

struct record {
	char id[RECORD_ID_SIZE];
	char template_name[DW_TEMPLATE_NAME_MAX + 1];
	char name[DAEMON_NAME_MAX + 1];
	char owner[DAEMON_OWNER_MAX + 1]; /* whose key made it; others do not see it */
	char reason[64];                  /* why it was killed */
	char guest_ip[DW_ADDR_STRLEN];
	enum record_state state;
	uint32_t timeout_s;
	uint32_t vcpus, memory_mb;
	uint64_t generation;          /* of the network: 1 at first, one more with each change */
	int64_t started_us, end_us;   /* wall clock; end_us 0 while it is paused */
	int64_t paused_us, killed_us; /* 0 while it is not */
	struct record_doc *doc;       /* a reference; NULL only in a record that is empty */
};

/* Empty, with one reference; NULL when memory is out. */
struct record_doc *record_doc_new(void);
/* All of it, with one reference, for who changes a part; NULL when memory is out. */
struct record_doc *record_doc_copy(const struct record_doc *from);

/* Takes a reference. */
void record_copy(struct record *dst, const struct record *src);
/* Drops the reference. Harmless on a zeroed record, and twice. */
void record_done(struct record *r);
#define auto_record __attribute__((cleanup(record_done)))

/* The object of the API; NULL when memory is out. domain: what clients reach this server as. */
json_t *record_to_json(const struct record *r, const char *domain);

const char *record_state_name(enum record_state state);
