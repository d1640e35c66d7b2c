/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that outlive the request which started them: background commands, terminals, and programs that are talked to over their
 * standard streams. Each is one operation with its sandbox's agent.
 *
 * One thread reads what all of them write, and never waits for anybody: what comes is kept (proc_log.h) within bounds. Requests wait
 * in their own threads for news of one process, each by a descriptor of its own (struct proc_waiter), because they
 * also wait for their client. What goes in stands in a short queue for each process; when the program inside does not take it, the
 * queue stays full and only requests for that process wait.
 *
 * An entry is in the table from when its program runs. A finished one stays for a client to ask how it ended: until a while after
 * the first was told, or until a long while after the end when nobody asks, or until others need its place. Entries of a sandbox that
 * has ended go with it.
 */
#pragma once

#include "daemon/agentc.h"
#include "daemon/proc_log.h"

#define PROC_ID_SIZE 24

enum proc_kind {
	PROC_COMMAND = 0,
	PROC_PTY,
	PROC_STDIO,
};

struct procs;
struct proc; /* reference counted */

int DW_MUST_USE procs_new(struct procs **ret, struct dw_err *err);
/* Ends every process. No request is under way any more. */
void procs_free(struct procs *t);

struct proc_spec {
	enum proc_kind kind;
	const struct agent_command *command;
	double timeout_s; /* as the client wrote it, for the note */
	const char *tag;  /* by which it can be found; NULL = none */
	/*
	 * It waits for its readers, as for the other end of a pipe: also for the first before that has come, and for none when all have
	 * gone. So nothing that it writes is lost, and what it can not get rid of it does not write. A reader that takes nothing for
	 * DAEMON_PROC_STALL_MS, or that keeps others waiting for DAEMON_PROC_LAG_MS, is not waited for any more, and is told what it
	 * has lost. Nothing is kept that was read.
	 */
	bool paced;
};
/*
 * Returns when the program runs; *ret is a reference. client_fd: whose hang-up ends the start. What agent_command_start and agent_op_error
 * say; LIMIT "too_many_processes".
 */
int DW_MUST_USE procs_start(struct procs *t, struct manager *m, const char *sandbox, int client_fd, int stop_fd,
			    const struct proc_spec *spec, struct proc **ret, struct dw_err *err);
/* The sandbox was killed, and another will have its id: nobody finds what ran in it. Who waits for it hears of its end. */
void procs_forget(struct procs *t, const char *sandbox);
/* A reference to the one with this id (a pid as text, or a stdio id); NULL when there is none of that kind. */
struct proc *procs_find(struct procs *t, const char *sandbox, enum proc_kind kind, const char *id);
/* The same for a command or a terminal, one that runs before one that has ended; by pid as text, or by tag. */
struct proc *procs_find_pid(struct procs *t, const char *sandbox, const char *pid);
struct proc *procs_find_tag(struct procs *t, const char *sandbox, const char *tag);
void proc_unref(struct proc *p);
DW_DEFINE_CLEANUP(struct proc *, proc_unref)
/*
 * The background commands of a sandbox, oldest first, as clients see them: without those whose end somebody was told. NULL: no memory.
 * Of each, at most DAEMON_PROC_OWN bytes of the command (whole characters), less when there are many (DAEMON_PROC_LIST for all), and of
 * the environment, as JSON, as many or nothing ({}). One that is not whole has "truncated": true besides.
 */
json_t *procs_list(struct procs *t, const char *sandbox);

/* A process in a listing. */
struct proc_view {
	uint32_t pid;
	const char *cmd;     /* a shell's command; a program and its arguments are quoted for one */
	const char *program; /* of a program: {"cmd", "args", "cwd" if one was given} as JSON; otherwise NULL */
	const char *envs;    /* as JSON */
	const char *tag;     /* NULL = none */
};
/* Calls visit for each command and terminal of a sandbox that runs, oldest first, until it returns less than 0, which is returned. */
int DW_MUST_USE procs_each(struct procs *t, const char *sandbox, int (*visit)(void *arg, const struct proc_view *v),
			   void *arg);

/* Nothing of these changes. */
const char *proc_id(const struct proc *p);
uint32_t proc_pid(const struct proc *p);
enum proc_kind proc_kind(const struct proc *p);

/* Who waits for news of one process. */
struct proc_waiter {
	struct proc_waiter *next;
	struct proc *p; /* a reference */
	int fd;
	bool told; /* under the process's lock: the descriptor is readable already */
};
/* Takes its own reference. LIMIT "too_many_readers". */
int DW_MUST_USE proc_waiter_open(struct proc_waiter *w, struct proc *p, struct dw_err *err);
/* Harmless when p is NULL. */
void proc_waiter_close(struct proc_waiter *w);
enum proc_wait {
	PROC_WAIT_NEWS = 0,
	PROC_WAIT_LATE,      /* until_ms (clock_mono_ms) has come */
	PROC_WAIT_CANCELLED, /* the client has gone */
	PROC_WAIT_STOPPING,  /* the daemon stops */
};
/* Returns at once when there were news since the last look (proc_read, proc_end). */
enum proc_wait proc_wait(struct proc_waiter *w, int client_fd, int stop_fd, int64_t until_ms);

/* How it ended. */
struct proc_end {
	uint32_t exit_code;
	uint32_t signal; /* that ended it; 0 = none, and exit_code is its own */
	bool timed_out, killed, truncated;
	bool lost;                                                /* nobody knows how: error says why */
	char note[sizeof(((struct dw_err *)NULL)->message) + 16]; /* a line for stderr; "" = none */
	char error[sizeof(((struct dw_err *)NULL)->message)];     /* the same in words; "" when it ended by itself */
};
/* Whether it runs, as far as is known, and nobody has killed it. */
bool proc_runs(struct proc *p);
/* False while it runs. */
bool proc_end(struct proc_waiter *w, struct proc_end *ret);
/* Somebody was told its end: it leaves the list, and the table after a while. */
void proc_told(struct proc *p);

/* A reader's next bytes: as proc_reader_next. */
void proc_reader_begin(struct proc_waiter *w, struct proc_reader *r, uint64_t at);
/* For a terminal: what was written before the first reader came is for that one; others begin with what comes next. */
void proc_reader_begin_live(struct proc_waiter *w, struct proc_reader *r);
void proc_reader_finish(struct proc_waiter *w, struct proc_reader *r);
size_t proc_read(struct proc_waiter *w, struct proc_reader *r, void *buf, size_t max, enum proc_stream *ret_stream,
		 uint64_t *ret_lost);
/* Bytes of the head; only of one that has ended. */
size_t proc_head(const struct proc *p, struct proc_head_at *at, enum proc_stream stream, char *buf, size_t max);

/*
 * Standard input: returns when all was taken. CONFLICT: "stdin_full" when the program did not take it in time, or memory ran out behind
 * a part of it, with how much was taken;
 * "stdin_closed"; "process_ended". Two requests never mix their bytes.
 */
int DW_MUST_USE proc_stdin(struct proc *p, const void *data, size_t n, int client_fd, int stop_fd, struct dw_err *err);
/* After it no more input; fine when it was closed before or the process has ended. CONFLICT "stdin_full". */
int DW_MUST_USE proc_stdin_close(struct proc *p, int client_fd, int stop_fd, struct dw_err *err);
/* A short frame, behind the input that is on its way. CONFLICT "process_ended", "stdin_full". */
int DW_MUST_USE proc_control(struct proc *p, enum dw_agentp_type type, const void *payload, size_t n,
			     struct dw_err *err);
/* Ends it, with all its processes, and waits for that for a moment. Whether it was running. */
bool proc_kill(struct proc *p);
