/* SPDX-License-Identifier: Apache-2.0 */
/* Terminals for commands: the agent's side. */
#pragma once

#include "agent/op.h"

/* More than the kernel keeps between a terminal's two sides (a few pages each way). */
#define DW_PTY_HELD_MAX 65536u

/* Takes hold of /dev/pts, before anything of the sandbox's own runs. */
void dw_pty_init(void);
/*
 * A new terminal of that size: its master, not blocking, as ret_fd[DW_OP_STDOUT], a copy of that as
 * ret_fd[DW_OP_STDIN], and its other side as ret_fd[DW_OP_TTY]. 0, or -1 with errno; what is in ret_fd then is the
 * caller's to close.
 */
int DW_MUST_USE dw_pty_open(uint16_t cols, uint16_t rows, int ret_fd[static DW_OP_FD_COUNT]);
/* The foreground group gets SIGWINCH if that is a change. */
void dw_pty_resize(int master, uint16_t cols, uint16_t rows);
/* The terminal's end-of-file character as it is set at present; false when it has none. */
bool dw_pty_eof(int master, uint8_t *ret);
