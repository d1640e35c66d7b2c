/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program may hand the kernel up to 128 datagrams in one (UDP_SEGMENT), and a veth takes them so: they would stay one packet
 * until the gate's TUN, which takes them one by one. The gate namespace counts packets, so a sandbox within its rate could fill
 * that TUN's queue for all. With the feature off at its end of the link the kernel cuts them up there, at the sender's expense.
 */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "runtime/netlink.h"

#define UDP_SEGMENTS "tx-udp-segmentation"
#define FEATURES_MAX 256u /* there are some 64 */

static int ask(int fd, const char *ifname, void *data)
{
	struct ifreq ifr = { .ifr_data = data };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	return ioctl(fd, SIOCETHTOOL, &ifr) < 0 ? -errno : 0;
}

/* How many features the kernel knows. */
static int count(int fd, const char *ifname, uint32_t *ret)
{
	union {
		struct ethtool_sset_info head;
		uint8_t room[sizeof(struct ethtool_sset_info) + sizeof(uint32_t)];
	} info = { .head = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = UINT64_C(1) << ETH_SS_FEATURES } };
	const int r = ask(fd, ifname, &info);

	*ret = info.head.sset_mask ? info.head.data[0] : 0;
	return r < 0 ? r : *ret > FEATURES_MAX ? -E2BIG : 0;
}

/* The feature's number. -ENOENT: this kernel has none of the name. */
static int find(int fd, const char *ifname, const char *feature, uint32_t n)
{
	union {
		struct ethtool_gstrings head;
		uint8_t room[sizeof(struct ethtool_gstrings) + FEATURES_MAX * ETH_GSTRING_LEN];
	} list = { .head = { .cmd = ETHTOOL_GSTRINGS, .string_set = ETH_SS_FEATURES, .len = n } };
	const int r = ask(fd, ifname, &list);

	for (uint32_t i = 0; r == 0 && i < n && i < list.head.len; i++) {
		const char *name = (const char *)list.head.data + (size_t)i * ETH_GSTRING_LEN;
		if (strncmp(name, feature, ETH_GSTRING_LEN) == 0)
			return (int)i;
	}
	return r < 0 ? r : -ENOENT;
}

int dw_net_no_udp_segments(const struct dw_nl *nl, const char *ifname)
{
	union {
		struct ethtool_sfeatures head;
		uint8_t room[sizeof(struct ethtool_sfeatures) +
			     FEATURES_MAX / 32 * sizeof(struct ethtool_set_features_block)];
	} set = { .head = { .cmd = ETHTOOL_SFEATURES } };
	uint32_t n;
	int r = count(nl->ioctl_fd, ifname, &n);

	if (r == 0)
		r = find(nl->ioctl_fd, ifname, UDP_SEGMENTS, n);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	set.head.size = (n + 31) / 32;
	set.head.features[r / 32].valid = UINT32_C(1) << r % 32;
	return ask(nl->ioctl_fd, ifname, &set);
}
