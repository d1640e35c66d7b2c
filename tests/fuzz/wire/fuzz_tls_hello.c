/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream as it is, and the input as an extension list inside a hello whose lengths are right. Delivery in pieces and
 * other record boundaries must not change what is read.
 */
#include "fuzz_wire.h"
#include "core/wr.h"
#include "wire/tls_hello.h"

static uint8_t scratch[DW_TLS_HELLO_MAX], wrapped[DW_TLS_HELLO_MAX], split[2 * DW_TLS_HELLO_MAX];

static void must_equal(const struct dw_tls_hello *a, const struct dw_tls_hello *b)
{
	MUST(a->has_sni == b->has_sni && a->sni_n == b->sni_n && memcmp(a->sni, b->sni, sizeof(a->sni)) == 0);
	MUST(a->has_ech == b->has_ech && a->has_tls13 == b->has_tls13 && a->legacy_version == b->legacy_version);
}

static enum dw_parse check_pieces(const uint8_t *data, size_t size, struct dw_tls_hello *ret)
{
	struct dw_tls_hello part;
	memset(ret, 0, sizeof(*ret));
	enum dw_parse status = dw_tls_hello_parse(data, size, scratch, ret);
	if (status == DW_PARSE_OK) {
		MUST(ret->stream_n > 0 && ret->stream_n <= size && ret->stream_n <= DW_TLS_HELLO_MAX);
		MUST(ret->sni_n == strlen(ret->sni) && ret->has_sni == (ret->sni_n > 0));
		MUST(dw_tls_looks_like(data, size) == DW_PARSE_OK);
	}
	size_t step = size / 64 + 1;
	for (size_t len = 0; len < size; len += step) {
		enum dw_parse got = dw_tls_hello_parse(data, len, scratch, &part);
		if (status != DW_PARSE_OK)
			MUST(got == DW_PARSE_MORE || got == status);
		else
			MUST(got == (len < ret->stream_n ? DW_PARSE_MORE : DW_PARSE_OK));
		if (got == DW_PARSE_OK)
			must_equal(ret, &part);
	}
	return status;
}

/* The hello of an accepted stream in records of `each` bytes. */
static void check_records(const uint8_t *data, const struct dw_tls_hello *hello, size_t each)
{
	static uint8_t message[DW_TLS_HELLO_MAX];
	struct dw_wr joined = dw_wr_init(message, sizeof(message)), w = dw_wr_init(split, sizeof(split));
	struct dw_rd r = dw_rd_init(data, hello->stream_n, false);
	while (r.n) {
		dw_rd_bytes(&r, 3);
		struct dw_span fragment = dw_rd_bytes(&r, dw_rd_u16(&r));
		dw_wr_bytes(&joined, fragment.p, fragment.n);
	}
	MUST(dw_rd_done(&r) && dw_wr_ok(&joined));
	r = dw_rd_init(message, joined.len, false);
	while (r.n) {
		struct dw_span fragment = dw_rd_bytes(&r, DW_MIN(each, r.n));
		dw_wr_u8(&w, 22);
		dw_wr_u16(&w, 0x0303);
		dw_wr_u16(&w, (uint16_t)fragment.n);
		dw_wr_bytes(&w, fragment.p, fragment.n);
	}
	if (!dw_wr_ok(&w) || w.len > DW_TLS_HELLO_MAX || joined.len > each * DW_TLS_RECORDS_MAX)
		return;
	struct dw_tls_hello other = { 0 };
	MUST(dw_tls_hello_parse(split, w.len, scratch, &other) == DW_PARSE_OK);
	MUST(other.stream_n == w.len);
	must_equal(hello, &other);
}

static void check(const uint8_t *data, size_t size)
{
	struct dw_tls_hello hello;
	if (check_pieces(data, size, &hello) != DW_PARSE_OK)
		return;
	check_records(data, &hello, 1 + data[hello.stream_n - 1] % 64u);
	check_records(data, &hello, 16384);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t fixed[35] = { 3, 3 };
	check(data, size);
	if (size > 16000)
		return 0;
	struct dw_wr w = dw_wr_init(wrapped, sizeof(wrapped));
	size_t body = sizeof(fixed) + 4 + 2 + 2 + size;
	dw_wr_u8(&w, 22);
	dw_wr_u16(&w, 0x0301);
	dw_wr_u16(&w, (uint16_t)(body + 4));
	dw_wr_u8(&w, 1);
	dw_wr_u8(&w, 0);
	dw_wr_u16(&w, (uint16_t)body);
	dw_wr_bytes(&w, fixed, sizeof(fixed)); /* version, random, no session id */
	dw_wr_u16(&w, 2);
	dw_wr_u16(&w, 0x1301);
	dw_wr_u16(&w, 0x0100); /* one compression method: none */
	dw_wr_u16(&w, (uint16_t)size);
	dw_wr_bytes(&w, data, size);
	check(wrapped, w.len);
	return 0;
}
