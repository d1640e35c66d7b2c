/* SPDX-License-Identifier: Apache-2.0 */
/* An answer to the question it carries; what was read is answered again and must read back as the same. */
#include "fuzz_wire.h"
#include "wire/dns.h"
#include "wire/dns_internal.h"

static struct dw_dns_answer answer, again;
static uint8_t out[65536];

static void check_answer(const struct dw_dns_answer *a, uint16_t qtype)
{
	MUST(a->addr_n <= DW_DNS_ANSWER_MAX);
	MUST(a->ttl <= INT32_MAX);
	MUST(!a->truncated || a->addr_n == 0);
	MUST(a->rcode == 0 || a->addr_n == 0);
	for (size_t i = 0; i < a->addr_n; i++)
		MUST(a->addr[i].family == (qtype == DW_DNS_A ? DW_AF_4 : DW_AF_6));
}

static void round_trip(const char *qname, uint16_t qtype)
{
	uint8_t query[512];
	struct dw_dns_query q;
	bool has_id;
	size_t n = dw_dns_query_build(1, qname, qtype, query, sizeof(query));
	MUST(n && dw_dns_query_parse(query, n, &q, &has_id) == DW_PARSE_OK);
	const struct dw_dns_reply reply = {
		.rcode = answer.rcode, .ttl = answer.ttl, .addr = answer.addr, .addr_n = answer.addr_n, .ede = -1
	};
	n = dw_dns_reply_build(&q, &reply, 65535, out, sizeof(out));
	MUST(n && dw_dns_answer_parse(out, n, qname, qtype, &again) == DW_PARSE_OK);
	MUST(again.addr_n == answer.addr_n && again.ttl == answer.ttl && again.rcode == answer.rcode);
	MUST(memcmp(again.addr, answer.addr, answer.addr_n * sizeof(answer.addr[0])) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char qname[DW_DNS_NAME_SIZE];
	struct dns_header h;
	struct dns_name name;
	struct dw_rd r = dw_rd_init(data, size, false);
	dns_header_read(&r, &h);
	dns_name_read_plain(&r, &name);
	uint16_t qtype = dw_rd_u16(&r);
	if (!dw_rd_ok(&r) || !dns_name_to_text(&name, qname))
		return 0;
	enum dw_parse status = dw_dns_answer_parse(data, size, qname, qtype, &answer);
	MUST(status != DW_PARSE_MORE);
	if (status != DW_PARSE_OK)
		return 0;
	check_answer(&answer, qtype);
	if (!answer.truncated)
		round_trip(qname, qtype);
	return 0;
}
