/* SPDX-License-Identifier: Apache-2.0 */
#include "e2b/show.h"

#include <string.h>

#include "daemon/clock.h"
#include "daemon/token.h"
#include "e2b/network_map.h"

/* Who made it is its owner, whichever program that was. */
#define CLIENT "declaw"

static bool set(json_t *obj, const char *key, json_t *value_take)
{
	return json_object_set_new(obj, key, value_take) == 0;
}

json_t *show_made(const struct http_request *rq, const struct record *r)
{
	char envd[TOKEN_SIZE], traffic[TOKEN_SIZE];
	token_make(rq->app, TOKEN_ENVD, r->id, envd);
	token_make(rq->app, TOKEN_TRAFFIC, r->id, traffic);
	return json_pack("{ss ss ss ss ss ss ss ss}", "sandboxID", r->id, "templateID", r->template_name, "alias",
			 r->template_name, "clientID", CLIENT, "envdVersion", E2B_ENVD_VERSION, "envdAccessToken", envd,
			 "trafficAccessToken", traffic, "domain", http_domain(rq));
}

json_t *show_listed(const struct record *r)
{
	char started[CLOCK_ISO_SIZE], end[CLOCK_ISO_SIZE];
	/* The end of one that is paused is not known: its time stands still. */
	const int64_t end_us = r->end_us ? r->end_us : r->paused_us;
	return json_pack("{ss ss ss ss ss ss ss ss si si si so s[]}", "sandboxID", r->id, "templateID",
			 r->template_name, "alias", r->template_name, "clientID", CLIENT, "envdVersion",
			 E2B_ENVD_VERSION, "state", record_state_name(r->state), "startedAt",
			 clock_iso(r->started_us, started), "endAt", clock_iso(end_us, end), "cpuCount", (int)r->vcpus,
			 "memoryMB", (int)r->memory_mb, "diskSizeMB", (int)DAEMON_SANDBOX_DISK_MB, "metadata",
			 json_deep_copy(r->doc->metadata), "volumeMounts");
}

static json_t *lifecycle(const struct record *r)
{
	const char *on_timeout = json_string_value(json_object_get(r->doc->lifecycle, "on_timeout"));
	return json_pack("{ss sb}", "onTimeout", on_timeout ? on_timeout : "kill", "autoResume",
			 json_is_true(json_object_get(r->doc->lifecycle, "auto_resume")));
}

json_t *show_detail(const struct http_request *rq, const struct record *r)
{
	auto_json json_t *j = show_listed(r);
	bool internet = false;
	json_t *network = network_map_show(r->doc->network, rq->app->options.default_allow, &internet);
	bool ok = set(j, "network", network);
	ok = ok && set(j, "lifecycle", lifecycle(r));
	ok = ok && set(j, "allowInternetAccess", json_boolean(internet));
	ok = ok && set(j, "domain", json_string(http_domain(rq)));
	return ok ? DW_TAKE(j) : NULL;
}
