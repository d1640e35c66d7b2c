/* SPDX-License-Identifier: Apache-2.0 */
/* The `network` object of a request: checked, and turned into a policy image for the gate. */
#pragma once

#include <stdbool.h>
#include <unistd.h>

#include "core/err.h"
#include "daemon/jsonx.h"
#include "policy/limits.h"

/* What a checked network means. */
struct network_spec {
	int policy_fd;           /* a sealed memfd with the image; owned, -1 = none */
	struct dw_limits limits; /* 0: not given */
	bool observe;
};

static inline void network_spec_done(struct network_spec *s)
{
	if (s->policy_fd >= 0)
		close(s->policy_fd);
	s->policy_fd = -1;
}
/* Initialise it with policy_fd -1. */
#define auto_network_spec __attribute__((cleanup(network_spec_done)))

/*
 * network: the object as given, or NULL (absent). allow_out that is given, also as null or [], denies what it does not name; a network
 * without lists is the server's default (default_allow). Ours, beside the lists: "blocked" ("drop", "reject"), "mode" ("enforce",
 * "observe"), "limits", "allow_ech". Other members are ignored where there is an allow list, and refused where there is none. INVALID "invalid_field",
 * "invalid_network_entry", "unsupported_option", ...
 */
int DW_MUST_USE network_spec_compile(const json_t *network, bool default_allow, struct network_spec *ret,
				     struct dw_err *err);

/*
 * One change of a network (PATCH): {"add":{"allow_out":[...],"deny_out":[...]},"remove":{...},"blocked","mode","limits","allow_ech","generation"}, each
 * optional; no other members. now: the present network, NULL for none; not touched. *ret_network: a new object, not yet compiled.
 * *ret_not_found: entries to remove that were not there, or NULL; a new array. limits are merged member by member; null takes a
 * member (or "blocked", "mode", "limits" as a whole) back to the default.
 */
int DW_MUST_USE network_spec_edit(const json_t *now, const json_t *change, json_t **ret_network, json_t **ret_not_found,
				  struct dw_err *err);
/* The generation of a change: 0 when it does not say. INVALID. */
int DW_MUST_USE network_spec_generation(const json_t *change, uint64_t *ret, struct dw_err *err);
