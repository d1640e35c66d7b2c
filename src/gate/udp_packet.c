/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datagrams that are longer than the links' MTU. Of IPv4 the kernel cuts them when they are forwarded to the link. Of IPv6
 * only the sender may (RFC 8200 section 4.5), and that is us; in the gate namespace the kernel puts the fragments
 * together for the ruleset and cuts them again as they were.
 */
#include <netinet/in.h>
#include <string.h>

#include "gate/udp.h"

#define IP6_HEADER      40u
#define FRAGMENT_HEADER 8u
#define FRAGMENT_DATA   ((UDP_LINK_MTU - IP6_HEADER - FRAGMENT_HEADER) / 8 * 8)

static void set_u16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint32_t get_u16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

/* The id and what it changes in the header's checksum (RFC 1624, equation 3). */
static void set_id4(uint8_t *packet, uint32_t id)
{
	uint32_t sum = (~get_u16(packet + 10) & 0xffff) + (~get_u16(packet + 4) & 0xffff) + (id & 0xffff);

	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	set_u16(packet + 4, id);
	set_u16(packet + 10, ~sum);
}

static void fragments6(const uint8_t *packet, size_t n, uint32_t id, void (*put)(void *, const void *, size_t),
		       void *arg)
{
	const size_t whole = n - IP6_HEADER;
	uint8_t out[UDP_LINK_MTU];

	for (size_t at = 0; at < whole; at += FRAGMENT_DATA) {
		const size_t part = DW_MIN(whole - at, FRAGMENT_DATA);
		const bool more = at + part < whole;
		uint8_t *h = out + IP6_HEADER;

		memcpy(out, packet, IP6_HEADER);
		set_u16(out + 4, (uint32_t)(FRAGMENT_HEADER + part));
		out[6] = IPPROTO_FRAGMENT;
		h[0] = packet[6];
		h[1] = 0;
		set_u16(h + 2, (uint32_t)at | (more ? 1 : 0));
		set_u16(h + 4, id >> 16);
		set_u16(h + 6, id);
		memcpy(h + FRAGMENT_HEADER, packet + IP6_HEADER + at, part);
		put(arg, out, IP6_HEADER + FRAGMENT_HEADER + part);
	}
}

void udp_packet_out(uint8_t *packet, size_t n, uint32_t id, void (*put)(void *arg, const void *p, size_t n), void *arg)
{
	if (n <= UDP_LINK_MTU) {
		if (n)
			put(arg, packet, n);
	} else if (packet[0] >> 4 == 4) {
		set_id4(packet, id);
		put(arg, packet, n);
	} else {
		fragments6(packet, n, id, put, arg);
	}
}
