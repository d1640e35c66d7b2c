/* SPDX-License-Identifier: Apache-2.0 */
/* The named steps of a create. Errors name them, and test builds can make each of them fail. */
#pragma once

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum dw_step {
	DW_STEP_NONE = 0,
	/* outside: builder and keeper */
	DW_STEP_CGROUP_MAKE,
	DW_STEP_CLONE,
	DW_STEP_USERNS_MAP,
	DW_STEP_LINK,
	DW_STEP_GATE_ROUTE,
	DW_STEP_CGROUP_LIMIT,
	DW_STEP_IDMAP,
	DW_STEP_LOWER,
	DW_STEP_ATTACH_CLONE,
	DW_STEP_GO,
	DW_STEP_READY,
	/* inside, made ahead */
	DW_STEP_CGROUP_JOIN,
	DW_STEP_TMPFS,
	DW_STEP_DEV,
	DW_STEP_PROC,
	DW_STEP_ADDRESS,
	DW_STEP_ROUTE,
	/* inside, on request */
	DW_STEP_LAYER,
	DW_STEP_OVERLAY,
	DW_STEP_ATTACH,
	DW_STEP_PIVOT,
	DW_STEP_CAPS,
	DW_STEP_SECCOMP,
	DW_STEP_EXEC,
	/* reading a sandbox's files */
	DW_STEP_PACK_START,
	DW_STEP_PACK,
	DW_STEP__COUNT,
};

/* Names by enum dw_step; entry 0 is "none", and a NULL ends the list. */
extern const char *const dw_runtime_steps[DW_STEP__COUNT + 1];

/* Whether the tests want this step to fail now. Always false outside test builds. */
static inline bool dw_step_fails(enum dw_step step)
{
#ifdef DECLAW_TEST_HOOKS
	const char *want = getenv("DECLAW_TEST_FAIL");
	return want && strcmp(want, dw_runtime_steps[step]) == 0;
#else
	(void)step;
	return false;
#endif
}
