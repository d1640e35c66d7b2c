/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/idmap.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "runtime/keeper_proto.h"

static int write_map(pid_t pid, const char *file, uint32_t uid_base)
{
	char path[48], text[48];
	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	int n = snprintf(text, sizeof(text), "0 %" PRIu32 " %u\n", uid_base, DW_UID_COUNT);
	dw_autoclose int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return write(fd, text, (size_t)n) == n ? 0 : -errno;
}

int dw_userns_map(pid_t pid, uint32_t uid_base)
{
	int r = write_map(pid, "uid_map", uid_base);
	return r < 0 ? r : write_map(pid, "gid_map", uid_base);
}

int dw_userns_make(uint32_t uid_base)
{
	int pipe_fds[2];
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return -errno;
	struct clone_args args = { .flags = CLONE_NEWUSER, .exit_signal = SIGCHLD };
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0) {
		char c;
		close(pipe_fds[1]);
		DW_IGNORE(read(pipe_fds[0], &c, 1)); /* until the parent is done */
		_exit(0);
	}
	int r = pid < 0 ? -errno : dw_userns_map(pid, uid_base);
	if (r == 0) {
		char path[32];
		snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
		r = open(path, O_RDONLY | O_CLOEXEC);
		if (r < 0)
			r = -errno;
	}
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	return r;
}

int dw_mount_dress(int mount_fd, int userns_fd, bool dev_ok)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID };
	if (!dev_ok)
		attr.attr_set |= MOUNT_ATTR_NODEV;
	if (userns_fd >= 0) {
		attr.attr_set |= MOUNT_ATTR_IDMAP;
		attr.userns_fd = (uint64_t)userns_fd;
	}
	return mount_setattr(mount_fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0 ? -errno : 0;
}

int dw_mount_clone(int tree_fd, int userns_fd, bool dev_ok)
{
	dw_autoclose int fd = open_tree(tree_fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (fd < 0)
		return -errno;
	int r = dw_mount_dress(fd, userns_fd, dev_ok);
	return r < 0 ? r : DW_TAKE_FD(fd);
}
