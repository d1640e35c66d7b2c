/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The surface that E2B's published clients speak, below /e2b: the sandboxes' control with an API key, and what those clients call
 * envd, the calls about processes and files of one sandbox, which name it in a header and carry its token (target.h).
 */
#pragma once

#include "daemon/routes.h"

extern const struct route_table e2b_routes;
/* At the root: URLs of one file, signed with a sandbox's token. */
extern const struct route_table e2b_signed_routes;
/* Requests to ports of a sandbox, which name it by Host or by headers: no path belongs to it, so its prefix is one that none has. */
extern const struct route_table e2b_port_routes;
/* struct route_tables's choose: that table, or NULL. */
const struct route_table *e2b_choose(const struct http_request *rq);
