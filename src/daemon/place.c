/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/place.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log.h"

#define LOCK_TRIES 50 /* of 100 ms: what a daemon that was killed leaves behind goes away within that */

int place_data_dir(const char *path, int *ret_lock_fd, struct dw_err *err)
{
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return dw_err_errno(err, errno, "making the data directory %s", path);
	dw_autoclose int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	if (dir < 0 || fstat(dir, &st) < 0)
		return dw_err_errno(err, errno, "opening the data directory %s", path);
	if (st.st_uid != geteuid() || st.st_mode & 022)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_option",
				  "the data directory %s must belong to this user and be writable by nobody else",
				  path);
	dw_autoclose int lock = openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (lock < 0)
		return dw_err_errno(err, errno, "opening the lock in %s", path);
	for (int i = 0; flock(lock, LOCK_EX | LOCK_NB) < 0; i++) {
		if (errno != EWOULDBLOCK || i == LOCK_TRIES)
			return dw_err_errno(err, errno, "the data directory %s is in use", path);
		poll(NULL, 0, 100);
	}
	*ret_lock_fd = DW_TAKE_FD(lock);
	return 0;
}

static bool try_program(char ret[static PATH_MAX], const char *dir, const char *sub, const char *name)
{
	int n = snprintf(ret, PATH_MAX, "%s/%s%s", dir, sub, name);
	return n > 0 && n < PATH_MAX && access(ret, X_OK) == 0;
}

int place_program(const char *part, const char *name, char ret[static PATH_MAX], struct dw_err *err)
{
	char own[PATH_MAX], sub[64];
	ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 1);
	if (n < 0)
		return dw_err_errno(err, errno, "finding %s", name);
	own[n] = '\0';
	*strrchr(own, '/') = '\0';
	const char *libexec = getenv("DECLAW_LIBEXEC");
	snprintf(sub, sizeof(sub), "../%s/", part);
	if (try_program(ret, own, sub, name) || try_program(ret, own, "../libexec/declaw/", name) ||
	    (libexec && try_program(ret, libexec, "", name)))
		return 0;
	return dw_err_set(err, DW_ERR_NOT_FOUND, "program_not_found",
			  "%s was not found near %s, nor where DECLAW_LIBEXEC says", name, own);
}

int place_uplink(const struct options *o, int *ret_fd, struct dw_err *err)
{
	const char *path = o->uplink_netns[0] ? o->uplink_netns : "/proc/self/ns/net";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return dw_err_errno(err, errno, "--uplink-netns: opening %s", path);
	*ret_fd = fd;
	return 0;
}

void place_resolvers(struct options *o)
{
	static const char path[] = "/etc/resolv.conf";
	char text[16384] = "";
	if (o->resolver_n)
		return;
	dw_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	text[n > 0 ? n : 0] = '\0';
	options_add_resolv_conf(o, text);
	if (!o->resolver_n)
		log_event(LOG_LEVEL_WARN, "no resolver: names will not resolve", "file", path, NULL);
}

void place_raise_limits(void)
{
	struct rlimit r;
	if (getrlimit(RLIMIT_NOFILE, &r) < 0)
		return;
	r.rlim_cur = r.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur < 16384)
		log_event(LOG_LEVEL_WARN, "few descriptors", "limit", LOG_NUM(r.rlim_cur), NULL);
}
