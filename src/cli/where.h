/* SPDX-License-Identifier: Apache-2.0 */
/* Which server, and which key opens it: from options, the environment and files. */
#pragma once

#include "cli/client.h"

#define WHERE_KEY_MAX 4096u

struct where {
	char *url;                   /* without a '/' at its end */
	char key[WHERE_KEY_MAX + 1]; /* "": none */
};

/* -1 with err: INVALID for what cannot be used, UNAUTHORIZED for a key file that cannot be read. */
int DW_MUST_USE where_find(const struct client_where *given, struct where *ret, struct dw_err *err);
void where_done(struct where *w);
