/* SPDX-License-Identifier: Apache-2.0 */
/* Response heads. Functions that judge return NULL or why not: a static phrase. */
#include "wire/http_response.h"

#include "wire/http_internal.h"

struct response {
	struct dw_http_response *r;
	bool has_te;
	bool connection_upgrade;
	unsigned upgrades;
	bool upgrade_is_websocket;
};

bool dw_http_list_has(struct dw_span value, const char *option)
{
	struct dw_rd r = http_reader(value);
	struct dw_span word;
	while (http_take_until(&r, ',', &word))
		if (http_span_is_nocase(http_trim(word), option))
			return true;
	return http_span_is_nocase(http_trim(http_rest(&r)), option);
}

bool dw_http_hop_by_hop(struct dw_span name)
{
	static const char *const names[] = { "connection",
					     "keep-alive",
					     "proxy-connection",
					     "proxy-authenticate",
					     "proxy-authorization",
					     "te",
					     "trailer",
					     "transfer-encoding",
					     "upgrade" };
	for (size_t i = 0; i < DW_COUNT(names); i++)
		if (http_span_is_nocase(name, names[i]))
			return true;
	return false;
}

static const char *judge_status_line(struct response *p, struct dw_span line)
{
	struct dw_rd r = http_reader(line);
	struct dw_span version = dw_rd_bytes(&r, 8), digits;
	if (!http_span_is(version, "HTTP/1.0") && !http_span_is(version, "HTTP/1.1"))
		return "a version other than HTTP/1.0 and HTTP/1.1";
	p->r->minor = version.p[7] == '1';
	/* The space behind the digits belongs there also when no reason follows; enough servers leave it out. */
	if (dw_rd_u8(&r) != ' ')
		return "a status line without a status";
	digits = dw_rd_bytes(&r, 3);
	if (digits.n != 3 || !http_all_bytes(digits, http_is_digit) || digits.p[0] == '0')
		return "a status that is not three digits from 100";
	for (size_t i = 0; i < 3; i++)
		p->r->status = p->r->status * 10 + (unsigned)(digits.p[i] - '0');
	if (r.n && dw_rd_u8(&r) != ' ')
		return "a status that is not three digits from 100";
	return http_all_bytes(http_rest(&r), http_is_value_byte) ? NULL : "a control byte in the status line";
}

static const char *field_content_length(struct response *p, struct dw_span value)
{
	if (p->r->has_length)
		return "more than one Content-Length";
	p->r->has_length = true;
	return http_read_length(value, &p->r->content_length);
}

static const char *field_transfer_encoding(struct response *p, struct dw_span value)
{
	if (p->has_te)
		return "more than one Transfer-Encoding";
	p->has_te = true;
	return http_span_is_nocase(value, "chunked") ? NULL : "a Transfer-Encoding other than chunked";
}

static const char *field_connection(struct response *p, struct dw_span value)
{
	p->connection_upgrade |= dw_http_list_has(value, "upgrade");
	return NULL;
}

static const char *field_upgrade(struct response *p, struct dw_span value)
{
	p->upgrades++;
	p->upgrade_is_websocket = http_span_is_nocase(value, "websocket");
	return NULL;
}

static const struct {
	const char *name;
	const char *(*judge)(struct response *p, struct dw_span value);
} fields[] = {
	{ "content-length", field_content_length },
	{ "transfer-encoding", field_transfer_encoding },
	{ "connection", field_connection },
	{ "upgrade", field_upgrade },
};

static const char *judge_field(struct response *p, struct dw_span line)
{
	struct dw_rd r = http_reader(line);
	struct dw_http_field f;
	if (http_is_ows(line.p[0]))
		return "a folded field";
	if (!http_take_until(&r, ':', &f.name) || f.name.n == 0 || !http_all_bytes(f.name, http_is_tchar))
		return "a field whose name is not a token followed by a colon";
	f.value = http_trim(http_rest(&r));
	if (!http_all_bytes(f.value, http_is_value_byte))
		return "a control byte in a field";
	/* All of them, so that Connection may name any: the others are left out at the end. */
	p->r->field[p->r->field_n++] = f;
	for (size_t i = 0; i < DW_COUNT(fields); i++)
		if (http_span_is_nocase(f.name, fields[i].name))
			return fields[i].judge(p, f.value);
	return NULL;
}

bool dw_http_named(const struct dw_http_field *field, size_t n, struct dw_span name)
{
	char lower[64];
	if (name.n >= sizeof(lower))
		return false;
	for (size_t i = 0; i < name.n; i++)
		lower[i] = (char)http_lower(name.p[i]);
	lower[name.n] = '\0';
	for (size_t i = 0; i < n; i++)
		if (http_span_is_nocase(field[i].name, "connection") && dw_http_list_has(field[i].value, lower))
			return true;
	return false;
}

static void drop_fields(struct dw_http_response *r)
{
	struct dw_http_field kept[DW_HTTP_RESPONSE_FIELDS_MAX];
	size_t n = 0;
	for (size_t i = 0; i < r->field_n; i++)
		if (!dw_http_hop_by_hop(r->field[i].name) && !http_span_is_nocase(r->field[i].name, "content-length") &&
		    !dw_http_named(r->field, r->field_n, r->field[i].name))
			kept[n++] = r->field[i];
	memcpy(r->field, kept, n * sizeof(kept[0]));
	r->field_n = n;
}

/* RFC 9112 section 6.3. */
static const char *judge_whole(struct response *p, bool to_head)
{
	struct dw_http_response *r = p->r;
	if (p->has_te && r->has_length)
		return "both Transfer-Encoding and Content-Length";
	if (p->has_te && r->minor == 0)
		return "Transfer-Encoding in HTTP/1.0";
	r->upgrade_websocket = r->status == 101 && r->minor == 1 && p->upgrades == 1 && p->upgrade_is_websocket &&
			       p->connection_upgrade;
	if (r->status == 101 && !r->upgrade_websocket)
		return "a change to a protocol other than WebSocket";
	if (to_head || r->status < 200 || r->status == 204 || r->status == 304)
		r->extent = DW_HTTP_EXTENT_NONE;
	else if (p->has_te)
		r->extent = DW_HTTP_EXTENT_CHUNKED;
	else
		r->extent = r->has_length ? DW_HTTP_EXTENT_LENGTH : DW_HTTP_EXTENT_CLOSE;
	drop_fields(r);
	return NULL;
}

/* Every line up to the empty one. With NULL the reader says whether it was there. */
static const char *judge_lines(struct dw_rd *r, struct response *p, bool *ret_many)
{
	struct dw_span line;
	const char *why = NULL;
	if (!http_take_line(r, &line, &why))
		return why;
	if ((why = judge_status_line(p, line)))
		return why;
	while (!why && http_take_line(r, &line, &why) && line.n) {
		*ret_many = p->r->field_n == DW_HTTP_RESPONSE_FIELDS_MAX;
		if (*ret_many)
			return "more than 128 fields";
		why = judge_field(p, line);
	}
	return why;
}

/* What can be said of a status line that is not all there. */
static bool may_be_response(const uint8_t *p, size_t n)
{
	static const char start[] = "HTTP/1.";
	return memcmp(p, start, DW_MIN(n, sizeof(start) - 1)) == 0;
}

enum dw_parse dw_http_response_parse(const void *data, size_t n, bool to_head, struct dw_http_response *ret,
				     const char **ret_why)
{
	const size_t window = DW_MIN(n, (size_t)DW_HTTP_RESPONSE_MAX);
	struct dw_rd r = dw_rd_init(data, window, true);
	struct response p = { .r = ret };
	bool many = false;
	*ret = (struct dw_http_response){ 0 };
	const char *why =
		n && !may_be_response(data, n) ? "bytes that are no HTTP response" : judge_lines(&r, &p, &many);
	const bool more = !why && !dw_rd_ok(&r);
	if (more && n < DW_HTTP_RESPONSE_MAX)
		return r.status;
	if (more)
		why = "a head over 16384 bytes";
	const bool big = more || many;
	if (!why)
		why = judge_whole(&p, to_head);
	if (why && ret_why)
		*ret_why = why;
	if (why)
		return big ? DW_PARSE_BIG : DW_PARSE_BAD;
	ret->head_n = window - r.n;
	return DW_PARSE_OK;
}
