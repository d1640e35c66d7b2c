/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/token.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#include "daemon/app.h"
#include "daemon/clock.h"

void token_init(struct app *app)
{
	_Static_assert(sizeof(app->token_secret) == 32, "letters below");
	/* 32 of 36 letters are more than 160 bits. */
	char text[sizeof(app->token_secret) + 1];
	random_token(text, sizeof(app->token_secret));
	memcpy(app->token_secret, text, sizeof(app->token_secret));
	OPENSSL_cleanse(text, sizeof(text));
}

void token_make(const struct app *app, enum token_kind kind, const char *sandbox, char ret[static TOKEN_SIZE])
{
	static const char *const names[] = { [TOKEN_ENVD] = "envd", [TOKEN_TRAFFIC] = "traffic" };
	char text[RECORD_ID_SIZE + 16];
	uint8_t mac[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	const int len = snprintf(text, sizeof(text), "%s:%s", names[kind], sandbox);
	dw_assert(len > 0 && (size_t)len < sizeof(text));
	dw_assert(HMAC(EVP_sha256(), app->token_secret, sizeof(app->token_secret), (const uint8_t *)text, (size_t)len,
		       mac, &n) &&
		  n == TOKEN_SIZE / 2);
	for (unsigned i = 0; i < n; i++)
		snprintf(ret + 2 * (size_t)i, 3, "%02x", mac[i]);
}

bool token_check(const struct app *app, enum token_kind kind, const char *sandbox, const char *given)
{
	char right[TOKEN_SIZE];
	token_make(app, kind, sandbox, right);
	return given && strlen(given) == TOKEN_SIZE - 1 && CRYPTO_memcmp(given, right, TOKEN_SIZE - 1) == 0;
}
