/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `security` of a create request. Its network is ours to enforce; what looks into content this server does not have, and a control
 * that is asked for is never dropped in silence: it is warned of, or refused.
 */
#pragma once

#include <stdbool.h>

#include "daemon/jsonx.h"

struct security_spec {
	json_t *given;    /* as clients see it again; NULL for none */
	json_t *network;  /* of the policy inside; NULL for none */
	json_t *warnings; /* strings, one for each thing that is asked for and not done */
};

/*
 * Reads security: an object of its own, or one with the JSON text of it in policy_json. strict: what would be a warning is
 * UNPROCESSABLE "unsupported_security". INVALID when it is not well formed. *ret holds something on success only.
 */
int DW_MUST_USE security_spec_read(const json_t *body, bool strict, struct security_spec *ret, struct dw_err *err);
void security_spec_done(struct security_spec *s);
#define auto_security_spec __attribute__((cleanup(security_spec_done)))
