/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in a directory, what a path is, and the making and moving of them. A listing is gathered whole before the first of it is sent,
 * so that it is sorted, and so that one that is too large is an error and not half an answer. Its memory is the sandbox's own.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "agent/file_internal.h"

#define NAMES_KEPT 16 /* of owners and groups: most directories have one or two */

/* Names of ids, the last ones asked for kept. */
struct names {
	const char *path;
	unsigned n, next;
	struct {
		uint32_t id;
		char name[DW_ACCOUNT_NAME_MAX + 1];
	} kept[NAMES_KEPT];
};

static struct names owners = { .path = "/etc/passwd" }, groups = { .path = "/etc/group" };

static struct dw_span span_of(const char *s)
{
	return (struct dw_span){ .p = (const uint8_t *)s, .n = strlen(s) };
}

/* An id without a name is a number. */
static struct dw_span name_of(struct names *names, uint32_t id)
{
	for (unsigned i = 0; i < names->n; i++)
		if (names->kept[i].id == id)
			return span_of(names->kept[i].name);
	const unsigned at = names->next;
	names->next = (at + 1) % NAMES_KEPT;
	names->n = DW_MAX(names->n, at + 1);
	names->kept[at].id = id;
	if (!dw_account_name_in(names->path, id, names->kept[at].name))
		snprintf(names->kept[at].name, sizeof(names->kept[at].name), "%u", (unsigned)id);
	return span_of(names->kept[at].name);
}

/* In microseconds. A file's owner may have set any time at all. */
static int64_t microseconds(const struct timespec *t)
{
	const int64_t most = INT64_MAX / 1000000 - 1;
	const int64_t s = t->tv_sec > most ? most : t->tv_sec < -most ? -most : t->tv_sec;
	return s * 1000000 + t->tv_nsec / 1000;
}

static void take_stat(struct dw_agentp_entry *e, const struct stat *st)
{
	e->known = true;
	e->dir = S_ISDIR(st->st_mode);
	e->mode = st->st_mode & 07777;
	e->size = !e->dir && st->st_size > 0 ? (uint64_t)st->st_size : 0;
	e->modified_us = microseconds(&st->st_mtim);
	e->owner = name_of(&owners, st->st_uid);
	e->group = name_of(&groups, st->st_gid);
}

/* 0, or the number of what went wrong: then e says only what kind it is. Spans of e are valid until the next call but one. */
static int look(int dir_fd, const char *name, struct dw_agentp_entry *e)
{
	static char target[DW_AGENTP_ENTRY_TARGET_MAX];
	struct stat st, behind;
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0)
		return errno;
	e->link = S_ISLNK(st.st_mode);
	if (!e->link) {
		take_stat(e, &st);
		return 0;
	}
	const ssize_t n = readlinkat(dir_fd, name, target, sizeof(target));
	e->target = (struct dw_span){ .p = (const uint8_t *)target, .n = n > 0 ? (size_t)n : 0 };
	/* A link that leads nowhere, or where nobody may look, is itself. */
	take_stat(e, fstatat(dir_fd, name, &behind, AT_NO_AUTOMOUNT) == 0 ? &behind : &st);
	return 0;
}

/* A directory's names before they are sorted. */
struct level {
	char *text;
	size_t text_n, text_cap;
	struct level_name {
		size_t at;
		bool dir; /* as far as reading the directory tells */
		const char *name;
	} * name;
	size_t n, cap;
};

static void level_done(struct level *v)
{
	free(v->text);
	free(v->name);
}

struct listing {
	uint8_t *frames;
	size_t n, cap;
	size_t entries; /* in frames, and names that wait */
	size_t path_n;
	char path[DW_AGENTP_ENTRY_PATH_MAX + 1]; /* of the directory at hand */
	struct dw_fault *f;
};

/* The root's path is empty here: its slash is the one that names get. */
static const char *shown(const struct listing *l)
{
	return l->path_n ? l->path : "/";
}

static int too_many(struct listing *l)
{
	return dw_fault_set(l->f, E2BIG,
			    "\"%.200s\" has more than %u entries or their names more than %u MiB: list it with a "
			    "smaller depth, or its sub-directories one by one, or with a command",
			    shown(l), DW_AGENTP_ENTRIES_MAX, DW_AGENTP_ENTRIES_BYTES >> 20);
}

static int no_memory(struct listing *l)
{
	return dw_fault_errno(l->f, ENOMEM, "\"%.200s\" can not be listed", shown(l));
}

/* Room for one more; NULL without memory. */
static void *grow(void *p, size_t n, size_t *cap, size_t more, size_t size)
{
	if (*cap - n >= more)
		return p;
	const size_t want = DW_MAX(*cap * 2, n + DW_MAX(more, (size_t)64));
	void *grown = realloc(p, want * size);
	if (grown)
		*cap = want;
	return grown;
}

static int level_add(struct listing *l, struct level *v, const struct dirent *d)
{
	const size_t len = strlen(d->d_name) + 1;
	if (++l->entries > DW_AGENTP_ENTRIES_MAX)
		return too_many(l);
	void *text = grow(v->text, v->text_n, &v->text_cap, len, 1);
	if (text)
		v->text = text;
	void *name = text ? grow(v->name, v->n, &v->cap, 1, sizeof(*v->name)) : NULL;
	if (!name)
		return no_memory(l);
	v->name = name;
	memcpy(v->text + v->text_n, d->d_name, len);
	v->name[v->n++] = (struct level_name){ .at = v->text_n, .dir = d->d_type == DT_DIR };
	v->text_n += len;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct level_name *)a)->name, ((const struct level_name *)b)->name);
}

static bool is_dots(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

static int level_read(struct listing *l, DIR *dir, struct level *v)
{
	const struct dirent *d;
	while (errno = 0, (d = readdir(dir)))
		if (!is_dots(d->d_name) && level_add(l, v, d) != 0)
			return -1;
	if (errno)
		return dw_fault_errno(l->f, errno, "\"%.200s\" can not be listed", shown(l));
	for (size_t i = 0; i < v->n; i++)
		v->name[i].name = v->text + v->name[i].at;
	if (v->n)
		qsort(v->name, v->n, sizeof(*v->name), by_name);
	return 0;
}

static int add_frame(struct listing *l, const struct dw_agentp_entry *e)
{
	static uint8_t frame[DW_AGENTP_HEADER + DW_AGENTP_ENTRY_PATH_MAX + DW_AGENTP_ENTRY_TARGET_MAX +
			     2 * DW_AGENTP_ENTRY_NAME_MAX + 64];
	const size_t n = dw_agentp_entry_build(e, frame + DW_AGENTP_HEADER, sizeof(frame) - DW_AGENTP_HEADER);
	dw_assert(n > 0);
	dw_agentp_header_build(frame, DW_AGENTP_ENTRY, (uint32_t)n);
	if (l->n + DW_AGENTP_HEADER + n > DW_AGENTP_ENTRIES_BYTES)
		return too_many(l);
	void *p = grow(l->frames, l->n, &l->cap, DW_AGENTP_HEADER + n, 1);
	if (!p)
		return no_memory(l);
	l->frames = p;
	memcpy(l->frames + l->n, frame, DW_AGENTP_HEADER + n);
	l->n += DW_AGENTP_HEADER + n;
	return 0;
}

static int list_level(struct listing *l, int fd_take, uint32_t depth);

/* One name of the directory at hand, and below it what depth still allows. */
static int list_name(struct listing *l, int fd, const struct level_name *name, uint32_t depth)
{
	const size_t above = l->path_n;
	struct dw_agentp_entry e = { .dir = name->dir };
	const int number = look(fd, name->name, &e);
	if (number == ENOENT) {
		l->entries--; /* it has gone meanwhile */
		return 0;
	}
	const int n = snprintf(l->path + above, sizeof(l->path) - above, "/%s", name->name);
	/* The directory's path is shorter than PATH_MAX, see below. */
	dw_assert(n > 0 && (size_t)n < sizeof(l->path) - above);
	l->path_n += (size_t)n;
	e.path = (struct dw_span){ .p = (const uint8_t *)l->path, .n = l->path_n };
	int r = add_frame(l, &e);
	/* Not behind links, which may lead back; nor where nobody may look; nor what has no path that a request could name. */
	if (r == 0 && e.dir && !e.link && depth > 1 && l->path_n < PATH_MAX) {
		const int inner = openat(fd, name->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (inner >= 0)
			r = list_level(l, inner, depth - 1);
		else if (errno != EACCES && errno != ENOENT && errno != ENOTDIR && errno != ELOOP && errno != EPERM)
			r = dw_fault_errno(l->f, errno, "\"%.200s\" can not be listed", shown(l));
	}
	if (r == 0) {
		l->path_n = above;
		l->path[above] = '\0';
	}
	return r;
}

static int list_level(struct listing *l, int fd_take, uint32_t depth)
{
	DIR *dir = fdopendir(fd_take);
	if (!dir) {
		close(fd_take);
		return no_memory(l);
	}
	struct level v = { 0 };
	int r = level_read(l, dir, &v);
	for (size_t i = 0; r == 0 && i < v.n; i++)
		r = list_name(l, dirfd(dir), &v.name[i], depth);
	level_done(&v);
	closedir(dir);
	return r;
}

int dw_file_list(const char *path, uint32_t depth, struct dw_fault *f)
{
	static struct listing l;
	l = (struct listing){ .f = f, .path_n = strlen(path) };
	snprintf(l.path, sizeof(l.path), "%s", path);
	if (l.path_n == 1)
		l.path_n = 0;
	const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return dw_fault_errno(f, errno, "\"%s\" can not be listed", path);
	if (list_level(&l, fd, depth) != 0)
		return -1;
	dw_file_send_all(l.frames, l.n);
	dw_file_send(DW_AGENTP_END, 0);
	return 0;
}

int dw_file_info(const char *path, struct dw_fault *f)
{
	struct dw_agentp_entry e = { .path = span_of(path) };
	const int number = look(AT_FDCWD, path, &e);
	if (number)
		return dw_fault_errno(f, number, "\"%s\" can not be looked at", path);
	const size_t n = dw_agentp_entry_build(&e, dw_file_chunk + DW_AGENTP_HEADER, DW_AGENTP_CHUNK);
	dw_assert(n > 0);
	dw_file_send(DW_AGENTP_ENTRY, n);
	dw_file_send(DW_AGENTP_END, 0);
	return 0;
}

int dw_file_rename(const char *path, const char *to, struct dw_fault *f)
{
	if (rename(path, to) == 0)
		return dw_file_info(to, f);
	if (errno == EXDEV)
		return dw_fault_set(f, EXDEV,
				    "\"%.180s\" and \"%.180s\" are on different file systems: copy it, then remove it",
				    path, to);
	return dw_fault_errno(f, errno, "\"%.180s\" can not be renamed to \"%.180s\"", path, to);
}

int dw_file_mkdir(const char *path, struct dw_fault *f)
{
	struct stat st;
	int r = mkdir(path, 0755);
	if (r != 0 && errno == ENOENT) {
		if (dw_file_make_parents(path, f) != 0)
			return -1;
		r = mkdir(path, 0755);
	}
	const int number = r == 0 ? 0 : errno;
	if (number && (number != EEXIST || stat(path, &st) != 0 || !S_ISDIR(st.st_mode)))
		return dw_fault_errno(f, number, "the directory \"%s\" can not be made", path);
	dw_file_chunk[DW_AGENTP_HEADER] = number == 0;
	dw_file_send(DW_AGENTP_MADE, 1);
	return 0;
}
