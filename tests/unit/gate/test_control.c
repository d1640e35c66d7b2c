/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: good requests, answers that are never lost, events that never block. */
#include "control_fixture.h"

#include <sys/socket.h>

#include "gate/control.h"
#include "gate/udp.h"

static void test_attach_update_detach(void **state)
{
	struct fixture *f = *state;
	struct dw_addr a6 = test_addr("fd64:6377::6470:101");
	struct gate_sandbox *s;
	json_t *o;
	int fd;

	attach_one(f);
	s = gate_sandbox_by_id(f->g, "one");
	assert_non_null(s);
	assert_ptr_equal(gate_sandbox_by_addr(f->g, &a6), s);
	assert_int_equal(s->generation, 3);
	assert_true(dw_decide_query(s->policy, "example.com").verdict != DW_DENY);
	fd = policy_fd("example.org", SEALS);
	expect_ok(ask(f, "{\"seq\":2,\"op\":\"update\",\"sandbox\":\"one\",\"generation\":4}", fd), 2);
	close(fd);
	assert_int_equal(dw_decide_query(s->policy, "example.com").verdict, DW_DENY);
	o = ask(f, "{\"seq\":3,\"op\":\"query\",\"sandbox\":\"one\"}", -1);
	assert_int_equal(json_integer_value(json_object_get(o, "generation")), 4);
	assert_true(json_is_integer(json_object_get(o, "pins")));
	assert_true(json_is_integer(json_object_get(o, "half_open")));
	assert_true(json_is_integer(json_object_get(o, "queries")));
	expect_ok(o, 3);
	o = ask(f, "{\"seq\":4,\"op\":\"detach\",\"sandbox\":\"one\"}", -1);
	assert_true(json_is_true(json_object_get(o, "found")));
	expect_ok(o, 4);
	o = ask(f, "{\"seq\":5,\"op\":\"detach\",\"sandbox\":\"one\"}", -1);
	assert_true(json_is_false(json_object_get(o, "found")));
	expect_ok(o, 5);
	expect_error(ask(f, "{\"seq\":6,\"op\":\"query\",\"sandbox\":\"one\"}", -1), 6, "not_found");
}

static void test_status(void **state)
{
	struct fixture *f = *state;
	const struct dw_addr host[2] = { test_addr("192.0.2.7"), test_addr("2001:db8::7") };
	json_t *o;

	attach_one(f);
	f->g->floor.host = host;
	f->g->floor.host_n = 2;
	o = ask(f, "{\"seq\":9,\"op\":\"status\"}", -1);
	assert_int_equal(json_integer_value(json_object_get(o, "sandboxes")), 1);
	assert_int_equal(json_integer_value(json_object_get(o, "flows")), 7);
	assert_string_equal(json_string_value(json_array_get(json_object_get(o, "host"), 1)), "2001:db8::7");
	assert_string_equal(json_string_value(json_object_get(o, "version")), DECLAW_VERSION);
	expect_ok(o, 9);
}

static json_int_t member(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	if (!json_is_integer(v))
		fail_msg("no number \"%s\"", key);
	return json_integer_value(v);
}

/* What a sandbox uses and may use, as counted. */
static void test_query(void **state)
{
	struct fixture *f = *state;
	static struct gate_udp_flow udp[3] = { { .next = &udp[1] }, { .next = &udp[2] } };
	struct gate_sandbox *s;
	char limits[256] = "";
	json_t *o;

	attach_one(f);
	s = gate_sandbox_by_id(f->g, "one");
	s->udp_flows = udp;
	s->flow_n = 5;
	s->half_open_n = 2;
	s->query_n = 3;
	s->bytes_out = 10;
	s->bytes_in = 1ull << 41;
	o = ask(f, "{\"seq\":2,\"op\":\"query\",\"sandbox\":\"one\"}", -1);
	assert_int_equal(member(o, "flows"), 5);
	assert_int_equal(member(o, "udp_flows"), 3);
	assert_int_equal(member(o, "half_open"), 2);
	assert_int_equal(member(o, "queries"), 3);
	assert_int_equal(member(o, "pins"), 0);
	assert_int_equal(member(o, "bytes_out"), 10);
	assert_int_equal(member(o, "bytes_in"), 1ll << 41);
	assert_true(json_dumpb(json_object_get(o, "limits"), limits, sizeof(limits) - 1, JSON_COMPACT) > 0);
	assert_string_equal(limits, "{\"flows\":1024,\"half_open\":256,\"flows_per_second\":2000,"
				    "\"dns_per_second\":1000,\"names_per_minute\":120,\"bytes\":0}");
	s->udp_flows = NULL;
	s->flow_n = s->half_open_n = s->query_n = 0;
	expect_ok(o, 2);
}

/* Limits come with a policy, are in force with it, and go with the next one that has none. */
static void test_limits(void **state)
{
	struct fixture *f = *state;
	int fd = policy_fd("example.com", SEALS);
	const struct gate_sandbox *s;
	json_t *o;

	expect_ok(ask(f,
		      "{\"seq\":1,\"op\":\"attach\",\"sandbox\":\"one\",\"addr4\":\"100.112.1.1\",\"generation\":1,"
		      "\"limits\":{\"flows\":7,\"bytes\":9007199254740992,\"dns_per_second\":4294967295}}",
		      fd),
		  1);
	s = gate_sandbox_by_id(f->g, "one");
	assert_int_equal(s->limits.flows, 7);
	assert_int_equal(s->limits.bytes, 1ull << 53);
	assert_int_equal(s->limits.dns_per_second, DW_LIMIT_RATE_MAX);
	assert_int_equal(s->limits.half_open, DW_LIMIT_HALF_OPEN);
	expect_ok(ask(f,
		      "{\"seq\":2,\"op\":\"update\",\"sandbox\":\"one\",\"generation\":2,"
		      "\"limits\":{\"half_open\":1,\"names_per_minute\":2,\"flows_per_second\":3}}",
		      fd),
		  2);
	o = ask(f, "{\"seq\":3,\"op\":\"query\",\"sandbox\":\"one\"}", -1);
	assert_int_equal(member(json_object_get(o, "limits"), "flows"), DW_LIMIT_FLOWS);
	assert_int_equal(member(json_object_get(o, "limits"), "half_open"), 1);
	assert_int_equal(member(json_object_get(o, "limits"), "names_per_minute"), 2);
	assert_int_equal(member(json_object_get(o, "limits"), "flows_per_second"), 3);
	assert_int_equal(member(json_object_get(o, "limits"), "bytes"), 0);
	expect_ok(o, 3);
	close(fd);
}

/* A daemon that writes many requests before it reads: every answer comes, in order. */
static void test_no_answer_is_lost(void **state)
{
	struct fixture *f = *state;
	unsigned int sent = 0;
	unsigned int got = 0;
	char request[64];

	fcntl(f->daemon, F_SETFL, O_NONBLOCK);
	while (got < 20000) {
		for (int burst = 0; burst < 700 && sent < 20000; burst++) {
			snprintf(request, sizeof(request), "{\"seq\":%u,\"op\":\"status\"}", sent);
			if (send(f->daemon, request, strlen(request), MSG_DONTWAIT) < 0)
				break;
			sent++;
			if (sent % 97 == 0)
				assert_int_equal(dw_loop_once(&f->g->loop, 0), 0);
		}
		for (int i = 0; i < 40; i++)
			assert_int_equal(dw_loop_once(&f->g->loop, 0), 0);
		for (const char *answer = receive(f); answer; answer = receive(f)) {
			json_t *o = json_loads(answer, 0, NULL);

			expect_ok(o, (json_int_t)got);
			got++;
		}
	}
}

/* A daemon that does not read: events are dropped and counted, an answer still comes first among what waits. */
static void test_events_are_bounded(void **state)
{
	struct fixture *f = *state;
	const char event[] = "{\"event\":\"decision\"}";
	const char *request = "{\"seq\":5,\"op\":\"status\"}";
	uint64_t events = 0;
	uint64_t dropped = 0;
	bool answered = false;
	uint64_t before_answer = 0;

	for (int i = 0; i < 50000; i++)
		gate_control_event(f->g, event, sizeof(event) - 1);
	send_fds(f, request, strlen(request), NULL, 0);
	test_turn(f->g);
	for (int round = 0; round < 2; round++) {
		for (int turn = 0; turn < 2000; turn++) {
			const char *s;

			assert_int_equal(dw_loop_once(&f->g->loop, 0), 0);
			for (s = receive(f); s; s = receive(f)) {
				const char *d = strstr(s, "\"dropped\":");

				if (strstr(s, "\"seq\":5"))
					answered = true;
				else
					events++;
				if (!answered)
					before_answer++;
				if (d)
					dropped += strtoull(d + 10, NULL, 10);
			}
		}
		/* The first one after the pause carries the count. */
		if (round == 0)
			gate_control_event(f->g, event, sizeof(event) - 1);
	}
	assert_true(answered);
	assert_true(before_answer < 2000); /* only what was in the socket already */
	assert_true(dropped > 0);
	assert_int_equal(events + dropped, 50001);
}

static void test_end_of_the_daemon(void **state)
{
	struct fixture *f = *state;

	assert_false(f->g->loop.stop);
	shutdown(f->daemon, SHUT_RDWR);
	test_turn(f->g);
	assert_true(f->g->loop.stop);
	gate_control_event(f->g, "{\"a\":1}", 7); /* harmless */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_attach_update_detach, setup, teardown),
		cmocka_unit_test_setup_teardown(test_status, setup, teardown),
		cmocka_unit_test_setup_teardown(test_query, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_answer_is_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(test_events_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end_of_the_daemon, setup, teardown),
	};

	return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
