/* SPDX-License-Identifier: Apache-2.0 */
/* Request heads, the guess whether it is HTTP, and the start of a response: the guess must never miss what is read. */
#include "fuzz_wire.h"
#include "wire/http_head.h"

static void check_head(const struct dw_http_head *h, const uint8_t *data, size_t size)
{
	MUST(h->head_n >= 4 && h->head_n <= size && memcmp(data + h->head_n - 4, "\r\n\r\n", 4) == 0);
	MUST(span_within(h->method, data, h->head_n) && span_within(h->target, data, h->head_n));
	MUST(span_within(h->host, data, h->head_n));
	MUST(h->has_host == (h->host.n > 0));
	MUST(h->has_port == (h->host_port > 0));
	MUST(h->content_length == 0 || h->body == DW_HTTP_BODY_LENGTH);
	MUST(h->minor == 0 || h->has_host);
	MUST(!h->upgrade_websocket || (h->is_upgrade && h->body == DW_HTTP_BODY_NONE));
	MUST(!h->is_h2_preface || !h->has_host);
	for (size_t i = 0; i < h->host.n; i++)
		MUST(h->host.p[i] > 0x20 && h->host.p[i] < 0x7f && !strchr("@/\\,%?#[]", h->host.p[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dw_http_head h = { 0 }, part;
	const char *why = NULL;
	unsigned code;
	enum dw_parse status = dw_http_head_parse(data, size, &h, &why);
	MUST((why != NULL) == (status == DW_PARSE_BAD || status == DW_PARSE_BIG));
	if (status == DW_PARSE_OK)
		check_head(&h, data, size);
	enum dw_parse guess = dw_http_looks_like(data, size);
	/* An unknown method is guessed by its version, which stands behind a space. */
	MUST(status != DW_PARSE_OK || guess == DW_PARSE_OK);
	size_t step = size / 64 + 1;
	for (size_t len = 0; len < size; len += step) {
		enum dw_parse got = dw_http_head_parse(data, len, &part, NULL);
		if (status == DW_PARSE_OK)
			MUST(got == (len < h.head_n ? DW_PARSE_MORE : DW_PARSE_OK));
		else
			MUST(got == DW_PARSE_MORE || got == status);
		got = dw_http_looks_like(data, len);
		MUST(got == DW_PARSE_MORE || got == guess);
	}
	if (dw_http_status_parse(data, size, &code) == DW_PARSE_OK)
		MUST(code >= 100 && code <= 999);
	return 0;
}
