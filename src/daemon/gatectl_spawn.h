/* SPDX-License-Identifier: Apache-2.0 */
/* One gate process: arguments, descriptors, the first word, the end. */
#pragma once

#include <sys/types.h>

#include "daemon/gatectl.h"

struct gate_process {
	pid_t pid;   /* 0 = none */
	int control; /* our end; -1 = none */
};

/* Starts the program and waits until it says ready. 0, or -1 with err and no process left. */
int DW_MUST_USE gate_process_start(const struct gatectl_config *config, struct gate_process *ret, struct dw_err *err);
/* Closes the control socket (which ends the gate), waits a moment, kills it if need be, reaps it. */
void gate_process_end(struct gate_process *p);

/* One datagram as a JSON object. 1, 0 for what is no object (skipped), -1 at the end. *ret is owned. */
int gate_process_recv(int control, json_t **ret, size_t *ret_bytes);
/* One JSON object, with a descriptor unless fd is -1. -1 with errno. */
int gate_process_send(int control, const json_t *msg, int fd);
