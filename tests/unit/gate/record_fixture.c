/* SPDX-License-Identifier: Apache-2.0 */
#include "record_fixture.h"

static const char *const allow_some[] = { "example.com", "10.0.0.0/8", NULL };

int record_setup(void **state)
{
	struct record_fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->g = test_gate_new();
	assert_int_equal(gate_records_init(f->g), 0);
	f->s = test_attach(f->g, "one", "100.112.1.1", NULL, allow_some, NULL, false);
	f->t = test_attach(f->g, "two", "100.112.1.2", NULL, allow_some, NULL, false);
	*state = f;
	return 0;
}

int record_teardown(void **state)
{
	struct record_fixture *f = *state;

	if (gate_sandbox_by_id(f->g, "one"))
		gate_sandbox_detach(f->g, f->s);
	gate_sandbox_detach(f->g, f->t);
	gate_records_done(f->g);
	fake_events_clear();
	test_gate_free(f->g);
	free(f);
	return 0;
}

/* Lets a window pass without waiting for it: the loop's clock is the only one. */
void record_end_window(struct gate *g)
{
	for (uint32_t i = 0; i < g->loop.heap_n; i++)
		g->loop.heap[i]->at_ms = 0;
	g->loop.now_ms += 1001;
	while (g->loop.heap_n > 0) {
		struct dw_timer *t = g->loop.heap[0];

		dw_timer_del(&g->loop, t);
		t->fn(t->arg);
	}
}

json_t *record_event(unsigned int i)
{
	json_t *o;

	assert_true(i < fake_event_n);
	o = json_loads(fake_event[i], JSON_REJECT_DUPLICATES, NULL);
	if (!o)
		fail_msg("not JSON: %s", fake_event[i]);
	return o;
}

const char *record_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "(none)";
}

json_int_t record_number(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	assert_true(json_is_integer(v));
	return json_integer_value(v);
}

struct gate_record record_refusal(const struct gate_sandbox *s, const char *addr, uint16_t port)
{
	return (struct gate_record){
		.sandbox = s,
		.proto = DW_PROTO_TCP,
		.addr = test_addr(addr),
		.port = port,
		.decision = { .verdict = DW_DENY, .reason = DW_REASON_NOT_IN_ALLOW_OUT, .rule = DW_RULE_NONE }
	};
}
