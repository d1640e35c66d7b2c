/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/cgroup_find.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

const char *const dw_cgroup_control_names[DW_CGROUP_CONTROLS] = { "memory", "pids", "cpu", "cpuacct", "freezer" };

/* One line of /proc/self/mountinfo that is a cgroup mount. */
struct cgroup_mount {
	char root[PATH_MAX], point[PATH_MAX], options[512];
	bool v2;
};

/* Whether word is one of the comma-separated words of list. */
static bool has_word(const char *list, const char *word)
{
	size_t n = strlen(word);
	for (const char *p = list; *p;) {
		size_t k = strcspn(p, ",\n");
		if (k == n && memcmp(p, word, n) == 0)
			return true;
		p += k;
		p += *p != '\0';
	}
	return false;
}

/* Copies the nth word (from 0) of a line; false when there are fewer or it does not fit. */
static bool nth_word(const char *line, unsigned n, char *ret, size_t size)
{
	for (; n; n--) {
		line += strcspn(line, " \n");
		line += strspn(line, " ");
	}
	const size_t len = strcspn(line, " \n");
	if (!len || len >= size)
		return false;
	memcpy(ret, line, len);
	ret[len] = '\0';
	return true;
}

/* Test builds can take v2 away, to see a host that has v1 alone. */
static bool hides_v2(void)
{
#ifdef DECLAW_TEST_HOOKS
	return getenv("DECLAW_TEST_NO_CGROUP2") != NULL;
#else
	return false;
#endif
}

/* Finds the mount of the hierarchy with this controller (v1), or of v2 for NULL. */
static bool find_mount(const char *controller, struct cgroup_mount *ret)
{
	if (!controller && hides_v2())
		return false;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t cap = 0;
	bool found = false;
	while (f && !found && getline(&line, &cap, f) > 0) {
		char type[32];
		const char *tail = strstr(line, " - ");
		/* proc_pid_mountinfo(5): id, parent, device, root, mount point, ... - type, source, options. */
		if (!tail || !nth_word(tail + 3, 0, type, sizeof(type)) ||
		    !nth_word(tail + 3, 2, ret->options, sizeof(ret->options)) ||
		    !nth_word(line, 3, ret->root, sizeof(ret->root)) ||
		    !nth_word(line, 4, ret->point, sizeof(ret->point)))
			continue;
		ret->v2 = strcmp(type, "cgroup2") == 0;
		if (controller)
			found = strcmp(type, "cgroup") == 0 && has_word(ret->options, controller);
		else
			found = ret->v2;
	}
	free(line);
	if (f)
		fclose(f);
	return found;
}

/* Our own cgroup's path in that hierarchy, as /proc/self/cgroup has it. */
static bool own_path(const char *controller, char ret[static PATH_MAX])
{
	FILE *f = fopen("/proc/self/cgroup", "re");
	char *line = NULL;
	size_t cap = 0;
	bool found = false;
	while (f && !found && getline(&line, &cap, f) > 0) {
		char *list = strchr(line, ':');
		char *path = list ? strchr(list + 1, ':') : NULL;
		if (!path)
			continue;
		*list++ = '\0';
		*path++ = '\0';
		path[strcspn(path, "\n")] = '\0';
		if (controller ? has_word(list, controller) : line[0] == '0' && line[1] == '\0') {
			snprintf(ret, PATH_MAX, "%s", path);
			found = true;
		}
	}
	free(line);
	if (f)
		fclose(f);
	return found;
}

static int open_own(const char *controller, const struct cgroup_mount *m)
{
	char own[PATH_MAX], path[2 * PATH_MAX];
	if (!own_path(controller, own))
		return -ENOENT;
	/* A mount may show only a part of the hierarchy (in a container); our path is then relative to that part. */
	const char *below = own;
	size_t k = strlen(m->root);
	if (k > 1 && strncmp(own, m->root, k) == 0 && (own[k] == '/' || own[k] == '\0'))
		below = own + k;
	snprintf(path, sizeof(path), "%s%s", m->point, below);
	int fd = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int add_tree(struct dw_cgroups *cg, const char *controller, unsigned controls, const struct cgroup_mount *m)
{
	/* Two controllers may share a v1 hierarchy. */
	int fd = open_own(controller, m);
	if (fd < 0)
		return fd;
	struct stat mine;
	int r = fstat(fd, &mine);
	for (unsigned i = 0; r == 0 && i < cg->n; i++) {
		struct stat other;
		if (fstat(cg->trees[i].host_fd, &other) == 0 && other.st_dev == mine.st_dev &&
		    other.st_ino == mine.st_ino) {
			cg->trees[i].controls |= controls;
			close(fd);
			return 0;
		}
	}
	dw_assert(cg->n < DW_CGROUP_TREES);
	cg->trees[cg->n++] =
		(struct dw_cgroup_tree){ .host_fd = fd, .parent_fd = -1, .controls = controls, .v2 = m->v2 };
	return 0;
}

/* Which of our controllers the v2 hierarchy offers to children of our cgroup. */
static unsigned v2_controls(const struct cgroup_mount *m)
{
	char buf[256];
	unsigned controls = 0;
	dw_autoclose int dir = open_own(NULL, m);
	dw_autoclose int fd = dir < 0 ? -1 : openat(dir, "cgroup.controllers", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	if (n < 0)
		return 0;
	buf[n] = '\0';
	for (char *p = buf; *p; p++) {
		if (*p == ' ')
			*p = ',';
	}
	for (unsigned c = 0; c < DW_CGROUP_LIMITS; c++) {
		if (has_word(buf, dw_cgroup_control_names[c]))
			controls |= 1u << c;
	}
	return controls;
}

static int find_trees(struct dw_cgroups *cg, struct dw_err *err)
{
	dw_autofree struct cgroup_mount *m = malloc(sizeof(*m));
	if (!m)
		return dw_err_errno(err, ENOMEM, "cgroups");
	unsigned have = 0;
	const bool v2 = find_mount(NULL, m);
	if (v2) {
		have = v2_controls(m);
		int r = add_tree(cg, NULL, have, m);
		if (r < 0)
			return dw_err_errno(err, -r, "cannot open the server's cgroup below %s", m->point);
	}
	for (unsigned c = 0; c < (v2 ? DW_CGROUP_LIMITS : DW_CGROUP_CONTROLS); c++) {
		if (have & (1u << c))
			continue;
		const char *name = dw_cgroup_control_names[c];
		int r = find_mount(name, m) ? add_tree(cg, name, 1u << c, m) : -ENOENT;
		/* Without the others there is no pause, or no measure of time, and that is said to whoever asks. */
		if (r < 0 && c < DW_CGROUP_LIMITS)
			return dw_err_errno(err, -r, "this host gives no cgroup controller \"%s\" to the server", name);
	}
	return 0;
}

int dw_cgroups_find(struct dw_cgroups *ret, struct dw_err *err)
{
	uint32_t random = 0;
	DW_IGNORE(getrandom(&random, sizeof(random), GRND_NONBLOCK)); /* zero would do: mkdir refuses a duplicate */
	snprintf(ret->name, sizeof(ret->name), "declaw-%d-%08x", getpid(), random);
	if (find_trees(ret, err) == 0)
		return 0;
	for (unsigned i = 0; i < ret->n; i++)
		close(ret->trees[i].host_fd);
	ret->n = 0;
	return -1;
}

/* On v1 a paused process whose keeper was killed holds its own SIGKILL until somebody thaws it. */
static void sweep_slot(int parent, const char *name)
{
	char path[300];
	snprintf(path, sizeof(path), "%s/freezer.state", name);
	dw_autoclose int freezer = openat(parent, path, O_WRONLY | O_CLOEXEC);
	if (freezer >= 0)
		DW_IGNORE(write(freezer, "THAWED", 6)); /* it is no worse than before */
	for (int i = 0; unlinkat(parent, name, AT_REMOVEDIR) < 0 && freezer >= 0 && i < 20; i++)
		usleep(5000);
}

static void sweep_parent(int host_fd, const char *name)
{
	dw_autoclose int parent = openat(host_fd, name, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	/* Whoever lives holds the lock. A pid would say nothing: the other server may be in another PID namespace. */
	if (parent < 0 || flock(parent, LOCK_EX | LOCK_NB) < 0)
		return;
	dw_autoclose int kill_fd = openat(parent, "cgroup.kill", O_WRONLY | O_CLOEXEC);
	if (kill_fd >= 0 && write(kill_fd, "1", 1) == 1)
		usleep(20000); /* once per dead server, at start only: gives its processes the time to leave */
	int dup = fcntl(parent, F_DUPFD_CLOEXEC, 3);
	DIR *d = dup < 0 ? NULL : fdopendir(dup);
	if (!d) {
		if (dup >= 0)
			close(dup);
		return;
	}
	for (const struct dirent *e; (e = readdir(d));) {
		if (e->d_type == DT_DIR && e->d_name[0] == 's')
			sweep_slot(parent, e->d_name);
	}
	closedir(d);
	unlinkat(host_fd, name, AT_REMOVEDIR);
}

/* declaw-<pid>-<hex>, as dw_cgroups_find makes it. */
static bool is_ours(const char *name)
{
	static const char prefix[] = "declaw-";
	if (strncmp(name, prefix, sizeof(prefix) - 1) != 0)
		return false;
	name += sizeof(prefix) - 1;
	const size_t digits = strspn(name, "0123456789");
	if (!digits || name[digits] != '-')
		return false;
	name += digits + 1;
	return strspn(name, "0123456789abcdef") == 8 && !name[8];
}

void dw_cgroups_sweep(int host_fd)
{
	int dup = openat(host_fd, ".", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	DIR *d = dup < 0 ? NULL : fdopendir(dup);
	if (!d) {
		if (dup >= 0)
			close(dup);
		return;
	}
	for (const struct dirent *e; (e = readdir(d));) {
		if (is_ours(e->d_name))
			sweep_parent(host_fd, e->d_name);
	}
	closedir(d);
}
