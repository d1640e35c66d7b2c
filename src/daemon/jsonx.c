/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/jsonx.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/bounds.h"
#include "daemon/utf8.h"

/* Before the real parser, because that one recurses and its own limit is far beyond what any request needs. */
static bool depth_ok(const char *text, size_t n)
{
	size_t depth = 0;
	bool in_string = false;
	for (size_t i = 0; i < n; i++) {
		char c = text[i];
		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > DAEMON_JSON_DEPTH)
				return false;
		} else if ((c == '}' || c == ']') && depth) {
			depth--;
		}
	}
	return true;
}

int jsonx_parse(const char *what, const char *text, size_t n, json_t **ret, struct dw_err *err)
{
	if (!depth_ok(text, n))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_json", "%s is nested more than %u deep", what,
				  DAEMON_JSON_DEPTH);
	json_error_t je;
	json_t *j = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &je);
	if (!j) {
		char why[sizeof(je.text)];
		utf8_sanitize_line(je.text, strnlen(je.text, sizeof(je.text)), why, sizeof(why));
		return dw_err_set(err, DW_ERR_INVALID, "invalid_json", "%s is not valid JSON (line %d, column %d): %s",
				  what, je.line, je.column, why);
	}
	*ret = j;
	return 0;
}

/* The bytes of a string from its opening quote up to and with its closing one; n when it has none. */
static size_t string_bytes(const char *s, size_t n)
{
	for (size_t at = 1; at < n;) {
		const char *quote = memchr(s + at, '"', n - at);
		size_t end = quote ? (size_t)(quote - s) : n;
		size_t slashes = 0;
		while (slashes < end - at && s[end - slashes - 1] == '\\')
			slashes++;
		if (slashes % 2 == 0)
			return DW_MIN(end + 1, n);
		at = end + 1;
	}
	return n;
}

char *jsonx_compact(const char *text, size_t n)
{
	char *out = malloc(n + 1);
	size_t len = 0;
	for (size_t i = 0; out && i < n;) {
		if (text[i] == '"') {
			size_t bytes = string_bytes(text + i, n - i);
			memcpy(out + len, text + i, bytes);
			len += bytes;
			i += bytes;
			continue;
		}
		if (!strchr(" \t\r\n", text[i]))
			out[len++] = text[i];
		i++;
	}
	if (out)
		out[len] = '\0';
	return out;
}

int jsonx_parse_object(const char *text, size_t n, json_t **ret, struct dw_err *err)
{
	auto_json json_t *j = NULL;
	if (jsonx_parse("the request body", text, n, &j, err) < 0)
		return -1;
	if (!json_is_object(j))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_json", "the request body must be a JSON object");
	*ret = DW_TAKE(j);
	return 0;
}

static int wrong(const char *key, const char *type, struct dw_err *err)
{
	return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "%s must be %s", key, type);
}

/* NULL for absent and null alike. */
static json_t *member(const json_t *obj, const char *key)
{
	json_t *v = json_object_get(obj, key);
	return json_is_null(v) ? NULL : v;
}

const char *jsonx_plain_string(const json_t *value)
{
	const char *s = json_string_value(value);
	return s && strlen(s) == json_string_length(value) ? s : NULL;
}

int jsonx_string(const json_t *obj, const char *key, const char **ret, struct dw_err *err)
{
	json_t *v = member(obj, key);
	if (!v)
		return 0;
	if (!json_is_string(v))
		return wrong(key, "a string", err);
	const char *s = jsonx_plain_string(v);
	if (!s)
		return wrong(key, "a string without NUL characters", err);
	*ret = s;
	return 0;
}

int jsonx_bool(const json_t *obj, const char *key, bool *ret, struct dw_err *err)
{
	json_t *v = member(obj, key);
	if (!v)
		return 0;
	if (!json_is_boolean(v))
		return wrong(key, "true or false", err);
	*ret = json_is_true(v);
	return 0;
}

int jsonx_object(const json_t *obj, const char *key, json_t **ret, struct dw_err *err)
{
	json_t *v = member(obj, key);
	if (!v)
		return 0;
	if (!json_is_object(v))
		return wrong(key, "an object", err);
	*ret = v;
	return 0;
}

int jsonx_array(const json_t *obj, const char *key, json_t **ret, struct dw_err *err)
{
	json_t *v = member(obj, key);
	if (!v)
		return 0;
	if (!json_is_array(v))
		return wrong(key, "an array", err);
	*ret = v;
	return 0;
}

int jsonx_integer(const json_t *obj, const char *key, int64_t *ret, bool *ret_present, struct dw_err *err)
{
	json_t *v = member(obj, key);
	*ret_present = v != NULL;
	if (!v)
		return 0;
	if (!json_is_integer(v))
		return wrong(key, "an integer", err);
	*ret = json_integer_value(v);
	return 0;
}

bool jsonx_uint(const char *text, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;
	if (!*text)
		return false;
	for (const char *p = text; *p; p++) {
		if (*p < '0' || *p > '9')
			return false;
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v) || v > max)
			return false;
	}
	*ret = v;
	return true;
}
