/* SPDX-License-Identifier: Apache-2.0 */
#include "wire_test.h"

#include "core/macros.h"
#include "wire/ip.h"
#include "wire/ip_internal.h"

/* 10.0.0.1 -> 192.0.2.5; "????" of the checksum is filled in by the test unless a row says otherwise. */
#define V4(length, frag, proto) "45 00 " length " 1c46 " frag " 40 " proto " 0000 0a000001 c0000205 "
#define TCP                     "d431 01bb 00000064 00000000 50 02 ffff 0000 0000 " /* 54321 -> 443, seq 100, SYN */
#define TCP_OPT                 "d431 01bb 00000064 00000000 70 02 ffff 0000 0000 020405b4 04020000 "
#define UDP                     "d431 0035 000a 0000 abcd "
#define SRC6                    "fd00 x13:00 01 "
#define DST6                    "20010db8 x11:00 05 "
#define V6(length, next)        "60000000 " length " " next " 40 " SRC6 DST6

static const struct row {
	const char *name, *packet;
	enum dw_parse status;
	uint8_t proto;
	uint16_t sport, dport;
	size_t payload_n, header_n;
	bool checksum_off;
} rows[] = {
	/* clang-format off */
	{ "IPv4 SYN", V4("0028", "4000", "06") TCP, DW_PARSE_OK, 6, 54321, 443, 0, 28 },
	{ "IPv4 SYN with TCP options", V4("0030", "4000", "06") TCP_OPT, DW_PARSE_OK, 6, 54321, 443, 0, 28 },
	{ "IPv4 SYN with data", V4("002b", "4000", "06") TCP "616263", DW_PARSE_OK, 6, 54321, 443, 3, 28 },
	{ "IPv4 with options", "47 00 0030 1c46 4000 40 06 0000 0a000001 c0000205 01010101 01010100 " TCP, DW_PARSE_OK, 6, 54321, 443, 0, 36 },
	{ "IPv4 UDP", V4("001e", "0000", "11") UDP, DW_PARSE_OK, 17, 54321, 53, 2, 28 },
	{ "IPv4 ICMP", V4("001c", "0000", "01") "0800 0000 0001 0001", DW_PARSE_OK, 1, 0, 0, 8, 28 },
	{ "IPv4 without anything", V4("0014", "0000", "fd"), DW_PARSE_OK, 253, 0, 0, 0, 20 },
	{ "IPv4 checksum off", V4("0028", "4000", "06") TCP, DW_PARSE_BAD, .checksum_off = true },
	{ "IPv4 length too small", V4("0027", "4000", "06") TCP, DW_PARSE_BAD },
	{ "IPv4 length too big", V4("0029", "4000", "06") TCP, DW_PARSE_BAD },
	{ "IPv4 bytes behind", V4("0028", "4000", "06") TCP "00", DW_PARSE_BAD },
	{ "IPv4 first fragment", V4("0028", "2000", "06") TCP, DW_PARSE_BAD },
	{ "IPv4 later fragment", V4("0028", "0001", "06") TCP, DW_PARSE_BAD },
	{ "IPv4 header of 16 bytes", "44 00 0028 1c46 4000 40 06 0000 0a000001 c0000205 " TCP, DW_PARSE_BAD },
	{ "IPv4 header longer than the packet", "4f 00 0028 1c46 4000 40 06 0000 0a000001 c0000205 " TCP, DW_PARSE_BAD },
	{ "version 5", "55 00 0028 1c46 4000 40 06 0000 0a000001 c0000205 " TCP, DW_PARSE_BAD },
	{ "no packet", "", DW_PARSE_BAD },
	{ "TCP header of 16 bytes", V4("0028", "4000", "06") "d431 01bb 00000064 00000000 40 02 ffff 0000 0000", DW_PARSE_BAD },
	{ "TCP header longer than the packet", V4("0028", "4000", "06") "d431 01bb 00000064 00000000 60 02 ffff 0000 0000", DW_PARSE_BAD },
	{ "TCP header cut", V4("0027", "4000", "06") "d431 01bb 00000064 00000000 50 02 ffff 0000 00", DW_PARSE_BAD },
	{ "UDP length too small", V4("001e", "0000", "11") "d431 0035 0009 0000 abcd", DW_PARSE_BAD },
	{ "UDP length too big", V4("001e", "0000", "11") "d431 0035 000b 0000 abcd", DW_PARSE_BAD },
	{ "UDP length 0", V4("001e", "0000", "11") "d431 0035 0000 0000 abcd", DW_PARSE_BAD },
	{ "UDP header cut", V4("001b", "0000", "11") "d431 0035 0007 00", DW_PARSE_BAD },
	{ "IPv6 SYN", V6("0014", "06") TCP, DW_PARSE_OK, 6, 54321, 443, 0, 48 },
	{ "IPv6 UDP", V6("000a", "11") UDP, DW_PARSE_OK, 17, 54321, 53, 2, 48 },
	{ "IPv6 ICMP", V6("0008", "3a") "8000 0000 0001 0001", DW_PARSE_OK, 58, 0, 0, 8, 48 },
	{ "IPv6 hop-by-hop", V6("001c", "00") "0600 010400000000 " TCP, DW_PARSE_OK, 6, 54321, 443, 0, 56 },
	{ "IPv6 destination options of 16 bytes", V6("0024", "3c") "0601 010c x12:00 " TCP, DW_PARSE_OK, 6, 54321, 443, 0, 64 },
	{ "IPv6 hop-by-hop, destination, routing without segments", V6("002c", "00") "3c00 010400000000 2b00 010400000000 0600 000000000000 " TCP, DW_PARSE_OK, 6, 54321, 443, 0, 72 },
	{ "IPv6 routing with segments left", V6("002c", "2b") "0602 0001 00000000 20010db8 x11:00 09 " TCP, DW_PARSE_BAD },
	{ "IPv6 hop-by-hop behind another", V6("0024", "3c") "0000 010400000000 0600 010400000000 " TCP, DW_PARSE_BAD },
	{ "IPv6 eight destination options", V6("0054", "3c") "3c00 010400000000 3c00 010400000000 3c00 010400000000 3c00 010400000000 3c00 010400000000 3c00 010400000000 3c00 010400000000 0600 010400000000 " TCP, DW_PARSE_BAD },
	{ "IPv6 fragment header", V6("001c", "2c") "0600 0000 00000001 " TCP, DW_PARSE_BAD },
	{ "IPv6 fragment header behind another", V6("0024", "00") "2c00 010400000000 0600 0000 00000001 " TCP, DW_PARSE_BAD },
	{ "IPv6 extension header longer than the packet", V6("0008", "3c") "0605 010400000000", DW_PARSE_BAD },
	{ "IPv6 extension header cut", V6("0001", "3c") "06", DW_PARSE_BAD },
	{ "IPv6 ESP is some other protocol", V6("0008", "32") "0000000100000001", DW_PARSE_OK, 50, 0, 0, 8, 48 },
	{ "IPv6 no next header", V6("0000", "3b"), DW_PARSE_OK, 59, 0, 0, 0, 40 },
	{ "IPv6 length too small", V6("0013", "06") TCP, DW_PARSE_BAD },
	{ "IPv6 length too big", V6("0015", "06") TCP, DW_PARSE_BAD },
	{ "IPv6 jumbogram", V6("0000", "06") TCP, DW_PARSE_BAD },
	{ "IPv4-mapped destination", "60000000 0014 06 40 " SRC6 "x10:00 ffff c0000205 " TCP, DW_PARSE_BAD },
	{ "IPv4-mapped source", "60000000 0014 06 40 x10:00 ffff c0000205 " DST6 TCP, DW_PARSE_BAD },
	/* clang-format on */
};

static size_t build(const struct row *row, uint8_t *buf, size_t cap)
{
	size_t n = assemble(row->packet, buf, cap);
	size_t header = n ? (size_t)(buf[0] & 0x0f) * 4 : 0;
	if (n >= 20 && buf[0] >> 4 == 4 && header <= n && header >= 20) {
		uint16_t sum = ip_checksum(buf, header, row->checksum_off);
		buf[10] = (uint8_t)(sum >> 8);
		buf[11] = (uint8_t)sum;
	}
	return n;
}

static void test_row(void **state)
{
	const struct row *row = *state;
	uint8_t buf[512];
	size_t n = build(row, buf, sizeof(buf));
	const uint8_t *packet = at_guard(buf, n);
	struct dw_packet p, before;
	memset(&p, 0xa5, sizeof(p));
	before = p;
	assert_status(dw_packet_parse(packet, n, &p), row->status);
	if (row->status != DW_PARSE_OK) {
		assert_memory_equal(&p, &before, sizeof(p));
		return;
	}
	char src[DW_ADDR_STRLEN], dst[DW_ADDR_STRLEN];
	bool v4 = buf[0] >> 4 == 4;
	assert_string_equal(dw_addr_format(&p.src, src), v4 ? "10.0.0.1" : "fd00::1");
	assert_string_equal(dw_addr_format(&p.dst, dst), v4 ? "192.0.2.5" : "2001:db8::5");
	assert_int_equal(p.proto, row->proto);
	assert_int_equal(p.sport, row->sport);
	assert_int_equal(p.dport, row->dport);
	assert_int_equal(p.payload.n, row->payload_n);
	assert_ptr_equal(p.payload.p, packet + n - row->payload_n);
	assert_int_equal(p.header.n, row->header_n);
	assert_ptr_equal(p.header.p, packet);
	if (p.proto == IPPROTO_TCP) {
		assert_int_equal(p.seq, 100);
		assert_int_equal(p.flags, DW_TCP_SYN);
	}
}

static void test_truncation(void **state)
{
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		uint8_t buf[512];
		struct dw_packet p;
		size_t n = build(&rows[i], buf, sizeof(buf));
		for (size_t len = 0; len < n; len++) {
			/* Rows whose length field is wrong may be right when cut. */
			if (rows[i].status == DW_PARSE_OK)
				assert_status(dw_packet_parse(at_guard(buf, len), len, &p), DW_PARSE_BAD);
		}
	}
}

/* The transport checksum over the pseudo-header, written here on its own; 0 is right. */
static uint16_t transport_sum(const struct dw_packet *p, const uint8_t *body, size_t n)
{
	uint8_t all[256] = { 0 };
	memcpy(all, p->src.b, 16);
	memcpy(all + 16, p->dst.b, 16);
	all[34] = (uint8_t)(n >> 8);
	all[35] = (uint8_t)n;
	all[39] = p->proto;
	memcpy(all + 40, body, n);
	return ip_checksum(all, 40 + n, 0);
}

static void parse_text(const char *packet, uint8_t *buf, size_t cap, struct dw_packet *ret)
{
	const struct row row = { .packet = packet };
	size_t n = build(&row, buf, cap);
	assert_status(dw_packet_parse(buf, n, ret), DW_PARSE_OK);
}

static void test_rst(void **state)
{
	static const struct {
		const char *packet;
		uint32_t seq, ack;
		uint8_t flags;
	} cases[] = {
		{ V4("0028", "4000", "06") TCP, 0, 101, DW_TCP_RST | DW_TCP_ACK },
		{ V4("002b", "4000", "06") TCP "616263", 0, 104, DW_TCP_RST | DW_TCP_ACK },
		{ V6("0014", "06") TCP, 0, 101, DW_TCP_RST | DW_TCP_ACK },
		{ V6("001c", "00") "0600 010400000000 " TCP, 0, 101, DW_TCP_RST | DW_TCP_ACK },
		{ V6("0014", "06") "d431 01bb ffffffff 00000000 50 02 ffff 0000 0000", 0, 0, DW_TCP_RST | DW_TCP_ACK },
		{ V4("0028", "4000", "06") "d431 01bb 00000064 000003e8 50 10 ffff 0000 0000", 1000, 0, DW_TCP_RST },
	};
	for (size_t i = 0; i < DW_COUNT(cases); i++) {
		uint8_t buf[256], out[60];
		struct dw_packet syn, rst;
		parse_text(cases[i].packet, buf, sizeof(buf), &syn);
		size_t n = dw_packet_rst(&syn, out, sizeof(out));
		assert_int_equal(n, syn.src.family == DW_AF_4 ? 40 : 60);
		assert_status(dw_packet_parse(at_guard(out, n), n, &rst), DW_PARSE_OK);
		assert_true(dw_addr_eq(&rst.src, &syn.dst));
		assert_true(dw_addr_eq(&rst.dst, &syn.src));
		assert_int_equal(rst.sport, 443);
		assert_int_equal(rst.dport, 54321);
		assert_int_equal(rst.seq, cases[i].seq);
		assert_int_equal(rst.ack, cases[i].ack);
		assert_int_equal(rst.flags, cases[i].flags);
		assert_int_equal(transport_sum(&rst, out + n - 20, 20), 0);
		for (size_t cap = 0; cap < n; cap++)
			assert_int_equal(dw_packet_rst(&syn, out, cap), 0);
	}
}

static void test_no_rst(void **state)
{
	static const char *const packets[] = {
		V4("001e", "0000", "11") UDP,
		V4("0028", "4000", "06") "d431 01bb 00000064 00000000 50 04 ffff 0000 0000", /* a RST */
	};
	for (size_t i = 0; i < DW_COUNT(packets); i++) {
		uint8_t buf[256], out[60];
		struct dw_packet p;
		parse_text(packets[i], buf, sizeof(buf), &p);
		assert_int_equal(dw_packet_rst(&p, out, sizeof(out)), 0);
	}
}

static void test_unreachable(void **state)
{
	static const struct {
		const char *packet;
		enum dw_unreachable why;
		uint8_t type, code;
		size_t n;
	} cases[] = {
		{ V4("0028", "4000", "06") TCP, DW_UNREACH_NET, 3, 0, 56 },
		{ V4("0028", "4000", "06") TCP, DW_UNREACH_HOST, 3, 1, 56 },
		{ V4("001e", "0000", "11") UDP, DW_UNREACH_PORT, 3, 3, 56 },
		{ V4("0028", "4000", "06") TCP, DW_UNREACH_PROHIBITED, 3, 13, 56 },
		{ V4("0014", "0000", "fd"), DW_UNREACH_PROHIBITED, 3, 13, 48 },
		{ "4f 00 0050 1c46 4000 40 06 0000 0a000001 c0000205 x40:01 " TCP, DW_UNREACH_PROHIBITED, 3, 13, 96 },
		{ V6("0014", "06") TCP, DW_UNREACH_NET, 1, 0, 96 },
		{ V6("0014", "06") TCP, DW_UNREACH_HOST, 1, 3, 96 },
		{ V6("000a", "11") UDP, DW_UNREACH_PORT, 1, 4, 96 },
		{ V6("0014", "06") TCP, DW_UNREACH_PROHIBITED, 1, 1, 96 },
		{ V6("001c", "00") "0600 010400000000 " TCP, DW_UNREACH_PROHIBITED, 1, 1, 104 },
		{ V6("0054", "3c") "0607 013c x60:00 " TCP, DW_UNREACH_PROHIBITED, 1, 1, 128 }, /* the quote is cut */
	};
	for (size_t i = 0; i < DW_COUNT(cases); i++) {
		uint8_t buf[256], out[128];
		struct dw_packet p, icmp;
		parse_text(cases[i].packet, buf, sizeof(buf), &p);
		struct dw_addr from = p.src;
		from.b[3] ^= 0x42;
		size_t n = dw_packet_unreachable(&p, cases[i].why, &from, out, sizeof(out));
		assert_int_equal(n, cases[i].n);
		assert_status(dw_packet_parse(at_guard(out, n), n, &icmp), DW_PARSE_OK);
		bool v4 = p.src.family == DW_AF_4;
		assert_true(dw_addr_eq(&icmp.src, &from));
		assert_true(dw_addr_eq(&icmp.dst, &p.src));
		assert_int_equal(icmp.proto, v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
		size_t at = v4 ? 20 : 40;
		assert_int_equal(out[at], cases[i].type);
		assert_int_equal(out[at + 1], cases[i].code);
		assert_int_equal(v4 ? ip_checksum(out + at, n - at, 0) : transport_sum(&icmp, out + at, n - at), 0);
		assert_memory_equal(out + at + 8, buf, n - at - 8);
		for (size_t cap = 0; cap < n; cap++)
			assert_int_equal(dw_packet_unreachable(&p, cases[i].why, &from, out, cap), 0);
	}
}

static void test_unreachable_family(void **state)
{
	uint8_t buf[256], out[128];
	struct dw_packet p;
	parse_text(V4("0028", "4000", "06") TCP, buf, sizeof(buf), &p);
	const struct dw_addr v6 = { .family = DW_AF_6, .b = { 0xfd } }, none = { 0 };
	assert_int_equal(dw_packet_unreachable(&p, DW_UNREACH_NET, &v6, out, sizeof(out)), 0);
	assert_int_equal(dw_packet_unreachable(&p, DW_UNREACH_NET, &none, out, sizeof(out)), 0);
}

/* Built from parsed addresses, read back, checksums right; sizes odd and even up to the largest. */
static void test_udp(void **state)
{
	static const char *const packets[] = { V4("001e", "0000", "11") UDP, V6("000a", "11") UDP };
	static const size_t sizes[] = { 0, 1, 2, 7, 1200, 1472, 65535 - 48, 65535 - 28 };
	static uint8_t payload[65536], out[65536], all[65536 + 40];
	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i * 7 + i / 256);
	for (size_t i = 0; i < DW_COUNT(packets) * DW_COUNT(sizes); i++) {
		uint8_t buf[256];
		struct dw_packet p, back;
		parse_text(packets[i % 2], buf, sizeof(buf), &p);
		size_t n = sizes[i / 2], at = i % 2 ? 40 : 20, total = at + 8 + n;
		size_t got = dw_packet_udp(&p.dst, 443, &p.src, 54321, payload, n, out, sizeof(out));
		assert_int_equal(got, total > 65535 ? 0 : total);
		if (!got)
			continue;
		assert_status(dw_packet_parse(at_guard(out, got), got, &back), DW_PARSE_OK);
		assert_int_equal(back.proto, IPPROTO_UDP);
		assert_true(dw_addr_eq(&back.src, &p.dst));
		assert_true(dw_addr_eq(&back.dst, &p.src));
		assert_int_equal(back.sport, 443);
		assert_int_equal(back.dport, 54321);
		assert_int_equal(back.payload.n, n);
		assert_memory_equal(back.payload.p, payload, n);
		if (at == 20)
			assert_int_equal(out[6] | out[7], 0); /* no DF, no fragment */
		assert_true(out[at + 6] | out[at + 7]);
		memset(all, 0, 40);
		memcpy(all, back.src.b, 16);
		memcpy(all + 16, back.dst.b, 16);
		all[34] = (uint8_t)((8 + n) >> 8);
		all[35] = (uint8_t)(8 + n);
		all[39] = IPPROTO_UDP;
		memcpy(all + 40, out + at, 8 + n);
		assert_int_equal(ip_checksum(all, 40 + 8 + n, 0), 0);
		for (size_t cap = n > 1200 ? got - 3 : 0; cap < got; cap++)
			assert_int_equal(dw_packet_udp(&p.dst, 443, &p.src, 54321, payload, n, out, cap), 0);
	}
}

/* A sum of 0 goes as ffff (RFC 768): here the payload makes it so. And what can not be built. */
static void test_udp_edges(void **state)
{
	uint8_t out[64], payload[2] = { 0 };
	const struct dw_addr a = { .family = DW_AF_4, .b = { 10, 0, 0, 1 } },
			     b = { .family = DW_AF_4, .b = { 10, 0, 0, 2 } };
	const struct dw_addr six = { .family = DW_AF_6, .b = { 0xfd } }, none = { 0 };
	assert_int_equal(dw_packet_udp(&a, 1, &b, 2, payload, 2, out, sizeof(out)), 30);
	memcpy(payload, out + 26, 2); /* adding the sum's complement to the sum gives all ones */
	assert_int_equal(dw_packet_udp(&a, 1, &b, 2, payload, 2, out, sizeof(out)), 30);
	assert_int_equal(out[26], 0xff);
	assert_int_equal(out[27], 0xff);
	assert_int_equal(dw_packet_udp(&a, 1, &six, 2, payload, 2, out, sizeof(out)), 0);
	assert_int_equal(dw_packet_udp(&six, 1, &a, 2, payload, 2, out, sizeof(out)), 0);
	assert_int_equal(dw_packet_udp(&none, 1, &none, 2, payload, 2, out, sizeof(out)), 0);
	assert_int_equal(dw_packet_udp(&a, 1, &b, 2, payload, SIZE_MAX, out, sizeof(out)), 0);
	assert_int_equal(dw_packet_udp(&a, 1, &b, 2, NULL, 0, out, sizeof(out)), 28);
}

/* RFC 1071 section 3, and an odd length. */
static void test_checksum(void **state)
{
	static const uint8_t bytes[] = { 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7 };
	assert_int_equal(ip_checksum(bytes, 8, 0), (uint16_t)~0xddf2);
	assert_int_equal(ip_checksum(bytes, 3, 0), (uint16_t)~0xf201);
}

int main(void)
{
	ADD_ROWS(rows, test_row);
	add_test("every prefix is BAD", test_truncation);
	add_test("resets", test_rst);
	add_test("what gets no reset", test_no_rst);
	add_test("unreachables", test_unreachable);
	add_test("an unreachable from another family", test_unreachable_family);
	add_test("UDP datagrams", test_udp);
	add_test("UDP datagrams: a sum of 0, and none", test_udp_edges);
	add_test("the checksum", test_checksum);
	return run_all("ip");
}
