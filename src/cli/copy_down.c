/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Out of a sandbox, whose names are hostile. Nothing is opened by a path that the sandbox had a part in: below the destination every step
 * is one checked name at a descriptor, and links are not followed. A file is written beside its place, under a name of ours, and takes
 * its place when it is whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/copy.h"

/* One file on its way. */
struct down {
	struct copy *copy;
	int fd;
	int64_t done;
};

static int here(struct dw_err *err, const char *path)
{
	const int number = errno;
	char shown[200];
	return dw_err_errno(err, number, "%s", cli_printable(path, strlen(path), shown, sizeof(shown)));
}

static int take(void *arg, const char *p, size_t n, struct dw_err *err)
{
	struct down *d = arg;

	if (call_write(d->fd, p, n, err) < 0)
		return -1;
	d->done += (int64_t)n;
	progress_move(&d->copy->progress, d->done);
	return 0;
}

static int fetch(struct copy *c, const struct place *from, const json_t *entry, int fd, struct dw_err *err)
{
	dw_autofree char *path = files_path(from->id, "/raw", from->path, c->user);
	struct down d = { .copy = c, .fd = fd };
	const struct client_request rq = { .method = "GET", .path = path, .sink = take, .arg = &d, .stop = &c->stop };
	const json_t *size = json_object_get(entry, "size");

	if (!path)
		return call_no_memory(err);
	progress_begin(&c->progress, from->path, json_is_integer(size) ? json_integer_value(size) : -1);
	if (client_do(c->call.client, &rq, NULL, err) < 0)
		return -1;
	c->files++;
	c->bytes += (uint64_t)d.done;
	return 0;
}

/* Of the sandbox's mode only whether it is a program, as far as the user's own mask lets it. */
static mode_t mode_of(const json_t *entry)
{
	const char *text = call_text(entry, "mode");
	const mode_t mask = umask(0);
	const bool program = text && strspn(text, "01234567") == strlen(text) && (strtoul(text, NULL, 8) & 0111);

	umask(mask);
	return (program ? 0777 : 0666) & ~mask;
}

/* Into the folder, in place of what has the name. */
static int get_file(struct copy *c, const struct place *from, const json_t *entry, int folder, const char *name,
		    struct dw_err *err)
{
	static unsigned count;
	char part[64];
	struct stat st;

	if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode)) {
		errno = EISDIR;
		return here(err, name);
	}
	snprintf(part, sizeof(part), ".declaw-%ld-%u.part", (long)getpid(), count++);
	dw_autoclose int fd = openat(folder, part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return here(err, part);
	int r = fetch(c, from, entry, fd, err);
	if (r == 0 && (fchmod(fd, mode_of(entry)) < 0 || renameat(folder, part, folder, name) < 0))
		r = here(err, name);
	if (r < 0)
		unlinkat(folder, part, 0);
	return r;
}

/* A folder of that name, made where it is not there; a link to one is none. */
static int open_folder(int folder, const char *name, struct dw_err *err)
{
	if (mkdirat(folder, name, 0777) < 0 && errno != EEXIST)
		return here(err, name);
	const int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? here(err, name) : fd;
}

/* Folders by name, each malloc'ed. */
struct names {
	char **name;
	size_t n;
};

static void drop_name(struct copy *c, char **name)
{
	if (*name)
		c->waiting--;
	free(*name);
	*name = NULL;
}

static void drop_names(struct copy *c, struct names *names)
{
	for (size_t i = 0; i < names->n; i++)
		drop_name(c, &names->name[i]);
	free(names->name);
}

/* A folder in a folder, for later; told of and left out where it cannot be copied. */
static int keep_folder(struct copy *c, const struct place *at, const json_t *entry, const char *name, unsigned depth,
		       struct names *names, struct dw_err *err)
{
	void *array = names->name;

	/* It might lead back up. */
	if (json_object_get(entry, "symlink_target")) {
		copy_skip(c, at->path, "a link to a folder");
		return 0;
	}
	if (depth > COPY_DEPTH_MAX) {
		copy_skip(c, at->path, "too many folders in folders");
		return 0;
	}
	if (c->waiting >= COPY_WAITING_MAX) {
		copy_skip(c, at->path, "too many folders are still to be copied");
		return 0;
	}
	char **kept = cli_grow(&array, &names->n, sizeof(*kept));
	if (!kept)
		return call_no_memory(err);
	names->name = array;
	*kept = strdup(name);
	if (!*kept)
		return call_no_memory(err);
	c->waiting++;
	return 0;
}

static int get_listed(struct copy *c, const struct place *from, const json_t *entry, int folder, unsigned depth,
		      struct names *folders, struct dw_err *err)
{
	const char *name = call_text(entry, "name");
	struct place at = *from;

	if (!name || !place_is_name(name)) {
		copy_skip(c, name ? name : from->path, "the sandbox gave it a name that no file here can have");
		return 0;
	}
	dw_autofree char *path = place_join(from->path, name);
	if (!path)
		return call_no_memory(err);
	at.path = path;
	if (files_is_folder(entry))
		return keep_folder(c, &at, entry, name, depth, folders, err);
	const int r = get_file(c, &at, entry, folder, name, err);
	if (r == 0 || !copy_is_local(err))
		return r;
	copy_skip(c, path, err->message);
	return 0;
}

/* The files of a folder, and the names of the folders in it. */
static int get_files(struct copy *c, const struct place *from, int folder, unsigned depth, struct names *folders,
		     struct dw_err *err)
{
	json_t *list = NULL, *entry;
	size_t i;
	int r = 0;

	if (files_list(c->call.client, from, c->user, &list, err) < 0)
		return -1;
	json_array_foreach(list, i, entry)
	{
		r = get_listed(c, from, entry, folder, depth, folders, err);
		if (r < 0 || c->stop)
			break;
	}
	json_decref(list);
	return r;
}

static int get_folder(struct copy *c, const struct place *from, int folder, unsigned depth, struct dw_err *err);

static int get_folder_in(struct copy *c, const struct place *from, int folder, const char *name, unsigned depth,
			 struct dw_err *err)
{
	dw_autofree char *path = place_join(from->path, name);
	struct place at = *from;

	if (!path)
		return call_no_memory(err);
	at.path = path;
	dw_autoclose int below = open_folder(folder, name, err);
	const int r = below < 0 ? -1 : get_folder(c, &at, below, depth, err);
	if (r == 0 || !copy_is_local(err))
		return r;
	copy_skip(c, path, err->message);
	return 0;
}

/*
 * What is in a folder of the sandbox, into a folder here. A listing may be large, and folders deep: it is gone before the next one is
 * asked for, and only names are kept.
 */
static int get_folder(struct copy *c, const struct place *from, int folder, unsigned depth, struct dw_err *err)
{
	struct names folders = { 0 };
	int r = get_files(c, from, folder, depth + 1, &folders, err);

	for (size_t i = 0; i < folders.n && r == 0 && !c->stop; i++) {
		r = get_folder_in(c, from, folder, folders.name[i], depth + 1, err);
		drop_name(c, &folders.name[i]);
	}
	drop_names(c, &folders);
	return r;
}

/* What the user named. A link to a folder is followed then. */
static int get_entry(struct copy *c, const struct place *from, const json_t *entry, int folder, const char *name,
		     struct dw_err *err)
{
	if (!files_is_folder(entry))
		return get_file(c, from, entry, folder, name, err);
	dw_autoclose int below = open_folder(folder, name, err);
	return below < 0 ? -1 : get_folder(c, from, below, 0, err);
}

/* A place that is there and is neither folder nor plain file (/dev/null, a pipe) is written to as it is. */
static int get_into(struct copy *c, const struct place *from, const json_t *entry, const char *to, struct dw_err *err)
{
	dw_autoclose int fd = open(to, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	return fd < 0 ? here(err, to) : fetch(c, from, entry, fd, err);
}

/* The folder that a path is in, opened, and its last part. */
static int open_parent(const char *path, char **ret_name, struct dw_err *err)
{
	dw_autofree char *parent = strdup(path);
	dw_autofree char *name = place_name(path);

	if (!parent || !name)
		return call_no_memory(err);
	size_t n = strlen(parent);
	while (n > 1 && parent[n - 1] == '/')
		n--;
	while (n && parent[n - 1] != '/')
		n--;
	parent[n] = '\0';
	const int fd = open(n ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return here(err, n ? parent : ".");
	*ret_name = DW_TAKE(name);
	return fd;
}

/* Beside or in place of what to names. */
static int get_as(struct copy *c, const struct place *from, const json_t *entry, const char *to, struct dw_err *err)
{
	dw_autofree char *name = NULL;
	dw_autoclose int parent = open_parent(to, &name, err);

	if (parent < 0)
		return -1;
	if (!*name)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_option", "the destination has no name");
	return get_entry(c, from, entry, parent, name, err);
}

static int get_below(struct copy *c, const struct place *from, const json_t *entry, const char *to, struct dw_err *err)
{
	dw_autofree char *name = place_name(from->path);
	dw_autoclose int folder = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (!name)
		return call_no_memory(err);
	if (folder < 0)
		return here(err, to);
	/* "/" and "." have no name of their own: what is in them goes into the folder. */
	if (!*name)
		return get_folder(c, from, folder, 0, err);
	return get_entry(c, from, entry, folder, name, err);
}

int copy_down(struct copy *c, const struct place *from, const char *to, struct dw_err *err)
{
	json_t *entry = NULL;
	struct stat st;
	int r;

	if (files_info(c->call.client, from, c->user, &entry, err) < 0)
		return -1;
	/* The user's own link is followed, as far as it goes. */
	const bool there = stat(to, &st) == 0, plain = there && S_ISREG(st.st_mode);
	dw_autofree char *real = plain ? realpath(to, NULL) : NULL;
	struct stat end;
	if (!there && lstat(to, &st) == 0) {
		/* A link that leads nowhere, or whose end cannot be named, is not replaced: it may be somebody's /dev/stdout. */
		errno = ENOENT;
		r = here(err, to);
	} else if (there && S_ISDIR(st.st_mode)) {
		r = get_below(c, from, entry, to, err);
	} else if (there && !files_is_folder(entry) && (!plain || !real || stat(real, &end) < 0)) {
		r = get_into(c, from, entry, to, err);
	} else if (!there && place_says_folder(to) && !files_is_folder(entry)) {
		errno = ENOENT;
		r = here(err, to);
	} else {
		r = get_as(c, from, entry, real ? real : to, err);
	}
	json_decref(entry);
	return r;
}
