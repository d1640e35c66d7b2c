/* SPDX-License-Identifier: Apache-2.0 */
/* How busy the resolver is. */
#pragma once

#include "gate/gate.h"

/* Questions that libunbound has under way at one time; more wait for one of them, whoever asked. */
#define GATE_RESOLVE_SLOTS 4096u
/* How many there are, of everybody. */
uint32_t gate_resolves_outstanding(const struct gate *g);

/* For tests: the program ends without. Ends the thread and forgets everything outstanding: no callback runs any more. */
void gate_resolver_done(struct gate *g);
