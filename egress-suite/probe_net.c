/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "probe.h"

/* A refused connection shows in a moment; a control must work on a machine that is busy. */
#define CONNECT_DENIED_MS  700u
#define CONNECT_CONTROL_MS 5000u
#define WAIT_DENIED_MS     700u
#define WAIT_CONTROL_MS    5000u

const struct eg_addr *eg_at(const struct eg_run *r, enum eg_place place)
{
	return &r->config->at[place][r->six];
}

uint16_t eg_port(const struct eg_run *r)
{
	return (uint16_t)(EG_PORT_BASE + r->c->number);
}

const char *eg_name(const struct eg_run *r, enum eg_which arm, const char *zone, char buf[160])
{
	snprintf(buf, 160, "%s.%s", r->nonce[arm], zone);
	return buf;
}

enum eg_client eg_of_errno(int error)
{
	switch (error) {
	case ECONNREFUSED:
		return EG_REFUSED;
	case EHOSTUNREACH:
	case ENETUNREACH:
	case ENETDOWN:
	case EADDRNOTAVAIL:
		return EG_UNREACHABLE;
	case ETIMEDOUT:
	case EAGAIN:
	case EINPROGRESS:
		return EG_TIMEOUT;
	case ECONNRESET:
	case EPIPE:
		return EG_CLOSED;
	default:
		return EG_UNAVAILABLE;
	}
}

static bool wait_for(int fd, short events, uint64_t end_ms)
{
	const uint64_t now = eg_now_ms();
	struct pollfd p = { .fd = fd, .events = events };

	return end_ms > now && poll(&p, 1, (int)(end_ms - now)) > 0;
}

/* What came back so far: how often the token of this arm is in it. */
static unsigned tokens_in(const struct eg_buf *in, const char *nonce)
{
	char want[64];
	const size_t n = (size_t)snprintf(want, sizeof(want), EG_TOKEN "%s", nonce);
	const uint8_t *p = in->p, *end = in->p + in->n;
	unsigned count = 0;

	while (p && (p = memmem(p, (size_t)(end - p), want, n)) != NULL) {
		count++;
		p += n;
	}
	return count;
}

/* True while the connection is open and quiet. */
static bool take(int fd, struct eg_buf *in, int *error)
{
	uint8_t part[8192];

	for (;;) {
		ssize_t n = recv(fd, part, sizeof(part), MSG_DONTWAIT);
		if (n > 0) {
			eg_put(in, part, (size_t)n);
			continue;
		}
		if (n < 0 && errno == EAGAIN)
			return true;
		*error = n < 0 ? errno : 0;
		return false;
	}
}

static bool said_no(const struct eg_buf *in)
{
	const uint8_t *p = in->p;

	if (in->n && p[0] == 0x15)
		return true;
	/* after answers to other requests, or after a greeting */
	return in->n && (memmem(p, in->n, "HTTP/1.1 4", 10) || memmem(p, in->n, "\x15\x03\x03\x00\x02", 5) ||
			 memmem(p, in->n, "\x15\x03\x01\x00\x02", 5));
}

/* *sent: the first part went with the SYN. */
static int open_connection(const struct eg_talk *t, unsigned ms, bool *sent, int *error)
{
	struct sockaddr_storage s;
	const socklen_t n = eg_addr_sock(t->to, t->port, &s);
	const int one = 1;
	int fd = socket(t->to->family == 6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof(*error);
	int r;

	if (fd < 0) {
		*error = errno;
		return -1;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (t->fast_open) { /* without a cookie first: a server that was never asked for one */
		setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, &one, sizeof(one));
		*sent = sendto(fd, t->part[0].p, t->part[0].n, MSG_FASTOPEN, (struct sockaddr *)&s, n) ==
			(ssize_t)t->part[0].n;
		r = *sent ? 0 : -1;
	} else {
		r = connect(fd, (struct sockaddr *)&s, n);
	}
	*error = r < 0 ? errno : 0;
	if (*error == EINPROGRESS || *sent) {
		*error = ETIMEDOUT;
		if (wait_for(fd, POLLOUT, eg_now_ms() + ms) && getsockopt(fd, SOL_SOCKET, SO_ERROR, error, &size) < 0)
			*error = errno;
	}
	if (*error == 0)
		return fd;
	close(fd);
	return -1;
}

static bool send_part(int fd, const struct eg_talk *t, const struct eg_part *part, int *error)
{
	const uint8_t *p = part->p;
	const uint64_t end = eg_now_ms() + 4000;

	for (size_t at = 0; at < part->n;) {
		size_t want = t->piece && part->n - at > t->piece ? t->piece : part->n - at;
		ssize_t n = send(fd, p + at, want, MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN && wait_for(fd, POLLOUT, end))
			continue;
		if (n < 0) {
			*error = errno;
			return false;
		}
		at += (size_t)n;
		if (t->gap_us)
			usleep(t->gap_us);
	}
	return true;
}

static enum eg_client converse(int fd, const struct eg_talk *t, const char *nonce, unsigned wait_ms, bool sent,
			       int *error)
{
	struct eg_buf in = { 0 };
	bool open = true;

	for (size_t i = 0; i < EG_COUNT(t->part) && t->part[i].n && open; i++) {
		if (sent && i == 0)
			continue;
		const size_t before = in.n;
		const uint64_t end = eg_now_ms() + wait_ms;
		while (open && in.n == before && (i == 0 ? t->greeting : t->turns) && wait_for(fd, POLLIN, end))
			open = take(fd, &in, error);
		if (open)
			open = send_part(fd, t, &t->part[i], error);
	}
	const unsigned want = t->tokens ? t->tokens : 1;
	const uint64_t end = eg_now_ms() + wait_ms;
	while (tokens_in(&in, nonce) < want && open && wait_for(fd, POLLIN, end))
		open = take(fd, &in, error);
	if (!open) { /* what came before the end counts */
		int ignored;
		take(fd, &in, &ignored);
	}
	enum eg_client what = tokens_in(&in, nonce) >= want ? EG_ANSWERED
			      : said_no(&in)                ? EG_REJECTED
			      : open                        ? EG_SILENT
							    : EG_CLOSED;
	eg_free(&in);
	return what;
}

enum eg_client eg_tcp(struct eg_run *r, enum eg_which arm, const struct eg_talk *t)
{
	const uint64_t start = eg_now_ms();
	const unsigned wait_ms = t->wait_ms ? t->wait_ms : arm == EG_DENIED ? WAIT_DENIED_MS : WAIT_CONTROL_MS;
	int error = 0;
	enum eg_client what;

	if (!t->to->family)
		return EG_NOTHING;
	bool sent = false;
	int fd = open_connection(t, arm == EG_DENIED ? CONNECT_DENIED_MS : CONNECT_CONTROL_MS, &sent, &error);
	if (fd < 0) {
		what = eg_of_errno(error);
	} else {
		what = converse(fd, t, r->nonce[arm], wait_ms, sent, &error);
		if (t->no_connect && what < EG_CONNECTED)
			what = EG_CONNECTED;
		close(fd);
	}
	eg_note(r, arm, what, what == EG_ANSWERED ? 0 : error, start);
	return what;
}

enum eg_client eg_tcp_send(struct eg_run *r, enum eg_which arm, const struct eg_addr *to, uint16_t port,
			   const struct eg_buf *b)
{
	const struct eg_talk t = { .to = to, .port = port, .part = { { b->p, b->n } } };

	return eg_tcp(r, arm, &t);
}

enum eg_client eg_connect(struct eg_run *r, enum eg_which arm, const struct eg_addr *to, uint16_t port)
{
	char line[32];
	const int n = snprintf(line, sizeof(line), "%s\n", r->nonce[arm]);
	const struct eg_talk t = {
		.to = to, .port = port, .part = { { line, (size_t)n } }, .no_connect = arm == EG_DENIED
	};

	if (arm == EG_DENIED)
		eg_aim_ip(r, IPPROTO_TCP, to, port);
	return eg_tcp(r, arm, &t);
}

enum eg_client eg_udp(struct eg_run *r, enum eg_which arm, const struct eg_addr *to, uint16_t port, const void *p,
		      size_t n)
{
	const uint64_t start = eg_now_ms(), end = start + (arm == EG_DENIED ? 400 : WAIT_CONTROL_MS);
	struct sockaddr_storage s;
	const socklen_t sn = eg_addr_sock(to, port, &s);
	struct eg_buf in = { 0 };
	uint8_t part[2048];
	enum eg_client what = EG_SILENT;
	int error = 0;

	if (!to->family)
		return EG_NOTHING;
	if (arm == EG_DENIED)
		eg_aim_ip(r, IPPROTO_UDP, to, port);
	int fd = socket(to->family == 6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&s, sn) < 0 || send(fd, p, n, 0) < 0) {
		error = errno;
		what = eg_of_errno(error);
	}
	while (!error && what != EG_ANSWERED && wait_for(fd, POLLIN, end)) {
		ssize_t got = recv(fd, part, sizeof(part), MSG_DONTWAIT);
		if (got < 0) {
			error = errno;
			what = eg_of_errno(error);
			break;
		}
		eg_put(&in, part, (size_t)got);
		what = tokens_in(&in, r->nonce[arm]) ? EG_ANSWERED : EG_REJECTED;
	}
	if (fd >= 0)
		close(fd);
	eg_free(&in);
	eg_note(r, arm, what, error, start);
	return what;
}
