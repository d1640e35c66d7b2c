/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/attach.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* Directories within each other in what is copied; each costs a descriptor. */
#define COPY_DEPTH_MAX 512
#define COPY_CHUNK     (1u << 20)
#define ATTACH_OWNER   1000

static int open_in(int root_fd, const char *path)
{
	const struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	int fd = (int)syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
	return fd < 0 ? -errno : fd;
}

/* One directory more, its parent's owner's. */
static int make_in(int parent_fd, const char *name)
{
	struct stat st;
	if (fstat(parent_fd, &st) < 0 || mkdirat(parent_fd, name, 0755) < 0)
		return -errno;
	int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* In a layer that is not idmapped the parent may be nobody's. */
	if (fchown(fd, st.st_uid, st.st_gid) < 0 && errno != EINVAL && errno != EOVERFLOW) {
		int e = errno;
		close(fd);
		return -e;
	}
	return fd;
}

/* The directory at path, made with its parents where absent. A descriptor or -errno. */
static int reach(int root_fd, const char *path)
{
	char part[DW_ATTACH_PATH_MAX];
	dw_autoclose int at = open_in(root_fd, "/");
	if (at < 0)
		return at;
	for (const char *end = path; *end;) {
		const char *name = end + 1;
		end = strchrnul(name, '/');
		memcpy(part, path, (size_t)(end - path));
		part[end - path] = '\0';
		int next = open_in(root_fd, part);
		if (next == -ENOENT)
			next = make_in(at, part + (name - path));
		if (next < 0)
			return next;
		close(at);
		at = next;
	}
	return DW_TAKE_FD(at);
}

static int copy_data(int from, int to, off_t size)
{
	for (off_t at = 0; at < size;) {
		off_t data = lseek(from, at, SEEK_DATA);
		if (data < 0)
			return errno == ENXIO ? 0 : -errno; /* a hole to the end */
		off_t end = lseek(from, data, SEEK_HOLE);
		if (end < 0)
			return -errno;
		if (lseek(to, data, SEEK_SET) < 0)
			return -errno;
		for (at = data; at < end;) {
			ssize_t n = sendfile(to, from, &at, (size_t)DW_MIN((off_t)COPY_CHUNK, end - at));
			if (n < 0)
				return -errno;
			if (n == 0)
				return 0; /* it has become shorter */
		}
	}
	return 0;
}

/* A new file in the place of a file or link of that name. */
static int create_over(int to_dir, const char *name)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(to_dir, name, flags, 0600);
	if (fd < 0 && errno == EEXIST && unlinkat(to_dir, name, 0) == 0)
		fd = openat(to_dir, name, flags, 0600);
	return fd < 0 ? -errno : fd;
}

/* Mode and times; the owner is always the same. Set-id bits have no meaning here. */
static int dress(int fd, const struct stat *st)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };
	if (fchown(fd, ATTACH_OWNER, ATTACH_OWNER) < 0 || fchmod(fd, st->st_mode & 0777) < 0 || futimens(fd, times) < 0)
		return -errno;
	return 0;
}

static int copy_file(int from_dir, int to_dir, const char *name)
{
	struct stat st;
	dw_autoclose int from = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (from < 0 || fstat(from, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	dw_autoclose int to = create_over(to_dir, name);
	if (to < 0)
		return to;
	int r = copy_data(from, to, st.st_size);
	if (r == 0 && ftruncate(to, st.st_size) < 0)
		r = -errno;
	return r == 0 ? dress(to, &st) : r;
}

static int copy_tree(int from_fd, int to_fd, unsigned depth);

static int copy_dir(int from_dir, int to_dir, const char *name, unsigned depth)
{
	struct stat st;
	dw_autoclose int from = openat(from_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (from < 0 || fstat(from, &st) < 0 || (mkdirat(to_dir, name, 0700) < 0 && errno != EEXIST))
		return -errno;
	dw_autoclose int to = openat(to_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to < 0)
		return -errno;
	int r = copy_tree(from, to, depth);
	return r == 0 ? dress(to, &st) : r;
}

/* All that is in from_fd. Links and the rest are not in what is attached, and would be left out. */
static int copy_tree(int from_fd, int to_fd, unsigned depth)
{
	if (depth == 0)
		return -ELOOP;
	int fd = openat(from_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		int e = errno;
		if (fd >= 0)
			close(fd);
		return -e;
	}
	int r = 0;
	for (const struct dirent *e; r == 0 && (e = readdir(d));) {
		struct stat st;
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			r = -errno;
		else if (S_ISDIR(st.st_mode))
			r = copy_dir(fd, to_fd, e->d_name, depth - 1);
		else if (S_ISREG(st.st_mode))
			r = copy_file(fd, to_fd, e->d_name);
	}
	closedir(d);
	return r;
}

/* 1, 0 or -errno. */
static int is_empty(int dir_fd)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		int e = errno;
		if (fd >= 0)
			close(fd);
		return -e;
	}
	int r = 1;
	for (const struct dirent *e; r == 1 && (e = readdir(d));)
		r = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
	closedir(d);
	return r;
}

/* A directory that had something in it keeps its owner: it is not only the attached one now. */
static int copy_into(int mount_fd, int target_fd)
{
	struct stat st;
	dw_autoclose int to = openat(target_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (to < 0 || fstat(mount_fd, &st) < 0)
		return -errno;
	const int empty = is_empty(to);
	int r = empty < 0 ? empty : copy_tree(mount_fd, to, COPY_DEPTH_MAX);
	return r == 0 && empty == 1 ? dress(to, &st) : r;
}

int dw_attach_seal(int mount_fd, const char *layer)
{
	char options[64];
	if (mkdir(layer, 0755) < 0 || move_mount(mount_fd, "", AT_FDCWD, layer, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return -errno;
	snprintf(options, sizeof(options), "%s:/m/empty", layer);
	dw_autoclose int fs = fsopen("overlay", FSOPEN_CLOEXEC);
	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "lowerdir", options, 0) < 0 ||
	    fsconfig(fs, FSCONFIG_SET_FLAG, "userxattr", NULL, 0) < 0 ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	int fd = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	return fd < 0 ? -errno : fd;
}

int dw_attach_enter(const char *root, const struct dw_attach_rec *a, int mount_fd)
{
	dw_autoclose int root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
		return -errno;
	dw_autoclose int target = reach(root_fd, a->path);
	if (target < 0)
		return target;
	/* Through a link of the template's: what is mounted there would hide everything. */
	struct stat top, here;
	if (fstat(root_fd, &top) < 0 || fstat(target, &here) < 0)
		return -errno;
	if (top.st_dev == here.st_dev && top.st_ino == here.st_ino)
		return -ELOOP;
	if (a->mode == DW_ATTACH_COPY)
		return copy_into(mount_fd, target);
	return move_mount(mount_fd, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0 ? -errno : 0;
}
