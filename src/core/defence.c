/* SPDX-License-Identifier: Apache-2.0 */
#include "core/defence.h"

#ifdef DECLAW_TEST_HOOKS
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/macros.h"

static const char *const names[] = {
	[DW_DEFENCE_FLOW_POLICY] = "flow_policy",
	[DW_DEFENCE_FLOOR] = "floor",
	[DW_DEFENCE_PRIVATE] = "private",
	[DW_DEFENCE_DNS_POLICY] = "dns_policy",
	[DW_DEFENCE_DNS_TYPES] = "dns_types",
	[DW_DEFENCE_DNS_NAMES] = "dns_names",
	[DW_DEFENCE_ANSWER_FILTER] = "answer_filter",
	[DW_DEFENCE_HTTPS_RECORDS] = "https_records",
	[DW_DEFENCE_SNI] = "sni",
	[DW_DEFENCE_SNI_REQUIRED] = "sni_required",
	[DW_DEFENCE_NAME_PIN] = "name_pin",
	[DW_DEFENCE_TLS_STRICT] = "tls_strict",
	[DW_DEFENCE_TLS_REQUIRED] = "tls_required",
	[DW_DEFENCE_ECH] = "ech",
	[DW_DEFENCE_STARTTLS] = "starttls",
	[DW_DEFENCE_HTTP_REQUIRED] = "http_required",
	[DW_DEFENCE_HTTP_HOST] = "http_host",
	[DW_DEFENCE_HTTP_EVERY] = "http_every",
	[DW_DEFENCE_HTTP_STRICT] = "http_strict",
	[DW_DEFENCE_HOST_REQUIRED] = "host_required",
	[DW_DEFENCE_HTTP_CONNECT] = "http_connect",
	[DW_DEFENCE_HTTP_UPGRADE] = "http_upgrade",
	[DW_DEFENCE_PROXY_HEADER] = "proxy_header",
	[DW_DEFENCE_QUIC_REQUIRED] = "quic_required",
	[DW_DEFENCE_QUIC_EACH] = "quic_each",
	[DW_DEFENCE_ANTISPOOF] = "antispoof",
};
static_assert(DW_COUNT(names) == DW_DEFENCE__COUNT, "a name for each");
static_assert(DW_DEFENCE__COUNT <= 8 * sizeof(unsigned long), "a bit for each");

const char *dw_defence_name(enum dw_defence d)
{
	return names[d];
}

static unsigned long read_switches(void)
{
	const char *text = getenv("DECLAW_TEST_OFF");
	unsigned long off = 0;

	while (text && *text) {
		const size_t n = strcspn(text, ",");
		size_t i = 0;
		while (i < DW_COUNT(names) && (strlen(names[i]) != n || memcmp(names[i], text, n) != 0))
			i++;
		dw_assert(i < DW_COUNT(names));
		off |= 1ul << i;
		text += n + (text[n] == ',');
	}
	return off;
}

bool dw_defended(enum dw_defence d)
{
	static unsigned long off;
	static bool known;

	if (!known) {
		off = read_switches();
		known = true;
	}
	return !(off >> d & 1);
}
#endif
