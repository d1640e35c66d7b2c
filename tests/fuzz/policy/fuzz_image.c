/* SPDX-License-Identifier: Apache-2.0 */
/* Damaged images: whatever opens must answer without reading outside of it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "policy/image.h"
#include "policy/pins.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(const struct dw_policy *p)
{
	static const char *const names[] = { "a.test", "x.b.test" };
	static const char *const addrs[] = { "10.1.2.3", "1.2.3.4", "fd12::1", "2606::1" };
	DW_AUTO(dw_pins_free) struct dw_pins *pins = dw_pins_new();
	char text[600];
	for (size_t i = 0; i < DW_COUNT(names); i++) {
		struct dw_decision d = dw_decide_name(p, names[i], 443);
		dw_explain(p, &d, names[i], text, sizeof(text));
		d = dw_decide_query(p, names[i]);
		dw_policy_rule_text(p, d.rule, text, sizeof(text));
	}
	for (size_t i = 0; i < DW_COUNT(addrs); i++) {
		struct dw_addr a;
		dw_assert(dw_addr_parse(addrs[i], strlen(addrs[i]), &a));
		if (pins && i == 1)
			dw_assert(dw_pins_add(pins, names[0], &a, 1));
		struct dw_decision d = dw_decide_flow(p, NULL, DW_PROTO_TCP, &a, 443, pins);
		dw_explain(p, &d, addrs[i], text, sizeof(text));
		DW_IGNORE(dw_decide_answer(p, NULL, &a)); /* any answer will do */
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *image = malloc(size ? size : 1);
	if (!image)
		abort();
	if (size)
		memcpy(image, data, size);
	/* The three fields that would stop most mutations at the door. */
	if (size >= sizeof(struct dw_img_header)) {
		struct dw_img_header *h = (struct dw_img_header *)image;
		memcpy(h->magic, DW_IMAGE_MAGIC, sizeof(h->magic));
		h->version = DW_IMAGE_VERSION;
		h->size = (uint32_t)size;
	}
	struct dw_policy *p = NULL;
	if (dw_policy_open(image, size, &p, NULL) == 0)
		ask(p);
	dw_policy_close(p);
	free(image);
	return 0;
}
