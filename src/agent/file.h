/* SPDX-License-Identifier: Apache-2.0 */
/* FILE_READ and FILE_WRITE. May end the operation: look at op->state afterwards. */
#pragma once

#include "agent/op.h"

/* The request is the frame at op->in_at; what follows it in the buffer is the child's to read. */
void dw_file_start(struct dw_op *op, const struct dw_agentp_frame *request);
