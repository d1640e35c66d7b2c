/* SPDX-License-Identifier: Apache-2.0 */
/* Opening an image: check the header, compile the regular expressions. */
#include <errno.h>
#include <stdio.h>

#include "policy/image.h"
#include "policy/regex.h"

static int damaged(struct dw_err *err, const char *why)
{
	return dw_err_set(err, DW_ERR_INTERNAL, "invalid_policy_image", "the policy image cannot be used: %s", why);
}

/* The grammar is checked again: the image may be a stranger's, and callouts or look-around must not get in by it. */
static int open_regexes(struct dw_policy *p, struct dw_err *err)
{
	for (uint32_t i = 0; i < p->img.h.regexes.n; i++) {
		struct dw_img_regex r;
		const char *pattern, *why;
		if (!dw_image_regex(&p->img, i, &r, &pattern) || r.key_n > DW_POLICY_REGEX_MAXLEN)
			return damaged(err, "a regular expression lies outside it");
		struct dw_regex_shape shape;
		why = dw_regex_check(pattern, r.key_n, &shape);
		if (why)
			return damaged(err, why);
		char buf[160];
		struct dw_regex *re = dw_regex_new(pattern, r.key_n, buf, sizeof(buf), &why);
		if (!re)
			return damaged(err, why);
		p->regex[i] = re;
		p->regex_list[i] = r.list;
		p->regex_group[i] = r.group;
		p->regex_n = i + 1;
	}
	return 0;
}

int dw_policy_open(const void *image, size_t len, struct dw_policy **ret, struct dw_err *err)
{
	DW_AUTO(dw_policy_close) struct dw_policy *p = calloc(1, sizeof(*p));
	if (!p)
		return dw_err_errno(err, ENOMEM, "open a policy image");
	const char *why = dw_image_open(image, len, &p->img);
	if (why)
		return damaged(err, why);
	if (open_regexes(p, err) < 0)
		return -1;
	*ret = DW_TAKE(p);
	return 0;
}

void dw_policy_close(struct dw_policy *p)
{
	if (!p)
		return;
	for (uint32_t i = 0; i < p->regex_n; i++)
		dw_regex_free(p->regex[i]);
	free(p);
}

/* Entries that passed the compiler are printable; those of a damaged image need not be. */
static void copy_printable(char *out, size_t size, const char *s, size_t n)
{
	size_t i = 0;
	for (; i < n && i + 1 < size; i++)
		out[i] = s[i] >= 0x20 && s[i] < 0x7f ? s[i] : '?';
	out[i] = '\0';
}

const char *dw_policy_rule_text(const struct dw_policy *p, uint32_t rule, char *buf, size_t size)
{
	if (size == 0)
		return "";
	buf[0] = '\0';
	struct dw_img_entry e;
	const char *text;
	if (!p || !dw_image_entry(&p->img, rule, &e, &text))
		return buf;
	uint32_t allow_n = p->img.h.allow_n;
	bool allow = rule < allow_n;
	int n = snprintf(buf, size, "%s[%u] ", allow ? "allow_out" : "deny_out", allow ? rule : rule - allow_n);
	if (n > 0 && (size_t)n < size)
		copy_printable(buf + n, size - (size_t)n, text, e.text_n);
	return buf;
}

bool dw_policy_rule_is_pattern(const struct dw_policy *p, uint32_t rule)
{
	struct dw_img_entry e;
	const char *text;

	if (!p || !dw_image_entry(&p->img, rule, &e, &text) || e.text_n < 2)
		return false;
	return text[0] == '~' || (text[0] == '*' && text[1] == '.');
}
