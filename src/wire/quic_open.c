/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening an Initial: keys from the DCID (RFC 9001 section 5.2), header protection (section 5.4), AEAD_AES_128_GCM (section
 * 5.3). libcrypto does the arithmetic; what it fails at counts as a packet that does not open.
 */
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

#include "core/wr.h"
#include "wire/quic_internal.h"

#define SECRET_SIZE 32 /* SHA-256 */
#define KEY_SIZE    16
#define IV_SIZE     12
#define SAMPLE_SIZE 16
#define TAG_SIZE    16
#define PN_SIZE_MAX 4

struct keys {
	uint8_t key[KEY_SIZE], iv[IV_SIZE], hp[KEY_SIZE];
};

/* How the versions differ: RFC 9001 sections 5.1 and 5.2, RFC 9369 section 3.3. */
static const struct version {
	uint32_t version;
	uint8_t salt[20];
	const char *key, *iv, *hp; /* labels behind "tls13 " */
} versions[] = {
	{ DW_QUIC_V1,
	  { 0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17,
	    0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a },
	  "quic key",
	  "quic iv",
	  "quic hp" },
	{ DW_QUIC_V2,
	  { 0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93,
	    0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9 },
	  "quicv2 key",
	  "quicv2 iv",
	  "quicv2 hp" },
};

DW_DEFINE_CLEANUP(EVP_KDF *, EVP_KDF_free)
DW_DEFINE_CLEANUP(EVP_KDF_CTX *, EVP_KDF_CTX_free)
DW_DEFINE_CLEANUP(EVP_CIPHER_CTX *, EVP_CIPHER_CTX_free)

static const struct version *find_version(uint32_t version)
{
	for (size_t i = 0; i < DW_COUNT(versions); i++) {
		if (versions[i].version == version)
			return &versions[i];
	}
	return NULL;
}

/* libcrypto's parameters are not const; those given to a derivation are only read. */
static void *param(const void *p)
{
	return (void *)(uintptr_t)p;
}

/* One of HKDF's halves with SHA-256 (RFC 5869): extra is the salt of the first, the info of the second. */
static bool hkdf(EVP_KDF_CTX *kdf, int mode, struct dw_span key, struct dw_span extra, uint8_t *out, size_t n)
{
	const char *extra_name = mode == EVP_KDF_HKDF_MODE_EXTRACT_ONLY ? OSSL_KDF_PARAM_SALT : OSSL_KDF_PARAM_INFO;
	const OSSL_PARAM params[] = {
		OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, param("SHA256"), 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, param(key.p), key.n),
		OSSL_PARAM_construct_octet_string(extra_name, param(extra.p), extra.n),
		OSSL_PARAM_construct_end(),
	};
	EVP_KDF_CTX_reset(kdf);
	return EVP_KDF_derive(kdf, out, n, params) == 1;
}

/* HKDF-Expand-Label with no context (RFC 8446 section 7.1). */
static bool expand_label(EVP_KDF_CTX *kdf, const uint8_t secret[SECRET_SIZE], const char *label, uint8_t *out, size_t n)
{
	static const char prefix[] = "tls13 ";
	uint8_t info[64];
	struct dw_wr w = dw_wr_init(info, sizeof(info));
	dw_wr_u16(&w, (uint16_t)n);
	dw_wr_u8(&w, (uint8_t)(strlen(prefix) + strlen(label)));
	dw_wr_bytes(&w, prefix, strlen(prefix));
	dw_wr_bytes(&w, label, strlen(label));
	dw_wr_u8(&w, 0);
	dw_assert(dw_wr_ok(&w));
	return hkdf(kdf, EVP_KDF_HKDF_MODE_EXPAND_ONLY, (struct dw_span){ .p = secret, .n = SECRET_SIZE },
		    (struct dw_span){ .p = info, .n = w.len }, out, n);
}

static bool derive(const struct version *v, struct dw_span dcid, struct keys *ret)
{
	/* Else the first packet would make libcrypto read the environment and a file. */
	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	DW_AUTO(EVP_KDF_free) EVP_KDF *hkdf_alg = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_HKDF, NULL);
	if (!hkdf_alg)
		return false;
	DW_AUTO(EVP_KDF_CTX_free) EVP_KDF_CTX *kdf = EVP_KDF_CTX_new(hkdf_alg);
	uint8_t initial[SECRET_SIZE], client[SECRET_SIZE];
	return kdf &&
	       hkdf(kdf, EVP_KDF_HKDF_MODE_EXTRACT_ONLY, dcid, (struct dw_span){ .p = v->salt, .n = sizeof(v->salt) },
		    initial, sizeof(initial)) &&
	       expand_label(kdf, initial, "client in", client, sizeof(client)) &&
	       expand_label(kdf, client, v->key, ret->key, sizeof(ret->key)) &&
	       expand_label(kdf, client, v->iv, ret->iv, sizeof(ret->iv)) &&
	       expand_label(kdf, client, v->hp, ret->hp, sizeof(ret->hp));
}

/* The parts of a packet's header that were protected. */
struct head {
	uint8_t first;
	uint8_t pn[PN_SIZE_MAX];
	size_t pn_n;
	uint32_t number;
};

/* RFC 9001 section 5.4; protected is what starts with the packet number, at least a sample behind its longest form. */
static bool unmask(const struct keys *k, uint8_t first, const uint8_t *protected, struct head *ret)
{
	DW_AUTO(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t mask[SAMPLE_SIZE];
	int n;
	if (!ctx || EVP_EncryptInit_ex(ctx, EVP_aes_128_ecb(), NULL, k->hp, NULL) != 1 ||
	    EVP_EncryptUpdate(ctx, mask, &n, protected + PN_SIZE_MAX, SAMPLE_SIZE) != 1)
		return false;
	struct head head = { .first = first ^ (mask[0] & 0x0f) };
	head.pn_n = (head.first & 3u) + 1;
	for (size_t i = 0; i < head.pn_n; i++) {
		head.pn[i] = protected[i] ^ mask[1 + i];
		head.number = head.number << 8 | head.pn[i];
	}
	*ret = head;
	return true;
}

/* RFC 9001 section 5.3: the whole header, as it was before protection, is the associated data. */
static bool decrypt(const struct keys *k, const struct dw_quic_packet *p, const struct head *head, uint8_t *plain,
		    size_t n)
{
	DW_AUTO(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	const uint8_t *sealed = p->all.p + p->pn_off + head->pn_n;
	uint8_t nonce[IV_SIZE], tag[TAG_SIZE], end[TAG_SIZE];
	int out;
	memcpy(nonce, k->iv, sizeof(nonce));
	for (size_t i = 0; i < sizeof(head->number); i++)
		nonce[IV_SIZE - 1 - i] ^= (uint8_t)(head->number >> 8 * i);
	memcpy(tag, sealed + n, sizeof(tag));
	return ctx && EVP_DecryptInit_ex(ctx, EVP_aes_128_gcm(), NULL, k->key, nonce) == 1 &&
	       EVP_DecryptUpdate(ctx, NULL, &out, &head->first, 1) == 1 &&
	       EVP_DecryptUpdate(ctx, NULL, &out, p->all.p + 1, (int)(p->pn_off - 1)) == 1 &&
	       EVP_DecryptUpdate(ctx, NULL, &out, head->pn, (int)head->pn_n) == 1 &&
	       EVP_DecryptUpdate(ctx, plain, &out, sealed, (int)n) == 1 &&
	       EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, tag) == 1 &&
	       EVP_DecryptFinal_ex(ctx, end, &out) == 1;
}

enum dw_parse dw_quic_initial_open_as(const struct dw_quic_packet *p, struct dw_span dcid, void *plain, size_t *ret_n)
{
	const struct version *v = find_version(p->version);
	if (p->kind != DW_QUIC_INITIAL || !v || p->all.n > UINT16_MAX ||
	    p->all.n - p->pn_off < PN_SIZE_MAX + SAMPLE_SIZE)
		return DW_PARSE_BAD;
	struct keys k;
	struct head head;
	if (!derive(v, dcid, &k) || !unmask(&k, p->all.p[0], p->all.p + p->pn_off, &head))
		return DW_PARSE_BAD;
	size_t n = p->all.n - p->pn_off - head.pn_n - TAG_SIZE;
	if (!decrypt(&k, p, &head, plain, n))
		return DW_PARSE_BAD;
	if (head.number > DW_QUIC_PN_MAX)
		return DW_PARSE_BIG;
	*ret_n = n;
	return DW_PARSE_OK;
}

enum dw_parse dw_quic_initial_open(const struct dw_quic_packet *p, void *plain, size_t *ret_n)
{
	return dw_quic_initial_open_as(p, p->dcid, plain, ret_n);
}
