/* SPDX-License-Identifier: Apache-2.0 */
#include "unpack/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static int open_beneath(int dir, const char *path, int flags, mode_t mode)
{
	const struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.mode = mode,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
	};
	return (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

int tree_error(int errnum, const char *path, struct dw_err *err)
{
	char name[96];
	unpack_printable(path, name, sizeof(name));
	if (errnum == ENOSPC || errnum == EDQUOT)
		return dw_err_set(err, DW_ERR_TOO_LARGE, "no_space", "the server's disk is full, at \"%s\"", name);
	if (errnum == EFBIG)
		return dw_err_set(err, DW_ERR_TOO_LARGE, "too_large", "\"%s\" is too large", name);
	return dw_err_errno(err, errnum, "unpacking \"%s\"", name);
}

/* What an earlier entry has put in the way, as opposed to a failure. */
static bool in_the_way(int errnum)
{
	return errnum == ENOTDIR || errnum == ELOOP || errnum == EXDEV || errnum == ENAMETOOLONG;
}

int tree_open(struct tree *t, enum unpack_mode mode, uint64_t dirs_max, struct dw_err *err)
{
	*t = (struct tree){ .mode = mode, .parent = -1, .dirs_max = dirs_max };
	t->root = open_beneath(AT_FDCWD, ".", O_RDONLY | O_DIRECTORY, 0);
	return t->root < 0 ? dw_err_errno(err, errno, "the target") : 0;
}

void tree_close(struct tree *t)
{
	if (t->parent >= 0)
		close(t->parent);
	if (t->root >= 0)
		close(t->root);
	t->parent = t->root = -1;
}

static int make_dir(struct tree *t, int at, const char *name, mode_t mode)
{
	if (t->dirs_made >= t->dirs_max) {
		errno = ENFILE; /* tree_dir and parent_of know it */
		return -1;
	}
	if (mkdirat(at, name, mode) < 0)
		return -1;
	t->dirs_made++;
	return 0;
}

static int dirs_error(const char *path, struct dw_err *err)
{
	if (errno == ENFILE)
		return dw_err_set(err, DW_ERR_TOO_LARGE, "too_many",
				  "the archive makes more directories than are allowed");
	return tree_error(errno, path, err);
}

/* The directories of path, those that are missing made as `mkdir -p` makes them. */
static int make_parents(struct tree *t, const char *path, struct dw_err *err)
{
	char part[UNPACK_PATH_MAX];
	for (const char *s = path;; s++) {
		s += strcspn(s, "/");
		snprintf(part, sizeof(part), "%.*s", (int)(s - path), path);
		const char *name;
		size_t n = unpack_parent(part, &name);
		dw_autoclose int up = -1;
		if (n) {
			char before[UNPACK_PATH_MAX];
			snprintf(before, sizeof(before), "%.*s", (int)n, part);
			up = open_beneath(t->root, before, O_PATH | O_DIRECTORY, 0);
			if (up < 0)
				return in_the_way(errno) ? 0 : tree_error(errno, before, err);
		}
		if (make_dir(t, n ? up : t->root, name, 0755) < 0 && errno != EEXIST)
			return in_the_way(errno) ? 0 : dirs_error(part, err);
		if (!*s)
			return 1;
	}
}

/* 1: *ret_fd is the directory path is to be in, borrowed, and *ret_name what it is called there. */
static int parent_of(struct tree *t, const char *path, int *ret_fd, const char **ret_name, struct dw_err *err)
{
	size_t n = unpack_parent(path, ret_name);
	*ret_fd = t->root;
	if (!n)
		return 1;
	if (t->parent >= 0 && strlen(t->parent_path) == n && memcmp(t->parent_path, path, n) == 0) {
		*ret_fd = t->parent;
		return 1;
	}
	if (t->parent >= 0)
		close(t->parent);
	t->parent = -1;
	snprintf(t->parent_path, sizeof(t->parent_path), "%.*s", (int)n, path);
	t->parent = open_beneath(t->root, t->parent_path, O_PATH | O_DIRECTORY, 0);
	if (t->parent < 0 && errno == ENOENT) {
		int r = make_parents(t, t->parent_path, err);
		if (r <= 0)
			return r;
		t->parent = open_beneath(t->root, t->parent_path, O_PATH | O_DIRECTORY, 0);
	}
	if (t->parent < 0)
		return in_the_way(errno) ? 0 : tree_error(errno, path, err);
	*ret_fd = t->parent;
	return 1;
}

/* Only a directory at the top can be the one that was last used: the one that name stands in is in use, and what holds another is not empty. */
static void forget_parent(struct tree *t, int at)
{
	if (at != t->root || t->parent < 0)
		return;
	close(t->parent);
	t->parent = -1;
}

/* Takes away what has this name. 1 gone or never there, 0 a directory that is not empty, -1 error. */
static int clear_name(struct tree *t, const char *path, int at, const char *name, struct dw_err *err)
{
	struct stat st;
	if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 1 : in_the_way(errno) ? 0 : tree_error(errno, path, err);
	bool dir = S_ISDIR(st.st_mode);
	if (unlinkat(at, name, dir ? AT_REMOVEDIR : 0) < 0)
		return dir && (errno == ENOTEMPTY || errno == EEXIST) ? 0 : tree_error(errno, path, err);
	if (dir) {
		t->dirs_made -= t->dirs_made > 0;
		forget_parent(t, at);
	}
	if (S_ISREG(st.st_mode) && st.st_nlink == 1) {
		t->replaced_bytes += (uint64_t)st.st_size;
		t->replaced_files++;
	}
	return 1;
}

static int own(struct tree *t, const struct unpack_entry *e, int fd, struct dw_err *err)
{
	/* The mode after the owner: giving a file away takes setuid off. A volume's files are born with their owner. */
	if (t->mode == UNPACK_TEMPLATE && fchown(fd, e->uid, e->gid) < 0)
		return tree_error(errno, e->path, err);
	return fchmod(fd, e->mode) < 0 ? tree_error(errno, e->path, err) : 1;
}

int tree_dir(struct tree *t, const struct unpack_entry *e, struct dw_err *err)
{
	int at;
	const char *name;
	if (!e->path[0]) /* a volume's own directory stays as the server made it */
		return t->mode == UNPACK_TEMPLATE ? own(t, e, t->root, err) : 1;
	int r = parent_of(t, e->path, &at, &name, err);
	if (r <= 0)
		return r;
	if (make_dir(t, at, name, 0700) < 0) {
		struct stat st;
		if (errno != EEXIST)
			return in_the_way(errno) ? 0 : dirs_error(e->path, err);
		if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return tree_error(errno, e->path, err);
		if (!S_ISDIR(st.st_mode)) {
			r = clear_name(t, e->path, at, name, err);
			if (r <= 0)
				return r;
			if (make_dir(t, at, name, 0700) < 0)
				return dirs_error(e->path, err);
		}
	}
	dw_autoclose int fd = open_beneath(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (fd < 0)
		return tree_error(errno, e->path, err);
	return own(t, e, fd, err);
}

/* The place for something that is no directory, free. */
static int free_place(struct tree *t, const struct unpack_entry *e, int *ret_at, const char **ret_name,
		      struct dw_err *err)
{
	int r = parent_of(t, e->path, ret_at, ret_name, err);
	return r <= 0 ? r : clear_name(t, e->path, *ret_at, *ret_name, err);
}

int tree_symlink(struct tree *t, const struct unpack_entry *e, const char *target, struct dw_err *err)
{
	int at;
	const char *name;
	int r = free_place(t, e, &at, &name, err);
	if (r <= 0)
		return r;
	if (symlinkat(target, at, name) < 0 || fchownat(at, name, e->uid, e->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return tree_error(errno, e->path, err);
	return 1;
}

int tree_hardlink(struct tree *t, const struct unpack_entry *e, struct dw_err *err)
{
	int at;
	const char *name, *from_name;
	char dir[UNPACK_PATH_MAX];
	struct stat st;
	if (strcmp(e->path, e->hard) == 0)
		return 0;
	size_t n = unpack_parent(e->hard, &from_name);
	snprintf(dir, sizeof(dir), "%.*s", (int)n, e->hard);
	dw_autoclose int from = open_beneath(t->root, n ? dir : ".", O_PATH | O_DIRECTORY, 0);
	if (from < 0)
		return errno == ENOENT || in_the_way(errno) ? 0 : tree_error(errno, e->path, err);
	if (fstatat(from, from_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : tree_error(errno, e->path, err);
	if (S_ISDIR(st.st_mode))
		return 0;
	int r = free_place(t, e, &at, &name, err);
	if (r <= 0)
		return r;
	/* Never followed: a link to a symbolic link is one to the link itself. */
	if (linkat(from, from_name, at, name, 0) < 0)
		return errno == ENOENT || errno == EMLINK ? 0 : tree_error(errno, e->path, err);
	return 1;
}

int tree_fifo(struct tree *t, const struct unpack_entry *e, struct dw_err *err)
{
	int at;
	const char *name;
	int r = free_place(t, e, &at, &name, err);
	if (r <= 0)
		return r;
	if (mknodat(at, name, S_IFIFO | (e->mode & 0777), 0) < 0 ||
	    fchownat(at, name, e->uid, e->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return tree_error(errno, e->path, err);
	return 1;
}

int tree_file(struct tree *t, const struct unpack_entry *e, int *ret_fd, struct dw_err *err)
{
	int at;
	const char *name;
	int r = free_place(t, e, &at, &name, err);
	if (r <= 0)
		return r;
	*ret_fd = open_beneath(at, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
	return *ret_fd < 0 ? tree_error(errno, e->path, err) : 1;
}

int tree_finish(struct tree *t, const struct unpack_entry *e, int fd, struct dw_err *err)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_NOW }, { .tv_sec = e->mtime } };
	if (own(t, e, fd, err) < 0)
		return -1;
	/* A time that this file system can not hold is no reason to refuse a file. */
	DW_IGNORE(futimens(fd, times));
	return 1;
}
