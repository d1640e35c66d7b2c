/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include "rows.h"

void split(const char *text, struct lists *ret)
{
	ret->n = 0;
	dw_assert(strlen(text) < sizeof(ret->bytes));
	strcpy(ret->bytes, text);
	char *save;
	for (char *e = strtok_r(ret->bytes, " ", &save); e; e = strtok_r(NULL, " ", &save)) {
		dw_assert(ret->n < LIST_MAX);
		ret->entry[ret->n++] = e;
	}
}

struct opened open_policy(const char *allow, const char *deny, bool default_allow)
{
	struct lists a = { .n = 0 }, d = { .n = 0 };
	split(allow ? allow : "", &a);
	split(deny ? deny : "", &d);
	struct dw_policy_spec spec = { a.entry, a.n, allow != NULL, d.entry, d.n, default_allow };
	struct opened o = { NULL, NULL };
	size_t len;
	struct dw_err err = { 0 };
	if (dw_policy_compile(&spec, &o.image, &len, &err) != 0 || dw_policy_open(o.image, len, &o.policy, &err) != 0)
		fail_msg("%s", err.message);
	return o;
}

void close_policy(struct opened *o)
{
	dw_policy_close(o->policy);
	free(o->image);
}

struct dw_addr addr(const char *text)
{
	struct dw_addr a = { 0 };
	dw_assert(dw_addr_parse(text, strlen(text), &a));
	return a;
}

struct dw_prefix prefix(const char *text)
{
	struct dw_prefix p = { 0 };
	dw_assert(dw_prefix_parse(text, strlen(text), &p));
	return p;
}

struct dw_pins *pins_of(const char *text)
{
	if (!text)
		return NULL;
	struct lists l;
	split(text, &l);
	struct dw_pins *t = dw_pins_new();
	for (size_t i = 0; i < l.n; i++) {
		char name[DW_HOST_SIZE];
		const char *eq = strchr(l.entry[i], '=');
		snprintf(name, sizeof(name), "%.*s", (int)(eq - l.entry[i]), l.entry[i]);
		struct dw_addr a = addr(eq + 1);
		dw_assert(dw_pins_add(t, name, &a, 1));
	}
	return t;
}
