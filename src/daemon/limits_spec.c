/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/limits_spec.h"

#include <string.h>

static const struct dw_limit *find(const char *name)
{
	for (size_t i = 0; i < DW_LIMIT_COUNT; i++)
		if (strcmp(dw_limit_table[i].name, name) == 0)
			return &dw_limit_table[i];
	return NULL;
}

int limits_spec_parse(const json_t *obj, struct dw_limits *ret, struct dw_err *err)
{
	struct dw_limits l = { 0 };
	size_t known = 0;
	for (size_t i = 0; i < DW_LIMIT_COUNT; i++) {
		const struct dw_limit *t = &dw_limit_table[i];
		const json_t *v = json_object_get(obj, t->name);
		known += v != NULL;
		if (!v || json_is_null(v))
			continue;
		const json_int_t n = json_integer_value(v);
		if (!json_is_integer(v) || n < 1 || (uint64_t)n > t->max)
			return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "limits.%s must be %s", t->name,
					  t->range);
		dw_limit_set(&l, t, (uint64_t)n);
	}
	if (json_object_size(obj) != known)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field",
				  "limits has a member that is no limit (flows, half_open, flows_per_second, "
				  "dns_per_second, names_per_minute, bytes)");
	*ret = l;
	return 0;
}

bool limits_spec_set(struct dw_limits *l, const char *name, const char *text, size_t n)
{
	const struct dw_limit *t = find(name);
	char digits[24];
	uint64_t v;
	if (!t || n >= sizeof(digits))
		return false;
	memcpy(digits, text, n);
	digits[n] = '\0';
	if (!jsonx_uint(digits, t->max, &v) || v < 1)
		return false;
	dw_limit_set(l, t, v);
	return true;
}

const char *limits_spec_range(const char *name)
{
	const struct dw_limit *t = find(name);
	dw_assert(t);
	return t->range;
}

json_t *limits_spec_json(const struct dw_limits *l)
{
	json_t *obj = NULL;
	for (size_t i = 0; i < DW_LIMIT_COUNT; i++) {
		const uint64_t v = dw_limit_get(l, &dw_limit_table[i]);
		if (v && !obj)
			obj = json_object();
		if (v)
			json_object_set_new(obj, dw_limit_table[i].name, json_integer((json_int_t)v));
	}
	return obj;
}

struct dw_limits limits_spec_over(const struct dw_limits *own, const struct dw_limits *base)
{
	struct dw_limits l = *own;
	for (size_t i = 0; i < DW_LIMIT_COUNT; i++)
		if (!dw_limit_get(&l, &dw_limit_table[i]))
			dw_limit_set(&l, &dw_limit_table[i], dw_limit_get(base, &dw_limit_table[i]));
	return l;
}
