/* SPDX-License-Identifier: Apache-2.0 */
/* One change of a network, as PATCH writes it. Entries are compared as they are written, byte for byte. */
#include "daemon/network_spec.h"

#include <errno.h>
#include <string.h>

#include "daemon/limits_spec.h"
#include "policy/policy.h"

static const char *const lists[] = { "allow_out", "deny_out" };

static int no_memory(struct dw_err *err)
{
	return dw_err_errno(err, ENOMEM, "changing the policy");
}

static int known_members(const json_t *obj, const char *what, const char *const *names, size_t n, struct dw_err *err)
{
	const char *key;
	json_t *value;
	/* The macro wants a non-const object; it does not change it. */
	json_object_foreach((json_t *)(uintptr_t)obj, key, value)
	{
		size_t i = 0;
		while (i < n && strcmp(names[i], key) != 0)
			i++;
		if (i == n)
			return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "%s\"%.100s\" can not be changed", what,
					  key);
	}
	return 0;
}

/* change[part][list] as a borrowed array of strings, NULL when absent. */
static int part_list(const json_t *change, const char *part, const char *list, json_t **ret, struct dw_err *err)
{
	json_t *obj = NULL, *entries = NULL, *e;
	size_t i;
	if (jsonx_object(change, part, &obj, err) < 0 ||
	    (obj && known_members(obj, part[0] == 'a' ? "add: " : "remove: ", lists, DW_COUNT(lists), err) < 0))
		return -1;
	if (jsonx_array(obj, list, &entries, err) < 0)
		return dw_err_wrap(err, "%s", part);
	if (json_array_size(entries) > DW_POLICY_MAX_ENTRIES)
		return dw_err_set(err, DW_ERR_INVALID, "network_policy_too_large", "%s.%s has more than %u entries",
				  part, list, DW_POLICY_MAX_ENTRIES);
	json_array_foreach(entries, i, e)
	{
		if (!jsonx_plain_string(e))
			return dw_err_set(err, DW_ERR_INVALID, "invalid_network_entry",
					  "%s.%s[%zu] must be a string without NUL characters", part, list, i);
	}
	*ret = entries;
	return 0;
}

/* A set of the strings of an array. */
static json_t *set_of(const json_t *array)
{
	json_t *set = json_object();
	for (size_t i = 0; set && i < json_array_size(array); i++)
		if (json_object_set_new(set, json_string_value(json_array_get(array, i)), json_true()) < 0) {
			json_decref(set);
			return NULL;
		}
	return set;
}

/* have without what remove names, then with what add names; in their order. NULL when memory is out. */
static json_t *changed_list(const json_t *have, const json_t *add, const json_t *remove, json_t *not_found)
{
	auto_json json_t *out = json_array();
	auto_json json_t *gone = set_of(remove);
	auto_json json_t *kept = json_object();
	bool ok = out && gone && kept;
	for (size_t i = 0; ok && i < json_array_size(have); i++) {
		const char *e = json_string_value(json_array_get(have, i));
		json_t *hit = json_object_get(gone, e);
		if (hit)
			ok = json_object_set_new(gone, e, json_false()) == 0;
		else if (!json_object_get(kept, e))
			ok = json_object_set_new(kept, e, json_true()) == 0 &&
			     json_array_append_new(out, json_string(e)) == 0;
	}
	for (size_t i = 0; ok && i < json_array_size(add); i++) {
		const char *e = json_string_value(json_array_get(add, i));
		if (!json_object_get(kept, e))
			ok = json_object_set_new(kept, e, json_true()) == 0 &&
			     json_array_append_new(out, json_string(e)) == 0;
	}
	const char *key;
	json_t *value;
	json_object_foreach(gone, key, value) if (ok && json_is_true(value)) ok =
		json_array_append_new(not_found, json_string(key)) == 0;
	return ok ? DW_TAKE(out) : NULL;
}

static int edit_list(json_t *network, const json_t *change, const char *list, json_t *not_found, struct dw_err *err)
{
	json_t *add = NULL, *remove = NULL;
	if (part_list(change, "add", list, &add, err) < 0 || part_list(change, "remove", list, &remove, err) < 0)
		return -1;
	const json_t *have = json_object_get(network, list);
	/* A list that is absent stays so unless something is added: removing must not turn the default around. */
	const bool present = have || json_array_size(add);
	json_t *out = changed_list(have, add, remove, not_found);
	if (!out)
		return no_memory(err);
	if (!present) {
		json_decref(out);
		return 0;
	}
	return json_object_set_new(network, list, out) < 0 ? no_memory(err) : 0;
}

/* Copied as it is: whether it is a good word is for network_spec_compile to say. */
static int edit_word(json_t *network, const json_t *change, const char *key, struct dw_err *err)
{
	const json_t *v = json_object_get(change, key);
	if (!v)
		return 0;
	if (json_is_null(v)) {
		DW_IGNORE(json_object_del(network, key)); /* fails when there is none */
		return 0;
	}
	return json_object_set_new(network, key, json_deep_copy(v)) < 0 ? no_memory(err) : 0;
}

static int edit_limits(json_t *network, const json_t *change, struct dw_err *err)
{
	json_t *v = json_object_get(change, "limits"), *value;
	json_t *have = json_object_get(network, "limits");
	const char *key;
	struct dw_limits ignored;
	/* What is no limit can not be taken back either. */
	if (json_is_object(v) && limits_spec_parse(v, &ignored, err) < 0)
		return -1;
	if (!json_is_object(v) || !json_is_object(have))
		return edit_word(network, change, "limits", err);
	json_object_foreach(v, key, value) if (edit_word(have, v, key, err) < 0) return -1;
	return 0;
}

int network_spec_generation(const json_t *change, uint64_t *ret, struct dw_err *err)
{
	int64_t v = 0;
	bool present;
	if (jsonx_integer(change, "generation", &v, &present, err) < 0)
		return -1;
	if (present && v < 1)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "generation must be a whole number from 1 on");
	*ret = (uint64_t)v;
	return 0;
}

int network_spec_edit(const json_t *now, const json_t *change, json_t **ret_network, json_t **ret_not_found,
		      struct dw_err *err)
{
	static const char *const members[] = {
		"add", "remove", "blocked", "mode", "limits", "allow_ech", "generation"
	};
	if (known_members(change, "", members, DW_COUNT(members), err) < 0)
		return -1;
	auto_json json_t *network = now ? json_deep_copy(now) : json_object();
	auto_json json_t *not_found = json_array();
	if (!network || !not_found)
		return no_memory(err);
	for (size_t i = 0; i < DW_COUNT(lists); i++)
		if (edit_list(network, change, lists[i], not_found, err) < 0)
			return -1;
	if (edit_word(network, change, "allow_ech", err) < 0 || edit_word(network, change, "blocked", err) < 0 ||
	    edit_word(network, change, "mode", err) < 0 || edit_limits(network, change, err) < 0)
		return -1;
	*ret_network = DW_TAKE(network);
	*ret_not_found = json_array_size(not_found) ? DW_TAKE(not_found) : NULL;
	return 0;
}
