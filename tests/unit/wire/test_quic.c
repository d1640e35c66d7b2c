/* SPDX-License-Identifier: Apache-2.0 */
/* The packets of a datagram, and opening Initials. The frames in them: test_quic_frames.c. */
#include "wire_test.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/macros.h"
#include "quic_seal.h"
#include "wire/quic.h"

/* RFC 9001 appendix A and RFC 9369 appendix A. */
#define DCID "8394c8f03e515708"
#define A2_CRYPTO                                                          \
	"060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e868" \
	"04fe3a47f06a2b69484c00000413011302010000c000000010000e00000b6578" \
	"616d706c652e636f6dff01000100000a00080006001d00170018001000070005" \
	"04616c706e000500050100000000003300260024001d00209370b2c9caa47fba" \
	"baf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b000302030400" \
	"0d0010000e0403050306030203080408050806002d00020101001c0002400100" \
	"3900320408ffffffffffffffff05048000ffff07048000ffff08011001048000" \
	"75300901100f088394c8f03e51570806048000ffff"

static uint8_t plain[65536];

static void test_keys(void **state)
{
	static const struct {
		uint32_t version;
		const char *key, *iv, *hp;
	} cases[] = {
		{ DW_QUIC_V1, "1f369613dd76d5467730efcbe3b1a22d", "fa044b2f42a3fd3b46fb255c",
		  "9f50449e04a0e810283a1e9933adedd2" },
		{ DW_QUIC_V2, "8b1a0bc121284290a29e0971b5cd045d", "91f73e2351d8fa91660e909f",
		  "45b95e15235d6f45a6b19cbcb0294ba9" },
	};
	for (size_t i = 0; i < DW_COUNT(cases); i++) {
		uint8_t dcid[8], want[16];
		struct quic_seal_keys k;
		quic_seal_keys(cases[i].version, dcid, assemble(DCID, dcid, sizeof(dcid)), &k);
		assemble(cases[i].key, want, sizeof(want));
		assert_memory_equal(k.key, want, 16);
		assemble(cases[i].iv, want, sizeof(want));
		assert_memory_equal(k.iv, want, 12);
		assemble(cases[i].hp, want, sizeof(want));
		assert_memory_equal(k.hp, want, 16);
	}
}

/* The only packet of a datagram that is an Initial; it stays in front of an unmapped page. */
static void only_initial(const uint8_t *datagram, size_t n, struct dw_quic_packet *ret)
{
	size_t at = 0;
	const uint8_t *guarded = at_guard(datagram, n);
	assert_status(dw_quic_packet_next(guarded, n, &at, ret), DW_PARSE_OK);
	assert_int_equal(ret->kind, DW_QUIC_INITIAL);
	assert_int_equal(at, n);
	assert_ptr_equal(ret->all.p, guarded);
	assert_int_equal(ret->all.n, n);
	assert_status(dw_quic_packet_next(guarded, n, &at, ret), DW_PARSE_BAD);
	assert_int_equal(at, n);
}

/* The client Initials of the appendixes: the start of each, and where known the tag, which stands for all of it. */
static void test_appendix(void **state)
{
	static const struct {
		uint32_t version;
		const char *start, *tag;
	} cases[] = {
		{ DW_QUIC_V1,
		  "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11d242b123dc9bd8bab936b47d92ec356c0b",
		  "e221af44860018ab0856972e194cd934" },
		{ DW_QUIC_V2,
		  "d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485dd04de806071bf03dceebfa162e75d6c96",
		  NULL },
	};
	uint8_t dcid[8], crypto[512], packet[1200], want[64];
	size_t crypto_n = assemble(A2_CRYPTO, crypto, sizeof(crypto));
	assemble(DCID, dcid, sizeof(dcid));
	for (size_t i = 0; i < DW_COUNT(cases); i++) {
		const struct quic_seal seal = {
			.version = cases[i].version, .dcid = dcid, .dcid_n = 8, .pn = 2, .pn_n = 4, .pad_to = 1200
		};
		size_t n = quic_seal(&seal, crypto, crypto_n, packet, sizeof(packet));
		assert_int_equal(n, 1200);
		assert_memory_equal(packet, want, assemble(cases[i].start, want, sizeof(want)));
		if (cases[i].tag) {
			assemble(cases[i].tag, want, sizeof(want));
			assert_memory_equal(packet + n - 16, want, 16);
		}
		struct dw_quic_packet p;
		size_t plain_n;
		only_initial(packet, n, &p);
		assert_int_equal(p.version, cases[i].version);
		assert_int_equal(p.pn_off, 18);
		assert_status(dw_quic_initial_open(&p, plain, &plain_n), DW_PARSE_OK);
		assert_int_equal(plain_n, 1162);
		assert_memory_equal(plain, crypto, crypto_n);

		struct dw_quic_crypto c = { 0 };
		struct dw_tls_hello h;
		assert_status(dw_quic_frames_take(&c, plain, plain_n), DW_PARSE_OK);
		assert_status(dw_quic_hello(&c, &h), DW_PARSE_OK);
		assert_string_equal(h.sni, "example.com");
		assert_true(h.has_tls13);
		assert_int_equal(h.stream_n, 241);
		dw_quic_crypto_done(&c);
	}
}

/* Datagrams and what they are cut into: a letter for each packet, then . at the end or ! for BAD. */
#define V1        " 00000001 "
#define V2        " 6b3343cf "
#define CIDS      " [1 1111111111111111 ] [1 2222 ] "
#define BODY      " 4014 x20:33 " /* Length and what it counts */
#define INITIAL   " c0 " V1 CIDS "00" BODY
#define ZERO_RTT  " d0 " V1 CIDS BODY
#define HANDSHAKE " e0 " V1 CIDS BODY

static const struct row {
	const char *name, *datagram, *packets;
} rows[] = {
	/* clang-format off */
	{ "an Initial", INITIAL, "I." },
	{ "coalesced Initial, 0-RTT, Handshake", INITIAL ZERO_RTT HANDSHAKE, "ILL." },
	{ "coalesced with a short header at the end", INITIAL HANDSHAKE "40 x40:44", "ILS." },
	{ "two Initials", INITIAL INITIAL, "II." },
	{ "an Initial behind others", ZERO_RTT HANDSHAKE INITIAL, "LLI." },
	{ "Retry takes the rest", " f0 " V1 CIDS INITIAL, "L." },
	{ "v2 Initial", "d0" V2 CIDS "00" BODY, "I." },
	{ "v2 0-RTT", "e0" V2 CIDS BODY, "L." },
	{ "v2 Handshake", "f0" V2 CIDS BODY, "L." },
	{ "v2 Retry", "c0" V2 CIDS "00" BODY, "L." },
	{ "versions mixed", INITIAL "d0" V2 CIDS "00" BODY, "II." },
	{ "an unknown version takes the rest", "c0 0000 0002" CIDS INITIAL, "U." },
	{ "a draft", "c0 ff00001d" CIDS "00" BODY, "U." },
	{ "a greased version", "c0 1a2a3a4a" CIDS, "U." },
	{ "an unknown version with CIDs of 255 bytes", "c0 1a2a3a4a [1 x255:11 ] [1 x255:11 ]", "U." },
	{ "an unknown version with a CID cut", "c0 1a2a3a4a [1 x255:11 ] ff x254:11", "!" },
	{ "an unknown version behind an Initial", INITIAL "80 00000003" CIDS, "IU." },
	{ "version negotiation", "80 00000000" CIDS "00000001 6b3343cf", "N." },
	{ "version negotiation with long CIDs", "ff 00000000 [1 x21:11 ] [1 ] 00000001", "N." },
	{ "short header", "40 x30:55", "S." },
	{ "short header, fixed bit 0", "00 x30:55", "S." },
	{ "one byte", "40", "S." },
	{ "zeros behind an Initial", INITIAL "x3:00", "IS." },
	{ "fixed bit 0", " 80 " V1 CIDS "00" BODY, "I." },
	{ "fixed bit 0, 0-RTT", " 90 " V1 CIDS BODY, "L." },
	{ "reserved and length bits are not looked at", " cf " V1 CIDS "00" BODY, "I." },
	{ "empty CIDs", "c0" V1 "00 00 00" BODY, "I." },
	{ "CIDs of 20 bytes", "c0" V1 "[1 x20:11 ] [1 x20:22 ] 00" BODY, "I." },
	{ "a DCID of 21 bytes", "c0" V1 "[1 x21:11 ] [1 ] 00" BODY, "!" },
	{ "an SCID of 21 bytes", "c0" V1 "[1 ] [1 x21:22 ] 00" BODY, "!" },
	{ "a DCID of 21 bytes in v2", "d0" V2 "[1 x21:11 ] [1 ] 00" BODY, "!" },
	{ "a DCID of 21 bytes in a Handshake", "e0" V1 "[1 x21:11 ] [1 ] " BODY, "!" },
	{ "a long CID behind an Initial", INITIAL "e0" V1 "[1 x21:11 ] [1 ] " BODY, "I!" },
	{ "a token", "c0" V1 CIDS "4064 x100:77" BODY, "I." },
	{ "a token in the longest form", "c0" V1 CIDS "c000000000000003 777777" BODY, "I." },
	{ "a token longer than the datagram", "c0" V1 CIDS "4fff x100:77" BODY, "!" },
	{ "a token of 2^62-1 bytes", "c0" V1 CIDS "ffffffffffffffff" BODY, "!" },
	{ "Length in 4 bytes", "c0" V1 CIDS "00 80000014 x20:33", "I." },
	{ "Length in 8 bytes", "c0" V1 CIDS "00 c000000000000014 x20:33", "I." },
	{ "Length 0", "c0" V1 CIDS "00 00", "I." },
	{ "Length one too many", "c0" V1 CIDS "00 15 x20:33", "!" },
	{ "Length one too few", "c0" V1 CIDS "00 13 x20:33", "IS." },
	{ "Length of 2^62-1", "c0" V1 CIDS "00 ffffffffffffffff x20:33", "!" },
	{ "Length cut", "c0" V1 CIDS "00 c00000", "!" },
	{ "Handshake with a Length too great", INITIAL "e0" V1 CIDS "4015 x20:33", "I!" },
	{ "a long header of one byte behind", INITIAL "c0", "I!" },
	{ "a version cut", "c0 000000", "!" },
	{ "nothing", "", "." },
	/* clang-format on */
};

static void test_row(void **state)
{
	static const char letters[] = {
		[DW_QUIC_OTHER] = '?', [DW_QUIC_SHORT] = 'S',       [DW_QUIC_INITIAL] = 'I',
		[DW_QUIC_LONG] = 'L',  [DW_QUIC_NEGOTIATION] = 'N', [DW_QUIC_UNKNOWN] = 'U',
	};
	const struct row *row = *state;
	uint8_t buf[1024];
	char got[16];
	size_t n = assemble(row->datagram, buf, sizeof(buf)), at = 0, count = 0, before = 0;
	const uint8_t *datagram = at_guard(buf, n);
	struct dw_quic_packet p;
	while (dw_quic_packet_next(datagram, n, &at, &p) == DW_PARSE_OK) {
		got[count++] = letters[p.kind];
		assert_ptr_equal(p.all.p, datagram + before);
		assert_int_equal(p.all.n, at - before);
		before = at;
		assert_true(p.pn_off <= p.all.n);
	}
	assert_int_equal(at, before);
	got[count++] = at == n ? '.' : '!';
	got[count] = '\0';
	assert_string_equal(got, row->packets);
	at = n + 1;
	assert_status(dw_quic_packet_next(datagram, n, &at, &p), DW_PARSE_BAD);
}

static void test_fields(void **state)
{
	uint8_t buf[1024];
	size_t at = 0, n = assemble("c0" V1 "[1 x5:11 ] [1 x3:22 ] 04 x4:77" BODY, buf, sizeof(buf));
	struct dw_quic_packet p;
	assert_status(dw_quic_packet_next(buf, n, &at, &p), DW_PARSE_OK);
	assert_int_equal(p.version, DW_QUIC_V1);
	assert_int_equal(p.dcid.n, 5);
	assert_ptr_equal(p.dcid.p, buf + 6);
	assert_int_equal(p.scid.n, 3);
	assert_ptr_equal(p.scid.p, buf + 12);
	assert_int_equal(p.token.n, 4);
	assert_ptr_equal(p.token.p, buf + 16);
	assert_int_equal(p.pn_off, n - 20);
}

static const uint8_t cid[20] = { 0xc1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20 };
static const uint8_t other[8] = { 0xee, 1 };
static const uint8_t ping[] = { 1, 0, 0, 0, 1 };

/* Everything that a client may choose and that still opens. */
static void test_opens(void **state)
{
	static const uint8_t token[300] = { 0x70 };
	static const uint8_t flips[] = { 0, 0x40, 0x04, 0x08, 0x4c };
	static const size_t cid_ns[] = { 0, 1, 8, 20 };
	for (unsigned i = 0; i < 4 * 4 * 5 * 2 * 2 * 3; i++) {
		const struct quic_seal seal = {
			.pn_n = 1 + i % 4,
			.dcid = cid,
			.dcid_n = cid_ns[i / 4 % 4],
			.flip = flips[i / 16 % 5],
			.version = i / 80 % 2 ? DW_QUIC_V2 : DW_QUIC_V1,
			.pn = i / 160 % 2 ? DW_QUIC_PN_MAX : 0,
			.scid = cid,
			.scid_n = cid_ns[i % 4],
			.token = token,
			.token_n = (size_t[]){ 0, 5, 300 }[i / 320],
			.length_n = (unsigned[]){ 2, 4, 8 }[i % 3],
		};
		uint8_t packet[512];
		size_t n = quic_seal(&seal, ping, sizeof(ping), packet, sizeof(packet)), plain_n;
		struct dw_quic_packet p;
		only_initial(packet, n, &p);
		assert_status(dw_quic_initial_open(&p, plain, &plain_n), DW_PARSE_OK);
		assert_int_equal(plain_n, sizeof(ping));
		assert_memory_equal(plain, ping, sizeof(ping));
	}
}

static enum dw_parse open_sealed(const struct quic_seal *seal, const void *frames, size_t n, size_t *ret_n)
{
	static uint8_t packet[2048];
	struct dw_quic_packet p;
	only_initial(packet, quic_seal(seal, frames, n, packet, sizeof(packet)), &p);
	return dw_quic_initial_open(&p, plain, ret_n);
}

/* RFC 9001 section 5.4.2: 20 bytes from the packet number on make a sample. */
static void test_shortest(void **state)
{
	for (unsigned pn_n = 1; pn_n <= 4; pn_n++) {
		for (size_t n = 0; n < 5; n++) {
			const struct quic_seal seal = { .dcid = cid, .dcid_n = 8, .pn_n = pn_n };
			size_t got = 99;
			bool enough = pn_n + n >= 4;
			assert_status(open_sealed(&seal, ping, n, &got), enough ? DW_PARSE_OK : DW_PARSE_BAD);
			assert_int_equal(got, enough ? n : 99);
		}
	}
}

static void test_numbers(void **state)
{
	static const struct {
		uint64_t pn;
		unsigned pn_n;
		enum dw_parse status;
	} cases[] = {
		{ DW_QUIC_PN_MAX, 1, DW_PARSE_OK },
		{ DW_QUIC_PN_MAX + 1, 1, DW_PARSE_BIG },
		{ 255, 1, DW_PARSE_BIG },
		{ 0x100, 2, DW_PARSE_BIG },
		{ 0xffffffff, 4, DW_PARSE_BIG },
		/* What a server that has received other numbers would read out of the same bytes. */
		{ 0x100, 1, DW_PARSE_BAD },
		{ 0x10000, 2, DW_PARSE_BAD },
		{ 0x100000001, 4, DW_PARSE_BAD },
	};
	for (size_t i = 0; i < DW_COUNT(cases); i++) {
		const struct quic_seal seal = { .dcid = cid, .dcid_n = 8, .pn = cases[i].pn, .pn_n = cases[i].pn_n };
		size_t n = 99;
		assert_status(open_sealed(&seal, ping, sizeof(ping), &n), cases[i].status);
		assert_int_equal(n, cases[i].status == DW_PARSE_OK ? sizeof(ping) : 99);
	}
}

/* A connection goes on under the server's CID, with the keys of its first DCID, maybe in another version. */
static void test_other_keys(void **state)
{
	static const uint32_t versions[] = { DW_QUIC_V1, DW_QUIC_V2 };
	for (size_t i = 0; i < DW_COUNT(versions); i++) {
		const struct quic_seal seal = {
			.version = versions[i], .dcid = other, .dcid_n = sizeof(other), .key_dcid = cid, .key_dcid_n = 8
		};
		uint8_t packet[256];
		size_t n = quic_seal(&seal, ping, sizeof(ping), packet, sizeof(packet)), plain_n = 99;
		struct dw_quic_packet p;
		only_initial(packet, n, &p);
		assert_status(dw_quic_initial_open(&p, plain, &plain_n), DW_PARSE_BAD);
		assert_int_equal(plain_n, 99);
		struct dw_span first = { .p = cid, .n = 7 };
		assert_status(dw_quic_initial_open_as(&p, first, plain, &plain_n), DW_PARSE_BAD);
		first.n = 8;
		assert_status(dw_quic_initial_open_as(&p, first, plain, &plain_n), DW_PARSE_OK);
		assert_int_equal(plain_n, sizeof(ping));
		p.version = versions[1 - i];
		assert_status(dw_quic_initial_open_as(&p, first, plain, &plain_n), DW_PARSE_BAD);
		p.version = 2;
		assert_status(dw_quic_initial_open_as(&p, first, plain, &plain_n), DW_PARSE_BAD);
		p.version = versions[i];
		p.kind = DW_QUIC_LONG;
		assert_status(dw_quic_initial_open_as(&p, first, plain, &plain_n), DW_PARSE_BAD);
	}
}

/* No bit of a packet may change, and no byte be missing. */
static void test_forged(void **state)
{
	const struct quic_seal seal = {
		.dcid = cid, .dcid_n = 8, .scid = other, .scid_n = 2, .token = other, .token_n = 3, .pn_n = 2
	};
	uint8_t packet[256];
	struct dw_quic_packet p;
	size_t n = quic_seal(&seal, ping, sizeof(ping), packet, sizeof(packet)), plain_n;
	unsigned opened = 0;
	for (size_t bit = 0; bit <= n * 8; bit++) {
		size_t at = 0;
		if (bit < n * 8)
			packet[bit / 8] ^= (uint8_t)(1 << bit % 8);
		const uint8_t *datagram = at_guard(packet, n);
		while (dw_quic_packet_next(datagram, n, &at, &p) == DW_PARSE_OK)
			opened += dw_quic_initial_open(&p, plain, &plain_n) == DW_PARSE_OK;
		if (bit < n * 8)
			packet[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(opened, 1); /* the last, which is as it was sealed */
	for (size_t cut = 0; cut < n; cut++) {
		size_t at = 0;
		assert_status(dw_quic_packet_next(at_guard(packet, cut), cut, &at, &p), DW_PARSE_BAD);
		assert_int_equal(at, 0);
	}
}

/* Cut with a Length that fits, so that opening is what meets the end. */
static void test_cut_inside(void **state)
{
	const struct quic_seal seal = { .dcid = cid, .dcid_n = 8 };
	uint8_t packet[256];
	struct dw_quic_packet p;
	size_t n = quic_seal(&seal, ping, sizeof(ping), packet, sizeof(packet)), plain_n;
	size_t pn_off = 1 + 4 + 9 + 1 + 1 + 2;
	for (size_t left = 0; left <= n - pn_off; left++) {
		packet[pn_off - 1] = (uint8_t)left;
		only_initial(packet, pn_off + left, &p);
		assert_status(dw_quic_initial_open(&p, plain, &plain_n),
			      left == n - pn_off ? DW_PARSE_OK : DW_PARSE_BAD);
	}
}

int main(void)
{
	add_test("the keys of the appendixes", test_keys);
	add_test("the client Initials of the appendixes", test_appendix);
	ADD_ROWS(rows, test_row);
	add_test("the fields of an Initial", test_fields);
	add_test("what a client may choose", test_opens);
	add_test("the shortest that has a sample", test_shortest);
	add_test("packet numbers", test_numbers);
	add_test("the keys of another DCID", test_other_keys);
	add_test("every bit flipped, every prefix", test_forged);
	add_test("cut, with a Length that fits", test_cut_inside);
	return run_all("quic");
}
