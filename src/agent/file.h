/* SPDX-License-Identifier: Apache-2.0 */
/* The file operations: FILE_READ, FILE_WRITE, and those of proto/agentp_file.h. May end the operation: look at op->state afterwards. */
#pragma once

#include "agent/op.h"

/* The request is the frame at op->in_at; what follows it in the buffer is the child's to read. */
void dw_file_start(struct dw_op *op, const struct dw_agentp_frame *request);
bool dw_file_is_request(uint8_t type);
