/* SPDX-License-Identifier: Apache-2.0 */
/* What GET /metrics says, as Prometheus reads it. */
#pragma once

#include "daemon/app.h"

/* Text format 0.0.4, malloc'ed, *ret_n bytes; NULL when memory is out. Label values are from the program's own tables alone. */
char *metrics_text(struct app *app, size_t *ret_n);
