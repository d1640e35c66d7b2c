/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/msg.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

int dw_msg_send(int sock, const void *rec, size_t n, const int *fds, size_t fds_n, int flags)
{
	union {
		char buf[CMSG_SPACE(DW_MSG_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	/* sendmsg does not write through iov_base. */
	struct iovec iov = { .iov_base = (void *)(uintptr_t)rec, .iov_len = n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	dw_assert(fds_n <= DW_MSG_FDS_MAX);
	if (fds_n) {
		m.msg_control = control.buf;
		m.msg_controllen = CMSG_SPACE(fds_n * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(fds_n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, fds_n * sizeof(int));
	}
	ssize_t r;
	do {
		r = sendmsg(sock, &m, MSG_NOSIGNAL | flags);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

static size_t collect_fds(struct msghdr *m, int *fds)
{
	size_t n = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t k = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < k; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (n < DW_MSG_FDS_MAX)
				fds[n++] = fd;
			else
				close(fd);
		}
	}
	return n;
}

ssize_t dw_msg_recv(int sock, void *rec, size_t cap, int ret_fds[static DW_MSG_FDS_MAX], size_t *ret_fds_n, int flags)
{
	union {
		char buf[CMSG_SPACE(DW_MSG_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = rec, .iov_len = cap };
	struct msghdr m = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	*ret_fds_n = 0;
	ssize_t r;
	do {
		r = recvmsg(sock, &m, MSG_CMSG_CLOEXEC | flags);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	size_t n = collect_fds(&m, ret_fds);
	if (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		dw_close_all(ret_fds, n);
		return -EBADMSG;
	}
	*ret_fds_n = n;
	return r;
}

void dw_close_all(int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

void dw_close_except(const int *keep, size_t n)
{
	unsigned from = 3;
	for (;;) {
		/* The smallest kept descriptor at or above `from` ends the next gap. */
		unsigned next = ~0u;
		for (size_t i = 0; i < n; i++) {
			if (keep[i] >= 0 && (unsigned)keep[i] >= from && (unsigned)keep[i] < next)
				next = (unsigned)keep[i];
		}
		if (next == ~0u) {
			close_range(from, ~0u, 0);
			return;
		}
		if (next > from)
			close_range(from, next - 1, 0);
		from = next + 1;
	}
}
