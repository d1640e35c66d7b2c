/* SPDX-License-Identifier: Apache-2.0 */
/* Test builds can make a step fail, as the runtime's steps can (DECLAW_TEST_FAIL). */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "core/err.h"

static inline int test_fails(const char *step, struct dw_err *err)
{
#ifdef DECLAW_TEST_HOOKS
	const char *want = getenv("DECLAW_TEST_FAIL");
	if (want && strcmp(want, step) == 0)
		return dw_err_set(err, DW_ERR_INTERNAL, "internal", "%s: made to fail", step);
#endif
	return 0;
}
