/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/inspect.h"

#include <stdio.h>
#include <string.h>

#include "core/defence.h"
#include "gate/answer.h"
#include "policy/host.h"

#define ALERT_DECODE_ERROR      50
#define ALERT_ACCESS_DENIED     49
#define ALERT_UNRECOGNIZED_NAME 112

/* Observed or not, the verdict is the one of a policy that means it. */
static bool is_strict(const struct inspect *in)
{
	return in->mode != DW_INSPECT_DENY_NAMES;
}

static struct dw_decision deny(enum dw_reason reason, uint32_t rule)
{
	return (struct dw_decision){ .verdict = DW_DENY, .reason = reason, .rule = rule };
}

static enum inspect_verdict refuse(struct inspect_result *r, enum dw_reason reason, enum inspect_answer answer,
				   uint16_t code)
{
	r->decision = deny(reason, DW_RULE_NONE);
	r->answer = answer;
	r->code = code;
	return INSPECT_REFUSE;
}

static enum inspect_verdict pass(struct inspect_result *r, enum inspect_proto proto)
{
	r->proto = proto;
	return INSPECT_PASS;
}

/* What STRICT would not let through. */
static enum inspect_verdict pass_loose(struct inspect_result *r, enum inspect_proto proto)
{
	r->loose = true;
	return pass(r, proto);
}

/* A name as the client sent it: canonical if it can be, else cut to what fits. */
static bool set_name(struct inspect_result *r, const void *p, size_t n)
{
	if (dw_host_canon(p, n, r->name, NULL) == DW_HOST_OK)
		return true;
	size_t keep = DW_MIN(n, sizeof(r->name) - 1);
	memcpy(r->name, p, keep);
	r->name[keep] = '\0';
	return false;
}

struct dw_decision inspect_name(const struct inspect *in, enum inspect_proto proto, const char *name)
{
	const bool tls = proto == INSPECT_PROTO_TLS;
	struct dw_decision d = dw_decide_name(in->policy, name, in->port);
	struct dw_pin pin;

	if (in->mode == DW_INSPECT_DENY_NAMES) {
		if (d.verdict == DW_DENY && d.reason == DW_REASON_DENY_ENTRY)
			return deny(tls ? DW_REASON_SNI_NOT_ALLOWED : DW_REASON_HOST_NOT_ALLOWED, d.rule);
		d.verdict = DW_ALLOW;
		return d;
	}
	if (d.verdict == DW_DENY)
		return deny(tls ? DW_REASON_SNI_NOT_ALLOWED : DW_REASON_HOST_NOT_ALLOWED, d.rule);
	if (dw_defended(DW_DEFENCE_NAME_PIN) && (!in->pins || !dw_pins_find(in->pins, name, &in->dst, &pin)))
		return deny(tls ? DW_REASON_SNI_MISMATCH : DW_REASON_HOST_MISMATCH, d.rule);
	return (struct dw_decision){ .verdict = DW_ALLOW_BY_NAME, .reason = DW_REASON_ALLOW_NAME, .rule = d.rule };
}

static enum inspect_verdict judge_hello(const struct inspect *in, const struct dw_tls_hello *h,
					struct inspect_result *r)
{
	const bool strict = is_strict(in);

	if (!dw_defended(DW_DEFENCE_SNI))
		return pass(r, INSPECT_PROTO_TLS);
	r->ech = h->has_ech;
	if (strict && h->has_ech && !dw_policy_allows_ech(in->policy) && dw_defended(DW_DEFENCE_ECH)) {
		if (h->has_sni)
			DW_IGNORE(set_name(r, h->sni, h->sni_n)); /* only for the record */
		return refuse(r, DW_REASON_ECH, INSPECT_ANSWER_ALERT, ALERT_ACCESS_DENIED);
	}
	if (!h->has_sni)
		return strict && dw_defended(DW_DEFENCE_SNI_REQUIRED)
			       ? refuse(r, DW_REASON_SNI_MISSING, INSPECT_ANSWER_ALERT, ALERT_UNRECOGNIZED_NAME)
			       : pass(r, INSPECT_PROTO_TLS);
	if (!set_name(r, h->sni, h->sni_n))
		return strict ? refuse(r, DW_REASON_SNI_NOT_ALLOWED, INSPECT_ANSWER_ALERT, ALERT_UNRECOGNIZED_NAME)
			      : pass(r, INSPECT_PROTO_TLS);
	r->decision = inspect_name(in, INSPECT_PROTO_TLS, r->name);
	if (r->decision.verdict != DW_DENY)
		return pass(r, INSPECT_PROTO_TLS);
	r->answer = INSPECT_ANSWER_ALERT;
	r->code = ALERT_ACCESS_DENIED;
	return INSPECT_REFUSE;
}

enum inspect_verdict inspect_hello(const struct inspect *in, const struct dw_tls_hello *h, struct inspect_result *ret)
{
	*ret = (struct inspect_result){ .proto = INSPECT_PROTO_TLS, .decision.rule = DW_RULE_NONE };
	return judge_hello(in, h, ret);
}

enum inspect_verdict inspect_tls(const struct inspect *in, const uint8_t *data, size_t n, uint8_t *scratch,
				 struct inspect_result *ret)
{
	struct dw_tls_hello hello;
	enum dw_parse p = dw_tls_hello_parse(data, n, scratch, &hello);

	*ret = (struct inspect_result){ .proto = INSPECT_PROTO_TLS, .decision.rule = DW_RULE_NONE };
	if (p == DW_PARSE_OK) {
		ret->hello_n = hello.stream_n;
		return judge_hello(in, &hello, ret);
	}
	if (p == DW_PARSE_MORE)
		return INSPECT_MORE;
	if (!dw_defended(DW_DEFENCE_TLS_STRICT))
		return pass(ret, INSPECT_PROTO_TLS);
	/* In DENY_NAMES too: nothing else starts like TLS, and some servers would still find a denied name in it. */
	return refuse(ret, DW_REASON_TLS_MALFORMED, INSPECT_ANSWER_ALERT, ALERT_DECODE_ERROR);
}

/* A client that speaks HTTP where TLS is required can read why; any other gets the end of the connection. */
static enum inspect_verdict not_tls(const uint8_t *data, size_t n, struct inspect_result *r)
{
	if (dw_http_looks_like(data, n) == DW_PARSE_OK)
		return refuse(r, DW_REASON_TLS_REQUIRED, INSPECT_ANSWER_HTTP, 403);
	return refuse(r, DW_REASON_TLS_REQUIRED, INSPECT_ANSWER_NONE, 0);
}

/* The PROXY protocol, both versions (haproxy's proxy-protocol.txt, section 2): OK for a whole signature, MORE for a part. */
static enum dw_parse proxy_header(const uint8_t *data, size_t n)
{
	static const struct {
		const char *p;
		size_t n;
	} signatures[] = { { "PROXY ", 6 }, { "\r\n\r\n\0\r\nQUIT\n", 12 } };

	for (size_t i = 0; i < DW_COUNT(signatures); i++) {
		if (memcmp(data, signatures[i].p, DW_MIN(n, signatures[i].n)) == 0)
			return n < signatures[i].n ? DW_PARSE_MORE : DW_PARSE_OK;
	}
	return DW_PARSE_BAD;
}

enum inspect_verdict inspect_first(const struct inspect *in, const uint8_t *data, size_t n, struct dw_http_guess *guess,
				   uint8_t *scratch, struct inspect_result *ret)
{
	const bool strict = is_strict(in);

	*ret = (struct inspect_result){ .decision.rule = DW_RULE_NONE };
	if (n == 0)
		return INSPECT_MORE;
	if (strict && in->port == 80 && dw_defended(DW_DEFENCE_HTTP_REQUIRED)) {
		enum dw_parse p = dw_http_guess_feed(guess, data, n);
		if (p == DW_PARSE_OK)
			return INSPECT_HTTP;
		return p == DW_PARSE_MORE ? INSPECT_MORE : refuse(ret, DW_REASON_HTTP_REQUIRED, INSPECT_ANSWER_NONE, 0);
	}
	switch (dw_tls_looks_like(data, n)) {
	case DW_PARSE_OK:
		return inspect_tls(in, data, n, scratch, ret);
	case DW_PARSE_MORE:
		return INSPECT_MORE;
	case DW_PARSE_BAD:
	case DW_PARSE_BIG:
		break;
	}
	if (strict && in->port == 443 && dw_defended(DW_DEFENCE_TLS_REQUIRED))
		return not_tls(data, n, ret);
	switch (dw_defended(DW_DEFENCE_PROXY_HEADER) ? proxy_header(data, n) : DW_PARSE_BAD) {
	case DW_PARSE_OK:
		return refuse(ret, DW_REASON_PROXY_HEADER, INSPECT_ANSWER_NONE, 0);
	case DW_PARSE_MORE:
		return INSPECT_MORE;
	case DW_PARSE_BAD:
	case DW_PARSE_BIG:
		break;
	}
	switch (dw_http_guess_feed(guess, data, n)) {
	case DW_PARSE_OK:
		return INSPECT_HTTP;
	case DW_PARSE_MORE:
		return INSPECT_MORE;
	case DW_PARSE_BAD:
	case DW_PARSE_BIG:
		break;
	}
	return pass(ret, INSPECT_PROTO_OPAQUE);
}

static enum inspect_verdict refuse_http(const struct inspect *in, struct inspect_result *r, enum dw_reason reason,
					uint16_t status)
{
	if (!is_strict(in) || !dw_defended(DW_DEFENCE_HTTP_STRICT))
		return pass_loose(r, INSPECT_PROTO_OPAQUE);
	return refuse(r, reason, INSPECT_ANSWER_HTTP, status);
}

static enum inspect_verdict judge_request(const struct inspect *in, const struct dw_http_head *h, bool first,
					  struct inspect_result *r)
{
	const bool strict = is_strict(in);

	if (!dw_defended(DW_DEFENCE_HTTP_HOST))
		return pass(r, INSPECT_PROTO_HTTP);
	if (h->is_h2_preface)
		return refuse_http(in, r, DW_REASON_HTTP_UPGRADE, 403);
	if (h->has_host && !set_name(r, h->host.p, h->host.n))
		return refuse_http(in, r, DW_REASON_HOST_NOT_ALLOWED, 403);
	if (h->is_connect && strict && dw_defended(DW_DEFENCE_HTTP_CONNECT))
		return refuse(r, DW_REASON_HTTP_METHOD, INSPECT_ANSWER_HTTP, 403);
	if (!h->has_host)
		return strict && dw_defended(DW_DEFENCE_HOST_REQUIRED)
			       ? refuse(r, DW_REASON_HOST_MISSING, INSPECT_ANSWER_HTTP, 400)
			       : pass(r, INSPECT_PROTO_HTTP);
	r->decision = inspect_name(in, INSPECT_PROTO_HTTP, r->name);
	if (r->decision.verdict == DW_DENY) {
		r->answer = INSPECT_ANSWER_HTTP;
		r->code = 403;
		return INSPECT_REFUSE;
	}
	if (!strict)
		return h->is_upgrade || h->is_connect ? pass_loose(r, INSPECT_PROTO_OPAQUE)
						      : pass(r, INSPECT_PROTO_HTTP);
	if (h->has_port && h->host_port != in->port)
		return refuse(r, DW_REASON_HOST_MISMATCH, INSPECT_ANSWER_HTTP, 403);
	/* After an upgrade the bytes are another protocol's; only the first request's answer can be told apart. */
	if (h->is_upgrade && (!h->upgrade_websocket || !first) && dw_defended(DW_DEFENCE_HTTP_UPGRADE))
		return refuse(r, DW_REASON_HTTP_UPGRADE, INSPECT_ANSWER_HTTP, 403);
	return pass(r, INSPECT_PROTO_HTTP);
}

enum inspect_verdict inspect_head(const struct inspect *in, const uint8_t *data, size_t n, bool first,
				  struct dw_http_head *ret_head, struct inspect_result *ret)
{
	*ret = (struct inspect_result){ .proto = INSPECT_PROTO_HTTP, .decision.rule = DW_RULE_NONE };
	if (n == 0)
		return INSPECT_MORE;
	switch (dw_http_head_parse(data, n, ret_head, NULL)) {
	case DW_PARSE_OK:
		return judge_request(in, ret_head, first, ret);
	case DW_PARSE_MORE:
		return INSPECT_MORE;
	case DW_PARSE_BIG:
		return refuse_http(in, ret, DW_REASON_HTTP_MALFORMED, 431);
	case DW_PARSE_BAD:
		break;
	}
	return refuse_http(in, ret, DW_REASON_HTTP_MALFORMED, 400);
}

uint8_t *inspect_answer_build(const struct inspect *in, const struct inspect_result *r, const uint8_t *head,
			      size_t head_n, size_t *ret_n)
{
	char target[DW_ADDR_STRLEN], what[sizeof(r->name) + 16], text[768], rule[DW_POLICY_ENTRY_MAXLEN + 64];

	*ret_n = 0;
	if (r->answer == INSPECT_ANSWER_ALERT) {
		uint8_t *p = malloc(DW_TLS_ALERT_SIZE);
		if (p) {
			dw_tls_alert_build((uint8_t)r->code, p);
			*ret_n = DW_TLS_ALERT_SIZE;
		}
		return p;
	}
	if (r->answer != INSPECT_ANSWER_HTTP)
		return NULL;
	snprintf(what, sizeof(what), "%s:%u/tcp", *r->name ? r->name : dw_addr_format(&in->dst, target), in->port);
	dw_explain(in->policy, &r->decision, what, text, sizeof(text));
	const struct answer a = {
		.status = r->code,
		.reason = dw_reason_name(r->decision.reason),
		.rule = dw_policy_rule_text(in->policy, r->decision.rule, rule, sizeof(rule)),
		.text = text,
		.json = answer_wants_json(head, head_n),
	};
	return answer_http(&a, ret_n);
}
