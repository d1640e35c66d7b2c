/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams for sandboxes as packets on their links, and the IDs of QUIC connections. */
#include "gate/udp.h"
#include "gate_test.h"

struct sent {
	uint8_t data[64][UDP_LINK_MTU + 65536];
	size_t n[64], count;
};

static void put(void *arg, const void *p, size_t n)
{
	struct sent *s = arg;

	assert_true(s->count < 64);
	memcpy(s->data[s->count], p, n);
	s->n[s->count++] = n;
}

static uint32_t u16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static size_t build(bool v4, size_t n, uint8_t *out, size_t cap)
{
	const struct dw_addr from = test_addr(v4 ? "93.184.215.14" : "2606:2800:21f::14");
	const struct dw_addr to = test_addr(v4 ? "100.112.1.1" : "fd64:6377::6470:101");
	static uint8_t payload[65536];

	for (size_t i = 0; i < n; i++)
		payload[i] = (uint8_t)(i * 7 + i / 251);
	size_t len = dw_packet_udp(&from, 443, &to, 50000, payload, n, out, cap);
	assert_int_equal(len, n + 8 + (v4 ? 20 : 40));
	return len;
}

static void test_what_fits_goes_as_it_is(void **state)
{
	static struct sent s;
	static uint8_t packet[65536], copy[65536];

	for (int v4 = 0; v4 < 2; v4++) {
		for (size_t n = 0; n <= 1500u - 8 - (v4 ? 20 : 40); n += 97) {
			size_t len = build(v4, n, packet, sizeof(packet));
			memcpy(copy, packet, len);
			s.count = 0;
			udp_packet_out(packet, len, 77, put, &s);
			assert_int_equal(s.count, 1);
			assert_int_equal(s.n[0], len);
			assert_memory_equal(s.data[0], copy, len);
		}
	}
	s.count = 0;
	udp_packet_out(packet, 0, 77, put, &s);
	assert_int_equal(s.count, 0);
}

static void test_long_ip4_goes_whole_with_an_id(void **state)
{
	static struct sent s;
	static uint8_t packet[65536], copy[65536];
	struct dw_packet p;

	for (uint32_t id = 0; id < 0x40000; id += 0x3fff) {
		size_t len = build(true, 4000, packet, sizeof(packet));
		memcpy(copy, packet, len);
		s.count = 0;
		udp_packet_out(packet, len, id, put, &s);
		assert_int_equal(s.count, 1);
		assert_int_equal(u16(s.data[0] + 4), id & 0xffff);
		assert_int_equal(u16(s.data[0] + 6), 0);
		assert_int_equal(dw_packet_parse(s.data[0], len, &p), DW_PARSE_OK); /* its checksum among others */
		assert_memory_equal(s.data[0] + 12, copy + 12, len - 12);
	}
}

static void test_long_ip6_goes_in_fragments(void **state)
{
	static const size_t sizes[] = { 1453, 1500, 2888, 2889, 4000, 65000, 65535 - 48 };
	static struct sent s;
	static uint8_t packet[65536], copy[65536], whole[65536];

	for (size_t i = 0; i < DW_COUNT(sizes); i++) {
		size_t len = build(false, sizes[i], packet, sizeof(packet));
		size_t at = 0;
		memcpy(copy, packet, len);
		s.count = 0;
		udp_packet_out(packet, len, 0x12345678, put, &s);
		assert_true(s.count > 1);
		for (size_t k = 0; k < s.count; k++) {
			const uint8_t *f = s.data[k], *h = f + 40;
			const bool more = k + 1 < s.count;
			assert_true(s.n[k] <= UDP_LINK_MTU);
			assert_int_equal(u16(f + 4), s.n[k] - 40);
			assert_int_equal(f[6], IPPROTO_FRAGMENT);
			assert_memory_equal(f, copy, 4);
			assert_memory_equal(f + 7, copy + 7, 33);
			assert_int_equal(h[0], IPPROTO_UDP);
			assert_int_equal(h[1], 0);
			assert_int_equal(u16(h + 2) & 0xfff8, at);
			assert_int_equal(u16(h + 2) & 7, more);
			assert_int_equal(u16(h + 4) << 16 | u16(h + 6), 0x12345678);
			assert_true(!more || (s.n[k] - 48) % 8 == 0);
			memcpy(whole + at, f + 48, s.n[k] - 48);
			at += s.n[k] - 48;
		}
		assert_int_equal(at, len - 40);
		assert_memory_equal(whole, copy + 40, at);
	}
}

static struct dw_span span(const char *text)
{
	return (struct dw_span){ (const uint8_t *)text, strlen(text) };
}

static struct gate *gate_with_udp(void)
{
	struct gate *g = test_gate_new();

	g->udp = calloc(1, sizeof(*g->udp));
	assert_non_null(g->udp);
	g->udp->id_ms = UDP_ID_MS;
	return g;
}

static void test_an_id_is_one_flows(void **state)
{
	struct gate *g = gate_with_udp();

	assert_true(udp_id_claim(g, span("12345678"), 1));
	assert_true(udp_id_claim(g, span("12345678"), 1));
	assert_false(udp_id_claim(g, span("12345678"), 2));
	assert_true(udp_id_claim(g, span("12345679"), 2));
	assert_true(udp_id_claim(g, span(""), 2));
	assert_false(udp_id_claim(g, span(""), 1));
	udp_id_release(g, span("12345678"), 2); /* not its own */
	assert_false(udp_id_claim(g, span("12345678"), 2));
	udp_id_release(g, span("12345678"), 1);
	assert_true(udp_id_claim(g, span("12345678"), 2));
	assert_false(udp_id_claim(g, span("12345678"), 1));
	g->loop.now_ms += UDP_ID_MS - 1;
	assert_false(udp_id_claim(g, span("12345678"), 1));
	g->loop.now_ms += 1;
	assert_true(udp_id_claim(g, span("12345678"), 1));
	free(g->udp);
	test_gate_free(g);
}

/* With as many IDs as the table has places, most of them are still known; the newest always are. */
static void test_many_ids(void **state)
{
	struct gate *g = gate_with_udp();
	unsigned known = 0;

	for (uint64_t i = 1; i <= UDP_IDS; i++) {
		g->loop.now_ms = 1000 + i / 100;
		assert_true(udp_id_claim(g, (struct dw_span){ (const uint8_t *)&i, sizeof(i) }, i));
		assert_false(udp_id_claim(g, (struct dw_span){ (const uint8_t *)&i, sizeof(i) }, i + 1));
	}
	for (uint64_t i = 1; i <= UDP_IDS; i++) {
		const struct dw_span id = { (const uint8_t *)&i, sizeof(i) };
		known += !udp_id_claim(g, id, 0);
		udp_id_release(g, id, 0);
	}
	assert_true(known > UDP_IDS / 2);
	free(g->udp);
	test_gate_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_fits_goes_as_it_is),
		cmocka_unit_test(test_long_ip4_goes_whole_with_an_id),
		cmocka_unit_test(test_long_ip6_goes_in_fragments),
		cmocka_unit_test(test_an_id_is_one_flows),
		cmocka_unit_test(test_many_ids),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
