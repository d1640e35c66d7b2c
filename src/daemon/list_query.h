/* SPDX-License-Identifier: Apache-2.0 */
/* What GET /sandboxes asks for. Clients spell it in several ways (contract 2.1); all of them are understood here. */
#pragma once

#include "daemon/jsonx.h"

struct list_query {
	bool running, paused, killed; /* states to list */
	uint64_t limit, offset;
	json_t *metadata; /* strings that a sandbox must have; an owned object */
};

void list_query_done(struct list_query *q);
#define auto_list_query __attribute__((cleanup(list_query_done)))

/* Of a query that names no state the caller makes its own choice. */
int DW_MUST_USE list_query_init(struct list_query *q, struct dw_err *err);

/*
 * One parameter of the query string, in any order and repeated; value NULL counts as "". Unknown names are ignored.
 * INVALID for a limit, offset, next_token or state that is none.
 */
int DW_MUST_USE list_query_add(struct list_query *q, const char *key, const char *value, struct dw_err *err);

/* Whether metadata (an object) has what is asked for. */
bool list_query_matches(const struct list_query *q, const json_t *metadata);

#define LIST_TOKEN_SIZE 24
/* The token of the page that starts at offset. */
const char *list_token(uint64_t offset, char buf[static LIST_TOKEN_SIZE]);
