/* SPDX-License-Identifier: Apache-2.0 */
/*
 * E2B's network configuration as one of ours, and back. Pure.
 *
 * Theirs: everything is open; denyOut (addresses) closes; allowOut (addresses, names) beats denyOut whatever it says. So names in
 * allowOut make sense only where denyOut closes everything, and their API asks for that. Ours: with an allow list what no entry
 * names is closed. So a configuration that does not close everything becomes an allow list that ends in "*"; the floor and private
 * addresses stay closed as ever. But on a server whose default is to close (default_allow is false) only what asks for everything by name opens
 * it: their clients say allow_internet_access of their own accord, and an operator's word counts for more. What their schema has and this server does not do is refused, never ignored.
 */
#pragma once

#include "daemon/jsonx.h"

/*
 * network, access: the members "network" and "allow_internet_access" of a create request, NULL for none. *ret: a new object, a network
 * of ours. INVALID "invalid_field", "invalid_network_entry", "unsupported_option".
 */
int DW_MUST_USE network_map_create(const json_t *network, const json_t *access, bool default_allow, json_t **ret,
				   struct dw_err *err);
/*
 * body: of a PUT, which replaces all there was of the ways out. now: the present network of ours, NULL for none, not touched; *ret has its
 * ways in, and its limits. Errors as above.
 */
int DW_MUST_USE network_map_update(const json_t *body, const json_t *now, bool default_allow, json_t **ret,
				   struct dw_err *err);
/*
 * A network of ours (NULL for none) as theirs, whoever wrote it: entries that only ours can say stand as they are. default_allow: what one
 * without lists means. NULL when memory is out. *ret_internet: whether not everything that it does not name is closed.
 */
json_t *network_map_show(const json_t *network, bool default_allow, bool *ret_internet);
