/* SPDX-License-Identifier: Apache-2.0 */
/* A client's Dockerfile: whatever is found in it is a name that a template could have, once. */
#include <stdint.h>
#include <string.h>

#include "daemon/dockerfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dockerfile_bases bases;
	struct dw_err err = { 0 };
	/* Exactly size bytes, so that reading one more is seen. */
	dw_autofree char *text = malloc(size ? size : 1);
	dw_assert(text);
	if (size)
		memcpy(text, data, size);
	if (dockerfile_scan(text, size, &bases, &err) < 0) {
		dw_assert(err.kind == DW_ERR_INVALID && err.message[0]);
		return 0;
	}
	dw_assert(bases.n <= DAEMON_BUILD_BASES && !memchr(text, '\0', size));
	for (size_t i = 0; i < bases.n; i++) {
		dw_assert(bases.name[i][0] && strlen(bases.name[i]) <= TEMPLATE_ALIAS_MAX);
		dw_assert(!strpbrk(bases.name[i], " \t\r\n/:\"'$`;|&"));
		for (size_t j = 0; j < i; j++)
			dw_assert(strcmp(bases.name[i], bases.name[j]) != 0);
	}
	return 0;
}
