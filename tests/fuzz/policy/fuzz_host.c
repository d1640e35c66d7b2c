/* SPDX-License-Identifier: Apache-2.0 */
/* Host names: what is accepted is canonical, and canonical names stay as they are. */
#include <stdint.h>
#include <string.h>

#include "core/addr.h"
#include "policy/host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char out[DW_HOST_SIZE], again[DW_HOST_SIZE];
	const char *why = NULL;
	memset(out, 0x5a, sizeof(out));
	if (dw_host_canon((const char *)data, size, out, &why) != DW_HOST_OK) {
		dw_assert(why != NULL && out[0] == 0x5a);
		return 0;
	}
	size_t n = strlen(out);
	dw_assert(n >= 1 && n <= DW_HOST_MAX && (n == size || n + 1 == size));
	for (size_t i = 0; i < n; i++)
		dw_assert(strchr("abcdefghijklmnopqrstuvwxyz0123456789-_.", out[i]));
	dw_assert(!strstr(out, "..") && out[0] != '.' && out[n - 1] != '.');
	dw_assert(dw_host_canon(out, n, again, NULL) == DW_HOST_OK && strcmp(out, again) == 0);
	struct dw_addr a;
	dw_assert(!dw_addr_parse(out, n, &a));
	return 0;
}
