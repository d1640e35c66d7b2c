/* SPDX-License-Identifier: Apache-2.0 */
/* As much TLS as it takes to know which name a hello asks for, and to answer it with something the probe recognises. */
#include <string.h>

#include "build.h"
#include "far.h"

static unsigned u16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

bool far_tls_assemble(const uint8_t *p, size_t n, struct eg_buf *out, size_t *used, bool *bad)
{
	size_t at = 0;

	out->n = 0;
	*bad = false;
	while (at + 5 <= n) {
		const size_t size = u16(p + at + 3);
		if (p[at] != 22) {
			*bad = true;
			return false;
		}
		if (at + 5 + size > n)
			return false;
		eg_put(out, p + at + 5, size);
		at += 5 + size;
		if (out->n >= 4 && out->n >= 4 + ((size_t)out->p[1] << 16 | u16(out->p + 2))) {
			*used = at;
			return true;
		}
	}
	return false;
}

bool far_hello_sni(const uint8_t *m, size_t n, const uint8_t **sni, size_t *sni_n)
{
	size_t at = 4 + 2 + 32;

	*sni = NULL;
	if (n < at + 1 || m[0] != 1)
		return false;
	at += 1u + m[at];
	if (at + 2 > n)
		return false;
	at += 2 + u16(m + at);
	if (at + 1 > n)
		return false;
	at += 1u + m[at];
	if (at + 2 > n)
		return false;
	for (at += 2; at + 4 <= n;) {
		const size_t size = u16(m + at + 2);
		if (at + 4 + size > n)
			return false;
		if (u16(m + at) == 0 && size >= 5 && 5 + (size_t)u16(m + at + 4 + 3) <= size) {
			*sni = m + at + 4 + 5;
			*sni_n = u16(m + at + 4 + 3);
			return true;
		}
		at += 4 + size;
	}
	return true;
}

void far_tls_answer(struct eg_buf *b, const struct eg_buf *hello, const char *nonce)
{
	/* RFC 8446 section 4.1.3: the random that makes a ServerHello a HelloRetryRequest */
	static const uint8_t retry_random[32] = { 0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c,
						  0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb,
						  0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c };
	const bool retry = hello->n > 6 + 32 && memcmp(hello->p + 6, EG_RETRY, strlen(EG_RETRY)) == 0;
	struct eg_buf body = { 0 };
	char token[32] = EG_TOKEN;

	memcpy(token + strlen(EG_TOKEN), nonce, strlen(nonce));
	eg_u16(&body, 0x0303);
	if (retry)
		eg_put(&body, retry_random, sizeof(retry_random));
	else
		eg_put(&body, token, sizeof(token));
	eg_u8(&body, retry ? 32 : 0); /* a session id, and the token in it */
	eg_put(&body, token, retry ? 32 : 0);
	eg_u16(&body, 0x1301);
	eg_u8(&body, 0);
	eg_u16(&body, retry ? 12 : 6);
	eg_put(&body, (const uint8_t[]){ 0, 0x2b, 0, 2, 3, 4 }, 6);
	if (retry) /* another group, please */
		eg_put(&body, (const uint8_t[]){ 0, 0x33, 0, 2, 0, 0x17 }, 6);
	eg_put(b, (const uint8_t[]){ 22, 3, 3 }, 3);
	eg_u16(b, (unsigned)body.n + 4);
	eg_u8(b, 2);
	eg_u24(b, (unsigned)body.n);
	eg_put(b, body.p, body.n);
	eg_free(&body);
}
