/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Per pump, so that one fast flow does not keep the others waiting; level-triggered events bring it back. */
#define BUDGET (1u << 20)
/* Pipes kept ready. A pipe is in use only while a sink is slower than its source. */
#define POOL_MAX 64u
/* More than the 64 KiB default costs the unprivileged user's share of pipe memory and was not faster when measured. */
#define SPLICE_MAX (1u << 16)
#define BUF_FIRST  2048u
/* A reader in bulk: what a stalled one may hold. 64 KiB cost the same processor time when measured. */
#define BUF_BULK 32768u

static struct relay_pipe *pipe_take(struct relay_pool *pool)
{
	struct relay_pipe *p = pool->free;
	if (p) {
		pool->free = p->next;
		pool->free_n--;
		return p;
	}
	int fd[2];
	p = calloc(1, sizeof(*p));
	if (!p || pipe2(fd, O_NONBLOCK | O_CLOEXEC) < 0) {
		free(p);
		return NULL;
	}
	p->rd = fd[0];
	p->wr = fd[1];
	return p;
}

static void pipe_destroy(struct relay_pipe *p)
{
	close(p->rd);
	close(p->wr);
	free(p);
}

/* A pipe that still holds bytes of a flow must never serve another one. */
static void pipe_return(struct relay_pool *pool, struct relay_pipe *p)
{
	if (p->n || pool->free_n >= POOL_MAX) {
		pipe_destroy(p);
		return;
	}
	p->next = pool->free;
	pool->free = p;
	pool->free_n++;
}

static void buf_drop(struct relay_dir *d)
{
	free(d->buf);
	d->buf = NULL;
	d->cap = d->off = d->ok = d->n = 0;
}

void relay_dir_done(struct relay_pool *pool, struct relay_dir *d)
{
	if (d->pipe)
		pipe_return(pool, d->pipe);
	d->pipe = NULL;
	buf_drop(d);
}

static bool would_block(int e)
{
	return e == EAGAIN || e == EINTR;
}

/* Sends [off, ok). */
static enum relay_result flush_buf(struct relay_dir *d, int to)
{
	while (d->off < d->ok) {
		ssize_t n = send(to, d->buf + d->off, d->ok - d->off, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0)
			return would_block(errno) ? RELAY_OK : RELAY_RESET;
		d->off += (size_t)n;
		d->bytes += (uint64_t)n;
	}
	if (d->off == d->n)
		buf_drop(d);
	return RELAY_OK;
}

static enum relay_result flush_pipe(struct relay_pool *pool, struct relay_dir *d, int to)
{
	while (d->pipe && d->pipe->n) {
		ssize_t n = splice(d->pipe->rd, NULL, to, NULL, d->pipe->n, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		if (n < 0)
			return would_block(errno) ? RELAY_OK : RELAY_RESET;
		if (n == 0)
			return RELAY_RESET;
		d->pipe->n -= (size_t)n;
		d->bytes += (uint64_t)n;
	}
	if (d->pipe) {
		pipe_return(pool, d->pipe);
		d->pipe = NULL;
	}
	return RELAY_OK;
}

bool relay_pending(const struct relay_dir *d)
{
	return d->off < d->ok || d->pipe;
}

/*
 * splice() stops before a byte of urgent data (RFC 6093) and says that there is nothing, or that the stream has ended, although
 * epoll and recv() know better. Whether there is something to receive all the same.
 */
static bool stopped_short(int from)
{
	char byte;

	return recv(from, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* Fills the pipe, or buf where that can not be done, once. *ret_n 0: nothing there now, or the end. */
static enum relay_result fill_pipe(struct relay_pool *pool, struct relay_dir *d, int from, size_t *ret_n)
{
	*ret_n = 0;
	struct relay_pipe *p = pipe_take(pool);
	if (!p)
		return RELAY_RESOURCES;
	ssize_t n = splice(from, NULL, p->wr, NULL, SPLICE_MAX, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	int e = errno;
	if (n <= 0) {
		pipe_return(pool, p);
		if (n < 0 && !would_block(e))
			return RELAY_RESET;
		if (stopped_short(from)) {
			enum relay_result r = relay_read(d, from, ret_n);
			d->ok = d->n;
			return r;
		}
		d->eof = n == 0;
		return RELAY_OK;
	}
	p->n = (size_t)n;
	d->pipe = p;
	*ret_n = (size_t)n;
	return RELAY_OK;
}

static enum relay_result send_fin(struct relay_dir *d, int to)
{
	if (d->fin || d->keep || !(d->eof || d->shut) || relay_pending(d) || d->ok < d->n)
		return RELAY_OK;
	d->fin = true;
	/* ENOTCONN: the sink has gone already, which its own events tell. */
	if (shutdown(to, SHUT_WR) < 0 && errno != ENOTCONN)
		return RELAY_RESET;
	return RELAY_OK;
}

enum relay_result relay_pump(struct relay_pool *pool, struct relay_dir *d, int from, int to)
{
	size_t moved = 0;

	for (;;) {
		size_t n = 0;
		enum relay_result r = flush_buf(d, to);
		if (r == RELAY_OK && d->off == d->ok)
			r = flush_pipe(pool, d, to);
		if (r != RELAY_OK)
			return r;
		if (relay_pending(d) || d->held || d->eof || d->shut || moved >= BUDGET)
			break;
		r = fill_pipe(pool, d, from, &n);
		if (r != RELAY_OK)
			return r;
		if (n == 0)
			break;
		moved += n;
	}
	return send_fin(d, to);
}

bool relay_room(const struct relay_dir *d)
{
	return d->n - d->ok < RELAY_BUF_MAX - 1;
}

/* Makes room for at least one byte behind n: first by moving to the front, then by growing. */
static bool make_room(struct relay_dir *d)
{
	if (d->off) {
		memmove(d->buf, d->buf + d->off, d->n - d->off);
		d->ok -= d->off;
		d->n -= d->off;
		d->off = 0;
	}
	if (d->n < d->cap)
		return true;
	size_t cap = d->cap ? DW_MIN(d->cap * 4, (size_t)RELAY_BUF_MAX) : d->bulk ? BUF_BULK : BUF_FIRST;
	uint8_t *p = cap > d->cap ? realloc(d->buf, cap) : NULL;
	if (!p)
		return false;
	d->buf = p;
	d->cap = cap;
	return true;
}

enum relay_result relay_read(struct relay_dir *d, int from, size_t *ret_n)
{
	*ret_n = 0;
	if (!make_room(d))
		return RELAY_RESOURCES;
	ssize_t n = recv(from, d->buf + d->n, d->cap - d->n, MSG_DONTWAIT);
	if (n < 0 && !would_block(errno))
		return RELAY_RESET;
	if (n == 0)
		d->eof = true;
	if (n > 0) {
		d->n += (size_t)n;
		*ret_n = (size_t)n;
	} else if (d->n == 0) {
		buf_drop(d);
	}
	return RELAY_OK;
}

enum relay_result relay_append(struct relay_dir *d, const void *p, size_t n)
{
	dw_assert(d->ok == d->n && !d->pipe);
	uint8_t *b = realloc(d->buf, d->n + n);
	if (!b)
		return RELAY_RESOURCES;
	memcpy(b + d->n, p, n);
	d->buf = b;
	d->n += n;
	d->ok = d->cap = d->n;
	return RELAY_OK;
}

void relay_open(struct relay_dir *d)
{
	d->ok = d->n;
	d->held = false;
}

void relay_shut(struct relay_dir *d)
{
	d->n = d->ok;
	d->shut = true;
}

bool relay_wants_read(const struct relay_dir *d)
{
	return !d->eof && !d->shut && !relay_pending(d);
}

bool relay_wants_write(const struct relay_dir *d)
{
	return relay_pending(d);
}
