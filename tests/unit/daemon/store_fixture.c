/* SPDX-License-Identifier: Apache-2.0 */
#include "store_fixture.h"

int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct dw_err err = { 0 };
	make_dir(f->dir);
	assert_int_equal(store_open(f->dir, &f->store, &err), 0);
	*state = f;
	return 0;
}

int teardown(void **state)
{
	struct fixture *f = *state;
	store_close(f->store);
	remove_dir(f->dir);
	free(f);
	return 0;
}

void make_record(struct record *r, const char *id)
{
	*r = (struct record){ .state = RECORD_RUNNING,
			      .timeout_s = 300,
			      .vcpus = 2,
			      .memory_mb = 1024,
			      .started_us = 10,
			      .end_us = 20,
			      .doc = record_doc_new() };
	assert_non_null(r->doc);
	r->doc->metadata = json_pack("{ss}", "a", "\xc3\xa9");
	r->doc->envs = json_object();
	r->doc->network = json_pack("{s[s]}", "allow_out", "x.com");
	r->doc->lifecycle = json_object();
	snprintf(r->id, sizeof(r->id), "%s", id);
	snprintf(r->template_name, sizeof(r->template_name), "base");
	snprintf(r->name, sizeof(r->name), "it's; DROP TABLE sandbox");
	snprintf(r->guest_ip, sizeof(r->guest_ip), "100.112.1.0");
}

void add_decision(struct store *s, const char *id, const char *verdict, int n)
{
	char name[32];
	snprintf(name, sizeof(name), "host%d.example", n);
	store_log_add(s,
		      json_pack("{ss ss sf ss ss si ss ss ss si sb}", "event", "decision", "sandbox", id, "time",
				1.5 + n, "proto", "tcp", "addr", "1.2.3.4", "port", 443, "name", name, "verdict",
				verdict, "reason", "not_in_allow_out", "count", 2, "closed", 0),
		      300, false);
}

struct log_filter filter_of(const char *id)
{
	struct log_filter f = LOG_FILTER_ANY;
	snprintf(f.sandbox, sizeof(f.sandbox), "%s", id);
	return f;
}

json_t *list(struct store *s, const struct log_filter *f, unsigned limit)
{
	struct dw_err err = { 0 };
	json_t *rows = NULL;
	int64_t next;
	store_log_flush(s);
	assert_int_equal(store_log_list(s, f, 0, limit, &rows, &next, &err), 0);
	return rows;
}

size_t count(struct store *s, const struct log_filter *f)
{
	auto_json json_t *rows = list(s, f, 100000);
	return json_array_size(rows);
}

const char *text(const json_t *row, const char *key)
{
	return json_string_value(json_object_get(row, key));
}

int64_t number(const json_t *row, const char *key)
{
	return json_integer_value(json_object_get(row, key));
}

void add_flow(struct store *s, const char *id, int flow, bool end)
{
	store_log_add(s,
		      json_pack("{ss sf ss ss si ss ss si sb si si si}", "sandbox", id, "time", end ? 20.0 : 10.0,
				"proto", "tcp", "addr", "1.2.3.4", "port", 443, "verdict", "allow", "reason",
				"allow_entry", "flow", flow, "closed", end, "bytes_out", end ? 7 : 0, "bytes_in",
				end ? 9 : 0, "duration_ms", end ? 1000 : 0),
		      200, false);
}
