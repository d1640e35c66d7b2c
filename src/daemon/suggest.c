/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/suggest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/clock.h"

#define HTTPS_PORT 443

enum { SAW_TCP = 1, SAW_UDP = 2, SAW_DNS = 4 };

/* A name or an address with one port, or (port 0) a name that was looked up. */
struct need {
	char target[DW_HOST_SIZE]; /* a name, or an address as it is written in an entry */
	char reason[32];           /* why an address had to be one; "" = no name stood for it */
	bool is_name;
	uint16_t port;
	unsigned protocols;
	int64_t count, first_us, last_us;
};

struct suggestion {
	struct need *need;
	size_t n, cap;
	json_t *not_coverable;
	bool failed; /* memory was out */
};

struct suggestion *suggestion_new(void)
{
	struct suggestion *s = calloc(1, sizeof(*s));
	if (s)
		s->not_coverable = json_array();
	return s;
}

void suggestion_free(struct suggestion *s)
{
	json_decref(s->not_coverable);
	free(s->need);
	free(s);
}

static unsigned protocol_of(const char *word)
{
	return strcmp(word, "tcp") == 0 ? SAW_TCP : strcmp(word, "udp") == 0 ? SAW_UDP : SAW_DNS;
}

static void set_time(json_t *j, const char *key, int64_t us)
{
	char text[CLOCK_ISO_SIZE];
	json_object_set_new(j, key, json_string(clock_iso(us, text)));
}

static const char *why_not(const char *reason)
{
	if (strncmp(reason, "floor_", 6) == 0)
		return "below the floor: no entry opens it";
	if (strcmp(reason, "private_address") == 0)
		return "a private address: only an address entry of yours opens it";
	if (strcmp(reason, "private_answer") == 0)
		return "the name resolves to private addresses, which a name does not open";
	return "it would be refused under any policy";
}

static void add_refused(struct suggestion *s, const struct observed *o)
{
	json_t *j = json_pack("{ss ss ss ss sI}", "protocol", o->protocol, *o->name ? "name" : "addr",
			      *o->name ? o->name : o->addr, "reason", o->reason, "why", why_not(o->reason), "count",
			      (json_int_t)o->count);
	if (!j) {
		s->failed = true;
		return;
	}
	if (o->port)
		json_object_set_new(j, "port", json_integer(o->port));
	set_time(j, "first", o->first_us);
	set_time(j, "last", o->last_us);
	json_array_append_new(s->not_coverable, j);
}

/* Whether it can be an entry at all: an address in entry form, or a name that is canonical. */
static bool target_of(const struct observed *o, struct need *ret)
{
	struct dw_addr a;
	char text[DW_ADDR_STRLEN];
	ret->is_name = *o->name != '\0';
	if (ret->is_name)
		return dw_host_canon(o->name, strlen(o->name), ret->target, NULL) == DW_HOST_OK;
	if (!o->port || !dw_addr_parse(o->addr, strlen(o->addr), &a))
		return false;
	snprintf(ret->target, sizeof(ret->target), a.family == DW_AF_6 ? "[%s]" : "%s", dw_addr_format(&a, text));
	return true;
}

void suggestion_add(void *arg, const struct observed *o)
{
	struct suggestion *s = arg;
	struct need n = {
		.port = strcmp(o->protocol, "dns") == 0 ? 0 : o->port,
		.protocols = protocol_of(o->protocol),
		.count = o->count,
		.first_us = o->first_us,
		.last_us = o->last_us,
	};
	if (o->denied || !target_of(o, &n)) {
		add_refused(s, o);
		return;
	}
	if (!n.is_name && strncmp(o->reason, "not_in", 6) != 0 && strncmp(o->reason, "allow_", 6) != 0 &&
	    strncmp(o->reason, "deny_", 5) != 0)
		snprintf(n.reason, sizeof(n.reason), "%s", o->reason);
	if (s->n == s->cap) {
		const size_t cap = s->cap ? s->cap * 2 : 64;
		struct need *grown = reallocarray(s->need, cap, sizeof(*grown));
		if (!grown) {
			s->failed = true;
			return;
		}
		s->need = grown;
		s->cap = cap;
	}
	s->need[s->n++] = n;
}

/* Names before addresses; by target; by port, so that neighbours stand together and a mere look-up comes first. */
static int compare(const void *pa, const void *pb)
{
	const struct need *a = pa, *b = pb;
	if (a->is_name != b->is_name)
		return a->is_name ? -1 : 1;
	const int by_target = strcmp(a->target, b->target);
	return by_target ? by_target : (int)a->port - (int)b->port;
}

static bool same_target(const struct need *a, const struct need *b)
{
	return a->is_name == b->is_name && strcmp(a->target, b->target) == 0;
}

static void join(struct need *into, const struct need *n)
{
	into->protocols |= n->protocols;
	into->count += n->count;
	into->first_us = DW_MIN(into->first_us, n->first_us);
	into->last_us = DW_MAX(into->last_us, n->last_us);
	if (!into->reason[0])
		memcpy(into->reason, n->reason, sizeof(into->reason));
}

static json_t *protocols_json(unsigned seen)
{
	static const char *const words[] = { "tcp", "udp", "dns" };
	json_t *list = json_array();
	for (unsigned i = 0; i < DW_COUNT(words); i++)
		if (seen & 1u << i)
			json_array_append_new(list, json_string(words[i]));
	return list;
}

static void describe(const struct need *n, bool looked_up_only, char *buf, size_t size)
{
	if (looked_up_only)
		snprintf(buf, size, "the name was looked up, and no connection to it was seen");
	else if (n->is_name)
		snprintf(buf, size, "connections to this name were seen");
	else if (n->reason[0])
		snprintf(buf, size, "connections to this address were seen that no name would have opened (%s)",
			 n->reason);
	else
		snprintf(buf, size, "connections to this address were seen, and no name stood for it");
}

static bool add_entry(json_t *allow, json_t *entries, const struct need *n, uint16_t last_port)
{
	char entry[DW_HOST_SIZE + 16], why[160];
	const bool looked_up_only = n->is_name && !n->port;
	const unsigned first = n->port ? n->port : HTTPS_PORT;
	const unsigned last = n->port ? last_port : HTTPS_PORT;
	snprintf(entry, sizeof(entry), first == last ? "%s:%u" : "%s:%u-%u", n->target, first, last);
	describe(n, looked_up_only, why, sizeof(why));
	json_t *j = json_pack("{ss ss sI so}", "entry", entry, "why", why, "count", (json_int_t)n->count, "protocols",
			      protocols_json(n->protocols));
	if (!j)
		return false;
	set_time(j, "first", n->first_us);
	set_time(j, "last", n->last_us);
	return json_array_append_new(entries, j) == 0 && json_array_append_new(allow, json_string(entry)) == 0;
}

/* One target, whose needs stand from i on: its entries. Returns where the next target begins. */
static size_t add_target(const struct suggestion *s, size_t i, json_t *allow, json_t *entries, bool *ok)
{
	size_t end = i + 1;
	while (end < s->n && same_target(&s->need[end], &s->need[i]))
		end++;
	struct need looked_up = { 0 };
	bool any_look_up = false;
	/* Any entry of a name lets it be looked up: the look-ups need one of their own only where there is no other. */
	for (; i < end && !s->need[i].port; i++) {
		if (any_look_up)
			join(&looked_up, &s->need[i]);
		else
			looked_up = s->need[i];
		any_look_up = true;
	}
	if (any_look_up && i == end)
		*ok = *ok && add_entry(allow, entries, &looked_up, 0);
	while (i < end) {
		struct need range = s->need[i];
		uint16_t last = range.port;
		for (i++; i < end && s->need[i].port <= last + 1; i++) {
			last = s->need[i].port;
			join(&range, &s->need[i]);
		}
		if (any_look_up) {
			join(&range, &looked_up);
			any_look_up = false;
		}
		*ok = *ok && add_entry(allow, entries, &range, last);
	}
	return end;
}

json_t *suggestion_json(struct suggestion *s, int64_t overflow)
{
	auto_json json_t *allow = json_array();
	auto_json json_t *entries = json_array();
	bool ok = allow && entries && s->not_coverable && !s->failed;
	if (s->n)
		qsort(s->need, s->n, sizeof(*s->need), compare);
	for (size_t i = 0; i < s->n && ok;)
		i = add_target(s, i, allow, entries, &ok);
	if (!ok)
		return NULL;
	return json_pack("{s{sO} sO sO sI}", "network", "allow_out", allow, "entries", entries, "not_coverable",
			 s->not_coverable, "overflow", (json_int_t)overflow);
}
