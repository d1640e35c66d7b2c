/* SPDX-License-Identifier: Apache-2.0 */
/* Between the control socket (control.c) and what can be asked over it (control_ops.c). */
#pragma once

#include <jansson.h>

#include "gate/gate.h"

struct gate_request {
	json_t *root;   /* owned by the caller of gate_control_serve, who releases it */
	json_int_t seq; /* 0 until read */
	int fd;         /* the descriptor that came along; -1 = none */
	bool extra_fds; /* there were more; they are closed */
	bool lost_fd;   /* there was one, and this process has no descriptor left for it */
};

/* Does what text asks. The answer without "seq", or NULL with err. Keeps nothing of rq or text. */
json_t *gate_control_serve(struct gate *g, struct gate_request *rq, const char *text, size_t n, struct dw_err *err);

/* For tests: the program ends without. Does not close the socket. */
void gate_control_done(struct gate *g);
