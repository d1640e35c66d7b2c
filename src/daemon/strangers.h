/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections on which no valid key has been shown yet. Anybody can open them, and each takes a place and a thread, so they get little
 * time, and less when there are many: the places belong to clients with a key. A connection that is idle costs the
 * same as one that sends a byte now and then, so what counts is the time since it began.
 */
#pragma once

#include <stdbool.h>

struct strangers;
struct stranger;

/* Starts the thread that ends them. NULL when memory or threads are out. */
struct strangers *strangers_new(void);
/* Every stranger has left. NULL does nothing. */
void strangers_free(struct strangers *all);

/* fd stays the caller's, and open until strangers_leave. NULL when memory is out. */
struct stranger *strangers_enter(struct strangers *all, int fd);
/* A valid key was shown: it is a stranger no longer. */
void strangers_vouch(struct strangers *all, struct stranger *s);
/* Whether it still is one. */
bool strangers_has(struct strangers *all, struct stranger *s);
/* The connection ends; frees s. */
void strangers_leave(struct strangers *all, struct stranger *s);
