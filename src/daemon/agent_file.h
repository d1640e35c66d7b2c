/* SPDX-License-Identifier: Apache-2.0 */
/* The file operations beyond reading and writing one (proto/agentp_file.h), on an open operation. Errors as agent_op_error's. */
#pragma once

#include "daemon/agentc.h"
#include "proto/agentp_file.h"

/* Sends the request. INVALID "invalid_path" when it does not fit. */
int DW_MUST_USE agent_file_request(struct agent_op *op, enum dw_agentp_type type,
				   const struct dw_agentp_file_request *q, struct dw_err *err);
/*
 * The next entry: 1 and *ret (valid until the next call), 0 at the end, -1 with err. *ret_number (NULL: not wanted): the agent's number
 * when it answered with an error.
 */
int DW_MUST_USE agent_file_entry(struct agent_op *op, struct dw_agentp_entry *ret, uint16_t *ret_number,
				 struct dw_err *err);
int DW_MUST_USE agent_file_end(struct agent_op *op, struct dw_err *err);
int DW_MUST_USE agent_file_made(struct agent_op *op, bool *ret_made, struct dw_err *err);
/* The first event of a watch. */
int DW_MUST_USE agent_file_event(struct agent_op *op, struct dw_agentp_event *ret, struct dw_err *err);

/* Bytes of the sandbox as a JSON string: what is not UTF-8 becomes U+FFFD. NULL when memory is out. */
json_t *agent_text_json(struct dw_span s);
/* Absolute path's last component; of "/" itself. */
struct dw_span agent_path_name(struct dw_span path);
/* As the API shows it. NULL when memory is out. */
json_t *agent_entry_json(const struct dw_agentp_entry *e);
