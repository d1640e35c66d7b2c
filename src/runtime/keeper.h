/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper process: a table of slots, an epoll loop, no waiting. Files: keeper.c (start, loop, end), requests.c (what the daemon
 * asks), pool.c (the life of a slot), pack.c (reading a sandbox's files).
 */
#pragma once

#include <linux/filter.h>
#include <stdint.h>

#include "runtime/cgroup.h"
#include "runtime/keeper_proto.h"
#include "runtime/template.h"

/* How many requests may wait for a slot, and for how long. */
#define DW_PENDING_MAX  1024u
#define DW_PENDING_MS   15000
#define DW_SLOT_WAITERS 4u

enum dw_slot_state {
	DW_SLOT_FREE = 0,
	DW_SLOT_BUILDING, /* the builder, or the process itself, is not done */
	DW_SLOT_PARKED,
	DW_SLOT_LIVE,
	DW_SLOT_ENDED, /* PID 1 has ended by itself; the daemon has not destroyed it yet */
	DW_SLOT_DYING, /* killed; not yet reaped */
	DW_SLOT_DEAD,  /* nothing runs; cgroups and link are going */
};

struct dw_slot {
	enum dw_slot_state state;
	uint32_t number;
	pid_t pid;
	int pidfd, control_fd, userns_fd;
	int upper_fd;       /* what holds the upper directories of its overlays; opened before anything ran in it */
	bool built, parked; /* BUILDING: what has arrived */
	bool hung_up;       /* BUILDING: the process is gone, or never was */
	bool frozen;        /* LIVE: frozen, or about to be */
	bool confirmed;     /* LIVE, ENDED: the daemon knows it */
	bool event_sent;    /* ENDED */
	bool cleaning;      /* DEAD: the builder is at it */
	uint32_t failed_step;
	int failed_errnum;            /* BUILDING: what the process said, 0 = nothing */
	int waiters[DW_SLOT_WAITERS]; /* reply sockets of destroy requests */
	unsigned waiters_n;
};

/* A create request that waits for a slot. */
struct dw_pending {
	struct dw_keeper_req req;
	int reply_fd;
	int fds[DW_EXTRA_FDS_MAX];
	unsigned fds_n;
	int64_t deadline;
};

/* A process that reads a sandbox's files. */
struct dw_pack {
	int pidfd; /* 0: none, so that zero is an empty entry */
	int report_fd, reply_fd;
	uint32_t slot;
	uint64_t max_bytes;
	int64_t deadline;
	bool late;
};
#define DW_PACKS_MAX 8u

struct dw_keeper {
	unsigned pool, max_sandboxes;
	bool no_ipv6;
	int req_fd, event_fd, builder_fd, epoll_fd;
	pid_t builder_pid;
	struct dw_cgroups cgroups;
	struct dw_templates templates;
	struct sock_fprog filter, builder_filter;
	bool filled, stopping;

	struct dw_slot *slots; /* by index; with uid_offset it gives the uid range */
	uint32_t slots_n, next_index, last_number;
	uint32_t uid_offset;     /* so that two servers on a host hardly share uid ranges */
	uint16_t *by_number;     /* index + 1, by slot number */
	uint32_t *parked, *dead; /* stacks of indexes */
	uint32_t parked_n, dead_n, building_n, live_n, used_n, cleaning_n, unsent_n;

	struct dw_pending pending[DW_PENDING_MAX]; /* a ring */
	unsigned pending_first, pending_n;
	struct dw_pack packs[DW_PACKS_MAX];
	int64_t refill_at, clean_at, backoff_until;
	unsigned backoff_ms;
};

/* What epoll events stand for; the low half of the key is the slot's index. */
enum dw_keeper_source {
	DW_SOURCE_REQUEST = 1,
	DW_SOURCE_BUILDER,
	DW_SOURCE_PIDFD,
	DW_SOURCE_CONTROL,
	DW_SOURCE_PACK,
};

struct dw_keeper_config {
	const char *data_dir, *agent_path;
	unsigned pool, max_sandboxes;
	bool no_ipv6;
	int req_fd, event_fd;
};

/* Runs the keeper in a fresh child process; returns its exit status. */
int dw_keeper_main(const struct dw_keeper_config *config);

/* keeper.c */
int64_t dw_keeper_now(void); /* ms, monotonic */
int dw_keeper_watch(struct dw_keeper *k, enum dw_keeper_source source, uint32_t index, int fd);
/* Sends the answer (with fd, unless -1) and closes reply_fd. 0 or -errno. */
int dw_keeper_reply(int reply_fd, const struct dw_keeper_rep *rep, int fd);
void dw_keeper_reply_err(int reply_fd, const struct dw_err *err);

/* requests.c */
void dw_keeper_on_request(struct dw_keeper *k);
/* Serves waiting creates with parked slots. */
void dw_keeper_serve_pending(struct dw_keeper *k);
/* Answers the oldest waiting create with this error; false when none waits. */
bool dw_keeper_fail_pending(struct dw_keeper *k, const struct dw_err *err);
void dw_keeper_expire_pending(struct dw_keeper *k, int64_t now);

/* pack.c */
/* Takes both descriptors. */
void dw_pack_start(struct dw_keeper *k, const struct dw_slot *s, uint64_t max_bytes, int out_fd, int reply_fd);
void dw_pack_on_exit(struct dw_keeper *k, struct dw_pack *p);
/* Ends what reads this sandbox (0: any). Its callers hear it when it has ended. */
void dw_pack_end(struct dw_keeper *k, uint32_t number);
unsigned dw_pack_count(const struct dw_keeper *k);
/* Ends those that take too long; the next time when one may, or INT64_MAX. */
int64_t dw_pack_expire(struct dw_keeper *k, int64_t now);

/* pool.c */
int dw_pool_init(struct dw_keeper *k);
uint32_t dw_pool_uid_index(const struct dw_keeper *k, const struct dw_slot *s);
struct dw_slot *dw_pool_find(struct dw_keeper *k, uint32_t number);
/* Starts builds as needed; sets refill_at when it wants to be called later. */
void dw_pool_schedule(struct dw_keeper *k, int64_t now);
void dw_pool_clean(struct dw_keeper *k, int64_t now);
void dw_pool_on_builder(struct dw_keeper *k, const struct dw_builder_rep *rep, int *fds, size_t fds_n);
void dw_pool_on_control(struct dw_keeper *k, struct dw_slot *s);
void dw_pool_on_exit(struct dw_keeper *k, struct dw_slot *s);
/* From PARKED, LIVE or BUILDING-and-built to DYING. */
void dw_pool_kill(struct dw_keeper *k, struct dw_slot *s);
/* ENDED to DEAD. */
void dw_pool_bury(struct dw_keeper *k, struct dw_slot *s);
void dw_pool_tell_exit(struct dw_keeper *k, struct dw_slot *s);
void dw_pool_forget_control(struct dw_keeper *k, struct dw_slot *s);
