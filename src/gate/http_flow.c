/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/http_flow.h"

#include <string.h>

#include "core/defence.h"
#include "gate/flow.h"

static void go_opaque(struct gate_flow *f)
{
	relay_open(&f->up);
	relay_open(&f->down);
	flow_set_state(f, FLOW_RELAY);
}

/* No more requests are looked at: what the flow has shown says nothing of what it still sends. */
static void look_away(struct gate_flow *f)
{
	f->loose = true;
	flow_watch(f);
}

static void refuse(struct gate_flow *f, enum dw_reason reason, uint16_t status)
{
	const struct inspect_result r = {
		.proto = INSPECT_PROTO_HTTP,
		.decision = { .verdict = DW_DENY, .reason = reason, .rule = DW_RULE_NONE },
		.answer = INSPECT_ANSWER_HTTP,
		.code = status,
	};

	if (flow_observe(f, &r))
		look_away(f);
	else
		flow_refuse(f, &r, NULL, 0);
}

/* The next n bytes may go, as far as HTTP is concerned. False: they hold what may not. */
static bool let_go(struct gate_flow *f, size_t n)
{
	const size_t from = f->up.ok;

	f->up.ok += n;
	return flow_watch_http(f, from);
}

static void begin_body(struct gate_flow *f, const struct dw_http_head *h)
{
	struct http_flow *http = &f->http;

	http->requests++;
	http->looked = 0;
	flow_deadline(f, 0);
	if (h->is_upgrade) {
		http->phase = HTTP_UPGRADE;
		f->down.held = true;
		return;
	}
	switch (h->body) {
	case DW_HTTP_BODY_NONE:
		http->phase = HTTP_HEAD;
		return;
	case DW_HTTP_BODY_LENGTH:
		http->left = h->content_length;
		http->phase = http->left ? HTTP_LENGTH : HTTP_HEAD;
		return;
	case DW_HTTP_BODY_CHUNKED:
		http->chunked = (struct dw_http_chunked){ 0 };
		http->phase = HTTP_CHUNKED;
		return;
	}
}

/* A head that was not complete is looked at again when a line has ended since, so that a slow one costs little. */
static bool worth_a_look(const struct gate_flow *f)
{
	const struct relay_dir *d = &f->up;
	const uint8_t *p = d->buf + d->ok;
	size_t n = d->n - d->ok, seen = f->http.looked;

	return seen == 0 || n >= DW_HTTP_HEAD_MAX || !relay_room(d) || memchr(p + seen, '\n', n - seen);
}

static bool next_body(struct gate_flow *f, const struct dw_http_head *h)
{
	if (!let_go(f, h->head_n))
		return false;
	begin_body(f, h);
	return true;
}

/* The head could be read, and it is its Host alone that is against the policy. */
static bool only_host(const struct inspect_result *r)
{
	return r->decision.reason == DW_REASON_HOST_NOT_ALLOWED || r->decision.reason == DW_REASON_HOST_MISMATCH ||
	       r->decision.reason == DW_REASON_HOST_MISSING;
}

/* Returns whether there is more to do with what is in the buffer. */
static bool advance_head(struct gate_flow *f)
{
	struct relay_dir *d = &f->up;
	const struct inspect in = flow_inspect(f);
	const bool first = f->http.requests == 0 && f->down.bytes == 0 && !relay_pending(&f->down);
	struct inspect_result r;
	struct dw_http_head head;

	enum inspect_verdict v =
		worth_a_look(f) ? inspect_head(&in, d->buf + d->ok, d->n - d->ok, first, &head, &r) : INSPECT_MORE;
	switch (v) {
	case INSPECT_MORE:
		f->http.looked = d->n - d->ok;
		if (!relay_room(d))
			refuse(f, DW_REASON_HTTP_MALFORMED, 431);
		else if (!flow_held_bytes_ok(f))
			refuse(f, DW_REASON_GATE_RESOURCES, 403);
		else if (!f->deadline.index)
			flow_deadline(f, flow_inspect_ms(f));
		return false;
	case INSPECT_PASS:
		if (!flow_prove(f, &r))
			break;
		/* An observer does not wait for the answer to an upgrade. */
		if (r.proto == INSPECT_PROTO_OPAQUE || (flow_observes(f) && head.is_upgrade) ||
		    !dw_defended(DW_DEFENCE_HTTP_EVERY)) {
			look_away(f);
			return false;
		}
		return next_body(f, &head);
	case INSPECT_REFUSE:
	case INSPECT_HTTP:
		break;
	}
	if (!flow_observe(f, &r))
		flow_refuse(f, &r, d->buf + d->ok, d->n - d->ok);
	else if (only_host(&r) && !head.is_upgrade && !head.is_connect)
		return next_body(f, &head);
	else
		look_away(f);
	return false;
}

static bool advance_chunked(struct gate_flow *f)
{
	struct relay_dir *d = &f->up;
	size_t used = 0;

	switch (dw_http_chunked_feed(&f->http.chunked, d->buf + d->ok, d->n - d->ok, &used)) {
	case DW_PARSE_OK:
		f->http.phase = HTTP_HEAD;
		return let_go(f, used);
	case DW_PARSE_MORE:
		let_go(f, used);
		return false;
	case DW_PARSE_BAD:
	case DW_PARSE_BIG:
		break;
	}
	if (f->decision.inspect == DW_INSPECT_STRICT) {
		refuse(f, DW_REASON_HTTP_MALFORMED, 400);
		return false;
	}
	look_away(f);
	return false;
}

static bool advance_length(struct gate_flow *f)
{
	struct relay_dir *d = &f->up;
	size_t n = (size_t)DW_MIN((uint64_t)(d->n - d->ok), f->http.left);

	f->http.left -= n;
	if (f->http.left == 0)
		f->http.phase = HTTP_HEAD;
	return let_go(f, n);
}

void http_advance(struct gate_flow *f)
{
	bool more = true;

	while (more && f->state == FLOW_HTTP && f->up.ok < f->up.n) {
		switch (f->http.phase) {
		case HTTP_HEAD:
			more = advance_head(f);
			break;
		case HTTP_LENGTH:
			more = advance_length(f);
			break;
		case HTTP_CHUNKED:
			more = advance_chunked(f);
			break;
		case HTTP_UPGRADE:
			more = false;
			break;
		}
	}
}

void http_eof(struct gate_flow *f)
{
	if (f->http.phase == HTTP_UPGRADE)
		return; /* its bytes wait for the response like the others' */
	/* A part of a head goes nowhere; the end itself is passed on. */
	f->up.n = f->up.ok;
	f->up.held = false;
	flow_set_state(f, FLOW_RELAY);
}

/* The response is no switch to another protocol: the client has had its say. */
static void stop_client(struct gate_flow *f)
{
	relay_shut(&f->up);
	relay_open(&f->down);
	flow_set_state(f, FLOW_CLOSING);
}

/* Whether the byte ends the head of an interim response. */
static bool head_ends(struct http_flow *http, uint8_t c)
{
	if (c == '\n') {
		if (http->blank)
			return true;
		http->blank = 1;
	} else if (c != '\r' || http->blank != 1) {
		http->blank = 0;
	}
	return false;
}

void http_response(struct gate_flow *f, const uint8_t *p, size_t n)
{
	struct http_flow *http = &f->http;
	unsigned status = 0;

	if (n == 0)
		stop_client(f);
	for (size_t i = 0; i < n && f->state == FLOW_HTTP; i++) {
		if (http->interim) {
			if (head_ends(http, p[i])) {
				http->interim = false;
				http->line_n = 0;
			}
			continue;
		}
		http->line[http->line_n++] = p[i];
		enum dw_parse r = dw_http_status_parse(http->line, http->line_n, &status);
		if (r == DW_PARSE_MORE && http->line_n < sizeof(http->line))
			continue;
		if (r == DW_PARSE_OK && status == 101) {
			go_opaque(f);
		} else if (r == DW_PARSE_OK && status >= 100 && status < 200) {
			http->interim = true;
			http->blank = 0;
		} else {
			stop_client(f);
		}
	}
}
