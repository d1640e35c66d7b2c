/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent: PID 1 of a sandbox, one thread, one epoll loop. What is shared between its files.
 *
 * Commands are children whose output the agent frames; file operations are children that answer on the operation's
 * socket themselves, so that the kernel judges every path with the account's identity and the agent copies nothing.
 * Whatever can be slow or hostile (the sandbox's own /etc/passwd, its directories, its files) is touched by such a
 * child only, never by the loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

#include "core/macros.h"

#define DW_AGENT_OPS_MAX    384   /* one operation is at most five descriptors, one process and about 64 KiB here */
#define DW_AGENT_LINGER_MS  100   /* how long output is awaited from those who still hold a finished command's pipes */
#define DW_AGENT_CONNECT_MS 10000 /* for a connection inside: nothing there is far away */
#define DW_AGENT_REQUEST_MS 60000 /* an operation that was opened has to say what it wants within this */

struct dw_agent {
	int epoll_fd;
	int control_fd;
	int signal_fd;
	int null_fd;            /* /dev/null as it was at the start: the sandbox's root may replace it later */
	int pts_fd;             /* /dev/pts likewise; -1 = there are no terminals here */
	uint64_t now;           /* monotonic milliseconds, read once per wake-up */
	struct rlimit nofile;   /* what commands get */
	char oom_score_adj[16]; /* what children get, as text; "" when it can not be raised */
};

extern struct dw_agent dw_agent;

/* An errno-like number and a sentence for the user, as an ERROR frame carries them. */
struct dw_fault {
	uint16_t number;
	char message[448];
};

/* Fills f; returns -1. The second form appends ": <text of number>". */
int dw_fault_set(struct dw_fault *f, int number, const char *fmt, ...) DW_PRINTF(3, 4);
int dw_fault_errno(struct dw_fault *f, int number, const char *fmt, ...) DW_PRINTF(3, 4);

/*
 * Takes blanks and a decimal number that fits an int off the front of *at. False, and nothing moves, when there is
 * none.
 */
bool dw_text_int(const char **at, int *ret);

/*
 * First steps of every forked child: signals as a program expects them, more likely to be chosen by the OOM killer.
 */
void dw_child_init(void);
/* Closes every descriptor from first on. */
void dw_close_from(unsigned first);
