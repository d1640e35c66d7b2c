/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the process table's files only. Locks: the table's before a process's. */
#pragma once

#include <pthread.h>

#include "daemon/proc.h"
#include "daemon/proc_feed.h"

#define PROC_BUCKETS 256u
/* In the place of an id, which none can be. */
#define PROC_BOX_FORGOTTEN "/"

/* The entries of one sandbox. In the table while it has any, or one is being started. */
struct proc_box {
	struct proc_box *chain, **bucket; /* the next in it, and which it is in */
	struct sandbox *sandbox;          /* held */
	char id[RECORD_ID_SIZE];
	unsigned refs;    /* under the table's lock: one for each process that exists, and for each start */
	unsigned running; /* and being started */
	unsigned entries;
	unsigned waiters;
	struct proc *first, **last;
};

struct proc {
	struct procs *table;
	struct proc_box *box;
	enum proc_kind kind;
	uint32_t pid;
	char id[PROC_ID_SIZE];
	char *cmd, *envs; /* as JSON text; malloc'ed */
	char *program;    /* the same; NULL for a shell's command */
	char *tag;        /* malloc'ed; NULL = none */
	size_t text_cost; /* what of these is counted in the share */
	double timeout_s;
	int64_t deadline_ms; /* the agent should have ended it by then; 0 = none */

	/* Under the table's lock. */
	struct proc *next;
	unsigned refs;
	bool listed;       /* is in its box */
	bool finished;     /* does not count as running any more */
	int64_t forget_ms; /* of a finished one: when it leaves the table */
	size_t kept;       /* of a finished one: the memory of its result */
	bool told;         /* somebody knows its end */

	pthread_mutex_t lock; /* of what follows */
	int fd;               /* -1 = it has ended */
	struct proc_feed feed;
	struct proc_log log;
	struct proc_waiter *waiters;
	bool ended, timed_out, by_signal, killed, lost;
	bool joined; /* a terminal has had its first reader */
	uint32_t exit_code;
	int64_t kill_ms;   /* a kill was asked for: the socket is shut then for good */
	struct dw_err why; /* of one that was lost */

	/* proc_pace.c */
	bool paced;
	bool held;       /* it is not read */
	int64_t held_ms; /* since when */
	int64_t read_ms; /* when a reader last took something */
	uint8_t *stash;  /* what was received and not looked at: malloc'ed */
	size_t stash_n;
	struct proc *resume_next; /* under the table's resume_lock */
	bool resuming;            /* it is in the table's list, or was just taken from it */

	bool stdin_taken; /* a request writes; others wait */
	bool stdin_closed;
	uint8_t *out; /* frames to send: out[out_at..out_n); NULL when there are none */
	size_t out_at, out_n;
	bool out_watched; /* epoll tells when there is room */
};

struct procs {
	pthread_mutex_t lock;
	struct proc_box *bucket[PROC_BUCKETS];
	unsigned entries; /* listed and being started */
	unsigned waiters;
	size_t kept; /* memory of finished ones' results */
	int epoll_fd, wake_fd;
	pthread_mutex_t resume_lock; /* taken last */
	struct proc *resume;         /* held ones that the thread shall read again */
	atomic_bool stop;            /* the thread's */
	pthread_t thread;
	bool has_thread;
};

/* It has ended, and nothing changes in it any more: drops the thread's reference. The process's lock is not held. */
void proc_finished(struct proc *p);
/* Forgets what is due, and ends what should have ended. Once a second. */
void procs_sweep(struct procs *t);

/* proc_find.c. The table's lock is held. */
/* Where the box of a sandbox is, or would be: *it is NULL then. */
struct proc_box **proc_slot_locked(struct procs *t, const char *id);
/* The chain that a sandbox of this id is in. */
struct proc_box **proc_bucket_locked(struct procs *t, const char *id);
struct proc *proc_find_locked(const struct proc_box *box, enum proc_kind kind, const char *id);

/* proc_pace.c. The process's lock is held. */
/* Whether what was received now must wait for the reader; it is put aside then. */
bool proc_hold_locked(struct proc *p, struct dw_span data);
/* Something has changed: it is read again if that makes sense. */
void proc_pace_locked(struct proc *p);
/* Readers that were waited for long enough are waited for no more. */
void proc_pace_sweep_locked(struct proc *p, int64_t now_ms);
/* It waits for nobody any more. */
void proc_unpace_locked(struct proc *p);

/* proc_io.c */
void procs_wake(struct procs *t);
int procs_thread_start(struct procs *t, struct dw_err *err);
void procs_thread_stop(struct procs *t);
/* From here on the thread reads it, whose reference there is. The bytes in data came already. */
void proc_watch(struct proc *p, struct dw_span data);
/* Everybody who waits for news. The process's lock is held. */
void proc_tell_locked(struct proc *p);
/* Sends what the socket takes. The process's lock is held. */
void proc_flush_locked(struct proc *p);
/* Room in the queue for input, in bytes of payload. The process's lock is held. */
size_t proc_room_locked(const struct proc *p);
/* Appends a frame that has room. False when memory is out. The process's lock is held. */
bool proc_queue_locked(struct proc *p, enum dw_agentp_type type, const void *payload, size_t n);
