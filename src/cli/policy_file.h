/* SPDX-License-Identifier: Apache-2.0 */
/* A network policy out of JSON, as a create request has it, and out of single entries. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"

/* A request body may be as long as this. */
#define POLICY_FILE_MAX (10u << 20)

struct policy_lists {
	json_t *allow, *deny; /* arrays of plain strings; owned */
	bool allow_present;
	bool reject, observe, allow_ech;
};
void policy_lists_done(struct policy_lists *l);

/*
 * text is one JSON object: a network object (allow_out, deny_out, blocked, mode), or a body with one inside (`network`, or
 * `security.network`). Absent and null lists are told apart as the server does. -1 with err, which names the field.
 */
int DW_MUST_USE policy_lists_parse(const char *text, size_t n, struct policy_lists *ret, struct dw_err *err);

int DW_MUST_USE policy_lists_add(struct policy_lists *l, bool allow, const char *entry, struct dw_err *err);

/* Compiles to an image; malloc'ed. */
int DW_MUST_USE policy_lists_compile(const struct policy_lists *l, bool default_allow, void **ret_image, size_t *ret_n,
				     struct dw_err *err);
