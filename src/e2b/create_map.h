/* SPDX-License-Identifier: Apache-2.0 */
/* A create request of theirs as one of ours. Pure. */
#pragma once

#include "daemon/jsonx.h"

/*
 * timeout_s: when the request has none. default_allow: network_map.h. *ret: a new object, as POST /sandboxes takes it, which is still to be checked. INVALID: a wrong type, or
 * something that this server does not do.
 */
int DW_MUST_USE create_map(const json_t *body, uint32_t timeout_s, bool default_allow, json_t **ret,
			   struct dw_err *err);
/*
 * Whether a request wants memory to be kept (the member key, absent: yes), which is all that this server can do. INVALID
 * "unsupported_option" when not.
 */
int DW_MUST_USE create_map_memory(const json_t *obj, const char *key, struct dw_err *err);
