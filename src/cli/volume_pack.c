/* SPDX-License-Identifier: Apache-2.0 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/call.h"
#include "cli/volume.h"

typedef struct archive *archive_ref;
DW_DEFINE_CLEANUP(archive_ref, archive_free)

#define READ_FLAGS                                                                                    \
	(ARCHIVE_READDISK_NO_TRAVERSE_MOUNTS | ARCHIVE_READDISK_NO_ACL | ARCHIVE_READDISK_NO_FFLAGS | \
	 ARCHIVE_READDISK_NO_XATTR | ARCHIVE_READDISK_NO_SPARSE)

static int failed(struct archive *a, const char *what, struct dw_err *err)
{
	char shown[160];
	const char *why = archive_error_string(a);
	why = why ? why : "failed";
	cli_printable(what, strlen(what), shown, sizeof(shown));
	return dw_err_set(err, DW_ERR_INVALID, "invalid_file", "%s: %s", shown, why);
}

/* The path below the folder; "" for the folder itself. */
static const char *below(const char *path, size_t folder_n)
{
	path += DW_MIN(strlen(path), folder_n);
	return path + strspn(path, "/");
}

static int put_bytes(struct archive *to, const void *p, size_t n, const char *path, struct dw_err *err)
{
	return archive_write_data(to, p, n) < 0 ? failed(to, path, err) : 0;
}

/* Up to there; holes are zeros. */
static int put_zeros(struct archive *to, int64_t n, const char *path, struct dw_err *err)
{
	static const char zeros[65536];
	for (; n > 0; n -= (int64_t)sizeof(zeros)) {
		if (put_bytes(to, zeros, (size_t)DW_MIN(n, (int64_t)sizeof(zeros)), path, err) < 0)
			return -1;
	}
	return 0;
}

static int put_data(struct archive *from, struct archive *to, const char *path, struct dw_err *err)
{
	const void *p;
	size_t n;
	la_int64_t at, done = 0;
	int r;
	while ((r = archive_read_data_block(from, &p, &n, &at)) == ARCHIVE_OK) {
		if (put_zeros(to, at - done, path, err) < 0 || put_bytes(to, p, n, path, err) < 0)
			return -1;
		done = at + (int64_t)n;
	}
	return r == ARCHIVE_EOF ? 0 : failed(from, path, err);
}

static int put_entry(struct archive *from, struct archive *to, struct archive_entry *e, size_t folder_n,
		     unsigned *left_out, struct dw_err *err)
{
	const char *path = archive_entry_pathname(e);
	const unsigned kind = archive_entry_filetype(e);
	if (kind == AE_IFDIR)
		archive_read_disk_descend(from);
	if (!path || (kind != AE_IFREG && kind != AE_IFDIR)) {
		++*left_out;
		return 0;
	}
	dw_autofree char *name = strdup(below(path, folder_n));
	if (!name)
		return call_no_memory(err);
	if (!*name)
		return 0;
	archive_entry_copy_pathname(e, name);
	/* Two names of one file are two files: a volume has no links. */
	archive_entry_set_hardlink(e, NULL);
	archive_entry_set_uid(e, 1000);
	archive_entry_set_gid(e, 1000);
	archive_entry_set_uname(e, NULL);
	archive_entry_set_gname(e, NULL);
	if (archive_write_header(to, e) < ARCHIVE_WARN)
		return failed(to, name, err);
	return kind == AE_IFREG ? put_data(from, to, name, err) : 0;
}

static int put_all(const char *folder, struct archive *from, struct archive *to, unsigned *left_out, struct dw_err *err)
{
	struct archive_entry *e = archive_entry_new();
	int r = e ? 0 : call_no_memory(err);
	while (r == 0) {
		const int got = archive_read_next_header2(from, e);
		if (got == ARCHIVE_EOF)
			break;
		/* A file that can not be read is no reason to send a volume without it. */
		r = got < ARCHIVE_OK ? failed(from, folder, err)
				     : put_entry(from, to, e, strlen(folder), left_out, err);
	}
	archive_entry_free(e);
	return r;
}

static int write_to(int fd, const char *folder, unsigned *left_out, struct dw_err *err)
{
	DW_AUTO(archive_free) archive_ref from = archive_read_disk_new();
	DW_AUTO(archive_free) archive_ref to = archive_write_new();
	if (!from || !to)
		return call_no_memory(err);
	archive_read_disk_set_symlink_physical(from);
	if (archive_write_set_format_pax_restricted(to) < ARCHIVE_WARN ||
	    archive_write_add_filter_gzip(to) < ARCHIVE_WARN || archive_write_open_fd(to, fd) < ARCHIVE_WARN)
		return failed(to, "the archive", err);
	if (archive_read_disk_set_behavior(from, READ_FLAGS) < ARCHIVE_WARN ||
	    archive_read_disk_open(from, folder) < ARCHIVE_WARN)
		return failed(from, folder, err);
	if (put_all(folder, from, to, left_out, err) < 0)
		return -1;
	return archive_write_close(to) < ARCHIVE_WARN ? failed(to, "the archive", err) : 0;
}

int volume_pack(const char *folder, int *ret_fd, int64_t *ret_size, struct dw_err *err)
{
	const char *tmp = getenv("TMPDIR");
	unsigned left_out = 0;
	struct stat st;
	dw_autoclose int fd = open(tmp && *tmp ? tmp : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return dw_err_errno(err, errno, "a temporary file (TMPDIR)");
	/* Names are UTF-8 in an archive. */
	locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0), before = (locale_t)0;
	if (!utf8)
		return dw_err_errno(err, errno, "C.UTF-8");
	before = uselocale(utf8);
	int r = write_to(fd, folder, &left_out, err);
	uselocale(before);
	freelocale(utf8);
	if (r < 0)
		return -1;
	if (left_out)
		cli_warn("%u that are neither files nor folders were left out", left_out);
	if (fstat(fd, &st) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return dw_err_errno(err, errno, "a temporary file");
	*ret_size = st.st_size;
	*ret_fd = DW_TAKE_FD(fd);
	return 0;
}
