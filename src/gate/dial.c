/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an allowed SYN to a connected server.
 *
 * An address that an address rule allows is dialled as it is. An address that is allowed because a name was resolved to it
 * stands for that name: while one of its pins is fresh it is dialled; after that its names are asked again, and what is
 * dialled is the very address the client chose if a name still has it, else another address the name has now. An
 * address that its name has given up is never dialled.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/netplan.h"
#include "gate/flow.h"
#include "wire/dns.h"

static void connect_to(struct gate_flow *f, const struct dw_addr *a, const char *name);
static void ask_next(struct gate_flow *f);

/* The pinned names that make this flow allowed; true when one of them is fresh (then *ret_fresh is one). */
static bool collect_names(struct gate_flow *f, const char **ret_fresh)
{
	const struct gate_sandbox *s = f->sandbox;
	const uint64_t now = f->g->loop.now_ms;
	struct dw_pin pin;
	uint32_t iter = 0;

	f->ask_n = f->ask_i = 0;
	while (dw_pins_next(s->pins, &f->key.dst, &iter, &pin)) {
		if (dw_decide_name(s->policy, pin.name, f->key.dport).verdict == DW_DENY)
			continue;
		if (now < pin.expires_ms) {
			*ret_fresh = pin.name;
			return true;
		}
		if (f->ask_n < FLOW_NAMES_MAX)
			f->ask[f->ask_n++] = pin.name;
	}
	return false;
}

void flow_dial(struct gate_flow *f)
{
	const char *fresh = NULL;

	if (f->decision.verdict != DW_ALLOW_BY_NAME) {
		connect_to(f, &f->key.dst, NULL);
		return;
	}
	if (collect_names(f, &fresh)) {
		connect_to(f, &f->key.dst, fresh);
		return;
	}
	f->answered = false;
	f->spare_name = NULL;
	flow_set_state(f, FLOW_RESOLVING);
	ask_next(f);
}

/*
 * A name's address on the flow's port. A private one may be in an answer because an address entry opens some port of it;
 * that port is all of it that can be dialled, whatever the name may be used for.
 */
bool flow_may_dial(const struct gate_flow *f, const struct dw_addr *a)
{
	const struct dw_policy *policy = f->sandbox->policy;
	const struct dw_floor *floor = &f->g->floor;

	if (dw_decide_answer(policy, floor, a) != DW_REASON_NONE)
		return false;
	return !dw_floor_is_private(floor, a) ||
	       dw_decide_flow(policy, floor, DW_PROTO_TCP, a, f->key.dport, NULL).verdict != DW_DENY;
}

static void take_answer(struct gate_flow *f, const char *name, const struct gate_resolve_result *r, bool *ret_same)
{
	const struct gate_sandbox *s = f->sandbox;
	const uint64_t expires = f->g->loop.now_ms + (uint64_t)r->ttl * 1000;

	for (size_t i = 0; i < r->answer->addr_n; i++) {
		const struct dw_addr *a = &r->answer->addr[i];
		if (!flow_may_dial(f, a))
			continue;
		if (dw_addr_eq(a, &f->key.dst)) {
			/* Without the pin's new time the name is asked once more; nothing else is lost. */
			DW_IGNORE(dw_pins_add(s->pins, name, a, expires));
			*ret_same = true;
			return;
		}
		if (!f->spare_name) {
			f->spare = *a;
			f->spare_name = name;
		}
	}
}

static void on_resolved(void *arg, const struct gate_resolve_result *r)
{
	struct gate_flow *f = arg;
	const char *name = f->ask[f->ask_i++];
	bool same = false;

	f->resolve = NULL;
	if (r->status == GATE_RESOLVE_OK) {
		f->answered = true;
		if (r->answer)
			take_answer(f, name, r, &same);
	}
	if (same)
		connect_to(f, &f->key.dst, name);
	else
		ask_next(f);
}

static void ask_next(struct gate_flow *f)
{
	const uint16_t qtype = f->key.dst.family == DW_AF_4 ? DW_DNS_A : DW_DNS_AAAA;

	for (; f->ask_i < f->ask_n; f->ask_i++) {
		f->resolve = gate_resolve_start(f->g, f->ask[f->ask_i], qtype, on_resolved, f);
		if (f->resolve)
			return;
	}
	if (f->spare_name)
		connect_to(f, &f->spare, f->spare_name);
	else
		flow_refuse_quietly(f, f->answered ? DW_REASON_NAME_GONE : DW_REASON_RESOLVER_FAILED);
}

/* What the client would have seen without a gate. */
static void dial_failed(struct gate_flow *f, int e)
{
	static const char *const gateway[] = { DW_GATEWAY4_TEXT, DW_GATEWAY6_TEXT };
	const char *from_text = gateway[f->key.dst.family == DW_AF_4 ? 0 : 1];
	uint8_t out[160];
	struct dw_packet syn;
	struct dw_addr from;
	size_t n = 0;

	if (e == EMFILE || e == ENFILE || e == ENOBUFS || e == ENOMEM || e == EAGAIN) {
		flow_refuse_quietly(f, DW_REASON_GATE_RESOURCES);
		return;
	}
	if (e != ETIMEDOUT && dw_packet_parse(f->syn, f->syn_n, &syn) == DW_PARSE_OK &&
	    dw_addr_parse(from_text, strlen(from_text), &from)) {
		if (e == ECONNREFUSED || e == ECONNRESET || e == EPIPE)
			n = dw_packet_rst(&syn, out, sizeof(out));
		else
			n = dw_packet_unreachable(&syn,
						  e == EHOSTUNREACH || e == EHOSTDOWN ? DW_UNREACH_HOST
						  : e == EACCES || e == EPERM         ? DW_UNREACH_PROHIBITED
										      : DW_UNREACH_NET,
						  &from, out, sizeof(out));
	}
	tun_write(f->g, out, n);
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

/*
 * The floor once more: the machine's addresses may have changed since the pin was made, or since the SYN was judged. And
 * an address can be the machine's own by a route alone, which no list of addresses shows.
 */
static enum dw_reason check_target(const struct gate_flow *f, const struct dw_addr *a)
{
	struct dw_floor floor = f->g->floor;
	enum dw_reason below = dw_floor_check(&floor, a);

	if (below != DW_REASON_NONE)
		return below;
	int local = gate_hostaddr_is_local(f->g, a);
	if (local < 0)
		return DW_REASON_GATE_RESOURCES;
	if (!local)
		return DW_REASON_NONE;
	/* As if it were in the list: the operator may have excepted it. */
	floor.host = a;
	floor.host_n = 1;
	return dw_floor_check(&floor, a);
}

static void connect_to(struct gate_flow *f, const struct dw_addr *a, const char *name)
{
	struct sockaddr_storage ss;
	const socklen_t n = dw_addr_to_sockaddr(a, f->key.dport, &ss);

	f->dial = *a;
	f->dial_name = name;
	enum dw_reason why = check_target(f, a);
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
