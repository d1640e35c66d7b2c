/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: what must not be asked of it, and leaves nothing behind. */
#include "control_fixture.h"

#include <sys/mman.h>
#include <sys/socket.h>

#include "gate/control.h"
#include "proto/gatep.h"

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
		cmocka_unit_test_setup_teardown(test_bad_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_fields, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_json, setup, teardown),
		cmocka_unit_test_setup_teardown(test_images, setup, teardown),
		cmocka_unit_test_setup_teardown(test_descriptors_are_closed, setup, teardown),
		cmocka_unit_test(test_wrong_socket),
	};

	return cmocka_run_group_tests_name("control_bad", tests, NULL, NULL);
}
