/* SPDX-License-Identifier: Apache-2.0 */
/* A datagram as it is: its packets cover it without a gap, and opening what is in it stays within it. */
#include "fuzz_wire.h"
#include "wire/quic.h"

static void check_packet(const struct dw_quic_packet *p, const uint8_t *data, size_t size)
{
	MUST(p->kind != DW_QUIC_OTHER);
	MUST(span_within(p->dcid, data, size) && span_within(p->scid, data, size) && span_within(p->token, data, size));
	MUST(p->pn_off <= p->all.n);
	bool known = p->version == DW_QUIC_V1 || p->version == DW_QUIC_V2;
	MUST((p->kind == DW_QUIC_INITIAL || p->kind == DW_QUIC_LONG) == known);
	MUST(!known || (p->dcid.n <= DW_QUIC_CID_MAX && p->scid.n <= DW_QUIC_CID_MAX));
	MUST(p->kind == DW_QUIC_INITIAL || p->token.n == 0);
}

static void check_open(const struct dw_quic_packet *p)
{
	static const uint8_t other[] = { 1, 2, 3 };
	uint8_t *plain = malloc(p->all.n); /* of its own, so that a byte too many is seen */
	size_t n = SIZE_MAX;
	MUST(plain);
	enum dw_parse status = dw_quic_initial_open(p, plain, &n);
	MUST(status == DW_PARSE_OK ? n < p->all.n : n == SIZE_MAX);
	MUST(status == DW_PARSE_OK || status == DW_PARSE_BAD || (status == DW_PARSE_BIG && p->kind == DW_QUIC_INITIAL));
	if (status == DW_PARSE_OK) {
		struct dw_quic_crypto c = { 0 };
		struct dw_tls_hello h;
		if (dw_quic_frames_take(&c, plain, n) == DW_PARSE_OK)
			dw_quic_hello(&c, &h);
		dw_quic_crypto_done(&c);
		/* What opens under its own keys opens under no others, but for those made to. */
		MUST(dw_quic_initial_open_as(p, (struct dw_span){ .p = other, .n = sizeof(other) }, plain, &n) ==
		     DW_PARSE_BAD);
	}
	free(plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dw_quic_packet p;
	size_t at = 0, before = 0;
	unsigned opened = 0;
	enum dw_parse status;
	while ((status = dw_quic_packet_next(data, size, &at, &p)) == DW_PARSE_OK) {
		MUST(p.all.p == data + before && p.all.n == at - before && at > before && at <= size);
		before = at;
		check_packet(&p, data, size);
		if (opened++ < 4) /* keys take their time */
			check_open(&p);
	}
	MUST(status == DW_PARSE_BAD && at == before);
	return 0;
}
