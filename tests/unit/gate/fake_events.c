/* SPDX-License-Identifier: Apache-2.0 */
#include "gate_test.h"

char *fake_event[4096];
unsigned int fake_event_n;

void fake_events_clear(void)
{
	while (fake_event_n > 0)
		free(fake_event[--fake_event_n]);
}

void gate_control_event(struct gate *g, const char *event_json, size_t n)
{
	assert_true(fake_event_n < DW_COUNT(fake_event));
	fake_event[fake_event_n] = strndup(event_json, n);
	assert_non_null(fake_event[fake_event_n]);
	fake_event_n++;
}
