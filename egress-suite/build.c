/* SPDX-License-Identifier: Apache-2.0 */
#include "build.h"

#include <stdlib.h>
#include <string.h>

#include "crypto.h"

static void dns_name(struct eg_buf *b, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, ".");
		if (n) {
			eg_u8(b, (unsigned)n & 0xff);
			eg_put(b, text, n);
		}
		text += n + (text[n] == '.');
	}
	eg_u8(b, 0);
}

void eg_dns_query(struct eg_buf *b, const struct eg_query *q)
{
	const unsigned count = q->no_count ? 0 : q->questions ? q->questions : 1;
	const bool opt = q->edns || q->option_n;

	eg_u16(b, q->id);
	eg_u16(b, q->flags ? q->flags : 0x0100);
	eg_u16(b, count);
	eg_u32(b, 0);
	eg_u16(b, (unsigned)opt + (q->extra_n != 0));
	for (unsigned i = 0; i == 0 || (i < count && i < 3); i++) {
		if (q->wire_n)
			eg_put(b, q->wire, q->wire_n);
		else
			dns_name(b, q->name);
		eg_u16(b, q->type);
		eg_u16(b, 1);
	}
	if (q->extra_n) {
		eg_u8(b, 0);
		eg_u16(b, 16);
		eg_u16(b, 1);
		eg_u32(b, 0);
		eg_u16(b, (unsigned)q->extra_n + 1);
		eg_u8(b, (unsigned)q->extra_n);
		eg_put(b, q->extra, q->extra_n);
	}
	if (opt) {
		eg_u8(b, 0);
		eg_u16(b, 41);
		eg_u16(b, 1232);
		eg_u32(b, 0);
		eg_u16(b, q->option_n ? (unsigned)q->option_n + 4 : 0);
		if (q->option_n) {
			eg_u16(b, 65500);
			eg_u16(b, (unsigned)q->option_n);
			eg_put(b, q->option, q->option_n);
		}
	}
	eg_put(b, q->tail, q->tail_n);
}

static void sni_entry(struct eg_buf *b, uint8_t type, const void *p, size_t n)
{
	eg_u8(b, type);
	eg_u16(b, (unsigned)n);
	eg_put(b, p, n);
}

static void sni_extension(struct eg_buf *b, const struct eg_hello *h)
{
	eg_u16(b, 0);
	size_t outer = b->n;
	eg_u16(b, 0);
	size_t list = b->n;
	eg_u16(b, 0);
	sni_entry(b, h->name_type, h->sni, h->sni_n);
	if (h->sni2 && !h->as_second_extension)
		sni_entry(b, h->name_type, h->sni2, h->sni2_n);
	eg_patch16(b, list);
	eg_patch16(b, outer);
	if (h->sni2 && h->as_second_extension) {
		const struct eg_hello second = { .sni = h->sni2, .sni_n = h->sni2_n, .name_type = h->name_type };
		sni_extension(b, &second);
	}
}

/* What a client of version 1.3 cannot leave out. */
static void usual_extensions(struct eg_buf *b)
{
	static const uint8_t fixed[] = { 0x00, 0x2b, 0x00, 0x03, 0x02, 0x03, 0x04, 0x00, 0x0a, 0x00, 0x04, 0x00,
					 0x02, 0x00, 0x1d, 0x00, 0x0d, 0x00, 0x06, 0x00, 0x04, 0x08, 0x04, 0x04,
					 0x03, 0x00, 0x33, 0x00, 0x26, 0x00, 0x24, 0x00, 0x1d, 0x00, 0x20 };
	uint8_t share[32];

	eg_put(b, fixed, sizeof(fixed));
	for (unsigned i = 0; i < sizeof(share); i++)
		share[i] = (uint8_t)(i * 7 + 1);
	eg_put(b, share, sizeof(share));
}

static void ech_extension(struct eg_buf *b)
{
	eg_u16(b, 0xfe0d);
	eg_u16(b, 1 + 4 + 1 + 2 + 32 + 2 + 144);
	eg_u8(b, 0);           /* outer */
	eg_u32(b, 0x00010001); /* HKDF-SHA256, AES-128-GCM */
	eg_u8(b, 7);           /* config id */
	eg_u16(b, 32);
	eg_put_zero(b, 32);
	eg_u16(b, 144);
	eg_put_zero(b, 144);
}

static void quic_extensions(struct eg_buf *b)
{
	static const uint8_t alpn[] = { 0x00, 0x10, 0x00, 0x05, 0x00, 0x03, 0x02, 'h', '3' };
	static const uint8_t parameters[] = { 0x00, 0x39, 0x00, 0x03, 0x0f, 0x01, 0x00 };

	eg_put(b, alpn, sizeof(alpn));
	eg_put(b, parameters, sizeof(parameters));
}

static void extensions(struct eg_buf *b, const struct eg_hello *h)
{
	size_t at = b->n;

	eg_u16(b, 0);
	if (h->sni)
		sni_extension(b, h);
	usual_extensions(b);
	if (h->quic)
		quic_extensions(b);
	if (h->ech)
		ech_extension(b);
	if (h->pad) {
		eg_u16(b, 21);
		eg_u16(b, (unsigned)h->pad);
		eg_put_zero(b, h->pad);
	}
	eg_patch16(b, at);
}

void eg_hello_message(struct eg_buf *b, const struct eg_hello *h)
{
	struct eg_buf body = { 0 };
	uint8_t id[32] = { 0 };

	eg_u16(&body, 0x0303);
	memset(id, 0x5a, sizeof(id));
	if (h->retry)
		memcpy(id, EG_RETRY, strlen(EG_RETRY));
	eg_put(&body, id, 32); /* the random */
	if (h->nonce)
		memcpy(id, h->nonce, EG_NONCE);
	eg_u8(&body, h->quic ? 0 : 32);
	eg_put(&body, id, h->quic ? 0 : 32);
	eg_put(&body, (const uint8_t[]){ 0, 6, 0x13, 1, 0x13, 2, 0x13, 3, 1, 0 }, 10);
	extensions(&body, h);
	eg_u8(b, 1);
	eg_u24(b, (unsigned)body.n);
	eg_put(b, body.p, body.n);
	eg_free(&body);
}

void eg_tls_records(struct eg_buf *b, const struct eg_buf *message, size_t size)
{
	for (size_t at = 0; at < message->n; at += size) {
		size_t n = message->n - at < size ? message->n - at : size;
		eg_u8(b, 22);
		eg_u16(b, 0x0301);
		eg_u16(b, (unsigned)n);
		eg_put(b, message->p + at, n);
	}
}

void eg_tls_hello(struct eg_buf *b, const struct eg_hello *h)
{
	struct eg_buf message = { 0 };

	eg_hello_message(&message, h);
	eg_tls_records(b, &message, 16384);
	eg_free(&message);
}

void eg_quic_initial(struct eg_buf *b, const struct eg_initial *i)
{
	const size_t start = b->n;
	const bool two = i->version == EG_QUIC_V2;
	struct eg_buf frames = { 0 };
	struct eg_quic_keys keys;
	uint8_t dcid[EG_NONCE + 1], mask[16];

	memcpy(dcid, i->nonce, EG_NONCE);
	dcid[EG_NONCE] = i->suffix;
	eg_u8(&frames, 6); /* CRYPTO */
	eg_u32(&frames, 0x80000000u | (uint32_t)i->from);
	eg_u16(&frames, 0x4000u | (unsigned)(i->to - i->from));
	eg_put(&frames, i->message->p + i->from, i->to - i->from);
	if (frames.n < 1200)
		eg_put_zero(&frames, 1200 - frames.n);
	eg_u8(b, (two ? 0xd0u : 0xc0u) | 3u); /* four bytes of packet number */
	eg_u32(b, i->version);
	eg_u8(b, sizeof(dcid));
	eg_put(b, dcid, sizeof(dcid));
	eg_u8(b, 0); /* no source connection id */
	eg_u8(b, 0); /* no token */
	eg_u16(b, 0x4000u | (unsigned)(4 + frames.n + 16));
	const size_t number_at = b->n;
	eg_u32(b, i->number);
	const size_t body = b->n;
	eg_put_zero(b, frames.n + 16);
	eg_quic_initial_keys(i->version, dcid, sizeof(dcid), &keys);
	eg_quic_seal(&keys, i->number, b->p + start, body - start, frames.p, frames.n, b->p + body);
	eg_quic_mask(&keys, b->p + number_at + 4, mask);
	b->p[start] ^= mask[0] & 0x0f;
	for (size_t k = 0; k < 4; k++)
		b->p[number_at + k] ^= mask[1 + k];
	eg_free(&frames);
}

void eg_http(struct eg_buf *b, const char *nonce, const char *host, const char *extra)
{
	eg_text(b, "GET /%s HTTP/1.1\r\n", nonce);
	if (host)
		eg_text(b, "Host: %s\r\n", host);
	eg_text(b, "%s\r\n", extra ? extra : "");
}
