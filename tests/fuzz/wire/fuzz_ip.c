/* SPDX-License-Identifier: Apache-2.0 */
/* Packets, with and without the IPv4 checksum put right; every refusal built for one must itself be a right packet. */
#include "fuzz_wire.h"
#include "wire/ip.h"
#include "wire/ip_internal.h"

static void check_refusals(const struct dw_packet *p)
{
	uint8_t out[128];
	struct dw_packet back;
	size_t n = dw_packet_rst(p, out, 60);
	if (n) {
		MUST(dw_packet_parse(out, n, &back) == DW_PARSE_OK);
		MUST(back.flags & DW_TCP_RST && back.dport == p->sport && dw_addr_eq(&back.dst, &p->src));
	}
	for (unsigned why = DW_UNREACH_NET; why <= DW_UNREACH_PROHIBITED; why++) {
		n = dw_packet_unreachable(p, (enum dw_unreachable)why, &p->dst, out, sizeof(out));
		MUST(n && dw_packet_parse(out, n, &back) == DW_PARSE_OK);
		MUST(dw_addr_eq(&back.dst, &p->src) && back.payload.n >= 8);
	}
}

static void check(const uint8_t *data, size_t size)
{
	struct dw_packet p;
	enum dw_parse status = dw_packet_parse(data, size, &p);
	MUST(status == DW_PARSE_OK || status == DW_PARSE_BAD);
	if (status != DW_PARSE_OK)
		return;
	MUST(p.src.family == p.dst.family && p.src.family != DW_AF_NONE);
	MUST(span_within(p.payload, data, size) && span_within(p.header, data, size));
	MUST(p.header.n >= 20);
	check_refusals(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t fixed[65536];
	check(data, size);
	if (size < 20 || size > sizeof(fixed) || data[0] >> 4 != 4)
		return 0;
	size_t header = DW_MIN((size_t)(data[0] & 0x0f) * 4, size);
	memcpy(fixed, data, size);
	fixed[10] = fixed[11] = 0;
	uint16_t sum = ip_checksum(fixed, header, 0);
	fixed[10] = (uint8_t)(sum >> 8);
	fixed[11] = (uint8_t)sum;
	check(fixed, size);
	return 0;
}
