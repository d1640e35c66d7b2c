/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/base64.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

bool base64_decode(char *text, size_t n, size_t *ret_n)
{
	const size_t pad = n && text[n - 1] == '=' ? (n > 1 && text[n - 2] == '=' ? 2 : 1) : 0;

	if (n > INT_MAX || n % 4 ||
	    strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") != n - pad)
		return false;
	const int got = n ? EVP_DecodeBlock((unsigned char *)text, (const unsigned char *)text, (int)n) : 0;
	if (got < 0)
		return false;
	*ret_n = (size_t)got - pad;
	return true;
}

char *base64_encode(const void *bytes, size_t n)
{
	char *text = n <= INT_MAX / 2 ? malloc((n + 2) / 3 * 4 + 1) : NULL;

	if (text)
		EVP_EncodeBlock((unsigned char *)text, bytes, (int)n);
	return text;
}
