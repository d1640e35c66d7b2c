/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/create_spec.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/network_spec.h"
#include "daemon/security_spec.h"
#include "daemon/volumes.h"

void create_spec_done(struct create_spec *s)
{
	record_done(&s->record);
	network_spec_done(&s->network);
	json_decref(s->warnings);
	if (s->root_fd >= 0)
		close(s->root_fd);
	if (s->layer_fd >= 0)
		close(s->layer_fd);
	for (size_t i = 0; i < s->attach_n; i++)
		close(s->attach[i].dir_fd);
	for (size_t i = 0; i < s->pinned_n; i++)
		volume_unpin(s->pinned_in, s->pinned[i]);
	free(s->start_cmd);
	free(s->ready_check);
	*s = CREATE_SPEC_EMPTY;
}

int create_spec_timeout(int64_t value, const char *field, uint32_t *ret, struct dw_err *err)
{
	if (value < 1 || value > DAEMON_TIMEOUT_MAX_S)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_timeout", "%s must be between 1 and %u seconds", field,
				  DAEMON_TIMEOUT_MAX_S);
	*ret = (uint32_t)value;
	return 0;
}

static bool env_key_ok(const char *key)
{
	for (const char *p = key; *p; p++) {
		bool letter = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || *p == '_';
		if (!letter && !(p > key && *p >= '0' && *p <= '9'))
			return false;
	}
	return true;
}

/* An object of strings within the limits; strict_keys: names of environment variables. */
static int check_map(const char *field, const json_t *map, bool strict_keys, struct dw_err *err)
{
	if (json_object_size(map) > DAEMON_MAP_KEYS)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "%s must not have more than %u keys", field,
				  DAEMON_MAP_KEYS);
	size_t bytes = 0;
	const char *key;
	json_t *value;
	/* The macro wants a non-const object; it does not change it. */
	json_t *obj = json_incref((json_t *)(uintptr_t)map);
	int r = 0;
	json_object_foreach(obj, key, value)
	{
		size_t key_n = strlen(key);
		const char *text = jsonx_plain_string(value);
		if (!key_n || key_n > DAEMON_MAP_KEY_MAX)
			r = dw_err_set(err, DW_ERR_INVALID, "invalid_field", "%s: a key must have 1 to %u bytes", field,
				       DAEMON_MAP_KEY_MAX);
		else if (strict_keys && !env_key_ok(key))
			r = dw_err_set(
				err, DW_ERR_INVALID, "invalid_field",
				"%s: \"%.100s\" is not a name of an environment variable ([A-Za-z_][A-Za-z0-9_]*)",
				field, key);
		else if (!text)
			r = dw_err_set(err, DW_ERR_INVALID, "invalid_field",
				       "%s: the value of \"%.100s\" must be a string without NUL characters", field,
				       key);
		if (r < 0)
			break;
		bytes += key_n + strlen(text);
	}
	json_decref(obj);
	if (r < 0)
		return r;
	if (bytes > DAEMON_MAP_BYTES)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "%s must not be larger than %u KiB", field,
				  DAEMON_MAP_BYTES >> 10);
	return 0;
}

int create_spec_envs(const json_t *obj, json_t **ret, struct dw_err *err)
{
	json_t *map = NULL;
	if (jsonx_object(obj, "envs", &map, err) < 0 || (map && check_map("envs", map, true, err) < 0))
		return -1;
	*ret = map;
	return 0;
}

static int read_maps(const json_t *body, struct record *r, struct dw_err *err)
{
	json_t *metadata = NULL, *envs = NULL;
	if (jsonx_object(body, "metadata", &metadata, err) < 0 ||
	    (metadata && check_map("metadata", metadata, false, err) < 0) || create_spec_envs(body, &envs, err) < 0)
		return -1;
	r->doc->metadata = metadata ? json_deep_copy(metadata) : json_object();
	r->doc->envs = envs ? json_deep_copy(envs) : json_object();
	return 0;
}

static int read_names(const json_t *body, struct record *r, struct dw_err *err)
{
	const char *template_name = "base", *name = NULL;
	if (jsonx_string(body, "template", &template_name, err) < 0 || jsonx_string(body, "name", &name, err) < 0)
		return -1;
	size_t n = strlen(template_name);
	if (!n || n > DW_TEMPLATE_NAME_MAX)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "template must have 1 to %d characters",
				  DW_TEMPLATE_NAME_MAX);
	for (size_t i = 0; i < n; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", template_name[i]))
			return dw_err_set(err, DW_ERR_INVALID, "invalid_field",
					  "template must be made of letters, digits, '.', '_' and '-'");
	if (name && (!*name || strlen(name) > DAEMON_NAME_MAX))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "name must have 1 to %u bytes",
				  DAEMON_NAME_MAX);
	snprintf(r->template_name, sizeof(r->template_name), "%s", template_name);
	snprintf(r->name, sizeof(r->name), "%s", name ? name : template_name);
	return 0;
}

static int read_timeout(const json_t *body, struct record *r, struct dw_err *err)
{
	int64_t timeout = DAEMON_TIMEOUT_DEFAULT_S;
	bool present;
	if (jsonx_integer(body, "timeout", &timeout, &present, err) < 0)
		return -1;
	return create_spec_timeout(timeout, "timeout", &r->timeout_s, err);
}

static int unsupported(struct dw_err *err, const char *field, const char *what)
{
	return dw_err_set(err, DW_ERR_INVALID, "unsupported_option", "%s: %s is not supported by this server", field,
			  what);
}

static int read_lifecycle(const json_t *body, struct create_spec *s, struct dw_err *err)
{
	json_t *lifecycle = NULL;
	const char *on_timeout = "kill";
	bool auto_resume = false;
	if (jsonx_object(body, "lifecycle", &lifecycle, err) < 0 ||
	    jsonx_string(lifecycle, "on_timeout", &on_timeout, err) < 0 ||
	    jsonx_bool(lifecycle, "auto_resume", &auto_resume, err) < 0)
		return -1;
	s->pause_on_timeout = strcmp(on_timeout, "pause") == 0;
	s->auto_resume = auto_resume;
	if (!s->pause_on_timeout && strcmp(on_timeout, "kill") != 0)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field",
				  "lifecycle.on_timeout must be \"kill\" or \"pause\"");
	s->record.doc->lifecycle = json_pack("{ss sb}", "on_timeout", on_timeout, "auto_resume", auto_resume);
	return 0;
}

static int read_network(const json_t *body, json_t *from_security, bool default_allow, struct create_spec *s,
			struct dw_err *err)
{
	json_t *network = NULL;
	if (jsonx_object(body, "network", &network, err) < 0)
		return -1;
	if (!network)
		network = from_security;
	if (network_spec_compile(network, default_allow, &s->network, err) < 0)
		return -1;
	s->record.doc->network = json_deep_copy(network);
	return 0;
}

static bool is_empty(const json_t *v)
{
	return !v || json_is_null(v) || (json_is_array(v) && !json_array_size(v)) ||
	       (json_is_object(v) && !json_object_size(v));
}

static int check_refused(const json_t *body, struct dw_err *err)
{
	bool secure;
	const json_t *resources = json_object_get(body, "resources");
	if (resources && !json_is_null(resources))
		return dw_err_set(err, DW_ERR_FORBIDDEN, "resources_not_allowed",
				  "resources can not be chosen by the client");
	if (!is_empty(json_object_get(body, "vault_refs")))
		return unsupported(err, "vault_refs", "a vault");
	return jsonx_bool(body, "secure", &secure, err);
}

void create_spec_sizes(struct create_spec *s)
{
	s->record.vcpus = DAEMON_SANDBOX_VCPUS;
	s->record.memory_mb = DAEMON_SANDBOX_MEMORY_MB;
	s->disk_mb = DAEMON_SANDBOX_DISK_MB;
	s->pids = DAEMON_SANDBOX_PIDS;
}

int create_spec_parse(const json_t *body, const struct create_rules *rules, struct create_spec *ret, struct dw_err *err)
{
	auto_create_spec struct create_spec s = CREATE_SPEC_EMPTY;
	auto_security_spec struct security_spec security = { 0 };
	s.record.doc = record_doc_new();
	if (!s.record.doc)
		return dw_err_errno(err, ENOMEM, "reading the request");
	if (check_refused(body, err) < 0 ||
	    volume_spec_parse(json_object_get(body, "volumes"), &s.volumes, &s.record.doc->volumes, err) < 0 ||
	    read_names(body, &s.record, err) < 0 || read_timeout(body, &s.record, err) < 0 ||
	    read_maps(body, &s.record, err) < 0 || read_lifecycle(body, &s, err) < 0 ||
	    security_spec_read(body, rules->strict_security, &security, err) < 0 ||
	    read_network(body, security.network, rules->default_allow, &s, err) < 0)
		return -1;
	if (!s.record.doc->metadata || !s.record.doc->envs || !s.record.doc->lifecycle)
		return dw_err_errno(err, ENOMEM, "reading the request");
	s.record.doc->security = DW_TAKE(security.given);
	s.warnings = DW_TAKE(security.warnings);
	create_spec_sizes(&s);
	*ret = s;
	/* Moved: the cleanup of the local must find nothing. */
	s = CREATE_SPEC_EMPTY;
	return 0;
}
