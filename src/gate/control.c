/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: requests of the daemon, one answer each, and events.
 *
 * Two kinds of output with two promises. An answer is never lost: there is room for exactly one, and the next request
 * is read only when it is gone, so a daemon that does not read its answers stops being served and costs nothing. An
 * event never makes anything wait: it is queued up to a bound, and beyond it counted; the next event that gets
 * through says how many were dropped. Answers overtake events.
 */
#include "gate/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "proto/gatep.h"

/* Events waiting for the daemon: a few seconds of refusals on a busy machine, and a bound on memory. */
#define EVENTS_MAX      8192u
#define EVENT_BYTES_MAX (8u << 20)
/* Requests served per wake-up, so that a burst of attaches does not keep packets waiting. */
#define REQUESTS_PER_WAKEUP 16
/* Descriptors that one datagram may carry before the kernel cuts them off; more than one is refused anyway. */
#define FDS_MAX 4

struct event {
	struct event *next;
	size_t n;
	char json[];
};

struct gate_control {
	struct gate *g;
	struct dw_watch watch;
	int spare_fd;   /* given up while a request is received, whose descriptor takes its place; -1 = none */
	size_t reply_n; /* an answer waits to be sent; 0 = none */
	struct event *first, *last;
	uint32_t event_n;
	size_t event_bytes;
	uint64_t dropped; /* events since the last one that got through */
	char reply[DW_GATEP_MAX];
	char request[DW_GATEP_MAX];
};

/* Output. */

static void lost(struct gate_control *c)
{
	/* Without the daemon there is nobody to say who may do what. */
	c->g->loop.stop = true;
}

/* 1: sent, 0: the socket is full, -1: this datagram can not be sent. */
static int send_datagram(struct gate_control *c, const char *p, size_t n)
{
	for (;;) {
		if (send(c->watch.fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
			return 1;
		if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM)
			return 0;
		if (errno == EMSGSIZE)
			return -1;
		if (errno == EINTR)
			continue;
		lost(c);
		return -1;
	}
}

static void update_interest(struct gate_control *c)
{
	uint32_t events = c->reply_n ? 0 : EPOLLIN;

	if (c->reply_n || c->first)
		events |= EPOLLOUT;
	if (dw_watch_set(&c->g->loop, &c->watch, events) < 0)
		lost(c);
}

static void flush(struct gate_control *c)
{
	if (c->reply_n) {
		if (send_datagram(c, c->reply, c->reply_n) == 0)
			return;
		c->reply_n = 0;
	}
	while (c->first) {
		struct event *e = c->first;
		int r = send_datagram(c, e->json, e->n);

		if (r == 0)
			return;
		if (r < 0)
			c->dropped++;
		c->first = e->next;
		if (!c->first)
			c->last = NULL;
		c->event_n--;
		c->event_bytes -= e->n;
		free(e);
	}
}

/* A copy of the event, told how many were dropped before it. */
static struct event *event_new(const char *json, size_t n, uint64_t dropped)
{
	char extra[48] = "";
	size_t extra_n = 0;
	struct event *e;

	if (n < 2 || json[n - 1] != '}')
		return NULL;
	if (dropped) {
		int r = snprintf(extra, sizeof(extra), ",\"dropped\":%llu}", (unsigned long long)dropped);

		extra_n = (size_t)r;
		n--; /* the brace moves behind */
	}
	if (n + extra_n > DW_GATEP_MAX)
		return NULL;
	e = malloc(sizeof(*e) + n + extra_n);
	if (!e)
		return NULL;
	memcpy(e->json, json, n);
	memcpy(e->json + n, extra, extra_n);
	e->n = n + extra_n;
	e->next = NULL;
	return e;
}

void gate_control_event(struct gate *g, const char *event_json, size_t n)
{
	struct gate_control *c = g->control;
	struct event *e = NULL;

	if (!c)
		return;
	if (c->event_n < EVENTS_MAX && c->event_bytes + n <= EVENT_BYTES_MAX)
		e = event_new(event_json, n, c->dropped);
	if (!e) {
		c->dropped++;
		return;
	}
	c->dropped = 0;
	if (c->last)
		c->last->next = e;
	else
		c->first = e;
	c->last = e;
	c->event_n++;
	c->event_bytes += e->n;
	if (c->event_n == 1)
		flush(c);
	update_interest(c);
}

/* jansson refuses text that is not UTF-8; an answer must not fail for that. */
static json_t *any_text(const char *s)
{
	json_t *t = json_string(s);
	char plain[512];
	size_t n = 0;

	if (t)
		return t;
	for (; *s && n < sizeof(plain) - 1; s++)
		plain[n++] = *s >= ' ' && *s <= '~' ? *s : '?';
	plain[n] = '\0';
	return json_string(plain);
}

/* Takes answer. */
static void reply(struct gate_control *c, const struct gate_request *rq, json_t *answer)
{
	size_t n = 0;

	if (answer && json_object_set_new(answer, "seq", json_integer(rq->seq)) == 0)
		n = json_dumpb(answer, c->reply, sizeof(c->reply), JSON_COMPACT);
	json_decref(answer);
	if (n == 0 || n > sizeof(c->reply)) {
		/* Memory is out: an answer there must be. */
		int r = snprintf(c->reply, sizeof(c->reply),
				 "{\"seq\":%lld,\"ok\":false,\"code\":\"internal\",\"message\":\"out of memory\"}",
				 (long long)rq->seq);

		n = (size_t)r;
	}
	c->reply_n = n;
	flush(c);
}

static void reply_error(struct gate_control *c, const struct gate_request *rq, const struct dw_err *err)
{
	json_t *message = any_text(err->message);

	reply(c, rq,
	      json_pack("{s:b,s:s,s:o}", "ok", 0, "code", err->code[0] ? err->code : "internal", "message", message));
}

static void keep_spare(struct gate_control *c)
{
	if (c->spare_fd < 0)
		c->spare_fd = fcntl(c->watch.fd, F_DUPFD_CLOEXEC, 0);
}

/* Keeps the first descriptor, closes the others. */
static void take_fds(struct msghdr *m, struct gate_request *rq)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		int fds[FDS_MAX + 1];

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		n = DW_MIN(n, DW_COUNT(fds));
		memcpy(fds, CMSG_DATA(h), n * sizeof(int));
		for (size_t i = 0; i < n; i++) {
			if (rq->fd < 0 && !rq->extra_fds) {
				rq->fd = fds[i];
				continue;
			}
			rq->extra_fds = true;
			close(fds[i]);
		}
	}
}

/* Reads and answers one request; false when there is none. */
static bool serve_one(struct gate_control *c)
{
	union {
		char space[CMSG_SPACE(sizeof(int) * FDS_MAX)];
		struct cmsghdr align;
	} u;
	struct iovec iov = { .iov_base = c->request, .iov_len = sizeof(c->request) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.space, .msg_controllen = sizeof(u) };
	struct gate_request rq = { .fd = -1 };
	struct dw_err err = { 0 };
	/* A sandbox that has used all descriptors up must not keep its policy from being changed. */
	if (c->spare_fd >= 0)
		close(c->spare_fd);
	c->spare_fd = -1;
	ssize_t n = recvmsg(c->watch.fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	json_t *answer;

	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		keep_spare(c);
		return false;
	}
	if (n <= 0) {
		lost(c);
		return false;
	}
	take_fds(&m, &rq);
	if (m.msg_flags & MSG_CTRUNC) {
		rq.extra_fds = rq.fd >= 0;
		rq.lost_fd = rq.fd < 0;
	}
	if (m.msg_flags & MSG_TRUNC) {
		answer = NULL;
		dw_err_set(&err, DW_ERR_INVALID, "bad_request", "the request is larger than a datagram may be");
	} else {
		answer = gate_control_serve(c->g, &rq, c->request, (size_t)n, &err);
	}
	if (answer)
		reply(c, &rq, answer);
	else
		reply_error(c, &rq, &err);
	json_decref(rq.root);
	if (rq.fd >= 0)
		close(rq.fd);
	keep_spare(c);
	return true;
}

static void on_control(void *arg, uint32_t events)
{
	struct gate_control *c = arg;

	flush(c);
	for (int i = 0; i < REQUESTS_PER_WAKEUP && !c->reply_n && !c->g->loop.stop; i++) {
		if (!serve_one(c))
			break;
	}
	/* With an answer pending nothing is read, so the end of the daemon shows here only. */
	if (events & (EPOLLHUP | EPOLLERR) && c->reply_n)
		lost(c);
	update_interest(c);
}

static void say_ready(struct gate *g)
{
	char json[128];
	int n = snprintf(json, sizeof(json), "{\"event\":\"ready\",\"version\":\"%s\",\"pid\":%d}", DECLAW_VERSION,
			 (int)getpid());

	gate_control_event(g, json, (size_t)n);
}

int gate_control_init(struct gate *g, struct dw_err *err)
{
	int fd = g->config.control_fd;
	int type = 0;
	socklen_t n = sizeof(type);
	struct gate_control *c;
	int r;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) < 0)
		return dw_err_errno(err, errno, "control socket");
	if (type != SOCK_SEQPACKET)
		return dw_err_set(err, DW_ERR_INVALID, "usage", "the control socket is not of type SOCK_SEQPACKET");
	c = calloc(1, sizeof(*c));
	if (!c)
		return dw_err_errno(err, ENOMEM, "control socket");
	c->g = g;
	c->spare_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	r = dw_watch_add(&g->loop, &c->watch, fd, EPOLLIN, on_control, c);
	if (r < 0) {
		free(c);
		return dw_err_errno(err, -r, "control socket");
	}
	g->control = c;
	say_ready(g);
	return 0;
}

void gate_control_done(struct gate *g)
{
	struct gate_control *c = g->control;

	if (!c)
		return;
	dw_watch_del(&g->loop, &c->watch);
	if (c->spare_fd >= 0)
		close(c->spare_fd);
	while (c->first) {
		struct event *e = c->first;

		c->first = e->next;
		free(e);
	}
	free(c);
	g->control = NULL;
}
