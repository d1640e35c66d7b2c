/* SPDX-License-Identifier: Apache-2.0 */
/* A build from its sandbox to its root directory, in one thread. Whatever the sandbox sends is hostile. */
#include "daemon/build_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "daemon/agentc.h"
#include "daemon/build_script.h"
#include "daemon/clock.h"
#include "daemon/template_root.h"
#include "daemon/unpack_run.h"

/* ENV of an image: a bound like that of a client's. */
#define ENVS_MAX DAEMON_MAP_KEYS

static int64_t left_ms(const struct build *b)
{
	return b->deadline_ms - clock_mono_ms();
}

static int open_op(struct build *b, struct agent_op *op, struct dw_err *err)
{
	if (left_ms(b) <= 0)
		return dw_err_set(err, DW_ERR_TIMEOUT, "build_timeout", "the build took longer than %u s",
				  b->t->config.options->build_timeout_s);
	return agent_op_open_build(op, b->t->config.manager, b->record.sandbox_id, b->cancel_fd, err);
}

/* What its programs find in their environment. */
static json_t *environment(const struct build *b)
{
	const struct build_spec *s = &b->spec;
	char disk[16], bases[DAEMON_BUILD_BASES * (TEMPLATE_ALIAS_MAX + 2)] = "";
	size_t n = 0;
	snprintf(disk, sizeof(disk), "%u", b->t->config.options->build_disk_mb);
	for (size_t i = 0; i < s->bases.n; i++)
		n += (size_t)snprintf(bases + n, sizeof(bases) - n, "%s%s", i ? " " : "", s->bases.name[i]);
	return json_pack("{ss ss ss ss ss ss ss ss ss ss ss}", "HOME", "/build/home", "TMPDIR", "/build/tmp",
			 "XDG_RUNTIME_DIR", "/build/run", "_CONTAINERS_USERNS_CONFIGURED", "1", "BUILDAH_ISOLATION",
			 "chroot", "DECLAW_DISK_MB", disk, "DECLAW_BASES", bases, "DECLAW_TAG", s->tag, "DECLAW_SUITE",
			 s->suite, "DECLAW_PACKAGES", s->packages ? s->packages : "", "DECLAW_MIRROR",
			 s->mirror ? s->mirror : "");
}

/* Where a command's output goes; NULL: into the log. */
typedef int output_sink(void *arg, struct dw_span bytes, struct dw_err *err);

static void log_bytes(struct build *b, struct dw_span bytes)
{
	pthread_mutex_lock(&b->t->lock);
	build_log_add(&b->log, bytes.p, bytes.n);
	pthread_mutex_unlock(&b->t->lock);
}

static int failed_command(const struct build *b, const char *what, uint32_t code, bool timed_out, struct dw_err *err)
{
	if (timed_out)
		return dw_err_set(err, DW_ERR_TIMEOUT, "build_timeout", "%s: the build took longer than %u s", what,
				  b->t->config.options->build_timeout_s);
	return dw_err_set(err, DW_ERR_UNPROCESSABLE, "build_failed", "%s failed with exit code %u%s", what, code,
			  code == 137 ? " (killed: perhaps it needed more memory than builds have)" : "");
}

/* 0 = go on, 1 = it has ended well, -1 with err. */
static int take_frame(struct build *b, struct agent_op *op, const struct dw_agentp_frame *f, const char *what,
		      output_sink *sink, void *arg, struct dw_err *err)
{
	struct dw_agentp_exit end;
	switch (f->type) {
	case DW_AGENTP_STARTED:
		return 0;
	case DW_AGENTP_STDOUT:
		if (sink)
			return sink(arg, f->payload, err);
		log_bytes(b, f->payload);
		return 0;
	case DW_AGENTP_STDERR:
		log_bytes(b, f->payload);
		return 0;
	case DW_AGENTP_EXIT:
		if (dw_agentp_exit_parse(f->payload, &end) != DW_PARSE_OK)
			break;
		return end.code || end.timed_out ? failed_command(b, what, end.code, end.timed_out, err) : 1;
	case DW_AGENTP_ERROR:
		return agent_op_error(op, f->payload, AGENT_COMMAND, err);
	default:
		break;
	}
	return agent_op_lost(op, AGENT_LOST, err);
}

static int run_script(struct build *b, const char *what, const char *script, output_sink *sink, void *arg,
		      struct dw_err *err)
{
	auto_agent_op struct agent_op op = { .fd = -1 };
	auto_json json_t *envs = environment(b);
	if (!envs)
		return dw_err_errno(err, ENOMEM, "running the build");
	if (open_op(b, &op, err) < 0)
		return -1;
	const struct agent_command c = {
		.cmd = script,
		.user = "root",
		.cwd = "/",
		.envs = envs,
		.timeout_ms = (uint32_t)DW_MAX(left_ms(b), (int64_t)1),
	};
	if (agent_command_start(&op, &c, err) < 0)
		return -1;
	int r = 0;
	while (r == 0) {
		struct dw_agentp_frame f;
		const enum agent_status st = agent_op_next(&op, &f);
		r = st == AGENT_OK ? take_frame(b, &op, &f, what, sink, arg, err) : agent_op_lost(&op, st, err);
	}
	return r < 0 ? -1 : 0;
}

static int put_file(struct build *b, const char *path, const void *data, size_t n, struct dw_err *err)
{
	auto_agent_op struct agent_op op = { .fd = -1 };
	uint64_t size;
	if (open_op(b, &op, err) < 0 || agent_file_start(&op, DW_AGENTP_FILE_WRITE, "root", path, err) < 0 ||
	    agent_file_send(&op, data, n, err) < 0 || agent_file_finish(&op, &size, err) < 0)
		return -1;
	return 0;
}

/* malloc'ed; UNPROCESSABLE when it has more than max bytes. */
static int get_file(struct build *b, const char *path, size_t max, char **ret, size_t *ret_n, struct dw_err *err)
{
	auto_agent_op struct agent_op op = { .fd = -1 };
	dw_autofree char *text = malloc(max);
	struct dw_span piece;
	size_t n = 0;
	int r = 0;
	if (!text)
		return dw_err_errno(err, ENOMEM, "reading %s", path);
	if (open_op(b, &op, err) < 0 || agent_file_start(&op, DW_AGENTP_FILE_READ, "root", path, err) < 0)
		return -1;
	while ((r = agent_file_next(&op, &piece, err)) > 0) {
		if (piece.n > max - n)
			return dw_err_set(err, DW_ERR_UNPROCESSABLE, "build_failed",
					  "the image's configuration has more than %zu bytes", max);
		memcpy(text + n, piece.p, piece.n);
		n += piece.n;
	}
	*ret = DW_TAKE(text);
	*ret_n = n;
	return r;
}

static json_t *sandbox_body(const struct build *b)
{
	const uint32_t timeout_s = DW_MIN(b->t->config.options->build_timeout_s + 60u, DAEMON_TIMEOUT_MAX_S);
	return json_pack("{ss ss si s{ss ss} sO?}", "template", "base", "name", b->record.id, "timeout", (int)timeout_s,
			 "metadata", "declaw.build", b->record.id, "declaw.template", b->record.template_id, "network",
			 b->spec.network);
}

static int attach_bases(const struct build *b, struct create_spec *spec, struct dw_err *err)
{
	_Static_assert(DAEMON_BUILD_BASES <= DW_ATTACH_MAX, "all fit");
	for (size_t i = 0; i < b->spec.bases.n; i++) {
		struct dw_attach *a = &spec->attach[i];
		a->dir_fd = fcntl(b->base_fd[i], F_DUPFD_CLOEXEC, 3);
		if (a->dir_fd < 0)
			return dw_err_errno(err, errno, "starting the build");
		a->mode = DW_ATTACH_READ_ONLY;
		snprintf(a->path, sizeof(a->path), "/base/%zu", i);
		spec->attach_n = i + 1;
	}
	return 0;
}

static int make_sandbox(struct build *b, struct dw_err *err)
{
	auto_create_spec struct create_spec spec = CREATE_SPEC_EMPTY;
	auto_record struct record r = { 0 };
	auto_json json_t *body = sandbox_body(b);
	const struct options *o = b->t->config.options;
	const struct create_rules rules = { .default_allow = o->default_allow };
	if (!body)
		return dw_err_errno(err, ENOMEM, "starting the build");
	if (create_spec_parse(body, &rules, &spec, err) < 0 || attach_bases(b, &spec, err) < 0)
		return -1;
	spec.builder = true;
	spec.record.memory_mb = o->build_memory_mb;
	spec.disk_mb = o->build_disk_mb;
	spec.pids = DAEMON_BUILD_PIDS;
	snprintf(spec.record.owner, sizeof(spec.record.owner), "%s", b->record.owner);
	if (manager_create(b->t->config.manager, &spec, &r, err) < 0)
		return -1;
	pthread_mutex_lock(&b->t->lock);
	snprintf(b->record.sandbox_id, sizeof(b->record.sandbox_id), "%s", r.id);
	pthread_mutex_unlock(&b->t->lock);
	build_say(b, "building in the sandbox %s", r.id);
	return 0;
}

int build_run_prepare(struct build *b, struct dw_err *err)
{
	return make_sandbox(b, err) < 0 ? -1 : run_script(b, "preparing", build_script_setup, NULL, NULL, err);
}

/* Of a template that it starts from: NAME=VALUE, each with a NUL behind it. */
static int put_base_envs(struct build *b, size_t i, struct dw_err *err)
{
	dw_autofree char *text = NULL;
	size_t n = 0;
	char path[48];
	const char *key;
	json_t *value;
	FILE *f = open_memstream(&text, &n);
	if (!f)
		return dw_err_errno(err, ENOMEM, "starting the build");
	json_object_foreach(b->base_envs[i], key, value)
	{
		fprintf(f, "%s=%s", key, json_string_value(value));
		fputc('\0', f);
	}
	if (fclose(f) != 0)
		return dw_err_errno(err, ENOMEM, "starting the build");
	snprintf(path, sizeof(path), "/build/base%zu.env", i);
	return put_file(b, path, text, n, err);
}

static bool name_ok(const char *s, size_t n)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
	for (size_t i = 0; i < n; i++)
		if (!s[i] || !strchr(letters, s[i]))
			return false;
	return n && n <= DAEMON_MAP_KEY_MAX && !(*s >= '0' && *s <= '9');
}

/* What umoci writes (a runtime's configuration), or what buildah tells of an image. */
static const json_t *find_env(const json_t *config)
{
	const json_t *of_image = json_object_get(json_object_get(config, "OCIv1"), "config");
	const json_t *list = json_object_get(of_image, "Env");
	return list ? list : json_object_get(json_object_get(config, "process"), "env");
}

/* An array of "NAME=VALUE"; what is no variable is left out. */
static int read_envs(struct build *b, const json_t *config, struct dw_err *err)
{
	const json_t *list = find_env(config);
	auto_json json_t *envs = json_object();
	size_t bytes = 0;
	for (size_t i = 0; i < json_array_size(list) && json_object_size(envs) < ENVS_MAX; i++) {
		const char *text = jsonx_plain_string(json_array_get(list, i));
		const size_t key_n = text ? strcspn(text, "=") : 0;
		if (!text || text[key_n] != '=' || !name_ok(text, key_n) || bytes + strlen(text) > DAEMON_MAP_BYTES)
			continue;
		bytes += strlen(text);
		char key[DAEMON_MAP_KEY_MAX + 1];
		snprintf(key, sizeof(key), "%.*s", (int)key_n, text);
		if (json_object_set_new(envs, key, json_string(text + key_n + 1)) < 0)
			return dw_err_errno(err, ENOMEM, "reading the image's configuration");
	}
	/* Those that mean the builder's own place. */
	static const char *const not [] = { "HOME", "TERM", "HOSTNAME" };
	for (size_t i = 0; i < DW_COUNT(not ); i++)
		DW_IGNORE(json_object_del(envs, not [i])); /* often it has none */
	b->template.envs = DW_TAKE(envs);
	return b->template.envs ? 0 : dw_err_errno(err, ENOMEM, "reading the image's configuration");
}

static int take_config(struct build *b, struct dw_err *err)
{
	dw_autofree char *text = NULL;
	auto_json json_t *config = NULL;
	size_t n = 0;
	if (get_file(b, "/build/config.json", DAEMON_IMAGE_CONFIG_MAX, &text, &n, err) < 0 ||
	    jsonx_parse("the image's configuration", text, n, &config, err) < 0)
		return -1;
	return read_envs(b, config, err);
}

static int feed(void *arg, struct dw_span bytes, struct dw_err *err)
{
	return unpack_feed(arg, bytes.p, bytes.n, err);
}

static int take_root(struct build *b, struct dw_err *err)
{
	const struct options *o = b->t->config.options;
	DW_AUTO(unpack_free) struct unpack_run *u = NULL;
	dw_autoclose int root = -1;
	struct unpack_counts counts = { 0 };
	if (template_root_make(o->data_dir, b->template.id, &root, err) < 0)
		return -1;
	const struct unpack_order order = {
		.path = b->t->config.unpack_path,
		.what = UNPACK_RUN_TEMPLATE,
		.dir_fd = root,
		.from_fd = -1,
		.stop_fd = b->cancel_fd,
		.max_bytes = (uint64_t)o->build_disk_mb << 20,
		.max_entries = DAEMON_TEMPLATE_ENTRIES,
	};
	if (unpack_start(&order, &u, err) < 0 || run_script(b, "packing", build_script_pack, feed, u, err) < 0 ||
	    unpack_finish(u, &counts, err) < 0 || template_root_finish(root, err) < 0)
		return -1;
	/* Its record must not outlive a loss of power that its files do not. */
	if (syncfs(root) < 0)
		return dw_err_errno(err, errno, "storing the template");
	b->template.size_bytes = counts.bytes;
	build_say(b, "%llu files, %llu bytes", (unsigned long long)counts.files, (unsigned long long)counts.bytes);
	return 0;
}

static int put_inputs(struct build *b, struct dw_err *err)
{
	const struct build_spec *s = &b->spec;
	if (s->dockerfile && put_file(b, "/build/Dockerfile", s->dockerfile, strlen(s->dockerfile), err) < 0)
		return -1;
	for (size_t i = 0; i < s->bases.n; i++)
		if (put_base_envs(b, i, err) < 0)
			return -1;
	return 0;
}

int build_run(struct build *b, struct dw_err *err)
{
	static const char *const what[] = {
		[BUILD_DOCKERFILE] = "the build",
		[BUILD_IMPORT] = "the import",
		[BUILD_DEBIAN] = "mmdebstrap",
	};
	if (!b->record.sandbox_id[0] && build_run_prepare(b, err) < 0)
		return -1;
	if (put_inputs(b, err) < 0 ||
	    run_script(b, what[b->spec.kind], build_script_make[b->spec.kind], NULL, NULL, err) < 0 ||
	    take_config(b, err) < 0)
		return -1;
	build_say(b, "unpacking the result");
	return take_root(b, err);
}
