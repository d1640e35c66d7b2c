/* SPDX-License-Identifier: Apache-2.0 */
#include "wire_test.h"

#include "wire/dns.h"

/* The question www.example.test stands at 12 (0c), example.test at 16 (10), test at 24 (18); records begin at 34 (22). */
#define HEAD(flags, an, ns, ar) "1234 " flags " 0001 " an " " ns " " ar " "
#define Q_A                     " n:www.example.test 0001 0001 "
#define Q_AAAA                  " n:www.example.test 001c 0001 "
#define A(owner, ip)            " " owner " 0001 0001 0000012c [ " ip " ] "
#define AAAA(owner, ip)         " " owner " 001c 0001 0000012c [ " ip " ] "
#define CNAME(owner, target)    " " owner " 0005 0001 00000064 [ " target " ] "
#define V6_1                    "20010db8000000000000000000000001"

static const struct row {
	const char *name, *msg;
	uint16_t qtype;
	enum dw_parse status;
	const char *addrs;
	uint32_t ttl;
	uint16_t rcode;
	bool truncated;
} rows[] = {
	/* clang-format off */
	{ "one address", HEAD("8180", "0001", "0000", "0000") Q_A A("c00c", "01020304"), 1, DW_PARSE_OK, "1.2.3.4 ", 300 },
	{ "uncompressed owner in other case", HEAD("8180", "0001", "0000", "0000") Q_A A("n:WWW.Example.TEST", "01020304"), 1, DW_PARSE_OK, "1.2.3.4 ", 300 },
	{ "question in other case", HEAD("8180", "0001", "0000", "0000") "n:wWw.eXample.tesT 0001 0001" A("c00c", "01020304"), 1, DW_PARSE_OK, "1.2.3.4 ", 300 },
	{ "AAAA", HEAD("8180", "0001", "0000", "0000") Q_AAAA AAAA("c00c", V6_1), 28, DW_PARSE_OK, "2001:db8::1 ", 300 },
	{ "A records in an AAAA answer are not taken", HEAD("8180", "0002", "0000", "0000") Q_AAAA A("c00c", "01020304") AAAA("c00c", V6_1), 28, DW_PARSE_OK, "2001:db8::1 ", 300 },
	{ "IPv4-mapped AAAA is dropped", HEAD("8180", "0001", "0000", "0000") Q_AAAA AAAA("c00c", "00000000000000000000ffff 0a000001"), 28, DW_PARSE_OK, "", 0 },
	{ "no records: NODATA", HEAD("8180", "0000", "0000", "0000") Q_A, 1, DW_PARSE_OK, "", 0 },
	{ "NXDOMAIN with SOA", HEAD("8183", "0000", "0001", "0000") Q_A "c010 0006 0001 0000003c [ c010 c010 x20:00 ]", 1, DW_PARSE_OK, "", 0, 3 },
	{ "addresses beside an error are not taken", HEAD("8182", "0001", "0000", "0000") Q_A A("c00c", "01020304"), 1, DW_PARSE_OK, "", 0, 2 },
	{ "rcode has its upper bits from OPT (BADVERS)", HEAD("8180", "0001", "0000", "0001") Q_A A("c00c", "01020304") "00 0029 04d0 01000000 [ ]", 1, DW_PARSE_OK, "", 0, 16 },
	{ "OPT with an EDE option", HEAD("8180", "0001", "0000", "0001") Q_A A("c00c", "01020304") "00 0029 04d0 00000000 [ 000f [ 0000 s:why ] ]", 1, DW_PARSE_OK, "1.2.3.4 ", 300 },
	{ "two OPT", HEAD("8180", "0000", "0000", "0002") Q_A "00 0029 04d0 00000000 [ ] 00 0029 04d0 00000000 [ ]", 1, DW_PARSE_BAD },
	{ "malformed OPT", HEAD("8180", "0000", "0000", "0001") Q_A "00 0029 04d0 00000000 [ 000f 0009 ]", 1, DW_PARSE_BAD },
	{ "EC-047 a foreign owner in the answer", HEAD("8180", "0002", "0000", "0000") Q_A A("c00c", "01020304") A("n:evil.test", "06060606"), 1, DW_PARSE_OK, "1.2.3.4 ", 300 },
	{ "EC-047 a foreign owner first", HEAD("8180", "0002", "0000", "0000") Q_A A("n:evil.test", "06060606") A("c00c", "01020304"), 1, DW_PARSE_OK, "1.2.3.4 ", 300 },
	{ "EC-047 the parent's address", HEAD("8180", "0001", "0000", "0000") Q_A A("c010", "06060606"), 1, DW_PARSE_OK, "", 0 },
	{ "EC-048 glue in authority and additional", HEAD("8180", "0001", "0002", "0001") Q_A A("c00c", "01020304") "c010 0002 0001 0000003c [ l:ns c010 ]" A("c00c", "06060606") A("c00c", "07070707"), 1, DW_PARSE_OK, "1.2.3.4 ", 300 },
	{ "class CHAOS is not taken", HEAD("8180", "0001", "0000", "0000") Q_A "c00c 0001 0003 0000012c [ 01020304 ]", 1, DW_PARSE_OK, "", 0 },
	{ "CNAME chain, least TTL", HEAD("8180", "0003", "0000", "0000") Q_A CNAME("c00c", "n:b.test") CNAME("n:b.test", "n:c.test") A("n:c.test", "01020304"), 1, DW_PARSE_OK, "1.2.3.4 ", 100 },
	{ "CNAME chain out of order", HEAD("8180", "0003", "0000", "0000") Q_A A("n:c.test", "01020304") CNAME("n:b.test", "n:c.test") CNAME("c00c", "n:b.test"), 1, DW_PARSE_OK, "1.2.3.4 ", 100 },
	{ "an address in the middle of the chain", HEAD("8180", "0003", "0000", "0000") Q_A CNAME("c00c", "n:b.test") A("c00c", "06060606") A("n:b.test", "01020304"), 1, DW_PARSE_OK, "1.2.3.4 ", 100 },
	{ "CNAME without address", HEAD("8180", "0001", "0000", "0000") Q_A CNAME("c00c", "n:b.test"), 1, DW_PARSE_OK, "", 0 },
	{ "CNAME of a foreign owner", HEAD("8180", "0002", "0000", "0000") Q_A CNAME("n:evil.test", "n:b.test") A("n:b.test", "06060606"), 1, DW_PARSE_OK, "", 0 },
	{ "CNAME target compressed", HEAD("8180", "0002", "0000", "0000") Q_A CNAME("c00c", "l:cdn c010") A("c02e", "01020304"), 1, DW_PARSE_OK, "1.2.3.4 ", 100 },
	{ "the same CNAME twice", HEAD("8180", "0003", "0000", "0000") Q_A CNAME("c00c", "n:b.test") CNAME("c00c", "n:B.test") A("n:b.test", "01020304"), 1, DW_PARSE_OK, "1.2.3.4 ", 100 },
	{ "two different CNAMEs", HEAD("8180", "0003", "0000", "0000") Q_A CNAME("c00c", "n:b.test") CNAME("c00c", "n:c.test") A("n:b.test", "01020304"), 1, DW_PARSE_BAD },
	{ "CNAME to itself", HEAD("8180", "0001", "0000", "0000") Q_A CNAME("c00c", "c00c"), 1, DW_PARSE_BAD },
	{ "CNAME loop of two", HEAD("8180", "0002", "0000", "0000") Q_A CNAME("c00c", "n:b.test") CNAME("n:b.test", "c00c"), 1, DW_PARSE_BAD },
	{ "CNAME with bytes behind the name", HEAD("8180", "0001", "0000", "0000") Q_A CNAME("c00c", "n:b.test 00"), 1, DW_PARSE_BAD },
	{ "CNAME name longer than its RDATA", HEAD("8180", "0001", "0000", "0000") Q_A "c00c 0005 0001 00000064 0004 n:b.test", 1, DW_PARSE_BAD },
	{ "foreign CNAME must be well formed too", HEAD("8180", "0001", "0000", "0000") Q_A CNAME("n:x", "00 00"), 1, DW_PARSE_BAD },
	{ "pointer to itself", HEAD("8180", "0001", "0000", "0000") Q_A A("c022", "01020304"), 1, DW_PARSE_BAD },
	{ "pointer forward", HEAD("8180", "0002", "0000", "0000") Q_A A("c032", "01020304") A("n:www.example.test", "01020304"), 1, DW_PARSE_BAD },
	{ "pointer loop through a label", HEAD("8180", "0001", "0000", "0000") Q_A A("l:a c022", "01020304"), 1, DW_PARSE_BAD },
	{ "pointer into the header", HEAD("8180", "0001", "0000", "0000") Q_A A("c000", "01020304"), 1, DW_PARSE_BAD },
	{ "pointer into the middle of a label", HEAD("8180", "0001", "0000", "0000") Q_A A("c00d", "01020304"), 1, DW_PARSE_BAD },
	{ "half a pointer at the end", HEAD("8180", "0001", "0000", "0000") Q_A "c0", 1, DW_PARSE_BAD },
	{ "label type 0x40 in an owner", HEAD("8180", "0001", "0000", "0000") Q_A A("41 00", "01020304"), 1, DW_PARSE_BAD },
	{ "label type 0x80 in an owner", HEAD("8180", "0001", "0000", "0000") Q_A A("80 00", "01020304"), 1, DW_PARSE_BAD },
	{ "name over 255 bytes by compression", HEAD("8180", "0002", "0000", "0000") Q_A A("3f x63:61 3f x63:61 3f x63:61 3d x61:61 00", "01020304") A("l:a c022", "01020304"), 1, DW_PARSE_BAD },
	{ "A of 3 bytes", HEAD("8180", "0001", "0000", "0000") Q_A A("c00c", "010203"), 1, DW_PARSE_BAD },
	{ "A of 5 bytes", HEAD("8180", "0001", "0000", "0000") Q_A A("c00c", "0102030405"), 1, DW_PARSE_BAD },
	{ "AAAA of 4 bytes in an A answer", HEAD("8180", "0001", "0000", "0000") Q_A AAAA("n:x", "01020304"), 1, DW_PARSE_BAD },
	{ "RDLENGTH behind the end", HEAD("8180", "0001", "0000", "0000") Q_A "c00c 0001 0001 0000012c 0005 01020304", 1, DW_PARSE_BAD },
	{ "TTL 0", HEAD("8180", "0001", "0000", "0000") Q_A "c00c 0001 0001 00000000 [ 01020304 ]", 1, DW_PARSE_OK, "1.2.3.4 ", 0 },
	{ "TTL 2^31-1", HEAD("8180", "0001", "0000", "0000") Q_A "c00c 0001 0001 7fffffff [ 01020304 ]", 1, DW_PARSE_OK, "1.2.3.4 ", 0x7fffffff },
	{ "TTL 2^31 is 0", HEAD("8180", "0001", "0000", "0000") Q_A "c00c 0001 0001 80000000 [ 01020304 ]", 1, DW_PARSE_OK, "1.2.3.4 ", 0 },
	{ "TTL 2^32-1 is 0", HEAD("8180", "0001", "0000", "0000") Q_A "c00c 0001 0001 ffffffff [ 01020304 ]", 1, DW_PARSE_OK, "1.2.3.4 ", 0 },
	{ "duplicates", HEAD("8180", "0003", "0000", "0000") Q_A A("c00c", "01020304") A("c00c", "05060708") A("c00c", "01020304"), 1, DW_PARSE_OK, "1.2.3.4 5.6.7.8 ", 300 },
	{ "other question name", HEAD("8180", "0001", "0000", "0000") "n:evil.example.test 0001 0001" A("c00c", "01020304"), 1, DW_PARSE_BAD },
	{ "other question type", HEAD("8180", "0001", "0000", "0000") Q_AAAA A("c00c", "01020304"), 1, DW_PARSE_BAD },
	{ "other question class", HEAD("8180", "0001", "0000", "0000") "n:www.example.test 0001 0003" A("c00c", "01020304"), 1, DW_PARSE_BAD },
	{ "no question", HEAD("8180", "0001", "0000", "0000") A("n:www.example.test", "01020304"), 1, DW_PARSE_BAD },
	{ "QDCOUNT 0", "1234 8180 0000 0001 0000 0000" A("n:www.example.test", "01020304"), 1, DW_PARSE_BAD },
	{ "QDCOUNT 2", "1234 8180 0002 0000 0000 0000" Q_A Q_A, 1, DW_PARSE_BAD },
	{ "a query", HEAD("0100", "0000", "0000", "0000") Q_A, 1, DW_PARSE_BAD },
	{ "opcode NOTIFY", HEAD("a180", "0000", "0000", "0000") Q_A, 1, DW_PARSE_BAD },
	{ "fewer records than counted", HEAD("8180", "0002", "0000", "0000") Q_A A("c00c", "01020304"), 1, DW_PARSE_BAD },
	{ "more records than counted", HEAD("8180", "0001", "0000", "0000") Q_A A("c00c", "01020304") A("c00c", "05060708"), 1, DW_PARSE_BAD },
	{ "a byte behind the message", HEAD("8180", "0001", "0000", "0000") Q_A A("c00c", "01020304") "00", 1, DW_PARSE_BAD },
	{ "EC-043 truncated", HEAD("8380", "0000", "0000", "0000") Q_A, 1, DW_PARSE_OK, "", 0, 0, true },
	{ "EC-043 truncated inside a record", HEAD("8380", "0009", "0000", "0000") Q_A A("c00c", "01020304") "c00c 00", 1, DW_PARSE_OK, "", 0, 0, true },
	{ "truncated, of another question", HEAD("8380", "0000", "0000", "0000") "n:a 0001 0001", 1, DW_PARSE_BAD },
	/* clang-format on */
};

static struct dw_dns_answer answer, untouched;

static void test_row(void **state)
{
	const struct row *row = *state;
	uint8_t buf[2048];
	size_t n = assemble(row->msg, buf, sizeof(buf));
	memset(&answer, 0xa5, sizeof(answer));
	memset(&untouched, 0xa5, sizeof(untouched));
	assert_status(dw_dns_answer_parse(at_guard(buf, n), n, "www.example.test", row->qtype, &answer), row->status);
	if (row->status != DW_PARSE_OK) {
		assert_memory_equal(&answer, &untouched, sizeof(answer));
		return;
	}
	char text[256] = "", one[DW_ADDR_STRLEN];
	for (size_t i = 0; i < answer.addr_n; i++)
		strcat(strcat(text, dw_addr_format(&answer.addr[i], one)), " ");
	assert_string_equal(text, row->addrs);
	assert_int_equal(answer.ttl, row->ttl);
	assert_int_equal(answer.rcode, row->rcode);
	assert_int_equal(answer.truncated, row->truncated);
	assert_false(answer.more);
}

static uint8_t big[65536];

static size_t with_addresses(unsigned count)
{
	size_t n = assemble(HEAD("8180", "0000", "0000", "0000") Q_A, big, sizeof(big));
	for (unsigned i = 0; i < count; i++) {
		n += assemble("c00c 0001 0001 0000012c 0004 0a00", big + n, sizeof(big) - n);
		big[n++] = (uint8_t)(i >> 8);
		big[n++] = (uint8_t)i;
	}
	big[6] = (uint8_t)(count >> 8);
	big[7] = (uint8_t)count;
	return n;
}

static void test_many(void **state)
{
	for (unsigned count = DW_DNS_ANSWER_MAX - 1; count <= DW_DNS_ANSWER_MAX + 1; count++) {
		size_t n = with_addresses(count);
		assert_status(dw_dns_answer_parse(at_guard(big, n), n, "www.example.test", 1, &answer), DW_PARSE_OK);
		assert_int_equal(answer.addr_n, DW_MIN(count, DW_DNS_ANSWER_MAX));
		assert_int_equal(answer.more, count > DW_DNS_ANSWER_MAX);
	}
	size_t n = with_addresses(4000);
	assert_status(dw_dns_answer_parse(at_guard(big, n), n, "www.example.test", 1, &answer), DW_PARSE_OK);
	assert_true(answer.more);
	/* A duplicate behind the last one that fits is not "more". */
	n = with_addresses(DW_DNS_ANSWER_MAX + 1);
	big[n - 2] = 0;
	big[n - 1] = 7;
	assert_status(dw_dns_answer_parse(at_guard(big, n), n, "www.example.test", 1, &answer), DW_PARSE_OK);
	assert_false(answer.more);
}

static void test_chain_length(void **state)
{
	for (unsigned hops = DW_DNS_CHAIN_MAX; hops <= DW_DNS_CHAIN_MAX + 1; hops++) {
		size_t n = assemble(HEAD("8180", "0000", "0000", "0000") Q_A, big, sizeof(big));
		size_t owner = 12;
		for (unsigned i = 0; i < hops; i++) {
			const uint8_t rr[] = { 0xc0 | (uint8_t)(owner >> 8),
					       (uint8_t)owner,
					       0,
					       5,
					       0,
					       1,
					       0,
					       0,
					       0,
					       60,
					       0,
					       3,
					       1,
					       (uint8_t)('a' + i),
					       0 };
			memcpy(big + n, rr, sizeof(rr));
			n += sizeof(rr);
			owner = n - 3;
		}
		const uint8_t rr[] = {
			0xc0 | (uint8_t)(owner >> 8), (uint8_t)owner, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 2, 3, 4
		};
		memcpy(big + n, rr, sizeof(rr));
		n += sizeof(rr);
		big[7] = (uint8_t)(hops + 1);
		bool fits = hops <= DW_DNS_CHAIN_MAX;
		assert_status(dw_dns_answer_parse(at_guard(big, n), n, "www.example.test", 1, &answer),
			      fits ? DW_PARSE_OK : DW_PARSE_BIG);
		if (fits)
			assert_int_equal(answer.addr_n, 1);
	}
}

/* A chain of bare pointers is bounded, however the message is built. */
static void test_pointer_chain(void **state)
{
	for (unsigned jumps = 64; jumps <= 65; jumps++) {
		/* An opaque record holds pointers, each to the one before; the last record's owner starts at the end of them. */
		size_t n = assemble(HEAD("8180", "0002", "0000", "0000") Q_A "00 0010 0001 00000000 0000", big,
				    sizeof(big));
		size_t rdata = n, target = 12;
		for (unsigned i = 0; i < jumps - 1; i++) {
			size_t at = n;
			big[n++] = 0xc0 | (uint8_t)(target >> 8);
			big[n++] = (uint8_t)target;
			target = at;
		}
		big[rdata - 2] = (uint8_t)((n - rdata) >> 8);
		big[rdata - 1] = (uint8_t)(n - rdata);
		big[n++] = 0xc0 | (uint8_t)(target >> 8);
		big[n++] = (uint8_t)target;
		n += assemble("0001 0001 0000003c [ 01020304 ]", big + n, sizeof(big) - n);
		assert_status(dw_dns_answer_parse(at_guard(big, n), n, "www.example.test", 1, &answer),
			      jumps <= 64 ? DW_PARSE_OK : DW_PARSE_BAD);
	}
}

static void test_truncation(void **state)
{
	uint8_t buf[512];
	size_t n = assemble(
		HEAD("8180", "0003", "0001", "0001") Q_A CNAME("c00c", "n:b.test") CNAME("n:b.test", "l:c c030")
			A("n:c.test", "01020304") "c010 0002 0001 0000003c [ l:ns c010 ] 00 0029 04d0 00000000 [ ]",
		buf, sizeof(buf));
	assert_status(dw_dns_answer_parse(at_guard(buf, n), n, "www.example.test", 1, &answer), DW_PARSE_OK);
	assert_int_equal(answer.addr_n, 1);
	for (size_t len = 0; len < n; len++)
		assert_status(dw_dns_answer_parse(at_guard(buf, len), len, "www.example.test", 1, &answer),
			      DW_PARSE_BAD);
}

static void test_bad_qname(void **state)
{
	static const char *const names[] = { "www.example.test.", "www..example.test", ".www.example.test", "other" };
	size_t n = with_addresses(1);
	for (size_t i = 0; i < DW_COUNT(names); i++)
		assert_status(dw_dns_answer_parse(big, n, names[i], 1, &answer), DW_PARSE_BAD);
}

int main(void)
{
	ADD_ROWS(rows, test_row);
	add_test("over 512 addresses", test_many);
	add_test("CNAME chain of the longest length and one more", test_chain_length);
	add_test("pointers to pointers", test_pointer_chain);
	add_test("every prefix is BAD", test_truncation);
	add_test("a queried name in another spelling matches nothing", test_bad_qname);
	return run_all("dns_answer");
}
