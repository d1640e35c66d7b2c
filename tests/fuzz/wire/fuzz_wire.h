/* SPDX-License-Identifier: Apache-2.0 */
/* What the fuzz targets of src/wire share. */
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/macros.h"
#include "core/rd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property that holds for every input. */
#define MUST(cond)                        \
	do {                              \
		if (!(cond))              \
			__builtin_trap(); \
	} while (0)

static inline bool span_within(struct dw_span s, const uint8_t *data, size_t size)
{
	return s.n == 0 || (s.p >= data && s.p + s.n <= data + size);
}
