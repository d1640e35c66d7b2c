/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One operation with an agent (proto/agentp.h). The agent is inside the sandbox: whatever it sends is hostile, and it may
 * send nothing at all. So every wait has an end: a deadline, the client that went away, the daemon that stops.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/jsonx.h"
#include "daemon/manager.h"
#include "proto/agentp.h"

enum agent_status {
	AGENT_LOST = 0, /* end of file, or bytes that no honest agent sends */
	AGENT_OK,
	AGENT_TIMEOUT,   /* the deadline has passed */
	AGENT_CANCELLED, /* the client has gone, or the daemon stops */
};

struct agent_op {
	struct sandbox *sandbox; /* entered, or held; left at close. NULL = not open */
	bool held;
	bool asked; /* something was sent, and the agent may have done it */
	int fd;
	int client_fd;       /* watched for a hang-up; -1 = not */
	int stop_fd;         /* readable when the daemon stops */
	int64_t deadline_ms; /* clock_mono_ms; 0 = none */
	uint8_t *buf;
	size_t at, n; /* received and not consumed: buf[at..n) */
};

/* Enters the sandbox and hands its agent one end of a fresh socket. NOT_FOUND, GONE, LIMIT, INTERNAL. */
int DW_MUST_USE agent_op_open(struct agent_op *op, struct manager *m, const char *id, int stop_fd, struct dw_err *err);
/* The same in a sandbox that the server builds a template in: manager_enter_build. */
int DW_MUST_USE agent_op_open_build(struct agent_op *op, struct manager *m, const char *id, int stop_fd,
				    struct dw_err *err);
/* Makes the agent drop the operation if it has not ended. Harmless when not open, and twice. */
void agent_op_close(struct agent_op *op);
#define auto_agent_op __attribute__((cleanup(agent_op_close)))

/* It counts as no operation any more, and goes on: for what lasts, and has a bound of its own. */
void agent_op_hold(struct agent_op *op);

enum agent_status agent_op_send(struct agent_op *op, enum dw_agentp_type type, const void *payload, size_t n);
/* The next frame; its payload is valid until the next call. */
enum agent_status agent_op_next(struct agent_op *op, struct dw_agentp_frame *ret);
/* The same without waiting: TIMEOUT when it is not all there now. */
enum agent_status agent_op_poll(struct agent_op *op, struct dw_agentp_frame *ret);

/* What went wrong, as an error for the client, begun if the agent was asked for something and lives. Returns -1. */
int agent_op_lost(struct agent_op *op, enum agent_status status, struct dw_err *err);
enum agent_kind {
	AGENT_COMMAND = 0,
	AGENT_FILE,
};

/*
 * An ERROR frame, as an error for the client: LIMIT when the sandbox ran out of something, for files not_found,
 * permission_denied, not_enough_space and so on; otherwise INVALID "invalid_command" or "file_error". Returns -1.
 */
int agent_op_error(struct agent_op *op, struct dw_span payload, enum agent_kind kind, struct dw_err *err);

struct agent_command {
	const char *cmd, *user, *cwd; /* user and cwd: "" = the agent's default */
	bool program;                 /* cmd is a program, with these arguments; otherwise a shell's command */
	const char *const *args;
	size_t arg_n;
	const json_t *envs;  /* over the sandbox's own; NULL = none */
	uint32_t timeout_ms; /* 0 = none */
	bool with_stdin;     /* a pipe; otherwise /dev/null */
	uint16_t cols, rows; /* of a terminal; 0 = none */
};

struct agent_output {
	char *p;
	size_t n, cap;
	bool truncated;
};

struct agent_result {
	struct agent_output out, err;
	uint32_t pid, exit_code;
	bool timed_out;
	atomic_size_t *share; /* the sandbox's, so the operation is closed only afterwards */
};
void agent_result_done(struct agent_result *r);

/* Sends the command. INVALID when it does not fit; GONE. Sets op's deadline. */
int DW_MUST_USE agent_command_start(struct agent_op *op, const struct agent_command *c, struct dw_err *err);
/*
 * Collects output until the command has ended. 1 = ended; 0 = until_ms (clock_mono_ms; 0 = none) has come first: call again;
 * -1 with err.
 */
int DW_MUST_USE agent_command_wait(struct agent_op *op, int64_t until_ms, struct agent_result *r, struct dw_err *err);

/* FILE_READ or FILE_WRITE. */
int DW_MUST_USE agent_file_start(struct agent_op *op, enum dw_agentp_type type, const char *user, const char *path,
				 struct dw_err *err);
/* Sends bytes of a file, in chunks. */
int DW_MUST_USE agent_file_send(struct agent_op *op, const void *data, size_t n, struct dw_err *err);
/* Says that all was sent, and waits for the answer. */
int DW_MUST_USE agent_file_finish(struct agent_op *op, uint64_t *ret_size, struct dw_err *err);
/* The next bytes of a file: 1 and *ret (valid until the next call), 0 at its end, -1 with err. */
int DW_MUST_USE agent_file_next(struct agent_op *op, struct dw_span *ret, struct dw_err *err);
