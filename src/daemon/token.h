/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets of one sandbox that open a part of it to who has no API key: derived from the sandbox's id and a secret that this process made when
 * it started, so there is nothing to store, and who has one can make no other.
 */
#pragma once

#include <stdbool.h>

struct app;

#define TOKEN_SIZE 65 /* hexadecimal digits, and the end */

enum token_kind {
	TOKEN_ENVD = 0, /* its processes and files */
	TOKEN_TRAFFIC,  /* its ports, where they are not public */
};

/* Makes the secret. Once, at the start. */
void token_init(struct app *app);
void token_make(const struct app *app, enum token_kind kind, const char *sandbox, char ret[static TOKEN_SIZE]);
/* Whether given is that one; NULL is not. Takes as long for a wrong one, wherever it is wrong. */
bool token_check(const struct app *app, enum token_kind kind, const char *sandbox, const char *given);
