/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pins of one sandbox: which allowed name was answered with which address. A pin is a handle for its name: it lives as
 * long as the table (the sandbox), while `expires` says until when the address may be dialled without asking again.
 * Time is an argument; bounded; no I/O.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/addr.h"
#include "policy/host.h"

#define DW_PINS_MAX \
	65536u /* (name, address) pairs per sandbox; about 8 MiB when full of usual names, 24 MiB of longest ones. Over it: SERVFAIL */

/*
 * Names of one address that a walk is worth: anybody's wildcard domain can pin as many names as a sandbox cares to ask for to
 * one address, and every SYN and datagram to it would look at them all.
 */
#define DW_PINS_WALK_MAX 64u

struct dw_pins;

struct dw_pin {
	const char *name;    /* canonical; owned by the table, stable until dw_pins_free */
	uint64_t expires_ms; /* monotonic ms: fresh while now < expires */
};

struct dw_pins *dw_pins_new(void); /* NULL when memory is out */
void dw_pins_free(struct dw_pins *t);
DW_DEFINE_CLEANUP(struct dw_pins *, dw_pins_free)

/* Adds or refreshes (keeps the later expiry). false: the limit or memory; then nothing changed. */
bool DW_MUST_USE dw_pins_add(struct dw_pins *t, const char *name, const struct dw_addr *a, uint64_t expires_ms);

/* The pin of this very pair, or false. */
bool dw_pins_find(const struct dw_pins *t, const char *name, const struct dw_addr *a, struct dw_pin *ret);

/*
 * Walks the names pinned to an address, the one added or refreshed last at first: start with *iter = 0; false at the end. Adding
 * meanwhile is not allowed. Who walks for every packet stops after DW_PINS_WALK_MAX.
 */
bool dw_pins_next(const struct dw_pins *t, const struct dw_addr *a, uint32_t *iter, struct dw_pin *ret);

uint32_t dw_pins_count(const struct dw_pins *t);
