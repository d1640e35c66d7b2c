/* SPDX-License-Identifier: Apache-2.0 */
/* From an allowed SYN to a connected server. */
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gate/flow.h"

/* What the client would have seen without a gate. */
static void dial_failed(struct gate_flow *f, int e)
{
	struct dw_packet syn;
	uint8_t out[64];

	if (e == EMFILE || e == ENFILE || e == ENOBUFS || e == ENOMEM || e == EAGAIN) {
		flow_refuse_quietly(f, DW_REASON_GATE_RESOURCES);
		return;
	}
	if (e != ETIMEDOUT && dw_packet_parse(f->syn, f->syn_n, &syn) == DW_PARSE_OK) {
		if (e == ECONNREFUSED || e == ECONNRESET || e == EPIPE)
			tun_write(f->g, out, dw_packet_rst(&syn, out, sizeof(out)));
		else
			tun_unreachable(f->g, &syn, tun_why(e));
	}
	flow_end(f);
}

static void connected(struct gate_flow *f)
{
	flow_set_state(f, FLOW_ADMITTED);
	/* An error or the end of the server is found when the client is there to be told; until then only silence. */
	dw_watch_del(&f->g->loop, &f->server.watch);
	tun_write(f->g, f->syn, f->syn_n);
	free(f->syn);
	f->syn = NULL;
}

int flow_socket_options(int fd)
{
	const int on = 1, idle = 300, interval = 30, count = 8;

	/* An idle flow lives as long as both ends answer probes; one whose end has vanished ends after ten minutes. */
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle)) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval)) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count)) < 0)
		return -errno;
	return 0;
}

static void connect_to(struct gate_flow *f, const struct dw_addr *a)
{
	struct sockaddr_storage ss;
	const socklen_t n = dw_addr_to_sockaddr(a, f->key.dport, &ss);

	enum dw_reason why = target_check(f->g, a);
	if (why != DW_REASON_NONE) {
		flow_refuse_quietly(f, why);
		return;
	}
	f->dialled = true;
	flow_set_state(f, FLOW_DIALLING);
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		dial_failed(f, errno);
		return;
	}
	f->server.fd = fd;
	int r = flow_socket_options(fd);
	if (r < 0) {
		dial_failed(f, -r);
		return;
	}
	if (connect(fd, (struct sockaddr *)&ss, n) == 0) {
		connected(f);
		return;
	}
	if (errno != EINPROGRESS) {
		dial_failed(f, errno);
		return;
	}
	r = dw_watch_add(&f->g->loop, &f->server.watch, fd, EPOLLOUT, flow_on_server, f);
	if (r < 0)
		dial_failed(f, ENOMEM);
}

static void on_target(void *arg, enum target_status status)
{
	struct gate_flow *f = arg;

	switch (status) {
	case TARGET_READY:
		connect_to(f, &f->target.dial);
		return;
	case TARGET_FAILED:
		flow_refuse_quietly(f, f->target.why);
		return;
	case TARGET_ASKING:
		return;
	}
}

void flow_dial(struct gate_flow *f)
{
	struct target *t = &f->target;

	t->g = f->g;
	t->sandbox = f->sandbox;
	t->proto = DW_PROTO_TCP;
	t->dst = f->key.dst;
	t->port = f->key.dport;
	t->done = on_target;
	t->arg = f;
	flow_set_state(f, FLOW_RESOLVING);
	on_target(f, target_find(t, f->decision.verdict));
}

void flow_dial_event(struct gate_flow *f)
{
	int e = 0;
	socklen_t n = sizeof(e);

	if (getsockopt(f->server.fd, SOL_SOCKET, SO_ERROR, &e, &n) < 0)
		e = errno;
	if (e)
		dial_failed(f, e);
	else
		connected(f);
}
