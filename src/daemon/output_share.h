/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What commands wrote and the daemon still holds, in bytes: counted for each sandbox, so that no flood of one takes what others need,
 * and for all together. A number that all threads share.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* share: of the sandbox. False, with nothing taken, when n more bytes are too many. */
bool output_share_take(atomic_size_t *share, size_t n);
void output_share_give(atomic_size_t *share, size_t n);
