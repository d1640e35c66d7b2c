/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removing a path and all below it. Links are removed, never followed: every step is one name in an open directory. It stops at the
 * first thing that can not be removed, and at mount points, before anything in them is touched (the kernel says EBUSY of them).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "agent/file_internal.h"

#define LEVELS_MAX 256 /* open at one time; what is deeper is removed first, on its own */
#define TRIES_MAX  64  /* of removing directories into which somebody else puts things meanwhile */

struct level {
	DIR *dir;
	char name[NAME_MAX + 1]; /* of the directory, in the one above */
};

/* A tree to remove: a name in an open directory. */
struct tree {
	int fd; /* owned */
	char name[NAME_MAX + 1];
	struct level level[LEVELS_MAX];
	unsigned n, tries;
	bool rebased; /* the tree is not the whole one any more */
};

/* 0 = gone, 1 = a directory with something in it, as far as is known, -1 with errno. */
static int remove_name(int fd, const char *name)
{
	if (unlinkat(fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	/* EPERM is what other systems say of a directory. */
	if (errno != EISDIR && errno != EPERM)
		return -1;
	const int number = errno;
	if (unlinkat(fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	if (errno == ENOTEMPTY || errno == EEXIST)
		return 1;
	if (errno == ENOTDIR && number == EISDIR)
		return 1; /* it has become something else in between */
	if (errno == ENOTDIR)
		errno = number;
	return -1;
}

static int above(const struct tree *t)
{
	return t->n ? dirfd(t->level[t->n - 1].dir) : t->fd;
}

static int enter(struct tree *t, const char *name)
{
	dw_autoclose int fd = openat(above(t), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir)
		return -1;
	DW_IGNORE(DW_TAKE_FD(fd)); /* dir's now */
	snprintf(t->level[t->n].name, sizeof(t->level[t->n].name), "%s", name);
	t->level[t->n++].dir = dir;
	return 0;
}

static void leave(struct tree *t)
{
	closedir(t->level[--t->n].dir);
}

/* The innermost directory is a tree of its own from here on, and t->name the name that is at hand. */
static int rebase(struct tree *t, const char *name)
{
	snprintf(t->name, sizeof(t->name), "%s", name); /* before the directory that it was read from is closed */
	const int fd = fcntl(above(t), F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	while (t->n)
		leave(t);
	close(t->fd);
	t->fd = fd;
	t->rebased = true;
	return 0;
}

/* 0 = gone, whoever removed it; 1 = a directory with something in it, the innermost one now; -1 with errno. */
static int remove_or_enter(struct tree *t, const char *name)
{
	for (;;) {
		const int r = remove_name(above(t), name);
		if (r <= 0)
			return r;
		if (t->n == LEVELS_MAX) {
			if (rebase(t, name) != 0)
				return -1;
			name = t->name;
		}
		if (enter(t, name) == 0)
			return 1;
		if (errno == ENOENT)
			return 0;
		/* Somebody else has put another thing there. */
		if ((errno != ENOTDIR && errno != ELOOP) || ++t->tries > TRIES_MAX)
			return -1;
	}
}

/* Everything in the innermost directory has been tried: the directory itself. */
static int finish(struct tree *t)
{
	char name[NAME_MAX + 1];
	leave(t);
	memcpy(name, t->level[t->n].name, sizeof(name));
	const int r = remove_or_enter(t, name);
	if (r <= 0)
		return r;
	if (++t->tries > TRIES_MAX) {
		errno = ENOTEMPTY;
		return -1;
	}
	return 0;
}

/* 1 = the tree is gone, but it was not the whole one; 0 = gone; -1 with errno, and t->n tells where. */
static int remove_tree(struct tree *t)
{
	if (remove_or_enter(t, t->name) < 0)
		return -1;
	while (t->n) {
		errno = 0;
		const struct dirent *d = readdir(t->level[t->n - 1].dir);
		if (!d && errno && errno != ENOENT)
			return -1;
		if (!d) {
			if (finish(t) != 0)
				return -1;
			continue;
		}
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if (remove_or_enter(t, d->d_name) < 0)
			return -1;
	}
	return t->rebased;
}

static int fault(const char *path, const struct tree *t, int number, struct dw_fault *f)
{
	if (t->n)
		return dw_fault_errno(f, number,
				      "\"%.180s\" can not be removed whole, because of something in \"%.180s\"", path,
				      t->level[t->n - 1].name);
	return dw_fault_errno(f, number, "\"%s\" can not be removed", path);
}

int dw_file_remove(const char *path, struct dw_fault *f)
{
	static struct tree t;
	static char dir[PATH_MAX];
	const char *name = strrchr(path, '/') + 1;
	struct stat st;
	if (!*name || strcmp(name, "..") == 0)
		return dw_fault_set(f, EINVAL, "\"%s\" can not be removed", path);
	if (strlen(name) > NAME_MAX)
		return dw_fault_errno(f, ENAMETOOLONG, "\"%s\" can not be removed", path);
	snprintf(dir, sizeof(dir), "%.*s", (int)(name - path), path);
	bool again = false;
	for (int left = 1; left > 0; again = true) {
		t = (struct tree){ .fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC) };
		snprintf(t.name, sizeof(t.name), "%s", name);
		/* That nothing is there is for the first step alone to say. */
		if (t.fd < 0 || fstatat(t.fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
			if (again && errno == ENOENT)
				break;
			return fault(path, &t, errno, f);
		}
		left = remove_tree(&t);
		if (left < 0)
			return fault(path, &t, errno, f);
		close(t.fd);
	}
	dw_file_send(DW_AGENTP_END, 0);
	return 0;
}
