/* SPDX-License-Identifier: Apache-2.0 */
#include "e2b/network_map.h"

#include <errno.h>
#include <string.h>

#include "core/macros.h"
#include "e2b/members.h"
#include "policy/entry.h"
#include "policy/policy.h"

static const char everything[] = "0.0.0.0/0";

struct lists {
	json_t *allow, *deny; /* owned arrays; what stands for everything is not in deny */
	bool allow_all, deny_all, allow_names;
};

static void lists_done(struct lists *l)
{
	json_decref(l->allow);
	json_decref(l->deny);
}

static int no_memory(struct dw_err *err)
{
	return dw_err_errno(err, ENOMEM, "reading the network");
}

static int bad_entry(struct dw_err *err, const char *list, size_t i, const char *text, const char *why)
{
	return dw_err_set(err, DW_ERR_INVALID, "invalid_network_entry", "network.%s[%zu]: \"%.100s\": %s", list, i,
			  text, why);
}

/* What both lists refuse, and what theirs do not have though ours do. NULL: nothing. */
static const char *refused(const char *text, const struct dw_entry *e)
{
	if (strcmp(text, "0.0.0.0") == 0 || strcmp(text, "::") == 0)
		return "a single address that is none; everything is 0.0.0.0/0";
	if (strcmp(text, "::/0") == 0)
		return "IPv6 can not be opened or closed alone; 0.0.0.0/0 means both families";
	if (e->kind == DW_ENTRY_NONE || e->kind == DW_ENTRY_REGEX)
		return "it must be an address, a CIDR or a name";
	if (e->port_lo)
		return "an entry has no port here";
	return NULL;
}

static int read_entry(const char *list, size_t i, const char *text, bool names, struct dw_entry *ret,
		      struct dw_err *err)
{
	const char *why = NULL;
	if (!dw_entry_parse(text, strlen(text), ret, &why))
		return bad_entry(err, list, i, text, why);
	why = refused(text, ret);
	if (!why && !names && (ret->kind == DW_ENTRY_HOST || ret->kind == DW_ENTRY_SUFFIX || strcmp(text, "*") == 0))
		why = "denyOut takes addresses and CIDRs only; deny everything (0.0.0.0/0) and name in allowOut what "
		      "is "
		      "allowed";
	return why ? bad_entry(err, list, i, text, why) : 0;
}

/* list: allowOut (names are fine) or denyOut. Borrowed entries with the everything ones told apart. */
static int read_list(const json_t *obj, const char *list, struct lists *l, struct dw_err *err)
{
	json_t *array = NULL;
	if (jsonx_array(obj, list, &array, err) < 0)
		return dw_err_wrap(err, "network");
	const bool allow = strcmp(list, "allowOut") == 0;
	const size_t n = json_array_size(array);
	if (n > DW_POLICY_MAX_ENTRIES)
		return dw_err_set(err, DW_ERR_INVALID, "network_policy_too_large",
				  "network.%s has more than %u entries", list, DW_POLICY_MAX_ENTRIES);
	for (size_t i = 0; i < n; i++) {
		struct dw_entry e;
		const char *text = jsonx_plain_string(json_array_get(array, i));
		if (!text)
			return dw_err_set(err, DW_ERR_INVALID, "invalid_network_entry",
					  "network.%s[%zu] must be a string without NUL characters", list, i);
		if (read_entry(list, i, text, allow, &e, err) < 0)
			return -1;
		const bool all = e.kind == DW_ENTRY_ALL;
		l->allow_all |= allow && all;
		l->deny_all |= !allow && all;
		l->allow_names |= allow && (e.kind == DW_ENTRY_HOST || e.kind == DW_ENTRY_SUFFIX);
		if ((allow || !all) && json_array_append_new(allow ? l->allow : l->deny, json_string(text)) < 0)
			return no_memory(err);
	}
	return 0;
}

/* access: JSON false closes everything in the place of what denyOut says. */
static int read_lists(const json_t *obj, const json_t *access, struct lists *l, struct dw_err *err)
{
	l->allow = json_array();
	l->deny = json_array();
	if (!l->allow || !l->deny)
		return no_memory(err);
	if (access && !json_is_null(access) && !json_is_boolean(access))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "allow_internet_access must be a boolean");
	if (read_list(obj, "allowOut", l, err) < 0 || read_list(obj, "denyOut", l, err) < 0)
		return -1;
	if (json_is_false(access)) {
		l->deny_all = true;
		json_array_clear(l->deny);
	}
	if (l->allow_names && !l->deny_all)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field",
				  "network.allowOut has names, which say something only where all else is denied: add "
				  "\"0.0.0.0/0\" (ALL_TRAFFIC) to network.denyOut");
	return 0;
}

static bool set(json_t *obj, const char *key, json_t *value_take)
{
	return json_object_set_new(obj, key, value_take) == 0;
}

/* Ours, of the lists. */
static json_t *lists_network(struct lists *l, bool default_allow)
{
	auto_json json_t *network = json_object();
	bool ok = network != NULL;
	/* One that is added stands last, so that messages count entries as the client does. */
	if ((!l->deny_all && default_allow) || l->allow_all)
		ok = ok && json_array_append_new(l->allow, json_string("*")) == 0;
	/* Theirs lets everything through then, whatever else is denied; ours would keep the narrower entries. */
	if (l->allow_all)
		ok = ok && json_array_clear(l->deny) == 0;
	if (l->deny_all && (l->allow_all || json_array_size(l->deny)))
		ok = ok && json_array_insert_new(l->deny, 0, json_string(everything)) == 0;
	ok = ok && json_object_set(network, "allow_out", l->allow) == 0;
	if (json_array_size(l->deny))
		ok = ok && json_object_set(network, "deny_out", l->deny) == 0;
	return ok ? DW_TAKE(network) : NULL;
}

static const struct member ways_out[] = {
	{ "allowOut" },
	{ "denyOut" },
	{ "rules", "transforming requests" },
	{ "egressProxy", "a proxy for what leaves" },
};

static const struct member ways_in[] = {
	{ "allowPublicTraffic" },
	{ "maskRequestHost" },
	{ "httpsPorts", "TLS towards ports of a sandbox" },
};

static int read_ways_in(const json_t *network, json_t *into, struct dw_err *err)
{
	bool public = true;
	const char *mask = NULL;
	if (jsonx_bool(network, "allowPublicTraffic", &public, err) < 0 ||
	    jsonx_string(network, "maskRequestHost", &mask, err) < 0)
		return dw_err_wrap(err, "network");
	/* What is given is kept as it is, so that it reads back. */
	if (json_is_boolean(json_object_get(network, "allowPublicTraffic")) &&
	    !set(into, "allow_public_traffic", json_boolean(public)))
		return no_memory(err);
	if (mask && *mask && !set(into, "mask_request_host", json_string(mask)))
		return no_memory(err);
	return 0;
}

int network_map_create(const json_t *network, const json_t *access, bool default_allow, json_t **ret,
		       struct dw_err *err)
{
	__attribute__((cleanup(lists_done))) struct lists l = { 0 };
	struct member known[DW_COUNT(ways_out) + DW_COUNT(ways_in)];
	memcpy(known, ways_out, sizeof(ways_out));
	memcpy(known + DW_COUNT(ways_out), ways_in, sizeof(ways_in));
	if (network && !json_is_null(network) && !json_is_object(network))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "network must be an object");
	if (members_check(network, "network.", known, DW_COUNT(known), err) < 0 ||
	    read_lists(network, access, &l, err) < 0)
		return -1;
	auto_json json_t *ours = lists_network(&l, default_allow);
	if (!ours)
		return no_memory(err);
	if (read_ways_in(network, ours, err) < 0)
		return -1;
	*ret = DW_TAKE(ours);
	return 0;
}

int network_map_update(const json_t *body, const json_t *now, bool default_allow, json_t **ret, struct dw_err *err)
{
	/* Of a policy that only observed nothing is kept: what a client asks for here it means to be enforced. */
	static const char *const kept[] = { "allow_public_traffic", "mask_request_host", "limits", "blocked" };
	__attribute__((cleanup(lists_done))) struct lists l = { 0 };
	struct member known[DW_COUNT(ways_out) + 1];
	memcpy(known, ways_out, sizeof(ways_out));
	known[DW_COUNT(ways_out)] = (struct member){ "allow_internet_access" };
	if (members_check(body, "", known, DW_COUNT(known), err) < 0 ||
	    read_lists(body, json_object_get(body, "allow_internet_access"), &l, err) < 0)
		return -1;
	auto_json json_t *ours = lists_network(&l, default_allow);
	if (!ours)
		return no_memory(err);
	for (size_t i = 0; i < DW_COUNT(kept); i++) {
		const json_t *v = json_object_get(now, kept[i]);
		if (v && !set(ours, kept[i], json_deep_copy(v)))
			return no_memory(err);
	}
	*ret = DW_TAKE(ours);
	return 0;
}

static bool is_everything(const json_t *entry)
{
	const char *text = json_string_value(entry);
	return text && (strcmp(text, "*") == 0 || strcmp(text, everything) == 0 || strcmp(text, "::/0") == 0);
}

static bool has_everything(const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (is_everything(json_array_get(list, i)))
			return true;
	return false;
}

static json_t *copy_list(const json_t *list)
{
	return json_is_array(list) ? json_deep_copy(list) : json_array();
}

json_t *network_map_show(const json_t *network, bool default_allow, bool *ret_internet)
{
	const json_t *allow = json_object_get(network, "allow_out"), *deny = json_object_get(network, "deny_out");
	const bool deny_all = has_everything(deny);
	/* As network_spec_compile reads it: a list that is given closes what it does not name. */
	const bool open = allow ? has_everything(allow) : !deny_all && default_allow;
	auto_json json_t *allow_out = copy_list(allow), *deny_out = copy_list(deny);
	auto_json json_t *shown = json_object();
	bool ok = shown && allow_out && deny_out;
	const size_t n = json_array_size(allow_out);
	const char *last = n ? json_string_value(json_array_get(allow_out, n - 1)) : NULL;
	if (ok && last && strcmp(last, "*") == 0)
		ok = json_array_remove(allow_out, n - 1) == 0;
	if (ok && !open && !deny_all)
		ok = json_array_insert_new(deny_out, 0, json_string(everything)) == 0;
	ok = ok && set(shown, "allowOut", DW_TAKE(allow_out)) && set(shown, "denyOut", DW_TAKE(deny_out));
	const json_t *public = json_object_get(network, "allow_public_traffic"),
		     *mask = json_object_get(network, "mask_request_host");
	ok = ok && set(shown, "allowPublicTraffic", json_boolean(!json_is_false(public)));
	if (ok && json_is_string(mask))
		ok = set(shown, "maskRequestHost", json_string(json_string_value(mask)));
	*ret_internet = open;
	return ok ? DW_TAKE(shown) : NULL;
}
