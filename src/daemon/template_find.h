/* SPDX-License-Identifier: Apache-2.0 */
/* From the name of a template in a request to a sandbox made of it. */
#pragma once

#include "daemon/create_spec.h"
#include "daemon/proc.h"
#include "daemon/store_templates.h"

/*
 * When spec names a template of its owner's: its root, sizes, environment (below the request's own) and commands go into spec, and its
 * id into the record. One of the host's is left to the runtime. mb_max: what template_mb_max says. NOT_FOUND "unknown_template",
 * CONFLICT "template_not_ready", UNPROCESSABLE "template_too_large".
 */
int DW_MUST_USE template_find(struct store *s, const char *data_dir, uint32_t mb_max, struct create_spec *spec,
			      struct dw_err *err);

/* What the operator said (--template-memory) of memory and disk together; half of the machine's memory when nothing (0). */
uint32_t template_mb_max(uint32_t option);

/* Runs the start command in the background, and waits until ready_check (NULL: none) succeeds. UNPROCESSABLE "start_failed". */
int DW_MUST_USE template_start(struct procs *procs, struct manager *m, int stop_fd, const char *sandbox,
			       const char *start_cmd, const char *ready_check, struct dw_err *err);
