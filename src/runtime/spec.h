/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "runtime/keeper_proto.h"

/* Whether a CREATE record is well-formed and in range; used by both ends. 0, or -1 with err (INVALID). */
int DW_MUST_USE dw_spec_check(const struct dw_keeper_req *req, struct dw_err *err);
