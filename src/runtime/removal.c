/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/removal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "core/macros.h"

/* Only trees that we made are removed, those out of archives among them; none is this deep. */
#define REMOVE_DEPTH_MAX 160

static void remove_entry(int dir_fd, const char *name, unsigned depth)
{
	if (unlinkat(dir_fd, name, 0) == 0 || (errno != EISDIR && errno != EPERM) || depth == 0)
		return;
	int fd = openat(dir_fd, name, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		if (fd >= 0)
			close(fd);
		return;
	}
	for (const struct dirent *e; (e = readdir(d));) {
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			remove_entry(fd, e->d_name, depth - 1);
	}
	closedir(d);
	unlinkat(dir_fd, name, AT_REMOVEDIR); /* EBUSY for a mount point: left alone */
}

void dw_remove_tree(int dir_fd, const char *name)
{
	remove_entry(dir_fd, name, REMOVE_DEPTH_MAX);
}
