/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/layer.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#define READ_BLOCK (256u << 10)

DW_DEFINE_CLEANUP(struct archive *, archive_read_free)

struct filling {
	struct archive *a;
	struct archive_entry *e;
	int dir_fd;
	int parent_fd; /* of the last entry, or -1 */
	char parent[DW_LAYER_PATH_MAX + 1];
	bool begun, whole; /* "usr" was there; it was there again, as the last entry */
};

static int library_errno(const struct filling *f)
{
	const int e = archive_errno(f->a);
	return e > 0 ? -e : -EBADMSG;
}

/* No link is followed on the way. */
static int open_dir(int dir_fd, const char *path)
{
	const struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	int fd = (int)syscall(SYS_openat2, dir_fd, *path ? path : ".", &how, sizeof(how));
	return fd < 0 ? -errno : fd;
}

/* Cuts path before its last name, which is returned. */
static const char *split(char *path)
{
	char *slash = strrchr(path, '/');
	if (!slash) {
		memmove(path + 1, path, strlen(path) + 1);
		*path = '\0';
		return path + 1;
	}
	*slash = '\0';
	return slash + 1;
}

/* A name of the archive, checked, in a buffer of its own. */
static int take_name(const char *name, char ret[static DW_LAYER_PATH_MAX + 2])
{
	size_t n = name ? strlen(name) : 0;
	while (n && name[n - 1] == '/')
		n--;
	if (n == 0 || n > DW_LAYER_PATH_MAX)
		return -EBADMSG;
	memcpy(ret, name, n);
	ret[n] = '\0';
	return dw_layer_name_ok(ret) ? 0 : -EBADMSG;
}

static int reach_parent(struct filling *f, const char *parent)
{
	if (f->parent_fd >= 0 && strcmp(f->parent, parent) == 0)
		return 0;
	if (f->parent_fd >= 0)
		close(f->parent_fd);
	f->parent_fd = open_dir(f->dir_fd, parent);
	if (f->parent_fd < 0)
		return f->parent_fd;
	memcpy(f->parent, parent, strlen(parent) + 1);
	return 0;
}

static void times_of(const struct filling *f, struct timespec ret[2])
{
	ret[0].tv_nsec = ret[1].tv_nsec = UTIME_OMIT;
	if (archive_entry_mtime_is_set(f->e)) {
		ret[1].tv_sec = archive_entry_mtime(f->e);
		ret[1].tv_nsec = archive_entry_mtime_nsec(f->e);
		ret[0] = ret[1];
	}
}

/* Owner before mode, which a change of owner takes bits of; attributes after both; times last. */
static int dress(const struct filling *f, int fd)
{
	struct timespec times[2];
	const char *name;
	const void *value;
	size_t n;
	if (fchown(fd, (uid_t)archive_entry_uid(f->e), (gid_t)archive_entry_gid(f->e)) < 0 ||
	    fchmod(fd, archive_entry_mode(f->e) & 07777) < 0)
		return -errno;
	archive_entry_xattr_reset(f->e);
	while (archive_entry_xattr_next(f->e, &name, &value, &n) == ARCHIVE_OK) {
		if (!name || !dw_layer_xattr_ok(name))
			return -EBADMSG;
		if (fsetxattr(fd, name, value, n, 0) < 0)
			return -errno;
	}
	times_of(f, times);
	return futimens(fd, times) < 0 ? -errno : 0;
}

static int write_at(int fd, const char *data, size_t n, off_t at)
{
	while (n) {
		ssize_t w = pwrite(fd, data, n, at);
		if (w <= 0)
			return w < 0 ? -errno : -EIO;
		data += w;
		at += w;
		n -= (size_t)w;
	}
	return 0;
}

static int fill_file(const struct filling *f, const char *name)
{
	const int64_t size = archive_entry_size(f->e);
	dw_autoclose int fd = openat(f->parent_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	for (;;) {
		const void *data;
		size_t n;
		la_int64_t at;
		int r = archive_read_data_block(f->a, &data, &n, &at);
		if (r == ARCHIVE_EOF)
			break;
		if (r < ARCHIVE_WARN)
			return library_errno(f);
		if (at < 0 || at > size || (int64_t)n > size - at)
			return -EBADMSG;
		r = write_at(fd, data, n, at);
		if (r < 0)
			return r;
	}
	return ftruncate(fd, size) < 0 ? -errno : dress(f, fd);
}

/* It may be there: made ahead, or this is its second entry. */
static int fill_dir(const struct filling *f, const char *name)
{
	if (mkdirat(f->parent_fd, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	dw_autoclose int fd = openat(f->parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : dress(f, fd);
}

static int fill_hardlink(const struct filling *f, const char *target, const char *name)
{
	char path[DW_LAYER_PATH_MAX + 2];
	int r = take_name(target, path);
	if (r < 0)
		return r;
	const char *last = split(path);
	dw_autoclose int dir = open_dir(f->dir_fd, path);
	if (dir < 0)
		return dir;
	return linkat(dir, last, f->parent_fd, name, 0) < 0 ? -errno : 0;
}

static int fill_node(const struct filling *f, const char *name)
{
	const mode_t type = archive_entry_filetype(f->e);
	struct timespec times[2];
	if (type == S_IFLNK) {
		const char *target = archive_entry_symlink(f->e);
		if (!target || !*target)
			return -EBADMSG;
		if (symlinkat(target, f->parent_fd, name) < 0)
			return -errno;
	} else if (type == S_IFIFO || (type == S_IFCHR && archive_entry_rdev(f->e) == makedev(0, 0))) {
		if (mknodat(f->parent_fd, name, type | 0600, 0) < 0 ||
		    fchmodat(f->parent_fd, name, archive_entry_mode(f->e) & 07777, 0) < 0)
			return -errno;
	} else {
		return -EBADMSG;
	}
	times_of(f, times);
	if (fchownat(f->parent_fd, name, (uid_t)archive_entry_uid(f->e), (gid_t)archive_entry_gid(f->e),
		     AT_SYMLINK_NOFOLLOW) < 0 ||
	    utimensat(f->parent_fd, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

static int fill_entry(struct filling *f)
{
	char path[DW_LAYER_PATH_MAX + 2];
	int r = take_name(archive_entry_pathname(f->e), path);
	if (r < 0)
		return r;
	const bool last = strcmp(path, DW_LAYER_LAST) == 0 && archive_entry_filetype(f->e) == S_IFDIR;
	f->whole = last && f->begun;
	f->begun |= last;
	const char *name = split(path);
	r = reach_parent(f, path);
	if (r < 0)
		return r;
	if (archive_entry_hardlink(f->e))
		return fill_hardlink(f, archive_entry_hardlink(f->e), name);
	if (archive_entry_filetype(f->e) == S_IFREG)
		return fill_file(f, name);
	return archive_entry_filetype(f->e) == S_IFDIR ? fill_dir(f, name) : fill_node(f, name);
}

int dw_layer_fill(int layer_fd, int dir_fd)
{
	struct archive *a DW_AUTO(archive_read_free) = archive_read_new();
	struct filling f = { .a = a, .dir_fd = dir_fd, .parent_fd = -1 };
	if (!a)
		return -ENOMEM;
	if (lseek(layer_fd, 0, SEEK_SET) < 0)
		return -errno;
	if (archive_read_support_format_tar(a) != ARCHIVE_OK ||
	    archive_read_open_fd(a, layer_fd, READ_BLOCK) != ARCHIVE_OK)
		return library_errno(&f);
	int r = 0;
	while (r == 0) {
		const int got = archive_read_next_header(a, &f.e);
		if (got == ARCHIVE_EOF) {
			/* Zeros are an end of archive too: what a disk has lost of one. */
			r = f.whole ? 0 : -EBADMSG;
			break;
		}
		r = got < ARCHIVE_WARN ? library_errno(&f) : fill_entry(&f);
	}
	if (f.parent_fd >= 0)
		close(f.parent_fd);
	return r;
}
