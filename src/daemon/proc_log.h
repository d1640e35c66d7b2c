/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one process wrote, as far as it is kept. Two parts: the head, the first bytes of each stream, which stays and is the result; and
 * the tail, the latest bytes of both together, whose oldest go when there are too many. Both are counted in the sandbox's
 * share (output_share.h), but for a little that every process has of its own. Bytes have positions, counted over both
 * streams from 0 in the order in which they came; a reader that fell behind what is kept is told how many it lost.
 *
 * Not locked: the owner's lock is held in every call. Once nothing is added any more, the head may be read without.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/macros.h"

enum proc_stream {
	PROC_OUT = 0,
	PROC_ERR,
	PROC_STREAMS,
};

struct proc_chunk;
struct proc_reader;

struct proc_log {
	size_t head_max; /* of each stream; 0 = there is no head */
	size_t tail_max;
	atomic_size_t *share; /* NULL: nothing is counted but here */
	struct proc_chunk *first, *last;
	struct proc_chunk *tail_first; /* the oldest that may go */
	uint64_t end;                  /* the position behind the last byte */
	size_t head_n[PROC_STREAMS];
	size_t head_cost, tail_cost;  /* memory, chunks' own included */
	bool truncated[PROC_STREAMS]; /* some of the stream is not in the head */
	struct proc_reader *readers;
};

/* One who follows from a position on. The log's until it is closed. */
struct proc_reader {
	struct proc_reader *next;
	struct proc_chunk *chunk; /* where it reads; NULL = to be looked for */
	uint64_t at;
	bool cut; /* it does not count for what has been read */
};

void proc_log_init(struct proc_log *l, size_t head_max, size_t tail_max, atomic_size_t *share);
/* No reader is open any more. */
void proc_log_done(struct proc_log *l);
/* Memory or share that is out costs the oldest of the tail, or these bytes: readers are told. */
void proc_log_add(struct proc_log *l, enum proc_stream stream, const void *data, size_t n);
/* Memory that it holds. */
size_t proc_log_cost(const struct proc_log *l);

/* Drops of the tail what every reader has had; without a reader all of it. */
void proc_log_forget_read(struct proc_log *l);
/* Readers that have not had everything will be told that they have lost it. */
void proc_log_cut(struct proc_log *l);

/* at beyond the end is the end. */
void proc_reader_open(struct proc_log *l, struct proc_reader *r, uint64_t at);
void proc_reader_close(struct proc_log *l, struct proc_reader *r);
/*
 * The next bytes of one stream, at most max; 0 when there are none now, or when *ret_lost bytes are not kept any more (then the
 * reader stands behind them). Neighbouring bytes of a stream come together as far as they are there.
 */
size_t proc_reader_next(struct proc_log *l, struct proc_reader *r, void *buf, size_t max, enum proc_stream *ret_stream,
			uint64_t *ret_lost);

/* Reads the head of one stream. {} is its start. */
struct proc_head_at {
	const struct proc_chunk *chunk;
	size_t at;
	bool begun;
};
/* 0 = that was all. */
size_t proc_log_head_next(const struct proc_log *l, struct proc_head_at *at, enum proc_stream stream, char *buf,
			  size_t max);
