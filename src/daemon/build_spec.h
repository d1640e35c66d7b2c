/* SPDX-License-Identifier: Apache-2.0 */
/* A request for a template, every field checked. */
#pragma once

#include "daemon/dockerfile.h"
#include "daemon/template.h"

enum build_kind {
	BUILD_DOCKERFILE = 0, /* with buildah */
	BUILD_IMPORT,         /* an image's archive, with umoci */
	BUILD_DEBIAN,         /* with mmdebstrap */
};

struct build_spec {
	enum build_kind kind;
	char alias[TEMPLATE_ALIAS_MAX + 1];
	uint32_t vcpus, memory_mb, disk_mb; /* of the template's sandboxes */
	char *dockerfile;                   /* owned */
	struct dockerfile_bases bases;
	json_t *network;         /* what the build may reach; owned; NULL = as for any sandbox without a policy */
	json_t *envs;            /* owned; NULL = none */
	char *start_cmd;         /* owned; NULL = none */
	char *ready_check;       /* owned; NULL = none */
	char tag[128];           /* import: which image of the archive; "" = the only one */
	char suite[64];          /* debian */
	char *packages, *mirror; /* debian: comma separated, and a URL; owned; NULL = none */
};

void build_spec_done(struct build_spec *s);
#define auto_build_spec __attribute__((cleanup(build_spec_done)))

/* The most that a template may ask for on this machine. */
struct build_rules {
	uint32_t vcpus_max, memory_mb_max, disk_mb_max;
	uint32_t mb_max; /* memory and disk together: both are in memory */
	/* Whether the caller has a template of this name; NULL: not asked. */
	bool (*is_template)(void *arg, const char *name, char ret_id[static TEMPLATE_ID_SIZE]);
	void *arg;
};

/* POST /templates/build: wrapped or flat. *ret_background: not to be waited for. */
int DW_MUST_USE build_spec_parse(const json_t *body, const struct build_rules *rules, struct build_spec *ret,
				 bool *ret_background, struct dw_err *err);
/* POST /templates/debian. */
int DW_MUST_USE build_spec_parse_debian(const json_t *body, const struct build_rules *rules, struct build_spec *ret,
					bool *ret_background, struct dw_err *err);
/* What every kind has: alias and sizes, from an object (of an import, one made of the query). */
int DW_MUST_USE build_spec_common(const json_t *obj, const struct build_rules *rules, struct build_spec *ret,
				  struct dw_err *err);
