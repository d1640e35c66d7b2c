/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer of a server inside a sandbox: judged whole before anything of it goes on, its framing made anew by this server. Any code may
 * run in there, so what a browser would apply to everything that this server has is left out.
 */
#include "daemon/port_exchange.h"

#include <string.h>
#include <strings.h>

#include "daemon/clock.h"

void port_exchange_free(void *exchange)
{
	struct port_exchange *e = exchange;
	if (!e)
		return;
	port_conn_close(&e->conn);
	free(e->tunnel);
	free(e);
}

static int bad_answer(struct dw_err *err, const char *why)
{
	return dw_err_set(err, DW_ERR_BAD_GATEWAY, "port_bad_answer", "the server in the sandbox answered with %s",
			  why);
}

static int no_answer(struct port_exchange *e, enum agent_status st, struct dw_err *err)
{
	if (st == AGENT_TIMEOUT && sandbox_state(e->conn.op.sandbox) == RECORD_RUNNING)
		return dw_err_set(err, DW_ERR_GATEWAY_TIMEOUT, "port_timeout",
				  "the server in the sandbox did not answer in time");
	if (st != AGENT_OK || sandbox_state(e->conn.op.sandbox) != RECORD_RUNNING)
		return agent_op_lost(&e->conn.op, st == AGENT_OK ? AGENT_LOST : st, err);
	return bad_answer(err, e->head_n ? "half a head" : "nothing");
}

/* More of the head. *ret_look: whether it may be whole now: it is read anew each time, so not for every byte. */
static int more_head(struct port_exchange *e, int64_t until_ms, bool *ret_look, struct dw_err *err)
{
	if (!e->body.n) {
		const enum agent_status st = port_conn_next(&e->conn, until_ms, &e->body);
		if (st != AGENT_OK || !e->body.n)
			return no_answer(e, st, err);
	}
	const size_t n = DW_MIN(e->body.n, sizeof(e->head) - e->head_n);
	memcpy(e->head + e->head_n, e->body.p, n);
	*ret_look = memchr(e->body.p, '\n', n) || e->head_n < 16 || e->head_n + n == sizeof(e->head);
	e->head_n += n;
	e->body.p += n;
	e->body.n -= n;
	return 0;
}

/* One head, final or not. */
static int read_head(struct port_exchange *e, int64_t until_ms, struct dw_err *err)
{
	const char *why = "no HTTP response";
	bool look = e->head_n > 0;
	for (;;) {
		const enum dw_parse parse =
			look ? dw_http_response_parse(e->head, e->head_n, e->to_head, &e->answer, &why) : DW_PARSE_MORE;
		if (parse == DW_PARSE_OK)
			return 0;
		if (parse != DW_PARSE_MORE)
			return bad_answer(err, why);
		if (more_head(e, until_ms, &look, err) < 0)
			return -1;
	}
}

int port_answer_read(struct port_exchange *e, struct dw_err *err)
{
	const int64_t until = clock_mono_ms() + clock_bound_ms("DECLAW_TEST_PORT_ANSWER_MS", DAEMON_PORT_ANSWER_MS);
	for (unsigned i = 0; i < DAEMON_PORT_INTERIM; i++) {
		if (read_head(e, until, err) < 0)
			return -1;
		if (e->answer.status == 101 && !e->websocket)
			return bad_answer(err, "another protocol, which nobody has asked for");
		if (e->answer.status >= 200 || e->answer.status == 101) {
			e->left = e->answer.content_length;
			return 0;
		}
		e->head_n -= e->answer.head_n;
		memmove(e->head, e->head + e->answer.head_n, e->head_n);
	}
	return bad_answer(err, "interim answers without end");
}

static bool is(struct dw_span s, const char *name)
{
	return s.n == strlen(name) && strncasecmp((const char *)s.p, name, s.n) == 0;
}

static bool stays_inside(struct dw_span name)
{
	static const char *const names[] = {
		"set-cookie",
		"set-cookie2",
		"strict-transport-security",
		"alt-svc",
		"clear-site-data",
		"service-worker-allowed",
		"public-key-pins",
		"public-key-pins-report-only",
	};
	for (size_t i = 0; i < DW_COUNT(names); i++)
		if (is(name, names[i]))
			return true;
	return false;
}

bool port_answer_fields(const struct port_exchange *e, struct MHD_Response *r)
{
	/* Each is shorter than the head, of which they are parts. */
	dw_autofree char *text = malloc(DW_HTTP_RESPONSE_MAX + 2);
	if (!text)
		return false;
	for (size_t i = 0; i < e->answer.field_n; i++) {
		const struct dw_http_field *f = &e->answer.field[i];
		char *name = text, *value = text + f->name.n + 1;
		if (stays_inside(f->name) || !f->value.n)
			continue;
		memcpy(name, f->name.p, f->name.n);
		name[f->name.n] = '\0';
		memcpy(value, f->value.p, f->value.n);
		value[f->value.n] = '\0';
		/* The two are the same (RFC 9110, 5.6.3), and libmicrohttpd takes only one. */
		for (char *tab = value; (tab = strchr(tab, '\t'));)
			*tab = ' ';
		if (MHD_add_response_header(r, name, value) == MHD_NO)
			return false;
	}
	return true;
}

/* More of the body, as it came: 0 at the end of the connection, -1 when nothing comes any more. */
static int more_body(struct port_exchange *e)
{
	const int64_t until = clock_mono_ms() + clock_bound_ms("DECLAW_TEST_PORT_IDLE_MS", DAEMON_PORT_IDLE_MS);
	if (port_conn_next(&e->conn, until, &e->body) != AGENT_OK || e->conn.broken)
		return -1;
	return e->body.n > 0;
}

/* The next bytes of what the body holds; none at its end. -1 when that is not where it should be. */
static int next_piece(struct port_exchange *e, struct dw_span *ret)
{
	const enum dw_http_extent extent = e->answer.extent;
	*ret = (struct dw_span){ .p = (const uint8_t *)"" };
	while (extent != DW_HTTP_EXTENT_NONE && (extent != DW_HTTP_EXTENT_LENGTH || e->left)) {
		struct dw_span *from = e->behind.n ? &e->behind : &e->body;
		const int more = from->n ? 1 : more_body(e);
		if (more <= 0)
			return more < 0 || extent != DW_HTTP_EXTENT_CLOSE ? -1 : 0;
		if (extent != DW_HTTP_EXTENT_CHUNKED) {
			*ret = *from;
			if (extent == DW_HTTP_EXTENT_LENGTH)
				ret->n = DW_MIN(ret->n, e->left);
			e->left -= DW_MIN(ret->n, e->left);
			from->n = 0;
			return 0;
		}
		size_t used;
		const enum dw_parse parse = dw_http_chunked_take(&e->chunks, from->p, from->n, &used, ret);
		from->p += used;
		from->n -= used;
		if (parse != DW_PARSE_MORE || ret->n)
			return parse == DW_PARSE_BAD ? -1 : 0;
	}
	return 0;
}

/* libmicrohttpd asks for the next bytes, in the connection's own thread. */
static ssize_t answer_next(void *arg, uint64_t pos, char *buf, size_t max)
{
	struct port_exchange *e = arg;
	int r = 0;
	if (!e->rest.n) {
		/* The server's silence is not the client's: its own time begins when there is something to take. */
		MHD_set_connection_option(e->client, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
		r = next_piece(e, &e->rest);
		MHD_set_connection_option(e->client, MHD_CONNECTION_OPTION_TIMEOUT, DAEMON_KEEPALIVE_S);
	}
	if (r < 0)
		/* The client sees a broken transfer, never a short body that looks whole. */
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (!e->rest.n)
		return MHD_CONTENT_READER_END_OF_STREAM;
	const size_t n = DW_MIN(e->rest.n, max);
	memcpy(buf, e->rest.p, n);
	e->rest.p += n;
	e->rest.n -= n;
	return (ssize_t)n;
}

/* What libmicrohttpd says of the length. Where there is no body, what a body would have: in the answer to HEAD, and in a 304. */
static uint64_t announced(const struct port_exchange *e)
{
	if (e->answer.has_length)
		return e->answer.content_length;
	return e->answer.extent == DW_HTTP_EXTENT_NONE && !e->to_head && e->answer.status != 304 ? 0 : MHD_SIZE_UNKNOWN;
}

struct MHD_Response *port_answer_response(struct port_exchange *e_take)
{
	struct port_exchange *e = e_take;
	/* Only a head that fills its buffer leaves something in body, too. */
	e->behind = (struct dw_span){ .p = e->head + e->answer.head_n, .n = e->head_n - e->answer.head_n };
	struct MHD_Response *r =
		MHD_create_response_from_callback(announced(e), DW_AGENTP_CHUNK, answer_next, e, port_exchange_free);
	if (!r) {
		port_exchange_free(e);
		return NULL;
	}
	if (port_answer_fields(e, r))
		return r;
	MHD_destroy_response(r);
	return NULL;
}
