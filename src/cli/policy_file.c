/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/policy_file.h"

#include <errno.h>
#include <string.h>

#include "cli/cli.h"
#include "policy/policy.h"

static inline void decref(json_t **j)
{
	json_decref(*j);
}
#define auto_json __attribute__((cleanup(decref)))

void policy_lists_done(struct policy_lists *l)
{
	json_decref(l->allow);
	json_decref(l->deny);
	*l = (struct policy_lists){ 0 };
}

static int field_error(struct dw_err *err, const char *field, const char *want)
{
	return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "%s must be %s", field, want);
}

static json_t *member(const json_t *o, const char *key)
{
	json_t *v = json_object_get(o, key);
	return json_is_null(v) ? NULL : v;
}

static int parse_text(const char *what, const char *text, size_t n, json_t **ret, struct dw_err *err)
{
	json_error_t je;
	char shown[128];
	json_t *j = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &je);
	if (!j)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_json", "%s is not valid JSON (line %d, column %d): %s",
				  what, je.line, je.column,
				  cli_printable(je.text, strlen(je.text), shown, sizeof(shown)));
	if (!json_is_object(j)) {
		json_decref(j);
		return field_error(err, what, "a JSON object");
	}
	*ret = j;
	return 0;
}

static int read_list(const json_t *network, const char *key, json_t **ret, bool *ret_present, struct dw_err *err)
{
	json_t *v = json_object_get(network, key);
	*ret_present = v != NULL;
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_array(v))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "network.%s must be a list of strings", key);
	for (size_t i = 0; i < json_array_size(v); i++) {
		const json_t *e = json_array_get(v, i);
		const char *s = json_string_value(e);
		if (!s || strlen(s) != json_string_length(e))
			return dw_err_set(err, DW_ERR_INVALID, "invalid_network_entry",
					  "network.%s[%zu] must be a string%s", key, i,
					  s ? " without NUL characters" : "");
	}
	*ret = json_copy(v);
	return *ret ? 0 : dw_err_errno(err, ENOMEM, "network.%s", key);
}

/* One of two words; absent and null are the first. */
static int read_word(const json_t *network, const char *key, const char *off, const char *on, bool *ret,
		     struct dw_err *err)
{
	const json_t *v = member(network, key);
	const char *s = json_string_value(v);
	*ret = s && strcmp(s, on) == 0;
	if (!v || *ret || (s && strcmp(s, off) == 0))
		return 0;
	return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "network.%s must be \"%s\" or \"%s\"", key, off, on);
}

/* Beside an allow list they restrict nothing more; without one a misspelt list would silently be none. As the server reads it. */
static int check_unknown(json_t *network, struct dw_err *err)
{
	static const char *const known[] = {
		"allow_out",        "deny_out", "blocked", "mode", "limits", "allow_ech", "allow_public_traffic",
		"mask_request_host"
	};
	const char *key;
	json_t *value;
	json_object_foreach(network, key, value)
	{
		bool found = false;
		char shown[64];
		for (size_t i = 0; i < DW_COUNT(known); i++)
			found = found || strcmp(key, known[i]) == 0;
		if (found)
			continue;
		cli_printable(key, strlen(key), shown, sizeof(shown));
		if (!json_object_get(network, "allow_out"))
			return dw_err_set(err, DW_ERR_INVALID, "unsupported_option",
					  "network.%s is not known, which without an allow_out would leave out "
					  "whatever it restricts",
					  shown);
		cli_warn("network.%s is not known and was left out", shown);
	}
	return 0;
}

static int read_network(json_t *network, struct policy_lists *l, struct dw_err *err)
{
	bool deny_present;
	const json_t *ech = member(network, "allow_ech");
	l->allow_ech = json_is_true(ech);
	if (ech && !json_is_boolean(ech))
		return field_error(err, "network.allow_ech", "true or false");
	if (check_unknown(network, err) < 0 || read_list(network, "allow_out", &l->allow, &l->allow_present, err) < 0 ||
	    read_list(network, "deny_out", &l->deny, &deny_present, err) < 0 ||
	    read_word(network, "blocked", "drop", "reject", &l->reject, err) < 0 ||
	    read_word(network, "mode", "enforce", "observe", &l->observe, err) < 0)
		return -1;
	return 0;
}

/* The network object inside `security`, which may be JSON text in policy_json. *ret is owned, NULL for none. */
static int from_security(const json_t *body, json_t **ret, struct dw_err *err)
{
	auto_json json_t *security = json_incref(member(body, "security"));
	const json_t *text = member(security, "policy_json");
	if (security && !json_is_object(security))
		return field_error(err, "security", "an object");
	if (text) {
		if (!json_is_string(text))
			return field_error(err, "security.policy_json", "a string with JSON inside");
		json_t *inner = NULL;
		if (parse_text("security.policy_json", json_string_value(text), json_string_length(text), &inner, err) <
		    0)
			return -1;
		json_decref(security);
		security = inner;
	}
	json_t *network = member(security, "network");
	if (network && !json_is_object(network))
		return field_error(err, "security.network", "an object");
	*ret = json_incref(network);
	return 0;
}

static bool is_network(const json_t *o)
{
	static const char *const keys[] = { "allow_out", "deny_out", "blocked", "mode" };
	for (size_t i = 0; i < DW_COUNT(keys); i++) {
		if (json_object_get(o, keys[i]))
			return true;
	}
	return false;
}

static int read_body(json_t *body, struct policy_lists *l, struct dw_err *err)
{
	auto_json json_t *network = NULL;
	json_t *own = member(body, "network");
	if (own && !json_is_object(own))
		return field_error(err, "network", "an object");
	if (own)
		network = json_incref(own);
	else if (from_security(body, &network, err) < 0)
		return -1;
	if (network)
		return read_network(network, l, err);
	if (json_object_size(body) && !json_object_get(body, "network"))
		cli_warn("the policy file has neither lists nor a network object: the default decides");
	return 0;
}

int policy_lists_parse(const char *text, size_t n, struct policy_lists *ret, struct dw_err *err)
{
	auto_json json_t *j = NULL;
	struct policy_lists l = { 0 };
	if (parse_text("the policy file", text, n, &j, err) < 0)
		return -1;
	if ((is_network(j) ? read_network(j, &l, err) : read_body(j, &l, err)) < 0) {
		policy_lists_done(&l);
		return -1;
	}
	*ret = l;
	return 0;
}

int policy_lists_add(struct policy_lists *l, bool allow, const char *entry, struct dw_err *err)
{
	json_t **list = allow ? &l->allow : &l->deny;
	if (!*list)
		*list = json_array();
	/* The policy's own parser says what is wrong with bytes that are no ASCII. */
	if (!*list || json_array_append_new(*list, json_string_nocheck(entry)) < 0)
		return dw_err_errno(err, ENOMEM, "keeping \"%.100s\"", entry);
	l->allow_present = l->allow_present || allow;
	return 0;
}

static const char **strings_of(const json_t *list)
{
	const size_t n = json_array_size(list);
	const char **s = calloc(n + 1, sizeof(*s));
	for (size_t i = 0; s && i < n; i++)
		s[i] = json_string_value(json_array_get(list, i));
	return s;
}

int policy_lists_compile(const struct policy_lists *l, bool default_allow, void **ret_image, size_t *ret_n,
			 struct dw_err *err)
{
	dw_autofree const char **allow = strings_of(l->allow);
	dw_autofree const char **deny = strings_of(l->deny);
	if (!allow || !deny)
		return dw_err_errno(err, ENOMEM, "reading the policy");
	const struct dw_policy_spec spec = {
		.allow = allow,
		.allow_n = json_array_size(l->allow),
		.allow_present = l->allow_present,
		.deny = deny,
		.deny_n = json_array_size(l->deny),
		.default_allow = default_allow,
		.reject = l->reject,
		.observe = l->observe,
		.allow_ech = l->allow_ech,
	};
	return dw_policy_compile(&spec, ret_image, ret_n, err);
}
