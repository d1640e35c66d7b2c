/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes from one socket to the other, one direction at a time.
 *
 * A direction is a source and a sink plus what is on its way between them, in this order: `buf`, bytes that were
 * read to be looked at, and then `pipe`, bytes that were spliced and never seen. Of buf only [off, ok) may be sent: what
 * lies behind ok has no verdict yet. A direction that is held reads nothing by splice; its owner reads into buf, moves
 * ok, and opens it for good with relay_open().
 *
 * A pipe belongs to a direction only while bytes are in it. Half-close is two flags: eof (the source has ended) and fin
 * (the sink was told, after everything before it was sent).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/macros.h"

/* A ClientHello or a request head (64 KiB each, see wire/) and then some, so that "too big" is seen and not guessed. */
#define RELAY_BUF_MAX (65536u + 1024u)

struct relay_pipe {
	struct relay_pipe *next; /* in the pool */
	int rd, wr;
	size_t n; /* bytes in it */
};

struct relay_pool {
	struct relay_pipe *free;
	unsigned free_n;
};

struct relay_dir {
	uint8_t *buf;
	size_t cap, off, ok, n; /* off <= ok <= n <= cap */
	struct relay_pipe *pipe;
	bool held; /* the owner reads; nothing is spliced */
	bool bulk; /* ... all there is, and not only a beginning: large reads from the first on */
	bool shut; /* the owner takes nothing more from the source (a refusal); treated like eof once sent */
	bool keep; /* the sink stays open behind eof: the owner has something to add */
	bool eof, fin;
	uint64_t bytes; /* handed to the sink */
};

enum relay_result {
	RELAY_OK = 0,    /* as far as it goes now */
	RELAY_RESET,     /* one of the sockets is broken */
	RELAY_RESOURCES, /* no pipe or memory */
};

/* Moves what can be moved, at most a bounded number of bytes. from and to are non-blocking sockets. */
enum relay_result relay_pump(struct relay_pool *pool, struct relay_dir *d, int from, int to);

/* Reads once into buf. RELAY_OK with *ret_n == 0: nothing now, or eof is set. Needs relay_room(). */
enum relay_result relay_read(struct relay_dir *d, int from, size_t *ret_n);
/* Whether buf can take more. */
bool relay_room(const struct relay_dir *d);
/* Puts bytes of the gate's own at the end of what may be sent. */
enum relay_result relay_append(struct relay_dir *d, const void *p, size_t n);

/* Everything read so far may go, and the rest is spliced. */
void relay_open(struct relay_dir *d);
/* Drops what has no verdict and takes nothing more from the source; fin follows when the rest is sent. */
void relay_shut(struct relay_dir *d);

/* What the direction waits for. */
bool relay_wants_read(const struct relay_dir *d);
bool relay_wants_write(const struct relay_dir *d);
/* Bytes that may be sent and are not yet. */
bool relay_pending(const struct relay_dir *d);

/* Gives pipe and buffer back. */
void relay_dir_done(struct relay_pool *pool, struct relay_dir *d);
