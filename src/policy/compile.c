/* SPDX-License-Identifier: Apache-2.0 */
/* From the lists as written to an image: check each entry, collect keys, let build.c lay them out. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "policy/entry.h"
#include "policy/image.h"
#include "policy/regex.h"
#include "policy/special.h"

#define CODE_ENTRY "invalid_network_entry"
#define CODE_LARGE "network_policy_too_large"

/* Characters of an entry that a message quotes. */
#define QUOTE_MAX 80

struct compiler {
	struct dw_draft_entry *entries;
	uint32_t n, regexes;
	uint8_t *keys;
	size_t keys_n, keys_cap;
	struct dw_entry parsed; /* the entry at hand: here, because it is too large to be cleared for each */
	struct dw_err *err;
};

static const char *const list_names[] = { "allow_out", "deny_out" };
static_assert(DW_COUNT(list_names) == DW_LIST__COUNT, "a name per list");

/* Escaped and shortened, so that a hostile entry cannot forge lines of a log. */
static void quote(const char *s, size_t n, char *out, size_t size)
{
	size_t len = 0;
	for (size_t i = 0; i < n && i < QUOTE_MAX; i++) {
		unsigned char c = (unsigned char)s[i];
		if (c == '"' || c == '\\')
			len += (size_t)snprintf(out + len, size - len, "\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			len += (size_t)snprintf(out + len, size - len, "\\x%02x", c);
		else
			len += (size_t)snprintf(out + len, size - len, "%c", c);
	}
	snprintf(out + len, size - len, "%s", n > QUOTE_MAX ? "..." : "");
}

static int refuse(struct compiler *c, enum dw_list list, size_t i, const char *s, size_t n, const char *why)
{
	char quoted[QUOTE_MAX * 4 + 8];
	quote(s, n, quoted, sizeof(quoted));
	return dw_err_set(c->err, DW_ERR_INVALID, CODE_ENTRY, "network.%s[%zu]: \"%s\": %s", list_names[list], i,
			  quoted, why);
}

static int no_memory(struct compiler *c)
{
	return dw_err_errno(c->err, ENOMEM, "compile the network policy");
}

/* Appends a key; kind 0 means bytes alone. */
static int add_key(struct compiler *c, uint8_t kind, const void *bytes, size_t n, struct dw_draft_entry *e)
{
	size_t need = c->keys_n + n + 2;
	if (need > c->keys_cap) {
		size_t cap = DW_MAX(need, c->keys_cap * 2);
		uint8_t *keys = realloc(c->keys, cap);
		if (!keys)
			return no_memory(c);
		c->keys = keys;
		c->keys_cap = cap;
	}
	e->key_off = (uint32_t)c->keys_n;
	e->key_n = (uint16_t)n;
	if (kind) {
		c->keys[c->keys_n++] = kind;
		c->keys[c->keys_n++] = (uint8_t)n;
	}
	memcpy(c->keys + c->keys_n, bytes, n);
	c->keys_n += n;
	return 0;
}

static int add_prefix(struct compiler *c, const struct dw_prefix *p, struct dw_draft_entry *e)
{
	size_t bytes = p->addr.family == DW_AF_4 ? 4 : 16;
	uint8_t key[17];
	memcpy(key, p->addr.b, bytes);
	key[bytes] = p->len;
	return add_key(c, bytes == 4 ? DW_KEY_PREFIX4 : DW_KEY_PREFIX6, key, bytes + 1, e);
}

/* NULL when the expression may be used, else why not (maybe in buf). */
static const char *why_not_regex(const struct dw_entry *parsed, char *buf, size_t size)
{
	struct dw_regex_shape shape;
	const char *why = dw_regex_check(parsed->regex, parsed->regex_n, &shape);
	if (why)
		return why;
	DW_AUTO(dw_regex_free) struct dw_regex *re = dw_regex_new(parsed->regex, parsed->regex_n, buf, size, &why);
	if (!re)
		return why;
	if (!dw_regex_try(re, parsed->regex, &shape))
		return "a regular expression that takes too long on some names (fewer or narrower repeats would help)";
	return NULL;
}

static int add_parsed(struct compiler *c, const struct dw_entry *parsed, struct dw_draft_entry *e)
{
	switch (parsed->kind) {
	case DW_ENTRY_HOST:
		return add_key(c, DW_KEY_HOST, parsed->host, strlen(parsed->host), e);
	case DW_ENTRY_SUFFIX:
		return add_key(c, DW_KEY_SUFFIX, parsed->host, strlen(parsed->host), e);
	case DW_ENTRY_PREFIX:
		return add_prefix(c, &parsed->prefix, e);
	case DW_ENTRY_REGEX:
		return add_key(c, 0, parsed->regex, parsed->regex_n, e);
	case DW_ENTRY_ALL:
	case DW_ENTRY_NONE:
		break;
	}
	return 0;
}

static int add_entry(struct compiler *c, enum dw_list list, size_t i, const char *text)
{
	if (!text)
		return refuse(c, list, i, "", 0, "a missing entry");
	/* One more than the limit is enough to see that it is over. */
	size_t n = strnlen(text, DW_POLICY_ENTRY_MAXLEN + 1);
	const struct dw_entry *parsed = &c->parsed;
	const char *why;
	if (!dw_entry_parse(text, n, &c->parsed, &why))
		return refuse(c, list, i, text, n, why);
	if (parsed->kind == DW_ENTRY_REGEX) {
		char buf[160];
		if (++c->regexes > DW_POLICY_MAX_REGEX)
			return dw_err_set(c->err, DW_ERR_INVALID, CODE_LARGE,
					  "network.%s[%zu]: more than %u regular expressions in one policy",
					  list_names[list], i, DW_POLICY_MAX_REGEX);
		why = why_not_regex(parsed, buf, sizeof(buf));
		if (why)
			return refuse(c, list, i, text, n, why);
	}
	if (list == DW_LIST_ALLOW && parsed->kind == DW_ENTRY_PREFIX && dw_prefix_never_opens(&parsed->prefix))
		return refuse(c, list, i, text, n,
			      "no policy can open loopback, reserved, embedded-IPv4 or sandbox addresses");

	struct dw_draft_entry *e = &c->entries[c->n];
	*e = (struct dw_draft_entry){ .text = text,
				      .text_n = (uint16_t)n,
				      .port_lo = parsed->port_lo,
				      .port_hi = parsed->port_hi,
				      .list = (uint8_t)list,
				      .kind = (uint8_t)parsed->kind };
	if (add_parsed(c, parsed, e) < 0)
		return -1;
	c->n++;
	return 0;
}

static int compile(struct compiler *c, const struct dw_policy_spec *spec, void **ret_image, size_t *ret_len)
{
	const bool allow_present = spec->allow_present || spec->observe;
	size_t allow_n = spec->allow_present ? spec->allow_n : 0;
	if (allow_n > DW_POLICY_MAX_ENTRIES || spec->deny_n > DW_POLICY_MAX_ENTRIES - allow_n)
		return dw_err_set(c->err, DW_ERR_INVALID, CODE_LARGE,
				  "network: %zu entries in allow_out and deny_out together; the limit is %u",
				  allow_n + spec->deny_n, DW_POLICY_MAX_ENTRIES);
	size_t n = allow_n + spec->deny_n;
	c->entries = calloc(n ? n : 1, sizeof(*c->entries));
	if (!c->entries)
		return no_memory(c);
	for (size_t i = 0; i < allow_n; i++) {
		if (add_entry(c, DW_LIST_ALLOW, i, spec->allow[i]) < 0)
			return -1;
	}
	for (size_t i = 0; i < spec->deny_n; i++) {
		if (add_entry(c, DW_LIST_DENY, i, spec->deny[i]) < 0)
			return -1;
	}
	struct dw_draft d = { .entries = c->entries,
			      .n = c->n,
			      .allow_n = (uint32_t)allow_n,
			      .keys = c->keys,
			      .keys_n = (uint32_t)c->keys_n,
			      .flags = (allow_present ? DW_IMAGE_ALLOW_PRESENT : 0) |
				       (spec->default_allow ? DW_IMAGE_DEFAULT_ALLOW : 0) |
				       (spec->reject ? DW_IMAGE_REJECT : 0) | (spec->observe ? DW_IMAGE_OBSERVE : 0) |
				       (spec->allow_ech ? DW_IMAGE_ALLOW_ECH : 0) };
	int r = dw_image_build(&d, ret_image, ret_len);
	if (r == -E2BIG)
		return dw_err_set(c->err, DW_ERR_INVALID, CODE_LARGE,
				  "network: the entries do not fit into a policy table");
	return r < 0 ? no_memory(c) : 0;
}

int dw_policy_compile(const struct dw_policy_spec *spec, void **ret_image, size_t *ret_len, struct dw_err *err)
{
	struct compiler c = { .err = err };
	int r = compile(&c, spec, ret_image, ret_len);
	free(c.entries);
	free(c.keys);
	return r;
}
