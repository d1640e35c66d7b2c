/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto.h"

#include <string.h>

/* SHA-256 (FIPS 180-4), HMAC (RFC 2104), HKDF-Expand-Label (RFC 8446 section 7.1). */

static const uint32_t round_words[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t ror(uint32_t v, unsigned n)
{
	return v >> n | v << (32 - n);
}

static void sha_block(uint32_t h[8], const uint8_t *p)
{
	uint32_t w[64], s[8];

	for (int i = 0; i < 16; i++)
		w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 |
		       p[4 * i + 3];
	for (int i = 16; i < 64; i++) {
		uint32_t a = ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ w[i - 15] >> 3;
		uint32_t b = ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ w[i - 2] >> 10;
		w[i] = w[i - 16] + a + w[i - 7] + b;
	}
	memcpy(s, h, sizeof(s));
	for (int i = 0; i < 64; i++) {
		uint32_t e = ror(s[4], 6) ^ ror(s[4], 11) ^ ror(s[4], 25);
		uint32_t t1 = s[7] + e + ((s[4] & s[5]) ^ (~s[4] & s[6])) + round_words[i] + w[i];
		uint32_t a = ror(s[0], 2) ^ ror(s[0], 13) ^ ror(s[0], 22);
		uint32_t t2 = a + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
		memmove(s + 1, s, 7 * sizeof(s[0]));
		s[4] += t1;
		s[0] = t1 + t2;
	}
	for (int i = 0; i < 8; i++)
		h[i] += s[i];
}

/* Inputs here are short: one buffer holds the padded message. */
static void sha256(const uint8_t *p, size_t n, uint8_t out[32])
{
	uint32_t h[8] = {
		0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19
	};
	uint8_t m[512] = { 0 };
	size_t whole = (n + 9 + 63) / 64 * 64;

	if (whole > sizeof(m))
		__builtin_trap();
	memcpy(m, p, n);
	m[n] = 0x80;
	for (int i = 0; i < 8; i++)
		m[whole - 1 - (size_t)i] = (uint8_t)((uint64_t)n * 8 >> 8 * i);
	for (size_t i = 0; i < whole; i += 64)
		sha_block(h, m + i);
	for (int i = 0; i < 32; i++)
		out[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static void hmac(const uint8_t *key, size_t key_n, const uint8_t *p, size_t n, uint8_t out[32])
{
	uint8_t inner[64 + 256], outer[64 + 32];

	memset(inner, 0x36, 64);
	memset(outer, 0x5c, 64);
	for (size_t i = 0; i < key_n; i++) {
		inner[i] ^= key[i];
		outer[i] ^= key[i];
	}
	memcpy(inner + 64, p, n);
	sha256(inner, 64 + n, outer + 64);
	sha256(outer, sizeof(outer), out);
}

static void expand(const uint8_t secret[32], const char *label, size_t n, uint8_t *out)
{
	uint8_t info[64] = { 0, (uint8_t)n };
	uint8_t block[32];
	size_t label_n = strlen(label);

	info[2] = (uint8_t)(6 + label_n);
	memcpy(info + 3, "tls13 ", 6);
	memcpy(info + 9, label, label_n);
	info[9 + label_n] = 0; /* no context */
	info[10 + label_n] = 1;
	hmac(secret, 32, info, 11 + label_n, block);
	memcpy(out, block, n);
}

void eg_quic_initial_keys(uint32_t version, const uint8_t *dcid, size_t dcid_n, struct eg_quic_keys *ret)
{
	static const uint8_t salt1[20] = { 0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17,
					   0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a };
	static const uint8_t salt2[20] = { 0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93,
					   0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9 };
	const bool two = version == 0x6b3343cf;
	uint8_t initial[32], client[32];

	hmac(two ? salt2 : salt1, 20, dcid, dcid_n, initial);
	expand(initial, "client in", 32, client);
	expand(client, two ? "quicv2 key" : "quic key", 16, ret->key);
	expand(client, two ? "quicv2 iv" : "quic iv", 12, ret->iv);
	expand(client, two ? "quicv2 hp" : "quic hp", 16, ret->hp);
}

/* AES-128 (FIPS 197), encryption only. */

static uint8_t mul2(uint8_t v)
{
	return (uint8_t)(v << 1 ^ (v & 0x80 ? 0x1b : 0));
}

static const uint8_t *sbox(void)
{
	static uint8_t box[256];
	uint8_t p = 1, q = 1;

	if (box[0])
		return box;
	do {
		p = (uint8_t)(p ^ mul2(p));
		q = (uint8_t)(q ^ q << 1);
		q = (uint8_t)(q ^ q << 2);
		q = (uint8_t)(q ^ q << 4);
		q = (uint8_t)(q ^ (q & 0x80 ? 0x09 : 0));
		uint8_t x =
			(uint8_t)(q ^ (q << 1 | q >> 7) ^ (q << 2 | q >> 6) ^ (q << 3 | q >> 5) ^ (q << 4 | q >> 4));
		box[p] = (uint8_t)(x ^ 0x63);
	} while (p != 1);
	box[0] = 0x63;
	return box;
}

struct schedule {
	uint8_t k[176];
};

static void aes_schedule(const uint8_t key[16], struct schedule *ret)
{
	const uint8_t *s = sbox();
	uint8_t rcon = 1;

	memcpy(ret->k, key, 16);
	for (size_t i = 16; i < 176; i += 4) {
		uint8_t t[4];
		memcpy(t, ret->k + i - 4, 4);
		if (i % 16 == 0) {
			uint8_t first = t[0];
			t[0] = (uint8_t)(s[t[1]] ^ rcon);
			t[1] = s[t[2]];
			t[2] = s[t[3]];
			t[3] = s[first];
			rcon = mul2(rcon);
		}
		for (size_t k = 0; k < 4; k++)
			ret->k[i + k] = ret->k[i + k - 16] ^ t[k];
	}
}

static void mix_columns(uint8_t b[16])
{
	for (int c = 0; c < 16; c += 4) {
		uint8_t a0 = b[c], a1 = b[c + 1], a2 = b[c + 2], a3 = b[c + 3];
		uint8_t all = a0 ^ a1 ^ a2 ^ a3;
		b[c] = (uint8_t)(a0 ^ all ^ mul2(a0 ^ a1));
		b[c + 1] = (uint8_t)(a1 ^ all ^ mul2(a1 ^ a2));
		b[c + 2] = (uint8_t)(a2 ^ all ^ mul2(a2 ^ a3));
		b[c + 3] = (uint8_t)(a3 ^ all ^ mul2(a3 ^ a0));
	}
}

static void aes(const struct schedule *k, const uint8_t in[16], uint8_t out[16])
{
	const uint8_t *s = sbox();
	uint8_t b[16], t[16];

	for (int i = 0; i < 16; i++)
		b[i] = in[i] ^ k->k[i];
	for (int round = 1; round <= 10; round++) {
		for (int i = 0; i < 16; i++)
			t[i] = s[b[(i + 4 * (i % 4)) % 16]]; /* SubBytes and ShiftRows at once */
		if (round < 10)
			mix_columns(t);
		for (int i = 0; i < 16; i++)
			b[i] = t[i] ^ k->k[16 * round + i];
	}
	memcpy(out, b, 16);
}

/* GCM (SP 800-38D) with 12-byte nonces. */

static void gf_mul(uint8_t x[16], const uint8_t h[16])
{
	uint8_t z[16] = { 0 }, v[16];

	memcpy(v, h, 16);
	for (int i = 0; i < 128; i++) {
		if (x[i / 8] >> (7 - i % 8) & 1) {
			for (int k = 0; k < 16; k++)
				z[k] ^= v[k];
		}
		const bool low = v[15] & 1;
		for (int k = 15; k > 0; k--)
			v[k] = (uint8_t)(v[k] >> 1 | v[k - 1] << 7);
		v[0] = (uint8_t)(v[0] >> 1 ^ (low ? 0xe1 : 0));
	}
	memcpy(x, z, 16);
}

static void ghash(uint8_t y[16], const uint8_t h[16], const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i += 16) {
		for (size_t k = 0; k < 16 && i + k < n; k++)
			y[k] ^= p[i + k];
		gf_mul(y, h);
	}
}

static void gcm_tag(const struct schedule *k, const uint8_t j0[16], const uint8_t *aad, size_t aad_n, const uint8_t *c,
		    size_t n, uint8_t tag[16])
{
	uint8_t h[16] = { 0 }, lengths[16] = { 0 }, mask[16];

	memset(tag, 0, 16);
	aes(k, h, h);
	ghash(tag, h, aad, aad_n);
	ghash(tag, h, c, n);
	for (int i = 0; i < 8; i++) {
		lengths[7 - i] = (uint8_t)((uint64_t)aad_n * 8 >> 8 * i);
		lengths[15 - i] = (uint8_t)((uint64_t)n * 8 >> 8 * i);
	}
	ghash(tag, h, lengths, 16);
	aes(k, j0, mask);
	for (int i = 0; i < 16; i++)
		tag[i] ^= mask[i];
}

static void gcm_crypt(const struct schedule *k, const uint8_t j0[16], const uint8_t *in, size_t n, uint8_t *out)
{
	uint8_t counter[16], stream[16];

	memcpy(counter, j0, 16);
	for (size_t i = 0; i < n; i++) {
		if (i % 16 == 0) {
			for (int b = 15; b > 11 && ++counter[b] == 0; b--)
				;
			aes(k, counter, stream);
		}
		out[i] = in[i] ^ stream[i % 16];
	}
}

static void start(const struct eg_quic_keys *k, uint64_t number, struct schedule *s, uint8_t j0[16])
{
	aes_schedule(k->key, s);
	memcpy(j0, k->iv, 12);
	for (int i = 0; i < 8; i++)
		j0[11 - i] ^= (uint8_t)(number >> 8 * i);
	memcpy(j0 + 12, (const uint8_t[]){ 0, 0, 0, 1 }, 4);
}

void eg_quic_seal(const struct eg_quic_keys *k, uint64_t number, const uint8_t *aad, size_t aad_n, const uint8_t *in,
		  size_t n, uint8_t *out)
{
	struct schedule s;
	uint8_t j0[16];

	start(k, number, &s, j0);
	gcm_crypt(&s, j0, in, n, out);
	gcm_tag(&s, j0, aad, aad_n, out, n, out + n);
}

bool eg_quic_open(const struct eg_quic_keys *k, uint64_t number, const uint8_t *aad, size_t aad_n, const uint8_t *in,
		  size_t n, uint8_t *out)
{
	struct schedule s;
	uint8_t j0[16], tag[16];

	if (n < 16)
		return false;
	start(k, number, &s, j0);
	gcm_tag(&s, j0, aad, aad_n, in, n - 16, tag);
	if (memcmp(tag, in + n - 16, 16) != 0)
		return false;
	gcm_crypt(&s, j0, in, n - 16, out);
	return true;
}

void eg_quic_mask(const struct eg_quic_keys *k, const uint8_t sample[16], uint8_t mask[16])
{
	struct schedule s;

	aes_schedule(k->hp, &s);
	aes(&s, sample, mask);
}
