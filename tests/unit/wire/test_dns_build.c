/* SPDX-License-Identifier: Apache-2.0 */
#include "wire_test.h"

#include <stdio.h>

#include "wire/dns.h"

#define PLAIN    "abcd 0100 0001 0000 0000 0000 n:wWw.test 0001 0001 "
#define PLAIN_CD "abcd 0010 0001 0000 0000 0000 n:wWw.test 0001 0001 "
#define EDNS     "abcd 0100 0001 0000 0000 0001 n:wWw.test 0001 0001 00 0029 1000 00000000 [ ] "
#define EDNS_DO  "abcd 0100 0001 0000 0000 0001 n:wWw.test 0001 0001 00 0029 1000 00008000 [ ] "
#define QUESTION " n:wWw.test 0001 0001 "
#define A1       " c00c 0001 0001 0000003c [ 01020304 ] "
#define OPT      " 00 0029 04d0 00000000 "

static const struct dw_addr v4 = { .family = DW_AF_4, .b = { 1, 2, 3, 4 } };
static const struct dw_addr both[] = {
	{ .family = DW_AF_4, .b = { 1, 2, 3, 4 } },
	{ .family = DW_AF_6, .b = { 0x20, 1, 0x0d, 0xb8, [15] = 1 } },
};
static const struct dw_dns_https https = { .priority = 1, .rdata = { 0, 1, 0 }, .rdata_n = 3 };

static const struct row {
	const char *name, *query;
	struct dw_dns_reply reply;
	size_t limit;
	const char *want;
} rows[] = {
	/* clang-format off */
	{ "an address", PLAIN, { .ttl = 60, .addr = &v4, .addr_n = 1, .ede = -1 }, 512, "abcd 8180 0001 0001 0000 0000" QUESTION A1 },
	{ "both families", PLAIN, { .ttl = 60, .addr = both, .addr_n = 2, .ede = -1 }, 512,
	  "abcd 8180 0001 0002 0000 0000" QUESTION A1 "c00c 001c 0001 0000003c [ 20010db8000000000000000000000001 ]" },
	{ "an HTTPS record", PLAIN, { .ttl = 60, .https = &https, .https_n = 1, .ede = -1 }, 512,
	  "abcd 8180 0001 0001 0000 0000" QUESTION "c00c 0041 0001 0000003c [ 000100 ]" },
	{ "NODATA", PLAIN, { .ede = -1 }, 512, "abcd 8180 0001 0000 0000 0000" QUESTION },
	{ "CD echoed, RD not set", PLAIN_CD, { .ede = -1 }, 512, "abcd 8090 0001 0000 0000 0000" QUESTION },
	{ "REFUSED with EDE but no EDNS: no OPT", PLAIN, { .rcode = 5, .ede = 15, .ede_text = "no rule" }, 512, "abcd 8185 0001 0000 0000 0000" QUESTION },
	{ "REFUSED with EDE", EDNS, { .rcode = 5, .ede = 15, .ede_text = "no.rule" }, 512,
	  "abcd 8185 0001 0000 0000 0001" QUESTION OPT "[ 000f [ 000f s:no.rule ] ]" },
	{ "EDE 0 without text", EDNS, { .rcode = 2, .ede = 0 }, 512, "abcd 8182 0001 0000 0000 0001" QUESTION OPT "[ 000f [ 0000 ] ]" },
	{ "EDNS without EDE", EDNS, { .ede = -1 }, 512, "abcd 8180 0001 0000 0000 0001" QUESTION OPT "[ ]" },
	{ "DO echoed", EDNS_DO, { .ede = -1 }, 512, "abcd 8180 0001 0000 0000 0001" QUESTION "00 0029 04d0 00008000 [ ]" },
	{ "a two-part rcode", EDNS, { .rcode = 16, .ede = -1 }, 512, "abcd 8180 0001 0000 0000 0001" QUESTION "00 0029 04d0 01000000 [ ]" },
	{ "just fits", PLAIN, { .ttl = 60, .addr = &v4, .addr_n = 1, .ede = -1 }, 42, "abcd 8180 0001 0001 0000 0000" QUESTION A1 },
	{ "one byte too long: TC, no answers", PLAIN, { .ttl = 60, .addr = &v4, .addr_n = 1, .ede = -1 }, 41, "abcd 8380 0001 0000 0000 0000" QUESTION },
	{ "TC keeps the OPT", EDNS, { .ttl = 60, .addr = &v4, .addr_n = 1, .ede = -1 }, 50, "abcd 8380 0001 0000 0000 0001" QUESTION OPT "[ ]" },
	{ "no room even for the question", PLAIN, { .ttl = 60, .addr = &v4, .addr_n = 1, .ede = -1 }, 25, "" },
	/* clang-format on */
};

static void query_from(const char *text, uint8_t *buf, size_t cap, struct dw_dns_query *q)
{
	bool has_id;
	size_t n = assemble(text, buf, cap);
	assert_status(dw_dns_query_parse(buf, n, q, &has_id), DW_PARSE_OK);
}

static void test_row(void **state)
{
	const struct row *row = *state;
	uint8_t buf[512], want[1024], out[1024];
	struct dw_dns_query q;
	query_from(row->query, buf, sizeof(buf), &q);
	size_t want_n = assemble(row->want, want, sizeof(want));
	assert_int_equal(dw_dns_reply_build(&q, &row->reply, row->limit, out, sizeof(out)), want_n);
	assert_memory_equal(out, want, want_n);
	/* The same with the limit given as the room there is. */
	assert_int_equal(dw_dns_reply_build(&q, &row->reply, 65535, out, row->limit), want_n);
	assert_memory_equal(out, want, want_n);
}

static void test_text_cut(void **state)
{
	uint8_t buf[512], out[512];
	char text[300];
	struct dw_dns_query q;
	query_from(EDNS, buf, sizeof(buf), &q);
	struct dw_dns_reply reply = { .rcode = 5, .ede = 15, .ede_text = text };
	memset(text, 'a', sizeof(text));
	text[200] = '\0';
	assert_int_equal(dw_dns_reply_build(&q, &reply, 512, out, sizeof(out)), 26 + 11 + 6 + 200);
	text[200] = 'a';
	text[250] = '\0';
	assert_int_equal(dw_dns_reply_build(&q, &reply, 512, out, sizeof(out)), 26 + 11 + 6 + 200);
	memcpy(text + 198, "\xe2\x82\xac", 3); /* the cut would go through the euro sign */
	assert_int_equal(dw_dns_reply_build(&q, &reply, 512, out, sizeof(out)), 26 + 11 + 6 + 198);
}

/* The longest question, OPT and text fit into 512 bytes, so that no client is left without an answer. */
static void test_longest_refusal(void **state)
{
	uint8_t buf[512], out[512];
	char text[300];
	struct dw_dns_query q;
	query_from("abcd 0100 0001 0000 0000 0001 3f x63:61 3f x63:62 3f x63:63 3d x61:64 00 0001 0001 00 0029 0200 "
		   "00000000 [ ]",
		   buf, sizeof(buf), &q);
	memset(text, 'a', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	struct dw_dns_reply reply = { .rcode = 5, .ede = 15, .ede_text = text };
	assert_int_equal(dw_dns_reply_build(&q, &reply, 512, out, sizeof(out)), 12 + 259 + 11 + 6 + 200);
}

static void test_round_trip(void **state)
{
	uint8_t buf[512];
	static uint8_t out[65536];
	static struct dw_addr addr[DW_DNS_ANSWER_MAX];
	static struct dw_dns_answer answer;
	for (size_t i = 0; i < DW_COUNT(addr); i++)
		addr[i] = (struct dw_addr){ .family = DW_AF_4, .b = { 10, 0, (uint8_t)(i >> 8), (uint8_t)i } };
	struct dw_dns_query q;
	query_from(EDNS, buf, sizeof(buf), &q);
	struct dw_dns_reply reply = { .ttl = 60, .addr = addr, .addr_n = DW_COUNT(addr), .ede = -1 };
	size_t n = dw_dns_reply_build(&q, &reply, 65535, out, sizeof(out));
	assert_true(n > 0);
	assert_status(dw_dns_answer_parse(at_guard(out, n), n, "www.test", DW_DNS_A, &answer), DW_PARSE_OK);
	assert_int_equal(answer.addr_n, DW_COUNT(addr));
	assert_memory_equal(answer.addr, addr, sizeof(addr));
	assert_int_equal(answer.ttl, 60);
	n = dw_dns_reply_build(&q, &reply, DW_DNS_UDP_MAX, out, sizeof(out));
	assert_status(dw_dns_answer_parse(at_guard(out, n), n, "www.test", DW_DNS_A, &answer), DW_PARSE_OK);
	assert_true(answer.truncated);
	assert_int_equal(answer.addr_n, 0);
}

static void test_query_build(void **state)
{
	uint8_t out[512], want[512];
	size_t n = dw_dns_query_build(0x1234, "www.test", DW_DNS_AAAA, out, sizeof(out));
	size_t want_n = assemble("1234 0100 0001 0000 0000 0001 n:www.test 001c 0001 00 0029 04d0 00000000 [ ]", want,
				 sizeof(want));
	assert_int_equal(n, want_n);
	assert_memory_equal(out, want, n);
	struct dw_dns_query q;
	bool has_id;
	assert_status(dw_dns_query_parse(at_guard(out, n), n, &q, &has_id), DW_PARSE_OK);
	assert_string_equal(q.qname, "www.test");
	for (size_t cap = 0; cap < n; cap++)
		assert_int_equal(dw_dns_query_build(1, "www.test", DW_DNS_AAAA, out, cap), 0);
	static const char
		*const wrong[] = { "a..b", ".a", "a.",
				   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" /* 64 */ };
	for (size_t i = 0; i < DW_COUNT(wrong); i++)
		assert_int_equal(dw_dns_query_build(1, wrong[i], DW_DNS_A, out, sizeof(out)), 0);
}

static void test_query_longest(void **state)
{
	char name[512] = "";
	uint8_t out[512];
	for (unsigned i = 0; i < 127; i++)
		strcat(name, i ? ".a" : "a"); /* 253 characters */
	assert_int_equal(strlen(name), 253);
	assert_int_equal(dw_dns_query_build(1, name, DW_DNS_A, out, sizeof(out)), 12 + 255 + 4 + 11);
	strcat(name, "b");
	assert_int_equal(dw_dns_query_build(1, name, DW_DNS_A, out, sizeof(out)), 0);
}

static void test_formerr(void **state)
{
	static const uint8_t want[] = { 0x12, 0x34, 0x80, 0x01, 0, 0, 0, 0, 0, 0, 0, 0 };
	uint8_t out[12];
	assert_int_equal(dw_dns_formerr_build(0x1234, out, sizeof(out)), 12);
	assert_memory_equal(out, want, 12);
	assert_int_equal(dw_dns_formerr_build(0x1234, out, 11), 0);
}

int main(void)
{
	ADD_ROWS(rows, test_row);
	add_test("EDE text is cut at 200 bytes, not inside a character", test_text_cut);
	add_test("the longest refusal fits into 512 bytes", test_longest_refusal);
	add_test("512 addresses round trip over TCP, TC over UDP", test_round_trip);
	add_test("a query is built as it is read", test_query_build);
	add_test("a query for the longest name", test_query_longest);
	add_test("FORMERR", test_formerr);
	return run_all("dns_build");
}
