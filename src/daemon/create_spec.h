/* SPDX-License-Identifier: Apache-2.0 */
/* A create request, every field checked: nothing is made before all of it is known to be good. */
#pragma once

#include "daemon/network_spec.h"
#include "daemon/record.h"
#include "daemon/volume_spec.h"

struct volumes;

struct create_spec {
	struct record record; /* template, name, timeout and the JSON members; the rest is zero */
	struct network_spec network;
	int root_fd;                            /* of a template of its own; owned, -1: one of the host's */
	int layer_fd;                           /* what its disk starts with; owned, -1: nothing */
	struct dw_attach attach[DW_ATTACH_MAX]; /* their descriptors are owned */
	size_t attach_n;
	struct volume_spec volumes;                 /* what attach is to be filled with: volume_attach.h */
	struct volumes *pinned_in;                  /* whose volumes are held until this is done, */
	char pinned[DW_ATTACH_MAX][RECORD_ID_SIZE]; /* and which */
	size_t pinned_n;
	uint32_t disk_mb, pids;        /* as the record's vcpus and memory_mb */
	bool builder;                  /* made by the server itself, to build an image in */
	char *start_cmd, *ready_check; /* of its template; owned, NULL = none */
	bool pause_on_timeout, auto_resume;
	json_t *warnings; /* for the client: an array of strings */
};

#define CREATE_SPEC_EMPTY                       \
	((struct create_spec){                  \
		.network = { .policy_fd = -1 }, \
		.root_fd = -1,                  \
		.layer_fd = -1,                 \
	})

/* What the operator has chosen. */
struct create_rules {
	bool default_allow;   /* for a sandbox without a network */
	bool strict_security; /* what is not supported is refused, not warned of */
};

/* Fills *ret from the request body. On failure (INVALID, FORBIDDEN or UNPROCESSABLE, naming the field) *ret holds nothing. */
int DW_MUST_USE create_spec_parse(const json_t *body, const struct create_rules *rules, struct create_spec *ret,
				  struct dw_err *err);
/* What a sandbox gets of the machine, unless its template says otherwise. */
void create_spec_sizes(struct create_spec *s);
void create_spec_done(struct create_spec *s);
#define auto_create_spec __attribute__((cleanup(create_spec_done)))

/* A time-out in seconds, 1..86400; field names it in the message. */
int DW_MUST_USE create_spec_timeout(int64_t value, const char *field, uint32_t *ret, struct dw_err *err);
/* An environment for commands: an object of strings, limited in number and size. *ret is borrowed; NULL when absent. */
int DW_MUST_USE create_spec_envs(const json_t *obj, json_t **ret, struct dw_err *err);
