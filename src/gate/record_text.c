/* SPDX-License-Identifier: Apache-2.0 */
/* Decision records as JSON: what an event says. */
#include "gate/record.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static const char *const proto_words[] = {
	[DW_PROTO_NONE] = "other", [DW_PROTO_TCP] = "tcp", [DW_PROTO_UDP] = "udp",
	[DW_PROTO_ICMP] = "icmp",  [DW_PROTO_DNS] = "dns", [DW_PROTO_OTHER] = "other",
};

static const char *proto_word(enum dw_proto proto)
{
	return (size_t)proto < DW_COUNT(proto_words) ? proto_words[proto] : "other";
}

void gate_record_escape(const char *s, char *out, size_t size)
{
	size_t n = 0;

	for (; *s; s++) {
		bool plain = *s >= ' ' && *s <= '~' && *s != '\\';

		/* Room for the longest piece, dots and NUL. */
		if (n + 4 + 3 + 1 > size) {
			memcpy(out + n, "...", 3);
			n += 3;
			break;
		}
		if (plain)
			out[n++] = *s;
		else
			n += (size_t)snprintf(out + n, size - n, "\\x%02x", (unsigned)(uint8_t)*s);
	}
	out[n] = '\0';
}

const char *gate_record_qtype(uint16_t qtype, char buf[static 16])
{
	static const struct {
		uint16_t type;
		const char *name;
	} known[] = {
		{ 1, "A" },       { 2, "NS" },    { 5, "CNAME" },  { 6, "SOA" },   { 10, "NULL" },  { 12, "PTR" },
		{ 15, "MX" },     { 16, "TXT" },  { 28, "AAAA" },  { 33, "SRV" },  { 35, "NAPTR" }, { 43, "DS" },
		{ 48, "DNSKEY" }, { 64, "SVCB" }, { 65, "HTTPS" }, { 255, "ANY" },
	};

	for (size_t i = 0; i < DW_COUNT(known); i++) {
		if (known[i].type == qtype)
			return known[i].name;
	}
	snprintf(buf, 16, "TYPE%u", qtype);
	return buf;
}

/* "example.com (1.2.3.4:443/tcp)", or what there is of it. */
static void describe(const struct gate_record_key *k, char *buf, size_t size)
{
	char addr[DW_ADDR_STRLEN];
	char where[DW_ADDR_STRLEN + 24] = "";
	bool v6 = k->addr.family == DW_AF_6;

	dw_addr_format(&k->addr, addr);
	if (k->addr.family == DW_AF_NONE)
		;
	else if (k->proto == DW_PROTO_TCP || k->proto == DW_PROTO_UDP)
		snprintf(where, sizeof(where), "%s%s%s:%u/%s", v6 ? "[" : "", addr, v6 ? "]" : "", k->port,
			 proto_word(k->proto));
	else if (k->proto == DW_PROTO_DNS)
		snprintf(where, sizeof(where), "%s", addr);
	else
		snprintf(where, sizeof(where), "%s/%s", addr, proto_word(k->proto));
	if (k->name[0] && where[0])
		snprintf(buf, size, "%s (%s)", k->name, where);
	else if (k->name[0] || where[0])
		snprintf(buf, size, "%s%s", k->name, where);
	else
		snprintf(buf, size, "%s", k->proto == DW_PROTO_DNS ? "A DNS query" : "Traffic");
}

static void message_of(const struct gate_record_key *k, const struct dw_policy *policy, const struct dw_decision *d,
		       char *buf, size_t size)
{
	char what[GATE_RECORD_NAME + DW_ADDR_STRLEN + 32];

	if (k->rest) {
		snprintf(buf, size, "More was %s than is recorded one by one (reason %s).",
			 k->verdict == DW_DENY ? "refused" : "allowed", dw_reason_name(k->reason));
		return;
	}
	describe(k, what, sizeof(what));
	dw_explain(policy, d, what, buf, size);
}

static void set_text(json_t *o, const char *key, const char *text)
{
	json_t *v = json_string(text);
	char plain[256];

	/* A rule may quote bytes that are not UTF-8. */
	if (!v) {
		gate_record_escape(text, plain, sizeof(plain));
		v = json_string(plain);
	}
	json_object_set_new(o, key, v);
}

/* Whether the sandbox was given this address for this name. */
static bool is_pinned(const struct gate_sandbox *s, const struct gate_record_key *k)
{
	struct dw_pin pin;

	return k->name[0] && k->addr.family != DW_AF_NONE && s->pins && dw_pins_find(s->pins, k->name, &k->addr, &pin);
}

char *gate_record_common(const struct gate_record_key *k, const struct gate_sandbox *s, const struct dw_decision *d)
{
	const struct dw_policy *policy = s ? s->policy : NULL;
	json_t *o = json_object();
	char text[1536];
	char *ret;

	if (!o)
		return NULL;
	json_object_set_new(o, "sandbox", s ? json_string(s->id) : json_null());
	if (!s)
		set_text(o, "source", dw_addr_format(&k->source, text));
	set_text(o, "proto", proto_word(k->proto));
	if (k->addr.family != DW_AF_NONE)
		set_text(o, "addr", dw_addr_format(&k->addr, text));
	if (k->proto == DW_PROTO_DNS && !k->rest && k->port)
		set_text(o, "qtype", gate_record_qtype(k->port, text));
	if ((k->proto == DW_PROTO_TCP || k->proto == DW_PROTO_UDP) && !k->rest)
		json_object_set_new(o, "port", json_integer(k->port));
	if (k->name[0])
		set_text(o, "name", k->name);
	set_text(o, "verdict", d->verdict == DW_DENY ? "deny" : "allow");
	set_text(o, "reason", dw_reason_name(d->reason));
	if (d->would != DW_REASON_NONE)
		set_text(o, "would", dw_reason_name(d->would));
	if (policy && dw_policy_observes(policy) && is_pinned(s, k))
		json_object_set_new(o, "pinned", json_true());
	if (policy && d->rule != DW_RULE_NONE && !k->rest)
		set_text(o, "rule", dw_policy_rule_text(policy, d->rule, text, sizeof(text)));
	message_of(k, policy, d, text, sizeof(text));
	set_text(o, "message", text);
	ret = json_dumps(o, JSON_COMPACT | JSON_EMBED);
	json_decref(o);
	return ret;
}

char *gate_record_event(const char *common, int64_t wall_us, const struct gate_record_sums *t, size_t *ret_n)
{
	char flow[40] = "";
	char *json = NULL;
	int n;

	/* A clock before 1970 is no time of anything. */
	wall_us = DW_MAX(wall_us, 0);
	if (t->flow)
		snprintf(flow, sizeof(flow), ",\"flow\":%llu", (unsigned long long)t->flow);
	n = asprintf(
		&json,
		"{\"event\":\"decision\",\"time\":%lld.%06lld,%s%s,\"count\":%llu,\"closed\":%s,\"bytes_out\":%llu,"
		"\"bytes_in\":%llu,\"duration_ms\":%llu}",
		(long long)(wall_us / 1000000), (long long)(wall_us % 1000000), common, flow,
		(unsigned long long)t->count, t->closed ? "true" : "false", (unsigned long long)t->bytes_out,
		(unsigned long long)t->bytes_in, (unsigned long long)t->duration_ms);
	if (n < 0)
		return NULL;
	*ret_n = (size_t)n;
	return json;
}
