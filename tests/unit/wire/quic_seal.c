/* SPDX-License-Identifier: Apache-2.0 */
#include "quic_seal.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#include "core/wr.h"

#define V2 0x6b3343cfu

static void check(bool ok)
{
	if (!ok)
		abort();
}

/* HKDF's two halves are one HMAC each, as long as no more than 32 bytes come out (RFC 5869). */
static void hmac(const void *key, size_t key_n, const void *data, size_t n, uint8_t out[32])
{
	check(HMAC(EVP_sha256(), key, (int)key_n, data, n, out, NULL) != NULL);
}

static void expand(const uint8_t secret[32], const char *label, uint8_t *out, size_t n)
{
	uint8_t info[64], full[32];
	struct dw_wr w = dw_wr_init(info, sizeof(info));
	dw_wr_u16(&w, (uint16_t)n);
	dw_wr_u8(&w, (uint8_t)(strlen("tls13 ") + strlen(label)));
	dw_wr_bytes(&w, "tls13 ", strlen("tls13 "));
	dw_wr_bytes(&w, label, strlen(label));
	dw_wr_u8(&w, 0); /* context */
	dw_wr_u8(&w, 1); /* HKDF-Expand's first block */
	check(dw_wr_ok(&w));
	hmac(secret, 32, info, w.len, full);
	memcpy(out, full, n);
}

void quic_seal_keys(uint32_t version, const void *dcid, size_t n, struct quic_seal_keys *ret)
{
	static const char *const salt1 =
		"\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a";
	static const char *const salt2 =
		"\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9";
	bool v2 = version == V2;
	uint8_t initial[32], client[32];
	hmac(v2 ? salt2 : salt1, 20, n ? dcid : "", n, initial);
	expand(initial, "client in", client, sizeof(client));
	expand(client, v2 ? "quicv2 key" : "quic key", ret->key, sizeof(ret->key));
	expand(client, v2 ? "quicv2 iv" : "quic iv", ret->iv, sizeof(ret->iv));
	expand(client, v2 ? "quicv2 hp" : "quic hp", ret->hp, sizeof(ret->hp));
}

size_t quic_put_varint(uint8_t *out, uint64_t v, unsigned width)
{
	if (width == 0)
		width = v < 1u << 6 ? 1 : v < 1u << 14 ? 2 : v < 1u << 30 ? 4 : 8;
	check(v < UINT64_C(1) << (8 * width - 2));
	for (unsigned i = 0; i < width; i++)
		out[i] = (uint8_t)(v >> 8 * (width - 1 - i));
	out[0] |= (uint8_t)((width == 1 ? 0 : width == 2 ? 1 : width == 4 ? 2 : 3) << 6);
	return width;
}

size_t quic_put_crypto(uint8_t *out, uint64_t offset, const void *data, size_t n)
{
	size_t at = 0;
	out[at++] = 0x06;
	at += quic_put_varint(out + at, offset, 0);
	at += quic_put_varint(out + at, n, 0);
	if (n)
		memcpy(out + at, data, n);
	return at + n;
}

static void put_varint(struct dw_wr *w, uint64_t v, unsigned width)
{
	uint8_t bytes[8];
	dw_wr_bytes(w, bytes, quic_put_varint(bytes, v, width));
}

static void protect(const struct quic_seal_keys *k, uint8_t *packet, size_t pn_off, unsigned pn_n)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t mask[16];
	int len;
	check(ctx && EVP_EncryptInit_ex(ctx, EVP_aes_128_ecb(), NULL, k->hp, NULL) == 1);
	check(EVP_EncryptUpdate(ctx, mask, &len, packet + pn_off + 4, 16) == 1);
	EVP_CIPHER_CTX_free(ctx);
	packet[0] ^= mask[0] & 0x0f;
	for (unsigned i = 0; i < pn_n; i++)
		packet[pn_off + i] ^= mask[1 + i];
}

/* Encrypts n bytes in place and puts the tag behind them. */
static void encrypt(const struct quic_seal_keys *k, uint64_t pn, const uint8_t *head, size_t head_n, uint8_t *body,
		    size_t n)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t nonce[12];
	int len;
	memcpy(nonce, k->iv, sizeof(nonce));
	for (unsigned i = 0; i < 8; i++)
		nonce[11 - i] ^= (uint8_t)(pn >> 8 * i);
	check(ctx && EVP_EncryptInit_ex(ctx, EVP_aes_128_gcm(), NULL, k->key, nonce) == 1);
	check(EVP_EncryptUpdate(ctx, NULL, &len, head, (int)head_n) == 1);
	check(EVP_EncryptUpdate(ctx, body, &len, body, (int)n) == 1);
	check(EVP_EncryptFinal_ex(ctx, body + n, &len) == 1);
	check(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, body + n) == 1);
	EVP_CIPHER_CTX_free(ctx);
}

size_t quic_seal(const struct quic_seal *s, const void *frames, size_t n, uint8_t *out, size_t cap)
{
	struct dw_wr w = dw_wr_init(out, cap);
	uint32_t version = s->version ? s->version : 1;
	unsigned pn_n = s->pn_n ? s->pn_n : 1, length_n = s->length_n ? s->length_n : 2;
	dw_wr_u8(&w, (uint8_t)((0xc0 | (version == V2 ? 0x10 : 0) | (pn_n - 1)) ^ s->flip));
	dw_wr_u32(&w, version);
	dw_wr_u8(&w, (uint8_t)s->dcid_n);
	dw_wr_bytes(&w, s->dcid, s->dcid_n);
	dw_wr_u8(&w, (uint8_t)s->scid_n);
	dw_wr_bytes(&w, s->scid, s->scid_n);
	put_varint(&w, s->token_n, 0);
	dw_wr_bytes(&w, s->token, s->token_n);
	size_t pn_off = w.len + length_n, around = pn_off + pn_n + 16;
	size_t padding = s->pad_to > around + n ? s->pad_to - around - n : 0;
	put_varint(&w, pn_n + n + padding + 16 + s->length_add, length_n);
	for (unsigned i = pn_n; i-- > 0;)
		dw_wr_u8(&w, (uint8_t)(s->pn >> 8 * i));
	size_t body = w.len;
	dw_wr_bytes(&w, frames, n);
	check(dw_wr_ok(&w) && w.cap - w.len >= padding + 16);
	memset(out + w.len, 0, padding);

	struct quic_seal_keys k;
	if (s->key_dcid)
		quic_seal_keys(version, s->key_dcid, s->key_dcid_n, &k);
	else
		quic_seal_keys(version, s->dcid, s->dcid_n, &k);
	encrypt(&k, s->pn, out, body, out + body, n + padding);
	/* A packet too short for a sample is left without header protection; nobody can take it off either. */
	if (pn_n + n + padding + 16 >= 20)
		protect(&k, out, pn_off, pn_n);
	return body + n + padding + 16;
}
