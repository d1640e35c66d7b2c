/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/auth.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/bounds.h"
#include "daemon/log.h"

void auth_sha256(const void *data, size_t n, uint8_t out[static AUTH_HASH_SIZE])
{
	SHA256(data, n, out);
}

/* Whole-or-nothing under concurrent starts: the file appears under its name only when it is complete. */
static int make_key(const char *path, struct dw_err *err)
{
	char key[64] = "dcl_";
	char tmp[4200];
	random_token(key + 4, 40);
	size_t n = strlen(key);
	key[n++] = '\n';
	int len = snprintf(tmp, sizeof(tmp), "%s.%d.new", path, (int)getpid());
	if (len < 0 || (size_t)len >= sizeof(tmp))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_option", "--api-key-file: the path is too long");
	dw_autoclose int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return dw_err_errno(err, errno, "making the API key file %s", tmp);
	int failed = write(fd, key, n) == (ssize_t)n && fsync(fd) == 0 ? 0 : errno;
	OPENSSL_cleanse(key, sizeof(key));
	if (!failed && link(tmp, path) < 0 && errno != EEXIST)
		failed = errno;
	unlink(tmp);
	return failed ? dw_err_errno(err, failed, "writing the API key file %s", path) : 0;
}

static int read_key(int fd, const char *path, uint8_t hash[static AUTH_HASH_SIZE], struct dw_err *err)
{
	char key[DAEMON_KEY_MAX + 2];
	ssize_t got = read(fd, key, sizeof(key));
	if (got < 0)
		return dw_err_errno(err, errno, "reading the API key file %s", path);
	size_t n = (size_t)got;
	while (n && (key[n - 1] == '\n' || key[n - 1] == '\r' || key[n - 1] == ' '))
		n--;
	bool ok = n && n <= DAEMON_KEY_MAX;
	for (size_t i = 0; i < n && ok; i++)
		ok = key[i] > ' ' && key[i] < 0x7f;
	if (ok)
		auth_sha256(key, n, hash);
	OPENSSL_cleanse(key, sizeof(key));
	return ok ? 0
		  : dw_err_set(err, DW_ERR_INVALID, "invalid_option",
			       "the API key file %s must hold one line of 1 to %u visible characters", path,
			       DAEMON_KEY_MAX);
}

int auth_load(const char *path, uint8_t hash[static AUTH_HASH_SIZE], bool *ret_made, struct dw_err *err)
{
	bool made = false;
	dw_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT) {
		if (make_key(path, err) < 0)
			return -1;
		made = true;
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return dw_err_errno(err, errno, "opening the API key file %s", path);
	if (st.st_mode & 077)
		log_event(LOG_LEVEL_WARN, "API key file is readable by others", "path", path, NULL);
	if (read_key(fd, path, hash, err) < 0)
		return -1;
	*ret_made = made;
	return 0;
}
