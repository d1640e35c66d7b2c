/* SPDX-License-Identifier: Apache-2.0 */
/* What the gate's unit tests share: a gate without namespaces, policies from lists, fakes of the other parts. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gate/gate.h"

/* A gate with a loop and a sandbox table, no descriptors. */
struct gate *test_gate_new(void);
void test_gate_free(struct gate *g);
struct dw_addr test_addr(const char *text);

/* Lists end with NULL; allow == NULL: allow_out is absent. The image is mapped as control.c would. */
struct test_policy {
	void *image;
	size_t image_n;
	struct dw_policy *policy;
};
struct test_policy test_policy(const char *const *allow, const char *const *deny, bool default_allow);
struct test_policy test_policy_observing(const char *const *allow, const char *const *deny);
/* addr6 may be NULL. Fails the test when it cannot attach. */
struct gate_sandbox *test_attach(struct gate *g, const char *id, const char *addr4, const char *addr6,
				 const char *const *allow, const char *const *deny, bool default_allow);
/* Turns the loop until nothing is ready. */
void test_turn(struct gate *g);

/* fake_flows.c */
extern unsigned int fake_rejudged, fake_closed;
extern uint32_t fake_total; /* flows of all sandboxes; 7 unless a test says otherwise */
extern void (*fake_on_rejudge)(struct gate *g, struct gate_sandbox *s);

/* fake_dns.c */
extern unsigned int fake_forgotten;

/* fake_records.c: the last record, and how many there were. */
extern struct gate_record fake_record;
extern char fake_record_name[512];
extern char fake_record_sandbox[72];
extern unsigned int fake_record_n;

/* fake_events.c: what gate_control_event was given. */
extern char *fake_event[4096];
extern unsigned int fake_event_n;
void fake_events_clear(void);

/* fake_resolver.c: questions wait until the test answers. */
extern unsigned int fake_questions; /* asked since the start */
extern unsigned int fake_waiting;   /* waiting now */
extern unsigned int fake_cancelled;
extern char fake_last_name[256];
extern uint16_t fake_last_type;
extern bool fake_resolver_full;
extern uint32_t fake_others_waiting; /* questions of nobody in the test */
/* Answers the oldest question. addrs: texts, NULL-terminated. */
void fake_answer(uint16_t rcode, uint32_t ttl, const char *const *addrs);
void fake_answer_many(uint32_t ttl, const struct dw_addr *addr, size_t n);
void fake_answer_https(uint32_t ttl, const void *rdata, size_t n);
void fake_answer_failed(void);
