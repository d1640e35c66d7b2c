/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/templates.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "daemon/build_internal.h"
#include "daemon/clock.h"
#include "daemon/disk_room.h"
#include "daemon/log.h"
#include "daemon/store_snapshots.h"
#include "daemon/template_find.h"
#include "daemon/template_root.h"

static void raise_event(int fd)
{
	const uint64_t one = 1;
	DW_IGNORE(write(fd, &one, sizeof(one))); /* a counter far from full */
}

/* A directory whose row is not there, or not finished. */
static void remove_leftover(void *arg, const char *id)
{
	struct templates *t = arg;
	auto_template struct template row = { 0 };
	struct dw_err err = { 0 };
	int found = store_template_by_id(t->config.store, id, &row, &err);
	if (found == 0 || (found > 0 && row.state != TEMPLATE_READY))
		template_root_remove(t->config.options->data_dir, id);
}

int templates_new(const struct templates_config *config, struct templates **ret, struct dw_err *err)
{
	struct templates *t = calloc(1, sizeof(*t));
	if (!t)
		return dw_err_errno(err, ENOMEM, "starting");
	t->config = *config;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->idle, NULL);
	if (store_builds_leftover(config->store, "the server was restarted", clock_wall_us(), err) < 0) {
		templates_free(t);
		return -1;
	}
	template_root_each(config->options->data_dir, remove_leftover, t);
	*ret = t;
	return 0;
}

void templates_stop(struct templates *t)
{
	if (!t)
		return;
	pthread_mutex_lock(&t->lock);
	t->stop = true;
	for (struct build *b = t->builds; b; b = b->next) {
		if (!b->reason[0])
			snprintf(b->reason, sizeof(b->reason), "the server was stopped");
		raise_event(b->cancel_fd);
	}
	while (t->running)
		pthread_cond_wait(&t->idle, &t->lock);
	pthread_mutex_unlock(&t->lock);
}

void templates_free(struct templates *t)
{
	if (!t)
		return;
	dw_assert(!t->running);
	pthread_mutex_destroy(&t->lock);
	pthread_cond_destroy(&t->idle);
	free(t);
}

void templates_rules(const struct templates *t, struct build_rules *ret)
{
	_Static_assert(DAEMON_TEMPLATE_MB_MIN == DAEMON_TEMPLATE_MEMORY_MIN + DAEMON_TEMPLATE_DISK_MIN, "both fit");
	const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	const uint32_t mb = template_mb_max(t->config.options->template_mb);
	*ret = (struct build_rules){
		.vcpus_max = cpus > 0 ? (uint32_t)cpus : 1,
		.memory_mb_max = mb - DAEMON_TEMPLATE_DISK_MIN,
		.disk_mb_max = DW_MIN(mb - DAEMON_TEMPLATE_MEMORY_MIN, DAEMON_TEMPLATE_DISK_MAX),
		.mb_max = mb,
	};
}

static void build_free(struct build *b)
{
	build_spec_done(&b->spec);
	template_done(&b->template);
	build_log_done(&b->log);
	for (size_t i = 0; i < DAEMON_BUILD_BASES; i++) {
		if (b->base_fd[i] >= 0)
			close(b->base_fd[i]);
		json_decref(b->base_envs[i]);
	}
	if (b->cancel_fd >= 0)
		close(b->cancel_fd);
	if (b->ended_fd >= 0)
		close(b->ended_fd);
	free(b);
}

void build_unref(struct build *b)
{
	struct templates *t = b->t;
	pthread_mutex_lock(&t->lock);
	const bool last = --b->refs == 0;
	pthread_mutex_unlock(&t->lock);
	if (last)
		build_free(b);
}

/* The packages of the host that a kind of build runs. */
static int check_packages(enum build_kind kind, struct dw_err *err)
{
	static const char *const needs[][4] = {
		[BUILD_DOCKERFILE] = { "buildah", NULL },
		[BUILD_IMPORT] = { "umoci", "skopeo", NULL },
		[BUILD_DEBIAN] = { "mmdebstrap", NULL },
	};
	for (const char *const *name = needs[kind]; *name; name++) {
		char path[64];
		snprintf(path, sizeof(path), "/usr/bin/%s", *name);
		if (access(path, X_OK) < 0)
			return dw_err_set(err, DW_ERR_UNPROCESSABLE, "package_missing",
					  "this server has no %s: install the package %s on the server", path, *name);
	}
	return 0;
}

/* Its root, locked until the build ends. */
static int open_base(struct build *b, size_t i, struct dw_err *err)
{
	auto_template struct template base = { 0 };
	const char *name = b->spec.bases.name[i];
	int r = store_template_find(b->t->config.store, b->record.owner, name, &base, err);
	if (r < 0)
		return -1;
	if (r == 0)
		return dw_err_set(err, DW_ERR_NOT_FOUND, "unknown_template",
				  "there is no template \"%s\" to start from", name);
	if (base.state != TEMPLATE_READY)
		return dw_err_set(err, DW_ERR_CONFLICT, "template_not_ready",
				  "the template \"%s\" to start from is still being built", name);
	b->base_envs[i] = json_incref(base.envs);
	return template_root_open(b->t->config.options->data_dir, base.id, &b->base_fd[i], err);
}

struct count {
	unsigned n;
};

static void count_one(void *arg, const struct template *t)
{
	struct count *c = arg;
	c->n++;
}

static int check_room(struct templates *t, const char *owner, struct dw_err *err)
{
	struct count templates = { 0 };
	if (store_template_each(t->config.store, owner, count_one, &templates, err) < 0)
		return -1;
	if (templates.n >= DAEMON_TEMPLATES)
		return dw_err_set(err, DW_ERR_LIMIT, "too_many_templates", "there are %u templates: delete some first",
				  templates.n);
	dw_autoclose int fd = open(t->config.options->data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? dw_err_errno(err, errno, "looking at the disk") : disk_room_check(fd, err);
}

/* Into the list, if there is room. */
static int enlist(struct build *b, struct dw_err *err)
{
	struct templates *t = b->t;
	unsigned all = 0, own = 0;
	int r = 0;
	/* Of several, one is left for others. */
	const unsigned share = DW_MAX(t->config.options->builds, 2u) - 1;
	pthread_mutex_lock(&t->lock);
	for (const struct build *other = t->builds; other; other = other->next) {
		all++;
		own += strcmp(other->record.owner, b->record.owner) == 0;
	}
	if (t->stop) {
		r = dw_err_set(err, DW_ERR_UNAVAILABLE, "stopping", "the server is stopping");
	} else if (all >= t->config.options->builds || own >= share) {
		r = dw_err_set(err, DW_ERR_LIMIT, "too_many_builds",
			       "%u builds are running, %u of them yours: try again when one has ended", all, own);
	} else {
		b->refs = 2; /* the list's, and the caller's */
		b->next = t->builds;
		t->builds = b;
	}
	pthread_mutex_unlock(&t->lock);
	return r;
}

static void delist(struct build *b)
{
	pthread_mutex_lock(&b->t->lock);
	for (struct build **at = &b->t->builds; *at; at = &(*at)->next) {
		if (*at == b) {
			*at = b->next;
			break;
		}
	}
	pthread_mutex_unlock(&b->t->lock);
}

static void pick_ids(struct build *b)
{
	char token[TEMPLATE_ID_RANDOM + 1];
	random_token(token, TEMPLATE_ID_RANDOM);
	snprintf(b->template.id, sizeof(b->template.id), TEMPLATE_ID_PREFIX "%s", token);
	random_token(token, TEMPLATE_ID_RANDOM);
	snprintf(b->record.id, sizeof(b->record.id), BUILD_ID_PREFIX "%s", token);
	snprintf(b->record.template_id, sizeof(b->record.template_id), "%s", b->template.id);
}

static void fill(struct build *b, const char *owner)
{
	static const char *const sources[] = {
		[BUILD_DOCKERFILE] = "build",
		[BUILD_IMPORT] = "import",
		[BUILD_DEBIAN] = "debian",
	};
	struct template *t = &b->template;
	const struct build_spec *s = &b->spec;
	pick_ids(b);
	b->record.created_us = t->created_us = clock_wall_us();
	snprintf(b->record.owner, sizeof(b->record.owner), "%s", owner);
	snprintf(t->owner, sizeof(t->owner), "%s", owner);
	snprintf(t->alias, sizeof(t->alias), "%s", s->alias);
	snprintf(t->source, sizeof(t->source), "%s", sources[s->kind]);
	snprintf(t->start_cmd, sizeof(t->start_cmd), "%s", s->start_cmd ? s->start_cmd : "");
	snprintf(t->ready_check, sizeof(t->ready_check), "%s", s->ready_check ? s->ready_check : "");
	t->vcpus = s->vcpus;
	t->memory_mb = s->memory_mb;
	t->disk_mb = s->disk_mb;
	b->deadline_ms = clock_mono_ms() + (int64_t)b->t->config.options->build_timeout_s * 1000;
}

static int make_rows(struct build *b, struct dw_err *err)
{
	struct store *s = b->t->config.store;
	struct dw_err ignored = { 0 };
	if (store_template_insert(s, &b->template, err) < 0)
		return -1;
	if (store_build_put(s, &b->record, err) == 0)
		return 0;
	DW_IGNORE(store_template_remove(s, b->template.id, &ignored)); /* the next start does */
	return -1;
}

static int build_make(struct build *b, const char *owner, struct dw_err *err)
{
	fill(b, owner);
	b->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	b->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (b->cancel_fd < 0 || b->ended_fd < 0)
		return dw_err_errno(err, errno, "starting the build");
	if (check_packages(b->spec.kind, err) < 0 || check_room(b->t, owner, err) < 0)
		return -1;
	for (size_t i = 0; i < b->spec.bases.n; i++)
		if (open_base(b, i, err) < 0)
			return -1;
	if (enlist(b, err) < 0)
		return -1;
	if (make_rows(b, err) == 0)
		return 0;
	delist(b);
	return -1;
}

int build_new(struct templates *t, const char *owner, struct build_spec *spec, struct build **ret, struct dw_err *err)
{
	struct build *b = calloc(1, sizeof(*b));
	if (!b)
		return dw_err_errno(err, ENOMEM, "starting the build");
	b->t = t;
	b->cancel_fd = b->ended_fd = -1;
	for (size_t i = 0; i < DAEMON_BUILD_BASES; i++)
		b->base_fd[i] = -1;
	b->spec = *spec;
	*spec = (struct build_spec){ 0 };
	if (build_make(b, owner, err) < 0) {
		build_free(b);
		return -1;
	}
	log_event(LOG_LEVEL_INFO, "template build started", "id", b->record.id, "template", b->template.id, NULL);
	*ret = b;
	return 0;
}

void build_say(struct build *b, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&b->t->lock);
	build_log_say(&b->log, text);
	pthread_mutex_unlock(&b->t->lock);
}

/* Everybody sees it ended; its record is in the store before it leaves the list. */
static void settle(struct build *b, enum build_status status, const char *error)
{
	struct templates *t = b->t;
	struct dw_err err = { 0 };
	auto_build_record struct build_record r = { 0 };
	pthread_mutex_lock(&t->lock);
	if (status == BUILD_FAILED)
		build_log_say(&b->log, error);
	build_log_end(&b->log, DAEMON_BUILD_LOG_KEPT);
	b->record.status = status;
	b->record.ended_us = clock_wall_us();
	snprintf(b->record.error, sizeof(b->record.error), "%s", status == BUILD_FAILED ? error : "");
	r = b->record;
	r.logs = build_log_json(&b->log, 0, &r.logs_from);
	b->ended = true;
	pthread_mutex_unlock(&t->lock);
	if (store_build_put(t->config.store, &r, &err) < 0)
		log_event(LOG_LEVEL_ERROR, "build not recorded", "id", r.id, "error", err.message, NULL);
	delist(b);
	raise_event(b->ended_fd);
	log_event(LOG_LEVEL_INFO, "template build ended", "id", r.id, "status", build_status_name(status), "error",
		  r.error, NULL);
	build_unref(b); /* the list's */
}

static void build_fail(struct build *b, const struct dw_err *why)
{
	struct templates *t = b->t;
	struct dw_err err = { 0 };
	char error[sizeof(err.message)];
	pthread_mutex_lock(&t->lock);
	snprintf(error, sizeof(error), "%s", b->reason[0] ? b->reason : why->message);
	pthread_mutex_unlock(&t->lock);
	if (store_template_remove(t->config.store, b->template.id, &err) < 0)
		log_event(LOG_LEVEL_ERROR, "failed template not removed", "id", b->template.id, "error", err.message,
			  NULL);
	template_root_remove(t->config.options->data_dir, b->template.id);
	settle(b, BUILD_FAILED, error);
}

/* Its sandbox has done what it was for. */
static void kill_sandbox(struct build *b)
{
	struct dw_err err = { 0 };
	if (b->record.sandbox_id[0] &&
	    manager_kill(b->t->config.manager, b->record.sandbox_id, "build ended", &err) < 0)
		log_event(LOG_LEVEL_WARN, "build's sandbox not killed", "id", b->record.sandbox_id, "error",
			  err.message, NULL);
}

static void *build_main(void *arg)
{
	struct build *b = arg;
	struct templates *t = b->t;
	struct dw_err err = { 0 };
	int r = build_run(b, &err);
	kill_sandbox(b);
	if (r == 0 && store_template_ready(t->config.store, &b->template, &err) == 0)
		settle(b, BUILD_COMPLETED, "");
	else
		build_fail(b, &err);
	build_unref(b); /* the thread's */
	pthread_mutex_lock(&t->lock);
	t->running--;
	pthread_cond_broadcast(&t->idle);
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

int build_prepare(struct build *b, struct dw_err *err)
{
	if (build_run_prepare(b, err) == 0)
		return 0;
	kill_sandbox(b);
	build_fail(b, err);
	return -1;
}

/* Counted before it runs, so that a stop waits for it. */
static int start_thread(struct build *b, struct dw_err *err)
{
	struct templates *t = b->t;
	pthread_t thread;
	pthread_attr_t attr;
	int e = 0;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_mutex_lock(&t->lock);
	if (!t->stop)
		e = pthread_create(&thread, &attr, build_main, b);
	if (!t->stop && e == 0) {
		b->refs++;
		b->launched = true;
		t->running++;
	}
	const bool stopping = t->stop;
	pthread_mutex_unlock(&t->lock);
	pthread_attr_destroy(&attr);
	if (stopping)
		return dw_err_set(err, DW_ERR_UNAVAILABLE, "stopping", "the server is stopping");
	return e ? dw_err_errno(err, e, "starting the build") : 0;
}

int build_launch(struct build *b, struct dw_err *err)
{
	if (start_thread(b, err) == 0)
		return 0;
	kill_sandbox(b);
	build_fail(b, err);
	return -1;
}

void build_cancel(struct build *b, const char *reason)
{
	struct templates *t = b->t;
	struct dw_err err = { 0 };
	pthread_mutex_lock(&t->lock);
	const bool mine = !b->launched && !b->ended;
	if (!b->reason[0])
		snprintf(b->reason, sizeof(b->reason), "%s", reason);
	raise_event(b->cancel_fd);
	pthread_mutex_unlock(&t->lock);
	if (!mine)
		return;
	kill_sandbox(b);
	build_fail(b, &err);
}

struct build *build_find(struct templates *t, const char *owner, const char *id)
{
	struct build *found = NULL;
	pthread_mutex_lock(&t->lock);
	for (struct build *b = t->builds; b; b = b->next)
		if (strcmp(b->record.id, id) == 0 && strcmp(b->record.owner, owner) == 0)
			found = b;
	if (found)
		found->refs++;
	pthread_mutex_unlock(&t->lock);
	return found;
}

const char *build_id(const struct build *b)
{
	return b->record.id;
}

const char *build_sandbox(const struct build *b)
{
	return b->record.sandbox_id;
}

int build_ended_fd(const struct build *b)
{
	return b->ended_fd;
}

int build_cancel_fd(const struct build *b)
{
	return b->cancel_fd;
}

int build_look(struct build *b, uint64_t since, struct build_record *ret, struct dw_err *err)
{
	pthread_mutex_lock(&b->t->lock);
	*ret = b->record;
	ret->logs = build_log_json(&b->log, since, &ret->logs_from);
	pthread_mutex_unlock(&b->t->lock);
	return ret->logs ? 0 : dw_err_errno(err, ENOMEM, "reading the build");
}

struct use {
	const char *id;
	unsigned n;
};

static void count_use(void *arg, const struct record *r)
{
	struct use *u = arg;
	u->n += strcmp(r->template_name, u->id) == 0;
}

static int check_unused(struct templates *t, const char *id, struct dw_err *err)
{
	struct use use = { .id = id };
	if (manager_alive_each(t->config.manager, count_use, &use, err) < 0)
		return -1;
	if (use.n)
		return dw_err_set(err, DW_ERR_CONFLICT, "template_in_use",
				  "%u sandboxes made from the template are alive: kill them first", use.n);
	const int kept = store_snapshots_use_template(t->config.store, id, err);
	if (kept > 0)
		return dw_err_set(err, DW_ERR_CONFLICT, "template_in_use",
				  "there are snapshots of sandboxes made from the template: delete them first");
	return kept;
}

int templates_delete(struct templates *t, const char *owner, const char *name, struct dw_err *err)
{
	auto_template struct template row = { 0 };
	if (template_is_builtin(name))
		return dw_err_set(err, DW_ERR_FORBIDDEN, "template_builtin",
				  "\"%s\" is the server's own /usr and can not be deleted", name);
	int r = store_template_find(t->config.store, owner, name, &row, err);
	if (r < 0)
		return -1;
	if (r == 0)
		return dw_err_set(err, DW_ERR_NOT_FOUND, "unknown_template", "there is no template \"%s\"", name);
	if (row.state != TEMPLATE_READY)
		return dw_err_set(err, DW_ERR_CONFLICT, "template_building",
				  "the template is still being built: wait for it, or kill the build's sandbox");
	/* With the lock nothing new can begin with it; what had begun before is alive by now, and counted. */
	dw_autoclose int lock = -1;
	if (template_root_lock(t->config.options->data_dir, row.id, &lock, err) < 0 ||
	    check_unused(t, row.id, err) < 0 || store_template_remove(t->config.store, row.id, err) < 0)
		return -1;
	template_root_remove(t->config.options->data_dir, row.id);
	return 0;
}
