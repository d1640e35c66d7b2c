/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/volume_take.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "daemon/agent_file.h"
#include "daemon/clock.h"

/* Reads everything there is to read. */
#define READER "root"

typedef struct archive *archive_ref;
DW_DEFINE_CLEANUP(archive_ref, archive_write_free)

struct child {
	char *name;
	uint64_t size;
	int64_t modified_us;
	uint16_t mode;
	bool dir;
};

struct children {
	struct child *v;
	size_t n, cap;
};

struct walk {
	const struct volume_take_from *from;
	struct volume_draft *draft;
	struct archive *a;
	struct archive_entry *entry;
	char **todo; /* directories, relative to from->path; "" is that itself */
	size_t todo_n, todo_cap;
	uint64_t entries, bytes, left_out;
	int64_t until_ms;
	struct dw_err *err;
};

bool volume_take_is_below(const char *path, const char *dir)
{
	for (;;) {
		while (*path == '/' || (path[0] == '.' && (path[1] == '/' || !path[1])))
			path++;
		dir += strspn(dir, "/");
		size_t n = strcspn(dir, "/");
		if (!n)
			return true;
		if (strcspn(path, "/") != n || memcmp(path, dir, n) != 0)
			return false;
		path += n;
		dir += n;
	}
}

static int no_memory(const struct walk *w)
{
	return dw_err_errno(w->err, ENOMEM, "reading the directory");
}

static void children_done(struct children *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->v[i].name);
	free(c->v);
}

/* A name that can stand for an entry of its directory; what a path says before it is the agent's word, and not used. */
static char *name_of(struct dw_span path)
{
	struct dw_span s = agent_path_name(path);
	if (!s.n || s.n > 255 || memchr(s.p, '\0', s.n) || memchr(s.p, '/', s.n) || (s.n == 1 && s.p[0] == '.') ||
	    (s.n == 2 && s.p[0] == '.' && s.p[1] == '.'))
		return NULL;
	return strndup((const char *)s.p, s.n);
}

static int add_child(struct walk *w, struct children *c, const struct dw_agentp_entry *e)
{
	if (e->link || !e->known) {
		w->left_out++;
		return 0;
	}
	if (c->n == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 64;
		struct child *v = realloc(c->v, cap * sizeof(*v));
		if (!v)
			return no_memory(w);
		c->v = v;
		c->cap = cap;
	}
	char *name = name_of(e->path);
	if (!name) {
		w->left_out++;
		return 0;
	}
	c->v[c->n++] = (struct child){
		.name = name, .size = e->size, .modified_us = e->modified_us, .mode = e->mode & 0777, .dir = e->dir
	};
	return 0;
}

static int full_path(const struct walk *w, const char *rel, char ret[static DAEMON_PATH_MAX + 1])
{
	const size_t n = strlen(w->from->path);
	const char *slash = n && w->from->path[n - 1] == '/' ? "" : "/";
	int m = snprintf(ret, DAEMON_PATH_MAX + 1, "%s%s%s", w->from->path, *rel ? slash : "", rel);
	if (m < 0 || (unsigned)m > DAEMON_PATH_MAX)
		return dw_err_set(w->err, DW_ERR_INVALID, "invalid_path", "the directory is too deep to be read");
	return 0;
}

static int begin(const struct walk *w, struct agent_op *op)
{
	if (clock_mono_ms() > w->until_ms)
		return dw_err_set(w->err, DW_ERR_TIMEOUT, "volume_timeout", "the directory took too long to be read");
	if (agent_op_open(op, w->from->manager, w->from->sandbox, w->from->stop_fd, w->err) < 0)
		return -1;
	op->client_fd = w->from->client_fd;
	return 0;
}

static int list(struct walk *w, const char *rel, struct children *c)
{
	char path[DAEMON_PATH_MAX + 1];
	auto_agent_op struct agent_op op = { .fd = -1 };
	if (full_path(w, rel, path) < 0 || begin(w, &op) < 0)
		return -1;
	const struct dw_agentp_file_request q = {
		.user = { .p = (const uint8_t *)READER, .n = strlen(READER) },
		.path = { .p = (const uint8_t *)path, .n = strlen(path) },
		.depth = 1,
	};
	struct dw_agentp_entry e;
	int r;
	if (agent_file_request(&op, DW_AGENTP_FILE_LIST, &q, w->err) < 0)
		return -1;
	while ((r = agent_file_entry(&op, &e, NULL, w->err)) > 0) {
		if (w->entries + c->n >= DAEMON_VOLUME_ENTRIES)
			return dw_err_set(w->err, DW_ERR_TOO_LARGE, "too_many",
					  "the directory has more than the %u entries that a volume can have",
					  DAEMON_VOLUME_ENTRIES);
		if (add_child(w, c, &e) < 0)
			return -1;
	}
	return r;
}

/* Into the archive; its errors are ours, or the draft's, which has set err already. */
static int wrote(const struct walk *w, la_ssize_t r)
{
	if (r >= ARCHIVE_WARN)
		return 0;
	if (!w->err->code[0])
		dw_err_set(w->err, DW_ERR_INTERNAL, "internal", "writing the volume's archive failed");
	return -1;
}

static int put_header(struct walk *w, const char *rel, const struct child *c)
{
	archive_entry_clear(w->entry);
	archive_entry_copy_pathname(w->entry, rel);
	archive_entry_set_filetype(w->entry, c->dir ? AE_IFDIR : AE_IFREG);
	archive_entry_set_perm(w->entry, c->mode);
	archive_entry_set_uid(w->entry, 1000);
	archive_entry_set_gid(w->entry, 1000);
	archive_entry_set_size(w->entry, c->dir ? 0 : (int64_t)c->size);
	archive_entry_set_mtime(w->entry, c->modified_us > 0 ? c->modified_us / 1000000 : 0, 0);
	w->entries++;
	return wrote(w, archive_write_header(w->a, w->entry));
}

/* It is not there any more, or no file: 1 when err was about that. */
static int is_passed_over(struct walk *w)
{
	if (w->err->kind == DW_ERR_INVALID)
		w->left_out++;
	else if (w->err->kind != DW_ERR_NOT_FOUND || strcmp(w->err->code, "sandbox_not_found") == 0)
		return 0;
	*w->err = (struct dw_err){ 0 };
	return 1;
}

static int put_data(struct walk *w, struct agent_op *op, struct dw_span piece, uint64_t size)
{
	uint64_t left = size;
	int r = 1;
	while (r > 0 && left) {
		const size_t n = (size_t)DW_MIN((uint64_t)piece.n, left);
		if (wrote(w, archive_write_data(w->a, piece.p, n)) < 0)
			return -1;
		left -= n;
		if (left)
			r = agent_file_next(op, &piece, w->err);
	}
	if (r < 0)
		return -1;
	/* What has grown is taken as it was; what is missing can not be made up. */
	return left == 0
		       ? 0
		       : dw_err_set(w->err, DW_ERR_CONFLICT, "file_changed",
				    "a file became shorter while it was read: pause what writes there, and try again");
}

static int put_file(struct walk *w, const char *rel, const struct child *c)
{
	char path[DAEMON_PATH_MAX + 1];
	auto_agent_op struct agent_op op = { .fd = -1 };
	struct dw_span piece = { 0 };
	if (c->size > w->from->max_bytes - w->bytes)
		return dw_err_set(w->err, DW_ERR_TOO_LARGE, "too_large",
				  "the directory has more than the %llu bytes that a volume can have",
				  (unsigned long long)w->from->max_bytes);
	w->bytes += c->size;
	if (full_path(w, rel, path) < 0 || begin(w, &op) < 0 ||
	    agent_file_start(&op, DW_AGENTP_FILE_READ, READER, path, w->err) < 0)
		return -1;
	if (agent_file_next(&op, &piece, w->err) < 0)
		return is_passed_over(w) ? 0 : -1;
	if (put_header(w, rel, c) < 0)
		return -1;
	return c->size ? put_data(w, &op, piece, c->size) : 0;
}

static int push(struct walk *w, char *rel_take)
{
	if (w->todo_n == w->todo_cap) {
		size_t cap = w->todo_cap ? w->todo_cap * 2 : 64;
		char **v = realloc(w->todo, cap * sizeof(*v));
		if (!v) {
			free(rel_take);
			return no_memory(w);
		}
		w->todo = v;
		w->todo_cap = cap;
	}
	w->todo[w->todo_n++] = rel_take;
	return 0;
}

/* What the kernel shows of itself is no content. */
static bool is_kernels(const struct walk *w, const char *rel)
{
	static const char *const dirs[] = { "/proc", "/sys", "/dev" };
	char path[DAEMON_PATH_MAX + 1];
	if (full_path(w, rel, path) < 0)
		return false;
	for (size_t i = 0; i < DW_COUNT(dirs); i++) {
		if (volume_take_is_below(path, dirs[i]))
			return true;
	}
	return false;
}

static int put_child(struct walk *w, const char *dir, const struct child *c)
{
	char rel[DAEMON_PATH_MAX + 1];
	int n = snprintf(rel, sizeof(rel), "%s%s%s", dir, *dir ? "/" : "", c->name);
	if (n < 0 || (size_t)n >= sizeof(rel)) {
		w->left_out++;
		return 0;
	}
	if (!c->dir)
		return put_file(w, rel, c);
	if (is_kernels(w, rel))
		return 0;
	if (put_header(w, rel, c) < 0)
		return -1;
	char *later = strdup(rel);
	return later ? push(w, later) : no_memory(w);
}

static int take_dir(struct walk *w, const char *rel)
{
	__attribute__((cleanup(children_done))) struct children c = { 0 };
	if (list(w, rel, &c) < 0)
		/* Of what was asked for, this is the answer; below it, it has gone meanwhile. */
		return *rel && is_passed_over(w) ? 0 : -1;
	for (size_t i = 0; i < c.n; i++) {
		if (put_child(w, rel, &c.v[i]) < 0)
			return -1;
	}
	return 0;
}

static int walk_all(struct walk *w)
{
	char *top = strdup("");
	if (!top)
		return no_memory(w);
	int r = push(w, top);
	while (r == 0 && w->todo_n) {
		char *rel = w->todo[--w->todo_n];
		r = take_dir(w, rel);
		free(rel);
	}
	return r;
}

static la_ssize_t on_write(struct archive *a, void *arg, const void *p, size_t n)
{
	struct walk *w = arg;
	return volume_draft_write(w->draft, p, n, w->err) < 0 ? -1 : (la_ssize_t)n;
}

static int write_archive(struct walk *w)
{
	DW_AUTO(archive_write_free) archive_ref a = archive_write_new();
	w->a = a;
	w->entry = archive_entry_new();
	if (!a || !w->entry)
		return no_memory(w);
	/* Fast: it is read once or twice, from the disk. No time of making, so that the same content gives the same bytes. */
	if (archive_write_set_format_pax_restricted(a) < ARCHIVE_WARN ||
	    archive_write_add_filter_gzip(a) < ARCHIVE_WARN ||
	    archive_write_set_filter_option(a, "gzip", "compression-level", "1") < ARCHIVE_WARN ||
	    archive_write_set_filter_option(a, "gzip", "timestamp", NULL) < ARCHIVE_WARN ||
	    archive_write_open(a, w, NULL, on_write, NULL) < ARCHIVE_WARN)
		return wrote(w, ARCHIVE_FATAL);
	if (walk_all(w) < 0)
		return -1;
	return wrote(w, archive_write_close(a));
}

int volume_take(const struct volume_take_from *from, struct volume_draft *d, uint64_t *ret_left_out, struct dw_err *err)
{
	struct walk w = {
		.from = from,
		.draft = d,
		.until_ms = clock_mono_ms() + DAEMON_VOLUME_TAKE_MS,
		.err = err,
	};
	/* Names are UTF-8 in an archive, and libarchive asks the thread's locale what they are here. */
	locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	locale_t before = utf8 ? uselocale(utf8) : (locale_t)0;
	int r = utf8 ? write_archive(&w) : dw_err_errno(err, errno, "the C library has no C.UTF-8");
	if (utf8) {
		uselocale(before);
		freelocale(utf8);
	}
	while (w.todo_n)
		free(w.todo[--w.todo_n]);
	free(w.todo);
	archive_entry_free(w.entry);
	*ret_left_out = w.left_out;
	return r;
}
