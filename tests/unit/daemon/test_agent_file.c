/* SPDX-License-Identifier: Apache-2.0 */
/* Answers about directories from an agent that says anything, and what of them reaches the client. */
#include "support.h"

#include <sys/socket.h>

#include "daemon/agent_file.h"
#include "daemon/api.h"
#include "daemon/manager_internal.h"

/* An operation whose other end the test plays. */
struct fixture {
	struct manager m;
	struct sandbox s;
	struct agent_op op;
	int agent;
};

static struct fixture f;

static int setup(void **state)
{
	int pair[2];
	memset(&f, 0, sizeof(f));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	pthread_mutex_init(&f.m.lock, NULL);
	f.s.m = &f.m;
	f.s.record.state = RECORD_RUNNING;
	f.op = (struct agent_op){ .sandbox = &f.s,
				  .fd = pair[0],
				  .client_fd = -1,
				  .stop_fd = -1,
				  .buf = malloc(DW_AGENTP_HEADER + DW_AGENTP_CHUNK) };
	assert_non_null(f.op.buf);
	f.agent = pair[1];
	return 0;
}

static int teardown(void **state)
{
	free(f.op.buf);
	close(f.op.fd);
	close(f.agent);
	return 0;
}

static void say(uint8_t type, const void *payload, size_t n)
{
	uint8_t head[DW_AGENTP_HEADER];
	dw_agentp_header_build(head, type, (uint32_t)n);
	assert_int_equal(send(f.agent, head, sizeof(head), 0), sizeof(head));
	assert_int_equal(send(f.agent, payload, n, 0), (ssize_t)n);
}

static struct dw_span span_of(const char *s)
{
	return (struct dw_span){ (const uint8_t *)s, strlen(s) };
}

static void say_entry(const struct dw_agentp_entry *e)
{
	static uint8_t out[16384];
	const size_t n = dw_agentp_entry_build(e, out, sizeof(out));
	assert_true(n > 0);
	say(DW_AGENTP_ENTRY, out, n);
}

static void requests_reach_the_agent(void **state)
{
	const struct dw_agentp_file_request q = { .user = span_of("user"), .path = span_of("/a"), .depth = 2 };
	struct dw_agentp_file_request back;
	struct dw_agentp_frame frame;
	struct dw_err err = { 0 };
	uint8_t buf[64];
	assert_int_equal(agent_file_request(&f.op, DW_AGENTP_FILE_LIST, &q, &err), 0);
	const ssize_t n = recv(f.agent, buf, sizeof(buf), 0);
	assert_int_equal(dw_agentp_frame_parse(buf, (size_t)n, &frame), DW_PARSE_OK);
	assert_int_equal(frame.type, DW_AGENTP_FILE_LIST);
	assert_int_equal(dw_agentp_file_request_parse(frame.type, frame.payload, &back), DW_PARSE_OK);
	assert_int_equal(back.depth, 2);
	/* What can not be said is the client's mistake. */
	assert_int_equal(agent_file_request(&f.op, DW_AGENTP_FILE_LIST, &(struct dw_agentp_file_request){ 0 }, &err),
			 -1);
	assert_string_equal(err.code, "invalid_path");
}

static void entries(void **state)
{
	const struct dw_agentp_entry e = { .known = true,
					   .mode = 0640,
					   .size = 5,
					   .modified_us = 1767225600123456,
					   .path = span_of("/x/\xff \""),
					   .owner = span_of("user"),
					   .group = span_of("\xfe") };
	struct dw_agentp_entry got;
	struct dw_err err = { 0 };
	uint16_t number = 0;
	say_entry(&e);
	say(DW_AGENTP_END, "", 0);
	assert_int_equal(agent_file_entry(&f.op, &got, &number, &err), 1);
	json_t *j = agent_entry_json(&got);
	char *text = json_dumps(j, JSON_COMPACT);
	assert_string_equal(
		text, "{\"name\":\"\xef\xbf\xbd \\\"\",\"path\":\"/x/\xef\xbf\xbd \\\"\",\"type\":\"file\",\"size\":5,"
		      "\"mode\":\"0640\",\"modified\":\"2026-01-01T00:00:00.123456+00:00\",\"owner\":\"user\","
		      "\"group\":\"\xef\xbf\xbd\"}");
	free(text);
	json_decref(j);
	assert_int_equal(agent_file_entry(&f.op, &got, &number, &err), 0);
	assert_int_equal(number, 0);
}

static void entries_at_the_edges(void **state)
{
	static const struct {
		struct dw_agentp_entry e;
		const char *want;
	} rows[] = {
		{ { .dir = true, .path = { (const uint8_t *)"/", 1 } },
		  "{\"name\":\"/\",\"path\":\"/"
		  "\",\"type\":\"dir\",\"size\":0,\"mode\":null,\"modified\":null,\"owner\":null,\"group\":null}" },
		{ { .known = true,
		    .size = UINT64_MAX,
		    .modified_us = INT64_MAX,
		    .path = { (const uint8_t *)"/a/", 3 } },
		  "{\"name\":\"\",\"path\":\"/a/"
		  "\",\"type\":\"file\",\"size\":9223372036854775807,\"mode\":\"0000\",\"modified\":null,"
		  "\"owner\":\"\",\"group\":\"\"}" },
		{ { .known = true,
		    .link = true,
		    .mode = 07777,
		    .modified_us = INT64_MIN,
		    .path = { (const uint8_t *)"/l", 2 },
		    .target = { (const uint8_t *)"\n", 1 } },
		  "{\"name\":\"l\",\"path\":\"/"
		  "l\",\"type\":\"file\",\"size\":0,\"mode\":\"7777\",\"modified\":null,\"owner\":\"\",\"group\":\"\","
		  "\"symlink_target\":\"\\n\"}" },
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		json_t *j = agent_entry_json(&rows[i].e);
		char *text = json_dumps(j, JSON_COMPACT);
		assert_string_equal(text, rows[i].want);
		free(text);
		json_decref(j);
	}
}

enum what { ENTRY, END, MADE, EVENT };

static int read_as(enum what what, uint16_t *number, struct dw_err *err)
{
	struct dw_agentp_entry e;
	struct dw_agentp_event event;
	bool made;
	switch (what) {
	case ENTRY:
		return agent_file_entry(&f.op, &e, number, err);
	case END:
		return agent_file_end(&f.op, err);
	case MADE:
		return agent_file_made(&f.op, &made, err);
	case EVENT:
		return agent_file_event(&f.op, &event, err);
	}
	return -2;
}

#define BYTES(s) s, sizeof(s) - 1

static void answers_that_make_no_sense(void **state)
{
	/* clang-format off */
	static const struct { const char *bytes; size_t n; enum what what; int want; const char *code; } rows[] = {
		{ BYTES(""), ENTRY, -1, "sandbox_gone" },
		{ BYTES("\0\0\0\1\x26x"), ENTRY, -1, "sandbox_gone" },
		{ BYTES("\0\0\0\1\x11x"), ENTRY, -1, "sandbox_gone" },
		{ BYTES("\0\0\0\1\x28\1"), ENTRY, -1, "sandbox_gone" },
		{ BYTES("\0\2\0\0\x26x"), ENTRY, -1, "sandbox_gone" },
		{ BYTES("\0\0\0\0\x26"), END, -1, "sandbox_gone" },
		{ BYTES("\0\0\0\1\x11x"), END, -1, "sandbox_gone" },
		{ BYTES("\0\0\0\0\x11"), END, 0, NULL },
		{ BYTES("\0\0\0\1\x28\2"), MADE, -1, "sandbox_gone" },
		{ BYTES("\0\0\0\0\x28"), MADE, -1, "sandbox_gone" },
		{ BYTES("\0\0\0\1\x28\1"), MADE, 0, NULL },
		{ BYTES("\0\0\0\0\x11"), EVENT, -1, "sandbox_gone" },
		{ BYTES("\0\0\0\x0a\x27\x07\0\0\0\0\0\0\0\0\0"), EVENT, 0, NULL },
		{ BYTES("\0\0\0\x0a\x27\xff\0\0\0\0\0\0\0\0\0"), EVENT, -1, "sandbox_gone" },
		{ BYTES("\0\0\0\x07\x25" "\0\x02\0\0\0\1x"), ENTRY, -1, "not_found" },
		{ BYTES("\0\0\0\x07\x25" "\0\x07\0\0\0\1x"), ENTRY, -1, "too_many_entries" },
		{ BYTES("\0\0\0\x07\x25" "\0\x11\0\0\0\1x"), MADE, -1, "already_exists" },
		{ BYTES("\0\0\0\x07\x25" "\0\x27\0\0\0\1x"), END, -1, "not_empty" },
		{ BYTES("\0\0\0\x07\x25" "\0\x10\0\0\0\1x"), END, -1, "busy" },
		{ BYTES("\0\0\0\x07\x25" "\0\x12\0\0\0\1x"), ENTRY, -1, "cross_device" },
		{ BYTES("\0\0\0\x07\x25" "\0\x18\0\0\0\1x"), EVENT, -1, "sandbox_limit" },
	};
	/* clang-format on */
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		struct dw_err err = { 0 };
		uint16_t number = 0;
		setup(NULL);
		assert_int_equal(send(f.agent, rows[i].bytes, rows[i].n, 0), (ssize_t)rows[i].n);
		assert_int_equal(shutdown(f.agent, SHUT_WR), 0);
		const int r = read_as(rows[i].what, &number, &err);
		if (r != rows[i].want || (rows[i].code && strcmp(err.code, rows[i].code) != 0))
			fail_msg("row %zu: %d %s", i, r, err.code);
		/* The number is for an error that the agent reported, and for nothing else. */
		assert_int_equal(number != 0,
				 rows[i].what == ENTRY && rows[i].code && strcmp(rows[i].code, "sandbox_gone") != 0);
		teardown(NULL);
	}
}

static void raw_targets(void **state)
{
	static const struct {
		const char *query, *path, *user;
	} rows[] = {
		{ "path=/a&username=user", "/a", "user" },
		{ "path=/a&b=c+d%20e%&username=user", "/a&b=c+d e%", "user" },
		{ "path=/a&username=b&username=root", "/a&username=b", "root" },
		{ "x=1&path=/a%2&username=", "/a%2", "" },
		{ "path=%41%4a%4A%zz&username=u%73er", "AJJ%zz", "user" },
		{ "path=&username=user", "", "user" },
		{ "path=/a", NULL, NULL },
		{ "", NULL, NULL },
		{ "username=user", NULL, NULL },
		{ "xpath=/a&username=user", NULL, NULL },
		{ "username=user&path=/a", NULL, NULL },
		{ "path=/a%00b&username=user", NULL, NULL },
		{ "path=/a&username=%00", NULL, NULL },
	};
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		char *path = NULL, *user = NULL;
		struct dw_err err = { 0 };
		assert_int_equal(api_raw_target(rows[i].query, &path, &user, &err), rows[i].path ? 0 : -1);
		if (rows[i].path) {
			assert_string_equal(path, rows[i].path);
			assert_string_equal(user, rows[i].user);
		} else {
			assert_string_equal(err.code, "invalid_path");
			assert_true(!path && !user);
		}
		free(path);
		free(user);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(requests_reach_the_agent, setup, teardown),
		cmocka_unit_test_setup_teardown(entries, setup, teardown),
		cmocka_unit_test(entries_at_the_edges),
		cmocka_unit_test(answers_that_make_no_sense),
		cmocka_unit_test(raw_targets),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
