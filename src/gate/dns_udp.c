/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS over UDP. One socket per family takes the queries to every address, so each query must say which address it was
 * sent to (IP_RECVORIGDSTADDR), and the answer must come from there (IP_PKTINFO): a client drops it otherwise.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "gate/dns_internal.h"

/* Queries taken per wake-up: the flows want their turn too. */
#define QUERIES_PER_WAKEUP 64

/* Of both families, for all that can come along; aligned as the kernel's macros want it. */
union cmsg_space {
	char bytes[CMSG_SPACE(sizeof(struct sockaddr_in6)) + CMSG_SPACE(sizeof(struct in6_pktinfo))];
	struct cmsghdr align;
};

static struct dw_addr asked_of(struct msghdr *m)
{
	struct sockaddr_storage ss = { 0 };
	uint16_t port;

	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		bool v4 = h->cmsg_level == SOL_IP && h->cmsg_type == IP_ORIGDSTADDR;
		bool v6 = h->cmsg_level == SOL_IPV6 && h->cmsg_type == IPV6_ORIGDSTADDR;
		size_t n = v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);

		if ((!v4 && !v6) || h->cmsg_len < CMSG_LEN(n))
			continue;
		memcpy(&ss, CMSG_DATA(h), n);
		return dw_addr_from_sockaddr(&ss, &port);
	}
	return (struct dw_addr){ 0 };
}

static void add_cmsg(struct msghdr *m, int level, int type, const void *data, size_t n)
{
	struct cmsghdr *h;

	m->msg_controllen = CMSG_SPACE(n);
	h = CMSG_FIRSTHDR(m);
	h->cmsg_level = level;
	h->cmsg_type = type;
	h->cmsg_len = CMSG_LEN(n);
	memcpy(CMSG_DATA(h), data, n);
}

void dns_udp_send(const struct dns_origin *o, const void *p, size_t n)
{
	union cmsg_space u = { 0 };
	struct sockaddr_storage client = o->client;
	struct iovec iov = { .iov_len = n };
	struct msghdr m = { .msg_name = &client, .msg_namelen = o->client_n, .msg_iov = &iov, .msg_iovlen = 1 };

	memcpy(&iov.iov_base, &p, sizeof(p)); /* sendmsg only reads it; the struct serves recvmsg too */
	if (o->asked.family != DW_AF_NONE)
		m.msg_control = u.bytes;
	if (o->asked.family == DW_AF_4) {
		struct in_pktinfo info = { 0 };

		memcpy(&info.ipi_spec_dst, o->asked.b, sizeof(info.ipi_spec_dst));
		add_cmsg(&m, SOL_IP, IP_PKTINFO, &info, sizeof(info));
	} else if (o->asked.family == DW_AF_6) {
		struct in6_pktinfo info = { 0 };

		memcpy(&info.ipi6_addr, o->asked.b, sizeof(info.ipi6_addr));
		add_cmsg(&m, SOL_IPV6, IPV6_PKTINFO, &info, sizeof(info));
	}
	/* A full socket or a client that left: it asks again, as over any network. */
	DW_IGNORE(sendmsg(o->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL));
}

/* Reads and serves one datagram; false when there is none. */
static bool serve_one(struct gate_dns *d, int fd)
{
	union cmsg_space u;
	struct dns_origin o = { .fd = fd };
	struct iovec iov = { .iov_base = d->in, .iov_len = sizeof(d->in) };
	struct msghdr m = { .msg_name = &o.client,
			    .msg_namelen = sizeof(o.client),
			    .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = u.bytes,
			    .msg_controllen = sizeof(u.bytes) };
	ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT);
	struct gate_sandbox *s;
	struct dw_addr source;
	uint16_t port;

	if (n < 0)
		return errno != EAGAIN; /* an ICMP error of an earlier answer: go on */
	o.client_n = m.msg_namelen;
	o.asked = asked_of(&m);
	source = dw_addr_from_sockaddr(&o.client, &port);
	s = gate_sandbox_by_addr(d->g, &source);
	if (!s)
		dns_unknown_source(d->g, &source);
	else if (!(m.msg_flags & MSG_TRUNC))
		dns_handle(d->g, s, &o, d->in, (size_t)n);
	else
		dns_handle(d->g, s, &o, d->in, 0); /* too long for a query: malformed */
	return true;
}

static void serve(struct gate_dns *d, int fd)
{
	for (int i = 0; i < QUERIES_PER_WAKEUP; i++) {
		if (!serve_one(d, fd))
			break;
	}
}

static void on_udp4(void *arg, uint32_t events)
{
	struct gate_dns *d = arg;

	serve(d, d->udp4.fd);
}

static void on_udp6(void *arg, uint32_t events)
{
	struct gate_dns *d = arg;

	serve(d, d->udp6.fd);
}

int dns_udp_init(struct gate_dns *d)
{
	const struct gate_fds *f = &d->g->fds;
	int r = 0;

	if (f->dns_udp4 >= 0)
		r = dw_watch_add(&d->g->loop, &d->udp4, f->dns_udp4, EPOLLIN, on_udp4, d);
	if (r == 0 && f->dns_udp6 >= 0)
		r = dw_watch_add(&d->g->loop, &d->udp6, f->dns_udp6, EPOLLIN, on_udp6, d);
	return r;
}
