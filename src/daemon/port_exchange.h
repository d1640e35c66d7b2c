/* SPDX-License-Identifier: Apache-2.0 */
/* One request to a server inside a sandbox, and its answer. */
#pragma once

#include "daemon/http.h"
#include "daemon/port_conn.h"
#include "wire/http_response.h"

struct port_exchange {
	struct port_conn conn;
	struct MHD_Connection *client;
	bool to_head, websocket; /* what was asked */
	bool chunked;            /* the request's body goes in chunks */

	struct dw_http_response answer;
	uint8_t head[DW_HTTP_RESPONSE_MAX]; /* the answer's, and what came with it */
	size_t head_n;
	struct dw_span behind, body,
		rest;  /* of what comes behind it: in head, in conn, and of the piece that goes on now */
	uint64_t left; /* DW_HTTP_EXTENT_LENGTH: that is to come */
	struct dw_http_chunked chunks;
	void *tunnel; /* port_tunnel.c's own; malloc'ed */
};

void port_exchange_free(void *exchange);

/*
 * port_answer.c: waits for the head of the answer, beyond those of class 1xx. BAD_GATEWAY "port_bad_answer", GATEWAY_TIMEOUT
 * "port_timeout"; GONE or CONFLICT when the sandbox has gone.
 */
int DW_MUST_USE port_answer_read(struct port_exchange *e, struct dw_err *err);
/* The answer as one of this server's; takes e (also on failure: NULL). */
struct MHD_Response *port_answer_response(struct port_exchange *e_take);
/* Adds the fields that go on; false without memory. */
bool port_answer_fields(const struct port_exchange *e, struct MHD_Response *r);

/*
 * port_tunnel.c: the answer that makes the client's connection a WebSocket; NULL without memory. The request's stream is e, and its no
 * longer when that has happened.
 */
struct MHD_Response *port_tunnel_response(struct port_exchange *e);
