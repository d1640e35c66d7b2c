/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the decision records share. Time is the loop's own number: windows end when a test says so. */
#pragma once

#include <jansson.h>

#include "gate/record.h"
#include "gate_test.h"

struct record_fixture {
	struct gate *g;
	struct gate_sandbox *s, *t; /* "one" and "two", with example.com and 10.0.0.0/8 */
};

int record_setup(void **state);
int record_teardown(void **state);

/* Lets a window pass without waiting for it: the loop's clock is the only one. */
void record_end_window(struct gate *g);

/* The event with this number since the last fake_events_clear(); json_decref it. */
json_t *record_event(unsigned int i);
const char *record_text(const json_t *o, const char *key); /* "(none)" when it is not there */
json_int_t record_number(const json_t *o, const char *key);

struct gate_record record_refusal(const struct gate_sandbox *s, const char *addr, uint16_t port);
