/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Terminals. The sandbox's root may replace /dev/ptmx and hide /dev/pts, so the agent keeps the directory it found at
 * its start and opens "ptmx" below that: a devpts lets nobody put anything else there. The other side is asked of the
 * master itself, not looked up by name.
 *
 * The agent holds the other side open while the command runs. Otherwise a program that closes all its copies, to open
 * /dev/tty again later, would look like the end of the terminal.
 */
#include "agent/pty.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <termios.h>

void dw_pty_init(void)
{
	dw_autoclose int fd = open("/dev/pts", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct statfs st;
	if (fd >= 0 && fstatfs(fd, &st) == 0 && st.f_type == DEVPTS_SUPER_MAGIC)
		dw_agent.pts_fd = DW_TAKE_FD(fd);
}

int dw_pty_open(uint16_t cols, uint16_t rows, int ret_fd[static DW_OP_FD_COUNT])
{
	if (dw_agent.pts_fd < 0) {
		errno = ENODEV;
		return -1;
	}
	const int master = openat(dw_agent.pts_fd, "ptmx", O_RDWR | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (master < 0) {
		errno = errno == ENOSPC ? EAGAIN : errno; /* all terminals are in use; no file is too large */
		return -1;
	}
	ret_fd[DW_OP_STDOUT] = master;
	const struct winsize size = { .ws_col = cols, .ws_row = rows };
	const int unlocked = 0;
	if (ioctl(master, TIOCSPTLCK, &unlocked) != 0 || ioctl(master, TIOCSWINSZ, &size) != 0)
		return -1;
	ret_fd[DW_OP_TTY] = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (ret_fd[DW_OP_TTY] < 0)
		return -1;
	ret_fd[DW_OP_STDIN] = fcntl(master, F_DUPFD_CLOEXEC, 0);
	return ret_fd[DW_OP_STDIN] < 0 ? -1 : 0;
}

void dw_pty_resize(int master, uint16_t cols, uint16_t rows)
{
	const struct winsize size = { .ws_col = cols, .ws_row = rows };
	if (master >= 0)
		DW_IGNORE(ioctl(master, TIOCSWINSZ, &size)); /* a hung-up terminal has no size to change */
}

bool dw_pty_eof(int master, uint8_t *ret)
{
	struct termios t;
	if (master < 0 || tcgetattr(master, &t) != 0 || t.c_cc[VEOF] == _POSIX_VDISABLE)
		return false;
	*ret = t.c_cc[VEOF];
	return true;
}
