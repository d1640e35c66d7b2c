/* SPDX-License-Identifier: Apache-2.0 */
/* The operation table: descriptors and their epoll interest, framing in, one buffered frame out. */
#pragma once

#include <sys/types.h>

#include "agent/agent.h"
#include "proto/agentp.h"

enum dw_op_state {
	DW_OP_FREE = 0,
	DW_OP_REQUEST, /* waits for the request frame; deadline DW_AGENT_REQUEST_MS */
	DW_OP_EXEC,    /* a command is being started, runs, or has ended with output left to forward; see exec.c */
	DW_OP_CONNECT, /* a connection is being made, or open; see connect.c */
	DW_OP_FILE,    /* a child does the work on the socket; ends when the child does, or the daemon hangs up */
	DW_OP_ENDING,  /* the final frame is in the out buffer; ends when it is sent, or the daemon hangs up */
};

enum dw_op_fd {
	DW_OP_SOCK = 0,
	DW_OP_STATUS, /* tells whether exec succeeded */
	DW_OP_STDIN,  /* of a command; the same terminal as DW_OP_STDOUT when there is one */
	DW_OP_STDOUT,
	DW_OP_STDERR,
	DW_OP_TTY,  /* the terminal's other side, held until the command has ended; never read nor written */
	DW_OP_PEER, /* the other end of a connection */
	DW_OP_FD_COUNT,
};

struct dw_op {
	enum dw_op_state state;
	uint32_t gen; /* of the slot; an event of an older one is stale */
	int fd[DW_OP_FD_COUNT];
	uint32_t events[DW_OP_FD_COUNT]; /* registered with epoll; 0 = not registered */
	uint8_t *in;                     /* received and not yet consumed: in[in_at..in_n) */
	size_t in_at, in_n, in_cap;
	uint8_t *out; /* at most one frame, to send: out[out_at..out_n) */
	size_t out_at, out_n;
	bool deaf;         /* epoll had no memory for one of the descriptors: ends at the end of this wake-up */
	uint64_t deadline; /* 0 = none */
	pid_t pid;         /* the child, until it is reaped; 0 = none */

	/* DW_OP_EXEC */
	uint32_t shown_pid; /* what STARTED says, also when the child was reaped before that is sent */
	bool started;       /* exec succeeded, STARTED was queued */
	bool exited;        /* the main process was reaped */
	bool timed_out;
	bool draining; /* only what was in the pipes when the linger time ended is still read */
	uint8_t turn;  /* which of the two streams is read first next time */
	uint8_t exit_code;
	bool by_signal;
	size_t drain[2]; /* bytes left to read of stdout and stderr */
	size_t left;     /* bytes of a STDIN or DATA payload at in_at that nobody has taken yet */
	bool on_tty;

	/* DW_OP_CONNECT; also out, in and left */
	uint16_t port;
	bool second_try; /* the second address is being tried */
	bool connected;  /* CONNECTED was queued */
	bool in_ended;   /* the daemon has said END, or the peer takes nothing any more */
	bool out_ended;  /* the peer has said all; END was queued */
	uint16_t fault;  /* why the connection broke; 0 = it did not */
};

/* Role and operation in epoll's data; the agent's own descriptors have roles from DW_OP_FD_COUNT on. */
#define DW_EVENT_CONTROL DW_OP_FD_COUNT
#define DW_EVENT_SIGNAL  (DW_OP_FD_COUNT + 1)

/* Takes sock. */
void dw_op_new(int sock);
void dw_op_dispatch(uint64_t epoll_data, uint32_t events);
/* Acts on deadlines that have passed; called once at the end of every wake-up. */
void dw_op_expire(void);
/* Milliseconds until the next deadline for epoll_wait; -1 = none. */
int dw_op_next_timeout(void);
/* A child was reaped; unknown ones are orphans. */
void dw_op_reaped(pid_t pid, int wait_status);
/* Ends every operation. */
void dw_op_abort_all(void);

/* Sets what epoll tells about a descriptor; 0 = nothing, not even a hang-up. */
void dw_op_watch(struct dw_op *op, enum dw_op_fd which, uint32_t events);
void dw_op_close_fd(struct dw_op *op, enum dw_op_fd which);
/* Releases everything but the processes. */
void dw_op_close(struct dw_op *op);
/* The same, and kills the processes first. */
void dw_op_abort(struct dw_op *op);

/* The next whole frame; MORE when it has not all come. The payload stays valid until dw_op_recv. */
enum dw_parse dw_op_frame(const struct dw_op *op, struct dw_agentp_frame *ret);
/* Receives without waiting: 1 = something came, 0 = nothing now, -1 = end of file, error or no memory. */
int dw_op_recv(struct dw_op *op);

/*
 * Room for a payload of up to DW_AGENTP_CHUNK bytes behind the header; NULL without memory. The buffer is empty
 * then.
 */
uint8_t *dw_op_out(struct dw_op *op);
/* Queues what was written to dw_op_out. */
void dw_op_queue(struct dw_op *op, enum dw_agentp_type type, size_t payload_n);
/* Sends without waiting. True when nothing is left; false when the socket is full, or the operation was aborted. */
bool dw_op_flush(struct dw_op *op);
/* The final frame is queued: closes everything but the socket and sends. */
void dw_op_end(struct dw_op *op);
void dw_op_error(struct dw_op *op, const struct dw_fault *f);
