/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: requests good and bad, answers that are never lost, events that never block. */
#include "gate_test.h"

#include <fcntl.h>
#include <jansson.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "gate/control.h"
#include "gate/udp.h"
#include "proto/gatep.h"

struct fixture {
	struct gate *g;
	int daemon; /* the daemon's end */
};

static char received[DW_GATEP_MAX + 1];

/* One datagram as text; NULL when there is none. */
static const char *receive(struct fixture *f)
{
	ssize_t n = recv(f->daemon, received, sizeof(received) - 1, MSG_DONTWAIT);

	if (n < 0)
		return NULL;
	received[n] = '\0';
	return received;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct dw_err err = { 0 };
	int sv[2];

	assert_non_null(f);
	f->g = test_gate_new();
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	f->daemon = sv[0];
	f->g->config.control_fd = sv[1];
	assert_int_equal(gate_control_init(f->g, &err), 0);
	assert_non_null(strstr(receive(f), "\"event\":\"ready\""));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	gate_control_done(f->g);
	close(f->g->config.control_fd);
	close(f->daemon);
	for (const char *const *id = (const char *const[]){ "one", "two", NULL }; *id; id++) {
		if (gate_sandbox_by_id(f->g, *id))
			gate_sandbox_detach(f->g, gate_sandbox_by_id(f->g, *id));
	}
	test_gate_free(f->g);
	free(f);
	return 0;
}

static void send_fds(struct fixture *f, const char *text, size_t n, const int *fds, size_t fd_n)
{
	char space[CMSG_SPACE(sizeof(int) * 8)] __attribute__((aligned(8))) = { 0 };
	char *copy = strndup(text, n);
	struct iovec iov = { .iov_base = copy, .iov_len = n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	assert_non_null(copy);
	if (fd_n) {
		struct cmsghdr *h;

		m.msg_control = space;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * fd_n);
		h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(sizeof(int) * fd_n);
		memcpy(CMSG_DATA(h), fds, sizeof(int) * fd_n);
	}
	assert_int_equal(sendmsg(f->daemon, &m, 0), (ssize_t)n);
	free(copy);
}

/* Sends one request and returns its answer. */
static json_t *ask_fds(struct fixture *f, const char *text, const int *fds, size_t fd_n)
{
	const char *answer;
	json_t *o;

	send_fds(f, text, strlen(text), fds, fd_n);
	test_turn(f->g);
	answer = receive(f);
	assert_non_null(answer);
	o = json_loads(answer, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(o);
	return o;
}

static json_t *ask(struct fixture *f, const char *text, int fd)
{
	return ask_fds(f, text, &fd, fd >= 0 ? 1 : 0);
}

static int policy_fd(const char *name, unsigned int seals)
{
	const char *const allow[] = { name, NULL };
	struct test_policy t = test_policy(allow, NULL, false);
	int fd = memfd_create("policy", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, t.image, t.image_n), (ssize_t)t.image_n);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	dw_policy_close(t.policy);
	munmap(t.image, t.image_n);
	return fd;
}

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)
#define ATTACH(seq, id, a4, a6)                                                                          \
	"{\"seq\":" seq ",\"op\":\"attach\",\"sandbox\":\"" id "\",\"addr4\":\"" a4 "\",\"addr6\":\"" a6 \
	"\",\"generation\":3}"

static void expect_ok(json_t *o, json_int_t seq)
{
	if (!json_is_true(json_object_get(o, "ok")))
		fail_msg("not ok: %s", json_string_value(json_object_get(o, "message")));
	assert_int_equal(json_integer_value(json_object_get(o, "seq")), seq);
	json_decref(o);
}

static void expect_error(json_t *o, json_int_t seq, const char *code)
{
	assert_true(json_is_false(json_object_get(o, "ok")));
	assert_int_equal(json_integer_value(json_object_get(o, "seq")), seq);
	assert_string_equal(json_string_value(json_object_get(o, "code")), code);
	assert_true(json_string_length(json_object_get(o, "message")) > 0);
	json_decref(o);
}

static void attach_one(struct fixture *f)
{
	int fd = policy_fd("example.com", SEALS);

	expect_ok(ask(f, ATTACH("1", "one", "100.112.1.1", "fd64:6377::6470:101"), fd), 1);
	close(fd);
}

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

/* Limits that are not as agreed change nothing: an older gate must not do half of what is asked. */
static void test_bad_limits(void **state)
{
	static const char unknown[] = "\"limits\" has members that are no limits";
	static const char flows[] = "\"limits\": \"flows\" is not a number";
	static const char bytes[] = "\"limits\": \"bytes\" is not a number";
	static const struct {
		const char *limits, *message;
	} rows[] = {
		{ "7", unknown },
		{ "[]", unknown },
		{ "\"flows\"", unknown },
		{ "{\"flows\":-1}", flows },
		{ "{\"flows\":\"7\"}", flows },
		{ "{\"flows\":1.5}", flows },
		{ "{\"flows\":4294967296}", flows },
		{ "{\"flows\":null}", flows },
		{ "{\"names_per_minute\":4294967296}", "\"limits\": \"names_per_minute\" is not a number" },
		{ "{\"bytes\":-1}", bytes },
		{ "{\"bytes\":9007199254740993}", bytes },
		{ "{\"bytes\":-1,\"flows\":-1,\"packets\":1}", flows },
		{ "{\"packets\":1}", unknown },
		{ "{\"flows\":1,\"\":1}", unknown },
	};
	struct fixture *f = *state;
	int fd = policy_fd("example.org", SEALS);
	char request[512];
	json_t *o;

	attach_one(f);
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		snprintf(request, sizeof(request),
			 "{\"seq\":5,\"op\":\"update\",\"sandbox\":\"one\",\"generation\":9,\"limits\":%s}",
			 rows[i].limits);
		o = ask(f, request, fd);
		assert_string_equal(json_string_value(json_object_get(o, "message")), rows[i].message);
		expect_error(o, 5, "bad_request");
	}
	assert_int_equal(gate_sandbox_by_id(f->g, "one")->generation, 3);
	assert_int_equal(gate_sandbox_by_id(f->g, "one")->limits.flows, DW_LIMIT_FLOWS);
	close(fd);
}

/* What a sandbox id or an address must not be. */
static void test_bad_fields(void **state)
{
	static const struct {
		const char *request, *code;
	} rows[] = {
		{ ATTACH("1", "", "100.112.1.1", "fd64:6377::6470:101"), "bad_request" },
		{ ATTACH("1", "a/b", "100.112.1.1", "fd64:6377::6470:101"), "bad_request" },
		{ ATTACH("1", "0123456789012345678901234567890123456789012345678901234567890123x", "100.112.1.1",
			 "fd64:6377::6470:101"),
		  "bad_request" },
		{ ATTACH("1", "one", "100.112.0.1", "fd64:6377::6470:1"), "bad_request" },    /* the gateway */
		{ ATTACH("1", "one", "100.112.0.255", "fd64:6377::6470:ff"), "bad_request" }, /* below slot 1 */
		{ ATTACH("1", "one", "100.112.0.1", "fd64:6377::6470:1"), "bad_request" },    /* above the range */
		{ ATTACH("1", "one", "10.0.0.1", "fd64:6377::6470:101"), "bad_request" },
		{ ATTACH("1", "one", "127.0.0.1", "fd64:6377::6470:101"), "bad_request" },
		{ ATTACH("1", "one", "100.112.1.1", "fd64:6377::6470:102"), "bad_request" }, /* another slot's */
		{ ATTACH("1", "one", "100.112.1.1", "::1"), "bad_request" },
		{ ATTACH("1", "one", "100.112.1.1", "100.112.1.1"), "bad_request" },
		{ ATTACH("1", "one", "fd64:6377::6470:101", "fd64:6377::6470:101"), "bad_request" },
		{ "{\"seq\":1,\"op\":\"attach\",\"sandbox\":\"one\",\"addr4\":\"100.112.1.1\",\"generation\":-1}",
		  "bad_request" },
		{ "{\"seq\":1,\"op\":\"attach\",\"sandbox\":\"one\",\"addr4\":\"100.112.1.1\",\"generation\":1.5}",
		  "bad_request" },
		{ "{\"seq\":1,\"op\":\"attach\",\"sandbox\":1,\"addr4\":\"100.112.1.1\",\"generation\":1}",
		  "bad_request" },
		{ "{\"seq\":1,\"op\":\"update\",\"sandbox\":\"one\",\"generation\":1}", "not_found" },
		{ "{\"seq\":1,\"op\":\"detach\",\"sandbox\":\"one\"}", "bad_request" }, /* with a descriptor */
		{ "{\"seq\":1,\"op\":\"resolver\"}", "unknown_op" },
		{ "{\"seq\":1,\"op\":7}", "bad_request" },
		{ "{\"seq\":1}", "bad_request" },
	};
	struct fixture *f = *state;
	int fd = policy_fd("example.com", SEALS);

	for (size_t i = 0; i < DW_COUNT(rows); i++)
		expect_error(ask(f, rows[i].request, fd), 1, rows[i].code);
	assert_null(gate_sandbox_by_id(f->g, "one"));
	close(fd);
}

static void test_not_json(void **state)
{
	static const char *const rows[] = {
		"x",
		"[]",
		"7",
		"{\"seq\":1,\"op\":\"status\"} x",
		"{\"seq\":1,\"seq\":2,\"op\":\"status\"}",
		"{\"op\":\"status\"}",
		"{\"seq\":\"1\",\"op\":\"status\"}",
		"{\"seq\":-1,\"op\":\"status\"}",
		"{\"seq\":99999999999999999,\"op\":\"status\"}",
		"\xff\xfe",
		"{\"seq\":1,\"op\":\"sta\\u0000tus\"}",
	};
	struct fixture *f = *state;
	char deep[4096];
	char *huge;

	for (size_t i = 0; i < DW_COUNT(rows); i++)
		expect_error(ask(f, rows[i], -1), 0, "bad_request");
	memset(deep, '[', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	expect_error(ask(f, deep, -1), 0, "bad_request");
	huge = malloc(DW_GATEP_MAX + 2);
	assert_non_null(huge);
	memset(huge, ' ', DW_GATEP_MAX + 1);
	huge[DW_GATEP_MAX + 1] = '\0';
	expect_error(ask(f, huge, -1), 0, "bad_request");
	free(huge);
	json_decref(ask(f, "{\"seq\":1,\"op\":\"status\"}", -1)); /* goes on as if nothing had been */
}

static void test_images(void **state)
{
	struct fixture *f = *state;
	const char *request = ATTACH("1", "one", "100.112.1.1", "fd64:6377::6470:101");
	int fd = policy_fd("example.com", SEALS & ~F_SEAL_WRITE);
	int pipes[2];

	expect_error(ask(f, request, -1), 1, "bad_request");
	expect_error(ask(f, request, fd), 1, "bad_policy");
	close(fd);
	fd = memfd_create("x", MFD_ALLOW_SEALING);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, SEALS), 0);
	expect_error(ask(f, request, fd), 1, "bad_policy"); /* empty */
	close(fd);
	fd = memfd_create("x", MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(fd, (off_t)DW_GATEP_IMAGE_MAX + 1), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, SEALS), 0);
	expect_error(ask(f, request, fd), 1, "bad_policy"); /* too large */
	close(fd);
	fd = memfd_create("x", MFD_ALLOW_SEALING);
	assert_int_equal(write(fd, "garbage", 7), 7);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, SEALS), 0);
	expect_error(ask(f, request, fd), 1, "bad_policy");
	close(fd);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	expect_error(ask(f, request, pipes[0]), 1, "bad_policy");
	close(pipes[0]);
	close(pipes[1]);
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	expect_error(ask(f, request, fd), 1, "bad_policy");
	close(fd);
	assert_null(gate_sandbox_by_id(f->g, "one"));
}

static unsigned int open_fds(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* No descriptor stays behind, whatever came along. */
static void test_descriptors_are_closed(void **state)
{
	struct fixture *f = *state;
	int fd = policy_fd("example.com", SEALS);
	const int many[7] = { fd, fd, fd, fd, fd, fd, fd };
	unsigned int before = open_fds();

	for (size_t n = 2; n <= 7; n++)
		expect_error(ask_fds(f, ATTACH("1", "one", "100.112.1.1", "fd64:6377::6470:101"), many, n), 1,
			     "bad_request");
	expect_error(ask_fds(f, "{", many, 3), 0, "bad_request");
	expect_error(ask_fds(f, "{\"seq\":1,\"op\":\"status\"}", many, 1), 1, "bad_request");
	assert_null(gate_sandbox_by_id(f->g, "one"));
	assert_int_equal(open_fds(), before);
	close(fd);
	attach_one(f);
	assert_int_equal(open_fds(), before - 1);
	fd = policy_fd("example.org", SEALS);
	expect_error(ask(f, ATTACH("2", "one", "100.112.1.9", "fd64:6377::6470:109"), fd), 2, "exists");
	expect_error(ask(f, ATTACH("2", "two", "100.112.1.1", "fd64:6377::6470:101"), fd), 2, "exists");
	close(fd);
	assert_int_equal(open_fds(), before - 1);
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

static void test_wrong_socket(void **state)
{
	struct gate *g = test_gate_new();
	struct dw_err err = { 0 };
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	g->config.control_fd = sv[1];
	assert_int_equal(gate_control_init(g, &err), -1);
	assert_non_null(strstr(err.message, "SEQPACKET"));
	close(sv[0]);
	close(sv[1]);
	test_gate_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_attach_update_detach, setup, teardown),
		cmocka_unit_test_setup_teardown(test_status, setup, teardown),
		cmocka_unit_test_setup_teardown(test_query, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_fields, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_json, setup, teardown),
		cmocka_unit_test_setup_teardown(test_images, setup, teardown),
		cmocka_unit_test_setup_teardown(test_descriptors_are_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_answer_is_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(test_events_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end_of_the_daemon, setup, teardown),
		cmocka_unit_test(test_wrong_socket),
	};

	return cmocka_run_group_tests_name("gate/control", tests, NULL, NULL);
}
