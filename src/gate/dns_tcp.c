/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS over TCP (RFC 7766): two bytes of length before each message; a client may send queries without waiting, and
 * answers come as they are ready.
 *
 * What a client can hold is bounded: connections per sandbox, queries in flight and bytes of answers per connection
 * (beyond them it is not read), and time: every connection has a deadline that only a whole query or an answer taken
 * by the client moves. A closed connection leaves its sandbox at once and is freed by a deferred call.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "gate/dns_internal.h"
#include "gate/limits.h"

#define IDLE_MS       10000u /* RFC 7766 section 6.2.3 wants seconds; resolvers in clients close at once */
#define ACCEPTS_MAX   32     /* per wake-up */
#define IN_FLIGHT_MAX 32u    /* queries of one connection */
#define OUT_BYTES_MAX 131072u
#define PAUSE_MS      100u /* a listener rests when descriptors are out, instead of spinning */

struct chunk { /* one answer with its length, not yet taken */
	struct chunk *next;
	size_t n, sent;
	uint8_t p[];
};

struct dns_conn {
	struct dns_conn *next, **link; /* of all */
	struct gate_dns *d;
	struct gate_sandbox *sandbox; /* NULL: closed */
	struct dw_watch watch;
	int fd;
	struct dw_timer idle;
	struct dw_defer free_later;
	bool eof;     /* the client sends no more, or is not read any more; its answers still go out */
	bool spent;   /* ... the latter */
	bool serving; /* conn_serve is at work on this one */
	uint32_t in_flight;
	struct chunk *first, *last;
	size_t out_bytes;
	size_t in_n;
	uint8_t in[2 + DNS_QUERY_MAX];
};

struct listener {
	struct dns_tcp *t;
	struct dw_watch watch;
	struct dw_timer resume;
};

struct dns_tcp {
	struct gate_dns *d;
	struct listener l4, l6;
	struct dns_conn *conns;
	uint32_t conn_n;
};

static void conn_free(void *arg)
{
	struct dns_conn *c = arg;

	while (c->first) {
		struct chunk *k = c->first;

		c->first = k->next;
		free(k);
	}
	free(c);
}

static void conn_close(struct dns_conn *c)
{
	struct gate *g = c->d->g;
	struct gate_sandbox *s = c->sandbox;

	if (!s)
		return;
	c->sandbox = NULL;
	dw_watch_del(&g->loop, &c->watch);
	dw_timer_del(&g->loop, &c->idle);
	close(c->fd);
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	c->d->tcp->conn_n--;
	s->dns_tcp_n--;
	dns_drop_conn(s, c);
	gate_sandbox_unused(g, s);
	dw_defer(&g->loop, &c->free_later, conn_free, c);
}

void dns_tcp_close_all(struct gate_dns *d, const struct gate_sandbox *s)
{
	for (struct dns_conn *c = d->tcp->conns; c && s->dns_tcp_n > 0;) {
		struct dns_conn *next = c->next;

		if (c->sandbox == s)
			conn_close(c);
		c = next;
	}
}

static void on_idle(void *arg)
{
	conn_close(arg);
}

/* Something was done: the deadline moves. */
static void conn_alive(struct dns_conn *c)
{
	struct dw_loop *l = &c->d->g->loop;

	if (dw_timer_set(l, &c->idle, l->now_ms + IDLE_MS, on_idle, c) < 0)
		conn_close(c);
}

static bool may_read(const struct dns_conn *c)
{
	return !c->spent && c->in_flight < IN_FLIGHT_MAX && c->out_bytes < OUT_BYTES_MAX;
}

static void conn_update(struct dns_conn *c)
{
	uint32_t events = 0;

	/* conn_serve may have more to do with it; its caller comes here afterwards. */
	if (!c->sandbox || c->serving)
		return;
	if (c->eof && c->in_flight == 0 && !c->first) {
		conn_close(c);
		return;
	}
	if (!c->eof && may_read(c))
		events |= EPOLLIN;
	if (c->first)
		events |= EPOLLOUT;
	if (dw_watch_set(&c->d->g->loop, &c->watch, events) < 0)
		conn_close(c);
}

static void conn_flush(struct dns_conn *c)
{
	while (c->first) {
		struct chunk *k = c->first;
		ssize_t n = send(c->fd, k->p + k->sent, k->n - k->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) {
			conn_close(c);
			return;
		}
		k->sent += (size_t)n;
		c->out_bytes -= (size_t)n;
		if (k->sent < k->n)
			return;
		c->first = k->next;
		if (!c->first)
			c->last = NULL;
		free(k);
		conn_alive(c);
		if (!c->sandbox)
			return;
	}
}

void dns_tcp_send(struct dns_conn *c, const void *p, size_t n)
{
	struct chunk *k;

	if (!c->sandbox)
		return;
	k = malloc(sizeof(*k) + 2 + n);
	if (!k || n > UINT16_MAX) {
		/* An answer that is missing would leave the client waiting; the end of the connection does not. */
		free(k);
		conn_close(c);
		return;
	}
	*k = (struct chunk){ .n = n + 2 };
	k->p[0] = (uint8_t)(n >> 8);
	k->p[1] = (uint8_t)n;
	memcpy(k->p + 2, p, n);
	if (c->last)
		c->last->next = k;
	else
		c->first = k;
	c->last = k;
	c->out_bytes += k->n;
	conn_flush(c);
	conn_update(c);
}

void dns_tcp_hold(struct dns_conn *c)
{
	c->in_flight++;
}

void dns_tcp_last(struct dns_conn *c)
{
	c->spent = true;
	c->eof = true;
}

/* Serves the whole queries in the buffer, as far as the bounds allow. */
static void conn_serve(struct dns_conn *c)
{
	const struct dns_origin o = { .conn = c, .fd = -1 };
	size_t at = 0;

	if (c->serving)
		return;
	c->serving = true;
	while (c->sandbox && may_read(c) && c->in_n - at >= 2) {
		size_t n = (size_t)c->in[at] << 8 | c->in[at + 1];

		if (n == 0 || n > DNS_QUERY_MAX) {
			dns_handle(c->d->g, c->sandbox, &o, c->in, 0); /* recorded as malformed */
			conn_close(c);
			break;
		}
		if (c->in_n - at < 2 + n)
			break;
		conn_alive(c);
		if (c->sandbox)
			dns_handle(c->d->g, c->sandbox, &o, c->in + at + 2, n);
		at += 2 + n;
	}
	c->serving = false;
	c->in_n -= at;
	memmove(c->in, c->in + at, c->in_n);
}

void dns_tcp_release(struct dns_conn *c)
{
	c->in_flight--;
	if (!c->sandbox)
		return;
	conn_serve(c);
	conn_update(c);
}

static void conn_read(struct dns_conn *c)
{
	ssize_t n = recv(c->fd, c->in + c->in_n, sizeof(c->in) - c->in_n, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		conn_close(c);
		return;
	}
	if (n == 0)
		c->eof = true;
	c->in_n += (size_t)n;
	conn_serve(c);
}

static void on_conn(void *arg, uint32_t events)
{
	struct dns_conn *c = arg;

	if (events & (EPOLLERR | EPOLLHUP)) {
		conn_close(c);
		return;
	}
	if (events & EPOLLOUT)
		conn_flush(c);
	/* Answers that went out may have made room for queries that wait in the buffer. */
	if (c->sandbox)
		conn_serve(c);
	if (c->sandbox && events & EPOLLIN && c->in_n < sizeof(c->in))
		conn_read(c);
	conn_update(c);
}

static int conn_start(struct dns_tcp *t, struct gate_sandbox *s, int fd)
{
	const int on = 1;
	struct dns_conn *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	/* Only for speed. */
	DW_IGNORE(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
	c->d = t->d;
	c->fd = fd;
	r = dw_watch_add(&t->d->g->loop, &c->watch, fd, EPOLLIN, on_conn, c);
	if (r < 0) {
		free(c);
		return r;
	}
	c->sandbox = s;
	c->next = t->conns;
	c->link = &t->conns;
	if (c->next)
		c->next->link = &c->next;
	t->conns = c;
	t->conn_n++;
	s->dns_tcp_n++;
	conn_alive(c);
	return 0;
}

static void on_resume(void *arg)
{
	struct listener *l = arg;

	if (dw_watch_set(&l->t->d->g->loop, &l->watch, EPOLLIN) < 0)
		l->t->d->g->loop.stop = true;
}

static void pause_listener(struct listener *l)
{
	struct dw_loop *loop = &l->t->d->g->loop;

	if (dw_timer_set(loop, &l->resume, loop->now_ms + PAUSE_MS, on_resume, l) == 0)
		DW_IGNORE(dw_watch_set(loop, &l->watch, 0)); /* at worst it spins until descriptors are back */
}

/* Takes fd. */
static void take_client(struct listener *l, int fd, const struct dw_addr *source)
{
	struct gate *g = l->t->d->g;
	struct gate_sandbox *s = gate_sandbox_by_addr(g, source);
	enum dw_reason limit;

	if (!s) {
		dns_unknown_source(g, source);
		close(fd);
		return;
	}
	limit = gate_limit_dns_conn(s, l->t->conn_n);
	if (limit == DW_REASON_NONE && conn_start(l->t, s, fd) < 0)
		limit = DW_REASON_GATE_RESOURCES;
	if (limit != DW_REASON_NONE) {
		dns_record_limit(g, s, limit);
		close(fd);
	}
}

static void on_accept(void *arg, uint32_t events)
{
	struct listener *l = arg;

	for (int i = 0; i < ACCEPTS_MAX; i++) {
		struct sockaddr_storage ss = { 0 };
		socklen_t n = sizeof(ss);
		int fd = accept4(l->watch.fd, (struct sockaddr *)&ss, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct dw_addr source;
		uint16_t port;

		if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS))
			pause_listener(l);
		if (fd < 0)
			return;
		source = dw_addr_from_sockaddr(&ss, &port);
		take_client(l, fd, &source);
	}
}

static int listen_on(struct dns_tcp *t, struct listener *l, int fd)
{
	l->t = t;
	return fd < 0 ? 0 : dw_watch_add(&t->d->g->loop, &l->watch, fd, EPOLLIN, on_accept, l);
}

int dns_tcp_init(struct gate_dns *d)
{
	struct dns_tcp *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->d = d;
	d->tcp = t;
	r = listen_on(t, &t->l4, d->g->fds.dns_tcp4);
	return r < 0 ? r : listen_on(t, &t->l6, d->g->fds.dns_tcp6);
}
