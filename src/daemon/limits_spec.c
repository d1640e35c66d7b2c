/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/limits_spec.h"

#include <string.h>

/* Beyond this a number is not exact in every client's JSON. */
#define BYTES_MAX 9007199254740991

/* clang-format off */
static const struct limit {
	const char *name;
	uint64_t max;
	size_t offset;
	bool wide; /* 64 bits */
	const char *range;
} table[] = {
	{ "flows", DW_LIMIT_FLOWS_MAX, offsetof(struct dw_limits, flows), false, "a whole number between 1 and 16384" },
	{ "half_open", DW_LIMIT_FLOWS_MAX, offsetof(struct dw_limits, half_open), false, "a whole number between 1 and 16384" },
	{ "flows_per_second", DW_LIMIT_RATE_MAX, offsetof(struct dw_limits, flows_per_second), false, "a whole number between 1 and 1000000" },
	{ "dns_per_second", DW_LIMIT_RATE_MAX, offsetof(struct dw_limits, dns_per_second), false, "a whole number between 1 and 1000000" },
	{ "names_per_minute", DW_LIMIT_NAMES_MAX, offsetof(struct dw_limits, names_per_minute), false, "a whole number between 1 and 100000" },
	{ "bytes", BYTES_MAX, offsetof(struct dw_limits, bytes), true, "a whole number between 1 and 9007199254740991" },
};
/* clang-format on */
_Static_assert(DW_LIMIT_FLOWS_MAX == 16384 && DW_LIMIT_RATE_MAX == 1000000 && DW_LIMIT_NAMES_MAX == 100000,
	       "as the ranges say");

static const struct limit *find(const char *name)
{
	for (size_t i = 0; i < DW_COUNT(table); i++)
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	return NULL;
}

static uint64_t get(const struct dw_limits *l, const struct limit *t)
{
	const char *at = (const char *)l + t->offset;
	uint64_t wide;
	uint32_t narrow;
	if (t->wide)
		return memcpy(&wide, at, sizeof(wide)), wide;
	return memcpy(&narrow, at, sizeof(narrow)), narrow;
}

static void put(struct dw_limits *l, const struct limit *t, uint64_t v)
{
	char *at = (char *)l + t->offset;
	const uint32_t narrow = (uint32_t)v;
	if (t->wide)
		memcpy(at, &v, sizeof(v));
	else
		memcpy(at, &narrow, sizeof(narrow));
}

int limits_spec_parse(const json_t *obj, struct dw_limits *ret, struct dw_err *err)
{
	struct dw_limits l = { 0 };
	size_t known = 0;
	for (size_t i = 0; i < DW_COUNT(table); i++) {
		const struct limit *t = &table[i];
		const json_t *v = json_object_get(obj, t->name);
		known += v != NULL;
		if (!v || json_is_null(v))
			continue;
		const json_int_t n = json_integer_value(v);
		if (!json_is_integer(v) || n < 1 || (uint64_t)n > t->max)
			return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "limits.%s must be %s", t->name,
					  t->range);
		put(&l, t, (uint64_t)n);
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
	const struct limit *t = find(name);
	char digits[24];
	uint64_t v;
	if (!t || n >= sizeof(digits))
		return false;
	memcpy(digits, text, n);
	digits[n] = '\0';
	if (!jsonx_uint(digits, t->max, &v) || v < 1)
		return false;
	put(l, t, v);
	return true;
}

const char *limits_spec_range(const char *name)
{
	const struct limit *t = find(name);
	dw_assert(t);
	return t->range;
}

json_t *limits_spec_json(const struct dw_limits *l)
{
	json_t *obj = NULL;
	for (size_t i = 0; i < DW_COUNT(table); i++) {
		const uint64_t v = get(l, &table[i]);
		if (v && !obj)
			obj = json_object();
		if (v)
			json_object_set_new(obj, table[i].name, json_integer((json_int_t)v));
	}
	return obj;
}

struct dw_limits limits_spec_over(const struct dw_limits *own, const struct dw_limits *base)
{
	struct dw_limits l = *own;
	for (size_t i = 0; i < DW_COUNT(table); i++)
		if (!get(&l, &table[i]))
			put(&l, &table[i], get(base, &table[i]));
	return l;
}
