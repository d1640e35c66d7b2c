/* SPDX-License-Identifier: Apache-2.0 */
/* Words of a query: filters, and what a signature is about. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/bounds.h"
#include "e2b/metadata_query.h"
#include "e2b/signature.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size), made[SIGNATURE_SIZE];
	auto_json json_t *pairs = json_object();
	struct dw_err err = { 0 };
	dw_assert(text && pairs);
	if (metadata_query_parse(text, pairs, &err) < 0)
		dw_assert(err.kind == DW_ERR_INVALID);
	dw_assert(json_object_size(pairs) <= DAEMON_MAP_KEYS);
	struct signature_text t = { .path = text, .user = text, .operation = "read" };
	signature_make(&t, "token", made);
	dw_assert(strlen(made) == SIGNATURE_SIZE - 1 && signature_check(&t, "token", made, 0) == SIGNATURE_RIGHT);
	dw_assert(signature_check(&t, "token", text, 0) ==
		  (strcmp(text, made) == 0 ? SIGNATURE_RIGHT : SIGNATURE_WRONG));
	t.expires = text;
	signature_make(&t, "token", made);
	t.expires = NULL;
	dw_assert(signature_check(&t, "token", made, 0) == SIGNATURE_WRONG);
	free(text);
	return 0;
}
