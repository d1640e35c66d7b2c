/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches whose events are fetched by one call after the other: for clients that can not read a stream. Nobody reads in between: what
 * happens waits in the agent and in its queue in the kernel, and is bounded there. A watch ends when it is removed, when nobody has
 * asked for an hour, or with its sandbox.
 */
#pragma once

#include "core/err.h"

struct watchers;

int DW_MUST_USE watchers_new(struct watchers **ret, struct dw_err *err);
/* No request is under way any more. NULL does nothing. */
void watchers_free(struct watchers *all);
