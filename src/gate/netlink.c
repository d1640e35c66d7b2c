/* SPDX-License-Identifier: Apache-2.0 */
/* The few rtnetlink requests of the gate namespace: link up, policy rules, default routes of the two tables. */
#include "gate/setup.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

int gate_nl_open(struct mnl_socket **ret)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!nl)
		return -errno;
	if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0) {
		int r = -errno;
		mnl_socket_close(nl);
		return r;
	}
	*ret = nl;
	return 0;
}

void gate_nl_close(struct mnl_socket *nl)
{
	mnl_socket_close(nl);
}

static struct nlmsghdr *request(void *buf, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	h->nlmsg_type = type;
	h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
	h->nlmsg_seq = 1;
	return h;
}

/* Sends one request and waits for its acknowledgement. "It is there already" is success. */
static int transact(struct mnl_socket *nl, struct nlmsghdr *h)
{
	char buf[4096];

	if (mnl_socket_sendto(nl, h, h->nlmsg_len) < 0)
		return -errno;
	ssize_t n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
	if (n < 0)
		return -errno;
	if (mnl_cb_run(buf, (size_t)n, h->nlmsg_seq, mnl_socket_get_portid(nl), NULL, NULL) < 0)
		return errno == EEXIST ? 0 : -errno;
	return 0;
}

int gate_nl_link_up(struct mnl_socket *nl, uint32_t ifindex, uint32_t txqueuelen)
{
	char buf[256];
	struct nlmsghdr *h = request(buf, RTM_NEWLINK, 0);
	struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(h, sizeof(*ifi));

	ifi->ifi_family = AF_UNSPEC;
	ifi->ifi_index = (int)ifindex;
	ifi->ifi_flags = IFF_UP;
	ifi->ifi_change = IFF_UP;
	if (txqueuelen)
		mnl_attr_put_u32(h, IFLA_TXQLEN, txqueuelen);
	return transact(nl, h);
}

int gate_nl_rule(struct mnl_socket *nl, int family, uint32_t mark, uint32_t table)
{
	char buf[256];
	struct nlmsghdr *h = request(buf, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL);
	struct fib_rule_hdr *r = mnl_nlmsg_put_extra_header(h, sizeof(*r));

	r->family = (uint8_t)family;
	r->action = FR_ACT_TO_TBL;
	r->table = RT_TABLE_UNSPEC;
	mnl_attr_put_u32(h, FRA_PRIORITY, 1000 + table);
	mnl_attr_put_u32(h, FRA_TABLE, table);
	mnl_attr_put_u32(h, FRA_FWMARK, mark);
	mnl_attr_put_u32(h, FRA_FWMASK, UINT32_MAX);
	return transact(nl, h);
}

int gate_nl_default(struct mnl_socket *nl, int family, uint8_t type, uint32_t table, uint32_t ifindex, uint32_t metric)
{
	char buf[256];
	struct nlmsghdr *h = request(buf, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);
	struct rtmsg *r = mnl_nlmsg_put_extra_header(h, sizeof(*r));

	r->rtm_family = (uint8_t)family;
	r->rtm_table = RT_TABLE_UNSPEC;
	r->rtm_protocol = RTPROT_STATIC;
	r->rtm_type = type;
	r->rtm_scope = type == RTN_LOCAL ? RT_SCOPE_HOST : type == RTN_UNICAST ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	mnl_attr_put_u32(h, RTA_TABLE, table);
	if (ifindex)
		mnl_attr_put_u32(h, RTA_OIF, ifindex);
	mnl_attr_put_u32(h, RTA_PRIORITY, metric);
	return transact(nl, h);
}
