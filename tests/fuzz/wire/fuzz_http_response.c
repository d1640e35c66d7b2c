/* SPDX-License-Identifier: Apache-2.0 */
/* Response heads: what goes on must be safe to write, and a prefix must never be judged otherwise than the whole. */
#include "fuzz_wire.h"
#include "wire/http_response.h"

static void check_field(const struct dw_http_field *f, const uint8_t *data, size_t size)
{
	MUST(f->name.n && span_within(f->name, data, size) && span_within(f->value, data, size));
	MUST(!dw_http_hop_by_hop(f->name));
	for (size_t i = 0; i < f->name.n; i++)
		MUST(f->name.p[i] > 0x20 && f->name.p[i] < 0x7f && f->name.p[i] != ':');
	for (size_t i = 0; i < f->value.n; i++)
		MUST(f->value.p[i] == '\t' || (f->value.p[i] >= 0x20 && f->value.p[i] != 0x7f));
}

static void check(const struct dw_http_response *r, bool to_head, const uint8_t *data, size_t size)
{
	MUST(r->head_n >= 4 && r->head_n <= size && r->head_n <= DW_HTTP_RESPONSE_MAX);
	MUST(memcmp(data + r->head_n - 4, "\r\n\r\n", 4) == 0);
	MUST(r->status >= 100 && r->status <= 999);
	MUST(r->status != 101 || r->upgrade_websocket);
	MUST(r->extent == DW_HTTP_EXTENT_NONE || (!to_head && r->status >= 200));
	MUST(r->extent != DW_HTTP_EXTENT_LENGTH || r->has_length);
	MUST(r->extent != DW_HTTP_EXTENT_CHUNKED || (r->minor == 1 && !r->has_length));
	MUST(r->content_length <= INT64_MAX && (r->has_length || r->content_length == 0));
	MUST(r->field_n <= DW_HTTP_RESPONSE_FIELDS_MAX);
	for (size_t i = 0; i < r->field_n; i++)
		check_field(&r->field[i], data, r->head_n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dw_http_response r, part;
	const char *why = NULL;
	const bool to_head = size & 1;
	enum dw_parse status = dw_http_response_parse(data, size, to_head, &r, &why);
	MUST((why != NULL) == (status == DW_PARSE_BAD || status == DW_PARSE_BIG));
	if (status == DW_PARSE_OK)
		check(&r, to_head, data, size);
	size_t step = size / 64 + 1;
	for (size_t len = 0; len < size; len += step) {
		enum dw_parse got = dw_http_response_parse(data, len, to_head, &part, NULL);
		if (status == DW_PARSE_OK)
			MUST(got == (len < r.head_n ? DW_PARSE_MORE : DW_PARSE_OK));
		else
			MUST(got == DW_PARSE_MORE || got == status);
	}
	return 0;
}
