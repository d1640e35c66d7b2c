/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/snapshots.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/test_fail.h"

struct snapshots {
	struct snapshots_config config;
	int dir_fd;
	pthread_mutex_t lock;
	uint64_t reserved; /* for those that are being made */
};

#define NAME_SIZE (SNAPSHOT_ID_SIZE + 8)

static const char *name_of(const char *id, bool draft, char buf[static NAME_SIZE])
{
	snprintf(buf, NAME_SIZE, "%s%s.tar", draft ? "." : "", id);
	return buf;
}

/* Removes what no record knows. */
static int sweep(struct snapshots *s, struct dw_err *err)
{
	int fd = openat(s->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		if (fd >= 0)
			close(fd);
		return dw_err_errno(err, errno, "reading the snapshots' directory");
	}
	int r = 0, n = 0;
	for (const struct dirent *e; r >= 0 && (e = readdir(d));) {
		auto_snapshot_row struct snapshot_row row = { 0 };
		char id[SNAPSHOT_ID_SIZE];
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		snprintf(id, sizeof(id), "%.*s", (int)strcspn(e->d_name, "."), e->d_name);
		r = store_snapshot_get(s->config.store, id, NULL, &row, err);
		if (r == 0 && unlinkat(s->dir_fd, e->d_name, 0) == 0)
			n++;
	}
	closedir(d);
	if (n)
		log_event(LOG_LEVEL_INFO, "leftovers of snapshots removed", "count", LOG_NUM(n), NULL);
	return r < 0 ? -1 : 0;
}

int snapshots_open(const struct snapshots_config *config, struct snapshots **ret, struct dw_err *err)
{
	char path[PATH_MAX];
	struct snapshots *s = calloc(1, sizeof(*s));
	if (!s)
		return dw_err_errno(err, ENOMEM, "opening the snapshots");
	s->config = *config;
	pthread_mutex_init(&s->lock, NULL);
	snprintf(path, sizeof(path), "%.*s/snapshots", PATH_MAX - 64, config->data_dir);
	int r = mkdir(path, 0700) < 0 && errno != EEXIST ? -1 : 0;
	s->dir_fd = r < 0 ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	r = s->dir_fd < 0 ? dw_err_errno(err, errno, "opening %s", path) : sweep(s, err);
	if (r < 0) {
		snapshots_close(s);
		return -1;
	}
	*ret = s;
	return 0;
}

void snapshots_close(struct snapshots *s)
{
	if (!s)
		return;
	if (s->dir_fd >= 0)
		close(s->dir_fd);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* As much as one can take is held free for it until it is there. */
static int reserve(struct snapshots *s, const char *owner, uint64_t *ret, struct dw_err *err)
{
	uint64_t count, bytes;
	pthread_mutex_lock(&s->lock);
	int r = store_snapshot_sums(s->config.store, owner, &count, &bytes, err);
	if (r == 0 && count >= s->config.max_owner)
		r = dw_err_set(err, DW_ERR_LIMIT, "too_many_snapshots",
			       "there are %llu snapshots already, and an owner may have %u here: delete one first",
			       (unsigned long long)count, s->config.max_owner);
	const uint64_t used = bytes + s->reserved;
	if (r == 0 && used >= s->config.max_bytes)
		r = dw_err_set(err, DW_ERR_TOO_LARGE, "snapshots_full",
			       "the server's %llu MiB for snapshots are used up: delete one first",
			       (unsigned long long)(s->config.max_bytes >> 20));
	if (r == 0) {
		*ret = DW_MIN(s->config.max_bytes - used, (uint64_t)DAEMON_SNAPSHOT_MB << 20);
		s->reserved += *ret;
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

int snapshot_draft_begin(struct snapshots *s, const char *owner, struct snapshot_draft *ret, struct dw_err *err)
{
	auto_snapshot_draft struct snapshot_draft d = { .fd = -1 };
	char token[SNAPSHOT_ID_RANDOM + 1], name[NAME_SIZE];
	if (reserve(s, owner, &d.max_bytes, err) < 0)
		return -1;
	d.in = s;
	random_token(token, SNAPSHOT_ID_RANDOM);
	snprintf(d.row.id, sizeof(d.row.id), SNAPSHOT_ID_PREFIX "%s", token);
	snprintf(d.row.owner, sizeof(d.row.owner), "%s", owner);
	if (test_fails("daemon.snapshot_file", err) < 0)
		return -1;
	d.fd = openat(s->dir_fd, name_of(d.row.id, true, name), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		      0600);
	if (d.fd < 0)
		return dw_err_errno(err, errno, "making the snapshot's file");
	*ret = d;
	d = SNAPSHOT_DRAFT_NONE;
	return 0;
}

static int settle(const struct snapshot_draft *d, struct dw_err *err)
{
	char from[NAME_SIZE], to[NAME_SIZE];
	if (test_fails("daemon.snapshot_sync", err) < 0)
		return -1;
	if (fsync(d->fd) < 0 ||
	    renameat2(d->in->dir_fd, name_of(d->row.id, true, from), d->in->dir_fd, name_of(d->row.id, false, to),
		      RENAME_NOREPLACE) < 0 ||
	    fsync(d->in->dir_fd) < 0)
		return errno == ENOSPC || errno == EDQUOT
			       ? dw_err_set(err, DW_ERR_TOO_LARGE, "server_disk_full",
					    "the server's disk has no room for this snapshot")
			       : dw_err_errno(err, errno, "writing the snapshot");
	return 0;
}

int snapshot_draft_finish(struct snapshot_draft *d, struct dw_err *err)
{
	if (settle(d, err) < 0 || test_fails("daemon.snapshot_store", err) < 0 ||
	    store_snapshot_insert(d->in->config.store, &d->row, d->in->config.max_owner, err) < 0)
		return -1;
	close(DW_TAKE_FD(d->fd));
	return 0;
}

void snapshot_draft_done(struct snapshot_draft *d)
{
	if (d->in) {
		pthread_mutex_lock(&d->in->lock);
		d->in->reserved -= d->max_bytes;
		pthread_mutex_unlock(&d->in->lock);
	}
	if (d->fd >= 0) {
		char name[NAME_SIZE];
		close(d->fd);
		/* It has one name or the other; what stays after all goes at the next start. */
		unlinkat(d->in->dir_fd, name_of(d->row.id, true, name), 0);
		unlinkat(d->in->dir_fd, name_of(d->row.id, false, name), 0);
	}
	snapshot_row_done(&d->row);
	*d = SNAPSHOT_DRAFT_NONE;
}

static int not_found(struct dw_err *err)
{
	return dw_err_set(err, DW_ERR_NOT_FOUND, "snapshot_not_found", "there is no such snapshot");
}

int snapshot_get(struct snapshots *s, const char *id, const char *owner, const char *sandbox, struct snapshot_row *ret,
		 struct dw_err *err)
{
	auto_snapshot_row struct snapshot_row row = { 0 };
	int r = store_snapshot_get(s->config.store, id, owner, &row, err);
	if (r < 0)
		return -1;
	if (r == 0 || (sandbox && strcmp(row.sandbox, sandbox) != 0))
		return not_found(err);
	*ret = row;
	row.volumes = NULL;
	return 0;
}

static void take_row(void *arg, const struct snapshot_row *r)
{
	struct snapshot_row *ret = arg;
	*ret = *r;
	json_incref(ret->volumes);
}

int snapshot_newest(struct snapshots *s, const char *owner, const char *sandbox, struct snapshot_row *ret,
		    struct dw_err *err)
{
	struct snapshot_row row = { 0 };
	if (store_snapshot_each(s->config.store, owner, sandbox, 0, 1, take_row, &row, err) < 0)
		return -1;
	if (!row.id[0])
		return dw_err_set(err, DW_ERR_NOT_FOUND, "snapshot_not_found",
				  "the sandbox has no snapshot to be restored from");
	*ret = row;
	return 0;
}

int snapshot_open(struct snapshots *s, const struct snapshot_row *row, int *ret_fd, struct dw_err *err)
{
	char name[NAME_SIZE];
	struct stat st;
	dw_autoclose int fd = openat(s->dir_fd, name_of(row->id, false, name), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return not_found(err);
	if (fd < 0 || fstat(fd, &st) < 0)
		return dw_err_errno(err, errno, "opening the snapshot");
	if (st.st_size != row->bytes)
		return dw_err_set(err, DW_ERR_INTERNAL, "internal", "the snapshot's file is not as it was written");
	*ret_fd = DW_TAKE_FD(fd);
	return 0;
}

int snapshot_delete(struct snapshots *s, const char *id, const char *owner, const char *sandbox, struct dw_err *err)
{
	auto_snapshot_row struct snapshot_row row = { 0 };
	char name[NAME_SIZE];
	bool gone;
	int r = store_snapshot_get(s->config.store, id, owner, &row, err);
	if (r < 0)
		return -1;
	if (r == 0 || (sandbox && strcmp(row.sandbox, sandbox) != 0))
		return 0;
	/* The record first: a file without one is nobody's. */
	if (store_snapshot_remove(s->config.store, id, &gone, err) < 0)
		return -1;
	if (gone && unlinkat(s->dir_fd, name_of(id, false, name), 0) < 0)
		log_event(LOG_LEVEL_WARN, "the file of a snapshot was not removed", "id", id, "errno", LOG_NUM(errno),
			  NULL);
	return 0;
}

json_t *snapshot_to_json(const struct snapshot_row *r)
{
	char at[CLOCK_ISO_SIZE];
	/* Memory is not part of it, and that is said: the keys are those of servers where it is. */
	return json_pack("{ss ss ss ss ss sn sI ss ss ss sI}", "snapshot_id", r->id, "sandbox_id", r->sandbox, "source",
			 "manual", "mem_blob_key", "", "vmstate_blob_key", "", "mem_size_bytes", "pause_duration_ms",
			 (json_int_t)r->pause_ms, "created_at", clock_iso(r->created_us, at), "kept", "files",
			 "template_id", r->template_name, "size_bytes", (json_int_t)r->bytes);
}
