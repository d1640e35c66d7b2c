/* SPDX-License-Identifier: Apache-2.0 */
/* A template of its own (not one of the host's), and the build that made it, as the store and clients have them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/bounds.h"
#include "daemon/jsonx.h"
#include "daemon/record.h"

#define TEMPLATE_ID_PREFIX "tpl-"
#define BUILD_ID_PREFIX    "bld-"
#define TEMPLATE_ID_RANDOM 8
#define TEMPLATE_ID_SIZE   24
#define TEMPLATE_ALIAS_MAX 63

enum template_state {
	TEMPLATE_BUILDING = 0, /* no sandbox can be made of it */
	TEMPLATE_READY,
};

struct template
{
	char id[TEMPLATE_ID_SIZE];
	char alias[TEMPLATE_ALIAS_MAX + 1]; /* "" = none; of an owner's finished ones at most one has it */
	char owner[DAEMON_OWNER_MAX + 1];
	enum template_state state;
	int64_t created_us;
	uint32_t vcpus, memory_mb, disk_mb; /* of its sandboxes */
	uint64_t size_bytes;                /* of its files */
	char source[16];                    /* "build", "import", "debian" */
	char start_cmd[DAEMON_START_CMD_MAX + 1];
	char ready_check[DAEMON_START_CMD_MAX + 1];
	json_t *envs; /* an object of strings; a reference; NULL = none */
};

static inline void template_done(struct template *t)
{
	json_decref(t->envs);
	t->envs = NULL;
}
#define auto_template __attribute__((cleanup(template_done)))

enum build_status {
	BUILD_BUILDING = 0,
	BUILD_COMPLETED,
	BUILD_FAILED,
};

/* What stays of a build. */
struct build_record {
	char id[TEMPLATE_ID_SIZE];
	char owner[DAEMON_OWNER_MAX + 1];
	char template_id[TEMPLATE_ID_SIZE];
	char sandbox_id[RECORD_ID_SIZE]; /* where it ran; its decisions are in that one's log */
	enum build_status status;
	int64_t created_us, ended_us;
	char error[sizeof(((struct dw_err *)NULL)->message)]; /* of a failed one */
	uint64_t logs_from;                                   /* number of the first line that is kept */
	json_t *logs;                                         /* an array of strings; a reference */
};

static inline void build_record_done(struct build_record *b)
{
	json_decref(b->logs);
	b->logs = NULL;
}
#define auto_build_record __attribute__((cleanup(build_record_done)))

const char *build_status_name(enum build_status s);
/* As clients see them; NULL when memory is out. */
json_t *template_to_json(const struct template *t);
json_t *build_record_to_json(const struct build_record *b);
/* Leaves the lines from number since on. */
void build_record_since(struct build_record *b, uint64_t since);
/* A name that a template may be called: [A-Za-z0-9][A-Za-z0-9_-]*, no id, and none of the host's. INVALID "invalid_alias". */
int DW_MUST_USE template_check_alias(const char *alias, struct dw_err *err);
bool template_is_builtin(const char *name);
