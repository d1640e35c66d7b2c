/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/volumes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/utf8.h"
#include "daemon/volumes_internal.h"
#include "runtime/removal.h"

/* Names of what is a volume no more begin so. */
#define GONE_PREFIX ".gone-"

uint64_t volumes_max_bytes(const struct volumes *v)
{
	return v->config.max_bytes;
}

int volume_check_name(const char *name, struct dw_err *err)
{
	const size_t n = name ? strlen(name) : 0;
	bool ok = n && n <= DAEMON_NAME_MAX && utf8_valid_prefix(name, n) == n;
	/* C2 80 to C2 9F are the control characters that terminals know beside those below space. */
	for (size_t i = 0; ok && i < n; i++)
		ok = (uint8_t)name[i] >= ' ' && name[i] != 0x7f &&
		     !((uint8_t)name[i] == 0xc2 && (uint8_t)name[i + 1] < 0xa0);
	if (ok)
		return 0;
	return dw_err_set(err, DW_ERR_INVALID, "invalid_field",
			  "name must be given, with 1 to %u bytes of UTF-8 and no control characters", DAEMON_NAME_MAX);
}

static int open_dir(int at, const char *name)
{
	return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Its files are gone: somebody took them, and what is listed must be there. */
static void check_row(void *arg, const struct volume_row *row)
{
	const struct volumes *v = arg;
	struct stat st;
	if (fstatat(v->dir_fd, row->id, &st, AT_SYMLINK_NOFOLLOW) < 0)
		log_event(LOG_LEVEL_ERROR, "the files of a volume are missing", "id", row->id, NULL);
}

/* Everything in the directory that no record knows. */
static int remove_leftovers(struct volumes *v, struct dw_err *err)
{
	int fd = open_dir(v->dir_fd, ".");
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	unsigned n = 0;
	int r = 0;
	if (!d) {
		if (fd >= 0)
			close(fd);
		return dw_err_errno(err, errno, "reading the volumes' directory");
	}
	for (const struct dirent *e; r >= 0 && (e = readdir(d));) {
		struct volume_row row;
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		r = store_volume_get(v->config.store, e->d_name, NULL, &row, err);
		if (r == 0) {
			dw_remove_tree(v->dir_fd, e->d_name);
			n++;
		}
	}
	closedir(d);
	if (n)
		log_event(LOG_LEVEL_INFO, "leftovers of volumes removed", "count", LOG_NUM(n), NULL);
	return r < 0 ? -1 : 0;
}

static int open_all(struct volumes *v, struct dw_err *err)
{
	char path[PATH_MAX];
	uint64_t total;
	snprintf(path, sizeof(path), "%.*s/volumes", PATH_MAX - 64, v->config.data_dir);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return dw_err_errno(err, errno, "making %s", path);
	v->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (v->dir_fd < 0)
		return dw_err_errno(err, errno, "opening %s", path);
	if (remove_leftovers(v, err) < 0)
		return -1;
	return store_volume_each(v->config.store, NULL, 0, INT64_MAX, check_row, v, &total, err);
}

int volumes_open(const struct volumes_config *config, struct volumes **ret, struct dw_err *err)
{
	struct volumes *v = calloc(1, sizeof(*v));
	if (!v)
		return dw_err_errno(err, ENOMEM, "opening the volumes");
	v->config = *config;
	v->dir_fd = -1;
	pthread_mutex_init(&v->lock, NULL);
	pthread_mutex_init(&v->sweep, NULL);
	if (open_all(v, err) < 0) {
		volumes_close(v);
		return -1;
	}
	*ret = v;
	return 0;
}

void volumes_close(struct volumes *v)
{
	if (!v)
		return;
	if (v->dir_fd >= 0)
		close(v->dir_fd);
	free(v);
}

int volume_get(struct volumes *v, const char *id, const char *owner, struct volume_row *ret, struct dw_err *err)
{
	int r = store_volume_get(v->config.store, id, owner, ret, err);
	if (r == 0)
		return dw_err_set(err, DW_ERR_NOT_FOUND, "volume_not_found", "there is no such volume");
	return r < 0 ? -1 : 0;
}

json_t *volume_to_json(const struct volume_row *v, uint64_t max_bytes)
{
	char at[CLOCK_ISO_SIZE];
	clock_iso(v->created_us, at);
	return json_pack("{ss ss ss ss sI ss s{} ss ss ss sI sI sI}", "volume_id", v->id, "owner_id", v->owner, "name",
			 v->name, "blob_key", "", "size_bytes", (json_int_t)v->archive_bytes, "content_type",
			 "application/gzip", "metadata", "backend", "tarball", "created_at", at, "updated_at", at,
			 "quota_bytes", (json_int_t)max_bytes, "content_bytes", (json_int_t)v->bytes, "file_count",
			 (json_int_t)v->files);
}

int volume_archive(struct volumes *v, const struct volume_row *row, struct dw_err *err)
{
	char path[64];
	snprintf(path, sizeof(path), "%s/" VOLUME_ARCHIVE, row->id);
	int fd = openat(v->dir_fd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	/* Deleted since the record was read. */
	if (fd < 0 && errno == ENOENT)
		return dw_err_set(err, DW_ERR_NOT_FOUND, "volume_not_found", "there is no such volume");
	return fd < 0 ? dw_err_errno(err, errno, "reading the volume") : fd;
}

static int open_files(struct volumes *v, const char *id, const char *subpath, struct dw_err *err)
{
	const struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	char path[64];
	snprintf(path, sizeof(path), "%s/" VOLUME_FILES, id);
	dw_autoclose int top = openat(v->dir_fd, path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (top < 0)
		return dw_err_errno(err, errno, "opening the volume");
	if (!subpath)
		return DW_TAKE_FD(top);
	int fd = (int)syscall(SYS_openat2, top, subpath, &how, sizeof(how));
	if (fd >= 0)
		return fd;
	if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == EXDEV || errno == ENAMETOOLONG)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "subpath is no directory of the volume %s", id);
	return dw_err_errno(err, errno, "opening the volume");
}

int volume_pin(struct volumes *v, const char *id, const char *owner, const char *subpath, int *ret_fd,
	       struct volume_row *ret, struct dw_err *err)
{
	struct volume_pinned *p = calloc(1, sizeof(*p));
	int r = -1;
	if (!p)
		return dw_err_errno(err, ENOMEM, "attaching the volume");
	pthread_mutex_lock(&v->lock);
	if (volume_get(v, id, owner, ret, err) == 0) {
		int fd = open_files(v, id, subpath, err);
		if (fd >= 0) {
			*ret_fd = fd;
			snprintf(p->id, sizeof(p->id), "%s", id);
			p->next = v->pinned;
			v->pinned = DW_TAKE(p);
			r = 0;
		}
	}
	pthread_mutex_unlock(&v->lock);
	free(p);
	return r;
}

void volume_unpin(struct volumes *v, const char *id)
{
	pthread_mutex_lock(&v->lock);
	for (struct volume_pinned **at = &v->pinned; *at; at = &(*at)->next) {
		if (strcmp((*at)->id, id) != 0)
			continue;
		struct volume_pinned *p = *at;
		*at = p->next;
		free(p);
		break;
	}
	pthread_mutex_unlock(&v->lock);
}

struct user {
	const char *id;
	char sandbox[RECORD_ID_SIZE];
};

/* One that has it mounted; who had it copied needs it no more. */
static void find_user(void *arg, const struct record *r)
{
	struct user *u = arg;
	size_t i;
	const json_t *a;
	json_array_foreach(r->doc->volumes, i, a)
	{
		const char *id = json_string_value(json_object_get(a, "volume_id"));
		const char *mode = json_string_value(json_object_get(a, "mode"));
		if (id && mode && strcmp(id, u->id) == 0 && strcmp(mode, "copy") != 0)
			snprintf(u->sandbox, sizeof(u->sandbox), "%s", r->id);
	}
}

/* The lock is held: nothing pins it meanwhile, and what was pinned and let go is in the table of those alive. */
static int check_unused(struct volumes *v, struct manager *m, const char *id, struct dw_err *err)
{
	struct user u = { .id = id };
	for (const struct volume_pinned *p = v->pinned; p; p = p->next) {
		if (strcmp(p->id, id) == 0)
			return dw_err_set(err, DW_ERR_CONFLICT, "volume_in_use",
					  "the volume is being attached to a sandbox at this moment");
	}
	if (manager_alive_each(m, find_user, &u, err) < 0)
		return -1;
	if (!u.sandbox[0])
		return 0;
	return dw_err_set(err, DW_ERR_CONFLICT, "volume_in_use",
			  "the volume is mounted in sandbox %s: kill that first, or attach with mode copy", u.sandbox);
}

int volume_delete(struct volumes *v, struct manager *m, const char *id, const char *owner, struct dw_err *err)
{
	struct volume_row row;
	char gone[64];
	pthread_mutex_lock(&v->lock);
	int r = volume_get(v, id, owner, &row, err);
	if (r == 0)
		r = check_unused(v, m, id, err);
	if (r == 0)
		r = store_volume_remove(v->config.store, id, err);
	if (r == 0) {
		snprintf(gone, sizeof(gone), GONE_PREFIX "%s", id);
		/* One that stays is removed at the next start: no record knows it. */
		DW_IGNORE(renameat(v->dir_fd, id, v->dir_fd, gone));
	}
	pthread_mutex_unlock(&v->lock);
	return r;
}

void volume_sweep(void *arg)
{
	struct volumes *v = arg;
	/* One at a time: two would only take entries from under each other. */
	pthread_mutex_lock(&v->sweep);
	int fd = open_dir(v->dir_fd, ".");
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d && fd >= 0)
		close(fd);
	for (const struct dirent *e; d && (e = readdir(d));) {
		if (strncmp(e->d_name, GONE_PREFIX, sizeof(GONE_PREFIX) - 1) == 0)
			dw_remove_tree(v->dir_fd, e->d_name);
	}
	if (d)
		closedir(d);
	pthread_mutex_unlock(&v->sweep);
}
