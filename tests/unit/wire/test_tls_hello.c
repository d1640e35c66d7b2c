/* SPDX-License-Identifier: Apache-2.0 */
#include "wire_test.h"

#include <stdio.h>

#include "core/macros.h"
#include "hello_openssl.h"
#include "wire/tls_hello.h"

/* A hello in one record, given its extensions; BODY is what stands before them. */
#define BODY              " 0303 x32:11 [1 x32:22 ] [ 1301 1302 ] [1 00 ] "
#define HELLO(extensions) "16 0301 [ 01 [3 " BODY " [ " extensions " ] ] ]"
#define SNI(name)         " 0000 [ [ 00 [ " name " ] ] ] "
#define VERSIONS          " 002b [ [1 0304 0303 ] ] "
#define GROUPS            " 000a [ [ 001d ] ] "

static const struct row {
	const char *name, *stream;
	enum dw_parse status;
	const char *sni; /* NULL: none */
	bool ech, tls13;
} rows[] = {
	/* clang-format off */
	{ "SNI and TLS 1.3", HELLO(GROUPS SNI("s:a.test") VERSIONS), DW_PARSE_OK, "a.test", false, true },
	{ "TLS 1.2 only", HELLO(SNI("s:a.test") GROUPS), DW_PARSE_OK, "a.test" },
	{ "supported_versions without 1.3", HELLO(SNI("s:a.test") "002b [ [1 0303 ] ]"), DW_PARSE_OK, "a.test" },
	{ "supported_versions empty", HELLO(SNI("s:a.test") "002b [ [1 ] ]"), DW_PARSE_BAD },
	{ "supported_versions of odd length", HELLO(SNI("s:a.test") "002b [ [1 030403 ] ]"), DW_PARSE_BAD },
	{ "supported_versions with bytes behind", HELLO(SNI("s:a.test") "002b [ [1 0304 ] 00 ]"), DW_PARSE_BAD },
	{ "EC-132 no SNI", HELLO(GROUPS VERSIONS), DW_PARSE_OK, NULL, false, true },
	{ "no extensions at all", "16 0301 [ 01 [3 " BODY " ] ]", DW_PARSE_OK, NULL },
	{ "an empty extension list", HELLO(""), DW_PARSE_OK, NULL },
	{ "EC-142 two SNI extensions", HELLO(SNI("s:a.test") GROUPS SNI("s:evil.test")), DW_PARSE_BAD },
	{ "EC-142 the same SNI twice", HELLO(SNI("s:a.test") SNI("s:a.test")), DW_PARSE_BAD },
	{ "EC-142 two names in one SNI", HELLO("0000 [ [ 00 [ s:a.test ] 00 [ s:evil.test ] ] ]"), DW_PARSE_BAD },
	{ "EC-143 a name type other than host_name", HELLO("0000 [ [ 01 [ s:a.test ] ] ]"), DW_PARSE_BAD },
	{ "EC-143 NUL in the name", HELLO(SNI("s:a.test 00 s:.evil")), DW_PARSE_BAD },
	{ "EC-143 NUL behind the name", HELLO(SNI("s:a.test 00")), DW_PARSE_BAD },
	{ "EC-143 an empty name", HELLO(SNI("")), DW_PARSE_BAD },
	{ "an empty name list", HELLO("0000 [ [ ] ]"), DW_PARSE_BAD },
	{ "an empty SNI extension", HELLO("0000 [ ]"), DW_PARSE_BAD },
	{ "bytes behind the name", HELLO("0000 [ [ 00 [ s:a.test ] 00 ] ]"), DW_PARSE_BAD },
	{ "bytes behind the name list", HELLO("0000 [ [ 00 [ s:a.test ] ] 00 ]"), DW_PARSE_BAD },
	{ "name list longer than the extension", HELLO("0000 [ 0020 00 [ s:a.test ] ]"), DW_PARSE_BAD },
	{ "name longer than its list", HELLO("0000 [ [ 00 0020 s:a.test ] ]"), DW_PARSE_BAD },
	{ "a name of 255 bytes", HELLO(SNI("x255:61")), DW_PARSE_OK, 
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" },
	{ "a name of 256 bytes", HELLO(SNI("x256:61")), DW_PARSE_BAD },
	{ "an IP address is returned as it is", HELLO(SNI("s:192.0.2.1")), DW_PARSE_OK, "192.0.2.1" },
	{ "a trailing dot is returned as it is", HELLO(SNI("s:a.test.")), DW_PARSE_OK, "a.test." },
	{ "upper case is returned as it is", HELLO(SNI("s:A.TEST")), DW_PARSE_OK, "A.TEST" },
	{ "raw bytes are returned as they are", HELLO(SNI("c3a9 s:.test")), DW_PARSE_OK, "\xc3\xa9.test" },
	{ "any extension twice", HELLO(GROUPS SNI("s:a.test") GROUPS), DW_PARSE_BAD },
	{ "an unknown extension twice", HELLO("ffff [ ] ffff [ ]"), DW_PARSE_BAD },
	{ "EC-151 ECH", HELLO(SNI("s:a.test") "fe0d [ 00 x40:33 ]" VERSIONS), DW_PARSE_OK, "a.test", true, true },
	{ "EC-151 ECH of a draft", HELLO(SNI("s:a.test") "fe0a [ 00 ]"), DW_PARSE_OK, "a.test", true },
	{ "EC-151 ESNI", HELLO("ffce [ 00 ]"), DW_PARSE_OK, NULL, true },
	{ "extension longer than the list", HELLO("ff00 0009 0000"), DW_PARSE_BAD },
	{ "half an extension header", HELLO("ff00 00"), DW_PARSE_BAD },
	{ "bytes behind the extensions", "16 0301 [ 01 [3 " BODY " [ ] 00 ] ]", DW_PARSE_BAD },
	{ "extension list longer than the hello", "16 0301 [ 01 [3 " BODY " 0005 00 ] ]", DW_PARSE_BAD },
	{ "one byte of an extension length", "16 0301 [ 01 [3 " BODY " 00 ] ]", DW_PARSE_BAD },
	{ "session id of 33 bytes", "16 0301 [ 01 [3 0303 x32:11 [1 x33:22 ] [ 1301 ] [1 00 ] ] ]", DW_PARSE_BAD },
	{ "no cipher suites", "16 0301 [ 01 [3 0303 x32:11 [1 ] [ ] [1 00 ] ] ]", DW_PARSE_BAD },
	{ "cipher suites of odd length", "16 0301 [ 01 [3 0303 x32:11 [1 ] [ 130113 ] [1 00 ] ] ]", DW_PARSE_BAD },
	{ "no compression method", "16 0301 [ 01 [3 0303 x32:11 [1 ] [ 1301 ] [1 ] ] ]", DW_PARSE_BAD },
	{ "hello version 0x0200", "16 0301 [ 01 [3 0200 x32:11 [1 ] [ 1301 ] [1 00 ] ] ]", DW_PARSE_BAD },
	{ "hello cut inside the random, lengths right", "16 0301 [ 01 [3 0303 x16:11 ] ]", DW_PARSE_BAD },
	{ "a hello of no bytes", "16 0301 [ 01 [3 ] ]", DW_PARSE_BAD },
	{ "another handshake message first", "16 0301 [ 02 [3 " BODY " ] ]", DW_PARSE_BAD },
	{ "another message in the hello's record", "16 0301 [ 01 [3 " BODY " ] 01 [3 " BODY " ] ]", DW_PARSE_BAD },
	{ "a byte of another message in the hello's record", "16 0301 [ 01 [3 " BODY " ] 00 ]", DW_PARSE_BAD },
	{ "an alert record first", "15 0301 [ 0100 ] 16 0301 [ 01 [3 " BODY " ] ]", DW_PARSE_BAD },
	{ "an alert record in between", "16 0301 [ 01000028 ] 15 0301 [ 0100 ]", DW_PARSE_BAD },
	{ "an empty record in between", "16 0301 [ 01000028 ] 16 0301 [ ]", DW_PARSE_BAD },
	{ "an empty record first", "16 0301 [ ] 16 0301 [ 01 ]", DW_PARSE_BAD },
	{ "a record of 2^14+1 bytes", "16 0301 4001 01", DW_PARSE_BAD },
	{ "a record of another major version", "16 0201 [ 01 ]", DW_PARSE_BAD },
	{ "EC-140 a hello announced over the limit", "16 0301 [ 01 010000 0303 ]", DW_PARSE_BIG },
	{ "SSLv2 hello", "80 2e 01 0301 0015 0000 0010 x37:00", DW_PARSE_BAD },
	{ "HTTP", "s:GET 20 s:/", DW_PARSE_BAD },
	{ "SSH", "s:SSH-2.0-OpenSSH_9.2 0d0a", DW_PARSE_BAD },
	{ "nothing yet", "", DW_PARSE_MORE },
	{ "half a record header", "16 0301 01", DW_PARSE_MORE },
	{ "EC-145 a record that begins with a wrong message, not all there", "16 0301 0100 02", DW_PARSE_BAD },
	/* clang-format on */
};

static uint8_t scratch[DW_TLS_HELLO_MAX];
static uint8_t buf[4 * 65536], split[4 * 65536];

static enum dw_parse parse(const void *data, size_t n, struct dw_tls_hello *ret)
{
	return dw_tls_hello_parse(at_guard(data, n), n, scratch, ret);
}

static void test_row(void **state)
{
	const struct row *row = *state;
	size_t n = assemble(row->stream, buf, sizeof(buf));
	struct dw_tls_hello h, before;
	memset(&h, 0xa5, sizeof(h));
	before = h;
	assert_status(parse(buf, n, &h), row->status);
	if (row->status != DW_PARSE_OK) {
		assert_memory_equal(&h, &before, sizeof(h));
		return;
	}
	assert_int_equal(h.has_sni, row->sni != NULL);
	assert_int_equal(h.sni_n, row->sni ? strlen(row->sni) : 0);
	assert_string_equal(h.sni, row->sni ? row->sni : "");
	assert_int_equal(h.has_ech, row->ech);
	assert_int_equal(h.has_tls13, row->tls13);
	assert_int_equal(h.legacy_version, 0x0303);
	assert_int_equal(h.stream_n, n);
}

/* EC-138: every prefix of a good hello is MORE, and what follows the record does not matter. */
static void check_prefixes(size_t n, const char *sni)
{
	struct dw_tls_hello h;
	for (size_t len = 0; len < n; len++)
		assert_status(parse(buf, len, &h), DW_PARSE_MORE);
	assert_status(parse(buf, n, &h), DW_PARSE_OK);
	assert_string_equal(h.sni, sni);
	memset(buf + n, 0xff, 9);
	assert_status(parse(buf, n + 9, &h), DW_PARSE_OK);
	assert_int_equal(h.stream_n, n);
}

static void test_prefixes(void **state)
{
	check_prefixes(assemble(HELLO(GROUPS SNI("s:a.test") VERSIONS), buf, sizeof(buf)), "a.test");
}

static void test_openssl(void **state)
{
	struct dw_tls_hello h;
	size_t n = assemble(HELLO_OPENSSL, buf, sizeof(buf));
	check_prefixes(n, "allowed.example.test");
	assert_status(parse(buf, n, &h), DW_PARSE_OK);
	assert_true(h.has_tls13);
	assert_false(h.has_ech);
}

/* Writes the handshake message in buf (one record of n bytes) as records of `first` bytes and then `each`. */
static size_t split_records(size_t n, size_t first, size_t each)
{
	size_t out = 0;
	for (size_t at = 5, len = first; at < n; at += len, len = each) {
		len = DW_MIN(len, n - at);
		const uint8_t header[5] = { 22, 3, 1, (uint8_t)(len >> 8), (uint8_t)len };
		memcpy(split + out, header, 5);
		memcpy(split + out + 5, buf + at, len);
		out += 5 + len;
	}
	return out;
}

/* EC-139 */
static void test_split_everywhere(void **state)
{
	size_t n = assemble(HELLO_OPENSSL, buf, sizeof(buf));
	struct dw_tls_hello whole, h;
	assert_status(parse(buf, n, &whole), DW_PARSE_OK);
	for (size_t first = 1; first < n - 5; first++) {
		size_t split_n = split_records(n, first, n);
		assert_int_equal(split_n, n + 5);
		assert_status(parse(split, split_n, &h), DW_PARSE_OK);
		assert_string_equal(h.sni, whole.sni);
		assert_int_equal(h.stream_n, split_n);
		assert_status(parse(split, split_n - 1, &h), DW_PARSE_MORE);
	}
}

static void test_one_byte_records(void **state)
{
	size_t n = assemble(HELLO(SNI("s:a.test") VERSIONS), buf, sizeof(buf));
	size_t split_n = split_records(n, 1, 1);
	struct dw_tls_hello h;
	for (size_t len = 0; len < split_n; len++)
		assert_status(parse(split, len, &h), DW_PARSE_MORE);
	assert_status(parse(split, split_n, &h), DW_PARSE_OK);
	assert_string_equal(h.sni, "a.test");
}

/* EC-140: the key share and ticket of the future. */
static void test_large(void **state)
{
	static uint8_t one[65536 + 1024];
	static const struct {
		const char *hello;
		enum dw_parse status;
	} cases[] = {
		{ HELLO("0033 [ [ 11ec [ x1216:44 ] ] ]" SNI("s:a.test") VERSIONS), DW_PARSE_OK },
		{ HELLO("0033 [ x20000:44 ] 0029 [ x4096:55 ]" SNI("s:a.test") VERSIONS), DW_PARSE_OK },
		{ HELLO("0033 [ x60000:44 ]" SNI("s:a.test") VERSIONS), DW_PARSE_OK },
		{ HELLO("0033 [ x32000:44 ] 0034 [ x33200:44 ]" SNI("s:a.test")), DW_PARSE_OK },
		{ HELLO("0033 [ x32000:44 ] 0034 [ x33420:44 ]" SNI("s:a.test")), DW_PARSE_BIG },
	};
	for (size_t i = 0; i < DW_COUNT(cases); i++) {
		struct dw_tls_hello h;
		size_t n = assemble(cases[i].hello, one, sizeof(one));
		memcpy(buf, one, n);
		size_t split_n = split_records(n, 16384, 16384);
		assert_status(parse(split, split_n, &h), cases[i].status);
		if (cases[i].status != DW_PARSE_OK)
			continue;
		assert_string_equal(h.sni, "a.test");
		for (size_t len = 0; len < split_n; len += 509)
			assert_status(parse(split, len, &h), DW_PARSE_MORE);
		assert_status(parse(split, split_n - 1, &h), DW_PARSE_MORE);
	}
}

/* The limit counts the stream, record headers included. */
static void test_big_by_records(void **state)
{
	struct dw_tls_hello h;
	size_t n = assemble(HELLO("0033 [ x60000:44 ]" SNI("s:a.test")), buf, sizeof(buf));
	size_t split_n = split_records(n, 50, 50);
	assert_true(split_n > DW_TLS_HELLO_MAX);
	assert_status(parse(split, DW_TLS_HELLO_MAX - 1, &h), DW_PARSE_MORE);
	assert_status(parse(split, DW_TLS_HELLO_MAX, &h), DW_PARSE_BIG);
	assert_status(parse(split, split_n, &h), DW_PARSE_BIG);
	/* 2048 records, and one more. */
	for (size_t over = 0; over < 2; over++) {
		char text[256];
		snprintf(text, sizeof(text), HELLO("ff00 [ x%zu:44 ]"), DW_TLS_RECORDS_MAX - 85 + over);
		n = assemble(text, buf, sizeof(buf));
		assert_int_equal(n - 5, DW_TLS_RECORDS_MAX + over);
		split_n = split_records(n, 1, 1);
		assert_status(parse(split, split_n, &h), over ? DW_PARSE_BIG : DW_PARSE_OK);
	}
	/* Exactly at the limit, and one byte over: 85 bytes of hello beside the extension, four record headers. */
	for (size_t over = 0; over < 2; over++) {
		char text[256];
		snprintf(text, sizeof(text), HELLO("ff00 [ x%zu:44 ]"), DW_TLS_HELLO_MAX - 4 * 5 - 85 + over);
		n = assemble(text, buf, sizeof(buf));
		split_n = split_records(n, 16384, 16384);
		assert_int_equal(split_n, DW_TLS_HELLO_MAX + over);
		assert_status(parse(split, split_n, &h), over ? DW_PARSE_BIG : DW_PARSE_OK);
	}
}

/* The same message without records: every prefix, the whole, and a byte more. */
static void test_message(void **state)
{
	struct dw_tls_hello h, whole;
	size_t n = assemble(HELLO_OPENSSL, buf, sizeof(buf)) - 5;
	assert_status(parse(buf, n + 5, &whole), DW_PARSE_OK);
	for (size_t len = 0; len < n; len++)
		assert_status(dw_tls_hello_message_parse(at_guard(buf + 5, len), len, &h), DW_PARSE_MORE);
	assert_status(dw_tls_hello_message_parse(at_guard(buf + 5, n), n, &h), DW_PARSE_OK);
	assert_int_equal(h.stream_n, n);
	assert_string_equal(h.sni, whole.sni);
	assert_int_equal(h.has_tls13, whole.has_tls13);
	buf[n + 5] = 1;
	assert_status(dw_tls_hello_message_parse(at_guard(buf + 5, n + 1), n + 1, &h), DW_PARSE_BAD);
	buf[5] = 2;
	assert_status(dw_tls_hello_message_parse(at_guard(buf + 5, 1), 1, &h), DW_PARSE_BAD);
}

static void test_looks_like(void **state)
{
	static const struct {
		const char *bytes;
		enum dw_parse status;
	} cases[] = {
		/* clang-format off */
		{ "", DW_PARSE_MORE }, { "16", DW_PARSE_MORE }, { "1603", DW_PARSE_OK }, { "160301", DW_PARSE_OK },
		{ "1602", DW_PARSE_MORE }, { "1602 01 0100", DW_PARSE_MORE }, { "1602 01 0100 01", DW_PARSE_OK },
		{ "1602 01 0100 02", DW_PARSE_BAD }, { "1602 01 0000 01", DW_PARSE_BAD },
		{ "15", DW_PARSE_MORE }, { "1503 01 0002", DW_PARSE_MORE }, { "1503 01 0002 01", DW_PARSE_OK },
		{ "1503 01 0002 03", DW_PARSE_BAD }, { "1503 01 0102", DW_PARSE_BAD },
		{ "80", DW_PARSE_MORE }, { "8001 02", DW_PARSE_BAD }, { "8001 01 03", DW_PARSE_OK },
		{ "8001 01 00", DW_PARSE_BAD }, { "ff", DW_PARSE_BAD }, { "00", DW_PARSE_BAD }, { "s:GET", DW_PARSE_BAD },
		/* clang-format on */
	};
	for (size_t i = 0; i < DW_COUNT(cases); i++) {
		size_t n = assemble(cases[i].bytes, buf, sizeof(buf));
		assert_status(dw_tls_looks_like(at_guard(buf, n), n), cases[i].status);
	}
}

static void test_alert(void **state)
{
	static const uint8_t want[] = { 21, 3, 3, 0, 2, 2, 49 };
	uint8_t out[DW_TLS_ALERT_SIZE];
	dw_tls_alert_build(49, out);
	assert_memory_equal(out, want, sizeof(want));
}

int main(void)
{
	ADD_ROWS(rows, test_row);
	add_test("EC-138 every prefix is MORE", test_prefixes);
	add_test("EC-138 a hello of OpenSSL, every prefix", test_openssl);
	add_test("EC-139 a hello of OpenSSL in two records, split everywhere", test_split_everywhere);
	add_test("EC-139 records of one byte, every prefix", test_one_byte_records);
	add_test("EC-140 large hellos", test_large);
	add_test("EC-140 over the limit by record headers", test_big_by_records);
	add_test("a message without records", test_message);
	add_test("looks like TLS", test_looks_like);
	add_test("an alert", test_alert);
	return run_all("tls_hello");
}
