/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/output_share.h"

#include "daemon/bounds.h"

static atomic_size_t total;

static bool take(atomic_size_t *held, size_t n, size_t max)
{
	if (atomic_fetch_add(held, n) + n <= max)
		return true;
	atomic_fetch_sub(held, n);
	return false;
}

bool output_share_take(atomic_size_t *share, size_t n)
{
	if (!take(share, n, DAEMON_OUTPUT_SANDBOX_MAX))
		return false;
	if (take(&total, n, DAEMON_OUTPUT_TOTAL_MAX))
		return true;
	atomic_fetch_sub(share, n);
	return false;
}

void output_share_give(atomic_size_t *share, size_t n)
{
	atomic_fetch_sub(share, n);
	atomic_fetch_sub(&total, n);
}
