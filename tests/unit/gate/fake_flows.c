/* SPDX-License-Identifier: Apache-2.0 */
#include "gate_test.h"

unsigned int fake_rejudged, fake_closed;
uint32_t fake_total = 7;
void (*fake_on_rejudge)(struct gate *g, struct gate_sandbox *s);

void gate_flows_rejudge(struct gate *g, struct gate_sandbox *s)
{
	fake_rejudged++;
	if (fake_on_rejudge)
		fake_on_rejudge(g, s);
}

void gate_flows_close_all(struct gate *g, struct gate_sandbox *s)
{
	fake_closed++;
}

uint32_t gate_flows_total(const struct gate *g)
{
	return fake_total;
}

void gate_udp_rejudge(struct gate *g, struct gate_sandbox *s)
{
}

void gate_udp_close_all(struct gate *g, struct gate_sandbox *s)
{
}
