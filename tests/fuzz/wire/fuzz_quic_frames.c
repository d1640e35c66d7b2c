/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opened Initials of one connection, each behind its length in two bytes (the last takes what there is). The order in
 * which they come must not change what is read, and a hello in records must say the same as in frames.
 */
#include "fuzz_wire.h"
#include "core/wr.h"
#include "wire/quic.h"

#define PACKETS_MAX 64

static size_t cut(const uint8_t *data, size_t size, struct dw_span packets[static PACKETS_MAX])
{
	struct dw_rd r = dw_rd_init(data, size, false);
	size_t count = 0;
	while (r.n && count < PACKETS_MAX) {
		size_t n = dw_rd_u16(&r);
		packets[count++] = dw_rd_bytes(&r, DW_MIN(n, r.n));
	}
	return count;
}

static void must_equal(const struct dw_tls_hello *a, const struct dw_tls_hello *b)
{
	MUST(a->has_sni == b->has_sni && a->sni_n == b->sni_n && memcmp(a->sni, b->sni, sizeof(a->sni)) == 0);
	MUST(a->has_ech == b->has_ech && a->has_tls13 == b->has_tls13 && a->legacy_version == b->legacy_version);
}

static void check_bounds(const struct dw_quic_crypto *c)
{
	MUST(c->cap <= DW_QUIC_CRYPTO_MAX && c->high <= c->cap);
}

/* Returns how many were taken; *ret_status and *ret are the hello's after the last of them. */
static size_t take(struct dw_quic_crypto *c, const struct dw_span *packets, size_t count, enum dw_parse *ret_status,
		   struct dw_tls_hello *ret)
{
	*ret_status = DW_PARSE_MORE;
	for (size_t i = 0; i < count; i++) {
		enum dw_parse taken = dw_quic_frames_take(c, packets[i].p, packets[i].n), before = *ret_status;
		MUST(taken != DW_PARSE_MORE);
		check_bounds(c);
		if (taken != DW_PARSE_OK)
			return i;
		*ret_status = dw_quic_hello(c, ret);
		/* BAD and BIG are for good, and from OK it only goes to bytes behind the hello. */
		if (before == DW_PARSE_BAD || before == DW_PARSE_BIG)
			MUST(*ret_status == before);
		if (before == DW_PARSE_OK)
			MUST(*ret_status == DW_PARSE_OK || *ret_status == DW_PARSE_BAD);
	}
	return count;
}

static void check_backwards(const struct dw_span *packets, size_t count, enum dw_parse status,
			    const struct dw_tls_hello *h)
{
	struct dw_quic_crypto c = { 0 };
	struct dw_tls_hello other;
	memset(&other, 0, sizeof(other));
	for (unsigned round = 0; round < 2; round++) {
		for (size_t i = count; i-- > 0;)
			MUST(dw_quic_frames_take(&c, packets[i].p, packets[i].n) == DW_PARSE_OK);
		MUST(dw_quic_hello(&c, &other) == status);
	}
	if (status == DW_PARSE_OK) {
		must_equal(h, &other);
		MUST(other.stream_n == h->stream_n);
	}
	dw_quic_crypto_done(&c);
}

static void check_records(const struct dw_quic_crypto *c, const struct dw_tls_hello *h)
{
	static uint8_t stream[DW_TLS_HELLO_MAX + 64], scratch[DW_TLS_HELLO_MAX];
	struct dw_wr w = dw_wr_init(stream, sizeof(stream));
	struct dw_rd r = dw_rd_init(c->data, h->stream_n, false);
	MUST(h->stream_n == c->high);
	while (r.n) {
		struct dw_span part = dw_rd_bytes(&r, DW_MIN(16384, r.n));
		dw_wr_u8(&w, 22);
		dw_wr_u16(&w, 0x0301);
		dw_wr_u16(&w, (uint16_t)part.n);
		dw_wr_bytes(&w, part.p, part.n);
	}
	MUST(dw_wr_ok(&w));
	struct dw_tls_hello other;
	memset(&other, 0, sizeof(other));
	enum dw_parse status = dw_tls_hello_parse(stream, w.len, scratch, &other);
	MUST(status == (w.len > DW_TLS_HELLO_MAX ? DW_PARSE_BIG : DW_PARSE_OK));
	if (status == DW_PARSE_OK)
		must_equal(h, &other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dw_span packets[PACKETS_MAX];
	struct dw_quic_crypto c = { 0 };
	struct dw_tls_hello h;
	enum dw_parse status;
	memset(&h, 0, sizeof(h));
	size_t count = cut(data, size, packets);
	size_t taken = take(&c, packets, count, &status, &h);
	if (taken == count) {
		check_backwards(packets, count, status, &h);
		if (status == DW_PARSE_OK)
			check_records(&c, &h);
	}
	dw_quic_crypto_done(&c);
	MUST(c.cap == 0 && c.high == 0 && !c.data && !c.have);
	return 0;
}
