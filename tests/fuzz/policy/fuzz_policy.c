/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole policies. The input is lines; the first character says what a line is: '+' allow_out, '-' deny_out, '@' a
 * target address, '=' a target name (also pinned to the address before it), '!' no default allow. Entries that do not
 * parse are left out, so that the rest still makes a policy.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "policy/entry.h"
#include "policy/pins.h"
#include "policy/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LINES 24

struct input {
	char *text;
	const char *list[2][LINES];
	size_t n[2];
	struct dw_addr target[LINES];
	size_t targets;
	char names[LINES][DW_HOST_SIZE];
	size_t names_n;
	bool allow_present, def;
	struct dw_pins *pins;
};

static void entry_line(struct input *in, int list, char *s)
{
	struct dw_entry e;
	const char *why;
	if (list == 0)
		in->allow_present = true;
	if (in->n[list] == LINES || !dw_entry_parse(s, strlen(s), &e, &why))
		return;
	/* Slow patterns have a target of their own (fuzz_entry). */
	if (e.kind != DW_ENTRY_REGEX || e.regex_n < 12)
		in->list[list][in->n[list]++] = s;
}

static void line(struct input *in, char *s)
{
	struct dw_addr a;
	if (s[0] == '+' || s[0] == '-') {
		entry_line(in, s[0] == '-', s + 1);
	} else if (s[0] == '@') {
		if (in->targets < LINES && dw_addr_parse(s + 1, strlen(s + 1), &a))
			in->target[in->targets++] = a;
	} else if (s[0] == '=') {
		if (in->names_n == LINES ||
		    dw_host_canon(s + 1, strlen(s + 1), in->names[in->names_n], NULL) != DW_HOST_OK)
			return;
		if (in->targets > 0)
			dw_assert(dw_pins_add(in->pins, in->names[in->names_n], &in->target[in->targets - 1], 1));
		in->names_n++;
	} else if (s[0] == '!') {
		in->def = false;
	}
}

static void check_names(const struct dw_policy *p, const struct input *in)
{
	static const uint16_t ports[] = { 1, 80, 443, 65535 };
	for (size_t i = 0; i < in->names_n; i++) {
		struct dw_decision q = dw_decide_query(p, in->names[i]);
		for (size_t j = 0; j < DW_COUNT(ports); j++) {
			struct dw_decision d = dw_decide_name(p, in->names[i], ports[j]);
			dw_assert(d.verdict == DW_DENY || q.verdict != DW_DENY);
		}
		char text[600];
		dw_assert(strlen(dw_explain(p, &q, in->names[i], text, sizeof(text))) > 0);
	}
}

static void check_flows(const struct dw_policy *p, const struct input *in)
{
	for (size_t i = 0; i < in->targets; i++) {
		const struct dw_addr *a = &in->target[i];
		struct dw_decision d = dw_decide_flow(p, NULL, DW_PROTO_TCP, a, 443, in->pins);
		bool floor = dw_floor_check(NULL, a) != DW_REASON_NONE;
		dw_assert(!floor || d.verdict == DW_DENY);
		dw_assert(d.verdict != DW_ALLOW_BY_NAME || !dw_floor_is_private(NULL, a));
		dw_assert(in->n[0] > 0 || !in->allow_present || d.verdict == DW_DENY);
		/* An address that may be dialled may be an answer. */
		dw_assert(d.verdict == DW_DENY || dw_decide_answer(p, NULL, a) == DW_REASON_NONE);
	}
}

static void run(struct input *in)
{
	struct dw_policy_spec spec = { in->list[0], in->n[0], in->allow_present, in->list[1], in->n[1], in->def };
	dw_autofree void *image = NULL;
	size_t len;
	struct dw_err err = { 0 };
	if (dw_policy_compile(&spec, &image, &len, &err) != 0) {
		dw_assert(err.kind == DW_ERR_INVALID && err.message[0]);
		return;
	}
	DW_AUTO(dw_policy_close) struct dw_policy *p = NULL;
	dw_assert(dw_policy_open(image, len, &p, &err) == 0);
	check_names(p, in);
	check_flows(p, in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct input in;
	memset(&in, 0, sizeof(in));
	in.def = true;
	in.pins = dw_pins_new();
	in.text = calloc(1, size + 1);
	if (!in.pins || !in.text)
		abort();
	if (size)
		memcpy(in.text, data, size);
	char *save;
	for (char *s = strtok_r(in.text, "\n", &save); s; s = strtok_r(NULL, "\n", &save))
		line(&in, s);
	run(&in);
	dw_pins_free(in.pins);
	free(in.text);
	return 0;
}
