/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/template.h"

#include <string.h>

#include "daemon/clock.h"

bool template_is_builtin(const char *name)
{
	static const char *const names[] = { "base", "python", "node" };
	for (size_t i = 0; i < DW_COUNT(names); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

int template_check_alias(const char *alias, struct dw_err *err)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
	const size_t n = strlen(alias);
	if (!n || n > TEMPLATE_ALIAS_MAX || strspn(alias, letters) != n || strchr("_-", alias[0]))
		return dw_err_set(
			err, DW_ERR_INVALID, "invalid_alias",
			"alias must have 1 to %d letters, digits, '_' and '-', and begin with a letter or digit",
			TEMPLATE_ALIAS_MAX);
	if (template_is_builtin(alias))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_alias",
				  "alias: \"%s\" is a template of the server itself: take another name", alias);
	if (strncmp(alias, TEMPLATE_ID_PREFIX, strlen(TEMPLATE_ID_PREFIX)) == 0)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_alias",
				  "alias: \"" TEMPLATE_ID_PREFIX "\" begins the ids of templates: take another name");
	return 0;
}

const char *build_status_name(enum build_status s)
{
	static const char *const names[] = {
		[BUILD_BUILDING] = "building",
		[BUILD_COMPLETED] = "completed",
		[BUILD_FAILED] = "failed",
	};
	return names[s];
}

json_t *template_to_json(const struct template *t)
{
	char created[CLOCK_ISO_SIZE];
	json_t *envs = t->envs ? json_deep_copy(t->envs) : json_object();
	return json_pack("{ss ss? ss sb ss sI sI sI sI ss? ss? so}", "template_id", t->id, "alias",
			 t->alias[0] ? t->alias : NULL, "status", t->state == TEMPLATE_READY ? "ready" : "building",
			 "builtin", 0, "created_at", clock_iso(t->created_us, created), "cpu_count",
			 (json_int_t)t->vcpus, "memory_mb", (json_int_t)t->memory_mb, "disk_mb", (json_int_t)t->disk_mb,
			 "size_bytes", (json_int_t)t->size_bytes, "start_cmd", t->start_cmd[0] ? t->start_cmd : NULL,
			 "source", t->source[0] ? t->source : NULL, "envs", envs);
}

json_t *build_record_to_json(const struct build_record *b)
{
	char created[CLOCK_ISO_SIZE], ended[CLOCK_ISO_SIZE];
	json_t *logs = b->logs ? json_copy(b->logs) : json_array();
	return json_pack("{ss ss ss ss? sI so ss ss? ss?}", "build_id", b->id, "status", build_status_name(b->status),
			 "template_id", b->template_id, "sandbox_id", b->sandbox_id[0] ? b->sandbox_id : NULL,
			 "logs_from", (json_int_t)b->logs_from, "logs", logs, "created_at",
			 clock_iso(b->created_us, created), "ended_at",
			 b->ended_us ? clock_iso(b->ended_us, ended) : NULL, "error", b->error[0] ? b->error : NULL);
}

void build_record_since(struct build_record *b, uint64_t since)
{
	while (b->logs_from < since && json_array_size(b->logs)) {
		DW_IGNORE(json_array_remove(b->logs, 0)); /* there is one */
		b->logs_from++;
	}
}
