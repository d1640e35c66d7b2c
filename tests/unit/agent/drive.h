/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's side of the agent's protocol, for tests: starts an agent in a private mount namespace and talks to
 * it.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/agentp.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* How many terminals there are where the agent runs. */
#define DRIVE_TTYS 40

/* 0; 77 when this machine does not let the test have its own namespaces. */
int drive_start(const char *agent, bool pid1);
/* Hangs up and returns the agent's wait status. */
int drive_stop(void);
/* The control socket. */
int drive_control(void);

struct bytes {
	uint8_t *p;
	size_t n;
};

/* What an operation answered until its socket's end. */
struct answer {
	struct bytes out, err, data;
	uint32_t pid;
	unsigned started, connected, exits, ends, wrote_frames, errors;
	uint32_t code;
	bool timed_out, by_signal;
	uint64_t wrote;
	uint16_t number;
	char message[512];
	bool clean; /* the socket ended between two frames */
};

struct command {
	const char *cmd, *user, *cwd;
	const char *args[8]; /* then cmd is a program; until the first NULL */
	bool program;
	bool with_stdin;
	uint32_t timeout_ms;
	uint16_t cols, rows; /* of a terminal */
	const char *env[8];  /* "KEY=value" */
};

/* An operation's socket. */
int op_open(void);
void op_send(int sock, uint8_t type, const void *payload, size_t n);
void op_send_raw(int sock, const void *p, size_t n);
void op_exec(int sock, const struct command *c);
void op_file(int sock, uint8_t type, const char *user, const char *path);
/* Reads to the end, and closes. */
struct answer op_answer(int sock);
/* The same for one whose beginning was read already. */
struct answer op_rest(int sock);
/* Reads until the given type has come; more is left in the socket. */
void op_wait_for(int sock, uint8_t type);
/* The type of the next frame, which must come. */
uint8_t op_next_type(int sock);
/* Reads until the text has come as output; more is left in the socket. */
void op_expect(int sock, const char *text);
/* Both, the second somewhere behind the first: what has come with the first is not seen by another call. */
void op_expect_both(int sock, const char *text, const char *then);
void answer_free(struct answer *a);

/* A whole command, by default as the user "user". */
struct answer run(const struct command *c);
/* Runs as root, expects exit code 0, returns its output as text to be freed. */
char *root_text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Waits until a command of root's exits with 0; fails the test after five seconds. */
void wait_until(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
uint64_t now_ms(void);
void sleep_ms(long ms);
/* What the agent has in memory at most, in KiB; 0 where a sanitizer makes that meaningless. */
unsigned agent_peak_kib(void);
/* Waits until the agent has no more descriptors than when idle. */
void assert_agent_idle(void);

#define assert_out(a, text)                                         \
	do {                                                        \
		assert_int_equal((a).out.n, strlen(text));          \
		assert_memory_equal((a).out.p, text, strlen(text)); \
	} while (0)

extern const struct CMUnitTest file_dir_tests[], exec_life_tests[], watch_tests[];
extern const size_t file_dir_tests_n, exec_life_tests_n, watch_tests_n;
extern const struct CMUnitTest exec_tests[], file_tests[], pty_tests[], signal_tests[], connect_tests[];
extern const size_t exec_tests_n, file_tests_n, pty_tests_n, signal_tests_n, connect_tests_n;
extern bool drive_is_pid1;
