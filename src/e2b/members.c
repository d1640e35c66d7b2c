/* SPDX-License-Identifier: Apache-2.0 */
#include "e2b/members.h"

#include <string.h>

static bool asks_nothing(const json_t *v)
{
	return json_is_null(v) || json_is_false(v) || (json_is_string(v) && !json_string_length(v)) ||
	       (json_is_array(v) && !json_array_size(v)) || (json_is_object(v) && !json_object_size(v));
}

int members_check(const json_t *obj, const char *before, const struct member *known, size_t n, struct dw_err *err)
{
	const char *key;
	json_t *value;
	/* The macro wants a non-const object; it does not change it. */
	json_object_foreach((json_t *)(uintptr_t)obj, key, value)
	{
		size_t i = 0;
		while (i < n && strcmp(known[i].name, key) != 0)
			i++;
		if (asks_nothing(value) || (i < n && !known[i].refused))
			continue;
		if (i == n)
			return dw_err_set(err, DW_ERR_INVALID, "unsupported_option",
					  "%s%.100s is not known to this server: leave it out, or null", before, key);
		return dw_err_set(err, DW_ERR_INVALID, "unsupported_option",
				  "%s%s: %s is not done by this server: leave it out, or null", before, key,
				  known[i].refused);
	}
	return 0;
}
