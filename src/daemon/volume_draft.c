/* SPDX-License-Identifier: Apache-2.0 */
/* Making a volume: everything happens in a directory that is none yet, which gets its name at the end. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/clock.h"
#include "daemon/disk_room.h"
#include "daemon/log.h"
#include "daemon/volumes_internal.h"
#include "runtime/removal.h"

#define NEW_PREFIX  ".new-"
#define VOLUME_UID  1000
#define CHECK_EVERY (16u << 20) /* bytes between two looks at the disk */

struct volume_draft {
	struct volumes *v;
	struct volume_row row;
	char name[32]; /* of its directory now */
	int dir_fd, archive_fd;
	uint64_t written, checked;
	bool done;
};

/* gzip of the two empty blocks that end a tar: what an empty volume's download is. */
static const uint8_t empty_archive[] = {
	0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0x63, 0x60, 0x18, 0x05, 0xa3,
	0x60, 0x14, 0x8c, 0x54, 0x00, 0x00, 0x2e, 0xaf, 0xb5, 0xef, 0x00, 0x04, 0x00, 0x00,
};

static int check_room(struct volume_draft *d, struct dw_err *err)
{
	d->checked = d->written;
	return disk_room_check(d->v->dir_fd, err);
}

static int make_files(struct volume_draft *d, struct dw_err *err)
{
	if (mkdirat(d->v->dir_fd, d->name, 0700) < 0)
		return dw_err_errno(err, errno, "making a volume");
	d->dir_fd = openat(d->v->dir_fd, d->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (d->dir_fd < 0 || mkdirat(d->dir_fd, VOLUME_FILES, 0755) < 0 ||
	    fchownat(d->dir_fd, VOLUME_FILES, VOLUME_UID, VOLUME_UID, AT_SYMLINK_NOFOLLOW) < 0)
		return dw_err_errno(err, errno, "making a volume");
	d->archive_fd = openat(d->dir_fd, VOLUME_ARCHIVE, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return d->archive_fd < 0 ? dw_err_errno(err, errno, "making a volume") : 0;
}

static void count_one(void *arg, const struct volume_row *v)
{
}

/* Before anything is sent: the record's own check is the one that counts. */
static int check_count(struct volumes *v, const char *owner, struct dw_err *err)
{
	uint64_t n;
	if (store_volume_each(v->config.store, owner, 0, 0, count_one, NULL, &n, err) < 0)
		return -1;
	if (n >= DAEMON_VOLUMES_OWNER)
		return dw_err_set(err, DW_ERR_LIMIT, "too_many_volumes", "there are %llu volumes: delete one first",
				  (unsigned long long)n);
	return 0;
}

int volume_draft_new(struct volumes *v, const char *owner, const char *name, struct volume_draft **ret,
		     struct dw_err *err)
{
	char token[VOLUME_ID_RANDOM + 1];
	if (volume_check_name(name, err) < 0 || check_count(v, owner, err) < 0)
		return -1;
	DW_AUTO(volume_draft_free) struct volume_draft *d = calloc(1, sizeof(*d));
	if (!d)
		return dw_err_errno(err, ENOMEM, "making a volume");
	d->v = v;
	d->dir_fd = d->archive_fd = -1;
	random_token(token, VOLUME_ID_RANDOM);
	snprintf(d->row.id, sizeof(d->row.id), VOLUME_ID_PREFIX "%s", token);
	snprintf(d->name, sizeof(d->name), NEW_PREFIX "%s", d->row.id);
	snprintf(d->row.owner, sizeof(d->row.owner), "%s", owner);
	snprintf(d->row.name, sizeof(d->row.name), "%s", name);
	if (check_room(d, err) < 0 || make_files(d, err) < 0)
		return -1;
	*ret = DW_TAKE(d);
	return 0;
}

void volume_draft_free(struct volume_draft *d)
{
	if (!d)
		return;
	if (d->archive_fd >= 0)
		close(d->archive_fd);
	if (d->dir_fd >= 0)
		close(d->dir_fd);
	if (!d->done)
		dw_remove_tree(d->v->dir_fd, d->name);
	free(d);
}

static int disk_error(const char *what, struct dw_err *err)
{
	if (errno == ENOSPC || errno == EDQUOT)
		return dw_err_set(err, DW_ERR_TOO_LARGE, "no_space", "the server's disk is full");
	return dw_err_errno(err, errno, "%s", what);
}

int volume_draft_write(struct volume_draft *d, const void *p, size_t n, struct dw_err *err)
{
	const char *at = p;
	if (n > d->v->config.max_bytes - d->written)
		return dw_err_set(err, DW_ERR_TOO_LARGE, "too_large", "a volume has at most %llu bytes",
				  (unsigned long long)d->v->config.max_bytes);
	while (n) {
		ssize_t w = write(d->archive_fd, at, n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return disk_error("storing the volume", err);
		at += w;
		n -= (size_t)w;
		d->written += (uint64_t)w;
	}
	return d->written - d->checked > CHECK_EVERY ? check_room(d, err) : 0;
}

int volume_draft_fd(struct volume_draft *d)
{
	return d->archive_fd;
}

/* Waits for its turn: whoever has sent a large archive is not told to send it again. */
static int start(const struct unpack_order *o, struct unpack_run **ret, struct dw_err *err)
{
	const int64_t until = clock_mono_ms() + DAEMON_VOLUME_TURN_MS;
	while (unpack_start(o, ret, err) < 0) {
		struct pollfd p = { .fd = o->stop_fd, .events = POLLIN };
		if (err->kind != DW_ERR_LIMIT || clock_mono_ms() >= until)
			return -1;
		if (poll(&p, 1, 50) > 0)
			return dw_err_set(err, DW_ERR_UNAVAILABLE, "stopping", "the server is stopping");
	}
	return 0;
}

static int unpack(struct volume_draft *d, struct unpack_counts *ret, struct dw_err *err)
{
	dw_autoclose int files = openat(d->dir_fd, VOLUME_FILES, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (files < 0 || lseek(d->archive_fd, 0, SEEK_SET) < 0)
		return dw_err_errno(err, errno, "unpacking the volume");
	const struct unpack_order order = {
		.path = d->v->config.unpack_path,
		.what = UNPACK_RUN_VOLUME,
		.dir_fd = files,
		.from_fd = d->archive_fd,
		.stop_fd = d->v->config.stop_fd,
		.max_bytes = d->v->config.max_bytes,
		.max_entries = DAEMON_VOLUME_ENTRIES,
	};
	DW_AUTO(unpack_free) struct unpack_run *u = NULL;
	if (start(&order, &u, err) < 0)
		return -1;
	return unpack_finish(u, ret, err);
}

static int publish(struct volume_draft *d, struct volume_row *ret, struct dw_err *err)
{
	struct volumes *v = d->v;
	int r = 0;
	/* Under the lock, so that nobody sees the record of one that is taken back. */
	pthread_mutex_lock(&v->lock);
	d->row.created_us = clock_wall_us();
	if (renameat(v->dir_fd, d->name, v->dir_fd, d->row.id) < 0) {
		r = dw_err_errno(err, errno, "storing the volume");
	} else {
		snprintf(d->name, sizeof(d->name), "%s", d->row.id);
		r = fsync(v->dir_fd) < 0 ? dw_err_errno(err, errno, "storing the volume") : 0;
	}
	if (r == 0)
		r = store_volume_insert(v->config.store, &d->row, DAEMON_VOLUMES_OWNER, err);
	pthread_mutex_unlock(&v->lock);
	d->done = r == 0;
	*ret = d->row;
	return r;
}

int volume_draft_finish(struct volume_draft *d, struct volume_row *ret, struct unpack_counts *ret_counts,
			struct dw_err *err)
{
	*ret_counts = (struct unpack_counts){ 0 };
	struct stat st;
	if (fstat(d->archive_fd, &st) < 0)
		return dw_err_errno(err, errno, "storing the volume");
	if (st.st_size == 0) {
		if (volume_draft_write(d, empty_archive, sizeof(empty_archive), err) < 0)
			return -1;
		st.st_size = sizeof(empty_archive);
	} else if (unpack(d, ret_counts, err) < 0) {
		return -1;
	}
	d->row.archive_bytes = st.st_size;
	d->row.bytes = (int64_t)ret_counts->bytes;
	d->row.files = (int64_t)ret_counts->files;
	/* Its record must not outlive a loss of power that its files do not. */
	if (syncfs(d->archive_fd) < 0)
		return dw_err_errno(err, errno, "storing the volume");
	if (publish(d, ret, err) < 0)
		return -1;
	log_event(LOG_LEVEL_INFO, "volume made", "id", ret->id, "bytes", LOG_NUM(ret->bytes), NULL);
	return 0;
}
