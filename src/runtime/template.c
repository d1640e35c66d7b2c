/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/template.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "runtime/idmap.h"
#include "runtime/keeper_proto.h"
#include "runtime/skeleton.h"

struct template_kind {
	const char *name;
	const char *programs[3]; /* one of them must be there, and be in /usr */
	const char *package;
};

static const struct template_kind kinds[] = {
	{ "base", { "/usr/bin/sh" }, "dash" },
	{ "python", { "/usr/bin/python3", "/usr/local/bin/python3" }, "python3" },
	{ "node", { "/usr/bin/node", "/usr/local/bin/node" }, "nodejs" },
};

int dw_template_check(const char *name, struct dw_err *err)
{
	const struct template_kind *k = NULL;
	for (size_t i = 0; i < DW_COUNT(kinds); i++) {
		if (strcmp(kinds[i].name, name) == 0)
			k = &kinds[i];
	}
	if (!k)
		return dw_err_set(err, DW_ERR_INVALID, "unknown_template",
				  "there is no template \"%s\"; this server has base, python and node", name);
	for (size_t i = 0; i < DW_COUNT(k->programs) && k->programs[i]; i++) {
		char real[PATH_MAX];
		if (realpath(k->programs[i], real) && strncmp(real, "/usr/", 5) == 0 && access(real, X_OK) == 0)
			return 0;
	}
	return dw_err_set(err, DW_ERR_UNPROCESSABLE, "template_unavailable",
			  "the template \"%s\" needs %s in the server's /usr; install the package %s on the server",
			  name, k->programs[0], k->package);
}

struct dev_node {
	const char *name;
	unsigned major, minor;
};

/* One read-only file system for all sandboxes, so that none of them can put anything in the place of a device. */
static int fill_dev(int dir_fd)
{
	static const struct dev_node nodes[] = {
		{ "null", 1, 3 },   { "zero", 1, 5 },    { "full", 1, 7 },
		{ "random", 1, 8 }, { "urandom", 1, 9 }, { "tty", 5, 0 },
	};
	static const char *const links[][2] = {
		{ "fd", "/proc/self/fd" },       { "stdin", "/proc/self/fd/0" }, { "stdout", "/proc/self/fd/1" },
		{ "stderr", "/proc/self/fd/2" }, { "ptmx", "pts/ptmx" },
	};
	for (size_t i = 0; i < DW_COUNT(nodes); i++) {
		if (mknodat(dir_fd, nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)) < 0 ||
		    fchmodat(dir_fd, nodes[i].name, 0666, 0) < 0)
			return -errno;
	}
	for (size_t i = 0; i < DW_COUNT(links); i++) {
		if (symlinkat(links[i][1], dir_fd, links[i][0]) < 0)
			return -errno;
	}
	if (mkdirat(dir_fd, "pts", 0755) < 0 || mkdirat(dir_fd, "shm", 0755) < 0)
		return -errno;
	return 0;
}

/* Mounts a tmpfs on templates_fd/name, in the keeper's own mount namespace only; its root's descriptor or -errno. */
static int open_tmpfs(int templates_fd, const char *name, unsigned long flags, const char *options)
{
	char path[40];
	if (mkdirat(templates_fd, name, 0755) < 0 && errno != EEXIST)
		return -errno;
	dw_autoclose int point = openat(templates_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (point < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", point);
	if (mount("tmpfs", path, "tmpfs", MS_NOSUID | flags, options) < 0)
		return -errno;
	int fd = openat(templates_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int open_dev(int templates_fd)
{
	dw_autoclose int fd = open_tmpfs(templates_fd, "dev", MS_NOEXEC, "size=64k,nr_inodes=32,mode=755");
	int r = fd < 0 ? fd : fill_dev(fd);
	if (r < 0)
		return r;
	/* The file system itself, not only the mounts of it: a builder may change how its own mounts are. */
	char path[40];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (mount(NULL, path, NULL, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NOEXEC, NULL) < 0)
		return -errno;
	return DW_TAKE_FD(fd);
}

static bool can_idmap(int tree_fd, int userns_fd, const char *what)
{
	int fd = userns_fd < 0 ? userns_fd : dw_mount_clone(tree_fd, userns_fd, false);
	if (fd >= 0) {
		close(fd);
		return true;
	}
	fprintf(stderr,
		"declaw: the file system of %s has no idmapped mounts (%s): in sandboxes its files belong to nobody\n",
		what, strerror(-fd));
	return false;
}

static bool idmap_wanted(void)
{
#ifdef DECLAW_TEST_HOOKS
	return !getenv("DECLAW_TEST_NO_IDMAP");
#else
	return true;
#endif
}

/* Whether a tmpfs has idmapped mounts: since Linux 6.3. */
static bool tmpfs_can_idmap(int dev_fd, int userns_fd)
{
	dw_autoclose int fd = userns_fd < 0 ? -1 : dw_mount_clone(dev_fd, userns_fd, true);
	return fd >= 0;
}

/*
 * The root directory of the templates: in memory where that can be idmapped, because hundreds of small files take a disk a second,
 * otherwise in the data directory.
 */
static int open_root(const struct dw_templates *t, int templates_fd, struct dw_err *err)
{
	dw_autoclose int mem = -1;
	if (t->idmap_dev) {
		mem = open_tmpfs(templates_fd, "host", MS_NODEV, "size=64m,nr_inodes=16k,mode=755");
		if (mem < 0)
			return dw_err_errno(err, -mem, "cannot mount the templates' root directory");
	}
	int dir = mem >= 0 ? mem : templates_fd;
	const char *name = mem >= 0 ? "root" : "host";
	if (dw_skeleton_build(dir, name, err) < 0)
		return -1;
	int fd = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? dw_err_errno(err, errno, "cannot open the templates' root directory") : fd;
}

/* t's descriptors are the caller's to close, also on failure. */
static int open_all(struct dw_templates *t, int templates_fd, const char *data_dir, struct dw_err *err)
{
	dw_autoclose int userns = idmap_wanted() ? dw_userns_make(dw_uid_base(0)) : -EINVAL;
	t->dev_fd = open_dev(templates_fd);
	if (t->dev_fd < 0)
		return dw_err_errno(err, -t->dev_fd, "cannot make the sandboxes' devices");
	t->idmap_dev = tmpfs_can_idmap(t->dev_fd, userns);
	t->root_fd = open_root(t, templates_fd, err);
	if (t->root_fd < 0)
		return -1;
	t->usr_fd = open("/usr", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (t->usr_fd < 0)
		return dw_err_errno(err, errno, "cannot open /usr");
	t->idmap_root = can_idmap(t->root_fd, userns, data_dir);
	t->idmap_usr = can_idmap(t->usr_fd, userns, "/usr");
	return 0;
}

/* data_dir/templates, root's only, made when missing. */
static int open_templates_dir(const char *data_dir)
{
	dw_autoclose int data = open(data_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (data < 0)
		return -errno;
	if (mkdirat(data, "templates", 0700) < 0 && errno != EEXIST)
		return -errno;
	int fd = openat(data, "templates", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int dw_templates_open(const char *data_dir, struct dw_templates *ret, struct dw_err *err)
{
	struct dw_templates t = { .root_fd = -1, .usr_fd = -1, .dev_fd = -1 };
	dw_autoclose int dir = open_templates_dir(data_dir);
	if (dir < 0)
		return dw_err_errno(err, -dir, "cannot use the data directory %s", data_dir);
	if (open_all(&t, dir, data_dir, err) < 0) {
		dw_templates_close(&t);
		return -1;
	}
	*ret = t;
	return 0;
}

void dw_templates_close(struct dw_templates *t)
{
	int fds[] = { t->root_fd, t->usr_fd, t->dev_fd };
	for (size_t i = 0; i < DW_COUNT(fds); i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	t->root_fd = t->usr_fd = t->dev_fd = -1;
}

int dw_template_lowers(const struct dw_templates *t, int userns_fd, int ret_fds[static DW_LOWER_MAX],
		       enum dw_step *ret_step)
{
	*ret_step = DW_STEP_IDMAP;
	if (dw_step_fails(DW_STEP_IDMAP))
		return -EIO;
	dw_autoclose int root = dw_mount_clone(t->root_fd, t->idmap_root ? userns_fd : -1, false);
	if (root < 0)
		return root;
	*ret_step = DW_STEP_LOWER;
	if (dw_step_fails(DW_STEP_LOWER))
		return -EIO;
	dw_autoclose int usr = dw_mount_clone(t->usr_fd, t->idmap_usr ? userns_fd : -1, false);
	if (usr < 0)
		return usr;
	ret_fds[0] = DW_TAKE_FD(root);
	ret_fds[1] = DW_TAKE_FD(usr);
	return DW_LOWER_MAX;
}

int dw_template_dress(const struct dw_templates *t, int mount_fd, int userns_fd, bool *ret_foreign)
{
	static bool said;
	/* What this host can at all was found out at the start; a file system that is not the host's own may still be unable. */
	int r = t->idmap_root || t->idmap_usr ? dw_mount_dress(mount_fd, userns_fd, false) : -EINVAL;
	*ret_foreign = r == -EINVAL || r == -EPERM || r == -EOPNOTSUPP;
	if (!*ret_foreign)
		return r;
	if (!said)
		fprintf(stderr, "declaw: the file system of templates or volumes has no idmapped mounts: in sandboxes "
				"their files belong to nobody\n");
	said = true;
	return dw_mount_dress(mount_fd, -1, false);
}
