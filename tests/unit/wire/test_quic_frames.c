/* SPDX-License-Identifier: Apache-2.0 */
/* The frames of Initials, and the hello in their CRYPTO data. */
#include "wire_test.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/macros.h"
#include "hello_openssl.h"
#include "quic_seal.h"
#include "wire/quic.h"

static uint8_t hello[70000], frames[140000];
static size_t hello_n;

/* OpenSSL's hello without its record header. */
static void load_hello(void)
{
	static uint8_t record[4096];
	size_t n = assemble(HELLO_OPENSSL, record, sizeof(record));
	hello_n = n - 5;
	memcpy(hello, record + 5, hello_n);
}

/* CRYPTO frames: offset, length, data. 01 000000 is the start of a ClientHello that is not all there. */
static const struct row {
	const char *name, *packets; /* | between packets */
	enum dw_parse take;         /* of the last; the ones before are OK */
	enum dw_parse hello;        /* after it, if it was taken */
} rows[] = {
	/* clang-format off */
	{ "PADDING only", "x100:00", DW_PARSE_OK, DW_PARSE_MORE },
	{ "PING", "01", DW_PARSE_OK, DW_PARSE_MORE },
	{ "no frame", "", DW_PARSE_BAD },
	{ "ACK", "02 05 00 00 05", DW_PARSE_OK, DW_PARSE_MORE },
	{ "ACK of one range more", "02 09 00 01 01 03 02", DW_PARSE_OK, DW_PARSE_MORE },
	{ "ACK down to 0", "02 09 00 01 01 03 03", DW_PARSE_OK, DW_PARSE_MORE },
	{ "ACK below 0 in a range", "02 09 00 01 01 03 04", DW_PARSE_BAD },
	{ "ACK below 0 in a gap", "02 09 00 01 01 07 00", DW_PARSE_BAD },
	{ "ACK below 0 in the first range", "02 05 00 00 06", DW_PARSE_BAD },
	{ "ACK of the greatest numbers", "02 ffffffffffffffff 00 01 00 ffffffffffffffff ffffffffffffffff", DW_PARSE_BAD },
	{ "ACK whose ranges are not there", "02 ffffffffffffffff 00 ffffffffffffffff 00 00 00", DW_PARSE_BAD },
	{ "ACK cut", "02 05 00 00", DW_PARSE_BAD },
	{ "ACK with ECN", "03 05 00 00 00 01 02 03", DW_PARSE_OK, DW_PARSE_MORE },
	{ "ACK with ECN cut", "03 05 00 00 00 01 02", DW_PARSE_BAD },
	{ "CONNECTION_CLOSE", "1c 4101 06 03 s:abc 00", DW_PARSE_OK, DW_PARSE_MORE },
	{ "CONNECTION_CLOSE with a reason too long", "1c 4101 06 04 s:abc", DW_PARSE_BAD },
	{ "CONNECTION_CLOSE with a reason of 2^62-1", "1c 00 00 ffffffffffffffff", DW_PARSE_BAD },
	{ "a frame type in two bytes", "4006 00 01 01", DW_PARSE_BAD },
	{ "PADDING in two bytes", "4000", DW_PARSE_BAD },
	{ "CRYPTO", "06 00 01 01", DW_PARSE_OK, DW_PARSE_MORE },
	{ "CRYPTO between others", "00 01 06 00 01 01 00 02 05 00 00 05 01", DW_PARSE_OK, DW_PARSE_MORE },
	{ "CRYPTO, offset and length in long forms", "06 c000000000000000 80000001 01", DW_PARSE_OK, DW_PARSE_MORE },
	{ "CRYPTO of no bytes", "06 00 00", DW_PARSE_OK, DW_PARSE_MORE },
	{ "CRYPTO of no bytes at the end of what may be", "06 80010000 00", DW_PARSE_OK, DW_PARSE_MORE },
	{ "CRYPTO of no bytes behind it", "06 80010001 00", DW_PARSE_BIG },
	{ "CRYPTO longer than the packet", "06 00 05 01000000", DW_PARSE_BAD },
	{ "CRYPTO of 2^62-1 bytes", "06 00 ffffffffffffffff 01", DW_PARSE_BAD },
	{ "CRYPTO at 2^62-1", "06 ffffffffffffffff 01 01", DW_PARSE_BIG },
	{ "CRYPTO of the last byte", "06 8000ffff 01 77", DW_PARSE_OK, DW_PARSE_MORE },
	{ "CRYPTO one behind the last byte", "06 80010000 01 77", DW_PARSE_BIG },
	{ "CRYPTO over the last byte", "06 8000ffff 02 7777", DW_PARSE_BIG },
	{ "CRYPTO cut in its offset", "06 40", DW_PARSE_BAD },
	{ "the same bytes again", "06 00 03 010000 | 06 00 03 010000", DW_PARSE_OK, DW_PARSE_MORE },
	{ "an overlap that agrees", "06 00 03 010000 | 06 02 03 004242", DW_PARSE_OK, DW_PARSE_MORE },
	{ "an overlap that disagrees", "06 00 03 010000 | 06 02 03 014242", DW_PARSE_BAD },
	{ "an overlap that disagrees in its last byte", "06 02 03 004242 | 06 00 03 010001", DW_PARSE_BAD },
	{ "an overlap that disagrees in one packet", "06 00 01 01 06 00 01 02", DW_PARSE_BAD },
	{ "an overlap behind a gap", "06 09 02 4141 | 06 0a 02 4241", DW_PARSE_BAD },
	{ "a byte first seen as 0", "06 09 01 00 | 06 09 01 01", DW_PARSE_BAD },
	{ "another message", "06 00 01 02", DW_PARSE_OK, DW_PARSE_BAD },
	{ "another message behind a gap", "06 01 03 000000", DW_PARSE_OK, DW_PARSE_MORE },
	{ "a hello over the limit", "06 00 04 0100fff8", DW_PARSE_OK, DW_PARSE_BIG },
	{ "a hello of the limit", "06 00 04 0100fff7", DW_PARSE_OK, DW_PARSE_MORE },
	{ "an empty hello", "06 00 04 01000000", DW_PARSE_OK, DW_PARSE_BAD },
	/* clang-format on */
};

static void test_row(void **state)
{
	const struct row *row = *state;
	struct dw_quic_crypto c = { 0 };
	struct dw_tls_hello h;
	char text[512];
	snprintf(text, sizeof(text), "%s", row->packets);
	char *next = text;
	for (char *packet; (packet = strsep(&next, "|"));) {
		size_t n = assemble(packet, frames, sizeof(frames));
		assert_status(dw_quic_frames_take(&c, at_guard(frames, n), n), next ? DW_PARSE_OK : row->take);
	}
	if (row->take == DW_PARSE_OK)
		assert_status(dw_quic_hello(&c, &h), row->hello);
	assert_true(c.cap <= DW_QUIC_CRYPTO_MAX && c.high <= c.cap);
	dw_quic_crypto_done(&c);
	assert_null(c.data);
	assert_null(c.have);
	assert_int_equal(c.cap + c.high, 0);
}

/* RFC 9000 table 3: what has no I beside it. */
static void test_types(void **state)
{
	for (unsigned type = 0; type < 256; type++) {
		struct dw_quic_crypto c = { 0 };
		bool allowed = type <= 3 || type == 6 || type == 0x1c;
		uint8_t packet[32] = { 1, (uint8_t)type };
		assert_status(dw_quic_frames_take(&c, packet, sizeof(packet)), allowed ? DW_PARSE_OK : DW_PARSE_BAD);
		dw_quic_crypto_done(&c);
	}
}

static void take(struct dw_quic_crypto *c, size_t offset, size_t n, enum dw_parse want)
{
	size_t size = quic_put_crypto(frames, offset, hello + offset, n);
	assert_status(dw_quic_frames_take(c, at_guard(frames, size), size), want);
}

static void assert_whole(const struct dw_quic_crypto *c, const char *sni)
{
	struct dw_tls_hello h;
	memset(&h, 0xa5, sizeof(h));
	assert_status(dw_quic_hello(c, &h), DW_PARSE_OK);
	assert_string_equal(h.sni, sni);
	assert_true(h.has_sni && h.has_tls13 && !h.has_ech);
	assert_int_equal(h.stream_n, hello_n);
}

static void assert_more(const struct dw_quic_crypto *c)
{
	struct dw_tls_hello h, before;
	memset(&h, 0xa5, sizeof(h));
	before = h;
	assert_status(dw_quic_hello(c, &h), DW_PARSE_MORE);
	assert_memory_equal(&h, &before, sizeof(h));
}

static void test_split_everywhere(void **state)
{
	load_hello();
	for (size_t first = 1; first < hello_n; first++) {
		for (unsigned swapped = 0; swapped < 2; swapped++) {
			struct dw_quic_crypto c = { 0 };
			take(&c, swapped ? first : 0, swapped ? hello_n - first : first, DW_PARSE_OK);
			assert_more(&c);
			take(&c, swapped ? 0 : first, swapped ? first : hello_n - first, DW_PARSE_OK);
			assert_whole(&c, "allowed.example.test");
			dw_quic_crypto_done(&c);
		}
	}
}

/* Any cut into frames, in any order, with overlaps, is the whole. */
static void test_any_split(void **state)
{
	load_hello();
	srandom(20000);
	for (unsigned round = 0; round < 500; round++) {
		size_t cuts[64] = { 0 }, count = 1 + (size_t)random() % 60;
		for (size_t i = 1; i < count; i++)
			cuts[i] = (size_t)random() % hello_n;
		struct dw_quic_crypto c = { 0 };
		bool *have = calloc(hello_n, sizeof(bool));
		size_t missing = hello_n;
		/* The pieces begin at the cuts, in the order in which they were drawn; each goes at least to the next cut. */
		for (size_t i = 0; i < count; i++) {
			size_t at = cuts[(i + round) % count], end = hello_n;
			for (size_t k = 0; k < count; k++)
				end = cuts[k] > at ? DW_MIN(end, cuts[k]) : end;
			end += (size_t)random() % (hello_n - end + 1) / 4;
			assert_more(&c);
			take(&c, at, end - at, DW_PARSE_OK);
			for (size_t k = at; k < end; k++) {
				missing -= !have[k];
				have[k] = true;
			}
			if (missing == 0)
				break;
		}
		assert_int_equal(missing, 0);
		assert_whole(&c, "allowed.example.test");
		dw_quic_crypto_done(&c);
		free(have);
	}
}

/* One byte a frame, backwards, in one packet. */
static void test_bytes(void **state)
{
	load_hello();
	struct dw_quic_crypto c = { 0 };
	size_t n = 0;
	for (size_t i = hello_n; i-- > 0;)
		n += quic_put_crypto(frames + n, i, hello + i, 1);
	for (size_t cut = 0; cut < n; cut += 101) {
		struct dw_quic_crypto part = { 0 };
		enum dw_parse status = dw_quic_frames_take(&part, at_guard(frames, cut), cut);
		assert_true(status == DW_PARSE_OK || status == DW_PARSE_BAD);
		if (status == DW_PARSE_OK)
			assert_more(&part);
		dw_quic_crypto_done(&part);
	}
	assert_status(dw_quic_frames_take(&c, at_guard(frames, n), n), DW_PARSE_OK);
	assert_whole(&c, "allowed.example.test");
	dw_quic_crypto_done(&c);
}

static void test_behind(void **state)
{
	load_hello();
	struct dw_tls_hello h;
	struct dw_quic_crypto c = { 0 };
	take(&c, 0, hello_n, DW_PARSE_OK);
	assert_whole(&c, "allowed.example.test");
	take(&c, hello_n, 1, DW_PARSE_OK); /* next to it */
	assert_status(dw_quic_hello(&c, &h), DW_PARSE_BAD);
	dw_quic_crypto_done(&c);
	take(&c, hello_n + 9, 1, DW_PARSE_OK); /* and behind a gap */
	assert_more(&c);
	take(&c, 0, hello_n, DW_PARSE_OK);
	assert_status(dw_quic_hello(&c, &h), DW_PARSE_BAD);
	dw_quic_crypto_done(&c);
}

/* A hello of the greatest size, in frames of 1200 bytes from behind: memory grows at once and not over the maximum. */
static void test_largest(void **state)
{
	for (size_t over = 0; over < 2; over++) {
		char text[256];
		size_t fixed = 4 + 2 + 32 + 1 + 4 + 2 + 2 + 4; /* all but the extension's body */
		snprintf(text, sizeof(text), "01 [3 0303 x32:11 [1 ] [ 1301 ] [1 00 ] [ ff00 [ x%zu:44 ] ] ]",
			 DW_TLS_HELLO_MAX - 5 - fixed + over);
		hello_n = assemble(text, hello, sizeof(hello));
		assert_int_equal(hello_n, DW_TLS_HELLO_MAX - 5 + over);
		struct dw_quic_crypto c = { 0 };
		struct dw_tls_hello h;
		for (size_t at = hello_n / 1200 * 1200; at > 0; at -= 1200) {
			take(&c, at, DW_MIN(1200, hello_n - at), DW_PARSE_OK);
			assert_more(&c);
			assert_int_equal(c.cap, DW_QUIC_CRYPTO_MAX);
		}
		take(&c, 0, 1200, DW_PARSE_OK);
		assert_status(dw_quic_hello(&c, &h), over ? DW_PARSE_BIG : DW_PARSE_OK);
		dw_quic_crypto_done(&c);
	}
}

static void test_grows(void **state)
{
	load_hello();
	struct dw_quic_crypto c = { 0 };
	take(&c, 0, hello_n, DW_PARSE_OK);
	assert_true(c.cap <= 2048);
	take(&c, 3000, 1, DW_PARSE_OK);
	assert_true(c.cap <= 4096);
	take(&c, 65535, 1, DW_PARSE_OK);
	assert_int_equal(c.cap, DW_QUIC_CRYPTO_MAX);
	/* What was there before is there still, and nothing else. */
	take(&c, 0, hello_n, DW_PARSE_OK);
	hello[3000] ^= 1;
	take(&c, 2999, 3, DW_PARSE_BAD);
	dw_quic_crypto_done(&c);
}

/* A hello over two and three datagrams as they arrive, in every order. */
static void test_datagrams(void **state)
{
	static const uint8_t dcid[8] = { 1, 2, 3 };
	static const unsigned orders[][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
					      { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };
	load_hello();
	for (unsigned i = 0; i < 2 * 2 * 6; i++) {
		size_t parts = 2 + i % 2;
		const unsigned *order = orders[i / 4];
		struct dw_quic_crypto c = { 0 };
		for (size_t k = 0; k < 3; k++) {
			if (order[k] >= parts)
				continue;
			assert_more(&c);
			const struct quic_seal seal = { .version = i / 2 % 2 ? DW_QUIC_V2 : DW_QUIC_V1,
							.dcid = dcid,
							.dcid_n = 8,
							.pn = order[k],
							.pad_to = 1200 };
			size_t from = order[k] * hello_n / parts, to = (order[k] + 1) * hello_n / parts;
			static uint8_t datagram[1200], plain[1200];
			size_t n = quic_put_crypto(frames, from, hello + from, to - from), at = 0;
			n = quic_seal(&seal, frames, n, datagram, sizeof(datagram));
			struct dw_quic_packet p;
			assert_status(dw_quic_packet_next(at_guard(datagram, n), n, &at, &p), DW_PARSE_OK);
			assert_status(dw_quic_initial_open(&p, plain, &n), DW_PARSE_OK);
			assert_status(dw_quic_frames_take(&c, plain, n), DW_PARSE_OK);
		}
		assert_whole(&c, "allowed.example.test");
		dw_quic_crypto_done(&c);
	}
}

int main(void)
{
	ADD_ROWS(rows, test_row);
	add_test("every frame type", test_types);
	add_test("a hello of OpenSSL in two frames, split everywhere, both orders", test_split_everywhere);
	add_test("any split into frames gives the same", test_any_split);
	add_test("a byte a frame, backwards", test_bytes);
	add_test("bytes behind the hello", test_behind);
	add_test("the largest hello", test_largest);
	add_test("memory grows as needed", test_grows);
	add_test("a hello over two and three datagrams, in every order", test_datagrams);
	return run_all("quic_frames");
}
