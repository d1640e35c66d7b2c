/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/names.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "core/netplan.h"

#define HOSTS_FIRST "127.0.0.1\tlocalhost\n127.0.1.1\t"
#define HOSTS_MAX   65536u

/* The upper etc, made when absent; -ENOTDIR when the archive has something else there. */
static int open_etc(void)
{
	if (mkdir("/u/root/etc", 0755) < 0 && errno != EEXIST)
		return -errno;
	int fd = open("/u/root/etc", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* A new file in the place of a regular one or of none; anything else that is there (it was removed, say) stays. */
static int put(int etc, const char *name, const char *text, size_t n)
{
	struct stat st;
	if (fstatat(etc, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (!S_ISREG(st.st_mode))
			return 0;
		if (unlinkat(etc, name, 0) < 0)
			return -errno;
	}
	dw_autoclose int fd = openat(etc, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	ssize_t w = write(fd, text, n);
	return w == (ssize_t)n ? 0 : (w < 0 ? -errno : -EIO);
}

static bool is_there(int etc, const char *name)
{
	struct stat st;
	return fstatat(etc, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* The one that the archive brought: with another name in the place of the one that we wrote, if it is still there. */
static int rename_in_hosts(int etc, const char *hostname)
{
	struct stat st;
	const size_t first = strlen(HOSTS_FIRST);
	dw_autoclose int fd = openat(etc, "hosts", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > HOSTS_MAX)
		return 0;
	dw_autofree char *was = malloc(HOSTS_MAX + 1), *now = malloc(HOSTS_MAX + 1 + 256);
	if (!was || !now)
		return -ENOMEM;
	ssize_t n = read(fd, was, HOSTS_MAX);
	if (n < 0)
		return -errno;
	was[n] = '\0';
	const char *end = strncmp(was, HOSTS_FIRST, first) == 0 ? strchr(was + first, '\n') : NULL;
	if (!end)
		return 0;
	int k = snprintf(now, HOSTS_MAX + 1 + 256, HOSTS_FIRST "%s", hostname);
	memcpy(now + k, end, (size_t)(was + n - end));
	return put(etc, "hosts", now, (size_t)k + (size_t)(was + n - end));
}

static int write_hosts(int etc, const char *hostname)
{
	char text[256];
	if (is_there(etc, "hosts"))
		return rename_in_hosts(etc, hostname);
	int n = snprintf(text, sizeof(text), HOSTS_FIRST "%s\n::1\tlocalhost ip6-localhost ip6-loopback\n", hostname);
	return put(etc, "hosts", text, (size_t)n);
}

int dw_names_write(const char *hostname, bool resolver)
{
	static const char resolv[] = "nameserver " DW_GATEWAY4_TEXT "\noptions timeout:2 attempts:2\n";
	char text[128];
	dw_autoclose int etc = open_etc();
	if (etc < 0)
		return etc == -ENOTDIR || etc == -ELOOP ? 0 : etc; /* the sandbox has arranged itself otherwise */
	int n = snprintf(text, sizeof(text), "%s\n", hostname);
	int r = put(etc, "hostname", text, (size_t)n);
	if (r == 0)
		r = write_hosts(etc, hostname);
	if (r == 0 && resolver && !is_there(etc, "resolv.conf"))
		r = put(etc, "resolv.conf", resolv, strlen(resolv));
	return r;
}
