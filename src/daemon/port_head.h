/* SPDX-License-Identifier: Apache-2.0 */
/* The head of a request as a server inside a sandbox gets it. Pure. */
#pragma once

#include "core/err.h"
#include "core/wr.h"
#include "wire/http_response.h"

#define PORT_FIELDS_MAX    256u
#define PORT_HOST_MAX      255u
#define PORT_HOST_VARIABLE "${PORT}"

struct port_head {
	const char *method;
	const char *target; /* of the request line, without the prefix: "", or from a '/' or '?' on */
	const char *host;   /* what the server is shown; "" = domain */
	const char *domain; /* the client's Host */
	const char *prefix; /* of the path, which was taken away */
	const char *client; /* its address */
	bool tls;
	/* As the client sent them, but for the keys to this server. */
	const struct dw_http_field *field;
	size_t field_n;
	bool websocket;
	bool chunked; /* the body comes in chunks; else it has length bytes, if has_length */
	bool has_length;
	uint64_t length;
};

/*
 * What the client wants of the connection itself. INVALID: "unsupported_upgrade" for any but WebSocket, "invalid_request" for
 * framing that could be read in two ways. Sets websocket, chunked, has_length and length.
 */
int DW_MUST_USE port_head_judge(struct port_head *h, struct dw_err *err);
/* INVALID "invalid_request" when a byte in it has no place there, or it is too large. */
int DW_MUST_USE port_head_build(const struct port_head *h, struct dw_wr *w, struct dw_err *err);

/* The port in a segment of a path: 1 to 65535 without sign, spaces and leading zeros. INVALID "invalid_port". */
int DW_MUST_USE port_number(const char *text, uint16_t *ret, struct dw_err *err);
/*
 * What of a request line's target is behind /sandboxes/<id>/ports/<port>, byte for byte; NULL when it does not begin so, letter by
 * letter.
 */
const char *port_target(const char *target, const char *id, const char *port);
/* A host with an optional port, in which ${PORT} may stand for the number. */
bool port_host_ok(const char *host);
/* The same with the number in its place. */
void port_host_fill(const char *host, uint16_t port, char out[static PORT_HOST_MAX + 1]);
