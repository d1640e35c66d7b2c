/* SPDX-License-Identifier: Apache-2.0 */
#include "e2b/routes.h"

#include "e2b/api.h"
#include "e2b/target.h"

/* clang-format off */
static const struct route table[] = {
	{ "GET",    "/e2b/health",                 e2b_health,       ROUTE_NONE, .admit = e2b_target },
};
/* clang-format on */

const struct route_table e2b_routes = { .prefix = "/e2b", .route = table, .n = DW_COUNT(table), .fail = e2b_fail };
