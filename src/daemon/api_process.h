/* SPDX-License-Identifier: Apache-2.0 */
/* What the handlers of commands, terminals and stdio processes share. */
#pragma once

#include "daemon/api.h"
#include "daemon/proc.h"

/* The last line of stderr of a result that is not whole. */
extern const char api_truncated_note[];

/* api_commands.c: the body of a request. The strings in *c are the body's. */
int DW_MUST_USE api_read_command(const json_t *body, struct agent_command *c, double *ret_timeout_s,
				 struct dw_err *err);
/* The same for a terminal: there is no cmd. */
int DW_MUST_USE api_read_pty(const json_t *body, struct agent_command *c, double *ret_timeout_s, struct dw_err *err);
/* Refuses what only a command in the background can have. */
int DW_MUST_USE api_read_foreground(const json_t *body, struct dw_err *err);
/* Milliseconds between two spaces ahead of an answer that takes long. */
int64_t api_space_ms(void);
/* Milliseconds from the start of a request until its answer begins without being there. */
int64_t api_silent_ms(void);

/* api_process.c */
int DW_MUST_USE api_process_start(struct http_request *rq, const struct proc_spec *spec, struct proc **ret,
				  struct dw_err *err);
/* Whether the sandbox can be talked to: NOT_FOUND, GONE, CONFLICT "sandbox_paused". */
int DW_MUST_USE api_process_check(struct http_request *rq, struct dw_err *err);
/* A reference to the one that the route names. The same, and INVALID "invalid_pid", NOT_FOUND "process_not_found". */
int DW_MUST_USE api_process_find(struct http_request *rq, enum proc_kind kind, struct proc **ret, struct dw_err *err);
/* {"killed": ...} */
int DW_MUST_USE api_process_end(struct http_request *rq, struct http_reply *rp, enum proc_kind kind,
				struct dw_err *err);
/* {"data": ...} to its standard input. */
int DW_MUST_USE api_process_input(struct http_request *rq, struct http_reply *rp, enum proc_kind kind,
				  struct dw_err *err);
int DW_MUST_USE api_process_input_end(struct http_request *rq, struct http_reply *rp, enum proc_kind kind,
				      struct dw_err *err);

/* api_stream.c: what it wrote and writes, as events; from: a position, but for a terminal. Takes its own reference. */
int DW_MUST_USE api_stream_process(struct http_request *rq, struct http_reply *rp, struct proc *p, enum proc_kind kind,
				   uint64_t from, struct dw_err *err);
