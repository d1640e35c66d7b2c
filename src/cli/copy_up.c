/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/copy.h"

static int up(struct copy *c, int fd, const char *from, const struct place *to, unsigned depth, struct dw_err *err);

static int here(struct dw_err *err, const char *path)
{
	const int number = errno;
	char shown[200];
	return dw_err_errno(err, number, "%s", cli_printable(path, strlen(path), shown, sizeof(shown)));
}

static void moved(void *arg, int64_t bytes)
{
	progress_move(&((struct copy *)arg)->progress, bytes);
}

static int put_file(struct copy *c, int fd, const struct stat *st, const char *from, const struct place *to,
		    struct dw_err *err)
{
	dw_autofree char *path = files_path(to->id, "/raw", to->path, c->user);
	const int64_t size = S_ISREG(st->st_mode) ? st->st_size : -1;
	const struct client_request rq = {
		.method = "PUT",
		.path = path,
		.arg = c,
		.upload = true,
		.upload_fd = fd,
		.upload_size = size,
		.moved = moved,
		.stop = &c->stop,
	};
	json_t *answer = NULL;

	if (!path)
		return call_no_memory(err);
	progress_begin(&c->progress, from, size);
	if (client_do(c->call.client, &rq, &answer, err) < 0)
		return -1;
	const json_t *written = json_object_get(answer, "size");
	const int64_t n = json_integer_value(written);
	const bool whole = json_is_integer(written) && (size < 0 || n == size);
	json_decref(answer);
	if (!whole)
		return dw_err_set(err, DW_ERR_INTERNAL, "bad_answer",
				  "the server says that it has another size than was sent");
	c->files++;
	c->bytes += (uint64_t)n;
	return 0;
}

static int make_folder(struct copy *c, const struct place *to, struct dw_err *err)
{
	dw_autofree char *path = client_path(to->id, "/files/mkdir");
	json_t *answer = NULL;

	if (call_check_utf8("a name", to->path, err) < 0)
		return -1;
	json_t *body = json_pack("{ss ss*}", "path", to->path, "username", c->user);
	if (!path || !body) {
		json_decref(body);
		return call_no_memory(err);
	}
	if (client_json(c->call.client, "POST", path, body, &answer, err) < 0)
		return -1;
	json_decref(answer);
	return 0;
}

/* One entry of a folder. What is neither a file nor a folder has nothing to copy; links to files are copied as files. */
static int put_entry(struct copy *c, int folder, const char *name, const char *from, const struct place *to,
		     unsigned depth, struct dw_err *err)
{
	dw_autofree char *from_below = place_join(from, name);
	dw_autofree char *to_below = place_join(to->path, name);
	struct place below = *to;
	struct stat st;

	if (!from_below || !to_below)
		return call_no_memory(err);
	below.path = to_below;
	dw_autoclose int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0) {
		copy_skip(c, from_below, strerror(errno));
		return 0;
	}
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
		copy_skip(c, from_below, "neither a file nor a folder");
		return 0;
	}
	struct stat itself;
	if (S_ISDIR(st.st_mode) && fstatat(folder, name, &itself, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISLNK(itself.st_mode)) {
		copy_skip(c, from_below, "a link to a folder");
		return 0;
	}
	if (up(c, DW_TAKE_FD(fd), from_below, &below, depth, err) == 0)
		return 0;
	if (!copy_is_local(err))
		return -1;
	copy_skip(c, from_below, err->message);
	return 0;
}

static int put_folder(struct copy *c, int fd_take, const char *from, const struct place *to, unsigned depth,
		      struct dw_err *err)
{
	DIR *d = fdopendir(fd_take);
	int r = 0;

	if (!d) {
		here(err, from);
		close(fd_take);
		return -1;
	}
	if (depth > COPY_DEPTH_MAX) {
		copy_skip(c, from, "too many folders in folders");
		closedir(d);
		return 0;
	}
	r = make_folder(c, to, err);
	for (const struct dirent *e; r == 0 && (e = readdir(d));) {
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			r = put_entry(c, dirfd(d), e->d_name, from, to, depth + 1, err);
	}
	closedir(d);
	return r;
}

/* fd is taken. */
static int up(struct copy *c, int fd, const char *from, const struct place *to, unsigned depth, struct dw_err *err)
{
	dw_autoclose int own = fd;
	struct stat st;

	if (fstat(own, &st) < 0)
		return here(err, from);
	if (S_ISDIR(st.st_mode))
		return put_folder(c, DW_TAKE_FD(own), from, to, depth, err);
	return put_file(c, own, &st, from, to, err);
}

/* Where it goes: below a folder that is there already, by its own name. */
static int target(struct copy *c, const char *from, const struct place *to, char **ret, struct dw_err *err)
{
	json_t *entry = NULL;
	struct dw_err why = { 0 };
	dw_autofree char *name = place_name(from);
	bool folder = place_says_folder(to->path);

	if (!name)
		return call_no_memory(err);
	if (!folder && files_info(c->call.client, to, c->user, &entry, &why) < 0 &&
	    (why.kind != DW_ERR_NOT_FOUND || strcmp(why.code, "sandbox_not_found") == 0)) {
		*err = why;
		return -1;
	}
	folder = folder || files_is_folder(entry);
	json_decref(entry);
	*ret = folder && *name ? place_join(to->path, name) : strdup(to->path);
	return *ret ? 0 : call_no_memory(err);
}

int copy_up(struct copy *c, const char *from, const struct place *to, struct dw_err *err)
{
	dw_autofree char *path = NULL;
	struct place at = *to;
	dw_autoclose int fd = open(from, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return here(err, from);
	if (target(c, from, to, &path, err) < 0)
		return -1;
	at.path = path;
	return up(c, DW_TAKE_FD(fd), from, &at, 0, err);
}
