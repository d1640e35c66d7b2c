/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In the place of the agent: every operation is answered with nonsense, of another kind each time. As a whole it behaves, so that there is a
 * sandbox to ask.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/macros.h"
#include "proto/agentp.h"

static void put(int fd, const void *p, size_t n)
{
	const char *at = p;
	while (n) {
		ssize_t put_n = send(fd, at, n, MSG_NOSIGNAL);
		if (put_n < 0 && errno != EINTR)
			_exit(0);
		at += put_n > 0 ? put_n : 0;
		n -= put_n > 0 ? (size_t)put_n : 0;
	}
}

/* n may be more than there is: the frame's length is a lie then. */
static void frame(int fd, uint8_t type, const void *payload, size_t n, size_t there)
{
	uint8_t head[DW_AGENTP_HEADER];
	dw_agentp_header_build(head, type, (uint32_t)n);
	put(fd, head, sizeof(head));
	put(fd, payload, there);
}

static void flood(int fd, uint8_t type)
{
	static uint8_t chunk[DW_AGENTP_CHUNK];
	memset(chunk, 0xff, sizeof(chunk));
	for (unsigned i = 0; i < 256; i++)
		frame(fd, type, chunk, sizeof(chunk), sizeof(chunk));
}

static void every_type(int fd, size_t n)
{
	static const uint8_t bytes[64] = { 0, 0, 0, 0, 0, 0, 0, 5, '\r', 0x1b, 0xff, 0xfe };
	for (unsigned type = 0; type < 256; type++)
		frame(fd, (uint8_t)type, bytes, n, n);
}

static const uint8_t started[] = { DW_AGENTP_STARTED, 4 }, connected[] = { DW_AGENTP_CONNECTED, 0 };

static void begin(int fd, const uint8_t *how)
{
	static const uint8_t zeros[8];
	frame(fd, how[0], zeros, how[1], how[1]);
}

#define KINDS 27u

static void answer_command(int fd, unsigned kind)
{
	static const uint8_t junk[256] = { 0x80, 0xff, 0, 1, 2 };
	switch (kind) {
	case 0:
		return;
	case 1:
		put(fd, junk, sizeof(junk));
		return;
	case 2:
		frame(fd, DW_AGENTP_DATA, junk, UINT32_MAX, sizeof(junk));
		return;
	case 3:
		frame(fd, DW_AGENTP_DATA, junk, DW_AGENTP_FRAME_MAX, sizeof(junk));
		return;
	case 4:
		every_type(fd, 0);
		return;
	case 5:
		begin(fd, started);
		every_type(fd, 64);
		return;
	case 6:
		begin(fd, started);
		frame(fd, DW_AGENTP_EXIT, junk, 3, 3);
		return;
	case 7:
		begin(fd, started);
		frame(fd, DW_AGENTP_EXIT, junk, 5, 5);
		frame(fd, DW_AGENTP_EXIT, junk, 5, 5);
		return;
	case 8:
		frame(fd, DW_AGENTP_ERROR, junk, 2, 2);
		return;
	case 9:
		frame(fd, DW_AGENTP_ERROR, "\0\5\0\0\0\7a\r\n\x1b\xff\0b", 13, 13);
		return;
	case 10:
		frame(fd, DW_AGENTP_ERROR, "\377\377\0\0\0\3a\x1b\xff", 9, 9);
		return;
	default:
		return;
	}
}

/* No nonsense, but a word that any route may get. */
static void refuse(int fd, uint16_t number)
{
	uint8_t buf[64];
	const size_t n = dw_agentp_error_build(number, "as you like it", buf, sizeof(buf));
	frame(fd, DW_AGENTP_ERROR, buf, n, n);
}

static void answer_other(int fd, unsigned kind)
{
	static const uint8_t junk[256] = { 0x80, 0xff, 0, 1, 2 };
	static const char http[] = "HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n\r\n\r\n";
	static const char reply[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n";
	switch (kind) {
	case 11:
		frame(fd, DW_AGENTP_WROTE, junk, 8, 8);
		return;
	case 12:
		frame(fd, DW_AGENTP_END, junk, 0, 0);
		return;
	case 13:
		frame(fd, DW_AGENTP_ENTRY, junk, sizeof(junk), sizeof(junk));
		return;
	case 14:
		flood(fd, DW_AGENTP_DATA);
		return;
	case 15:
		begin(fd, started);
		flood(fd, DW_AGENTP_STDOUT);
		return;
	case 16:
		flood(fd, DW_AGENTP_ENTRY);
		return;
	case 17:
		begin(fd, connected);
		frame(fd, DW_AGENTP_DATA, http, sizeof(http) - 1, sizeof(http) - 1);
		return;
	case 18:
		begin(fd, connected);
		frame(fd, DW_AGENTP_DATA, reply, sizeof(reply) - 1, sizeof(reply) - 1);
		return;
	case 19:
		begin(fd, connected);
		flood(fd, DW_AGENTP_DATA);
		return;
	case 20:
		begin(fd, connected);
		frame(fd, DW_AGENTP_ERROR, junk, 1, 1);
		return;
	case 21:
		frame(fd, DW_AGENTP_MADE, junk, 1, 1);
		frame(fd, DW_AGENTP_EVENT, junk, 40, 40);
		return;
	case 22: /* nothing at all */
		poll(NULL, 0, 400);
		return;
	case 23:
		refuse(fd, EACCES);
		return;
	case 24:
		refuse(fd, ENOSPC);
		return;
	case 25:
		refuse(fd, EMFILE);
		return;
	case 26:
		refuse(fd, EBUSY);
		return;
	default:
		return;
	}
}

static int receive(void)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} space;
	char letter;
	struct iovec iov = { .iov_base = &letter, .iov_len = 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space.bytes, .msg_controllen = sizeof(space.bytes)
	};
	int fd = -1;
	if (recvmsg(DW_AGENT_CONTROL_FD, &m, MSG_CMSG_CLOEXEC) <= 0)
		_exit(0);
	if (CMSG_FIRSTHDR(&m))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

int main(void)
{
	signal(SIGCHLD, SIG_IGN);
	send(DW_AGENT_CONTROL_FD, "R", 1, MSG_NOSIGNAL);
	for (unsigned kind = 0;; kind++) {
		int fd = receive();
		if (fork() == 0) {
			answer_command(fd, kind % KINDS);
			answer_other(fd, kind % KINDS);
			_exit(0);
		}
		close(fd);
	}
}
