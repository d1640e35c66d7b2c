/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/template_root.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/netplan.h"
#include "daemon/template.h"
#include "runtime/removal.h"

#define ACCOUNT_FILE_MAX (1u << 20)
#define USER_ID          1000

/* A path inside, links included, as a process with this root would see it. */
static int open_in(int root_fd, const char *path, int flags)
{
	const struct open_how how = {
		.flags = (uint64_t)flags | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
	};
	long fd = syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
	return fd < 0 ? -errno : (int)fd;
}

static int bad(struct dw_err *err, const char *path, const char *what)
{
	return dw_err_set(err, DW_ERR_INVALID, "bad_template", "the image can not become a template: /%s %s", path,
			  what);
}

struct place {
	const char *path;
	mode_t mode; /* of one that has to be made */
	uid_t owner;
	bool plain; /* something is mounted over it, so it must be no link */
};

static int finish_dir(int root_fd, const struct place *p, struct dw_err *err)
{
	char parent[32];
	const char *name = strrchr(p->path, '/');
	snprintf(parent, sizeof(parent), "%.*s", name ? (int)(name - p->path) : 1, name ? p->path : ".");
	name = name ? name + 1 : p->path;
	dw_autoclose int fd = open_in(root_fd, p->path, O_DIRECTORY | O_RDONLY | (p->plain ? O_NOFOLLOW : 0));
	if (fd >= 0)
		return 0;
	if (fd != -ENOENT)
		return bad(err, p->path, "is no directory");
	dw_autoclose int dir = open_in(root_fd, parent, O_DIRECTORY | O_RDONLY);
	if (dir < 0 || mkdirat(dir, name, 0700) < 0)
		return bad(err, p->path, "is a link to nowhere");
	if (fchmodat(dir, name, p->mode, 0) < 0 || fchownat(dir, name, p->owner, p->owner, AT_SYMLINK_NOFOLLOW) < 0)
		return dw_err_errno(err, errno, "finishing the template");
	return 0;
}

/* Whether a line begins with name and a colon, or has id as its third field. */
static bool has_account(const char *text, size_t n, const char *name, unsigned id)
{
	const size_t name_n = strlen(name);
	for (const char *line = text, *end = text + n; line < end;) {
		const char *next = memchr(line, '\n', (size_t)(end - line));
		const size_t line_n = (size_t)((next ? next : end) - line);
		const char *a = memchr(line, ':', line_n);
		const char *b = a ? memchr(a + 1, ':', line_n - (size_t)(a + 1 - line)) : NULL;
		char field[12] = "";
		if (b) {
			const size_t left = line_n - (size_t)(b + 1 - line);
			const char *c = memchr(b + 1, ':', left);
			const size_t field_n = c ? (size_t)(c - b - 1) : left;
			if (field_n < sizeof(field))
				snprintf(field, sizeof(field), "%.*s", (int)field_n, b + 1);
		}
		char want[12];
		snprintf(want, sizeof(want), "%u", id);
		if ((line_n > name_n && memcmp(line, name, name_n) == 0 && line[name_n] == ':') ||
		    strcmp(field, want) == 0)
			return true;
		line += line_n + 1;
	}
	return false;
}

/* The regular file, made when it is missing; -errno. */
static int open_account_file(int root_fd, const char *path)
{
	int fd = open_in(root_fd, path, O_RDWR | O_NONBLOCK);
	if (fd == -ENOENT) {
		dw_autoclose int etc = open_in(root_fd, "etc", O_DIRECTORY | O_RDONLY);
		if (etc < 0)
			return etc;
		fd = openat(etc, strrchr(path, '/') + 1, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
		return fd < 0 ? -errno : fd;
	}
	return fd;
}

/* Adds root's and user's lines where the image has none. */
static int finish_accounts(int root_fd, const char *path, const char *root_line, const char *user_line,
			   struct dw_err *err)
{
	struct stat st;
	dw_autoclose int fd = open_account_file(root_fd, path);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > ACCOUNT_FILE_MAX || st.st_nlink != 1)
		return bad(err, path, "is no file of a sensible size with one name");
	const size_t n = (size_t)st.st_size;
	dw_autofree char *text = malloc(n + 1);
	if (!text)
		return dw_err_errno(err, ENOMEM, "finishing the template");
	if (pread(fd, text, n, 0) != (ssize_t)n)
		return dw_err_errno(err, EIO, "finishing the template");
	char more[256];
	snprintf(more, sizeof(more), "%s%s%s", n && text[n - 1] != '\n' ? "\n" : "",
		 has_account(text, n, "root", 0) ? "" : root_line,
		 has_account(text, n, "user", USER_ID) ? "" : user_line);
	if (pwrite(fd, more, strlen(more), (off_t)n) != (ssize_t)strlen(more))
		return dw_err_errno(err, errno, "finishing the template");
	return 0;
}

/* Whatever the image has there, a link included, is replaced. */
static int finish_file(int root_fd, const char *name, const char *text, struct dw_err *err)
{
	dw_autoclose int etc = open_in(root_fd, "etc", O_DIRECTORY | O_RDONLY);
	if (etc < 0)
		return bad(err, "etc", "is no directory");
	if (unlinkat(etc, name, 0) < 0 && errno != ENOENT)
		return bad(err, "etc", "holds a directory where a file has to be");
	dw_autoclose int fd = openat(etc, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0 || fchmod(fd, 0644) < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		return dw_err_errno(err, errno, "finishing the template");
	return 0;
}

static int check_shell(int root_fd, struct dw_err *err)
{
	static const char *const shells[] = { "bin/sh", "bin/bash" };
	for (size_t i = 0; i < DW_COUNT(shells); i++) {
		struct stat st;
		dw_autoclose int fd = open_in(root_fd, shells[i], O_PATH);
		if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0111))
			return 0;
	}
	return bad(err, "bin/sh",
		   "is missing: commands run in a shell, so an image without one (a \"distroless\" one) is none to "
		   "live in");
}

int template_root_finish(int root_fd, struct dw_err *err)
{
	static const struct place places[] = {
		{ "dev", 0755, 0, true },   { "proc", 0555, 0, true },
		{ "sys", 0555, 0, true },   { "tmp", 01777, 0, false },
		{ "run", 0755, 0, false },  { "etc", 0755, 0, true },
		{ "home", 0755, 0, false }, { "home/user", 0755, USER_ID, false },
		{ "root", 0700, 0, false },
	};
	if (fchmod(root_fd, 0755) < 0 || fchown(root_fd, 0, 0) < 0)
		return dw_err_errno(err, errno, "finishing the template");
	if (check_shell(root_fd, err) < 0)
		return -1;
	for (size_t i = 0; i < DW_COUNT(places); i++)
		if (finish_dir(root_fd, &places[i], err) < 0)
			return -1;
	if (finish_accounts(root_fd, "etc/passwd", "root:*:0:0:root:/root:/bin/sh\n",
			    "user:*:1000:1000:user:/home/user:/bin/sh\n", err) < 0 ||
	    finish_accounts(root_fd, "etc/group", "root:*:0:\n", "user:*:1000:\n", err) < 0)
		return -1;
	return finish_file(root_fd, "resolv.conf", "nameserver " DW_GATEWAY4_TEXT "\noptions timeout:2 attempts:2\n",
			   err);
}

static int open_templates(const char *data_dir)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%.*s/templates", PATH_MAX - 64, data_dir);
	return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int template_root_make(const char *data_dir, const char *id, int *ret_fd, struct dw_err *err)
{
	dw_autoclose int all = open_templates(data_dir);
	if (all < 0 || mkdirat(all, id, 0700) < 0)
		return dw_err_errno(err, errno, "making the template's directory");
	dw_autoclose int dir = openat(all, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0 || mkdirat(dir, "root", 0755) < 0)
		return dw_err_errno(err, errno, "making the template's directory");
	*ret_fd = openat(dir, "root", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *ret_fd < 0 ? dw_err_errno(err, errno, "making the template's directory") : 0;
}

/* NOT_FOUND when it is not there. */
static int open_root(const char *data_dir, const char *id, int *ret_fd, struct dw_err *err)
{
	char path[TEMPLATE_ID_SIZE + 8];
	snprintf(path, sizeof(path), "%s/root", id);
	dw_autoclose int all = open_templates(data_dir);
	if (all < 0)
		return dw_err_errno(err, errno, "opening the template %s", id);
	*ret_fd = openat(all, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (*ret_fd < 0 && errno == ENOENT)
		return dw_err_set(err, DW_ERR_NOT_FOUND, "unknown_template", "the template %s has been deleted", id);
	return *ret_fd < 0 ? dw_err_errno(err, errno, "opening the template %s", id) : 0;
}

int template_root_open(const char *data_dir, const char *id, int *ret_fd, struct dw_err *err)
{
	dw_autoclose int fd = -1;
	if (open_root(data_dir, id, &fd, err) < 0)
		return -1;
	if (flock(fd, LOCK_SH | LOCK_NB) < 0)
		return dw_err_set(err, DW_ERR_NOT_FOUND, "unknown_template", "the template %s is being deleted", id);
	*ret_fd = DW_TAKE_FD(fd);
	return 0;
}

int template_root_lock(const char *data_dir, const char *id, int *ret_fd, struct dw_err *err)
{
	dw_autoclose int fd = -1;
	if (open_root(data_dir, id, &fd, err) < 0)
		return -1;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return dw_err_set(err, DW_ERR_CONFLICT, "template_in_use",
				  "a sandbox or a build is being made from the template %s", id);
	*ret_fd = DW_TAKE_FD(fd);
	return 0;
}

void template_root_remove(const char *data_dir, const char *id)
{
	dw_autoclose int all = open_templates(data_dir);
	if (all >= 0)
		dw_remove_tree(all, id);
}

void template_root_each(const char *data_dir, void (*visit)(void *arg, const char *id), void *arg)
{
	int all = open_templates(data_dir);
	DIR *d = all < 0 ? NULL : fdopendir(all);
	if (!d) {
		if (all >= 0)
			close(all);
		return;
	}
	for (const struct dirent *e; (e = readdir(d));)
		if (strncmp(e->d_name, TEMPLATE_ID_PREFIX, strlen(TEMPLATE_ID_PREFIX)) == 0 &&
		    strlen(e->d_name) < TEMPLATE_ID_SIZE)
			visit(arg, e->d_name);
	closedir(d);
}
