/* SPDX-License-Identifier: Apache-2.0 */
/* A sandbox as E2B's clients read it. Each is NULL when memory is out. */
#pragma once

#include "daemon/http.h"

/*
 * What clients may do with a sandbox's processes and files, in the numbers of E2B's own server: from 0.6.2 on they send metadata of files, which
 * would be extended attributes, and those a sandbox's disk does not have before Linux 6.6.
 */
#define E2B_ENVD_VERSION "0.6.1"

/* What a create and a connect answer with: how it is reached, and its tokens. */
json_t *show_made(const struct http_request *rq, const struct record *r);
/* One of a list. */
json_t *show_listed(const struct record *r);
/* All of it. */
json_t *show_detail(const struct http_request *rq, const struct record *r);
