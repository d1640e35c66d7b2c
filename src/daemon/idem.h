/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Idempotency keys of create: the same key and body give the same answer, and never a second sandbox. Each owner has its own.
 * In memory, bounded in number, bytes and age; when it is full, the oldest finished one of the owner who has the most goes first. Thread-safe;
 * time is an argument.
 */
#pragma once

#include <stdint.h>

#include "daemon/auth.h"

struct idem;

enum idem_state {
	IDEM_FULL = 0, /* every place is taken by a request under way */
	IDEM_NEW,      /* go on, then idem_finish or idem_abandon */
	IDEM_REPLAY,   /* *ret_text is the first answer; malloc'ed */
	IDEM_BUSY,     /* the first request is still under way */
	IDEM_MISMATCH, /* the key was used with another body */
};

struct idem *idem_new(void);
void idem_free(struct idem *t);
DW_DEFINE_CLEANUP(struct idem *, idem_free)

enum idem_state idem_begin(struct idem *t, const char *owner, const char *key,
			   const uint8_t body_hash[static AUTH_HASH_SIZE], int64_t now_ms, char **ret_text);
/* Keeps a copy of text for replays. */
void idem_finish(struct idem *t, const char *owner, const char *key, const char *text);
/* The request failed: the next one with this key starts afresh. */
void idem_abandon(struct idem *t, const char *owner, const char *key);
