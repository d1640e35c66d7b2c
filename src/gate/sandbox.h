/* SPDX-License-Identifier: Apache-2.0 */
/* What of the sandbox table only the control socket asks for. */
#pragma once

#include "gate/gate.h"

/* Sandboxes attached now. */
uint32_t gate_sandboxes_count(const struct gate *g);
