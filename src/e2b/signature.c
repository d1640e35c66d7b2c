/* SPDX-License-Identifier: Apache-2.0 */
#include "e2b/signature.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#include "core/macros.h"
#include "daemon/base64.h"
#include "daemon/jsonx.h"

#define DIGEST_SIZE 32

static void add(EVP_MD_CTX *ctx, const char *text)
{
	dw_assert(EVP_DigestUpdate(ctx, text, strlen(text)) == 1);
}

struct evp_md_ctx_st *signature_begin(const struct signature_text *t)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	dw_assert(ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1);
	add(ctx, t->path);
	add(ctx, ":");
	add(ctx, t->operation);
	add(ctx, ":");
	add(ctx, t->user);
	add(ctx, ":");
	return ctx;
}

void signature_end(struct evp_md_ctx_st *begun)
{
	EVP_MD_CTX_free(begun);
}

static void make(const EVP_MD_CTX *begun, const struct signature_text *t, const char *token,
		 char ret[static SIGNATURE_SIZE])
{
	uint8_t digest[DIGEST_SIZE];
	char text[BASE64_LENGTH(DIGEST_SIZE)];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	dw_assert(ctx && EVP_MD_CTX_copy_ex(ctx, begun) == 1);
	add(ctx, token);
	if (t->expires) {
		add(ctx, ":");
		add(ctx, t->expires);
	}
	dw_assert(EVP_DigestFinal_ex(ctx, digest, NULL) == 1);
	EVP_MD_CTX_free(ctx);
	base64_encode(digest, sizeof(digest), text);
	memcpy(ret, "v1_", 3);
	memcpy(ret + 3, text, sizeof(text) - 1); /* one character of padding */
	ret[SIGNATURE_SIZE - 1] = '\0';
}

void signature_make(const struct signature_text *t, const char *token, char ret[static SIGNATURE_SIZE])
{
	EVP_MD_CTX *begun = signature_begin(t);
	make(begun, t, token, ret);
	signature_end(begun);
}

enum signature_verdict signature_judge(const struct evp_md_ctx_st *begun, const struct signature_text *t,
				       const char *token, const char *given, int64_t now_s)
{
	char right[SIGNATURE_SIZE];
	uint64_t expires = 0;
	if (!given || strlen(given) != SIGNATURE_SIZE - 1 ||
	    (t->expires && !jsonx_uint(t->expires, INT64_MAX, &expires)))
		return SIGNATURE_WRONG;
	make(begun, t, token, right);
	if (CRYPTO_memcmp(right, given, SIGNATURE_SIZE - 1) != 0)
		return SIGNATURE_WRONG;
	return t->expires && (int64_t)expires < now_s ? SIGNATURE_EXPIRED : SIGNATURE_RIGHT;
}

enum signature_verdict signature_check(const struct signature_text *t, const char *token, const char *given,
				       int64_t now_s)
{
	EVP_MD_CTX *begun = signature_begin(t);
	const enum signature_verdict v = signature_judge(begun, t, token, given, now_s);
	signature_end(begun);
	return v;
}
