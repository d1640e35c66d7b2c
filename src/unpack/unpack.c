/* SPDX-License-Identifier: Apache-2.0 */
#include "unpack/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "unpack/tree.h"

#define READ_BLOCK 65536u
/* Headers, padding and names: what an archive may hold of them for each entry, beside the contents. */
#define OVERHEAD_PER_ENTRY 8192u

typedef struct archive *archive_ref;
DW_DEFINE_CLEANUP(archive_ref, archive_read_free)

struct job {
	enum unpack_mode mode;
	const struct unpack_limits *limits;
	struct archive *a;
	struct tree tree;
	struct unpack_result *ret;
	struct unpack_entry entry;
	uint64_t entries, bytes; /* so far, dropped and replaced ones too */
	struct dw_err *err;
};

static int bad_archive(const struct job *j)
{
	char why[160];
	const char *said = archive_error_string(j->a);
	unpack_printable(said ? said : "not an archive", why, sizeof(why));
	if (archive_errno(j->a) == ENOMEM)
		return dw_err_set(j->err, DW_ERR_TOO_LARGE, "too_large",
				  "the archive needs too much memory to be read");
	return dw_err_set(j->err, DW_ERR_INVALID, "bad_archive", "the archive can not be read: %s", why);
}

static int too_large(const struct job *j)
{
	return dw_err_set(j->err, DW_ERR_TOO_LARGE, "too_large",
			  "the archive unpacks to more than the %llu bytes that are allowed",
			  (unsigned long long)j->limits->bytes);
}

static enum unpack_kind kind_of(struct archive_entry *e)
{
	if (archive_entry_hardlink(e))
		return UNPACK_HARDLINK;
	switch (archive_entry_filetype(e)) {
	case AE_IFREG:
		return UNPACK_FILE;
	case AE_IFDIR:
		return UNPACK_DIR;
	case AE_IFLNK:
		return UNPACK_SYMLINK;
	case AE_IFIFO:
		return UNPACK_FIFO;
	default:
		return UNPACK_OTHER;
	}
}

/* All of it or an error. */
static int write_at(int fd, const char *p, size_t n, int64_t at)
{
	while (n) {
		ssize_t w = pwrite(fd, p, n, at);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return -1;
		p += w;
		at += w;
		n -= (size_t)w;
	}
	return 0;
}

static int copy_data(struct job *j, int fd, int64_t size)
{
	for (;;) {
		const void *p;
		size_t n;
		la_int64_t at;
		int r = archive_read_data_block(j->a, &p, &n, &at);
		if (r == ARCHIVE_EOF)
			break;
		if (r < ARCHIVE_WARN)
			return bad_archive(j);
		/* What the header said was counted; more than that is a lie. */
		if (at < 0 || at > size || n > (uint64_t)(size - at))
			return too_large(j);
		if (write_at(fd, p, n, at) < 0)
			return tree_error(errno, j->entry.path, j->err);
	}
	return ftruncate(fd, size) < 0 ? tree_error(errno, j->entry.path, j->err) : 0;
}

static int keep_xattrs(struct job *j, struct archive_entry *e, int fd)
{
	const char *name;
	const void *value;
	size_t n;
	archive_entry_xattr_reset(e);
	while (archive_entry_xattr_next(e, &name, &value, &n) == ARCHIVE_OK) {
		/* A file system without them, or one whose room for them is full: the file is good without. */
		if (!unpack_keeps_xattr(j->mode, name, value, n) || fsetxattr(fd, name, value, n, 0) < 0)
			j->ret->dropped_xattrs++;
	}
	return 0;
}

static int take_file(struct job *j, struct archive_entry *e, int64_t size)
{
	dw_autoclose int fd = -1;
	int r = tree_file(&j->tree, &j->entry, &fd, j->err);
	if (r <= 0)
		return r;
	if (copy_data(j, fd, size) < 0 || tree_finish(&j->tree, &j->entry, fd, j->err) < 0 || keep_xattrs(j, e, fd) < 0)
		return -1;
	j->ret->files++;
	j->ret->bytes += (uint64_t)size;
	return 1;
}

static int take(struct job *j, struct archive_entry *e, int64_t size)
{
	int r = 0;
	switch (j->entry.kind) {
	case UNPACK_FILE:
		return take_file(j, e, size);
	case UNPACK_DIR:
		return tree_dir(&j->tree, &j->entry, j->err);
	case UNPACK_SYMLINK:
		r = tree_symlink(&j->tree, &j->entry, archive_entry_symlink(e), j->err);
		break;
	case UNPACK_HARDLINK:
		r = tree_hardlink(&j->tree, &j->entry, j->err);
		break;
	case UNPACK_FIFO:
		return tree_fifo(&j->tree, &j->entry, j->err);
	case UNPACK_OTHER:
		return 0;
	}
	j->ret->links += r > 0;
	return r;
}

/* Counts what the entry says it holds, whether it is taken or not: skipping it is work too. */
static int count(struct job *j, struct archive_entry *e, int64_t *ret_size)
{
	int64_t size = archive_entry_size_is_set(e) ? archive_entry_size(e) : 0;
	if (++j->entries > j->limits->entries)
		return dw_err_set(j->err, DW_ERR_TOO_LARGE, "too_many",
				  "the archive has more than the %llu entries that are allowed",
				  (unsigned long long)j->limits->entries);
	if (size < 0)
		return dw_err_set(j->err, DW_ERR_INVALID, "bad_archive", "the archive has an entry of a negative size");
	if ((uint64_t)size > j->limits->bytes - j->bytes)
		return too_large(j);
	j->bytes += (uint64_t)size;
	*ret_size = size;
	return 0;
}

static int one_entry(struct job *j, struct archive_entry *e)
{
	int64_t size;
	if (count(j, e, &size) < 0)
		return -1;
	enum unpack_kind kind = kind_of(e);
	const struct unpack_claim claim = {
		.kind = kind,
		.path = archive_entry_pathname(e),
		.target = kind == UNPACK_HARDLINK  ? archive_entry_hardlink(e)
			  : kind == UNPACK_SYMLINK ? archive_entry_symlink(e)
						   : NULL,
		.uid = archive_entry_uid(e),
		.gid = archive_entry_gid(e),
		.mtime = archive_entry_mtime(e),
		.mode = archive_entry_perm(e),
	};
	int r;
	switch (unpack_judge(j->mode, &claim, &j->entry, j->err)) {
	case UNPACK_REFUSE:
		return -1;
	case UNPACK_DROP_KIND:
		j->ret->dropped_kinds++;
		return 0;
	case UNPACK_DROP_LINK:
		j->ret->dropped_links++;
		return 0;
	case UNPACK_DROP_PATH:
		j->ret->dropped_paths++;
		return 0;
	case UNPACK_TAKE:
		r = take(j, e, size);
		j->ret->dropped_conflicts += r == 0;
		return r < 0 ? -1 : 0;
	}
	return 0;
}

/* What is between the entries counts as well: headers can be compressed a thousandfold. */
static int check_overhead(struct job *j)
{
	int64_t read = archive_filter_bytes(j->a, 0);
	if (read > 0 && (uint64_t)read > j->bytes &&
	    ((uint64_t)read - j->bytes) / OVERHEAD_PER_ENTRY > j->entries + 1024)
		return dw_err_set(j->err, DW_ERR_TOO_LARGE, "too_large", "the archive is nearly all headers");
	return 0;
}

/* A volume's archive is given back as it came, and it is said to be gzip. */
static int check_filter(const struct job *j)
{
	if (j->mode == UNPACK_VOLUME && archive_filter_code(j->a, 0) != ARCHIVE_FILTER_GZIP)
		return dw_err_set(j->err, DW_ERR_INVALID, "bad_archive", "the archive is not compressed with gzip");
	return 0;
}

static int read_entries(struct job *j)
{
	for (;;) {
		struct archive_entry *e;
		int r = archive_read_next_header(j->a, &e);
		if (r >= ARCHIVE_WARN && check_filter(j) < 0)
			return -1;
		if (r == ARCHIVE_EOF)
			return 0;
		/* A warning: something of the header was not understood, such as a name that is no UTF-8. The rest holds. */
		if (r == ARCHIVE_RETRY)
			continue;
		if (r < ARCHIVE_WARN)
			return bad_archive(j);
		if (one_entry(j, e) < 0 || check_overhead(j) < 0)
			return -1;
	}
}

static int open_archive(struct job *j, int fd)
{
	/* Formats and filters by name: what libarchive could also read, nobody needs here. */
	if (archive_read_support_format_tar(j->a) < ARCHIVE_WARN ||
	    archive_read_support_filter_gzip(j->a) < ARCHIVE_WARN ||
	    archive_read_open_fd(j->a, fd, READ_BLOCK) < ARCHIVE_WARN)
		return bad_archive(j);
	return 0;
}

/* What follows the archive is nothing, but who sends it must not be cut off. */
static void drain(int fd)
{
	char rest[4096];
	ssize_t n;
	do
		n = read(fd, rest, sizeof(rest));
	while (n > 0 || (n < 0 && errno == EINTR));
}

int unpack_archive(int fd, enum unpack_mode mode, const struct unpack_limits *limits, struct unpack_result *ret,
		   struct dw_err *err)
{
	DW_AUTO(archive_read_free) archive_ref a = archive_read_new();
	dw_autofree struct job *j = calloc(1, sizeof(*j));
	*ret = (struct unpack_result){ 0 };
	if (!a || !j)
		return dw_err_errno(err, ENOMEM, "unpacking");
	j->mode = mode;
	j->limits = limits;
	j->a = a;
	j->ret = ret;
	j->err = err;
	if (tree_open(&j->tree, mode, limits->entries, err) < 0)
		return -1;
	int r = open_archive(j, fd);
	if (r == 0)
		r = read_entries(j);
	if (r == 0)
		drain(fd);
	ret->dirs = j->tree.dirs_made;
	ret->bytes -= DW_MIN(ret->bytes, j->tree.replaced_bytes);
	ret->files -= DW_MIN(ret->files, j->tree.replaced_files);
	tree_close(&j->tree);
	return r;
}
