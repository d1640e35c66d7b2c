/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `metadata` parameter of a list of sandboxes. Their clients write each key and value in percent encoding, make a form of those, and
 * put that into the query as one value; the query's own encoding is gone here. Pure.
 */
#pragma once

#include "daemon/jsonx.h"

/* Adds the pairs to into, an object. INVALID "invalid_field": malformed, too many, a key twice, what is not text. */
int DW_MUST_USE metadata_query_parse(const char *text, json_t *into, struct dw_err *err);
