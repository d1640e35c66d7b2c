/* SPDX-License-Identifier: Apache-2.0 */
/* What of the resolver only tests need: the program ends without. */
#pragma once

#include "gate/gate.h"

/* Ends the thread and forgets everything outstanding: no callback runs any more. */
void gate_resolver_done(struct gate *g);
