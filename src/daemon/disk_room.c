/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/disk_room.h"

#include <errno.h>
#include <stdint.h>
#include <sys/statvfs.h>

#include "daemon/bounds.h"

int disk_room_check(int fd, struct dw_err *err)
{
	struct statvfs s;
	if (fstatvfs(fd, &s) < 0)
		return dw_err_errno(err, errno, "looking at the disk");
	/* A file system without a fixed number of files says that it has none at all. */
	if ((uint64_t)s.f_bavail * s.f_frsize >= DAEMON_DISK_SPARE && (!s.f_files || s.f_favail >= DAEMON_FILES_SPARE))
		return 0;
	return dw_err_set(err, DW_ERR_TOO_LARGE, "no_space",
			  "the server's disk is nearly full: delete volumes or templates, or ask its operator");
}
