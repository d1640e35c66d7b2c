/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the manager's files only. */
#pragma once

#include <pthread.h>

#include "daemon/manager.h"

#define MANAGER_BUCKETS 1024u
#define MANAGER_EXITS   64u
#define MANAGER_NEVER   (INT64_MAX / 2)
#define MANAGER_CLAIMS  64u

/* A change of its state that is under way. */
enum pausing {
	PAUSING_NOT = 0,
	PAUSING_FREEZE,
	PAUSING_THAW,
	PAUSING_SNAPSHOT, /* it stands still for a moment, and is as it was afterwards */
};

struct sandbox {
	struct sandbox *chain;
	struct manager *m;
	unsigned refs, ops;   /* under the manager's lock */
	struct record record; /* state KILLED as soon as its end is decided; under the manager's lock */
	bool making;          /* not yet visible */
	bool of_build;        /* the server builds a template in it; its name is the build's id */
	bool dying;           /* somebody takes it apart now */
	bool exited;          /* PID 1 ended before it was visible */
	atomic_size_t output_held;
	atomic_uint ports;
	int64_t due_ms; /* monotonic: when the reaper takes it */

	struct metrics metrics;  /* under the manager's lock */
	enum pausing pausing;    /* under the manager's lock */
	int64_t freeze_until_ms; /* the reaper pauses it, and gives up then; else 0 */
	bool pause_on_timeout, auto_resume;

	uint32_t slot;
	int agent_fd;
	struct dw_addr addr4, addr6;

	pthread_mutex_t gate_lock;   /* of what follows; taken before the manager's lock, never the other way round */
	struct network_spec network; /* its observe also under the manager's lock */
	uint64_t attached_in;        /* instance of the gate that has the policy; 0 = none */
	bool detached;               /* for good */
};

struct manager {
	struct manager_config config;
	pthread_mutex_t lock;
	pthread_cond_t wake;   /* the reaper: something is due sooner */
	pthread_cond_t change; /* an entry left the table, or its teardown failed */
	struct sandbox *bucket[MANAGER_BUCKETS];
	unsigned alive;          /* and visible: running or paused */
	uint64_t created, ended; /* that were visible */
	bool stop;
	int stop_fd; /* readable when the threads must end */
	/* Slots that ended while no entry had them: a create may be about to enter one. */
	uint32_t exits[MANAGER_EXITS];
	unsigned exits_at;
	char claims[MANAGER_CLAIMS][RECORD_ID_SIZE]; /* sandboxes that are being restored; "" = free */
	pthread_t reaper, watcher, sampler;
	unsigned threads;
};

/* The entry, whatever its state; the lock is held. */
struct sandbox *manager_find(struct manager *m, const char *id);
/* Into the table (no other entry has its id) and out of it; the lock is held. The table's reference comes from the caller,
 * and goes back to it. */
void manager_link(struct sandbox *s);
void manager_unlink(struct sandbox *s);
void manager_unref_locked(struct sandbox *s, bool *ret_last);
/* A reference to one that is alive, paused or not, to look at or to take rights away from. NOT_FOUND, GONE, INTERNAL. */
int manager_look(struct manager *m, const char *id, struct sandbox **ret, struct dw_err *err);
/*
 * The same for what a client does to it or in it: CONFLICT "build_sandbox" for one that the server builds a template in. Programs there may
 * mount, and with that use up what the kernel shares among all sandboxes (terminals, file systems): only the server's own run with that right.
 */
int manager_reach(struct manager *m, const char *id, struct sandbox **ret, struct dw_err *err);
/* Drops a reference; frees with the last one. */
void manager_unref(struct sandbox *s);
/* Decides its end: clients see it killed, the reaper takes it. The lock is held. */
void manager_condemn(struct sandbox *s, const char *reason);
/* Takes apart an entry that the caller has marked dying, and drops the caller's reference. */
int manager_take_apart(struct sandbox *s, struct dw_err *err);

/*
 * manager_pause.c; the lock is held, and may be let go of meanwhile. For an operation: CONFLICT "sandbox_paused", unless its lifecycle
 * says that this wakes it. GONE.
 */
int manager_awake_locked(struct sandbox *s, struct dw_err *err);
/* For who changes it. Waits until nobody else does; the lock is held. GONE when it was killed meanwhile. */
int manager_take_turn(struct sandbox *s, struct dw_err *err);
void manager_end_turn(struct sandbox *s);
/* Halts all that is inside; the lock is not held. As manager_pause. */
int manager_freeze(struct sandbox *s, struct dw_err *err);
/* What the keeper says of a sandbox that has ended is what clients hear of one. Returns -1. */
int manager_keeper_error(struct sandbox *s, struct dw_err *err);
/* The reaper's: its time is up, and it is to be paused then. It is due again while that is under way. */
void manager_pause_due(struct sandbox *s);

/* All but its generation and wait_ms, under this network. */
struct gatectl_attach manager_attachment(const struct sandbox *s, const struct network_spec *network);
/* wait_ms: for a gate that is just being started again. */
int manager_gate_attach(struct sandbox *s, unsigned wait_ms, struct dw_err *err);
int manager_gate_detach(struct sandbox *s, struct dw_err *err);

/* manager_metrics.c */
void *manager_sampler_main(void *arg);

/* reaper.c */
int manager_threads_start(struct manager *m, struct dw_err *err);
void manager_threads_stop(struct manager *m);
