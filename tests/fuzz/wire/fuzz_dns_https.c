/* SPDX-License-Identifier: Apache-2.0 */
/* HTTPS records: nothing kept holds ech or hints, and what is passed on reads back as it is. */
#include "fuzz_wire.h"
#include "wire/dns.h"
#include "wire/dns_internal.h"

static struct dw_dns_https kept[DW_DNS_HTTPS_MAX], again[DW_DNS_HTTPS_MAX];
static uint8_t out[65536];

static void check_record(const struct dw_dns_https *h)
{
	MUST(h->rdata_n >= 3 && h->rdata_n <= sizeof(h->rdata));
	struct dw_rd r = dw_rd_init(h->rdata, h->rdata_n, false);
	MUST(dw_rd_u16(&r) == h->priority && h->priority > 0);
	MUST(dw_rd_u8(&r) == 0);
	while (r.n) {
		uint16_t key = dw_rd_u16(&r);
		MUST(key < 4 || key > 6);
		dw_rd_bytes(&r, dw_rd_u16(&r));
	}
	MUST(dw_rd_done(&r));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char qname[DW_DNS_NAME_SIZE];
	uint8_t query[512];
	struct dns_header h;
	struct dns_name name;
	struct dw_dns_query q;
	bool has_id;
	size_t n, again_n;
	uint32_t ttl, again_ttl;
	uint16_t rcode, again_rcode;
	struct dw_rd r = dw_rd_init(data, size, false);
	dns_header_read(&r, &h);
	dns_name_read_plain(&r, &name);
	if (!dw_rd_ok(&r) || !dns_name_to_text(&name, qname))
		return 0;
	if (dw_dns_https_parse(data, size, qname, kept, &n, &ttl, &rcode) != DW_PARSE_OK)
		return 0;
	MUST(n <= DW_DNS_HTTPS_MAX);
	for (size_t i = 0; i < n; i++)
		check_record(&kept[i]);

	size_t len = dw_dns_query_build(1, qname, DW_DNS_HTTPS, query, sizeof(query));
	MUST(len && dw_dns_query_parse(query, len, &q, &has_id) == DW_PARSE_OK);
	const struct dw_dns_reply reply = { .rcode = rcode, .ttl = ttl, .https = kept, .https_n = n, .ede = -1 };
	len = dw_dns_reply_build(&q, &reply, 65535, out, sizeof(out));
	MUST(dw_dns_https_parse(out, len, qname, again, &again_n, &again_ttl, &again_rcode) == DW_PARSE_OK);
	MUST(again_n == n && again_ttl == ttl && again_rcode == rcode);
	for (size_t i = 0; i < n; i++)
		MUST(again[i].rdata_n == kept[i].rdata_n &&
		     memcmp(again[i].rdata, kept[i].rdata, kept[i].rdata_n) == 0);
	return 0;
}
