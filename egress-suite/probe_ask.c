/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to the sandbox's resolver, without libc's. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "probe.h"

#define ASK_MS 4000

static bool ready(int fd, uint64_t end)
{
	const uint64_t now = eg_now_ms();
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return end > now && poll(&p, 1, (int)(end - now)) > 0;
}

static int ask_udp(int fd, const struct eg_buf *q, uint8_t *reply, size_t size)
{
	const uint64_t end = eg_now_ms() + ASK_MS;

	for (int try = 0; try < 2; try++) { /* as any resolver library would */
		if (send(fd, q->p, q->n, MSG_NOSIGNAL) < 0)
			return -1;
		while (ready(fd, try == 0 ? end - ASK_MS / 2 : end)) {
			ssize_t n = recv(fd, reply, size, 0);
			if (n < 0)
				return -1;
			if (n >= 12 && q->n >= 2 && memcmp(reply, q->p, 2) == 0)
				return (int)n;
		}
	}
	errno = ETIMEDOUT;
	return -1;
}

static int ask_tcp(int fd, const struct eg_buf *q, uint8_t *reply, size_t size)
{
	const uint64_t end = eg_now_ms() + ASK_MS;
	struct eg_buf out = { 0 };
	uint8_t head[2];
	size_t got = 0, want = 2;

	eg_u16(&out, (unsigned)q->n);
	eg_put(&out, q->p, q->n);
	ssize_t sent = send(fd, out.p, out.n, MSG_NOSIGNAL);
	eg_free(&out);
	if (sent < 0)
		return -1;
	while (got < want) {
		if (!ready(fd, end)) {
			errno = ETIMEDOUT;
			return -1;
		}
		ssize_t n = got < 2 ? recv(fd, head + got, 2 - got, 0) : recv(fd, reply + got - 2, want - got, 0);
		if (n <= 0) {
			errno = n ? errno : ECONNRESET;
			return -1;
		}
		got += (size_t)n;
		if (got == 2)
			want = 2 + ((size_t)head[0] << 8 | head[1]);
		if (want - 2 > size)
			return -1;
	}
	return (int)(want - 2);
}

int eg_exchange(const struct eg_run *r, const struct eg_addr *server, bool tcp, const struct eg_buf *q, uint8_t *reply,
		size_t size, int *error)
{
	struct sockaddr_storage s;
	int n = -1;
	int fd = socket(server->family == 6 ? AF_INET6 : AF_INET, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
	const struct timeval most = { .tv_sec = ASK_MS / 1000 };

	*error = 0;
	if (fd < 0) {
		*error = errno;
		return -1;
	}
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof(most)); /* of connect, too */
	if (connect(fd, (struct sockaddr *)&s, eg_addr_sock(server, 53, &s)) == 0)
		n = tcp ? ask_tcp(fd, q, reply, size) : ask_udp(fd, q, reply, size);
	if (n < 0)
		*error = errno;
	close(fd);
	return n;
}

enum eg_client eg_dns(struct eg_run *r, enum eg_which arm, const struct eg_query *q, bool tcp)
{
	static uint8_t reply[65536];
	struct eg_query mine = *q;
	struct eg_buf b = { 0 };
	const uint64_t start = eg_now_ms();
	enum eg_client what;
	int error;

	if (!mine.id)
		mine.id = (uint16_t)(start * 31 + r->arm[arm].steps + 1);
	eg_dns_query(&b, &mine);
	int n = eg_exchange(r, eg_at(r, EG_RESOLVER), tcp, &b, reply, sizeof(reply), &error);
	eg_free(&b);
	if (n < 0)
		what = eg_of_errno(error);
	else
		what = n >= 12 && (reply[3] & 15) == 0 && (reply[6] | reply[7]) ? EG_ANSWERED : EG_REJECTED;
	eg_note(r, arm, what, error, start);
	return what;
}

enum eg_client eg_dns_name(struct eg_run *r, enum eg_which arm, const char *name)
{
	const struct eg_query q = { .name = name, .type = r->six ? 28 : 1 };

	if (arm == EG_DENIED)
		eg_aim_name(r, name);
	return eg_dns(r, arm, &q, false);
}

static size_t skip_name(const uint8_t *p, size_t n, size_t at)
{
	while (at < n && p[at]) {
		if (p[at] >= 0xc0)
			return at + 2;
		at += 1u + p[at];
	}
	return at + 1;
}

size_t eg_resolve(const struct eg_run *r, const char *name, struct eg_addr *ret, size_t max)
{
	static uint8_t reply[65536];
	struct eg_buf b = { 0 };
	const struct eg_query q = { .name = name, .type = r->six ? 28 : 1, .id = (uint16_t)(eg_now_ms() | 1) };
	const size_t size = r->six ? 16 : 4;
	size_t found = 0;
	int error;

	eg_dns_query(&b, &q);
	int n = eg_exchange(r, eg_at(r, EG_RESOLVER), false, &b, reply, sizeof(reply), &error);
	if (n >= 12 && reply[2] & 2)
		n = eg_exchange(r, eg_at(r, EG_RESOLVER), true, &b, reply, sizeof(reply), &error);
	eg_free(&b);
	if (n < 12)
		return 0;
	size_t at = skip_name(reply, (size_t)n, 12) + 4;
	for (unsigned i = (unsigned)reply[6] << 8 | reply[7]; i > 0 && found < max; i--) {
		at = skip_name(reply, (size_t)n, at);
		if (at + 10 > (size_t)n)
			break;
		const unsigned type = (unsigned)reply[at] << 8 | reply[at + 1],
			       data = (unsigned)reply[at + 8] << 8 | reply[at + 9];
		at += 10;
		if (at + data > (size_t)n)
			break;
		if (type == q.type && data == size) {
			ret[found] = (struct eg_addr){ .family = r->six ? 6 : 4 };
			memcpy(ret[found++].b, reply + at, size);
		}
		at += data;
	}
	return found;
}
