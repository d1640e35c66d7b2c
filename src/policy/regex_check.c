/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The accepted grammar of regular expressions, as a list of what is let through: everything else is refused with a reason.
 * On the way the scanner keeps a sample, text that the pattern so far would match, so that trials can lead the matcher
 * right up to each repeat.
 */
#include <string.h>

#include "policy/regex.h"

#define DEPTH_MAX  16
#define MANY       16 /* a bounded repeat of at least this many counts as unbounded */
#define REPEAT_MAX 1000
#define SAMPLE_MAX 200

struct level {
	bool many;             /* an unbounded repeat inside */
	uint16_t text_start;   /* of the group in the pattern */
	uint16_t sample_start; /* and in the sample */
};

struct atom {
	bool some; /* there is something to repeat */
	bool many;
	uint16_t text_start;
	uint16_t sample_start;
};

struct scan {
	const char *s;
	size_t n, i;
	const char *why;
	unsigned depth;
	struct level level[DEPTH_MAX + 1];
	struct atom atom;
	char sample[SAMPLE_MAX];
	uint16_t sample_n;
	struct dw_regex_shape *shape;
};

static void refuse(struct scan *x, const char *why)
{
	if (!x->why)
		x->why = why;
	x->i = x->n;
}

static char peek(const struct scan *x, size_t ahead)
{
	return x->i + ahead < x->n ? x->s[x->i + ahead] : '\0';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_host_char(char c)
{
	return is_alnum(c) || c == '-' || c == '_' || c == '.';
}

static void add_sample(struct scan *x, char c)
{
	if (c >= 'A' && c <= 'Z')
		c = (char)(c - 'A' + 'a');
	if (x->sample_n < SAMPLE_MAX)
		x->sample[x->sample_n++] = c;
}

/* An atom of one character starts here. */
static void begin_atom(struct scan *x)
{
	x->atom = (struct atom){ .some = true, .text_start = (uint16_t)x->i, .sample_start = x->sample_n };
}

static void escape(struct scan *x)
{
	char c = peek(x, 1);
	begin_atom(x);
	x->i += 2;
	if (c == '\0')
		refuse(x, "a '\\' at the end of the regular expression");
	else if (c >= '1' && c <= '9')
		refuse(x, "a back-reference (a regular expression may not have them)");
	else if (strchr("dDwW", c))
		add_sample(x, c == 'd' ? '0' : 'a');
	else if (strchr("bBAzZ", c))
		x->atom.some = false;
	else if (is_alnum(c))
		refuse(x, "an escape other than \\d \\D \\w \\W \\b \\B \\A \\z \\Z and escaped punctuation");
	else if (is_host_char(c))
		add_sample(x, c);
	else
		refuse(x, "an escaped character that no host name has");
}

/* One member of a class; the sample takes the first. */
static void class_member(struct scan *x, bool *sampled)
{
	char c = x->s[x->i];
	if (c == '[' && strchr(":.=", peek(x, 1)) && peek(x, 1) != '\0') {
		const char *end = memchr(x->s + x->i, ']', x->n - x->i);
		if (peek(x, 1) != ':' || !end) {
			refuse(x, "a character class with an unknown '[' in it");
			return;
		}
		x->i = (size_t)(end - x->s) + 1;
		return;
	}
	if (c == '\\') {
		c = peek(x, 1);
		if (c == '\0' || (is_alnum(c) && !strchr("dDwW", c))) {
			refuse(x, "an escape other than \\d \\D \\w \\W and punctuation in a character class");
			return;
		}
		c = is_alnum(c) ? (c == 'd' ? '0' : 'a') : c;
		x->i++;
	}
	if (!*sampled && is_host_char(c)) {
		add_sample(x, c);
		*sampled = true;
	}
	x->i++;
}

static void class(struct scan *x)
{
	begin_atom(x);
	x->i++;
	bool sampled = false;
	if (peek(x, 0) == '^') {
		add_sample(x, 'a');
		sampled = true;
		x->i++;
	}
	if (peek(x, 0) == ']')
		x->i++;
	while (x->i < x->n && x->s[x->i] != ']')
		class_member(x, &sampled);
	if (x->why)
		return;
	if (x->i >= x->n) {
		refuse(x, "a '[' without its ']'");
		return;
	}
	if (!sampled)
		add_sample(x, 'a');
	x->i++;
}

static const char *why_not_group(char c, char d)
{
	if (c == '=' || c == '!' || (c == '<' && (d == '=' || d == '!')))
		return "look-around (a regular expression may not have it)";
	if (c == 'R' || c == '&' || is_digit(c) || ((c == '+' || c == '-') && is_digit(d)))
		return "recursion (a regular expression may not have it)";
	if (c == '(')
		return "a conditional group (a regular expression may not have it)";
	if (c == 'C')
		return "a callout (a regular expression may not have it)";
	return "a group other than ( ) and (?: )";
}

static void open_group(struct scan *x)
{
	uint16_t start = (uint16_t)x->i;
	x->i++;
	if (peek(x, 0) == '*') {
		refuse(x, "a verb such as (*COMMIT) (a regular expression may not have it)");
		return;
	}
	if (peek(x, 0) == '?') {
		if (peek(x, 1) != ':') {
			refuse(x, why_not_group(peek(x, 1), peek(x, 2)));
			return;
		}
		x->i += 2;
	}
	if (x->depth == DEPTH_MAX) {
		refuse(x, "groups nested more than 16 deep");
		return;
	}
	x->level[++x->depth] = (struct level){ .text_start = start, .sample_start = x->sample_n };
	x->atom.some = false;
}

static void close_group(struct scan *x)
{
	if (x->depth == 0) {
		refuse(x, "a ')' without its '('");
		return;
	}
	struct level l = x->level[x->depth--];
	x->level[x->depth].many |= l.many;
	x->atom = (struct atom){ true, l.many, l.text_start, l.sample_start };
	x->i++;
}

static unsigned number(struct scan *x)
{
	unsigned v = 0;
	for (; is_digit(peek(x, 0)); x->i++)
		v = v > REPEAT_MAX ? v : v * 10 + (unsigned)(x->s[x->i] - '0');
	return v;
}

/* "{n}", "{n,}", "{n,m}"; returns the most repeats, 0 after a refusal. */
static unsigned braces(struct scan *x, unsigned *ret_min)
{
	x->i++;
	if (!is_digit(peek(x, 0))) {
		refuse(x, "a '{' that starts no repeat count");
		return 0;
	}
	*ret_min = number(x);
	unsigned max = *ret_min;
	if (peek(x, 0) == ',') {
		x->i++;
		max = is_digit(peek(x, 0)) ? number(x) : REPEAT_MAX;
	}
	if (peek(x, 0) != '}' || max > REPEAT_MAX) {
		refuse(x, "a '{' that starts no repeat count of at most 1000");
		return 0;
	}
	x->i++;
	return max;
}

static void add_pump(struct scan *x, size_t text_end)
{
	if (x->shape->n == DW_REGEX_PUMPS)
		return;
	struct dw_regex_pump *p = &x->shape->pump[x->shape->n++];
	p->prefix_n = x->atom.sample_start;
	memcpy(p->prefix, x->sample, p->prefix_n);
	p->unit_off = x->atom.text_start;
	p->unit_n = (uint16_t)(text_end - x->atom.text_start);
}

/* What must come more than once does so in the sample. */
static void repeat_sample(struct scan *x, unsigned times)
{
	size_t unit = (size_t)x->sample_n - x->atom.sample_start;
	for (; times > 1 && x->sample_n + unit <= SAMPLE_MAX; times--) {
		memcpy(x->sample + x->sample_n, x->sample + x->atom.sample_start, unit);
		x->sample_n = (uint16_t)(x->sample_n + unit);
	}
}

static void quantifier(struct scan *x)
{
	size_t text_end = x->i;
	if (!x->atom.some) {
		refuse(x, "a repeat with nothing before it to repeat");
		return;
	}
	unsigned min = 1, max;
	if (x->s[x->i] == '{')
		max = braces(x, &min);
	else
		max = x->s[x->i++] == '?' ? 1 : REPEAT_MAX;
	if (x->why)
		return;
	if (peek(x, 0) == '?' || peek(x, 0) == '+')
		x->i++;
	x->atom.some = false;
	if (max <= 1)
		return;
	if (max >= MANY && x->atom.many) {
		refuse(x, "a repeat around a repeat, such as (a+)+ (to cover any depth of labels write *.host, "
			  "or [a-z0-9.-]+)");
		return;
	}
	x->level[x->depth].many |= max >= MANY;
	add_pump(x, text_end);
	repeat_sample(x, min);
}

static void literal(struct scan *x, char c)
{
	begin_atom(x);
	if (!is_host_char(c))
		refuse(x, "a character that no host name has in the regular expression");
	add_sample(x, c == '.' ? 'a' : c);
	x->i++;
}

static void element(struct scan *x)
{
	char c = x->s[x->i];
	switch (c) {
	case '\\':
		escape(x);
		break;
	case '[':
		class(x);
		break;
	case '(':
		open_group(x);
		break;
	case ')':
		close_group(x);
		break;
	case '|':
		x->sample_n = x->level[x->depth].sample_start;
		x->atom.some = false;
		x->i++;
		break;
	case '^':
	case '$':
		x->atom.some = false;
		x->i++;
		break;
	case '*':
	case '+':
	case '?':
	case '{':
		quantifier(x);
		break;
	default:
		literal(x, c);
		break;
	}
}

const char *dw_regex_check(const char *s, size_t n, struct dw_regex_shape *ret)
{
	struct scan x = { .s = s, .n = n, .shape = ret };
	ret->n = 0;
	while (x.i < x.n)
		element(&x);
	if (!x.why && x.depth > 0)
		return "a '(' without its ')'";
	return x.why;
}
