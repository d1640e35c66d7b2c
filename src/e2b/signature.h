/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The signature in a URL that reads or writes one file without a token: who made it has the sandbox's token, and whoever has the URL may do
 * what it says, for as long as it says. Pure.
 */
#pragma once

#include <stdint.h>

enum signature_verdict {
	SIGNATURE_WRONG = 0,
	SIGNATURE_EXPIRED, /* it was right once */
	SIGNATURE_RIGHT,
};

/* What is signed, as it stands in the URL. */
struct signature_text {
	const char *path, *user; /* "" for none */
	const char *operation;   /* "read" or "write" */
	const char *expires;     /* Unix seconds as text; NULL: never */
};

#define SIGNATURE_SIZE 47 /* v1_, the base64 of a SHA-256 without its padding, and the end */

void signature_make(const struct signature_text *t, const char *token, char ret[static SIGNATURE_SIZE]);
/* What is the same for every token is digested once. */
struct evp_md_ctx_st *signature_begin(const struct signature_text *t);
void signature_end(struct evp_md_ctx_st *begun);
enum signature_verdict signature_judge(const struct evp_md_ctx_st *begun, const struct signature_text *t,
				       const char *token, const char *given, int64_t now_s);
/* All of these for one token. given may be NULL, which is wrong. The comparison takes as long wherever the two differ. */
enum signature_verdict signature_check(const struct signature_text *t, const char *token, const char *given,
				       int64_t now_s);
