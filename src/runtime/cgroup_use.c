/* SPDX-License-Identifier: Apache-2.0 */
/* What a running sandbox's cgroups are good for: halting it, and seeing what it uses. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/cgroup.h"
#include "runtime/cgroup_find.h"

/* The v2 hierarchy (controls 0), or the v1 one with this control; NULL when the host has none. */
static const struct dw_cgroup_tree *find_tree(const struct dw_cgroups *cg, bool v2, unsigned control)
{
	for (unsigned i = 0; i < cg->n; i++) {
		const struct dw_cgroup_tree *t = &cg->trees[i];
		if (t->v2 == v2 && (!control || t->controls & control))
			return t;
	}
	return NULL;
}

static int open_file(const struct dw_cgroup_tree *t, uint32_t slot, const char *file, int flags)
{
	char path[80];
	snprintf(path, sizeof(path), "s%" PRIu32 "/%s", slot, file);
	int fd = openat(t->parent_fd, path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The file's beginning as text. 0 or -errno. */
static int read_file(const struct dw_cgroup_tree *t, uint32_t slot, const char *file, char *ret, size_t size)
{
	dw_autoclose int fd = open_file(t, slot, file, O_RDONLY);
	if (fd < 0)
		return fd;
	ssize_t n = read(fd, ret, size - 1);
	if (n < 0)
		return -errno;
	ret[n] = '\0';
	return 0;
}

static int write_file(const struct dw_cgroup_tree *t, uint32_t slot, const char *file, const char *text)
{
	dw_autoclose int fd = open_file(t, slot, file, O_WRONLY);
	if (fd < 0)
		return fd;
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

/* The number behind key at the start of a line; with key "" the file is one number. 0 when there is none. */
static uint64_t number_of(const char *text, const char *key)
{
	const size_t n = strlen(key);
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, n) == 0 && (!n || line[n] == ' '))
			return strtoull(line + n + (n > 0), NULL, 10);
	}
	return 0;
}

int dw_cgroups_freeze(const struct dw_cgroups *cg, uint32_t slot, bool frozen)
{
	const struct dw_cgroup_tree *v2 = find_tree(cg, true, 0);
	if (v2)
		return write_file(v2, slot, "cgroup.freeze", frozen ? "1" : "0");
	const struct dw_cgroup_tree *v1 = find_tree(cg, false, DW_CGROUP_FREEZER);
	return v1 ? write_file(v1, slot, "freezer.state", frozen ? "FROZEN" : "THAWED") : -EOPNOTSUPP;
}

int dw_cgroups_frozen(const struct dw_cgroups *cg, uint32_t slot)
{
	char text[256];
	const struct dw_cgroup_tree *v2 = find_tree(cg, true, 0);
	const struct dw_cgroup_tree *v1 = find_tree(cg, false, DW_CGROUP_FREEZER);
	if (!v2 && !v1)
		return -EOPNOTSUPP;
	int r = v2 ? read_file(v2, slot, "cgroup.events", text, sizeof(text))
		   : read_file(v1, slot, "freezer.state", text, sizeof(text));
	if (r < 0)
		return r;
	return v2 ? number_of(text, "frozen") == 1 : strcmp(text, "FROZEN\n") == 0;
}

bool dw_cgroups_frozen_survives(const struct dw_cgroups *cg)
{
	return !find_tree(cg, true, 0);
}

uint64_t dw_cgroups_cpu_us(const struct dw_cgroups *cg, uint32_t slot)
{
	char text[1024] = "";
	const struct dw_cgroup_tree *t = find_tree(cg, true, 0);
	/* v2 counts time in its core, also where the controller is a v1 one. */
	if (t)
		return read_file(t, slot, "cpu.stat", text, sizeof(text)) < 0 ? 0 : number_of(text, "usage_usec");
	t = find_tree(cg, false, DW_CGROUP_CPUACCT);
	return !t || read_file(t, slot, "cpuacct.usage", text, sizeof(text)) < 0 ? 0 : number_of(text, "") / 1000;
}

uint64_t dw_cgroups_memory_bytes(const struct dw_cgroups *cg, uint32_t slot)
{
	char text[64] = "";
	const struct dw_cgroup_tree *v2 = find_tree(cg, true, DW_CGROUP_MEMORY);
	const struct dw_cgroup_tree *t = v2 ? v2 : find_tree(cg, false, DW_CGROUP_MEMORY);
	const char *file = v2 ? "memory.current" : "memory.usage_in_bytes";
	return !t || read_file(t, slot, file, text, sizeof(text)) < 0 ? 0 : number_of(text, "");
}
