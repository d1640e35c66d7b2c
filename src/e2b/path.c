/* SPDX-License-Identifier: Apache-2.0 */
#include "e2b/path.h"

#include <string.h>

/* One component behind ret[..at); at of the new end. */
static size_t put(char *ret, size_t at, const char *p, size_t n)
{
	if (at && ret[at - 1] != '/')
		ret[at++] = '/';
	memcpy(ret + at, p, n);
	return at + n;
}

/* Without the last component. */
static size_t drop(const char *ret, size_t at, size_t root)
{
	while (at > root && ret[at - 1] != '/')
		at--;
	return at > root ? at - 1 : root;
}

int e2b_path(const char *path, const char *field, char ret[static E2B_PATH_SIZE], struct dw_err *err)
{
	if (strlen(path) > DAEMON_PATH_MAX)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_path", "%s must have at most %u bytes", field,
				  DAEMON_PATH_MAX);
	if (path[0] == '~' && (!path[1] || path[1] == '/'))
		path += path[1] ? 1 + strspn(path + 1, "/") : 1;
	const size_t root = *path == '/';
	size_t at = root;
	ret[0] = '/';
	for (size_t n; *path; path += n) {
		path += strspn(path, "/");
		n = strcspn(path, "/");
		if (n == 2 && path[0] == '.' && path[1] == '.') {
			if (!root && !at)
				return dw_err_set(err, DW_ERR_INVALID, "invalid_path",
						  "%s leads out of the home directory: use an absolute path", field);
			at = drop(ret, at, root);
		} else if (n && !(n == 1 && path[0] == '.')) {
			at = put(ret, at, path, n);
		}
	}
	if (!at)
		ret[at++] = '.';
	ret[at] = '\0';
	return 0;
}
