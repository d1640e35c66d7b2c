/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"
#include "support.h"

#include "policy/regex.h"

struct row {
	const char *name;
	const char *pattern;
	const char *why; /* NULL: accepted, else a part of the message */
};

/* clang-format off */
static const struct row rows[] = {
	{ "a literal", "api\\.test", NULL },
	{ "anchors", "^api\\.test$", NULL },
	{ "anchors by escape", "\\Aapi\\.test\\z", NULL },
	{ "classes", "[a-z0-9.-]+\\.test", NULL },
	{ "a named class", "[[:alnum:]-]+\\.test", NULL },
	{ "escapes in a class", "[\\d\\w\\-\\.]+\\.test", NULL },
	{ "a negated class", "[^.]+\\.test", NULL },
	{ "a class with ']' first", "[]a]\\.test", NULL },
	{ "escapes", "\\d+-\\w*\\.test", NULL },
	{ "alternatives", "(api|www|cdn[0-9]?)\\.test", NULL },
	{ "a plain group", "(?:a|b)+\\.test", NULL },
	{ "counts", "[a-f0-9]{8}(-[a-f0-9]{4}){3}\\.test", NULL },
	{ "an open count", "a{2,}\\.test", NULL },
	{ "lazy and possessive", "a+?b*+\\.test", NULL },
	{ "two stars", ".*-prod-.*\\.example\\.test", NULL },
	{ "three stars of other classes", "[a-z]+\\.[a-z]+\\.[a-z]+", NULL },
	{ "everything", ".*", NULL },
	{ "small repeats in small repeats", "((a{1,3}\\.){1,3}b){2}", NULL },

	{ "a back-reference", "(a)\\1", "back-reference" },
	{ "a named back-reference", "(a)\\k<x>", "an escape other" },
	{ "a relative back-reference", "(a)\\g{-1}", "an escape other" },
	{ "look-ahead", "(?=a)a", "look-around" },
	{ "negative look-ahead", "(?!a)b", "look-around" },
	{ "look-behind", "a(?<=a)b", "look-around" },
	{ "negative look-behind", "a(?<!a)b", "look-around" },
	{ "recursion", "a(?R)?b", "recursion" },
	{ "recursion by number", "(a(?1)?b)", "recursion" },
	{ "recursion by name", "(?&x)", "recursion" },
	{ "a conditional", "(a)?(?(1)b|c)", "conditional" },
	{ "a callout", "a(?C1)b", "callout" },
	{ "a verb", "a(*COMMIT)b", "verb" },
	{ "a start-of-pattern option", "(*LIMIT_MATCH=1000000000)a", "verb" },
	{ "UTF by option", "(*UTF)a", "verb" },
	{ "a named group", "(?<x>a)", "a group other" },
	{ "an inline option", "(?i)a", "a group other" },
	{ "an atomic group", "(?>a)", "a group other" },
	{ "a comment", "(?#x)a", "a group other" },
	{ "a branch reset", "(?|a|b)", "a group other" },
	{ "quoting", "\\Qa\\E", "an escape other" },
	{ "a hex escape", "\\x61", "an escape other" },
	{ "white space escape", "a\\sb", "an escape other" },
	{ "any code unit", "\\C", "an escape other" },
	{ "an octal escape", "\\061", "an escape other" },
	{ "a lone backslash", "a\\", "at the end" },
	{ "a colon", "a:b", "no host name has" },
	{ "a slash", "https?//a", "no host name has" },
	{ "an escaped slash", "a\\/b", "no host name has" },
	{ "an open class", "[a", "without its ']'" },
	{ "an open class of nothing", "[", "without its ']'" },
	{ "a collating class", "[[.a.]]", "unknown '['" },
	{ "an unknown named class", "[[:foo:]]", "POSIX" },
	{ "a reversed class", "[z-a]", "range out of order" },
	{ "an escape in a class", "[\\x61]", "in a character class" },
	{ "an open group", "(a", "without its ')'" },
	{ "a closed group", "a)", "without its '('" },
	{ "a repeat of nothing", "*a", "nothing before it" },
	{ "a repeat of an anchor", "^*a", "nothing before it" },
	{ "a repeat of a repeat", "a**", "nothing before it" },
	{ "a repeat after '|'", "a|+", "nothing before it" },
	{ "a brace alone", "a{", "'{'" },
	{ "a brace of letters", "a{b}", "'{'" },
	{ "an open brace", "a{2", "'{'" },
	{ "a huge count", "a{1001}", "'{'" },
	{ "a reversed count", "a{3,2}", "numbers out of order" },
	{ "too deep", "(((((((((((((((((a)))))))))))))))))", "nested more than 16" },
	{ "too large when unfolded", "(([a-z]{1,15}){1,15}){1,15}([a-z]{1000}){15}", "" },

	{ "(a+)+", "(a+)+", "a repeat around a repeat" },
	{ "(a*)*", "(a*)*b", "a repeat around a repeat" },
	{ "(a+)*", "(a+)*b", "a repeat around a repeat" },
	{ "a repeat around labels", "([a-z]+\\.)+test", "a repeat around a repeat" },
	{ "a repeat deep inside", "((x(a+)y)z)+", "a repeat around a repeat" },
	{ "(a{1,20})+", "(a{1,20})+b", "a repeat around a repeat" },
	{ "(a+){20}", "(a+){20}b", "a repeat around a repeat" },
	{ "(a{2,})+", "(a{2,})+b", "a repeat around a repeat" },

	{ "(a|a)*", "(a|a)*b", "too long" },
	{ "(a|A)*", "(a|A)*b", "too long" },
	{ "(a|a)* behind a literal", "www-(a|a)*\\.test", "too long" },
	{ "(a|a)* behind a class", "[0-9]{3}(a|a)*x", "too long" },
	{ "(a|a)* in the second alternative", "(x|y(a|a)*z)", "too long" },
	{ "(a|aa)+", "(a|aa)+b", "too long" },
	{ "(ab|a|b)*", "(ab|a|b)*c", "too long" },
	{ "(.|-)*", "(.|-)*x", "too long" },
	{ "(a?){15} in {15}", "((a?){15}){15}b", "too long" },
	{ "four stars", ".*a.*a.*a.*b", "too long" },
	{ "four stars of one letter", "a*a*a*a*b", "too long" },
};
/* clang-format on */

/* The way the compiler goes: grammar, PCRE2, trial. */
static const char *try_pattern(const char *s, char *buf, size_t size)
{
	struct dw_regex_shape shape;
	const char *why = dw_regex_check(s, strlen(s), &shape);
	if (why)
		return why;
	DW_AUTO(dw_regex_free) struct dw_regex *re = dw_regex_new(s, strlen(s), buf, size, &why);
	if (!re)
		return why;
	return dw_regex_try(re, s, &shape) ? NULL : "too long";
}

static void try_row(void **state)
{
	const struct row *r = *state;
	char buf[160];
	const char *why = try_pattern(r->pattern, buf, sizeof(buf));
	if (!r->why)
		assert_null(why);
	else if (!why || !strstr(why, r->why))
		fail_msg("\"%s\" is not in \"%s\"", r->why, why ? why : "(accepted)");
}

struct match_row {
	const char *name;
	const char *pattern;
	const char *host;
	enum dw_regex_result result;
};

static const struct match_row matches[] = {
	{ "whole name", "api\\.test", "api.test", DW_REGEX_YES },
	{ "a part at the start", "api", "api.test", DW_REGEX_NO },
	{ "a part at the end", "test", "api.test", DW_REGEX_NO },
	{ "alternatives are taken whole", "api|test", "api.test", DW_REGEX_NO },
	{ "a shorter alternative first", "api|api\\.test", "api.test", DW_REGEX_YES },
	{ "a lazy repeat still takes all", ".*?", "api.test", DW_REGEX_YES },
	{ "case of the pattern", "API\\.[T]EST", "api.test", DW_REGEX_YES },
	{ "'.' is any character", "api.test", "apixtest", DW_REGEX_YES },
	{ "an escaped dot is not", "api\\.test", "apixtest", DW_REGEX_NO },
	{ "a limit is no answer", "(a|a)*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", DW_REGEX_LIMIT },
};

static void match(void **state)
{
	const struct match_row *r = *state;
	char buf[160];
	const char *why = NULL;
	DW_AUTO(dw_regex_free)
	struct dw_regex *re = dw_regex_new(r->pattern, strlen(r->pattern), buf, sizeof(buf), &why);
	assert_non_null(re);
	assert_int_equal(dw_regex_match(re, r->host, strlen(r->host)), r->result);
}

int main(void)
{
	static struct rows r;
	ADD_ROWS(&r, rows, try_row);
	ADD_ROWS(&r, matches, match);
	return run_rows("regex", &r);
}
