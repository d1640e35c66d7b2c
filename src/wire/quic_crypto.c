/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frames of an Initial and the CRYPTO stream they make (RFC 9000 section 19). A byte of the stream that came is marked in
 * a bitmap; coming again it must be the same byte.
 */
#include <assert.h>

#include "wire/quic_internal.h"

enum frame_type {
	FRAME_PADDING = 0x00,
	FRAME_PING = 0x01,
	FRAME_ACK = 0x02,
	FRAME_ACK_ECN = 0x03,
	FRAME_CRYPTO = 0x06,
	FRAME_CONNECTION_CLOSE = 0x1c, /* 0x1d speaks of the application, which has no place in an Initial */
};

#define CRYPTO_MIN 2048 /* of the first allocation: most hellos fit */

static_assert(DW_QUIC_CRYPTO_MAX % 8 == 0 && CRYPTO_MIN % 8 == 0, "the bitmap has whole bytes");
static_assert(DW_QUIC_CRYPTO_MAX >= DW_TLS_HELLO_MAX, "a hello that may be parsed fits");

void dw_quic_crypto_done(struct dw_quic_crypto *c)
{
	free(c->data);
	free(c->have);
	*c = (struct dw_quic_crypto){ 0 };
}

static bool grow(struct dw_quic_crypto *c, size_t end)
{
	if (end <= c->cap)
		return true;
	size_t cap = c->cap ? c->cap : CRYPTO_MIN;
	while (cap < end)
		cap *= 2;
	cap = DW_MIN(cap, DW_QUIC_CRYPTO_MAX);
	uint8_t *data = realloc(c->data, cap);
	if (!data)
		return false;
	c->data = data;
	uint8_t *have = realloc(c->have, cap / 8);
	if (!have)
		return false;
	c->have = have;
	memset(have + c->cap / 8, 0, (cap - c->cap) / 8);
	c->cap = cap;
	return true;
}

static enum dw_parse put(struct dw_quic_crypto *c, uint64_t offset, struct dw_span bytes)
{
	if (offset > DW_QUIC_CRYPTO_MAX || bytes.n > DW_QUIC_CRYPTO_MAX - offset)
		return DW_PARSE_BIG;
	if (bytes.n == 0)
		return DW_PARSE_OK;
	size_t end = (size_t)offset + bytes.n;
	if (!grow(c, end))
		return DW_PARSE_BAD;
	for (size_t i = 0; i < bytes.n; i++) {
		size_t at = (size_t)offset + i;
		uint8_t bit = (uint8_t)(1 << (at & 7));
		if (c->have[at >> 3] & bit && c->data[at] != bytes.p[i])
			return DW_PARSE_BAD;
		c->have[at >> 3] |= bit;
		c->data[at] = bytes.p[i];
	}
	c->high = DW_MAX(c->high, end);
	return DW_PARSE_OK;
}

static void read_crypto(struct dw_rd *r, struct dw_quic_crypto *c)
{
	uint64_t offset = quic_varint(r);
	struct dw_span bytes = quic_bytes(r, quic_varint(r));
	if (!dw_rd_ok(r))
		return;
	enum dw_parse status = put(c, offset, bytes);
	if (status != DW_PARSE_OK)
		dw_rd_fail(r, status);
}

/* RFC 9000 section 19.3. Its ranges count down; each takes bytes, so a great count of them ends with the packet. */
static void read_ack(struct dw_rd *r, bool ecn)
{
	uint64_t at = quic_varint(r); /* the largest acknowledged */
	quic_varint(r);               /* delay */
	uint64_t ranges = quic_varint(r);
	uint64_t length = quic_varint(r);
	if (length > at)
		dw_rd_fail(r, DW_PARSE_BAD);
	at -= length;
	for (uint64_t i = 0; i < ranges && dw_rd_ok(r); i++) {
		uint64_t gap = quic_varint(r);
		length = quic_varint(r);
		if (gap + 2 + length > at)
			dw_rd_fail(r, DW_PARSE_BAD);
		at -= gap + 2 + length;
	}
	for (unsigned i = 0; ecn && i < 3; i++)
		quic_varint(r);
}

static void read_close(struct dw_rd *r)
{
	quic_varint(r); /* error */
	quic_varint(r); /* the frame that caused it */
	quic_bytes(r, quic_varint(r));
}

static void read_frame(struct dw_rd *r, struct dw_quic_crypto *c)
{
	/* In one byte: section 12.4 asks for the shortest form of a type, and types of two bytes have no place here. */
	uint8_t type = dw_rd_u8(r);
	if (type == FRAME_ACK || type == FRAME_ACK_ECN)
		read_ack(r, type == FRAME_ACK_ECN);
	else if (type == FRAME_CRYPTO)
		read_crypto(r, c);
	else if (type == FRAME_CONNECTION_CLOSE)
		read_close(r);
	else if (type != FRAME_PADDING && type != FRAME_PING)
		dw_rd_fail(r, DW_PARSE_BAD);
}

enum dw_parse dw_quic_frames_take(struct dw_quic_crypto *c, const void *plain, size_t n)
{
	struct dw_rd r = dw_rd_init(plain, n, false);
	if (n == 0) /* section 12.4 */
		return DW_PARSE_BAD;
	while (r.n)
		read_frame(&r, c);
	return r.status;
}

/* The bytes from the start without a gap. */
static size_t contiguous(const struct dw_quic_crypto *c)
{
	size_t n = 0;
	while (n < c->high && n % 8 == 0 && c->have[n >> 3] == 0xff)
		n += 8;
	while (n < c->high && c->have[n >> 3] & 1 << (n & 7))
		n++;
	return n;
}

enum dw_parse dw_quic_hello(const struct dw_quic_crypto *c, struct dw_tls_hello *ret)
{
	struct dw_tls_hello hello;
	size_t n = contiguous(c);
	enum dw_parse status = dw_tls_hello_message_parse(c->data, n, &hello);
	if (status != DW_PARSE_OK)
		return status;
	if (c->high > n)
		return DW_PARSE_BAD;
	*ret = hello;
	return DW_PARSE_OK;
}
