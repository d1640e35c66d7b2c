/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The user's own terminal while a sandbox's has it: raw, and brought back on every way out. Signals that would end or stop the program
 * are not caught but read from a descriptor, so that there is one way out for them too, as for output that nobody reads any more; only
 * SIGKILL goes past it.
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <termios.h>

#include "core/err.h"

struct terminal {
	bool is_tty, raw;
	struct termios before;
	sigset_t signals_before;
	struct sigaction pipe_before;
	int signal_fd;
};

/* Blocks the signals, and has writes to a pipe that nobody reads fail instead of ending the program; -1 with err. Nothing is raw yet. */
int DW_MUST_USE terminal_open(struct terminal *t, struct dw_err *err);
/* Does nothing where standard input is no terminal. */
int DW_MUST_USE terminal_raw(struct terminal *t, struct dw_err *err);
void terminal_restore(struct terminal *t);
/* Restores it, and lets signals through again. */
void terminal_close(struct terminal *t);
/* The signal that came, 0 for none. */
int terminal_signal(const struct terminal *t);
/* Does to this program what the signal does, with the terminal restored; comes back when it was continued. */
void terminal_obey(struct terminal *t, int number);
/* Columns and rows of standard input or output; false where neither is a terminal that has them. */
bool terminal_size(uint16_t *cols, uint16_t *rows);
