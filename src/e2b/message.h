/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fields of protobuf messages in JSON (https://protobuf.dev/programming-guides/json) as their readers must take them: by their names
 * in either spelling ("includeEntry", "include_entry"), null as absent, numbers also as strings, enumerations by name or number,
 * base64 in either alphabet with or without padding; unknown fields are nobody's business. All names are given in lowerCamelCase. INVALID
 * "invalid_field" for what the schema does not allow. Pure.
 */
#pragma once

#include "daemon/jsonx.h"

/* NULL when it is absent. */
const json_t *message_field(const json_t *message, const char *name);
/* *ret stays as it is when the field is absent; strings are borrowed, and hold no NUL character. */
int DW_MUST_USE message_string(const json_t *message, const char *name, const char **ret, struct dw_err *err);
int DW_MUST_USE message_bool(const json_t *message, const char *name, bool *ret, struct dw_err *err);
int DW_MUST_USE message_uint32(const json_t *message, const char *name, uint32_t *ret, bool *ret_present,
			       struct dw_err *err);
int DW_MUST_USE message_message(const json_t *message, const char *name, const json_t **ret, struct dw_err *err);
int DW_MUST_USE message_array(const json_t *message, const char *name, const json_t **ret, struct dw_err *err);
/* *ret: malloc'ed bytes, NULL when the field is absent. */
int DW_MUST_USE message_bytes(const json_t *message, const char *name, uint8_t **ret, size_t *ret_n,
			      struct dw_err *err);

struct message_enum {
	const char *name;
	int number;
};
/* A number that is none of the n is taken as it is. */
int DW_MUST_USE message_enum(const json_t *message, const char *name, const struct message_enum *of, size_t n, int *ret,
			     struct dw_err *err);
