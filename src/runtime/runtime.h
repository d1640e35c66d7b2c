/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runtime: makes, holds and destroys sandboxes. It is a process of its own (the keeper), forked before the daemon has
 * threads; the daemon talks to it over a socket pair with fixed records and descriptors. When that socket closes, for
 * whatever reason, the keeper destroys everything it made and exits: a daemon that dies leaves nothing behind.
 *
 * A slot is everything that can be made ahead for any template: namespaces, the link into the gate namespace with addresses,
 * routes and permanent neighbours, cgroups with limits, and a process parked inside them. Slots are destroyed, never
 * reused, and their numbers (so their addresses) come round only after all others were used.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/addr.h"
#include "core/err.h"

#define DW_TEMPLATE_NAME_MAX 63
#define DW_ATTACH_MAX        8
#define DW_ATTACH_PATH_MAX   256

struct dw_runtime_config {
	const char *data_dir;   /* templates and scratch below it; exists, root only */
	const char *agent_path; /* the static agent program; opened once */
	unsigned pool;          /* parked slots to hold ready (default 4) */
	unsigned max_sandboxes; /* alive at one time */
	bool no_ipv6;           /* sandboxes have IPv4 alone */
};

enum dw_attach_mode {
	DW_ATTACH_READ_ONLY = 0, /* mounted: later changes outside are seen inside */
	DW_ATTACH_COPY,          /* copied into the sandbox's own disk, to be written there */
};

/* A directory that a sandbox gets beside its template's. */
struct dw_attach {
	int dir_fd; /* O_PATH; regular files and directories, owned by 1000 on the host's disk and then by 1000 inside */
	enum dw_attach_mode mode;
	char path[DW_ATTACH_PATH_MAX]; /* where: absolute, no "." or ".." and no empty parts; made when absent */
};

/* Whether the path is as above, and not the root or in /proc, /dev or /sys, which are every sandbox's own. */
bool dw_attach_path_ok(const char *path);

/* Descriptors are borrowed for the call; one that is not given is -1, not 0. */
struct dw_sandbox_spec {
	const char *template_name; /* "base", "python", "node"; with root_fd only a name for messages */
	int root_fd; /* O_PATH directory: the root of a template of its own, uids as inside; -1: the host's template_name */
	int layer_fd; /* an archive of dw_runtime_pack, which its writable layer starts with; -1: empty */
	const struct dw_attach *attach; /* no path inside another's */
	size_t attach_n;                /* at most DW_ATTACH_MAX */
	bool builder;                   /* makes images: some more system calls */
	const char *hostname;           /* a valid host name label */
	uint32_t memory_mb;             /* memory limit */
	uint32_t pids_max;
	uint32_t cpu_percent; /* of one core; 200 = two cores */
	uint32_t disk_mb;     /* size of the writable tmpfs */
};

struct dw_sandbox_handle {
	uint32_t slot;  /* the key for destroy and for exit events */
	pid_t init_pid; /* PID 1 of the sandbox as the host sees it */
	int agent_fd; /* control socket to the agent (proto/agentp.h); the agent has said it is ready. Owned by the caller */
	struct dw_addr addr4, addr6; /* addr6 of no family: it has none */
	uint32_t uid_base;           /* host uid of the sandbox's root */
};

struct dw_runtime;

/*
 * Forks the keeper and waits until it has its gate namespace and templates; no slot is made yet (dw_runtime_fill). Must be called
 * while the process has one thread. 0, or -1 with err and nothing left behind.
 */
int DW_MUST_USE dw_runtime_start(const struct dw_runtime_config *config, struct dw_runtime **ret, struct dw_err *err);

/* Asks the keeper to destroy everything and waits until it is gone. */
void dw_runtime_stop(struct dw_runtime *rt);

/* The gate's network namespace; borrowed. Lives as long as the keeper, so it outlives a gate. */
int dw_runtime_gate_netns_fd(const struct dw_runtime *rt);

/* Readable when the keeper died or an exit event waits (dw_runtime_next_exit). Borrowed. */
int dw_runtime_event_fd(const struct dw_runtime *rt);
/* 1 and *ret_slot: PID 1 of that sandbox has ended by itself (still to be destroyed by the caller); 0: nothing now; -1: the keeper is gone. */
int dw_runtime_next_exit(struct dw_runtime *rt, uint32_t *ret_slot);

/* Starts to fill the pool; call when the gate has set up its namespace. Thread-safe. */
int dw_runtime_fill(struct dw_runtime *rt, struct dw_err *err);

/*
 * Takes a parked slot (makes one if none is ready), gives it the template and waits for the agent. Thread-safe. Errors: INVALID
 * "unknown_template"; UNPROCESSABLE "template_unavailable" (its interpreter is not on this host); LIMIT
 * "too_many_sandboxes"; INTERNAL. On an error nothing of the attempt is left behind.
 */
int DW_MUST_USE dw_runtime_create(struct dw_runtime *rt, const struct dw_sandbox_spec *spec,
				  struct dw_sandbox_handle *ret, struct dw_err *err);

/*
 * Kills every process of the sandbox and takes it apart. Returns when no process of it runs any more; links, mounts and
 * cgroups follow behind. Idempotent: an unknown slot is fine. Thread-safe.
 */
int dw_runtime_destroy(struct dw_runtime *rt, uint32_t slot, struct dw_err *err);

/*
 * Halts every process of the sandbox; its memory and its connections stay. Does not wait: *ret_frozen says whether all of it
 * stands still by now, so call again until it does. Thread-safe. NOT_FOUND: it has ended; UNPROCESSABLE: the host can not.
 */
int DW_MUST_USE dw_runtime_freeze(struct dw_runtime *rt, uint32_t slot, bool *ret_frozen, struct dw_err *err);
/* Lets it go on. Fine when it was not halted. Thread-safe. NOT_FOUND: it has ended. */
int DW_MUST_USE dw_runtime_thaw(struct dw_runtime *rt, uint32_t slot, struct dw_err *err);

/* What a sandbox has used and uses, as the host counts it. */
struct dw_usage {
	uint64_t cpu_us;       /* of all its processes together, since it was made */
	uint64_t memory_bytes; /* its files are part of it, because they are in memory */
	uint64_t disk_bytes;   /* its files */
};
/* Thread-safe; also for one that is halted. NOT_FOUND: it has ended. */
int DW_MUST_USE dw_runtime_usage(struct dw_runtime *rt, uint32_t slot, struct dw_usage *ret, struct dw_err *err);

/*
 * Writes what the sandbox has changed of its template, and what was copied into it, to out_fd (a regular file, from where it stands) as an
 * archive for layer_fd: a pax tar. Freeze it first, or files that change meanwhile are torn. A process without rights reads it; sockets are left
 * out. *ret_bytes: the archive's length. Thread-safe. NOT_FOUND: it has ended; TOO_LARGE "snapshot_too_large": longer than max_bytes;
 * INTERNAL. What out_fd has on an error is of no use.
 */
int DW_MUST_USE dw_runtime_pack(struct dw_runtime *rt, uint32_t slot, int out_fd, uint64_t max_bytes,
				uint64_t *ret_bytes, struct dw_err *err);

/* Whether a template name is known and usable here; the same errors as create. */
int DW_MUST_USE dw_runtime_template_check(struct dw_runtime *rt, const char *name, struct dw_err *err);
