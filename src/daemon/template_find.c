/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/template_find.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "daemon/clock.h"
#include "daemon/template_root.h"

static int no_memory(struct dw_err *err)
{
	return dw_err_errno(err, ENOMEM, "making a sandbox");
}

/* The request's own win. */
static int merge_envs(const struct template *t, struct record_doc *doc, struct dw_err *err)
{
	if (!t->envs || !json_object_size(t->envs))
		return 0;
	json_t *all = json_deep_copy(t->envs);
	if (!all || json_object_update(all, doc->envs) < 0) {
		json_decref(all);
		return no_memory(err);
	}
	json_decref(doc->envs);
	doc->envs = all;
	return 0;
}

uint32_t template_mb_max(uint32_t option)
{
	struct sysinfo info = { .totalram = 0 };
	if (option)
		return option;
	DW_IGNORE(sysinfo(&info)); /* it can not fail with a good address */
	const uint64_t half = (uint64_t)info.totalram * info.mem_unit >> 21;
	return (uint32_t)DW_MIN(DW_MAX(half, (uint64_t)DAEMON_TEMPLATE_MB_MIN), (uint64_t)DAEMON_TEMPLATE_MB_MAX);
}

/* It may have been made before the operator, or the machine, gave less. */
static int check_size(const struct template *t, uint32_t mb_max, struct dw_err *err)
{
	if ((uint64_t)t->memory_mb + t->disk_mb <= mb_max)
		return 0;
	return dw_err_set(err, DW_ERR_UNPROCESSABLE, "template_too_large",
			  "the template has %u MiB of memory and %u of disk, and a sandbox gets at most %u together on "
			  "this server (--template-memory): build it again with less",
			  t->memory_mb, t->disk_mb, mb_max);
}

static int take(const struct template *t, struct create_spec *spec, struct dw_err *err)
{
	if (merge_envs(t, spec->record.doc, err) < 0)
		return -1;
	spec->record.vcpus = t->vcpus;
	spec->record.memory_mb = t->memory_mb;
	spec->disk_mb = t->disk_mb;
	snprintf(spec->record.template_name, sizeof(spec->record.template_name), "%s", t->id);
	spec->start_cmd = t->start_cmd[0] ? strdup(t->start_cmd) : NULL;
	spec->ready_check = t->ready_check[0] ? strdup(t->ready_check) : NULL;
	if ((t->start_cmd[0] && !spec->start_cmd) || (t->ready_check[0] && !spec->ready_check))
		return no_memory(err);
	return 0;
}

int template_find(struct store *s, const char *data_dir, uint32_t mb_max, struct create_spec *spec, struct dw_err *err)
{
	auto_template struct template t = { 0 };
	const char *name = spec->record.template_name;
	if (template_is_builtin(name) || spec->root_fd >= 0)
		return 0;
	int r = store_template_find(s, spec->record.owner, name, &t, err);
	if (r < 0)
		return -1;
	if (r == 0)
		return dw_err_set(err, DW_ERR_NOT_FOUND, "unknown_template",
				  "there is no template \"%s\": GET /templates lists those there are", name);
	if (t.state != TEMPLATE_READY)
		return dw_err_set(err, DW_ERR_CONFLICT, "template_not_ready",
				  "the template \"%s\" is still being built", name);
	if (check_size(&t, mb_max, err) < 0 || template_root_open(data_dir, t.id, &spec->root_fd, err) < 0)
		return -1;
	return take(&t, spec, err);
}

static int start_failed(struct dw_err *err, const char *why)
{
	char text[sizeof(err->message)];
	snprintf(text, sizeof(text), "%s", why);
	return dw_err_set(err, DW_ERR_UNPROCESSABLE, "start_failed", "the template's start command: %s", text);
}

static int run_background(struct procs *procs, struct manager *m, int stop_fd, const char *sandbox, const char *cmd,
			  struct dw_err *err)
{
	const struct agent_command c = { .cmd = cmd, .user = "user", .cwd = "", .with_stdin = true };
	const struct proc_spec spec = { .kind = PROC_COMMAND, .command = &c };
	DW_AUTO(proc_unref) struct proc *p = NULL;
	if (procs_start(procs, m, sandbox, -1, stop_fd, &spec, &p, err) == 0)
		return 0;
	return start_failed(err, err->message);
}

/* 1 when it succeeds, 0 when not. */
static int check_once(struct manager *m, int stop_fd, const char *sandbox, const char *cmd, int64_t left_ms,
		      struct dw_err *err)
{
	const struct agent_command c = { .cmd = cmd, .user = "user", .cwd = "", .timeout_ms = (uint32_t)left_ms };
	auto_agent_op struct agent_op op = { .fd = -1 };
	struct agent_result result = { 0 };
	int r = agent_op_open(&op, m, sandbox, stop_fd, err);
	if (r == 0)
		r = agent_command_start(&op, &c, err);
	if (r == 0)
		r = agent_command_wait(&op, 0, &result, err);
	const bool good = result.exit_code == 0 && !result.timed_out;
	agent_result_done(&result);
	return r < 0 ? -1 : good;
}

static int wait_ready(struct manager *m, int stop_fd, const char *sandbox, const char *cmd, struct dw_err *err)
{
	const int64_t until = clock_mono_ms() + DAEMON_READY_MS;
	for (;;) {
		const int64_t left = until - clock_mono_ms();
		struct pollfd p = { .fd = stop_fd, .events = POLLIN };
		int r = left > 0 ? check_once(m, stop_fd, sandbox, cmd, left, err) : 0;
		if (r < 0)
			return start_failed(err, err->message);
		if (r > 0)
			return 0;
		if (left <= 0)
			return start_failed(err, "its ready_check did not succeed in time");
		if (poll(&p, 1, DAEMON_READY_EVERY_MS) > 0)
			return dw_err_set(err, DW_ERR_UNAVAILABLE, "stopping", "the server is stopping");
	}
}

int template_start(struct procs *procs, struct manager *m, int stop_fd, const char *sandbox, const char *start_cmd,
		   const char *ready_check, struct dw_err *err)
{
	if (run_background(procs, m, stop_fd, sandbox, start_cmd, err) < 0)
		return -1;
	return ready_check ? wait_ready(m, stop_fd, sandbox, ready_check, err) : 0;
}
