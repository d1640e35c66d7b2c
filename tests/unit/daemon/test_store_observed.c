/* SPDX-License-Identifier: Apache-2.0 */
/* What a policy that only observes would have refused. */
#include "store_fixture.h"

struct seen {
	int rows;
	int64_t count;
	char last[400];
};

static void see(void *arg, const struct observed *o)
{
	struct seen *s = arg;
	s->rows++;
	s->count += o->count;
	snprintf(s->last, sizeof(s->last), "%s|%s|%s|%u|%s|%d", o->protocol, o->name, o->addr, o->port, o->reason,
		 o->denied);
}

static void observe_pinned(struct store *s, const char *proto, const char *name, const char *addr, int port,
			   const char *verdict, const char *reason, const char *would, bool pinned)
{
	store_log_add(s,
		      json_pack("{ss sf ss ss* ss* si ss ss ss* sb}", "sandbox", "s", "time", 1.0, "proto", proto,
				"name", name, "addr", addr, "port", port, "verdict", verdict, "reason", reason, "would",
				would, "pinned", pinned),
		      10, true);
}

static void observe(struct store *s, const char *proto, const char *name, const char *addr, int port,
		    const char *verdict, const char *reason, const char *would)
{
	observe_pinned(s, proto, name, addr, port, verdict, reason, would, false);
}

static struct seen seen(struct store *s, int64_t *ret_overflow)
{
	struct seen out = { 0 };
	struct dw_err err = { 0 };
	store_log_flush(s);
	assert_int_equal(store_observed_each(s, "s", see, &out, ret_overflow, &err), 0);
	return out;
}

static void observed(void **state)
{
	struct fixture *f = *state;
	int64_t overflow;
	add_decision(f->store, "s", "allow", 1);
	assert_int_equal(seen(f->store, &overflow).rows, 0);
	/* An address that the sandbox was not given for the name, whatever else it was given for it. */
	observe(f->store, "tcp", "a.test", "1.1.1.1", 443, "allow", "observed", "not_in_allow_out");
	assert_string_equal(seen(f->store, &overflow).last, "tcp||1.1.1.1|443|not_in_allow_out|0");
	observe(f->store, "dns", "a.test", NULL, 0, "allow", "observed", "name_not_allowed");
	observe_pinned(f->store, "tcp", "a.test", "1.1.1.1", 443, "allow", "observed", "not_in_allow_out", true);
	observe_pinned(f->store, "tcp", "a.test", "2.2.2.2", 443, "allow", "observed", "not_in_allow_out", true);
	struct seen s = seen(f->store, &overflow);
	assert_int_equal(s.rows, 3);
	assert_int_equal(s.count, 4);
	assert_string_equal(s.last, "tcp|a.test||443|not_in_allow_out|0");
	/* A name that would not have been enough. */
	observe_pinned(f->store, "tcp", "a.test", "2.2.2.2", 443, "allow", "observed", "sni_missing", true);
	assert_string_equal(seen(f->store, &overflow).last, "tcp||2.2.2.2|443|sni_missing|0");
	observe(f->store, "tcp", NULL, "10.0.0.1", 80, "deny", "private_address", NULL);
	assert_string_equal(seen(f->store, &overflow).last, "tcp||10.0.0.1|80|private_address|1");
	/* Nothing that an entry could be about. */
	observe(f->store, "dns", "b.test", NULL, 0, "deny", "resolver_failed", NULL);
	observe(f->store, "tcp", NULL, "1.1.1.1", 80, "deny", "limit_flows", NULL);
	assert_int_equal(seen(f->store, &overflow).rows, 5);
	assert_int_equal(overflow, 0);
	/* Allowed for its address: the name on it is what the flow said, and an entry for that name would not open it. */
	observe(f->store, "tcp", "unasked.test", "3.3.3.3", 443, "allow", "allow_entry", NULL);
	assert_string_equal(seen(f->store, &overflow).last, "tcp||3.3.3.3|443|allow_entry|0");
	observe_pinned(f->store, "tcp", "a.test", "3.3.3.3", 443, "allow", "allow_entry", NULL, true);
	assert_string_equal(seen(f->store, &overflow).last, "tcp|a.test||443|allow_entry|0");
	/* Its pin is gone by now. */
	observe(f->store, "tcp", "before.test", "4.4.4.4", 443, "allow", "allow_name", NULL);
	assert_string_equal(seen(f->store, &overflow).last, "tcp|before.test||443|allow_name|0");
	assert_int_equal(seen(f->store, &overflow).rows, 8);
}

/* The gate's row for everything beyond what it tells one by one: an entry may be missing, and the reader must know. */
static void what_the_gate_did_not_tell_is_counted(void **state)
{
	struct fixture *f = *state;
	int64_t overflow;
	observe(f->store, "tcp", NULL, NULL, 0, "allow", "observed", "not_in_allow_out");
	observe(f->store, "tcp", NULL, NULL, 0, "allow", "allow_entry", NULL);
	observe(f->store, "dns", NULL, NULL, 0, "deny", "limit_dns_rate", NULL);
	assert_int_equal(seen(f->store, &overflow).rows, 0);
	assert_int_equal(overflow, 2);
	observe(f->store, "dns", "a.test", NULL, 0, "allow", "observed", "name_not_allowed");
	/* The end of many flows. */
	store_log_add(f->store,
		      json_pack("{ss ss ss ss si ss ss sb si}", "sandbox", "s", "proto", "tcp", "addr", "1.1.1.1",
				"name", "a.test", "port", 443, "verdict", "allow", "reason", "allow_entry", "closed",
				true, "count", 50),
		      10, true);
	assert_int_equal(seen(f->store, &overflow).rows, 1);
	assert_int_equal(overflow, 2);
}

static void observed_is_bounded(void **state)
{
	struct fixture *f = *state;
	int64_t overflow;
	char name[32];
	for (int i = 0; i < (int)DAEMON_OBSERVED_SANDBOX + 10; i++) {
		snprintf(name, sizeof(name), "n%d.test", i);
		observe(f->store, "dns", name, NULL, 0, "allow", "observed", "name_not_allowed");
	}
	observe(f->store, "dns", "n0.test", NULL, 0, "allow", "observed", "name_not_allowed");
	struct seen s = seen(f->store, &overflow);
	assert_int_equal(s.rows, DAEMON_OBSERVED_SANDBOX);
	assert_int_equal(s.count, DAEMON_OBSERVED_SANDBOX + 1);
	assert_int_equal(overflow, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(observed, setup, teardown),
		cmocka_unit_test_setup_teardown(observed_is_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(what_the_gate_did_not_tell_is_counted, setup, teardown),
	};
	return cmocka_run_group_tests_name("store_observed", tests, NULL, NULL);
}
