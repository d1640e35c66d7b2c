/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/skeleton.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/netplan.h"
#include "runtime/removal.h"

/* Deeper than any of the copied directories; a bound for the recursion. */
#define COPY_DEPTH_MAX 8

struct skeleton_dir {
	const char *path;
	mode_t mode;
	uid_t owner;
};

static const struct skeleton_dir dirs[] = {
	{ "usr", 0755, 0 },
	{ "home", 0755, 0 },
	{ "home/user", 0755, 1000 },
	{ "root", 0700, 0 },
	{ "tmp", 01777, 0 },
	{ "run", 0755, 0 },
	{ "run/lock", 01777, 0 },
	{ "opt", 0755, 0 },
	{ "srv", 0755, 0 },
	{ "mnt", 0755, 0 },
	{ "media", 0755, 0 },
	{ "proc", 0555, 0 },
	{ "sys", 0555, 0 },
	{ "dev", 0755, 0 },
	{ "etc", 0755, 0 },
	{ "etc/ssl", 0755, 0 },
	{ "var", 0755, 0 },
	{ "var/tmp", 01777, 0 },
	{ "var/backups", 0755, 0 },
	{ "var/cache", 0755, 0 },
	{ "var/cache/apt", 0755, 0 },
	{ "var/cache/apt/archives", 0755, 0 },
	{ "var/cache/apt/archives/partial", 0700, 0 },
	{ "var/lib", 0755, 0 },
	{ "var/lib/apt", 0755, 0 },
	{ "var/lib/apt/lists", 0755, 0 },
	{ "var/lib/apt/lists/partial", 0700, 0 },
	{ "var/lib/dpkg", 0755, 0 },
	{ "var/lib/dpkg/info", 0755, 0 },
	{ "var/lib/dpkg/updates", 0755, 0 },
	{ "var/local", 0755, 0 },
	{ "var/log", 0755, 0 },
	{ "var/log/apt", 0755, 0 },
	{ "var/mail", 0755, 0 },
	{ "var/opt", 0755, 0 },
	{ "var/spool", 0755, 0 },
};

struct skeleton_file {
	const char *path, *text;
};

static const struct skeleton_file files[] = {
	{ "etc/passwd", "root:*:0:0:root:/root:/bin/bash\n"
			"daemon:*:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
			"_apt:*:42:65534::/nonexistent:/usr/sbin/nologin\n"
			"user:*:1000:1000:user:/home/user:/bin/bash\n"
			"nobody:*:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n" },
	{ "etc/group", "root:*:0:\ndaemon:*:1:\nadm:*:4:\ntty:*:5:\nmail:*:8:\nutmp:*:43:\nstaff:*:50:\nusers:*:100:\n"
		       "user:*:1000:\nnogroup:*:65534:\n" },
	{ "etc/resolv.conf", "nameserver " DW_GATEWAY4_TEXT "\noptions timeout:2 attempts:2\n" },
	{ "etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n" },
	{ "etc/shells", "/bin/sh\n/bin/bash\n/usr/bin/sh\n/usr/bin/bash\n" },
	{ "var/lib/dpkg/status", "" },
};

static const struct skeleton_file links[] = {
	{ "etc/mtab", "../proc/self/mounts" },
	{ "var/run", "/run" },
	{ "var/lock", "/run/lock" },
};

/* From the host, where it has them; directories with all that is in them. Never /etc/ssl/private. */
static const char *const copies[] = {
	"etc/alternatives",
	"etc/ld.so.cache",
	"etc/ld.so.conf",
	"etc/ld.so.conf.d",
	"etc/ssl/certs",
	"etc/ssl/openssl.cnf",
	"etc/ca-certificates.conf",
	"etc/profile",
	"etc/bash.bashrc",
	"etc/mime.types",
	"etc/services",
	"etc/protocols",
	"etc/debian_version",
	"etc/os-release",
	"etc/localtime",
	"etc/timezone",
	"etc/inputrc",
	"etc/magic",
	"etc/magic.mime",
};

static const char *const usr_links[] = { "bin", "sbin", "lib", "lib32", "lib64", "libx32" };

static int copy_data(int from, int to)
{
	char buf[16384];
	for (;;) {
		ssize_t n = read(from, buf, sizeof(buf));
		if (n <= 0)
			return n < 0 ? -errno : 0;
		for (ssize_t done = 0; done < n;) {
			ssize_t w = write(to, buf + done, (size_t)(n - done));
			if (w < 0)
				return -errno;
			done += w;
		}
	}
}

static int copy_file(int from_dir, int to_dir, const char *name, const struct stat *st)
{
	dw_autoclose int from = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (from < 0)
		return -errno;
	dw_autoclose int to = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return -errno;
	int r = copy_data(from, to);
	if (r == 0 && fchmod(to, st->st_mode & 0755) < 0)
		r = -errno;
	return r;
}

static int copy_link(int from_dir, int to_dir, const char *name)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(from_dir, name, target, sizeof(target) - 1);
	if (n < 0)
		return -errno;
	target[n] = '\0';
	return symlinkat(target, to_dir, name) < 0 ? -errno : 0;
}

static int copy_entry(int from_dir, int to_dir, const char *name, unsigned depth);

static int copy_dir(int from_dir, int to_dir, const char *name, unsigned depth)
{
	if (depth == 0)
		return -ELOOP;
	if (mkdirat(to_dir, name, 0755) < 0 && errno != EEXIST)
		return -errno;
	dw_autoclose int to = openat(to_dir, name, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int from = openat(from_dir, name, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = from < 0 ? NULL : fdopendir(from);
	if (to < 0 || !d) {
		int e = errno;
		if (d)
			closedir(d);
		else if (from >= 0)
			close(from);
		return -e;
	}
	int r = 0;
	for (const struct dirent *e; r == 0 && (e = readdir(d));) {
		/* The certificate that Debian makes for the host itself carries the host's name. */
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || strstr(e->d_name, "snakeoil"))
			continue;
		r = copy_entry(from, to, e->d_name, depth - 1);
	}
	closedir(d);
	return r;
}

/* What others may not read, and what is neither file, directory nor link, is left out without a word. */
static int copy_entry(int from_dir, int to_dir, const char *name, unsigned depth)
{
	struct stat st;
	if (fstatat(from_dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (S_ISLNK(st.st_mode))
		return copy_link(from_dir, to_dir, name);
	if (!(st.st_mode & S_IROTH))
		return 0;
	if (S_ISDIR(st.st_mode))
		return copy_dir(from_dir, to_dir, name, depth);
	return S_ISREG(st.st_mode) ? copy_file(from_dir, to_dir, name, &st) : 0;
}

/* path is "dir/name" below both roots; the directory exists in the copy. */
static int copy_path(int host_fd, int root_fd, const char *path)
{
	char dir[64];
	const char *name = strrchr(path, '/') + 1;
	snprintf(dir, sizeof(dir), "%.*s", (int)(name - path - 1), path);
	dw_autoclose int from = openat(host_fd, dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	dw_autoclose int to = openat(root_fd, dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (from < 0)
		return errno == ENOENT ? 0 : -errno;
	return to < 0 ? -ENOENT : copy_entry(from, to, name, COPY_DEPTH_MAX);
}

/* /etc/python3, /etc/python3.11, ... */
static int copy_python(int host_fd, int root_fd)
{
	int fd = openat(host_fd, "etc", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	dw_autoclose int to = openat(root_fd, "etc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = d && to >= 0 ? 0 : -errno;
	for (const struct dirent *e; r == 0 && (e = readdir(d));) {
		if (strncmp(e->d_name, "python3", 7) == 0)
			r = copy_entry(fd, to, e->d_name, COPY_DEPTH_MAX);
	}
	if (d)
		closedir(d);
	else if (fd >= 0)
		close(fd);
	return r;
}

static int write_file(int root_fd, const struct skeleton_file *f)
{
	dw_autoclose int fd = openat(root_fd, f->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	size_t n = strlen(f->text);
	if (fd < 0 || fchmod(fd, 0644) < 0)
		return -errno;
	return write(fd, f->text, n) == (ssize_t)n ? 0 : -EIO;
}

static int make_dirs(int root_fd)
{
	for (size_t i = 0; i < DW_COUNT(dirs); i++) {
		const struct skeleton_dir *d = &dirs[i];
		if (mkdirat(root_fd, d->path, 0700) < 0 || fchmodat(root_fd, d->path, d->mode, 0) < 0 ||
		    fchownat(root_fd, d->path, d->owner, d->owner, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
	}
	return 0;
}

/* bin -> usr/bin and so on, exactly as on the host. -EMEDIUMTYPE: the host keeps programs outside of /usr. */
static int make_usr_links(int host_fd, int root_fd)
{
	for (size_t i = 0; i < DW_COUNT(usr_links); i++) {
		char target[64];
		ssize_t n = readlinkat(host_fd, usr_links[i], target, sizeof(target) - 1);
		if (n < 0 && errno == ENOENT)
			continue;
		if (n < 0)
			return errno == EINVAL ? -EMEDIUMTYPE : -errno;
		target[n] = '\0';
		if (strncmp(target, "usr/", 4) != 0 && strncmp(target, "/usr/", 5) != 0)
			return -EMEDIUMTYPE;
		if (symlinkat(target, root_fd, usr_links[i]) < 0)
			return -errno;
	}
	return 0;
}

static int fill(int host_fd, int root_fd)
{
	int r = make_dirs(root_fd);
	if (r == 0)
		r = make_usr_links(host_fd, root_fd);
	for (size_t i = 0; r == 0 && i < DW_COUNT(files); i++)
		r = write_file(root_fd, &files[i]);
	for (size_t i = 0; r == 0 && i < DW_COUNT(links); i++) {
		if (symlinkat(links[i].text, root_fd, links[i].path) < 0)
			r = -errno;
	}
	for (size_t i = 0; r == 0 && i < DW_COUNT(copies); i++)
		r = copy_path(host_fd, root_fd, copies[i]);
	return r == 0 ? copy_python(host_fd, root_fd) : r;
}

static int build_beside(int dir_fd, const char *fresh)
{
	dw_autoclose int host = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (host < 0 || mkdirat(dir_fd, fresh, 0755) < 0)
		return -errno;
	dw_autoclose int root = openat(dir_fd, fresh, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (root < 0 || fchmod(root, 0755) < 0)
		return -errno;
	return fill(host, root);
}

int dw_skeleton_build(int dir_fd, const char *name, struct dw_err *err)
{
	char fresh[64];
	snprintf(fresh, sizeof(fresh), "%s.%d", name, getpid());
	dw_remove_tree(dir_fd, fresh);
	int r = build_beside(dir_fd, fresh);
	if (r == 0) {
		/* An old one becomes `fresh`, and goes. */
		r = renameat2(dir_fd, fresh, dir_fd, name, RENAME_EXCHANGE) < 0 ? -errno : 0;
		if (r == -ENOENT)
			r = renameat2(dir_fd, fresh, dir_fd, name, RENAME_NOREPLACE) < 0 ? -errno : 0;
	}
	dw_remove_tree(dir_fd, fresh);
	if (r == -EMEDIUMTYPE)
		return dw_err_set(
			err, DW_ERR_INTERNAL, "host_not_usr_merged",
			"this host keeps programs in /bin or /lib outside of /usr; install the package usrmerge");
	return r < 0 ? dw_err_errno(err, -r, "cannot build the templates' root directory") : 0;
}
