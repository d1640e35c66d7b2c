/* SPDX-License-Identifier: Apache-2.0 */
/* A query is read, answered, and the answer must read back as what was answered. */
#include "fuzz_wire.h"
#include "wire/dns.h"

static struct dw_addr addrs[DW_DNS_ANSWER_MAX];
static struct dw_dns_answer answer;
static uint8_t out[65536];

static void check_query(const struct dw_dns_query *q, const uint8_t *data, size_t size)
{
	MUST(span_within(q->question, data, size));
	MUST(q->question.n >= 5 && q->question.n <= 259);
	MUST(memchr(q->qname, '\0', sizeof(q->qname)));
	MUST(q->udp_size >= 512);
	for (const char *c = q->qname; q->name_ok && *c; c++)
		MUST(*c == '-' || *c == '_' || *c == '.' || (*c >= '0' && *c <= '9') || (*c >= 'A' && *c <= 'Z') ||
		     (*c >= 'a' && *c <= 'z'));
}

static void answer_it(const struct dw_dns_query *q, size_t count, size_t limit)
{
	uint8_t family = q->qtype == DW_DNS_AAAA ? DW_AF_6 : DW_AF_4;
	for (size_t i = 0; i < count; i++)
		addrs[i] = (struct dw_addr){ .family = family, .b = { 0x20, 1, (uint8_t)(i >> 8), (uint8_t)i } };
	const struct dw_dns_reply reply = {
		.ttl = 60, .addr = addrs, .addr_n = count, .ede = 15, .ede_text = "because"
	};
	size_t n = dw_dns_reply_build(q, &reply, limit, out, sizeof(out));
	MUST(n >= 12 && n <= limit);
	MUST(out[0] == q->id >> 8 && out[1] == (q->id & 0xff));
	bool address_query = q->qtype == DW_DNS_A || q->qtype == DW_DNS_AAAA;
	if (!q->name_ok || q->qclass != 1 || !address_query)
		return;
	MUST(dw_dns_answer_parse(out, n, q->qname, q->qtype, &answer) == DW_PARSE_OK);
	MUST(answer.rcode == DW_DNS_NOERROR);
	MUST(answer.truncated ? answer.addr_n == 0 : answer.addr_n == count);
	if (!answer.truncated)
		MUST(memcmp(answer.addr, addrs, count * sizeof(addrs[0])) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dw_dns_query q;
	bool has_id = false;
	enum dw_parse status = dw_dns_query_parse(data, size, &q, &has_id);
	MUST(status == DW_PARSE_OK || status == DW_PARSE_BAD);
	MUST(!has_id || size >= 12);
	if (status != DW_PARSE_OK)
		return 0;
	MUST(has_id);
	check_query(&q, data, size);
	answer_it(&q, data[0] % DW_DNS_ANSWER_MAX, 65535);
	answer_it(&q, data[1] % DW_DNS_ANSWER_MAX, DW_MIN(q.udp_size, DW_DNS_UDP_MAX));
	return 0;
}
