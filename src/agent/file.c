/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File operations. A child takes the account's identity on and answers on the operation's socket itself, with
 * waiting calls: the kernel checks every permission as that user, back-pressure is the socket's, and a child that
 * hangs or is killed concerns its own operation only. The agent keeps a copy of the socket to see the daemon hang
 * up, and then kills it.
 */
#include "agent/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "agent/file_internal.h"

#define SOCK_FD 3
/* Files that say they are empty and are not (/proc): more than this is an error. */
#define SIZELESS_MAX (16u << 20)

uint8_t dw_file_chunk[DW_AGENTP_HEADER + DW_AGENTP_CHUNK];

void dw_file_send_all(const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t done = send(SOCK_FD, p, n, MSG_NOSIGNAL);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			_exit(1);
		p += done;
		n -= (size_t)done;
	}
}

void dw_file_send(enum dw_agentp_type type, size_t payload_n)
{
	dw_agentp_header_build(dw_file_chunk, (uint8_t)type, (uint32_t)payload_n);
	dw_file_send_all(dw_file_chunk, DW_AGENTP_HEADER + payload_n);
}

static void send_fault(const struct dw_fault *f)
{
	dw_file_send(DW_AGENTP_ERROR,
		     dw_agentp_error_build(f->number, f->message, dw_file_chunk + DW_AGENTP_HEADER, DW_AGENTP_CHUNK));
}

/* What the daemon sends after the request: first what the agent had received already, then the socket. */
struct feed {
	struct dw_span ahead;
	uint32_t left; /* payload bytes of the present DATA frame */
	bool ended;    /* END has come */
};

/* Up to n bytes; 0 at the end. */
static size_t feed_take(struct feed *in, uint8_t *out, size_t n)
{
	if (in->ahead.n) {
		n = DW_MIN(n, in->ahead.n);
		memcpy(out, in->ahead.p, n);
		in->ahead.p += n;
		in->ahead.n -= n;
		return n;
	}
	ssize_t got;
	do
		got = recv(SOCK_FD, out, n, 0);
	while (got < 0 && errno == EINTR);
	return got > 0 ? (size_t)got : 0;
}

/* The next frame's header; anything but DATA and an empty END, and a daemon that went away, ends the operation. */
static void feed_header(struct feed *in)
{
	uint8_t head[DW_AGENTP_HEADER];
	for (size_t n = 0; n < sizeof(head);) {
		size_t got = feed_take(in, head + n, sizeof(head) - n);
		if (!got)
			_exit(1);
		n += got;
	}
	struct dw_rd r = dw_rd_init(head, sizeof(head), false);
	in->left = dw_rd_u32(&r);
	uint8_t type = dw_rd_u8(&r);
	in->ended = type == DW_AGENTP_END;
	if ((type != DW_AGENTP_DATA && type != DW_AGENTP_END) || in->left > DW_AGENTP_FRAME_MAX ||
	    (in->ended && in->left))
		_exit(1);
}

/* File bytes into dw_file_chunk; 0 after END. */
static size_t feed_read(struct feed *in)
{
	while (!in->left && !in->ended)
		feed_header(in);
	if (in->ended)
		return 0;
	size_t n = feed_take(in, dw_file_chunk, DW_MIN(in->left, DW_AGENTP_CHUNK));
	if (!n)
		_exit(1);
	in->left -= (uint32_t)n;
	return n;
}

/* Relative paths start at the account's home. */
static int path_resolve(struct dw_span path, const struct dw_account *a, char out[static PATH_MAX], struct dw_fault *f)
{
	if (path.n == 0)
		return dw_fault_set(f, EINVAL, "the path is empty");
	int n = path.p[0] == '/' ? snprintf(out, PATH_MAX, "%.*s", (int)path.n, (const char *)path.p)
				 : snprintf(out, PATH_MAX, "%s/%.*s", a->home, (int)path.n, (const char *)path.p);
	if (n < 0 || n >= PATH_MAX)
		return dw_fault_set(f, ENAMETOOLONG, "the path is longer than %d bytes", PATH_MAX - 1);
	return 0;
}

/* Without empty and "." components and a slash at the end, so that a link's name means the link. In place; path is absolute. */
static void path_normalise(char *path)
{
	size_t len = 0;
	for (const char *p = path; *p;) {
		while (*p == '/')
			p++;
		const size_t n = strcspn(p, "/");
		if (n && !(n == 1 && p[0] == '.')) {
			path[len++] = '/';
			memmove(path + len, p, n);
			len += n;
		}
		p += n;
	}
	if (!len)
		path[len++] = '/';
	path[len] = '\0';
}

static int not_regular(const char *path, struct dw_fault *f)
{
	return dw_fault_set(f, EINVAL, "\"%s\" is not a regular file", path);
}

/* The open file, which is regular, or -1 with f. Never waits for a fifo's other side. */
static int open_checked(const char *path, int flags, struct stat *ret_st, struct dw_fault *f)
{
	dw_autoclose int fd = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0644);
	if (fd < 0 && (errno == ENXIO || errno == ENODEV))
		return not_regular(path, f); /* a socket, a fifo nobody reads, a device nobody drives */
	if (fd < 0 || fstat(fd, ret_st) != 0)
		return dw_fault_errno(f, errno, "\"%s\" can not be opened", path);
	if (S_ISDIR(ret_st->st_mode))
		return dw_fault_errno(f, EISDIR, "\"%s\" can not be opened", path);
	if (!S_ISREG(ret_st->st_mode))
		return not_regular(path, f);
	return DW_TAKE_FD(fd);
}

/* Streams what the file has now: one that grows meanwhile ends at the size it had. */
static int file_read(const char *path, struct dw_fault *f)
{
	struct stat st;
	int fd = open_checked(path, O_RDONLY, &st, f);
	if (fd < 0)
		return -1;
	uint64_t left = st.st_size > 0 ? (uint64_t)st.st_size : SIZELESS_MAX;
	while (left) {
		ssize_t n = read(fd, dw_file_chunk + DW_AGENTP_HEADER, DW_MIN(left, DW_AGENTP_CHUNK));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return dw_fault_errno(f, errno, "\"%s\" can not be read", path);
		if (n == 0)
			break;
		dw_file_send(DW_AGENTP_DATA, (size_t)n);
		left -= (uint64_t)n;
	}
	if (!left && st.st_size <= 0)
		return dw_fault_errno(f, EFBIG, "\"%s\" can not be read whole", path);
	dw_file_send(DW_AGENTP_END, 0);
	return 0;
}

int dw_file_make_parents(const char *path, struct dw_fault *f)
{
	char dir[PATH_MAX];
	for (const char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
		snprintf(dir, sizeof(dir), "%.*s", (int)(p - path), path);
		if (mkdir(dir, 0755) != 0 && errno != EEXIST)
			return dw_fault_errno(f, errno, "the directory \"%s\" can not be made", dir);
	}
	return 0;
}

static int open_for_write(const char *path, struct dw_fault *f)
{
	if (path[strlen(path) - 1] == '/')
		return dw_fault_errno(f, EISDIR, "\"%s\" can not be written", path);
	struct stat st;
	/* O_TRUNC would act before the kind of file is known. */
	int fd = open_checked(path, O_WRONLY | O_CREAT, &st, f);
	if (fd < 0 && f->number == ENOENT) {
		if (dw_file_make_parents(path, f) != 0)
			return -1;
		fd = open_checked(path, O_WRONLY | O_CREAT, &st, f);
	}
	if (fd >= 0 && st.st_size > 0 && ftruncate(fd, 0) != 0)
		return dw_fault_errno(f, errno, "\"%s\" can not be truncated", path);
	return fd;
}

static int file_write(const char *path, struct feed *in, struct dw_fault *f)
{
	int fd = open_for_write(path, f);
	if (fd < 0)
		return -1;
	uint64_t total = 0;
	for (size_t n; (n = feed_read(in)) > 0; total += n) {
		for (size_t done = 0; done < n;) {
			ssize_t w = write(fd, dw_file_chunk + done, n - done);
			if (w < 0 && errno == EINTR)
				continue;
			if (w < 0)
				return dw_fault_errno(f, errno, "\"%s\" can not be written", path);
			done += (size_t)w;
		}
	}
	if (close(fd) != 0)
		return dw_fault_errno(f, errno, "\"%s\" can not be written", path);
	struct dw_wr w = dw_wr_init(dw_file_chunk + DW_AGENTP_HEADER, DW_AGENTP_CHUNK);
	dw_wr_u32(&w, (uint32_t)(total >> 32));
	dw_wr_u32(&w, (uint32_t)total);
	dw_file_send(DW_AGENTP_WROTE, w.len);
	return 0;
}

struct file_request {
	uint8_t type;
	struct dw_agentp_file_request q;
	struct dw_span ahead; /* received behind the request */
};

static int dir_do(const struct file_request *r, const struct dw_account *a, char *path, struct dw_fault *f)
{
	static char to[PATH_MAX];
	path_normalise(path);
	switch (r->type) {
	case DW_AGENTP_FILE_LIST:
		return dw_file_list(path, r->q.depth, f);
	case DW_AGENTP_FILE_INFO:
		return dw_file_info(path, f);
	case DW_AGENTP_FILE_REMOVE:
		return dw_file_remove(path, f);
	case DW_AGENTP_FILE_MKDIR:
		return dw_file_mkdir(path, f);
	case DW_AGENTP_FILE_WATCH:
		return dw_file_watch(path, r->q.recursive, f);
	default: /* FILE_RENAME; the parser knows no other */
		if (path_resolve(r->q.to, a, to, f) != 0)
			return -1;
		path_normalise(to);
		return dw_file_rename(path, to, f);
	}
}

static int file_do(const struct file_request *r, struct feed *in, struct dw_fault *f)
{
	static struct dw_account account;
	static char path[PATH_MAX];
	if (dw_account_find(r->q.user, &account, f) != 0 || path_resolve(r->q.path, &account, path, f) != 0 ||
	    dw_account_become(&account, f) != 0)
		return -1;
	umask(022);
	if (r->type == DW_AGENTP_FILE_WRITE)
		return file_write(path, in, f);
	return r->type == DW_AGENTP_FILE_READ ? file_read(path, f) : dir_do(r, &account, path, f);
}

static _Noreturn void child(int sock, const struct file_request *r)
{
	struct dw_fault f;
	struct feed in = { .ahead = r->ahead };
	if (dup2(sock, SOCK_FD) < 0)
		_exit(1);
	dw_close_from(SOCK_FD + 1);
	dw_child_init();
	if (file_do(r, &in, &f) == 0)
		_exit(0);
	send_fault(&f);
	/* The daemon may still be sending; it gets to the answer sooner when somebody takes that. */
	while (r->type == DW_AGENTP_FILE_WRITE && feed_read(&in))
		;
	_exit(0);
}

static enum dw_parse request_parse(const struct dw_agentp_frame *frame, struct dw_agentp_file_request *ret)
{
	if (frame->type == DW_AGENTP_FILE_READ || frame->type == DW_AGENTP_FILE_WRITE)
		return dw_agentp_file_parse(frame->payload, &ret->user, &ret->path);
	return dw_agentp_file_request_parse(frame->type, frame->payload, ret);
}

bool dw_file_is_request(uint8_t type)
{
	return type == DW_AGENTP_FILE_READ || type == DW_AGENTP_FILE_WRITE ||
	       (type >= DW_AGENTP_FILE_LIST && type <= DW_AGENTP_FILE_WATCH);
}

void dw_file_start(struct dw_op *op, const struct dw_agentp_frame *request)
{
	struct file_request r = {
		.type = request->type,
		.ahead = { .p = op->in + op->in_at, .n = op->in_n - op->in_at },
	};
	if (request_parse(request, &r.q) != DW_PARSE_OK) {
		dw_op_close(op);
		return;
	}
	op->pid = fork();
	if (op->pid == 0)
		child(op->fd[DW_OP_SOCK], &r);
	if (op->pid < 0) {
		struct dw_fault f;
		dw_fault_errno(&f, errno, "the file operation could not be started");
		dw_op_error(op, &f);
		return;
	}
	op->state = DW_OP_FILE;
	free(DW_TAKE(op->in));
	op->in_at = op->in_n = op->in_cap = 0;
	dw_op_watch(op, DW_OP_SOCK, EPOLLHUP);
}
