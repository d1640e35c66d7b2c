/* SPDX-License-Identifier: Apache-2.0 */
#include "wire_test.h"

#include "wire/dns.h"

/* id, flags, QDCOUNT, then the other three counts */
#define ID      "1234 "
#define RD      "0100 "
#define ONE     " 0001 0000 0000 0000 "
#define ONE_OPT " 0001 0000 0000 0001 "
#define WWW_A   " n:www.Example.test 0001 0001 "
#define OPT     " 00 0029 04d0 00 00 0000 " /* root, OPT, 1232 bytes, rcode, version, flags; the options follow */

static const struct row {
	const char *name, *msg;
	enum dw_parse status;
	bool has_id;
	const char *qname;
	bool name_ok;
	uint16_t qtype;
	uint16_t udp_size; /* 0: no EDNS */
} rows[] = {
	/* clang-format off */
	{ "plain query, case kept", ID RD ONE WWW_A, DW_PARSE_OK, true, "www.Example.test", true, 1, 0 },
	{ "AAAA query", ID RD ONE "n:a.b 001c 0001", DW_PARSE_OK, true, "a.b", true, 28, 0 },
	{ "class CHAOS is well formed", ID RD ONE "n:a.b 0010 0003", DW_PARSE_OK, true, "a.b", true, 16, 0 },
	{ "the root is no host name", ID RD ONE "00 0002 0001", DW_PARSE_OK, true, ".", false, 2, 0 },
	{ "underscore and digits", ID RD ONE "n:_dmarc.1-2.test 0001 0001", DW_PARSE_OK, true, "_dmarc.1-2.test", true, 1, 0 },
	{ "EDNS", ID RD ONE_OPT WWW_A OPT "[ ]", DW_PARSE_OK, true, "www.Example.test", true, 1, 1232 },
	{ "EC-039 EDNS options are read over", ID RD ONE_OPT WWW_A OPT "[ 000a [ 0102030405060708 ] fde9 [ x200:78 ] ]",
	  DW_PARSE_OK, true, "www.Example.test", true, 1, 1232 },
	{ "EDNS size below 512 counts as 512", ID RD ONE_OPT WWW_A "00 0029 0100 00000000 [ ]", DW_PARSE_OK, true, "www.Example.test", true, 1, 512 },
	{ "EDNS option longer than the record", ID RD ONE_OPT WWW_A OPT "[ 000a 0009 0102030405060708 ]", DW_PARSE_BAD, true },
	{ "EDNS half an option header", ID RD ONE_OPT WWW_A OPT "[ 000a00 ]", DW_PARSE_BAD, true },
	{ "EDNS version 1", ID RD ONE_OPT WWW_A "00 0029 04d0 00010000 [ ]", DW_PARSE_BAD, true },
	{ "OPT with an owner", ID RD ONE_OPT WWW_A "n:a 0029 04d0 00000000 [ ]", DW_PARSE_BAD, true },
	{ "OPT owner compressed to the root", ID RD ONE_OPT "00 0001 0001 c00c 0029 04d0 00000000 [ ]", DW_PARSE_OK, true, ".", false, 1, 1232 },
	{ "additional record that is no OPT", ID RD ONE_OPT WWW_A "00 0001 0001 00000000 [ 01020304 ]", DW_PARSE_BAD, true },
	{ "two OPT", ID RD "0001 0000 0000 0002" WWW_A OPT "[ ]" OPT "[ ]", DW_PARSE_BAD, true },
	{ "ARCOUNT 1 and nothing there", ID RD ONE_OPT WWW_A, DW_PARSE_BAD, true },
	{ "OPT there and ARCOUNT 0", ID RD ONE WWW_A OPT "[ ]", DW_PARSE_BAD, true },
	{ "EC-037 QDCOUNT 0", ID RD "0000 0000 0000 0000", DW_PARSE_BAD, true },
	{ "EC-037 QDCOUNT 2", ID RD "0002 0000 0000 0000" WWW_A "n:evil.test 0001 0001", DW_PARSE_BAD, true },
	{ "EC-037 QDCOUNT 255", ID RD "00ff 0000 0000 0000" WWW_A, DW_PARSE_BAD, true },
	{ "EC-040 a byte behind the message", ID RD ONE WWW_A "00", DW_PARSE_BAD, true },
	{ "EC-040 an answer in the query", ID RD "0001 0001 0000 0000" WWW_A "c00c 0001 0001 00000000 [ 01020304 ]", DW_PARSE_BAD, true },
	{ "EC-040 an authority record", ID RD "0001 0000 0001 0000" WWW_A "c00c 0001 0001 00000000 [ 01020304 ]", DW_PARSE_BAD, true },
	{ "question compressed to itself", ID RD ONE "c00c 0001 0001", DW_PARSE_BAD, true },
	{ "question with a label and a pointer", ID RD ONE "l:www c00c 0001 0001", DW_PARSE_BAD, true },
	{ "label type 0x40", ID RD ONE "41 61 00 0001 0001", DW_PARSE_BAD, true },
	{ "label type 0x80", ID RD ONE "81 61 00 0001 0001", DW_PARSE_BAD, true },
	{ "label of 63 bytes", ID RD ONE "3f x63:61 00 0001 0001", DW_PARSE_OK, true,
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", true, 1, 0 },
	{ "label of 64 bytes", ID RD ONE "40 x64:61 00 0001 0001", DW_PARSE_BAD, true },
	{ "name of 256 bytes", ID RD ONE "3f x63:61 3f x63:61 3f x63:61 3e x62:61 00 0001 0001", DW_PARSE_BAD, true },
	{ "name without end", ID RD ONE "3f x63:61", DW_PARSE_BAD, true },
	{ "label longer than the message", ID RD ONE "0a 6161", DW_PARSE_BAD, true },
	{ "NUL in a label", ID RD ONE "04 77007777 00 0001 0001", DW_PARSE_OK, true, "w?ww", false, 1, 0 },
	{ "dot in a label", ID RD ONE "03 612e62 00 0001 0001", DW_PARSE_OK, true, "a?b", false, 1, 0 },
	{ "UTF-8 in a label", ID RD ONE "03 c3a961 00 0001 0001", DW_PARSE_OK, true, "??a", false, 1, 0 },
	{ "backslash and space in a label", ID RD ONE "03 5c2061 00 0001 0001", DW_PARSE_OK, true, "??a", false, 1, 0 },
	{ "a response must not be answered", ID "8100" ONE WWW_A, DW_PARSE_BAD, false },
	{ "opcode STATUS", ID "1000" ONE WWW_A, DW_PARSE_BAD, true },
	{ "opcode UPDATE", ID "2800" ONE WWW_A, DW_PARSE_BAD, true },
	{ "TC in a query", ID "0300" ONE WWW_A, DW_PARSE_BAD, true },
	{ "AD is nothing to us", ID "0120" ONE WWW_A, DW_PARSE_OK, true, "www.Example.test", true, 1, 0 },
	{ "empty message", "", DW_PARSE_BAD, false },
	{ "half a header", ID RD "0001 00", DW_PARSE_BAD, false },
	{ "header alone", ID RD ONE, DW_PARSE_BAD, true },
	{ "no class", ID RD ONE "n:a.b 0001", DW_PARSE_BAD, true },
	/* clang-format on */
};

static void test_row(void **state)
{
	const struct row *row = *state;
	uint8_t buf[1024];
	size_t n = assemble(row->msg, buf, sizeof(buf));
	const uint8_t *msg = at_guard(buf, n);
	struct dw_dns_query q, before;
	bool has_id;
	memset(&q, 0xa5, sizeof(q));
	before = q;
	assert_status(dw_dns_query_parse(msg, n, &q, &has_id), row->status);
	assert_int_equal(has_id, row->has_id);
	if (has_id)
		assert_int_equal(q.id, 0x1234);
	if (row->status != DW_PARSE_OK) {
		before.id = q.id;
		assert_memory_equal(&q, &before, sizeof(q));
		return;
	}
	assert_string_equal(q.qname, row->qname);
	assert_int_equal(q.name_ok, row->name_ok);
	assert_int_equal(q.qtype, row->qtype);
	assert_int_equal(q.edns, row->udp_size != 0);
	assert_int_equal(q.udp_size, row->udp_size ? row->udp_size : 512);
	assert_true(q.rd);
	assert_ptr_equal(q.question.p, msg + 12);
	assert_true(q.question.n <= n - 12);
}

static void test_flags(void **state)
{
	static const struct {
		const char *msg;
		bool rd, cd, dnssec_ok;
	} cases[] = {
		{ ID "0000" ONE_OPT WWW_A OPT "[ ]", false, false, false },
		{ ID "0100" ONE_OPT WWW_A OPT "[ ]", true, false, false },
		{ ID "0010" ONE_OPT WWW_A OPT "[ ]", false, true, false },
		{ ID "0000" ONE_OPT WWW_A "00 0029 04d0 00008000 [ ]", false, false, true },
	};
	for (size_t i = 0; i < DW_COUNT(cases); i++) {
		uint8_t buf[256];
		size_t n = assemble(cases[i].msg, buf, sizeof(buf));
		struct dw_dns_query q;
		bool has_id;
		assert_status(dw_dns_query_parse(buf, n, &q, &has_id), DW_PARSE_OK);
		assert_int_equal(q.rd, cases[i].rd);
		assert_int_equal(q.cd, cases[i].cd);
		assert_int_equal(q.dnssec_ok, cases[i].dnssec_ok);
	}
}

/* 255 bytes on the wire are 253 characters of text. */
static void test_longest_name(void **state)
{
	uint8_t buf[512];
	size_t n = assemble(ID RD ONE "3f x63:61 3f x63:62 3f x63:63 3d x61:64 00 0001 0001", buf, sizeof(buf));
	struct dw_dns_query q;
	bool has_id;
	assert_status(dw_dns_query_parse(at_guard(buf, n), n, &q, &has_id), DW_PARSE_OK);
	assert_int_equal(strlen(q.qname), 253);
	assert_true(q.name_ok);
	assert_int_equal(q.question.n, 259);
}

static void test_truncation(void **state)
{
	uint8_t buf[512];
	size_t n = assemble(ID RD ONE_OPT WWW_A OPT "[ 000a [ 0102030405060708 ] ]", buf, sizeof(buf));
	for (size_t len = 0; len < n; len++) {
		struct dw_dns_query q;
		bool has_id;
		assert_status(dw_dns_query_parse(at_guard(buf, len), len, &q, &has_id), DW_PARSE_BAD);
		assert_int_equal(has_id, len >= 12);
	}
}

int main(void)
{
	ADD_ROWS(rows, test_row);
	add_test("RD, CD and DO are echoed values", test_flags);
	add_test("the longest name", test_longest_name);
	add_test("every prefix is BAD", test_truncation);
	return run_all("dns_query");
}
