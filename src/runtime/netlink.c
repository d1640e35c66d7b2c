/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/netlink.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include "core/netplan.h"

#define SANDBOX_IFNAME "eth0"
#define LINK_MTU       1500

static const uint8_t mac_gate[6] = { 0x02, 0x64, 0x63, 0, 0, 1 };
static const uint8_t mac_sandbox[6] = { 0x02, 0x64, 0x63, 0, 0, 2 };

/* A message is at most a link with its peer: about 300 bytes. */
struct nl_msg {
	_Alignas(struct nlmsghdr) char buf[1024];
	struct nlmsghdr *h;
};

/* Absent when the host's kernel runs without IPv6; then a sandbox has none either. */
bool dw_net_have_ipv6(void)
{
	return access("/proc/sys/net/ipv6", F_OK) == 0;
}

int dw_nl_open(bool no_ipv6, struct dw_nl *ret)
{
	struct dw_nl nl = {
		.ioctl_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0),
		.v6 = !no_ipv6 && dw_net_have_ipv6(),
	};
	if (nl.ioctl_fd < 0)
		return -errno;
	nl.sock = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!nl.sock || mnl_socket_bind(nl.sock, 0, MNL_SOCKET_AUTOPID) < 0) {
		int e = errno;
		dw_nl_close(&nl);
		return -e;
	}
	*ret = nl;
	return 0;
}

void dw_nl_close(struct dw_nl *nl)
{
	if (nl->sock)
		mnl_socket_close(nl->sock);
	if (nl->ioctl_fd >= 0)
		close(nl->ioctl_fd);
	*nl = (struct dw_nl){ .ioctl_fd = -1 };
}

static int nl_talk(struct dw_nl *nl, struct nl_msg *m)
{
	m->h->nlmsg_seq = ++nl->seq;
	m->h->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	dw_assert(m->h->nlmsg_len <= sizeof(m->buf));
	if (mnl_socket_sendto(nl->sock, m->h, m->h->nlmsg_len) < 0)
		return -errno;
	_Alignas(struct nlmsghdr) char answer[8192];
	ssize_t n = mnl_socket_recvfrom(nl->sock, answer, sizeof(answer));
	if (n < 0)
		return -errno;
	/* The acknowledgement ends the run; an error message makes it fail with errno set. */
	int r = mnl_cb_run(answer, (size_t)n, nl->seq, mnl_socket_get_portid(nl->sock), NULL, NULL);
	return r < 0 ? -errno : 0;
}

static void *msg_begin(struct nl_msg *m, uint16_t type, uint16_t flags, size_t extra_n)
{
	memset(m, 0, sizeof(*m));
	m->h = mnl_nlmsg_put_header(m->buf);
	m->h->nlmsg_type = type;
	m->h->nlmsg_flags = flags;
	return mnl_nlmsg_put_extra_header(m->h, extra_n);
}

static void gate_ifname(uint32_t slot, char ret[static IFNAMSIZ])
{
	snprintf(ret, IFNAMSIZ, "g%" PRIu32, slot);
}

static int ifindex_of(const struct dw_nl *nl, const char *name)
{
	struct ifreq ifr = { 0 };
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	return ioctl(nl->ioctl_fd, SIOCGIFINDEX, &ifr) < 0 ? -errno : ifr.ifr_ifindex;
}

static int sysctl_write(const char *name, const char *value)
{
	char path[128];
	snprintf(path, sizeof(path), "/proc/sys/net/%s", name);
	dw_autoclose int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno; /* a kernel without the knob has not got what it would turn off */
	return write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

static int link_up(struct dw_nl *nl, int ifindex)
{
	struct nl_msg m;
	struct ifinfomsg *i = msg_begin(&m, RTM_NEWLINK, 0, sizeof(*i));
	i->ifi_index = ifindex;
	i->ifi_flags = IFF_UP;
	i->ifi_change = IFF_UP;
	return nl_talk(nl, &m);
}

/* No link-local address of its own, so no duplicate detection and no solicitations. Before the link goes up. */
static int link_no_autoconf(struct dw_nl *nl, int ifindex)
{
	struct nl_msg m;
	struct ifinfomsg *i = msg_begin(&m, RTM_NEWLINK, 0, sizeof(*i));
	i->ifi_index = ifindex;
	struct nlattr *spec = mnl_attr_nest_start(m.h, IFLA_AF_SPEC);
	struct nlattr *inet6 = mnl_attr_nest_start(m.h, AF_INET6);
	mnl_attr_put_u8(m.h, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	mnl_attr_nest_end(m.h, inet6);
	mnl_attr_nest_end(m.h, spec);
	return nl_talk(nl, &m);
}

static int address_add(struct dw_nl *nl, int ifindex, const struct dw_addr *a)
{
	struct nl_msg m;
	struct ifaddrmsg *i = msg_begin(&m, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(*i));
	size_t n = dw_addr_bits(a) / 8;
	i->ifa_family = a->family == DW_AF_4 ? AF_INET : AF_INET6;
	i->ifa_prefixlen = dw_addr_bits(a);
	i->ifa_index = (uint32_t)ifindex;
	i->ifa_flags = a->family == DW_AF_6 ? IFA_F_NODAD : 0;
	mnl_attr_put(m.h, IFA_LOCAL, n, a->b);
	mnl_attr_put(m.h, IFA_ADDRESS, n, a->b);
	return nl_talk(nl, &m);
}

/* dst NULL = default; via NULL = directly on the link. */
static int route_add(struct dw_nl *nl, int ifindex, const struct dw_addr *dst, const struct dw_addr *via)
{
	struct nl_msg m;
	struct rtmsg *r = msg_begin(&m, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof(*r));
	const struct dw_addr *any = dst ? dst : via;
	r->rtm_family = any->family == DW_AF_4 ? AF_INET : AF_INET6;
	r->rtm_table = RT_TABLE_MAIN;
	r->rtm_protocol = RTPROT_STATIC;
	r->rtm_type = RTN_UNICAST;
	r->rtm_scope = via ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
	r->rtm_flags = via ? RTNH_F_ONLINK : 0;
	if (dst) {
		r->rtm_dst_len = dw_addr_bits(dst);
		mnl_attr_put(m.h, RTA_DST, dw_addr_bits(dst) / 8, dst->b);
	}
	if (via)
		mnl_attr_put(m.h, RTA_GATEWAY, dw_addr_bits(via) / 8, via->b);
	mnl_attr_put_u32(m.h, RTA_OIF, (uint32_t)ifindex);
	return nl_talk(nl, &m);
}

/* Permanent, so that neither ARP nor neighbour discovery has to pass the gate's rules. */
static int neighbour_add(struct dw_nl *nl, int ifindex, const struct dw_addr *a, const uint8_t mac[static 6])
{
	struct nl_msg m;
	struct ndmsg *d = msg_begin(&m, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*d));
	d->ndm_family = a->family == DW_AF_4 ? AF_INET : AF_INET6;
	d->ndm_ifindex = ifindex;
	d->ndm_state = NUD_PERMANENT;
	mnl_attr_put(m.h, NDA_DST, dw_addr_bits(a) / 8, a->b);
	mnl_attr_put(m.h, NDA_LLADDR, 6, mac);
	return nl_talk(nl, &m);
}

int dw_net_gate_init(struct dw_nl *nl)
{
	int r = link_up(nl, 1); /* loopback is always the first link of a namespace */
	if (r == 0)
		r = sysctl_write("ipv6/conf/default/accept_ra", "0");
	if (r == 0)
		r = sysctl_write("ipv6/conf/default/autoconf", "0");
	return r;
}

/* One queue instead of one per CPU, a fixed address, our MTU: the same for both ends. */
static void put_end(struct nlmsghdr *h, const char *name, const uint8_t mac[static 6])
{
	mnl_attr_put_strz(h, IFLA_IFNAME, name);
	mnl_attr_put_u32(h, IFLA_MTU, LINK_MTU);
	mnl_attr_put(h, IFLA_ADDRESS, 6, mac);
	mnl_attr_put_u32(h, IFLA_NUM_TX_QUEUES, 1);
	mnl_attr_put_u32(h, IFLA_NUM_RX_QUEUES, 1);
}

int dw_net_link_make(struct dw_nl *nl, uint32_t slot, int sandbox_netns_fd)
{
	struct nl_msg m;
	char name[IFNAMSIZ];
	gate_ifname(slot, name);
	msg_begin(&m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	put_end(m.h, name, mac_gate);
	struct nlattr *info = mnl_attr_nest_start(m.h, IFLA_LINKINFO);
	mnl_attr_put_strz(m.h, IFLA_INFO_KIND, "veth");
	struct nlattr *data = mnl_attr_nest_start(m.h, IFLA_INFO_DATA);
	/* The peer is made in its namespace at once: moving it there afterwards waits 16 ms for the kernel. */
	struct nlattr *peer = mnl_attr_nest_start(m.h, VETH_INFO_PEER);
	mnl_nlmsg_put_extra_header(m.h, sizeof(struct ifinfomsg));
	put_end(m.h, SANDBOX_IFNAME, mac_sandbox);
	mnl_attr_put_u32(m.h, IFLA_NET_NS_FD, (uint32_t)sandbox_netns_fd);
	mnl_attr_nest_end(m.h, peer);
	mnl_attr_nest_end(m.h, data);
	mnl_attr_nest_end(m.h, info);
	return nl_talk(nl, &m);
}

int dw_net_link_gate(struct dw_nl *nl, uint32_t slot)
{
	char name[IFNAMSIZ];
	gate_ifname(slot, name);
	int ifindex = ifindex_of(nl, name);
	if (ifindex < 0)
		return ifindex;
	const struct dw_addr addrs[] = { dw_slot_addr4(slot), dw_slot_addr6(slot) };
	int r = dw_net_have_ipv6() ? link_no_autoconf(nl, ifindex) : 0;
	if (r == 0)
		r = link_up(nl, ifindex);
	for (size_t i = 0; r == 0 && i < DW_COUNT(addrs); i++) {
		if (addrs[i].family == DW_AF_6 && !nl->v6)
			continue;
		r = route_add(nl, ifindex, &addrs[i], NULL);
		if (r == 0)
			r = neighbour_add(nl, ifindex, &addrs[i], mac_sandbox);
	}
	return r;
}

bool dw_net_link_exists(const struct dw_nl *nl, uint32_t slot)
{
	char name[IFNAMSIZ];
	gate_ifname(slot, name);
	return ifindex_of(nl, name) != -ENODEV;
}

int dw_net_sandbox_addresses(struct dw_nl *nl, uint32_t slot)
{
	/* eth0 exists already, so both the defaults and its own knobs are written. ping_group_range is "none" by default. */
	static const char *const knobs[][2] = {
		{ "ipv6/conf/all/accept_ra", "0" },
		{ "ipv6/conf/all/router_solicitations", "0" },
		{ "ipv6/conf/" SANDBOX_IFNAME "/accept_ra", "0" },
		{ "ipv6/conf/" SANDBOX_IFNAME "/autoconf", "0" },
		{ "ipv6/conf/" SANDBOX_IFNAME "/router_solicitations", "0" },
		{ "ipv6/conf/" SANDBOX_IFNAME "/accept_redirects", "0" },
		{ "ipv4/ip_unprivileged_port_start", "0" },
	};
	static const char *const off[] = { "ipv6/conf/all/disable_ipv6", "ipv6/conf/default/disable_ipv6" };
	int r = 0;
	for (size_t i = 0; r == 0 && i < DW_COUNT(knobs); i++)
		r = sysctl_write(knobs[i][0], knobs[i][1]);
	/* Not even loopback has it then: what a program finds is a machine without IPv6, and it does not try it. */
	for (size_t i = 0; r == 0 && !nl->v6 && i < DW_COUNT(off); i++)
		r = sysctl_write(off[i], "1");
	int ifindex = ifindex_of(nl, SANDBOX_IFNAME);
	if (r < 0 || ifindex < 0)
		return r < 0 ? r : ifindex;
	const struct dw_addr a4 = dw_slot_addr4(slot), a6 = dw_slot_addr6(slot);
	r = link_up(nl, 1);
	if (r == 0 && nl->v6)
		r = link_no_autoconf(nl, ifindex);
	if (r == 0)
		r = dw_net_no_udp_segments(nl, SANDBOX_IFNAME);
	if (r == 0)
		r = link_up(nl, ifindex);
	if (r == 0)
		r = address_add(nl, ifindex, &a4);
	if (r == 0 && nl->v6)
		r = address_add(nl, ifindex, &a6);
	return r;
}

/* IF_OPER_UP (RFC 2863) of <linux/if.h>, which does not go together with <net/if.h>. */
#define OPERSTATE_UP 6

static int operstate_attr(const struct nlattr *a, void *arg)
{
	uint8_t *state = arg;

	if (mnl_attr_get_type(a) == IFLA_OPERSTATE && mnl_attr_validate(a, MNL_TYPE_U8) >= 0)
		*state = mnl_attr_get_u8(a);
	return MNL_CB_OK;
}

static int operstate_msg(const struct nlmsghdr *h, void *arg)
{
	return mnl_attr_parse(h, sizeof(struct ifinfomsg), operstate_attr, arg);
}

static uint8_t operstate(struct dw_nl *nl, int ifindex)
{
	uint8_t state = 0;
	struct nl_msg m;
	struct ifinfomsg *i = msg_begin(&m, RTM_GETLINK, 0, sizeof(*i));

	i->ifi_index = ifindex;
	m.h->nlmsg_seq = ++nl->seq;
	m.h->nlmsg_flags |= NLM_F_REQUEST;
	_Alignas(struct nlmsghdr) char answer[8192];
	if (mnl_socket_sendto(nl->sock, m.h, m.h->nlmsg_len) < 0)
		return state;
	ssize_t n = mnl_socket_recvfrom(nl->sock, answer, sizeof(answer));
	if (n > 0)
		DW_IGNORE(
			mnl_cb_run(answer, (size_t)n, nl->seq, mnl_socket_get_portid(nl->sock), operstate_msg, &state));
	return state;
}

void dw_net_sandbox_settle(struct dw_nl *nl)
{
	const struct timespec moment = { .tv_nsec = 500000 };
	const int ifindex = ifindex_of(nl, SANDBOX_IFNAME);

	/* One round of that work takes in both ends, so this end's word is enough. */
	for (int i = 0; ifindex > 0 && i < 1000 && operstate(nl, ifindex) != OPERSTATE_UP; i++)
		nanosleep(&moment, NULL);
}

int dw_net_sandbox_routes(struct dw_nl *nl)
{
	struct dw_addr gw4, gw6;
	int ifindex = ifindex_of(nl, SANDBOX_IFNAME);
	if (ifindex < 0)
		return ifindex;
	if (!dw_addr_parse(DW_GATEWAY4_TEXT, strlen(DW_GATEWAY4_TEXT), &gw4) ||
	    !dw_addr_parse(DW_LINK_GATEWAY6_TEXT, strlen(DW_LINK_GATEWAY6_TEXT), &gw6))
		return -EINVAL;
	int r = neighbour_add(nl, ifindex, &gw4, mac_gate);
	if (r == 0)
		r = route_add(nl, ifindex, NULL, &gw4);
	if (r < 0 || !nl->v6)
		return r;
	r = neighbour_add(nl, ifindex, &gw6, mac_gate);
	return r < 0 ? r : route_add(nl, ifindex, NULL, &gw6);
}
