/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/record.h"

#include "daemon/clock.h"

#define ENVD_PORT 49983 /* what published clients expect to read; nothing listens there */

struct record_doc *record_doc_new(void)
{
	struct record_doc *doc = calloc(1, sizeof(*doc));
	if (doc)
		atomic_init(&doc->refs, 1);
	return doc;
}

static json_t *copy_of(const json_t *v, bool *ok)
{
	json_t *copy = v ? json_deep_copy(v) : NULL;
	*ok = *ok && (copy || !v);
	return copy;
}

struct record_doc *record_doc_copy(const struct record_doc *from)
{
	struct record_doc *doc = record_doc_new();
	bool ok = true;
	if (!doc)
		return NULL;
	doc->metadata = copy_of(from->metadata, &ok);
	doc->envs = copy_of(from->envs, &ok);
	doc->lifecycle = copy_of(from->lifecycle, &ok);
	doc->network = copy_of(from->network, &ok);
	doc->security = copy_of(from->security, &ok);
	doc->volumes = copy_of(from->volumes, &ok);
	if (!ok) {
		record_done(&(struct record){ .doc = doc });
		return NULL;
	}
	return doc;
}

void record_copy(struct record *dst, const struct record *src)
{
	*dst = *src;
	if (dst->doc)
		atomic_fetch_add_explicit(&dst->doc->refs, 1, memory_order_relaxed);
}

void record_done(struct record *r)
{
	struct record_doc *doc = r->doc;
	r->doc = NULL;
	if (!doc || atomic_fetch_sub_explicit(&doc->refs, 1, memory_order_acq_rel) != 1)
		return;
	json_decref(doc->metadata);
	json_decref(doc->envs);
	json_decref(doc->network);
	json_decref(doc->security);
	json_decref(doc->lifecycle);
	json_decref(doc->volumes);
	free(doc);
}

const char *record_state_name(enum record_state state)
{
	static const char *const names[] = {
		[RECORD_KILLED] = "killed", [RECORD_RUNNING] = "running", [RECORD_PAUSED] = "paused"
	};
	return names[state];
}

json_t *record_to_json(const struct record *r, const char *domain)
{
	char started[CLOCK_ISO_SIZE], end[CLOCK_ISO_SIZE];
	const struct record_doc *doc = r->doc;
	json_t *j = json_pack("{ss ss ss ss si so? so? so? so? so? s{si si} ss ss? ss si ss}", /**/
			      "sandbox_id", r->id, "template_id", r->template_name, "name", r->name, "state",
			      record_state_name(r->state), "timeout", (int)r->timeout_s, "metadata",
			      json_deep_copy(doc->metadata), "envs", json_deep_copy(doc->envs), "network",
			      json_deep_copy(doc->network), "security", json_deep_copy(doc->security), "lifecycle",
			      json_deep_copy(doc->lifecycle), "resources", "vcpus", (int)r->vcpus, "memory_mb",
			      (int)r->memory_mb, "started_at", clock_iso(r->started_us, started), "end_at",
			      r->end_us ? clock_iso(r->end_us, end) : NULL, "sandbox_domain", domain, "envd_port",
			      ENVD_PORT, "guest_ip", r->guest_ip);
	if (j)
		json_object_set_new(j, "volumes", doc->volumes ? json_deep_copy(doc->volumes) : json_array());
	if (j && r->state == RECORD_PAUSED) {
		char paused[CLOCK_ISO_SIZE];
		json_object_set_new(j, "paused_at", json_string(clock_iso(r->paused_us, paused)));
	}
	if (j && r->state == RECORD_KILLED) {
		char killed[CLOCK_ISO_SIZE];
		json_object_set_new(j, "killed_at", json_string(clock_iso(r->killed_us, killed)));
		json_object_set_new(j, "kill_reason", json_string(r->reason));
	}
	return j;
}
