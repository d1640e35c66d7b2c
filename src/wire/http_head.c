/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Request heads. The first go only finds the lines, so that calling again for every segment stays cheap; the request line
 * is judged as soon as it is there, the fields once the head is complete. So MORE may be said of a head
 * whose later fields turn out BAD, never of one whose lines are wrong.
 *
 * Functions that judge return NULL or why not: a static phrase for the record and for the sandbox's user.
 */
#include "wire/http_head.h"

#include "core/addr.h"
#include "wire/http_internal.h"

#define METHOD_MAX      32
#define PORT_DIGITS_MAX 5

struct authority {
	struct dw_span host;
	bool has_port;
	uint16_t port;
};

struct head {
	struct dw_http_head h;
	struct dw_span authority; /* of an absolute-form or authority-form target, as sent */
	struct dw_span host_field;
	bool connection_upgrade;
	bool has_te;
	unsigned upgrades;
	bool upgrade_is_websocket;
};

static bool is_host_byte(uint8_t c)
{
	return http_is_alnum(c) || c == '.' || c == '_' || c == '-';
}

/* Raw non-ASCII bytes are out too: some servers split the line at 0x85 or 0xa0. */
static bool is_target_byte(uint8_t c)
{
	return c > 0x20 && c < 0x7f && c != '#';
}

static bool read_port(struct dw_span digits, uint16_t *ret)
{
	uint32_t port = 0;
	if (digits.n == 0 || digits.n > PORT_DIGITS_MAX || digits.p[0] == '0' || !http_all_bytes(digits, http_is_digit))
		return false;
	for (size_t i = 0; i < digits.n; i++)
		port = port * 10 + (uint32_t)(digits.p[i] - '0');
	if (port > UINT16_MAX)
		return false;
	*ret = (uint16_t)port;
	return true;
}

/* host, host:port, [v6] or [v6]:port (RFC 9110 section 7.2), without userinfo and percent-encoding. */
static bool read_authority(struct dw_span s, struct authority *ret)
{
	struct dw_rd r = http_reader(s);
	struct authority a = { 0 };
	if (s.n && s.p[0] == '[') {
		struct dw_addr addr;
		dw_rd_u8(&r);
		if (!http_take_until(&r, ']', &a.host) || !memchr(a.host.p, ':', a.host.n) ||
		    !dw_addr_parse((const char *)a.host.p, a.host.n, &addr))
			return false;
		a.has_port = r.n > 0;
		if (a.has_port && dw_rd_u8(&r) != ':')
			return false;
	} else {
		a.has_port = http_take_until(&r, ':', &a.host);
		if (!a.has_port)
			a.host = http_rest(&r);
		if (a.host.n == 0 || !http_all_bytes(a.host, is_host_byte))
			return false;
	}
	if (a.has_port && !read_port(http_rest(&r), &a.port))
		return false;
	*ret = a;
	return true;
}

/* RFC 9112 section 3.2. */
static const char *judge_target(struct head *p)
{
	struct dw_http_head *h = &p->h;
	struct dw_rd r = http_reader(h->target);
	struct authority a;
	if (h->target.n == 0 || !http_all_bytes(h->target, is_target_byte))
		return "a request target with a byte that has no place there";
	if (h->is_connect) {
		p->authority = h->target;
		return read_authority(h->target, &a) && a.has_port ? NULL : "CONNECT without host:port";
	}
	if (h->target.p[0] == '/')
		return NULL;
	if (http_span_is(h->target, "*"))
		return http_span_is(h->method, "OPTIONS") ? NULL : "the target * without OPTIONS";
	if (!http_span_is_nocase(dw_rd_bytes(&r, 7), "http://"))
		return "a request target that is neither a path nor an http URL";
	h->absolute = true;
	p->authority = http_rest(&r);
	for (size_t i = 0; i < p->authority.n; i++) {
		if (p->authority.p[i] == '/' || p->authority.p[i] == '?')
			p->authority.n = i;
	}
	return read_authority(p->authority, &a) ? NULL : "an http URL whose authority is not host or host:port";
}

static const char *judge_request_line(struct head *p, struct dw_span line)
{
	struct dw_http_head *h = &p->h;
	struct dw_rd r = http_reader(line);
	if (!http_take_until(&r, ' ', &h->method) || !http_take_until(&r, ' ', &h->target))
		return "a request line that is not method, target and version";
	if (h->method.n == 0 || h->method.n > METHOD_MAX || !http_all_bytes(h->method, http_is_tchar))
		return "a method that is not a token";
	if (http_span_is(line, "PRI * HTTP/2.0")) {
		h->is_h2_preface = true;
		return NULL;
	}
	struct dw_span version = http_rest(&r);
	if (!http_span_is(version, "HTTP/1.0") && !http_span_is(version, "HTTP/1.1"))
		return "a version other than HTTP/1.0 and HTTP/1.1";
	h->minor = version.p[7] == '1';
	h->is_connect = http_span_is(h->method, "CONNECT");
	return judge_target(p);
}

static const char *field_host(struct head *p, struct dw_span value)
{
	struct authority a;
	if (p->h.has_host)
		return "more than one Host";
	if (!read_authority(value, &a))
		return "a Host that is not host or host:port";
	p->host_field = value;
	p->h.has_host = true;
	p->h.host = a.host;
	p->h.has_port = a.has_port;
	p->h.host_port = a.port;
	return NULL;
}

static const char *field_content_length(struct head *p, struct dw_span value)
{
	uint64_t length = 0;
	if (p->h.body == DW_HTTP_BODY_LENGTH)
		return "more than one Content-Length";
	const char *why = http_read_length(value, &length);
	if (why)
		return why;
	p->h.body = DW_HTTP_BODY_LENGTH;
	p->h.content_length = length;
	return NULL;
}

/* Byte for byte: an odd spelling is one that another reader may not take for chunked. */
static const char *field_transfer_encoding(struct head *p, struct dw_span value)
{
	if (p->has_te)
		return "more than one Transfer-Encoding";
	if (!http_span_is(value, "chunked"))
		return "a Transfer-Encoding other than chunked";
	p->has_te = true;
	return NULL;
}

static const char *field_upgrade(struct head *p, struct dw_span value)
{
	p->h.is_upgrade = true;
	p->upgrades++;
	p->upgrade_is_websocket = http_span_is_nocase(value, "websocket");
	return NULL;
}

static const char *judge_option(struct head *p, struct dw_span option)
{
	static const char *const end_to_end[] = { "host", "content-length", "transfer-encoding" };
	if (http_span_is_nocase(option, "upgrade")) {
		p->h.is_upgrade = true;
		p->connection_upgrade = true;
	}
	for (size_t i = 0; i < DW_COUNT(end_to_end); i++) {
		if (http_span_is_nocase(option, end_to_end[i]))
			return "a Connection option that would take Host or the framing away";
	}
	return NULL;
}

static const char *field_connection(struct head *p, struct dw_span value)
{
	struct dw_rd r = http_reader(value);
	struct dw_span option;
	const char *why = NULL;
	while (!why && http_take_until(&r, ',', &option))
		why = judge_option(p, http_trim(option));
	return why ? why : judge_option(p, http_trim(http_rest(&r)));
}

static const struct {
	const char *name;
	const char *(*judge)(struct head *p, struct dw_span value);
} fields[] = {
	{ "host", field_host },
	{ "content-length", field_content_length },
	{ "transfer-encoding", field_transfer_encoding },
	{ "upgrade", field_upgrade },
	{ "connection", field_connection },
};

static const char *judge_field(struct head *p, struct dw_span line)
{
	struct dw_rd r = http_reader(line);
	struct dw_span name;
	if (http_is_ows(line.p[0]))
		return "a folded field";
	if (!http_take_until(&r, ':', &name) || name.n == 0 || !http_all_bytes(name, http_is_tchar))
		return "a field whose name is not a token followed by a colon";
	struct dw_span value = http_trim(http_rest(&r));
	if (!http_all_bytes(value, http_is_value_byte))
		return "a control byte in a field";
	for (size_t i = 0; i < DW_COUNT(fields); i++) {
		if (http_span_is_nocase(name, fields[i].name))
			return fields[i].judge(p, value);
	}
	return NULL;
}

/* What can only be said once all fields are read. */
static const char *judge_whole(struct head *p)
{
	struct dw_http_head *h = &p->h;
	if (p->has_te && h->body == DW_HTTP_BODY_LENGTH)
		return "both Transfer-Encoding and Content-Length";
	if (p->has_te && h->minor == 0)
		return "Transfer-Encoding in HTTP/1.0";
	if (p->has_te)
		h->body = DW_HTTP_BODY_CHUNKED;
	if (h->minor == 1 && !h->has_host)
		return "HTTP/1.1 without Host";
	bool same = http_span_eq(p->authority, p->host_field);
	if (h->absolute && !same)
		return "an http URL whose authority is not the Host";
	if (h->is_connect && h->has_host && !same)
		return "CONNECT to something other than the Host";
	h->upgrade_websocket = p->upgrades == 1 && p->upgrade_is_websocket && p->connection_upgrade && h->minor == 1 &&
			       http_span_is(h->method, "GET") && h->body == DW_HTTP_BODY_NONE;
	return NULL;
}

/* What can be said of a request line that is not all there: a method is short, and a token. */
static bool may_be_request(struct dw_rd r)
{
	struct dw_span method;
	if (!http_take_until(&r, ' ', &method))
		method = http_rest(&r);
	return method.n <= METHOD_MAX && http_all_bytes(method, http_is_tchar);
}

/*
 * Finds the lines. *ret_fields: those between the request line and the empty line, each with its CRLF. They are counted
 * here already, so that many short lines sent byte by byte cannot make each call dear.
 */
static const char *find_lines(struct dw_rd *r, struct head *p, struct dw_span *ret_fields)
{
	struct dw_rd start = *r;
	struct dw_span line;
	const char *why = NULL;
	if (!http_take_line(r, &line, &why))
		return why ? why : may_be_request(start) ? NULL : "a method that is not a token";
	if ((why = judge_request_line(p, line)))
		return why;
	start = *r;
	for (unsigned count = 0; count <= DW_HTTP_FIELDS_MAX && line.n; count++) {
		if (!http_take_line(r, &line, &why))
			return why;
	}
	if (line.n) {
		dw_rd_fail(r, DW_PARSE_BIG);
		return NULL;
	}
	*ret_fields = dw_rd_bytes(&start, start.n - r->n - 2);
	return NULL;
}

static const char *judge_fields(struct head *p, struct dw_span span)
{
	struct dw_rd r = http_reader(span);
	struct dw_span line;
	const char *why = NULL;
	if (p->h.is_h2_preface)
		return r.n ? "an HTTP/2 preface with fields" : NULL;
	while (!why && http_take_line(&r, &line, &why))
		why = judge_field(p, line);
	return why ? why : judge_whole(p);
}

static enum dw_parse refuse(enum dw_parse status, const char *why, const char **ret_why)
{
	if (ret_why)
		*ret_why = why;
	return status;
}

enum dw_parse dw_http_head_parse(const void *data, size_t n, struct dw_http_head *ret, const char **ret_why)
{
	size_t window = DW_MIN(n, DW_HTTP_HEAD_MAX);
	struct dw_rd r = dw_rd_init(data, window, true);
	struct head p = { 0 };
	struct dw_span field_lines = { 0 };
	const char *why = find_lines(&r, &p, &field_lines);
	if (why)
		return refuse(DW_PARSE_BAD, why, ret_why);
	if (r.status == DW_PARSE_BIG)
		return refuse(DW_PARSE_BIG, "more than 128 fields", ret_why);
	if (!dw_rd_ok(&r))
		return n < DW_HTTP_HEAD_MAX ? r.status : refuse(DW_PARSE_BIG, "a head over 65536 bytes", ret_why);
	why = judge_fields(&p, field_lines);
	if (why)
		return refuse(DW_PARSE_BAD, why, ret_why);
	p.h.head_n = window - r.n;
	*ret = p.h;
	return DW_PARSE_OK;
}
