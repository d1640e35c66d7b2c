/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records between the daemon, the keeper, the builder and a parked process. All of them are one program on one machine, so the
 * records are plain structs; each receiver still checks lengths, ranges and terminators, because it has more privileges.
 *
 * Every request to the keeper but CONFIRM carries one descriptor: the socket for its own reply. So requests of several threads never
 * mix, need no lock, and a keeper that dies answers all of them with an end of file.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/runtime.h"

#define DW_HOSTNAME_MAX 63

/* What a spec may ask for. The floor is what the agent and a shell need; the ceilings keep the arithmetic in range. */
#define DW_MEMORY_MB_MIN   16u
#define DW_MEMORY_MB_MAX   (1u << 22)
#define DW_PIDS_MIN        4u
#define DW_PIDS_MAX        4000000u
#define DW_CPU_PERCENT_MIN 1u
#define DW_CPU_PERCENT_MAX 102400u
#define DW_DISK_MB_MIN     1u
#define DW_DISK_MB_MAX     (1u << 22)

enum dw_keeper_op {
	DW_KEEPER_NONE = 0,
	DW_KEEPER_FILL,
	DW_KEEPER_CREATE,
	DW_KEEPER_CONFIRM, /* the caller has its handle; only from now on an exit is an event. Without answer */
	DW_KEEPER_DESTROY,
	DW_KEEPER_CHECK,
	DW_KEEPER_FREEZE, /* also asks again whether it has halted: the keeper does not wait for that */
	DW_KEEPER_THAW,
	DW_KEEPER_USAGE,
	DW_KEEPER_PACK, /* with the file to write to. The keeper does not wait: the answer comes when it is written */
};

struct dw_attach_rec {
	uint32_t mode; /* enum dw_attach_mode */
	char path[DW_ATTACH_PATH_MAX];
};

/* What a sandbox is given beside the host's template; of each there is a descriptor, in this order: detached mounts, but for the archive. */
struct dw_extras {
	uint32_t own_root, layer; /* 0 or 1 */
	uint32_t attach_n;
	struct dw_attach_rec attach[DW_ATTACH_MAX];
};
#define DW_EXTRA_FDS_MAX (2 + DW_ATTACH_MAX)

struct dw_keeper_req {
	uint32_t op;   /* enum dw_keeper_op */
	uint32_t slot; /* CONFIRM, DESTROY, FREEZE, THAW, USAGE, PACK */
	uint32_t memory_mb, pids_max, cpu_percent, disk_mb;
	uint32_t builder; /* 0 or 1 */
	char template_name[DW_TEMPLATE_NAME_MAX + 1];
	char hostname[DW_HOSTNAME_MAX + 1];
	uint64_t max_bytes;      /* PACK */
	struct dw_extras extras; /* CREATE: their descriptors follow the one for the reply */
};

/* The answer to each request, and the keeper's hello (with the gate namespace's descriptor). */
struct dw_keeper_rep {
	int32_t status; /* 0, or -1 with err */
	uint32_t slot;
	int32_t init_pid;
	uint32_t uid_base;
	uint32_t frozen;                           /* FREEZE: 1 when nothing inside runs any more */
	uint64_t cpu_us, memory_bytes, disk_bytes; /* USAGE */
	uint64_t packed_bytes;                     /* PACK */
	struct dw_err err;
};

struct dw_keeper_event {
	uint32_t slot; /* its PID 1 has ended */
};

enum dw_builder_op {
	DW_BUILDER_NONE = 0,
	DW_BUILDER_BUILD, /* with the child's end of the control socket */
	DW_BUILDER_CLEAN, /* one try to remove what the kernel leaves behind: cgroups, and the link's disappearance */
};

struct dw_builder_req {
	uint32_t op;
	uint32_t slot;
	uint32_t index; /* of the uid range */
};

/* BUILD: with the pidfd and the user namespace when pid > 0, also when a later step failed. */
struct dw_builder_rep {
	uint32_t op;
	uint32_t slot;
	int32_t errnum; /* 0 = done; CLEAN: EBUSY = try again */
	uint32_t step;  /* enum dw_step that failed */
	int32_t pid;
};

/* From a parked process before it becomes the agent, on the control socket. */
enum dw_child_tag {
	DW_CHILD_PARKED = 'P', /* with the directory that the overlays' upper directories are in */
	DW_CHILD_FAILED = 'F',
	DW_CHILD_READY = 'R', /* by the agent: a datagram of this one byte */
};

struct dw_child_msg {
	uint32_t tag;
	uint32_t step;
	int32_t errnum;
};

/*
 * To a parked process: become this sandbox. With descriptors: the root lower layer; the /usr lower layer, unless the root is a template's
 * own; the archive; for each attachment a mount.
 */
struct dw_child_go {
	uint32_t disk_mb;
	uint32_t builder; /* builds images: may mount inside */
	uint32_t
		foreign_lower; /* the root layer is not idmapped: make the writable directories anew, with right owners */
	char hostname[DW_HOSTNAME_MAX + 1];
	struct dw_extras extras;
};

static inline size_t dw_go_fds(const struct dw_extras *x)
{
	return (x->own_root ? 1 : 2) + x->layer + x->attach_n;
}

/* uids: 65536 per slot, above every range that useradd hands out. */
#define DW_UID_BASE       0x10000000u
#define DW_UID_COUNT      65536u
#define DW_SLOT_INDEX_MAX 60000u

static inline uint32_t dw_uid_base(uint32_t slot_index)
{
	return DW_UID_BASE + slot_index * DW_UID_COUNT;
}
_Static_assert(DW_UID_BASE + (uint64_t)DW_SLOT_INDEX_MAX * DW_UID_COUNT < 0xffff0000u, "uid ranges fit in 32 bits");
