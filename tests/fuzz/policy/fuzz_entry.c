/* SPDX-License-Identifier: Apache-2.0 */
/* One entry: no kind is half filled, and regular expressions meet the grammar, PCRE2 and the trial. */
#include <stdint.h>
#include <string.h>

#include "policy/entry.h"
#include "policy/regex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_regex(const struct dw_entry *e)
{
	struct dw_regex_shape shape;
	const char *why = dw_regex_check(e->regex, e->regex_n, &shape);
	if (why)
		return;
	char buf[160];
	DW_AUTO(dw_regex_free) struct dw_regex *re = dw_regex_new(e->regex, e->regex_n, buf, sizeof(buf), &why);
	if (!re) {
		dw_assert(why != NULL);
		return;
	}
	if (dw_regex_try(re, e->regex, &shape))
		DW_IGNORE(dw_regex_match(re, "www.example-1.com", 17)); /* any answer will do */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dw_entry e;
	memset(&e, 0x5a, sizeof(e));
	const char *why = NULL;
	if (!dw_entry_parse((const char *)data, size, &e, &why)) {
		dw_assert(why != NULL && e.port_lo == 0x5a5a);
		return 0;
	}
	dw_assert(e.port_lo <= e.port_hi && (e.port_lo > 0 || e.port_hi == UINT16_MAX));
	switch (e.kind) {
	case DW_ENTRY_HOST:
	case DW_ENTRY_SUFFIX:
		dw_assert(strlen(e.host) > 0);
		break;
	case DW_ENTRY_PREFIX:
		dw_assert(e.prefix.len > 0 && e.prefix.len <= dw_addr_bits(&e.prefix.addr));
		dw_assert(dw_prefix_contains(&e.prefix, &e.prefix.addr));
		break;
	case DW_ENTRY_REGEX:
		dw_assert(e.regex_n > 0);
		check_regex(&e);
		break;
	case DW_ENTRY_ALL:
		break;
	case DW_ENTRY_NONE:
		dw_assert(false);
	}
	return 0;
}
