/* SPDX-License-Identifier: Apache-2.0 */
#include "e2b/metadata_query.h"

#include <errno.h>
#include <string.h>

#include "core/macros.h"
#include "daemon/bounds.h"

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent encoding, in place; plus: '+' is a space. False for what is none, and a NUL byte. */
static bool decode(char *s, bool plus)
{
	char *out = s;
	for (; *s; s++) {
		char c = *s == '+' && plus ? ' ' : *s;
		if (c == '%') {
			const int high = hex(s[1]), low = high < 0 ? -1 : hex(s[2]);
			if (low < 0 || !(high | low))
				return false;
			c = (char)(high << 4 | low);
			s += 2;
		}
		*out++ = c;
	}
	*out = '\0';
	return true;
}

static int bad(struct dw_err *err)
{
	return dw_err_set(err, DW_ERR_INVALID, "invalid_field",
			  "metadata must be a form of keys and values, both in percent encoding: the query's value of "
			  "a=b is a%%3Db");
}

static int add_pair(const char *text, size_t n, json_t *into, struct dw_err *err)
{
	dw_autofree char *key = strndup(text, n);
	if (!key)
		return dw_err_errno(err, ENOMEM, "listing sandboxes");
	char *value = strchr(key, '=');
	if (!value)
		return bad(err);
	*value++ = '\0';
	/* A form, and what it was made of. */
	if (!decode(key, true) || !decode(value, true) || !decode(key, false) || !decode(value, false) || !*key ||
	    json_object_get(into, key) || json_object_size(into) >= DAEMON_MAP_KEYS)
		return bad(err);
	/* Fails for what is not UTF-8. */
	return json_object_set_new(into, key, json_string(value)) == 0 ? 0 : bad(err);
}

int metadata_query_parse(const char *text, json_t *into, struct dw_err *err)
{
	while (*text) {
		const size_t n = strcspn(text, "&");
		if (add_pair(text, n, into, err) < 0)
			return -1;
		text += n + (text[n] == '&');
	}
	return 0;
}
