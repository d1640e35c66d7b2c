/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first bytes of a flow that must prove its name, and every plain HTTP request: bytes in, verdict out. Pure: no I/O,
 * no clock; the same bytes in more pieces give the same verdict, and a longer prefix never turns a refusal around.
 *
 * STRICT (the flow is allowed only because its address is pinned to a name): port 443 must be TLS, port 80 must be HTTP;
 * on other ports TLS and HTTP must prove their name where they are spoken, and anything else passes on the pin alone. The name
 * must be canonical, allowed by the policy on this port, and pinned to this very address for this sandbox.
 * DENY_NAMES (the address is allowed anyhow): a name that deny_out names is refused where it is seen, and so is what starts
 * like TLS and is malformed, because a name may hide in it; everything else passes.
 * OBSERVE: the verdicts of STRICT; that nothing is refused for them is up to whoever asks.
 * In all a PROXY protocol header is refused: no client needs one, and behind it a server looks for a name again.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/pins.h"
#include "policy/policy.h"
#include "wire/http_head.h"
#include "wire/tls_hello.h"

struct inspect {
	const struct dw_policy *policy;
	const struct dw_pins *pins;
	struct dw_addr dst; /* as the sandbox sees it: the handle */
	uint16_t port;
	enum dw_inspect mode; /* STRICT, DENY_NAMES or OBSERVE */
};

enum inspect_verdict {
	INSPECT_REFUSE = 0,
	INSPECT_MORE, /* nothing may go yet */
	INSPECT_PASS, /* all of it may go, and whatever follows; of TLS: the hello, but the next one is judged again */
	INSPECT_HTTP, /* plain HTTP: every request is judged by inspect_head */
};

enum inspect_proto {
	INSPECT_PROTO_UNSEEN = 0, /* no byte was looked at */
	INSPECT_PROTO_OPAQUE,
	INSPECT_PROTO_TLS,
	INSPECT_PROTO_HTTP,
};

/* How the client is told. */
enum inspect_answer {
	INSPECT_ANSWER_NONE = 0, /* the connection ends */
	INSPECT_ANSWER_ALERT,    /* code: the TLS alert */
	INSPECT_ANSWER_HTTP,     /* code: the status */
};

struct inspect_result {
	enum inspect_proto proto;
	bool loose;     /* PASS, and STRICT would have refused it or not taken it for opaque */
	bool ech;       /* a hello with ECH */
	size_t hello_n; /* the bytes at the start that are a whole hello, refused or not; 0: none could be read */
	struct dw_decision decision;
	char name
		[256]; /* canonical, or as sent where it is not canonical (then it is escaped by whoever prints it); "" none */
	enum inspect_answer answer;
	uint16_t code;
};

/*
 * data[0..n): everything the client has sent so far. guess: zero at first, then kept for the same client, so that a long
 * first line that comes in pieces is read once. scratch: DW_TLS_HELLO_MAX bytes. ret is set for REFUSE and PASS.
 */
enum inspect_verdict inspect_first(const struct inspect *in, const uint8_t *data, size_t n, struct dw_http_guess *guess,
				   uint8_t *scratch, struct inspect_result *ret);

/*
 * data[0..n) starts at a request line. PASS: this head (ret_head->head_n bytes) may go; MORE; REFUSE. In DENY_NAMES what
 * is not understood gives HTTP_OPAQUE semantics: PASS with ret->proto INSPECT_PROTO_OPAQUE, and the rest is not looked at.
 * first: nothing was sent on this connection before.
 */
enum inspect_verdict inspect_head(const struct inspect *in, const uint8_t *data, size_t n, bool first,
				  struct dw_http_head *ret_head, struct inspect_result *ret);

/* data[0..n) starts at a hello, at the start of the stream or behind something else. MORE, PASS or REFUSE; scratch as above. */
enum inspect_verdict inspect_tls(const struct inspect *in, const uint8_t *data, size_t n, uint8_t *scratch,
				 struct inspect_result *ret);

/* A hello that came in another way (QUIC). PASS or REFUSE. */
enum inspect_verdict inspect_hello(const struct inspect *in, const struct dw_tls_hello *h, struct inspect_result *ret);

/* The name alone, as inspect_first and inspect_head judge it; for a new policy. Reasons as for TLS or HTTP by proto. */
struct dw_decision inspect_name(const struct inspect *in, enum inspect_proto proto, const char *name);

/* The refusal as bytes for the client: malloc'ed, *ret_n bytes; NULL for none or without memory. head may be NULL. */
uint8_t *inspect_answer_build(const struct inspect *in, const struct inspect_result *r, const uint8_t *head,
			      size_t head_n, size_t *ret_n);
