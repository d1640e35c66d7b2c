/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/log_query.h"

#include <stdio.h>
#include <string.h>

#include "daemon/timestamp.h"
#include "policy/policy.h"

static int wrong(const char *key, const char *want, struct dw_err *err)
{
	return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "%s must be %s", key, want);
}

/* Each setter stores its value; NULL, or what a good value looks like. */

static const char *copy_word(char *dst, size_t size, const char *v, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(words[i], v) == 0) {
			snprintf(dst, size, "%s", v);
			return NULL;
		}
	}
	return "";
}

static const char *set_verdict(struct log_query *q, const char *v)
{
	static const char *const words[] = { "allow", "deny" };
	return copy_word(q->filter.verdict, sizeof(q->filter.verdict), v, words, DW_COUNT(words)) ? "allow or deny"
												  : NULL;
}

static const char *set_proto(struct log_query *q, const char *v)
{
	static const char *const words[] = { "tcp", "udp", "icmp", "dns", "other" };
	return copy_word(q->filter.protocol, sizeof(q->filter.protocol), v, words, DW_COUNT(words))
		       ? "tcp, udp, icmp, dns or other"
		       : NULL;
}

static const char *set_reason(struct log_query *q, const char *v)
{
	for (int r = DW_REASON_NONE + 1; r < DW_REASON__COUNT; r++) {
		const char *word = dw_reason_name((enum dw_reason)r);
		if (!copy_word(q->filter.reason, sizeof(q->filter.reason), v, &word, 1))
			return NULL;
	}
	return "one of the reasons that records have";
}

static const char *set_would(struct log_query *q, const char *v)
{
	const bool on = strcmp(v, "true") == 0;
	if (!on && strcmp(v, "false") != 0)
		return "true or false";
	q->filter.would_set = true;
	q->filter.would = on;
	return NULL;
}

static const char *set_name(struct log_query *q, const char *v)
{
	const bool below = strncmp(v, "*.", 2) == 0;
	const char *host = below ? v + 2 : v;
	char canonical[DW_HOST_SIZE];
	if (dw_host_canon(host, strlen(host), canonical, NULL) != DW_HOST_OK)
		return "a host name, or *. and a host name";
	snprintf(q->filter.name, sizeof(q->filter.name), "%s%s", below ? "." : "", canonical);
	return NULL;
}

static const char *set_addr(struct log_query *q, const char *v)
{
	struct dw_addr a;
	if (!dw_addr_parse(v, strlen(v), &a))
		return "an IPv4 or IPv6 address";
	dw_addr_format(&a, q->filter.addr);
	return NULL;
}

static const char *set_port(struct log_query *q, const char *v)
{
	uint64_t port;
	if (!jsonx_uint(v, 65535, &port))
		return "a whole number between 0 and 65535";
	q->filter.port = (int32_t)port;
	return NULL;
}

static const char time_words[] = "Unix seconds, or a time such as 2026-01-31T12:00:00Z";

static const char *set_since(struct log_query *q, const char *v)
{
	return timestamp_parse(v, &q->filter.since_us) ? NULL : time_words;
}

static const char *set_until(struct log_query *q, const char *v)
{
	return timestamp_parse(v, &q->filter.until_us) ? NULL : time_words;
}

static const char *set_limit(struct log_query *q, const char *v)
{
	uint64_t n;
	if (!jsonx_uint(v, UINT32_MAX, &n) || n < 1)
		return "a whole number from 1 on (more than 1000 counts as 1000)";
	q->limit = DW_MIN(n, (uint64_t)DAEMON_LOG_LIMIT_MAX);
	return NULL;
}

static const char *set_before(struct log_query *q, const char *v)
{
	uint64_t n;
	if (!jsonx_uint(v, INT64_MAX, &n) || n < 1)
		return "an id, as `next` has it";
	q->before = (int64_t)n;
	return NULL;
}

static const char *set_follow(struct log_query *q, const char *v)
{
	q->follow = strcmp(v, "true") == 0;
	return q->follow || strcmp(v, "false") == 0 ? NULL : "true or false";
}

static const struct {
	const char *name;
	const char *(*set)(struct log_query *q, const char *value);
} parameters[] = {
	{ "verdict", set_verdict }, { "proto", set_proto }, { "reason", set_reason }, { "would", set_would },
	{ "name", set_name },       { "addr", set_addr },   { "port", set_port },     { "since", set_since },
	{ "until", set_until },     { "limit", set_limit }, { "before", set_before }, { "follow", set_follow },
};

int log_query_add(struct log_query *q, const char *key, const char *value, struct dw_err *err)
{
	for (size_t i = 0; i < DW_COUNT(parameters); i++) {
		if (strcmp(parameters[i].name, key) != 0)
			continue;
		const char *want = parameters[i].set(q, value ? value : "");
		return want ? wrong(key, want, err) : 0;
	}
	return 0;
}

int log_query_check(const struct log_query *q, struct dw_err *err)
{
	if (q->follow && q->before)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_field", "before does not go with follow");
	return 0;
}
