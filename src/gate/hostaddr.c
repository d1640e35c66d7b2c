/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's own addresses, for the floor ("no sandbox reaches the server itself").
 *
 * One rtnetlink socket in the uplink namespace: the kernel reports every change of an address, and each report (or a
 * lost one) starts a dump that replaces the list as a whole. Replaying the reports themselves was rejected: one that
 * is missed would be wrong for ever, in the direction that opens something. The first dump is waited for; nothing is
 * served before it. A dump that fails is repeated, and the old list stays meanwhile.
 *
 * Addresses are not all: a route of type "local" makes any address the machine's own (load balancers' addresses on some
 * clouds, AnyIP), and no interface has it. So before a connection is made the kernel is asked where it would end. The
 * list stays, because it lets the policy refuse without a system call and says so in records.
 */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "gate/gate.h"

#define RETRY_MS      1000u
#define FIRST_DUMP_MS 5000
/* A machine with more addresses than that is not one this can guard: it keeps the old list and says so. */
#define HOST_MAX 65536u

struct list {
	struct dw_addr *v;
	size_t n, cap;
};

struct gate_hostaddr {
	struct gate *g;
	struct dw_watch watch;
	struct dw_timer retry;
	int fd;
	int route_fd; /* one question, one answer: kept apart from the reports */
	uint32_t route_seq;
	uint32_t seq; /* of the dump under way */
	bool dumping;
	bool stale;   /* something changed since the dump began */
	bool spoiled; /* this dump can not be used */
	bool loaded;  /* one was complete */
	struct list now, next;
};

static bool list_add(struct list *l, const struct dw_addr *a)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 64;
		struct dw_addr *v = cap <= HOST_MAX ? reallocarray(l->v, cap, sizeof(*v)) : NULL;

		if (!v)
			return false;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n++] = *a;
	return true;
}

static void on_retry(void *arg);

static void retry_later(struct gate_hostaddr *h)
{
	struct dw_loop *l = &h->g->loop;

	/* Without memory for a timer the next change tries again. */
	DW_IGNORE(dw_timer_set(l, &h->retry, l->now_ms + RETRY_MS, on_retry, h));
}

static void dump_start(struct gate_hostaddr *h)
{
	struct {
		struct nlmsghdr h;
		struct ifaddrmsg m;
	} rq = {
		.h = { .nlmsg_len = sizeof(rq),
		       .nlmsg_type = RTM_GETADDR,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
		       .nlmsg_seq = ++h->seq },
		.m = { .ifa_family = AF_UNSPEC },
	};

	if (h->seq == 0)
		rq.h.nlmsg_seq = ++h->seq; /* reports of changes carry 0 */
	h->next.n = 0;
	h->stale = false;
	h->spoiled = false;
	h->dumping = send(h->fd, &rq, sizeof(rq), MSG_DONTWAIT) == (ssize_t)sizeof(rq);
	if (!h->dumping)
		retry_later(h);
}

static void on_retry(void *arg)
{
	struct gate_hostaddr *h = arg;

	if (!h->dumping)
		dump_start(h);
}

static void dump_done(struct gate_hostaddr *h)
{
	struct list old = h->now;

	h->dumping = false;
	if (h->spoiled) {
		retry_later(h);
		return;
	}
	h->now = h->next;
	h->next = old; /* its memory serves the next dump */
	h->g->floor.host = h->now.v;
	h->g->floor.host_n = h->now.n;
	h->loaded = true;
	if (h->stale)
		dump_start(h);
}

static void take_addr(struct gate_hostaddr *h, const struct nlmsghdr *nh)
{
	const struct ifaddrmsg *m = mnl_nlmsg_get_payload(nh);
	struct nlattr *attr;
	struct dw_addr address = { 0 };
	struct dw_addr local = { 0 };
	const struct dw_addr *own;

	mnl_attr_for_each(attr, nh, sizeof(*m))
	{
		struct dw_addr a = { 0 };

		if (m->ifa_family == AF_INET && mnl_attr_get_payload_len(attr) == 4)
			a = dw_addr_from4(mnl_attr_get_payload(attr));
		else if (m->ifa_family == AF_INET6 && mnl_attr_get_payload_len(attr) == 16)
			a = dw_addr_from6(mnl_attr_get_payload(attr));
		if (mnl_attr_get_type(attr) == IFA_LOCAL)
			local = a;
		else if (mnl_attr_get_type(attr) == IFA_ADDRESS)
			address = a;
	}
	/* On a point-to-point link IFA_ADDRESS is the peer. */
	own = local.family != DW_AF_NONE ? &local : &address;
	if (own->family != DW_AF_NONE && !list_add(&h->next, own))
		h->spoiled = true;
}

static void take_message(struct gate_hostaddr *h, const struct nlmsghdr *nh)
{
	bool of_dump = h->dumping && nh->nlmsg_seq == h->seq;

	if (of_dump && nh->nlmsg_flags & NLM_F_DUMP_INTR)
		h->spoiled = true;
	if (nh->nlmsg_type == RTM_NEWADDR && of_dump) {
		take_addr(h, nh);
	} else if (nh->nlmsg_type == RTM_NEWADDR || nh->nlmsg_type == RTM_DELADDR) {
		h->stale = true;
	} else if (of_dump && (nh->nlmsg_type == NLMSG_DONE || nh->nlmsg_type == NLMSG_ERROR)) {
		h->spoiled = h->spoiled || nh->nlmsg_type == NLMSG_ERROR;
		dump_done(h);
	}
}

/* Reads one datagram: 1 read, 0 nothing there, negative errno. */
static int read_some(struct gate_hostaddr *h)
{
	static char buf[32768] __attribute__((aligned(8)));
	struct sockaddr_nl from = { 0 };
	socklen_t from_n = sizeof(from);
	ssize_t n = recvfrom(h->fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_TRUNC, (struct sockaddr *)&from, &from_n);
	int left;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		return -errno;
	if (from.nl_pid != 0)
		return 1; /* not from the kernel */
	if ((size_t)n > sizeof(buf)) {
		h->stale = true;
		h->spoiled = true;
		n = sizeof(buf);
	}
	left = (int)n;
	for (const struct nlmsghdr *nh = (const struct nlmsghdr *)buf; mnl_nlmsg_ok(nh, left);
	     nh = mnl_nlmsg_next(nh, &left))
		take_message(h, nh);
	return 1;
}

static void on_netlink(void *arg, uint32_t events)
{
	struct gate_hostaddr *h = arg;
	int r;

	do {
		r = read_some(h);
	} while (r > 0);
	if (r < 0) {
		/* ENOBUFS: reports were lost, and perhaps the end of the dump too. */
		h->dumping = false;
		h->stale = true;
	}
	if (h->stale && !h->dumping)
		dump_start(h);
}

static int load_first(struct gate_hostaddr *h, struct dw_err *err)
{
	struct pollfd p = { .fd = h->fd, .events = POLLIN };

	dump_start(h);
	while (!h->loaded) {
		int r = poll(&p, 1, FIRST_DUMP_MS);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return dw_err_errno(err, r < 0 ? errno : ETIMEDOUT, "reading the machine's addresses");
		on_netlink(h, EPOLLIN);
		if (!h->loaded && !h->dumping)
			dump_start(h);
	}
	return 0;
}

/* The answer to a route question, in buf: 1, 0 or negative errno. */
static int read_route(const void *buf, size_t n, uint32_t seq)
{
	const struct nlmsghdr *nh = buf;

	if (!mnl_nlmsg_ok(nh, (int)n))
		return -EPROTO;
	if (nh->nlmsg_seq != seq)
		return -ESTALE;
	if (nh->nlmsg_type == NLMSG_ERROR && mnl_nlmsg_get_payload_len(nh) >= sizeof(struct nlmsgerr)) {
		const struct nlmsgerr *e = mnl_nlmsg_get_payload(nh);
		/* Unreachable, prohibited, blackhole: the connection will say the same, in the client's words. */
		bool no_route = e->error == -ENETUNREACH || e->error == -EHOSTUNREACH || e->error == -EACCES ||
				e->error == -EINVAL;
		return no_route ? 0 : -EIO;
	}
	if (nh->nlmsg_type != RTM_NEWROUTE || mnl_nlmsg_get_payload_len(nh) < sizeof(struct rtmsg))
		return -EPROTO;
	const struct rtmsg *m = mnl_nlmsg_get_payload(nh);
	return m->rtm_type == RTN_LOCAL || m->rtm_type == RTN_ANYCAST || m->rtm_type == RTN_BROADCAST;
}

int gate_hostaddr_is_local(struct gate *g, const struct dw_addr *a)
{
	struct gate_hostaddr *h = g->hostaddr;
	const bool v4 = a->family == DW_AF_4;
	char out[128] __attribute__((aligned(8))) = { 0 };
	static char in[8192] __attribute__((aligned(8)));
	struct nlmsghdr *nh = mnl_nlmsg_put_header(out);
	struct rtmsg *m = mnl_nlmsg_put_extra_header(nh, sizeof(*m));

	nh->nlmsg_type = RTM_GETROUTE;
	nh->nlmsg_flags = NLM_F_REQUEST;
	nh->nlmsg_seq = ++h->route_seq;
	m->rtm_family = v4 ? AF_INET : AF_INET6;
	m->rtm_dst_len = (uint8_t)dw_addr_bits(a);
	mnl_attr_put(nh, RTA_DST, v4 ? 4 : 16, a->b);
	if (send(h->route_fd, out, nh->nlmsg_len, MSG_DONTWAIT) < 0)
		return -errno;
	/* rtnetlink answers such a question inside send(). What an earlier one left unread is passed over. */
	for (;;) {
		ssize_t n = recv(h->route_fd, in, sizeof(in), MSG_DONTWAIT);
		if (n < 0)
			return -errno;
		int r = read_route(in, (size_t)n, h->route_seq);
		if (r != -ESTALE)
			return r;
	}
}

int gate_hostaddr_init(struct gate *g, struct dw_err *err)
{
	struct sockaddr_nl self = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR };
	struct gate_hostaddr *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return dw_err_errno(err, ENOMEM, "reading the machine's addresses");
	h->g = g;
	g->hostaddr = h;
	h->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (h->fd < 0 || bind(h->fd, (struct sockaddr *)&self, sizeof(self)) < 0)
		return dw_err_errno(err, errno, "reading the machine's addresses");
	h->route_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (h->route_fd < 0)
		return dw_err_errno(err, errno, "asking for routes");
	if (load_first(h, err) < 0)
		return -1;
	r = dw_watch_add(&g->loop, &h->watch, h->fd, EPOLLIN, on_netlink, h);
	if (r < 0)
		return dw_err_errno(err, -r, "watching the machine's addresses");
	return 0;
}
