/* SPDX-License-Identifier: Apache-2.0 */
/* CONNECT. Each function may end the operation: look at op->state afterwards. */
#pragma once

#include "agent/op.h"

void dw_connect_start(struct dw_op *op, struct dw_span payload);
void dw_connect_event(struct dw_op *op, enum dw_op_fd which, uint32_t events);
void dw_connect_deadline(struct dw_op *op);
/* The operation is about to be closed before its end: the peer is to see that this is no orderly one. */
void dw_connect_abort(const struct dw_op *op);
