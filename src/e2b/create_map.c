/* SPDX-License-Identifier: Apache-2.0 */
#include "e2b/create_map.h"

#include <errno.h>

#include "core/macros.h"
#include "e2b/members.h"
#include "e2b/network_map.h"

static const struct member known[] = {
	{ "templateID" },
	{ "timeout" },
	{ "metadata" },
	{ "envVars" },
	{ "allow_internet_access" },
	{ "network" },
	{ "autoPause" },
	{ "autoPauseMemory" },
	{ "autoResume" },
	{ "secure" }, /* every sandbox is: its processes and files need its token */
	{ "volumeMounts", "mounting volumes by this API" },
	{ "mcp", "a gateway for MCP" },
	{ "iam", "tokens of identities" },
};

int create_map_memory(const json_t *obj, const char *key, struct dw_err *err)
{
	bool keep = true;
	if (jsonx_bool(obj, key, &keep, err) < 0)
		return -1;
	if (!keep)
		return dw_err_set(err, DW_ERR_INVALID, "unsupported_option",
				  "%s: a sandbox that is paused keeps its memory here: leave it out, or true", key);
	return 0;
}

static int read_lifecycle(const json_t *body, json_t **ret, struct dw_err *err)
{
	static const struct member resume_known[] = { { "enabled" } };
	bool pause = false, resume = false;
	json_t *auto_resume = NULL;
	if (jsonx_bool(body, "autoPause", &pause, err) < 0 || jsonx_object(body, "autoResume", &auto_resume, err) < 0 ||
	    members_check(auto_resume, "autoResume.", resume_known, DW_COUNT(resume_known), err) < 0 ||
	    jsonx_bool(auto_resume, "enabled", &resume, err) < 0 || create_map_memory(body, "autoPauseMemory", err) < 0)
		return -1;
	*ret = json_pack("{ss sb}", "on_timeout", pause ? "pause" : "kill", "auto_resume", (int)resume);
	return *ret ? 0 : dw_err_errno(err, ENOMEM, "reading the request");
}

int create_map(const json_t *body, uint32_t timeout_s, bool default_allow, json_t **ret, struct dw_err *err)
{
	const char *template_name = NULL;
	int64_t timeout = timeout_s;
	bool present, secure;
	json_t *metadata = NULL, *envs = NULL;
	auto_json json_t *network = NULL, *lifecycle = NULL;
	if (members_check(body, "", known, DW_COUNT(known), err) < 0 ||
	    jsonx_string(body, "templateID", &template_name, err) < 0 || jsonx_bool(body, "secure", &secure, err) < 0 ||
	    jsonx_integer(body, "timeout", &timeout, &present, err) < 0 ||
	    jsonx_object(body, "metadata", &metadata, err) < 0 || jsonx_object(body, "envVars", &envs, err) < 0 ||
	    read_lifecycle(body, &lifecycle, err) < 0 ||
	    network_map_create(json_object_get(body, "network"), json_object_get(body, "allow_internet_access"),
			       default_allow, &network, err) < 0)
		return -1;
	if (!template_name)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "templateID must name a template");
	*ret = json_pack("{ss sI sO* sO* sO sO}", "template", template_name, "timeout", (json_int_t)timeout, "metadata",
			 metadata, "envs", envs, "network", network, "lifecycle", lifecycle);
	return *ret ? 0 : dw_err_errno(err, ENOMEM, "reading the request");
}
