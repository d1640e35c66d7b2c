/* SPDX-License-Identifier: Apache-2.0 */
/* Commands. Each function may end the operation: look at op->state afterwards. */
#pragma once

#include "agent/op.h"

void dw_exec_start(struct dw_op *op, struct dw_span payload);
void dw_exec_event(struct dw_op *op, enum dw_op_fd which, uint32_t events);
void dw_exec_deadline(struct dw_op *op);
void dw_exec_exited(struct dw_op *op, int wait_status);
/* The child's side: never returns. status is where a failure before the command runs is told (struct dw_fault). */
struct dw_spawn {
	const struct dw_agentp_exec *exec;
	int in, out, err, status; /* the first three are one terminal when exec has a size */
};
_Noreturn void dw_spawn_child(const struct dw_spawn *s);
