/* SPDX-License-Identifier: Apache-2.0 */
/* Strict reading of JSON from outside: bounded, no duplicate keys; errors name the field. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

static inline void jsonx_decref_(json_t **j)
{
	json_decref(*j);
}
/* An owned reference; initialise it. */
#define auto_json __attribute__((cleanup(jsonx_decref_)))

/* Text to a new object. INVALID "invalid_json": malformed, too deep, a duplicate key, or not an object. */
int DW_MUST_USE jsonx_parse_object(const char *text, size_t n, json_t **ret, struct dw_err *err);
/* The same for text that may be any value; what names it in messages. */
int DW_MUST_USE jsonx_parse(const char *what, const char *text, size_t n, json_t **ret, struct dw_err *err);
/*
 * A copy, malloc'ed, of text that one of these has accepted, without the white space between its tokens; NULL when memory is out.
 * Many times faster than writing out what was parsed.
 */
char *jsonx_compact(const char *text, size_t n);

/*
 * Members of an object. Absent and null are the same: *ret stays NULL (or keeps its default). A wrong type, or a string with a NUL byte
 * inside, is INVALID "invalid_field". Strings are borrowed from the object.
 */
int DW_MUST_USE jsonx_string(const json_t *obj, const char *key, const char **ret, struct dw_err *err);
int DW_MUST_USE jsonx_bool(const json_t *obj, const char *key, bool *ret, struct dw_err *err);
int DW_MUST_USE jsonx_object(const json_t *obj, const char *key, json_t **ret, struct dw_err *err);
int DW_MUST_USE jsonx_array(const json_t *obj, const char *key, json_t **ret, struct dw_err *err);
/* ret_present tells absent from given. */
int DW_MUST_USE jsonx_integer(const json_t *obj, const char *key, int64_t *ret, bool *ret_present, struct dw_err *err);

/* A string value without a NUL byte inside; NULL for anything else. */
const char *jsonx_plain_string(const json_t *value);

/* Decimal text of a query parameter: digits only, at most max. False when it is anything else. */
bool jsonx_uint(const char *text, uint64_t max, uint64_t *ret);
