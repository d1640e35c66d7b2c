/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flow whose first bytes are neither TLS nor HTTP may become TLS later. So all its client sends is read and searched for
 * a hello, and a hello is judged as one at the start of a flow is. The search does not end with the first hello that passes: the
 * server may have taken that one for nonsense and be waiting for the real one.
 *
 * What may be a hello but is so short that chance can make it (a PART) waits a moment if it came alone, so that of a hello that
 * is refused nothing goes up however it is cut; then it goes, because it may be a key that somebody pressed. The search goes
 * on over it. What is no chance any more (a START) waits until the hello is there.
 *
 * A flow that begins with a hello is watched too, until the server has taken that hello: it may ask for another one
 * (HelloRetryRequest, RFC 8446 section 4.1.4), and not every server sees to it that its name is the same. So what the server
 * sends behind a hello is read on its way, once. A ServerHello says that whatever the client sends from now on is no hello, and both
 * directions are spliced; after a HelloRetryRequest the ServerHello is still to come. Whatever else it is, the
 * watch goes on: a server that sent an alert may read on, and one that speaks no TLS may be asked for it later.
 * Renegotiation (TLS 1.2) is encrypted and out of sight.
 */
#include <string.h>

#include "core/defence.h"
#include "gate/flow.h"

/* A PART behind other bytes waits from this size on. One byte in 256 begins a shorter one; this is one message in 10^6. */
#define PART_WAITS 6u

static size_t unseen(const struct gate_flow *f)
{
	return f->up.n - f->up.ok;
}

/* Everything may go; what begins at `at` is kept in mind. Positions are those of starttls.h. */
static void pass_all(struct gate_flow *f, size_t at)
{
	starttls_pass(&f->tls, f->up.buf + f->up.ok, unseen(f), at);
	f->up.ok = f->up.n;
}

/* What is before `at` may go. */
static void pass_before(struct gate_flow *f, size_t at)
{
	const size_t n = at > f->tls.gone_n ? at - f->tls.gone_n : 0;

	starttls_pass(&f->tls, f->up.buf + f->up.ok, n, at);
	f->up.ok += n;
}

static void hold(struct gate_flow *f, enum starttls_what what)
{
	if (f->tls_held == what)
		return; /* the time runs from its first byte */
	f->tls_held = what;
	flow_deadline(f, what == STARTTLS_NONE ? 0 : what == STARTTLS_PART ? FLOW_PART_MS : flow_inspect_ms(f));
}

/* A server that waits for its second hello gets none, nor an end that it could answer; nothing it still says matters. */
static void turn_down(struct gate_flow *f, const struct inspect_result *r)
{
	const bool handshake = f->answer_due && !f->down.eof;

	f->answer_due = false;
	flow_refuse(f, r, NULL, 0);
	if (handshake) {
		flow_reset_server(f);
		flow_deadline(f, FLOW_LINGER_MS);
	}
}

/* Refused with nothing of the hello sent; or let through, and no longer looked at, where the policy only observes. */
static void refuse(struct gate_flow *f, const struct inspect_result *r)
{
	if (!flow_observe(f, r)) {
		turn_down(f, r);
		return;
	}
	relay_open(&f->down);
	relay_open(&f->up);
	flow_set_state(f, FLOW_RELAY);
}

static void refuse_for(struct gate_flow *f, enum dw_reason reason)
{
	const bool malformed = reason == DW_REASON_TLS_MALFORMED;
	const struct inspect_result r = {
		.proto = malformed ? INSPECT_PROTO_TLS : f->proto,
		.decision = { .reason = reason, .rule = f->decision.rule },
		.answer = malformed ? INSPECT_ANSWER_ALERT : INSPECT_ANSWER_NONE,
		.code = 50,
	};
	refuse(f, &r);
}

static enum inspect_verdict judge(struct gate_flow *f, size_t at, struct inspect_result *r)
{
	const struct inspect in = flow_inspect(f);
	const uint8_t *p = f->up.buf + f->up.ok;
	dw_autofree uint8_t *joined = NULL;
	size_t n = unseen(f);

	if (at >= f->tls.gone_n) {
		p += at - f->tls.gone_n;
		n -= at - f->tls.gone_n;
	} else {
		const size_t old = f->tls.gone_n - at;
		joined = malloc(old + n);
		if (!joined) {
			*r = (struct inspect_result){ .decision = { .reason = DW_REASON_GATE_RESOURCES,
								    .rule = DW_RULE_NONE } };
			return INSPECT_REFUSE;
		}
		memcpy(joined, f->tls.gone + at, old);
		memcpy(joined + old, p, n);
		p = joined;
		n += old;
	}
	return inspect_tls(&in, p, n, f->g->flows->scratch, r);
}

/* A hello went up: what the server sends from now on may be the answer. */
static void await_answer(struct gate_flow *f)
{
	f->tls.early = true;
	/* What is on its way already was said before. */
	if (f->answer_due || f->down.eof || relay_pending(&f->down))
		return;
	f->answer_due = true;
	f->answered = (struct dw_tls_server){ 0 };
	f->down.held = true;
	f->down.bulk = true;
}

/*
 * Whoever begins TLS behind plain text could have gone on in plain text, which passes on the pin: a hello that names no server
 * asks for nothing more than that, and many clients of databases and mail send such a one. A wrong name is refused.
 */
static bool nameless_behind_text(const struct gate_flow *f, const struct inspect_result *r)
{
	return f->proto == INSPECT_PROTO_OPAQUE && r->decision.reason == DW_REASON_SNI_MISSING && f->key.dport != 443;
}

/* A whole hello. False: it was refused, or the flow is not watched any more. */
static bool hello(struct gate_flow *f, size_t at)
{
	struct inspect_result r;

	switch (judge(f, at, &r)) {
	case INSPECT_PASS:
		if (flow_prove(f, &r)) {
			await_answer(f);
			return true;
		}
		break;
	case INSPECT_REFUSE:
		if (nameless_behind_text(f, &r)) {
			f->ech = f->ech || r.ech;
			await_answer(f);
			return true;
		}
		break;
	case INSPECT_MORE:
	case INSPECT_HTTP:
		/* Whole for some servers and not for the parser. */
		pass_before(f, at);
		refuse_for(f, DW_REASON_TLS_MALFORMED);
		return false;
	}
	if (flow_observe(f, &r)) {
		await_answer(f);
		return true;
	}
	pass_before(f, at);
	turn_down(f, &r);
	return false;
}

/* A hello has begun and is not all there. */
static void begun(struct gate_flow *f, size_t at)
{
	pass_before(f, at);
	hold(f, STARTTLS_START);
	if (f->up.eof)
		refuse_for(f, DW_REASON_UNDECIDED);
	else if (!relay_room(&f->up))
		refuse_for(f, DW_REASON_TLS_MALFORMED);
	else if (!flow_held_bytes_ok(f))
		refuse_for(f, DW_REASON_GATE_RESOURCES);
}

static void maybe(struct gate_flow *f, size_t at)
{
	const bool alone = at == f->tls.gone_n;
	const size_t n = f->tls.gone_n + unseen(f) - at;

	if (f->up.eof || flow_observes(f) || (!alone && n < PART_WAITS)) {
		pass_all(f, at);
		hold(f, STARTTLS_NONE);
		return;
	}
	pass_before(f, at);
	hold(f, STARTTLS_PART);
}

void flow_watch_read(struct gate_flow *f)
{
	size_t from = 0, inside = 0;

	while (unseen(f)) {
		struct starttls_found found;
		enum starttls_what what = starttls_scan(&f->tls, f->up.buf + f->up.ok, unseen(f), from, &found);

		/* A hello in a hello: one of them is for somebody else. */
		if (what == STARTTLS_BAD || (found.at < inside && what >= STARTTLS_START)) {
			pass_before(f, inside ? 0 : found.at);
			refuse_for(f, DW_REASON_TLS_MALFORMED);
			return;
		}
		switch (what) {
		case STARTTLS_BAD:
		case STARTTLS_NONE:
			pass_all(f, found.at);
			hold(f, STARTTLS_NONE);
			return;
		case STARTTLS_PART:
			maybe(f, found.at);
			return;
		case STARTTLS_START:
			begun(f, found.at);
			return;
		case STARTTLS_HELLO:
			hold(f, STARTTLS_NONE);
			if (!hello(f, found.at))
				return;
			from = found.at + 1;
			inside = found.at + found.n;
			break;
		}
	}
}

/* False: it is switched off, and nothing is looked at. */
static bool begin(struct gate_flow *f)
{
	relay_open(&f->down);
	if (!dw_defended(DW_DEFENCE_STARTTLS)) {
		relay_open(&f->up);
		flow_set_state(f, FLOW_RELAY);
		return false;
	}
	f->up.held = true;
	f->up.bulk = true;
	f->tls_held = STARTTLS_NONE;
	flow_set_state(f, FLOW_WATCH);
	return true;
}

void flow_watch(struct gate_flow *f)
{
	if (begin(f))
		flow_watch_read(f);
}

void flow_watch_answer(struct gate_flow *f, size_t n)
{
	if (!begin(f))
		return;
	/* A server that spoke first speaks no TLS. */
	f->answer_ends = f->down.bytes == 0 && !relay_pending(&f->down);
	f->up.ok = n;
	await_answer(f);
	flow_watch_read(f);
}

void flow_watch_server(struct gate_flow *f, const uint8_t *p, size_t n)
{
	enum dw_tls_answer answer;
	size_t used;

	if (n == 0)
		return;
	do {
		answer = dw_tls_server_hello_kind(&f->answered, p, n, &used);
		p += used;
		n -= used;
	} while (answer == DW_TLS_ANSWER_RETRY && n);
	if (answer == DW_TLS_ANSWER_MORE || answer == DW_TLS_ANSWER_RETRY)
		return;
	f->answer_due = false;
	relay_open(&f->down);
	if (answer != DW_TLS_ANSWER_HELLO)
		return;
	f->tls.early = false;
	if (!f->answer_ends)
		return;
	relay_open(&f->up);
	flow_set_state(f, FLOW_RELAY);
}

void flow_watch_deadline(struct gate_flow *f)
{
	if (f->tls_held == STARTTLS_PART) {
		pass_all(f, 0);
		f->tls_held = STARTTLS_NONE;
	} else {
		refuse_for(f, DW_REASON_UNDECIDED);
	}
	flow_run(f);
}

bool flow_watch_http(struct gate_flow *f, size_t from)
{
	struct starttls_found found;
	const uint8_t *p = f->up.buf + from;
	const size_t n = f->up.ok - from;

	/* Who listens on port 80 speaks HTTP. Elsewhere a body may be what another protocol's server reads line by line. */
	if (f->decision.inspect != DW_INSPECT_STRICT || f->key.dport == 80)
		return true;
	enum starttls_what what = starttls_scan(&f->tls, p, n, 0, &found);
	if (what == STARTTLS_NONE || what == STARTTLS_PART) {
		starttls_pass(&f->tls, p, n, found.at);
		return true;
	}
	f->up.ok = from + (found.at > f->tls.gone_n ? found.at - f->tls.gone_n : 0);
	refuse_for(f, DW_REASON_TLS_MALFORMED);
	return false;
}
