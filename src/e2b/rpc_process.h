/* SPDX-License-Identifier: Apache-2.0 */
/* What the calls about processes share. */
#pragma once

#include "daemon/proc.h"
#include "e2b/api.h"
#include "e2b/connect.h"
#include "e2b/message.h"

/* A reference to the one that the field `process` selects, by pid or tag. NOT_FOUND "process_not_found", and what says that the sandbox does not run. */
int DW_MUST_USE rpc_process_find(struct http_request *rq, struct proc **ret, struct dw_err *err);
/* The field `pty`: *ret_present is false, and the rest untouched, without it. */
int DW_MUST_USE rpc_process_size(const json_t *message, bool *ret_present, uint16_t *cols, uint16_t *rows,
				 struct dw_err *err);
