/* SPDX-License-Identifier: Apache-2.0 */
/* A store in a directory of its own, with decisions in its log. */
#pragma once

#include "support.h"

#include "daemon/store.h"

struct fixture {
	char dir[64];
	struct store *store;
};

int setup(void **state);
int teardown(void **state);
void make_record(struct record *r, const char *id);
void add_decision(struct store *s, const char *id, const char *verdict, int n);
struct log_filter filter_of(const char *id);
json_t *list(struct store *s, const struct log_filter *f, unsigned limit);
size_t count(struct store *s, const struct log_filter *f);
const char *text(const json_t *row, const char *key);
int64_t number(const json_t *row, const char *key);
void add_flow(struct store *s, const char *id, int flow, bool end);
