/* SPDX-License-Identifier: Apache-2.0 */
/* The end of processes: reaping, and killing all that belongs to a command. */
#pragma once

#include <sys/types.h>

/* Reaps every child that has ended, adopted orphans included. */
void dw_reap(void);

/*
 * SIGKILL for a command: its main process (not yet reaped, so the id is nobody else's), its process group, every
 * process of its session, and their descendants even in sessions of their own, as long as the chain of parents is
 * unbroken. A process that was daemonised (its parent is gone, its session is its own) is out of reach on purpose:
 * it was meant to outlive the command, and it ends with the sandbox.
 */
void dw_kill_command(pid_t main_pid);
