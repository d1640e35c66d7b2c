/* SPDX-License-Identifier: Apache-2.0 */
#include "wire_test.h"

#include "wire/dns.h"

#define HEAD(an)            "1234 8180 0001 " an " 0000 0000 n:a.test 0041 0001 "
#define HTTPS(owner, rdata) " " owner " 0041 0001 0000012c [ " rdata " ] "
#define ALPN                " 0001 [ 02 s:h2 ] "
#define PORT                " 0003 [ 20fb ] "
#define HINT4               " 0004 [ 01020304 ] "
#define ECH                 " 0005 [ 00400001 ] "
#define HINT6               " 0006 [ x16:20 ] "

static const struct row {
	const char *name, *msg;
	enum dw_parse status;
	const char *rdata; /* of the kept records, one behind the other */
	size_t count;
	uint32_t ttl;
	uint16_t rcode;
} rows[] = {
	/* clang-format off */
	{ "plain", HEAD("0001") HTTPS("c00c", "0001 00" ALPN), DW_PARSE_OK, "0001 00" ALPN, 1, 300 },
	{ "EC-068 ech and hints are taken out", HEAD("0001") HTTPS("c00c", "0001 00" ALPN PORT HINT4 ECH HINT6), DW_PARSE_OK, "0001 00" ALPN PORT, 1, 300 },
	{ "nothing but ech", HEAD("0001") HTTPS("c00c", "0001 00" ECH), DW_PARSE_OK, "0001 00", 1, 300 },
	{ "unknown keys stay", HEAD("0001") HTTPS("c00c", "0010 00" ALPN ECH " ff00 [ s:x ]"), DW_PARSE_OK, "0010 00" ALPN " ff00 [ s:x ]", 1, 300 },
	{ "EC-068 an alias is dropped", HEAD("0001") HTTPS("c00c", "0000 n:evil.test"), DW_PARSE_OK, "", 0 },
	{ "an alias to the root is dropped", HEAD("0001") HTTPS("c00c", "0000 00"), DW_PARSE_OK, "", 0 },
	{ "another target is dropped", HEAD("0002") HTTPS("c00c", "0001 n:evil.test" ALPN) HTTPS("c00c", "0002 00" ALPN), DW_PARSE_OK, "0002 00" ALPN, 1, 300 },
	{ "the own name spelled out is dropped", HEAD("0001") HTTPS("c00c", "0001 n:a.test" ALPN), DW_PARSE_OK, "", 0 },
	{ "compressed target", HEAD("0001") HTTPS("c00c", "0001 c00c"), DW_PARSE_BAD },
	{ "a foreign owner", HEAD("0001") HTTPS("n:evil.test", "0001 00" ALPN), DW_PARSE_OK, "", 0 },
	{ "at the end of a chain", HEAD("0002") "c00c 0005 0001 0000003c [ n:b.test ] " HTTPS("n:b.test", "0001 00" ALPN), DW_PARSE_OK, "0001 00" ALPN, 1, 60 },
	{ "two records", HEAD("0002") HTTPS("c00c", "0001 00" ALPN) HTTPS("c00c", "0002 00" PORT), DW_PARSE_OK, "0001 00" ALPN " 0002 00" PORT, 2, 300 },
	{ "mandatory alpn", HEAD("0001") HTTPS("c00c", "0001 00 0000 [ 0001 ]" ALPN), DW_PARSE_OK, "0001 00 0000 [ 0001 ]" ALPN, 1, 300 },
	{ "mandatory ech cannot be served", HEAD("0001") HTTPS("c00c", "0001 00 0000 [ 00010005 ]" ALPN ECH), DW_PARSE_OK, "", 0 },
	{ "mandatory without keys", HEAD("0001") HTTPS("c00c", "0001 00 0000 [ ]" ALPN), DW_PARSE_BAD },
	{ "mandatory descending", HEAD("0001") HTTPS("c00c", "0001 00 0000 [ 00030001 ]" ALPN PORT), DW_PARSE_BAD },
	{ "mandatory names itself", HEAD("0001") HTTPS("c00c", "0001 00 0000 [ 0000 ]" ALPN), DW_PARSE_BAD },
	{ "mandatory of three bytes", HEAD("0001") HTTPS("c00c", "0001 00 0000 [ 000103 ]" ALPN), DW_PARSE_BAD },
	{ "keys descending", HEAD("0001") HTTPS("c00c", "0001 00" PORT ALPN), DW_PARSE_BAD },
	{ "a key twice", HEAD("0001") HTTPS("c00c", "0001 00" ALPN ALPN), DW_PARSE_BAD },
	{ "ech twice", HEAD("0001") HTTPS("c00c", "0001 00" ECH ECH), DW_PARSE_BAD },
	{ "value longer than the record", HEAD("0001") HTTPS("c00c", "0001 00 0001 0004 02 s:h2"), DW_PARSE_BAD },
	{ "half a key", HEAD("0001") HTTPS("c00c", "0001 00 00"), DW_PARSE_BAD },
	{ "no target", HEAD("0001") HTTPS("c00c", "0001"), DW_PARSE_BAD },
	{ "half a priority", HEAD("0001") HTTPS("c00c", "00"), DW_PARSE_BAD },
	{ "512 bytes fit", HEAD("0001") HTTPS("c00c", "0001 00 ff00 [ x505:61 ]"), DW_PARSE_OK, "0001 00 ff00 [ x505:61 ]", 1, 300 },
	{ "513 bytes are dropped", HEAD("0001") HTTPS("c00c", "0001 00 ff00 [ x506:61 ]"), DW_PARSE_OK, "", 0 },
	{ "big ech does not count", HEAD("0001") HTTPS("c00c", "0001 00" ALPN " 0005 [ x600:61 ]"), DW_PARSE_OK, "0001 00" ALPN, 1, 300 },
	{ "NODATA", HEAD("0000"), DW_PARSE_OK, "", 0 },
	{ "NXDOMAIN", "1234 8183 0001 0000 0000 0000 n:a.test 0041 0001", DW_PARSE_OK, "", 0, 0, 3 },
	{ "truncated", "1234 8380 0001 0003 0000 0000 n:a.test 0041 0001 c0", DW_PARSE_OK, "", 0 },
	{ "an A answer", "1234 8180 0001 0000 0000 0000 n:a.test 0001 0001", DW_PARSE_BAD },
	/* clang-format on */
};

static void test_row(void **state)
{
	const struct row *row = *state;
	uint8_t buf[2048], want[2048], got[DW_DNS_HTTPS_MAX * 512];
	size_t n = assemble(row->msg, buf, sizeof(buf));
	static struct dw_dns_https ret[DW_DNS_HTTPS_MAX], before[DW_DNS_HTTPS_MAX];
	size_t ret_n = 77;
	uint32_t ttl = 77;
	uint16_t rcode = 77;
	memset(ret, 0xa5, sizeof(ret));
	memset(before, 0xa5, sizeof(before));
	assert_status(dw_dns_https_parse(at_guard(buf, n), n, "a.test", ret, &ret_n, &ttl, &rcode), row->status);
	if (row->status != DW_PARSE_OK) {
		assert_memory_equal(ret, before, sizeof(ret));
		assert_true(ret_n == 77 && ttl == 77 && rcode == 77);
		return;
	}
	assert_int_equal(ret_n, row->count);
	assert_int_equal(ttl, row->ttl);
	assert_int_equal(rcode, row->rcode);
	size_t got_n = 0;
	for (size_t i = 0; i < ret_n; i++) {
		assert_int_equal(ret[i].priority, ret[i].rdata[0] << 8 | ret[i].rdata[1]);
		memcpy(got + got_n, ret[i].rdata, ret[i].rdata_n);
		got_n += ret[i].rdata_n;
	}
	assert_int_equal(got_n, assemble(row->rdata, want, sizeof(want)));
	assert_memory_equal(got, want, got_n);
}

static void test_more_than_kept(void **state)
{
	static uint8_t buf[4096];
	size_t n = assemble(HEAD("000a"), buf, sizeof(buf));
	for (unsigned i = 0; i < 10; i++)
		n += assemble(HTTPS("c00c", "0001 00" ALPN), buf + n, sizeof(buf) - n);
	static struct dw_dns_https ret[DW_DNS_HTTPS_MAX];
	size_t ret_n;
	uint32_t ttl;
	uint16_t rcode;
	assert_status(dw_dns_https_parse(at_guard(buf, n), n, "a.test", ret, &ret_n, &ttl, &rcode), DW_PARSE_OK);
	assert_int_equal(ret_n, DW_DNS_HTTPS_MAX);
	for (size_t len = 0; len < n; len++)
		assert_status(dw_dns_https_parse(at_guard(buf, len), len, "a.test", ret, &ret_n, &ttl, &rcode),
			      DW_PARSE_BAD);
}

int main(void)
{
	ADD_ROWS(rows, test_row);
	add_test("ten records, eight kept; every prefix is BAD", test_more_than_kept);
	return run_all("dns_https");
}
