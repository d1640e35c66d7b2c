/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/security_spec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/macros.h"
#include "daemon/bounds.h"

/*
 * env_security is not among them: it keeps values of environment variables out of records, and no record of this server has any.
 */
static const struct feature {
	const char *key;
	bool on_by_default; /* for one that says nothing of `enabled` */
	const char *why;
} features[] = {
	{ "pii", false, "is enabled but not supported by this server: content is not inspected" },
	{ "injection_defense", false, "is enabled but not supported by this server: content is not inspected" },
	{ "toxicity", false, "is enabled but not supported by this server: content is not inspected" },
	{ "code_security", false, "is enabled but not supported by this server: content is not inspected" },
	{ "invisible_text", false, "is enabled but not supported by this server: content is not inspected" },
	{ "content_gate", false, "is enabled but not supported by this server: content is not inspected" },
	{ "custom_policy", false, "is enabled but not supported by this server: its rules are not evaluated" },
	{ "transformations", true, "is given but not supported by this server: content is not rewritten" },
	{ "audit", true,
	  "is enabled but supported in part: network decisions are recorded (GET /sandboxes/{id}/network/log), "
	  "commands and files are not" },
};

void security_spec_done(struct security_spec *s)
{
	json_decref(s->given);
	json_decref(s->network);
	json_decref(s->warnings);
	*s = (struct security_spec){ 0 };
}

/* Asked for in any spelling: what is not plainly off counts as on. */
static bool is_on(const struct feature *f, const json_t *v)
{
	if (!v || json_is_null(v) || json_is_false(v) || (json_is_array(v) && !json_array_size(v)))
		return false;
	if (!json_is_object(v))
		return true;
	const json_t *enabled = json_object_get(v, "enabled");
	return enabled ? !json_is_null(enabled) && !json_is_false(enabled) : f->on_by_default;
}

static bool has(const json_t *warnings, const char *text)
{
	size_t i;
	const json_t *w;
	json_array_foreach(warnings, i, w)
	{
		if (strcmp(json_string_value(w), text) == 0)
			return true;
	}
	return false;
}

static int check_features(const json_t *policy, bool strict, json_t *warnings, struct dw_err *err)
{
	for (size_t i = 0; i < DW_COUNT(features); i++) {
		char text[256];
		if (!is_on(&features[i], json_object_get(policy, features[i].key)))
			continue;
		snprintf(text, sizeof(text), "security.%s %s", features[i].key, features[i].why);
		if (strict)
			return dw_err_set(err, DW_ERR_UNPROCESSABLE, "unsupported_security", "%s", text);
		if (!has(warnings, text) && json_array_append_new(warnings, json_string(text)) < 0)
			return dw_err_errno(err, ENOMEM, "security");
	}
	return 0;
}

/* The policy inside: the object itself, or the one of policy_json. *ret is owned. */
static int parse_policy(json_t *security, json_t **ret, struct dw_err *err)
{
	dw_autofree char *text = json_dumps(security, JSON_COMPACT | JSON_ENCODE_ANY);
	if (!text)
		return dw_err_errno(err, ENOMEM, "security");
	if (strlen(text) > DAEMON_SECURITY_MAX)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "security must not be larger than %u KiB",
				  DAEMON_SECURITY_MAX >> 10);
	const json_t *inner = json_object_get(security, "policy_json");
	if (!inner || json_is_null(inner)) {
		*ret = json_incref(security);
		return 0;
	}
	const char *s = jsonx_plain_string(inner);
	if (!s)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field",
				  "security.policy_json must be a string with JSON inside");
	auto_json json_t *policy = NULL;
	if (jsonx_parse("security.policy_json", s, strlen(s), &policy, err) < 0)
		return -1;
	if (!json_is_object(policy))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "security.policy_json must hold a JSON object");
	*ret = DW_TAKE(policy);
	return 0;
}

int security_spec_read(const json_t *body, bool strict, struct security_spec *ret, struct dw_err *err)
{
	json_t *security = NULL, *network = NULL;
	auto_json json_t *policy = NULL;
	auto_security_spec struct security_spec s = { .warnings = json_array() };
	if (!s.warnings)
		return dw_err_errno(err, ENOMEM, "security");
	if (jsonx_object(body, "security", &security, err) < 0)
		return -1;
	if (security &&
	    (parse_policy(security, &policy, err) < 0 || check_features(policy, strict, s.warnings, err) < 0))
		return -1;
	/* A raw object beside policy_json is looked at too, so that nothing hides in the part that is not read. */
	if (policy != security && check_features(security, strict, s.warnings, err) < 0)
		return -1;
	const json_t *beside = policy != security ? json_object_get(security, "network") : NULL;
	if (beside && !json_is_null(beside))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field",
				  "security.network must not stand beside security.policy_json: put it inside, or at "
				  "the top level");
	if (jsonx_object(policy, "network", &network, err) < 0)
		return dw_err_wrap(err, "security");
	s.given = json_deep_copy(security);
	s.network = json_incref(network);
	if (security && !s.given)
		return dw_err_errno(err, ENOMEM, "security");
	*ret = s;
	s = (struct security_spec){ 0 };
	return 0;
}
