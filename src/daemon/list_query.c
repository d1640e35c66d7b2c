/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/list_query.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/bounds.h"

void list_query_done(struct list_query *q)
{
	json_decref(q->metadata);
	q->metadata = NULL;
}

int list_query_init(struct list_query *q, struct dw_err *err)
{
	*q = (struct list_query){ .limit = DAEMON_LIST_DEFAULT, .metadata = json_object() };
	return q->metadata ? 0 : dw_err_errno(err, ENOMEM, "listing sandboxes");
}

const char *list_token(uint64_t offset, char buf[static LIST_TOKEN_SIZE])
{
	snprintf(buf, LIST_TOKEN_SIZE, "o%llu", (unsigned long long)offset);
	return buf;
}

static int add_state(struct list_query *q, const char *state, size_t n, struct dw_err *err)
{
	/* No sandbox is ever shown in the last one; asking for it is fine all the same. */
	static const struct {
		const char *name;
		bool running, paused, killed;
	} states[] = {
		{ "running", true, false, false }, { "live", true, false, false }, { "paused", false, true, false },
		{ "killed", false, false, true },  { "all", true, true, true },    { "creating", false, false, false },
	};
	for (size_t i = 0; i < DW_COUNT(states); i++) {
		if (strlen(states[i].name) == n && memcmp(states[i].name, state, n) == 0) {
			q->running |= states[i].running;
			q->paused |= states[i].paused;
			q->killed |= states[i].killed;
			return 0;
		}
	}
	return dw_err_set(err, DW_ERR_INVALID, "invalid_field",
			  "state must be running, live, killed, paused, creating or all");
}

static int add_states(struct list_query *q, const char *value, struct dw_err *err)
{
	for (const char *at = value;; at++) {
		size_t n = strcspn(at, ",");
		if (add_state(q, at, n, err) < 0)
			return -1;
		at += n;
		if (!*at)
			return 0;
	}
}

static int number(const char *key, const char *value, uint64_t *ret, struct dw_err *err)
{
	if (!jsonx_uint(value, UINT32_MAX, ret))
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "%s must be a whole number", key);
	return 0;
}

/* One quoted Python or JSON-like string at *at, without escapes; NULL when there is none. */
static char *quoted(const char **at)
{
	const char *p = *at + strspn(*at, " ");
	char q = *p;
	if (q != '\'' && q != '"')
		return NULL;
	const char *end = strchr(++p, q);
	if (!end || memchr(p, '\\', (size_t)(end - p)))
		return NULL;
	*at = end + 1;
	*at += strspn(*at, " ");
	return strndup(p, (size_t)(end - p));
}

/* The repr of a flat dictionary of strings: {'a': 'b', 'c': 'd'}. False, and nothing usable, for anything else. */
static bool parse_repr(const char *s, json_t *into)
{
	if (*s++ != '{')
		return false;
	while (*s && *s != '}') {
		dw_autofree char *key = quoted(&s);
		if (!key || *s++ != ':')
			return false;
		dw_autofree char *value = quoted(&s);
		if (!value || json_object_set_new(into, key, json_string(value)) < 0)
			return false;
		if (*s == ',')
			s++;
	}
	return *s == '}' && s[1] == '\0';
}

/* k=v&k=v, as some clients nest it in the one parameter. */
static bool parse_pairs(const char *s, json_t *into)
{
	while (*s) {
		size_t n = strcspn(s, "&");
		const char *eq = memchr(s, '=', n);
		if (!eq || eq == s)
			return false;
		dw_autofree char *key = strndup(s, (size_t)(eq - s));
		if (!key || json_object_set_new(into, key, json_stringn(eq + 1, n - (size_t)(eq + 1 - s))) < 0)
			return false;
		s += n + (s[n] == '&');
	}
	return true;
}

static bool parse_json(const char *s, json_t *into)
{
	auto_json json_t *j = NULL;
	const char *key;
	json_t *value;
	if (jsonx_parse("metadata", s, strlen(s), &j, NULL) < 0 || !json_is_object(j))
		return false;
	json_object_foreach(j, key, value) if (!jsonx_plain_string(value)) return false;
	return json_object_update(into, j) == 0;
}

/* What no parser understands is no filter: the contract asks for that, because one client sends its dictionaries unquoted. */
static void add_metadata(struct list_query *q, const char *value)
{
	bool (*const parsers[])(const char *, json_t *) = { parse_json, parse_repr, parse_pairs };
	for (size_t i = 0; i < DW_COUNT(parsers); i++) {
		auto_json json_t *found = json_object();
		if (!parsers[i](value, found))
			continue;
		DW_IGNORE(json_object_update(q->metadata, found)); /* fails without memory: the list is longer then */
		return;
	}
}

int list_query_add(struct list_query *q, const char *key, const char *value, struct dw_err *err)
{
	static const char prefix[] = "metadata.";
	value = value ? value : "";
	if (strcmp(key, "state") == 0)
		return add_states(q, value, err);
	if (strcmp(key, "limit") == 0) {
		if (number(key, value, &q->limit, err) < 0 || q->limit < 1)
			return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "limit must be between 1 and %u",
					  DAEMON_LIST_MAX);
		q->limit = DW_MIN(q->limit, (uint64_t)DAEMON_LIST_MAX);
	} else if (strcmp(key, "offset") == 0) {
		return number(key, value, &q->offset, err);
	} else if (strcmp(key, "next_token") == 0 && *value) {
		if (*value != 'o' || number(key, value + 1, &q->offset, NULL) < 0)
			return dw_err_set(err, DW_ERR_INVALID, "invalid_field",
					  "next_token must be one that this server gave out");
	} else if (strcmp(key, "metadata") == 0) {
		add_metadata(q, value);
	} else if (strncmp(key, prefix, sizeof(prefix) - 1) == 0) {
		json_object_set_new(q->metadata, key + sizeof(prefix) - 1, json_string(value));
	}
	return 0;
}

bool list_query_matches(const struct list_query *q, const json_t *metadata)
{
	const char *key;
	json_t *want;
	json_object_foreach(q->metadata, key, want) if (!json_equal(json_object_get(metadata, key), want)) return false;
	return true;
}
