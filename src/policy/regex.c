/* SPDX-License-Identifier: Apache-2.0 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "policy/regex.h"

#include <pcre2.h>
#include <string.h>

#include "policy/policy.h"

#define NEST_MAX   16   /* of parentheses */
#define DEPTH_MAX  5000 /* of backtracking points: a few per character of a name */
#define HEAP_KIB   2048
#define UNIT_CHARS 8 /* different characters of a repeat that trials use alone... */
#define PAIR_CHARS 4 /* ...and in pairs */

struct dw_regex {
	pcre2_code *code;
	pcre2_match_context *limits;
};

void dw_regex_free(struct dw_regex *re)
{
	if (!re)
		return;
	pcre2_code_free(re->code);
	pcre2_match_context_free(re->limits);
	free(re);
}

static struct dw_regex *fail(struct dw_regex *re, const char **ret_why, const char *why)
{
	dw_regex_free(re);
	*ret_why = why;
	return NULL;
}

struct dw_regex *dw_regex_new(const char *s, size_t n, char *buf, size_t size, const char **ret_why)
{
	/* No start optimisation: it would let trials off early that a cleverer name does not. */
	const uint32_t options = PCRE2_NO_START_OPTIMIZE | PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_CASELESS |
				 PCRE2_NO_AUTO_CAPTURE | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_UTF | PCRE2_NEVER_UCP |
				 PCRE2_NEVER_BACKSLASH_C;
	const char *no_memory = "no memory for its regular expression";
	struct dw_regex *re = calloc(1, sizeof(*re));
	pcre2_compile_context *ctx = pcre2_compile_context_create(NULL);
	if (!re || !ctx) {
		pcre2_compile_context_free(ctx);
		return fail(re, ret_why, no_memory);
	}
	pcre2_set_max_pattern_length(ctx, DW_POLICY_REGEX_MAXLEN);
	pcre2_set_parens_nest_limit(ctx, NEST_MAX);
	int code;
	PCRE2_SIZE where;
	re->code = pcre2_compile((PCRE2_SPTR)s, n, options, &code, &where, ctx);
	pcre2_compile_context_free(ctx);
	if (!re->code) {
		pcre2_get_error_message(code, (PCRE2_UCHAR *)buf, size);
		return fail(re, ret_why, buf);
	}
	re->limits = pcre2_match_context_create(NULL);
	if (!re->limits)
		return fail(re, ret_why, no_memory);
	pcre2_set_match_limit(re->limits, DW_REGEX_MATCH_STEPS);
	pcre2_set_depth_limit(re->limits, DEPTH_MAX);
	pcre2_set_heap_limit(re->limits, HEAP_KIB);
	return re;
}

static enum dw_regex_result match(const struct dw_regex *re, const char *name, size_t n, pcre2_match_data *md)
{
	int r = pcre2_match(re->code, (PCRE2_SPTR)name, n, 0, 0, md, re->limits);
	if (r >= 0)
		return DW_REGEX_YES;
	return r == PCRE2_ERROR_NOMATCH ? DW_REGEX_NO : DW_REGEX_LIMIT;
}

enum dw_regex_result dw_regex_match(const struct dw_regex *re, const char *name, size_t n)
{
	/* Per match and not kept: an opened policy is immutable, so that threads may share it. */
	pcre2_match_data *md = pcre2_match_data_create(1, NULL);
	if (!md)
		return DW_REGEX_LIMIT;
	enum dw_regex_result r = match(re, name, n, md);
	pcre2_match_data_free(md);
	return r;
}

/* The different host-name characters of the repeated part, and two that '.' and classes stand for. */
static unsigned unit_chars(const char *unit, size_t n, char ret[static UNIT_CHARS])
{
	unsigned found = 0;
	ret[found++] = 'a';
	for (size_t i = 0; i < n && found < UNIT_CHARS - 1; i++) {
		char c = unit[i];
		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		bool host = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
		if (host && !memchr(ret, c, found))
			ret[found++] = c;
	}
	if (!memchr(ret, '0', found))
		ret[found++] = '0';
	return found;
}

struct trial {
	const struct dw_regex *re;
	pcre2_match_data *md;
	const struct dw_regex_pump *pump;
};

/* The prefix, then the unit again and again; once as it is and once with an end that '.' does not match. */
static bool try_unit(const struct trial *t, const char *unit, size_t unit_n)
{
	char name[DW_HOST_MAX];
	memcpy(name, t->pump->prefix, t->pump->prefix_n);
	for (size_t i = t->pump->prefix_n; i < sizeof(name); i++)
		name[i] = unit[(i - t->pump->prefix_n) % unit_n];
	if (match(t->re, name, sizeof(name), t->md) == DW_REGEX_LIMIT)
		return false;
	name[sizeof(name) - 1] = '\n';
	return match(t->re, name, sizeof(name), t->md) != DW_REGEX_LIMIT;
}

static bool try_pump(const struct trial *t, const char *pattern)
{
	char c[UNIT_CHARS];
	unsigned n = unit_chars(pattern + t->pump->unit_off, t->pump->unit_n, c);
	for (unsigned i = 0; i < n; i++) {
		if (!try_unit(t, &c[i], 1))
			return false;
	}
	for (unsigned i = 0; i < DW_MIN(n, PAIR_CHARS); i++) {
		for (unsigned j = 0; j < DW_MIN(n, PAIR_CHARS); j++) {
			const char pair[2] = { c[i], c[j] };
			if (i != j && !try_unit(t, pair, 2))
				return false;
		}
	}
	return true;
}

bool dw_regex_try(const struct dw_regex *re, const char *s, const struct dw_regex_shape *shape)
{
	struct trial t = { .re = re, .md = pcre2_match_data_create(1, NULL) };
	bool ok = t.md != NULL;
	pcre2_set_match_limit(re->limits, DW_REGEX_TRIAL_STEPS);
	for (unsigned i = 0; ok && i < shape->n; i++) {
		t.pump = &shape->pump[i];
		ok = try_pump(&t, s);
	}
	pcre2_set_match_limit(re->limits, DW_REGEX_MATCH_STEPS);
	pcre2_match_data_free(t.md);
	return ok;
}
