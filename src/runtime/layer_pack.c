/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/layer.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#define CHUNK (256u << 10)
/* Holes are told to the library as data of this many bytes at a time, which nobody reads. */
#define HOLE_CHUNK (1ull << 30)
#define FILE_MAX   (1ull << 44)
/* Pieces of one file; what is beyond is stored as data. */
#define PIECES_MAX 65536u
/* Names of files that have several: what is remembered of them. */
#define LINKS_BYTES_MAX (64u << 20)
#define LINK_BUCKETS    4096u

DW_DEFINE_CLEANUP(struct archive *, archive_write_free)
DW_DEFINE_CLEANUP(struct archive_entry *, archive_entry_free)

struct link {
	struct link *next;
	ino_t ino;
	char path[];
};

struct packing {
	struct archive *a;
	struct archive_entry *e;
	int out_fd;
	uint64_t bytes, max_bytes;
	enum dw_pack_end end; /* why it failed, when it is not errnum */
	int errnum;
	char path[DW_LAYER_PATH_MAX + 1];
	size_t path_n;
	struct link *links[LINK_BUCKETS];
	size_t links_bytes;
	const char *hole;
	char chunk[CHUNK], names[XATTR_LIST_MAX], value[XATTR_SIZE_MAX];
};

static int fails(struct packing *p, enum dw_pack_end end, int errnum)
{
	p->end = end;
	p->errnum = errnum;
	return -1;
}

static la_ssize_t on_write(struct archive *a, void *arg, const void *data, size_t n)
{
	struct packing *p = arg;
	if (n > p->max_bytes - p->bytes) {
		fails(p, DW_PACK_TOO_LARGE, 0);
		archive_set_error(a, EFBIG, "too large");
		return -1;
	}
	for (size_t done = 0; done < n;) {
		ssize_t w = write(p->out_fd, (const char *)data + done, n - done);
		if (w <= 0) {
			fails(p, DW_PACK_FAILED, w < 0 ? errno : EIO);
			archive_set_error(a, p->errnum, "write");
			return -1;
		}
		done += (size_t)w;
	}
	p->bytes += n;
	return (la_ssize_t)n;
}

/* After a call of the library that failed: our own reason comes first. */
static int library_fails(struct packing *p)
{
	if (p->end == DW_PACK_FAILED && !p->errnum)
		p->errnum = archive_errno(p->a) > 0 ? archive_errno(p->a) : EIO;
	return -1;
}

static int put_header(struct packing *p)
{
	return archive_write_header(p->a, p->e) < ARCHIVE_WARN ? library_fails(p) : 0;
}

static void describe(struct packing *p, const struct stat *st)
{
	archive_entry_clear(p->e);
	archive_entry_copy_pathname(p->e, p->path);
	archive_entry_set_mode(p->e, st->st_mode);
	archive_entry_set_uid(p->e, st->st_uid);
	archive_entry_set_gid(p->e, st->st_gid);
	archive_entry_set_mtime(p->e, st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
	archive_entry_set_size(p->e, S_ISREG(st->st_mode) ? st->st_size : 0);
}

static int add_xattrs(struct packing *p, int fd)
{
	size_t total = 0;
	ssize_t n = flistxattr(fd, p->names, sizeof(p->names));
	if (n < 0)
		return errno == ENOTSUP ? 0 : fails(p, DW_PACK_FAILED, errno);
	for (const char *name = p->names; name < p->names + n; name += strlen(name) + 1) {
		if (!dw_layer_xattr_ok(name))
			continue;
		ssize_t k = fgetxattr(fd, name, p->value, sizeof(p->value));
		if (k < 0)
			return fails(p, DW_PACK_FAILED, errno);
		total += strlen(name) + (size_t)k;
		if (total > DW_LAYER_XATTR_MAX)
			return fails(p, DW_PACK_XATTRS, 0);
		archive_entry_xattr_add_entry(p->e, name, p->value, (size_t)k);
	}
	return 0;
}

/* Notes where the file has data, unless all of it is. */
static int add_pieces(struct packing *p, int fd, off_t size)
{
	off_t at = 0;
	for (unsigned i = 0; at < size; i++) {
		off_t data = lseek(fd, at, SEEK_DATA);
		if (data < 0 && errno != ENXIO)
			return fails(p, DW_PACK_FAILED, errno);
		if (data < 0 || data >= size) {
			/* A hole to the end. Without any piece the library would take the file for one without holes. */
			archive_entry_sparse_add_entry(p->e, size, 0);
			return 0;
		}
		off_t end = i < PIECES_MAX ? lseek(fd, data, SEEK_HOLE) : size;
		if (end < 0)
			return fails(p, DW_PACK_FAILED, errno);
		end = DW_MIN(end, size);
		if (data == 0 && end == size)
			return 0;
		archive_entry_sparse_add_entry(p->e, data, end - data);
		at = end;
	}
	return 0;
}

static int put_hole(struct packing *p, uint64_t n)
{
	while (n) {
		const uint64_t k = DW_MIN(n, HOLE_CHUNK);
		if (archive_write_data(p->a, p->hole, (size_t)k) < 0)
			return library_fails(p);
		n -= k;
	}
	return 0;
}

static int put_data(struct packing *p, int fd, off_t at, off_t end)
{
	while (at < end) {
		const size_t want = (size_t)DW_MIN((off_t)CHUNK, end - at);
		ssize_t n = pread(fd, p->chunk, want, at);
		if (n < 0)
			return fails(p, DW_PACK_FAILED, errno);
		if (n == 0) {
			/* It has become shorter than its header says. */
			memset(p->chunk, 0, want);
			n = (ssize_t)want;
		}
		if (archive_write_data(p->a, p->chunk, (size_t)n) < 0)
			return library_fails(p);
		at += n;
	}
	return 0;
}

static int put_contents(struct packing *p, int fd, off_t size)
{
	la_int64_t from, n;
	off_t at = 0;
	if (archive_entry_sparse_reset(p->e) == 0)
		return put_data(p, fd, 0, size);
	while (archive_entry_sparse_next(p->e, &from, &n) == ARCHIVE_OK) {
		if (put_hole(p, (uint64_t)(from - at)) < 0 || put_data(p, fd, from, from + n) < 0)
			return -1;
		at = from + n;
	}
	return put_hole(p, (uint64_t)(size - at));
}

/* The first name of a file that has several, or NULL: then this is it. */
static int find_link(struct packing *p, ino_t ino, const char **ret)
{
	struct link **at = &p->links[ino % LINK_BUCKETS];
	for (const struct link *l = *at; l; l = l->next) {
		if (l->ino == ino) {
			*ret = l->path;
			return 0;
		}
	}
	const size_t n = sizeof(struct link) + p->path_n + 1;
	p->links_bytes += n;
	struct link *l = p->links_bytes > LINKS_BYTES_MAX ? NULL : malloc(n);
	if (!l)
		return fails(p, DW_PACK_MANY_LINKS, 0);
	l->ino = ino;
	l->next = *at;
	memcpy(l->path, p->path, p->path_n + 1);
	*at = l;
	*ret = NULL;
	return 0;
}

static int pack_file(struct packing *p, int dir_fd, const char *name, struct stat *st)
{
	const char *first = NULL;
	if (st->st_nlink > 1 && find_link(p, st->st_ino, &first) < 0)
		return -1;
	if (first) {
		describe(p, st);
		archive_entry_set_size(p->e, 0);
		archive_entry_copy_hardlink(p->e, first);
		return put_header(p);
	}
	/* A fifo in its place would not hold up. */
	dw_autoclose int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : fails(p, DW_PACK_FAILED, errno);
	if (fstat(fd, st) < 0 || !S_ISREG(st->st_mode))
		return fails(p, DW_PACK_FAILED, EBUSY);
	if ((uint64_t)st->st_size > FILE_MAX)
		return fails(p, DW_PACK_HUGE_FILE, 0);
	describe(p, st);
	if (add_xattrs(p, fd) < 0 || add_pieces(p, fd, st->st_size) < 0 || put_header(p) < 0)
		return -1;
	return put_contents(p, fd, st->st_size);
}

static int pack_link(struct packing *p, int dir_fd, const char *name, const struct stat *st)
{
	ssize_t n = readlinkat(dir_fd, name, p->value, PATH_MAX);
	if (n < 0 || n >= PATH_MAX)
		return n < 0 && errno == ENOENT ? 0 : fails(p, DW_PACK_FAILED, n < 0 ? errno : ENAMETOOLONG);
	p->value[n] = '\0';
	describe(p, st);
	archive_entry_copy_symlink(p->e, p->value);
	return put_header(p);
}

/* A fifo, or what marks a removed file. There is nothing else in a sandbox that could be made. */
static int pack_special(struct packing *p, const struct stat *st)
{
	if (S_ISSOCK(st->st_mode))
		return 0; /* of a process that does not come along */
	if (!S_ISFIFO(st->st_mode) && !(S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0)))
		return fails(p, DW_PACK_FAILED, EINVAL);
	describe(p, st);
	archive_entry_set_rdev(p->e, st->st_rdev);
	return put_header(p);
}

static int pack_entry(struct packing *p, int dir_fd, const char *name);

static int pack_children(struct packing *p, int dir_fd)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		const int e = errno;
		if (fd >= 0)
			close(fd);
		/* Each level holds two descriptors: the limit of them bounds the depth. */
		return e == EMFILE ? fails(p, DW_PACK_LONG_PATH, 0) : fails(p, DW_PACK_FAILED, e);
	}
	int r = 0;
	for (const struct dirent *e; r == 0 && (e = readdir(d));) {
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			r = pack_entry(p, fd, e->d_name);
	}
	closedir(d);
	return r;
}

static int pack_dir(struct packing *p, int dir_fd, const char *name, const struct stat *st)
{
	dw_autoclose int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == EMFILE)
		return fails(p, DW_PACK_LONG_PATH, 0);
	if (fd < 0)
		return errno == ENOENT ? 0 : fails(p, DW_PACK_FAILED, errno);
	describe(p, st);
	if (add_xattrs(p, fd) < 0 || put_header(p) < 0 || pack_children(p, fd) < 0)
		return -1;
	describe(p, st);
	return put_header(p);
}

static int pack_stat(struct packing *p, int dir_fd, const char *name, struct stat *st)
{
	if (S_ISDIR(st->st_mode))
		return pack_dir(p, dir_fd, name, st);
	if (S_ISREG(st->st_mode))
		return pack_file(p, dir_fd, name, st);
	return S_ISLNK(st->st_mode) ? pack_link(p, dir_fd, name, st) : pack_special(p, st);
}

static int pack_entry(struct packing *p, int dir_fd, const char *name)
{
	struct stat st;
	const size_t before = p->path_n, n = strlen(name);
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : fails(p, DW_PACK_FAILED, errno);
	if (before + 1 + n > DW_LAYER_PATH_MAX)
		return fails(p, DW_PACK_LONG_PATH, 0);
	if (before)
		p->path[p->path_n++] = '/';
	memcpy(p->path + p->path_n, name, n + 1);
	p->path_n += n;
	int r = pack_stat(p, dir_fd, name, &st);
	p->path_n = before;
	p->path[before] = '\0';
	return r;
}

static int pack_all(struct packing *p)
{
	/* Names are bytes: no character set is taken for granted, and none converted to. Attributes in the one of two forms that holds any bytes. */
	if (archive_write_set_format_pax(p->a) != ARCHIVE_OK ||
	    archive_write_set_options(p->a, "hdrcharset=BINARY,xattrheader=LIBARCHIVE") != ARCHIVE_OK ||
	    archive_write_set_bytes_per_block(p->a, 64 << 10) != ARCHIVE_OK ||
	    archive_write_set_bytes_in_last_block(p->a, 1) != ARCHIVE_OK ||
	    archive_write_open(p->a, p, NULL, on_write, NULL) != ARCHIVE_OK)
		return library_fails(p);
	if (pack_entry(p, AT_FDCWD, "root") < 0 || pack_entry(p, AT_FDCWD, DW_LAYER_LAST) < 0)
		return -1;
	return archive_write_close(p->a) != ARCHIVE_OK ? library_fails(p) : 0;
}

void dw_layer_pack(int out_fd, uint64_t max_bytes, struct dw_pack_report *ret)
{
	struct archive *a DW_AUTO(archive_write_free) = archive_write_new();
	struct archive_entry *e DW_AUTO(archive_entry_free) = archive_entry_new();
	dw_autofree struct packing *p = calloc(1, sizeof(*p));
	void *hole = mmap(NULL, HOLE_CHUNK, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	*ret = (struct dw_pack_report){ .errnum = ENOMEM };
	if (!a || !e || !p || hole == MAP_FAILED)
		return;
	p->a = a;
	p->e = e;
	p->out_fd = out_fd;
	p->max_bytes = max_bytes;
	p->hole = hole;
	const int r = pack_all(p);
	*ret = (struct dw_pack_report){ .end = r == 0 ? DW_PACK_DONE : p->end, .errnum = p->errnum, .bytes = p->bytes };
	if (r < 0)
		archive_write_fail(a); /* or its end would be written */
	for (size_t i = 0; i < LINK_BUCKETS; i++) {
		while (p->links[i]) {
			struct link *l = p->links[i];
			p->links[i] = l->next;
			free(l);
		}
	}
	munmap(hole, HOLE_CHUNK);
}
