/* SPDX-License-Identifier: Apache-2.0 */
#include "e2b/message.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "daemon/base64.h"

#define NAME_MAX_N 64

/* lower_snake_case of a name. */
static void snake(const char *name, char out[static 2 * NAME_MAX_N])
{
	dw_assert(strlen(name) < NAME_MAX_N);
	for (; *name; name++) {
		const bool upper = *name >= 'A' && *name <= 'Z';
		if (upper)
			*out++ = '_';
		*out++ = upper ? (char)(*name | 0x20) : *name;
	}
	*out = '\0';
}

const json_t *message_field(const json_t *message, const char *name)
{
	char other[2 * NAME_MAX_N];
	const json_t *v = json_object_get(message, name);
	if (!v) {
		snake(name, other);
		v = json_object_get(message, other);
	}
	return json_is_null(v) ? NULL : v;
}

static int wrong(const char *name, const char *what, struct dw_err *err)
{
	return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "%s must be %s", name, what);
}

int message_string(const json_t *message, const char *name, const char **ret, struct dw_err *err)
{
	const json_t *v = message_field(message, name);
	if (!v)
		return 0;
	const char *text = jsonx_plain_string(v);
	if (!text)
		return wrong(name, "a string without NUL characters", err);
	*ret = text;
	return 0;
}

int message_bool(const json_t *message, const char *name, bool *ret, struct dw_err *err)
{
	const json_t *v = message_field(message, name);
	if (v && !json_is_boolean(v))
		return wrong(name, "true or false", err);
	if (v)
		*ret = json_is_true(v);
	return 0;
}

/* A whole number, however it is written. */
static bool read_number(const json_t *v, uint64_t max, uint64_t *ret)
{
	if (json_is_string(v))
		return jsonx_plain_string(v) && jsonx_uint(json_string_value(v), max, ret);
	if (json_is_real(v)) {
		const double d = json_real_value(v);
		if (!(d >= 0 && d <= (double)max) || floor(d) != d)
			return false;
		*ret = (uint64_t)d;
		return true;
	}
	if (!json_is_integer(v) || json_integer_value(v) < 0 || (uint64_t)json_integer_value(v) > max)
		return false;
	*ret = (uint64_t)json_integer_value(v);
	return true;
}

int message_uint32(const json_t *message, const char *name, uint32_t *ret, bool *ret_present, struct dw_err *err)
{
	const json_t *v = message_field(message, name);
	uint64_t number = 0;
	if (v && !read_number(v, UINT32_MAX, &number))
		return wrong(name, "a whole number below 4294967296", err);
	if (v)
		*ret = (uint32_t)number;
	if (ret_present)
		*ret_present = v != NULL;
	return 0;
}

int message_message(const json_t *message, const char *name, const json_t **ret, struct dw_err *err)
{
	const json_t *v = message_field(message, name);
	if (v && !json_is_object(v))
		return wrong(name, "an object", err);
	*ret = v;
	return 0;
}

int message_array(const json_t *message, const char *name, const json_t **ret, struct dw_err *err)
{
	const json_t *v = message_field(message, name);
	if (v && !json_is_array(v))
		return wrong(name, "an array", err);
	*ret = v;
	return 0;
}

/* A copy in the standard alphabet, padded; NULL without memory. */
static char *standard_base64(const char *text, size_t n, size_t *ret_n)
{
	while (n && text[n - 1] == '=')
		n--;
	const size_t padded = (n + 3) / 4 * 4;
	char *copy = malloc(padded + 1);
	if (!copy)
		return NULL;
	for (size_t i = 0; i < padded; i++)
		copy[i] = i >= n ? '=' : text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i];
	*ret_n = padded;
	return copy;
}

int message_bytes(const json_t *message, const char *name, uint8_t **ret, size_t *ret_n, struct dw_err *err)
{
	const json_t *v = message_field(message, name);
	size_t n = 0;
	if (!v)
		return 0;
	if (!json_is_string(v))
		return wrong(name, "base64", err);
	dw_autofree char *text = standard_base64(json_string_value(v), json_string_length(v), &n);
	dw_autofree uint8_t *bytes = malloc(n / 4 * 3 + 1);
	if (!text || !bytes)
		return dw_err_errno(err, ENOMEM, "reading the request");
	if (!base64_decode(text, n, bytes, ret_n))
		return wrong(name, "base64", err);
	*ret = DW_TAKE(bytes);
	return 0;
}

int message_enum(const json_t *message, const char *name, const struct message_enum *of, size_t n, int *ret,
		 struct dw_err *err)
{
	const json_t *v = message_field(message, name);
	uint64_t number;
	if (!v)
		return 0;
	for (size_t i = 0; i < n && json_is_string(v); i++) {
		if (strcmp(of[i].name, json_string_value(v)) == 0) {
			*ret = of[i].number;
			return 0;
		}
	}
	if (!json_is_number(v) || !read_number(v, INT32_MAX, &number))
		return wrong(name, "one of its names or numbers", err);
	*ret = (int)number;
	return 0;
}
