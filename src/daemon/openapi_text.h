/* SPDX-License-Identifier: Apache-2.0 */
/* docs/openapi.json, compiled in by tools/embed.py. */
#pragma once

#include <stddef.h>

/* No NUL behind it. */
extern const char openapi_text[];
extern const size_t openapi_text_n;
