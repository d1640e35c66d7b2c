/* SPDX-License-Identifier: Apache-2.0 */
/* Policies, pins and addresses from short texts. */
#pragma once

#include "core/addr.h"
#include "policy/pins.h"
#include "policy/policy.h"

#define LIST_MAX 16

/* A list as text: entries divided by spaces; NULL is an absent list, "" an empty one. */
struct lists {
	char bytes[1024];
	const char *entry[LIST_MAX];
	size_t n;
};

struct opened {
	void *image;
	struct dw_policy *policy;
};

void split(const char *text, struct lists *ret);
/* Fails the test when it does not compile. */
struct opened open_policy(const char *allow, const char *deny, bool default_allow);
void close_policy(struct opened *o);
struct dw_addr addr(const char *text);
struct dw_prefix prefix(const char *text);
/* "name=address name=address"; NULL gives NULL. */
struct dw_pins *pins_of(const char *text);
