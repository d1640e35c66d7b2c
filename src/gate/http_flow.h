/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plain HTTP connection after its first bytes looked like HTTP: every request head is judged before it goes up. Works on
 * the client-to-server buffer of a flow; the requests' bodies are followed only to find the next head.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "wire/http_head.h"

enum http_phase {
	HTTP_HEAD = 0,
	HTTP_LENGTH, /* left bytes of a body */
	HTTP_CHUNKED,
	HTTP_UPGRADE, /* the head went up; the client's bytes wait for the status of the response */
};

struct http_flow {
	enum http_phase phase;
	uint64_t left;
	size_t looked; /* bytes of the next head that have no line end behind what was parsed */
	struct dw_http_chunked chunked;
	uint32_t requests; /* heads let through */
	uint8_t line[32];  /* the start of the response head that is being looked at */
	uint8_t line_n;
	uint8_t blank; /* progress in the empty line that ends an interim response's head */
	bool interim;
};

struct gate_flow;

/* Judges what is in the flow's buffer and not yet let through. May change the flow's state, refuse it or reset it. */
void http_advance(struct gate_flow *f);
/* The client has ended. */
void http_eof(struct gate_flow *f);
/* Bytes of the response, while an upgrade waits for it; none: its end. */
void http_response(struct gate_flow *f, const uint8_t *p, size_t n);
