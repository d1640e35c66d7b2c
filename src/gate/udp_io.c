/* SPDX-License-Identifier: Apache-2.0 */
/* A UDP flow's far side: its address, its socket, what goes there and what comes back. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h> /* linux/errqueue.h wants it, and does not say so */

#include <linux/errqueue.h>

#include "gate/limits.h"
#include "gate/udp.h"

#define BATCH        16
#define DATAGRAM_MAX 65536u
#define ERRORS_MAX   16 /* ICMP errors read at one time */
/*
 * What may wait in a socket while the loop is busy with others. The kernel's default holds some 90 full datagrams, which a
 * server sends in a millisecond, and all that is lost of a download is lost at once. The system may allow less (rmem_max).
 * Not every flow gets it, for what all sockets of a machine may hold is bounded: the first that show that they need it do.
 */
#define WIDE_RCVBUF (1 << 20)
#define WIDE_BYTES  16384u /* that came, before a flow counts as one that needs it */

/* Held datagrams. */

bool udp_hold(struct gate_udp_flow *f, const uint8_t *data, size_t n)
{
	const size_t cost = sizeof(struct udp_held) + n;

	if (f->held_n + cost > GATE_UDP_HELD_BYTES || !udp_keep(f, cost))
		return false;
	struct udp_held *h = malloc(cost);
	if (!h) {
		udp_unkeep(f, cost);
		return false;
	}
	h->next = NULL;
	h->n = n;
	if (n)
		memcpy(h->data, data, n);
	*f->held_end = h;
	f->held_end = &h->next;
	f->held_n += cost;
	return true;
}

/* The caller frees what it is given. */
static struct udp_held *pop_held(struct gate_udp_flow *f)
{
	struct udp_held *h = f->held;
	const size_t cost = h ? sizeof(*h) + h->n : 0;

	if (!h)
		return NULL;
	f->held = h->next;
	if (!f->held)
		f->held_end = &f->held;
	f->held_n -= cost;
	udp_unkeep(f, cost);
	return h;
}

bool udp_flush(struct gate_udp_flow *f)
{
	struct udp_held *h;
	bool alive = true;

	while (alive && (h = pop_held(f))) {
		alive = udp_send(f, h->data, h->n);
		free(h);
	}
	return alive;
}

void udp_drop_held(struct gate_udp_flow *f)
{
	struct udp_held *h;

	while ((h = pop_held(f)))
		free(h);
}

/* What came while the address was looked for is judged only now, in the order it came. */
static void take_held(struct gate_udp_flow *f)
{
	struct udp_held *list = f->held;

	udp_unkeep(f, f->held_n);
	f->held = NULL;
	f->held_end = &f->held;
	f->held_n = 0;
	while (list) {
		struct udp_held *h = list;
		list = h->next;
		if (f->state != UDP_DEAD)
			udp_take(f, h->data, h->n);
		free(h);
	}
}

/* Errors. */

static void tell_client(const struct gate_udp_flow *f, int e)
{
	switch (e) {
	case ECONNREFUSED:
	case EHOSTUNREACH:
	case EHOSTDOWN:
	case ENETUNREACH:
	case ENETDOWN:
	case EACCES:
	case EPERM:
		udp_unreachable(f, tun_why(e));
		return;
	default: /* too long, out of buffers: a lost datagram */
		return;
	}
}

static int icmp_errno(struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		const bool v4 = c->cmsg_level == SOL_IP && c->cmsg_type == IP_RECVERR;
		const bool v6 = c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_RECVERR;
		struct sock_extended_err e;

		if ((!v4 && !v6) || c->cmsg_len < CMSG_LEN(sizeof(e)))
			continue;
		memcpy(&e, CMSG_DATA(c), sizeof(e));
		if (e.ee_origin == SO_EE_ORIGIN_ICMP || e.ee_origin == SO_EE_ORIGIN_ICMP6)
			return (int)e.ee_errno;
	}
	return 0;
}

/* What routers and the far side said of what was sent. Reading it clears the socket's error. */
static void read_errors(const struct gate_udp_flow *f)
{
	for (int i = 0; i < ERRORS_MAX; i++) {
		char control[256];
		struct msghdr m = { .msg_control = control, .msg_controllen = sizeof(control) };

		if (recvmsg(f->fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
			return;
		tell_client(f, icmp_errno(&m));
	}
}

/* Up. */

static bool count(struct gate_udp_flow *f, size_t out, size_t in)
{
	static const struct dw_decision spent = { .reason = DW_REASON_LIMIT_BYTES, .rule = DW_RULE_NONE };

	f->bytes_out += out;
	f->bytes_in += in;
	f->last_ms = f->g->loop.now_ms;
	if (gate_limit_bytes(f->sandbox, out, in))
		return true;
	udp_refuse(f, &spent, f->names[0], false);
	return false;
}

bool udp_send(struct gate_udp_flow *f, const uint8_t *data, size_t n)
{
	f->sent = true;
	if (send(f->fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return count(f, n, 0);
	if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM)
		return true;
	/* It may be the error of an earlier datagram, given to the first who asks. */
	read_errors(f);
	if (send(f->fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return count(f, n, 0);
	tell_client(f, errno);
	return true;
}

/* Down. */

static void put(void *arg, const void *p, size_t n)
{
	tun_write_udp(arg, p, n);
}

static bool deliver(struct gate_udp_flow *f, const uint8_t *data, size_t n)
{
	static uint8_t packet[DATAGRAM_MAX];
	const struct flow_key *k = &f->key;
	size_t len = dw_packet_udp(&k->dst, k->dport, &k->src, k->sport, data, n, packet, sizeof(packet));

	udp_packet_out(packet, len, f->g->udp->fragment_id++, put, f->g);
	f->answered = true;
	return count(f, 0, n);
}

/* A socket has a port before it is connected to its peer, so for a moment anybody's datagram could enter. */
static bool from_peer(const struct gate_udp_flow *f, const struct sockaddr_storage *ss)
{
	uint16_t port = 0;
	const struct dw_addr a = dw_addr_from_sockaddr(ss, &port);

	return dw_addr_eq(&a, &f->target.dial) && port == f->key.dport;
}

static void widen(struct gate_udp_flow *f)
{
	const int n = WIDE_RCVBUF;

	if (f->wide || f->bytes_in < WIDE_BYTES || f->sandbox->udp_wide_n >= GATE_UDP_WIDE)
		return;
	f->wide = true;
	f->sandbox->udp_wide_n++;
	/* With a smaller one more is lost under load, nothing else. */
	DW_IGNORE(setsockopt(f->fd, SOL_SOCKET, SO_RCVBUF, &n, sizeof(n)));
}

static void receive(struct gate_udp_flow *f)
{
	static uint8_t data[BATCH][DATAGRAM_MAX];
	struct sockaddr_storage from[BATCH] = { 0 };
	struct mmsghdr m[BATCH] = { 0 };
	struct iovec iov[BATCH];

	for (int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ data[i], sizeof(data[i]) };
		m[i].msg_hdr = (struct msghdr){
			.msg_name = &from[i],
			.msg_namelen = sizeof(from[i]),
			.msg_iov = &iov[i],
			.msg_iovlen = 1,
		};
	}
	int got = recvmmsg(f->fd, m, BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < got; i++) {
		if (!from_peer(f, &from[i]))
			continue;
		if (!deliver(f, data[i], m[i].msg_len))
			return;
	}
	widen(f);
}

static void on_server(void *arg, uint32_t events)
{
	struct gate_udp_flow *f = arg;

	if (events & EPOLLERR)
		read_errors(f);
	/* Also without EPOLLIN: an error that is in no queue is taken by whoever receives. */
	receive(f);
}

/* The socket. */

static void refuse(struct gate_udp_flow *f, enum dw_reason reason)
{
	const struct dw_decision d = { .verdict = DW_DENY, .reason = reason, .rule = f->decision.rule };

	udp_refuse(f, &d, target_name(&f->target), false);
}

static void dial_failed(struct gate_udp_flow *f, int e)
{
	if (e == EMFILE || e == ENFILE || e == ENOBUFS || e == ENOMEM || e == EAGAIN) {
		refuse(f, DW_REASON_GATE_RESOURCES);
		return;
	}
	/* It was allowed; that there is no way there is another matter, and the client's to know. */
	udp_record_allow(f);
	tell_client(f, e);
	udp_end(f);
}

/* Errors are reported; datagrams over the path's MTU are cut by the kernel, for the gate can not tell the sandbox's. */
static int socket_options(int fd, bool v4)
{
	const int on = 1, cut = v4 ? IP_PMTUDISC_DONT : IPV6_PMTUDISC_DONT;

	if (setsockopt(fd, v4 ? SOL_IP : SOL_IPV6, v4 ? IP_RECVERR : IPV6_RECVERR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, v4 ? SOL_IP : SOL_IPV6, v4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, &cut, sizeof(cut)) < 0)
		return -errno;
	return 0;
}

static int open_socket(struct gate_udp_flow *f)
{
	struct sockaddr_storage ss;
	const socklen_t n = dw_addr_to_sockaddr(&f->target.dial, f->key.dport, &ss);

	f->fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (f->fd < 0)
		return -errno;
	int r = socket_options(f->fd, ss.ss_family == AF_INET);
	if (r < 0)
		return r;
	if (connect(f->fd, (struct sockaddr *)&ss, n) < 0)
		return -errno;
	return dw_watch_add(&f->g->loop, &f->watch, f->fd, EPOLLIN, on_server, f);
}

static void connect_to(struct gate_udp_flow *f)
{
	enum dw_reason why = target_check(f->g, &f->target.dial);

	if (why != DW_REASON_NONE) {
		refuse(f, why);
		return;
	}
	int r = open_socket(f);
	if (r < 0) {
		dial_failed(f, -r);
		return;
	}
	f->dialled = true;
	f->last_ms = f->g->loop.now_ms;
	udp_set_state(f, UDP_INSPECT);
	udp_arm(f);
	take_held(f);
}

static void on_target(void *arg, enum target_status status)
{
	struct gate_udp_flow *f = arg;

	switch (status) {
	case TARGET_READY:
		connect_to(f);
		return;
	case TARGET_FAILED:
		refuse(f, f->target.why);
		return;
	case TARGET_ASKING:
		return;
	}
}

void udp_dial(struct gate_udp_flow *f)
{
	struct target *t = &f->target;

	t->g = f->g;
	t->sandbox = f->sandbox;
	t->proto = DW_PROTO_UDP;
	t->dst = f->key.dst;
	t->port = f->key.dport;
	t->done = on_target;
	t->arg = f;
	on_target(f, target_find(t, f->decision.verdict));
}
