/* SPDX-License-Identifier: Apache-2.0 */
/* A request's JSON: what a create or an update makes of it is a network of ours, and reads back as itself. */
#include <stdint.h>
#include <string.h>

#include "daemon/network_spec.h"
#include "e2b/create_map.h"
#include "e2b/network_map.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_shown(const json_t *ours)
{
	auto_network_spec struct network_spec spec = { .policy_fd = -1 };
	struct dw_err err = { 0 };
	bool internet, again;
	auto_json json_t *lists = json_deep_copy(ours), *back = NULL;
	/* What a mask may be is the daemon's matter, and the limits are what they were. */
	json_object_del(lists, "mask_request_host");
	if (network_spec_compile(lists, false, &spec, &err) < 0) {
		/* Entries that no policy can have, such as addresses that are nobody's. */
		dw_assert(err.kind == DW_ERR_INVALID);
		return;
	}
	auto_json json_t *shown = network_map_show(lists, false, &internet);
	dw_assert(shown && network_map_create(shown, NULL, true, &back, &err) == 0);
	auto_json json_t *shown_again = network_map_show(back, false, &again);
	dw_assert(json_equal(shown, shown_again) && internet == again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_json json_t *body = NULL, *ours = NULL, *network = NULL;
	struct dw_err err = { 0 };
	if (jsonx_parse_object((const char *)data, size, &body, &err) < 0)
		return 0;
	if (create_map(body, 15, true, &ours, &err) == 0)
		check_shown(json_object_get(ours, "network"));
	else
		dw_assert(err.kind == DW_ERR_INVALID && err.message[0]);
	if (network_map_update(body, NULL, true, &network, &err) == 0)
		check_shown(network);
	return 0;
}
