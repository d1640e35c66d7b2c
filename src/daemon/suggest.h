/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what a sandbox was seen to do to the smallest policy that allows just that. Pure.
 *
 * Least rights first, so every entry has a port and no entry has a pattern; then fewest entries, so ports that are neighbours become one
 * range. A name is better than an address, because it must be proven and its addresses may change; an address stands for itself
 * only where no name stood for it, or where the flow showed none.
 */
#pragma once

#include "daemon/store.h"

struct suggestion;

struct suggestion *suggestion_new(void);
void suggestion_free(struct suggestion *s);
DW_DEFINE_CLEANUP(struct suggestion *, suggestion_free)

/* One row, in any order; arg is the suggestion. */
void suggestion_add(void *arg, const struct observed *o);

/*
 * {"network":{"allow_out":[...]},"entries":[{"entry","why","count","protocols","first","last"}],"not_coverable":[{"protocol",
 * "name"|"addr","port","reason","why","count","first","last"}],"overflow":N}, sorted by entry. NULL when memory is out.
 */
json_t *suggestion_json(struct suggestion *s, int64_t overflow);
