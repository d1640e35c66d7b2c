/* SPDX-License-Identifier: Apache-2.0 */
#include "gate_test.h"

unsigned int fake_forgotten;

void gate_dns_forget(struct gate *g, struct gate_sandbox *s)
{
	fake_forgotten++;
}
