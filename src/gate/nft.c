/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The static ruleset of the gate namespace, the same for one sandbox and for ten thousand.
 *
 * What may come in from a sandbox's link (g<slot>), in this order, because the order is what makes it safe:
 *   1. fragments and IPv6 extension headers: dropped before the kernel would put them together (defragmentation comes
 *      with tproxy at priority -400, so this chain stands before it);
 *   2. a source address that is not routed back to the interface it came from: dropped. From here on the source is the
 *      sandbox's identity, port 53 included. 0.0.0.0/8 has its own rule: the fib expression lets 0.0.0.0 to broadcast pass;
 *   3. port 53 to any address: the gate's own DNS;
 *   4. a pure SYN: into the TUN. This stands before the `socket` rules, which would also match a SYN to the
 *      listeners' own port;
 *   5. TCP that belongs to a listener itself (a stray ACK to the listeners' port): dropped. TCP of an accepted
 *      transparent socket: delivered. Other TCP: dropped;
 *   6. other UDP: into the TUN of its own;
 *   7. a few ICMP echo requests and packets of other protocols: into the first TUN, where they are refused and recorded.
 *      The rest is dropped.
 * What the gate wrote to the TUNs: pure SYNs go to the listeners; a RST, an ICMP error or the datagram of a UDP flow comes
 * through here too and is forwarded to its sandbox. Datagrams for IPv6 that are longer than the links' MTU come as
 * fragments (nobody on the way may make them in IPv6), so the rule on extension headers is for the links alone. Nothing is
 * ever forwarded between sandboxes, and with a TUN gone nothing at all: the marks then lead to a blackhole route. No rule
 * looks at connection tracking, so none is loaded.
 *
 * The limits, each per source address, keep one flooding sandbox from filling a TUN's queue, or that of the DNS socket, for all; a dropped SYN is sent
 * again by its client, and no honest one sends 100,000 datagrams in a second (1.2 Gbit/s of full ones).
 */
#include "gate/setup.h"

#include <errno.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/defence.h"
#include "gate/gate.h"

#define TUNS "{ \"" GATE_TUN_NAME "\", \"" GATE_TUN_UDP_NAME "\" }"

static const char ruleset[] =
	"add table inet declaw\n"
	"delete table inet declaw\n"
	"table inet declaw {\n"
	" set syn4 { type ipv4_addr; flags dynamic,timeout; timeout 10s; size 65536; }\n"
	" set syn6 { type ipv6_addr; flags dynamic,timeout; timeout 10s; size 65536; }\n"
	" set udp4 { type ipv4_addr; flags dynamic,timeout; timeout 10s; size 65536; }\n"
	" set udp6 { type ipv6_addr; flags dynamic,timeout; timeout 10s; size 65536; }\n"
	" set dns4 { type ipv4_addr; flags dynamic,timeout; timeout 10s; size 65536; }\n"
	" set dns6 { type ipv6_addr; flags dynamic,timeout; timeout 10s; size 65536; }\n"
	" chain early {\n"
	"  type filter hook prerouting priority -450; policy accept;\n"
	"  ip frag-off & 0x3fff != 0 counter drop\n"
	"  iifname != \"" GATE_TUN_UDP_NAME "\" meta nfproto ipv6 ip6 nexthdr != { 6, 17, 58 } counter drop\n"
	" }\n"
	" chain ingress {\n"
	"  type filter hook prerouting priority mangle; policy drop;\n"
	"  iifname \"" GATE_TUN_NAME "\" goto written\n"
	"  iifname \"" GATE_TUN_UDP_NAME "\" meta l4proto { icmp, icmpv6, udp } accept\n"
	"  iifname \"" GATE_TUN_UDP_NAME "\" drop\n"
	"  iifname \"g*\" goto sandbox\n"
	" }\n"
	" chain written {\n"
	"  tcp flags & (fin | syn | rst | ack) == syn goto admit\n"
	"  accept\n"
	" }\n"
	" chain admit {\n"
	"  meta nfproto ipv4 meta l4proto tcp tproxy ip to :%1$u meta mark set %3$u accept\n"
	"  %4$s meta nfproto ipv6 meta l4proto tcp tproxy ip6 to :%2$u meta mark set %3$u accept\n"
	"  drop\n"
	" }\n"
	" chain sandbox {\n"
	"  %7$s ip saddr 0.0.0.0/8 counter drop\n"
	"  %7$s fib saddr . iif oif missing counter drop\n"
	"  udp dport 53 goto query\n"
	"  tcp dport 53 tproxy to :53 meta mark set %3$u accept\n"
	"  meta l4proto { tcp, udp } th dport 53 counter drop\n"
	"  tcp flags & (fin | syn | rst | ack) == syn goto syn\n"
	"  meta l4proto tcp socket transparent 1 socket wildcard 1 counter drop\n"
	"  meta l4proto tcp socket transparent 1 meta mark set %3$u accept\n"
	"  meta l4proto tcp counter drop\n"
	"  meta l4proto udp goto datagram\n"
	"  icmp type != echo-request counter drop\n"
	"  icmpv6 type != echo-request counter drop\n"
	"  limit rate over 50/second burst 50 packets counter drop\n"
	"  meta mark set %5$u accept\n"
	" }\n"
	" chain query {\n"
	"  update @dns4 { ip saddr limit rate over 50000/second burst 5000 packets } counter drop\n"
	"  update @dns6 { ip6 saddr limit rate over 50000/second burst 5000 packets } counter drop\n"
	"  meta l4proto udp tproxy to :53 meta mark set %3$u accept\n"
	"  drop\n"
	" }\n"
	" chain syn {\n"
	"  update @syn4 { ip saddr limit rate over 20000/second burst 2000 packets } counter drop\n"
	"  update @syn6 { ip6 saddr limit rate over 20000/second burst 2000 packets } counter drop\n"
	"  meta mark set %5$u accept\n"
	" }\n"
	" chain datagram {\n"
	"  update @udp4 { ip saddr limit rate over 100000/second burst 10000 packets } counter drop\n"
	"  update @udp6 { ip6 saddr limit rate over 100000/second burst 10000 packets } counter drop\n"
	"  meta mark set %6$u accept\n"
	" }\n"
	" chain input {\n"
	"  type filter hook input priority 0; policy drop;\n"
	"  meta mark %3$u accept\n"
	" }\n"
	" chain forward {\n"
	"  type filter hook forward priority 0; policy drop;\n"
	"  iifname " TUNS " oifname " TUNS " drop\n"
	"  iifname " TUNS " oifname \"g*\" accept\n"
	"  oifname " TUNS " accept\n"
	" }\n"
	" chain output {\n"
	"  type filter hook output priority 0; policy drop;\n"
	"  oifname " TUNS " drop\n"
	"  oifname \"g*\" meta l4proto tcp accept\n"
	"  oifname \"g*\" udp sport 53 accept\n"
	" }\n"
	"}\n";

int gate_nft_apply(uint16_t port4, uint16_t port6, struct dw_err *err)
{
	dw_autofree char *text = NULL;

	if (asprintf(&text, ruleset, port4, port6, GATE_MARK_LOCAL, port6 ? "" : "#", GATE_MARK_TUN, GATE_MARK_TUN_UDP,
		     dw_defended(DW_DEFENCE_ANTISPOOF) ? "" : "#") < 0) {
		text = NULL;
		return dw_err_errno(err, ENOMEM, "building the nftables ruleset");
	}
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!nft)
		return dw_err_errno(err, ENOMEM, "opening nftables");
	nft_ctx_buffer_error(nft);
	int r = 0;
	if (nft_run_cmd_from_buffer(nft, text) != 0) {
		const char *why = nft_ctx_get_error_buffer(nft);
		r = dw_err_set(err, DW_ERR_INTERNAL, "internal", "loading the nftables ruleset: %.200s",
			       why && *why ? why : "unknown error");
	}
	nft_ctx_free(nft);
	return r;
}
