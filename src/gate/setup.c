/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the gate namespace ready and collects its descriptors. Runs with privileges, once, before anything hostile is
 * read. Everything here can be repeated in a namespace that an earlier gate has set up, while sandboxes' links exist and
 * packets arrive: until the end of it those packets meet the old ruleset and a blackhole route, or the new ruleset and a
 * TUN that nobody reads yet, so nothing leaves in between.
 *
 * The gate side has no address at all, not even the gateway's: sandboxes reach it by permanent neighbour entries,
 * answers carry the address that the client asked, and a connection to the gateway's own address is then judged (and
 * refused, and recorded) like any other instead of vanishing in the kernel.
 */
#include "gate/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gate/gate.h"

#define TABLE_TUN      101u
#define TABLE_LOCAL    102u
#define TABLE_TUN_UDP  103u
#define TUN_QUEUE      4096u /* packets that may wait while the loop is busy: about 40 ms of the fastest flood seen */
#define FLOW_BACKLOG   4096
#define DNS_BACKLOG    512
#define DNS_RCVBUF     (1 << 20)
#define METRIC_TUN     1u
#define METRIC_NOWHERE 1000u

struct sysctl {
	const char *path; /* below /proc/sys/net, which shows the namespace of the process that looks */
	const char *value;
	bool optional; /* not in every kernel */
};

static const struct sysctl sysctls4[] = {
	{ "ipv4/conf/all/rp_filter", "0" }, /* the ruleset's fib rule does this for both families */
	{ "ipv4/conf/default/rp_filter", "0" },
	{ "ipv4/conf/all/accept_source_route", "0" },
	{ "ipv4/conf/default/accept_source_route", "0" },
	{ "ipv4/conf/all/accept_redirects", "0" },
	{ "ipv4/conf/default/accept_redirects", "0" },
	{ "ipv4/conf/all/send_redirects", "0" },
	{ "ipv4/conf/default/send_redirects", "0" },
	{ "ipv4/conf/all/arp_ignore", "8" }, /* neighbours are permanent: never answer */
	{ "ipv4/icmp_echo_ignore_all", "1", true },
	/* With cookies a bare ACK could open a connection whose SYN the gate never saw. */
	{ "ipv4/tcp_syncookies", "0", true },
	{ "ipv4/tcp_max_syn_backlog", "4096", true },
	{ "ipv4/tcp_fastopen", "0", true },
	/*
	 * Early demultiplexing would find the accepted socket of an old connection for a new SYN with the same ports, and
	 * its cached route, before policy routing sees the mark that leads into the TUN. (Both families read this one.)
	 */
	{ "ipv4/ip_early_demux", "0" },
	{ "core/somaxconn", "4096", true },
	{ "ipv4/ip_forward", "1" }, /* from the links into the TUN and back, nowhere else (chain forward) */
};

static const struct sysctl sysctls6[] = {
	{ "ipv6/conf/all/disable_ipv6", "0" },
	{ "ipv6/conf/default/disable_ipv6", "0" },
	{ "ipv6/conf/all/accept_ra", "0" },
	{ "ipv6/conf/default/accept_ra", "0" },
	{ "ipv6/conf/all/autoconf", "0" },
	{ "ipv6/conf/default/autoconf", "0" },
	{ "ipv6/conf/all/accept_redirects", "0" },
	{ "ipv6/conf/default/accept_redirects", "0" },
	{ "ipv6/conf/default/addr_gen_mode", "1", true }, /* no link-local addresses on the gate side */
	{ "ipv6/conf/default/dad_transmits", "0", true },
	{ "ipv6/icmp/echo_ignore_all", "1", true },
	{ "ipv6/conf/all/forwarding", "1" },
};

static int write_sysctls(const struct sysctl *list, size_t n, struct dw_err *err)
{
	for (size_t i = 0; i < n; i++) {
		char path[128];
		snprintf(path, sizeof(path), "/proc/sys/net/%s", list[i].path);
		dw_autoclose int fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT && list[i].optional)
			continue;
		if (fd < 0 || write(fd, list[i].value, strlen(list[i].value)) < 0)
			return dw_err_errno(err, errno, "setting %s of the gate namespace", list[i].path);
	}
	return 0;
}

static int open_tun(const char *name, int *ret, struct dw_err *err)
{
	dw_autoclose int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return dw_err_errno(err, errno, "opening /dev/net/tun");
	struct ifreq ifr = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		return dw_err_errno(err, errno, "making the device %s", name);
	*ret = DW_TAKE_FD(fd);
	return 0;
}

/* A TUN's table: into the device, and nowhere when it is gone. */
static int route_tun(struct mnl_socket *nl, int family, uint32_t tun, uint32_t mark, uint32_t table)
{
	int r = gate_nl_default(nl, family, RTN_BLACKHOLE, table, 0, METRIC_NOWHERE);
	if (r == 0)
		r = gate_nl_default(nl, family, RTN_UNICAST, table, tun, METRIC_TUN);
	if (r == 0)
		r = gate_nl_rule(nl, family, mark, table);
	return r;
}

struct links {
	uint32_t tun, tun_udp, lo; /* interface indices */
};

static int route_family(struct mnl_socket *nl, int family, const struct links *l, struct dw_err *err)
{
	int r = route_tun(nl, family, l->tun, GATE_MARK_TUN, TABLE_TUN);
	if (r == 0)
		r = route_tun(nl, family, l->tun_udp, GATE_MARK_TUN_UDP, TABLE_TUN_UDP);
	if (r == 0)
		r = gate_nl_default(nl, family, RTN_LOCAL, TABLE_LOCAL, l->lo, METRIC_TUN);
	if (r == 0)
		r = gate_nl_rule(nl, family, GATE_MARK_LOCAL, TABLE_LOCAL);
	if (r < 0)
		return dw_err_errno(err, -r, "adding the routes of the gate namespace");
	return 0;
}

static int set_routes(bool have6, struct dw_err *err)
{
	struct mnl_socket *nl DW_AUTO(gate_nl_close) = NULL;
	const struct links l = {
		.tun = if_nametoindex(GATE_TUN_NAME),
		.tun_udp = if_nametoindex(GATE_TUN_UDP_NAME),
		.lo = if_nametoindex("lo"),
	};

	int r = l.tun && l.tun_udp && l.lo ? gate_nl_open(&nl) : -ENODEV;
	if (r == 0)
		r = gate_nl_link_up(nl, l.lo, 0);
	if (r == 0)
		r = gate_nl_link_up(nl, l.tun, TUN_QUEUE);
	if (r == 0)
		r = gate_nl_link_up(nl, l.tun_udp, TUN_QUEUE);
	if (r < 0)
		return dw_err_errno(err, -r, "bringing up the links of the gate namespace");
	if (route_family(nl, AF_INET, &l, err) < 0)
		return -1;
	return have6 ? route_family(nl, AF_INET6, &l, err) : 0;
}

static int on(int fd, int level, int option)
{
	const int one = 1;

	return setsockopt(fd, level, option, &one, sizeof(one));
}

/* A transparent socket on every address. backlog 0: UDP, which also reports the address a datagram was sent to. */
static int open_socket(int family, uint16_t port, int backlog, int *ret)
{
	dw_autoclose int fd = socket(family, (backlog ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_storage ss = { .ss_family = (sa_family_t)family };
	socklen_t n = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	const bool v4 = family == AF_INET;
	const int rcvbuf = DNS_RCVBUF;

	if (v4)
		((struct sockaddr_in *)&ss)->sin_port = htons(port);
	else
		((struct sockaddr_in6 *)&ss)->sin6_port = htons(port);
	if (fd < 0 || on(fd, SOL_SOCKET, SO_REUSEADDR) < 0 ||
	    on(fd, v4 ? SOL_IP : SOL_IPV6, v4 ? IP_TRANSPARENT : IPV6_TRANSPARENT) < 0)
		return -errno;
	if (!v4 && on(fd, SOL_IPV6, IPV6_V6ONLY) < 0)
		return -errno;
	if (!backlog && on(fd, v4 ? SOL_IP : SOL_IPV6, v4 ? IP_RECVORIGDSTADDR : IPV6_RECVORIGDSTADDR) < 0)
		return -errno;
	if (!backlog)
		/* A smaller buffer loses queries under load, nothing else. */
		DW_IGNORE(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &rcvbuf, sizeof(rcvbuf)));
	if (bind(fd, (struct sockaddr *)&ss, n) < 0)
		return -errno;
	if (backlog && listen(fd, backlog) < 0)
		return -errno;
	*ret = DW_TAKE_FD(fd);
	return 0;
}

static int open_sockets(bool have6, struct gate_fds *f, struct dw_err *err)
{
	int r = open_socket(AF_INET, 0, FLOW_BACKLOG, &f->listen4);
	if (r == 0)
		r = open_socket(AF_INET, 53, 0, &f->dns_udp4);
	if (r == 0)
		r = open_socket(AF_INET, 53, DNS_BACKLOG, &f->dns_tcp4);
	if (r == 0 && have6)
		r = open_socket(AF_INET6, 0, FLOW_BACKLOG, &f->listen6);
	if (r == 0 && have6)
		r = open_socket(AF_INET6, 53, 0, &f->dns_udp6);
	if (r == 0 && have6)
		r = open_socket(AF_INET6, 53, DNS_BACKLOG, &f->dns_tcp6);
	return r < 0 ? dw_err_errno(err, -r, "opening the transparent sockets") : 0;
}

static uint16_t local_port(int fd)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t n = sizeof(ss);
	uint16_t port = 0;

	if (fd >= 0 && getsockname(fd, (struct sockaddr *)&ss, &n) == 0)
		(void)dw_addr_from_sockaddr(&ss, &port);
	return port;
}

static int set_up_namespace(struct gate_fds *f, struct dw_err *err)
{
	const bool have6 = access("/proc/sys/net/ipv6/conf", F_OK) == 0;

	if (write_sysctls(sysctls4, DW_COUNT(sysctls4), err) < 0)
		return -1;
	if (have6 && write_sysctls(sysctls6, DW_COUNT(sysctls6), err) < 0)
		return -1;
	if (open_sockets(have6, f, err) < 0 || open_tun(GATE_TUN_NAME, &f->tun, err) < 0 ||
	    open_tun(GATE_TUN_UDP_NAME, &f->tun_udp, err) < 0)
		return -1;
	/* The rules before the routes: no route leads into the new TUN until the rules that guard it stand. */
	if (gate_nft_apply(local_port(f->listen4), local_port(f->listen6), err) < 0)
		return -1;
	return set_routes(have6, err);
}

static void close_fds(const struct gate_fds *f)
{
	const int all[] = { f->tun,      f->tun_udp,  f->listen4,  f->listen6,
			    f->dns_udp4, f->dns_udp6, f->dns_tcp4, f->dns_tcp6 };

	for (size_t i = 0; i < DW_COUNT(all); i++)
		if (all[i] >= 0)
			close(all[i]);
}

int gate_setup(const struct gate_config *config, struct gate_fds *ret, struct dw_err *err)
{
	struct gate_fds f = {
		.tun = -1,
		.tun_udp = -1,
		.listen4 = -1,
		.listen6 = -1,
		.dns_udp4 = -1,
		.dns_udp6 = -1,
		.dns_tcp4 = -1,
		.dns_tcp6 = -1,
	};

	if (setns(config->gate_netns_fd, CLONE_NEWNET) < 0)
		return dw_err_errno(err, errno, "entering the gate namespace");
	int r = set_up_namespace(&f, err);
	if (setns(config->uplink_netns_fd, CLONE_NEWNET) < 0 && r == 0)
		r = dw_err_errno(err, errno, "entering the uplink namespace");
	if (r < 0) {
		close_fds(&f);
		return -1;
	}
	*ret = f;
	return 0;
}
