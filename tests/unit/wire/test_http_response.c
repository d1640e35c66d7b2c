/* SPDX-License-Identifier: Apache-2.0 */
#include "wire_test.h"

#include <stdio.h>

#include "core/macros.h"
#include "wire/http_response.h"

#define OK           "HTTP/1.1 200 OK\r\n"
#define END          "\r\n"
#define LENGTH       "Content-Length: 5\r\n"
#define CHUNKED      "Transfer-Encoding: chunked\r\n"
#define SWITCH       "HTTP/1.1 101 Switching Protocols\r\n"
#define S(literal)   literal, sizeof(literal) - 1
#define BAD(literal) S(literal), DW_PARSE_BAD

static const struct row {
	const char *name, *head;
	size_t n;
	enum dw_parse status;
	unsigned code;
	enum dw_http_extent extent;
	uint64_t length;
	const char *fields; /* that go on: "name=value;" each */
	bool to_head, websocket;
} rows[] = {
	/* clang-format off */
	{ "a response", S(OK "Server: x\r\n" LENGTH END "hello"), DW_PARSE_OK, 200, DW_HTTP_EXTENT_LENGTH, 5, "Server=x;" },
	{ "no reason", S("HTTP/1.1 200 \r\n" LENGTH END), DW_PARSE_OK, 200, DW_HTTP_EXTENT_LENGTH, 5 },
	{ "no space behind the status", S("HTTP/1.1 404\r\n" LENGTH END), DW_PARSE_OK, 404, DW_HTTP_EXTENT_LENGTH, 5 },
	{ "a reason in UTF-8", S("HTTP/1.1 200 Schön\r\n" LENGTH END), DW_PARSE_OK, 200, DW_HTTP_EXTENT_LENGTH, 5 },
	{ "chunked", S(OK CHUNKED END), DW_PARSE_OK, 200, DW_HTTP_EXTENT_CHUNKED },
	{ "chunked in another case", S(OK "transfer-encoding: Chunked\r\n" END), DW_PARSE_OK, 200, DW_HTTP_EXTENT_CHUNKED },
	{ "until close", S("HTTP/1.0 200 OK\r\n" END), DW_PARSE_OK, 200, DW_HTTP_EXTENT_CLOSE },
	{ "HTTP/1.1 until close", S(OK END), DW_PARSE_OK, 200, DW_HTTP_EXTENT_CLOSE },
	{ "length 0", S(OK "Content-Length: 0\r\n" END), DW_PARSE_OK, 200, DW_HTTP_EXTENT_LENGTH },
	{ "the largest length", S(OK "Content-Length: 9223372036854775807\r\n" END), DW_PARSE_OK, 200, DW_HTTP_EXTENT_LENGTH, INT64_MAX },
	{ "to HEAD, with the length of what is not there", S(OK LENGTH END), DW_PARSE_OK, 200, DW_HTTP_EXTENT_NONE, 5, .to_head = true },
	{ "to HEAD, chunked", S(OK CHUNKED END), DW_PARSE_OK, 200, DW_HTTP_EXTENT_NONE, .to_head = true },
	{ "204", S("HTTP/1.1 204 No Content\r\n" END), DW_PARSE_OK, 204, DW_HTTP_EXTENT_NONE },
	{ "204 with fields of a body", S("HTTP/1.1 204 No Content\r\n" CHUNKED END), DW_PARSE_OK, 204, DW_HTTP_EXTENT_NONE },
	{ "304 with a length", S("HTTP/1.1 304 Not Modified\r\n" LENGTH END), DW_PARSE_OK, 304, DW_HTTP_EXTENT_NONE, 5 },
	{ "100", S("HTTP/1.1 100 Continue\r\n" END OK), DW_PARSE_OK, 100, DW_HTTP_EXTENT_NONE },
	{ "103", S("HTTP/1.1 103 Early Hints\r\nLink: x\r\n" END), DW_PARSE_OK, 103, DW_HTTP_EXTENT_NONE, 0, "Link=x;" },
	{ "101", S(SWITCH "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: a=\r\n" END), DW_PARSE_OK, 101, DW_HTTP_EXTENT_NONE, 0, "Sec-WebSocket-Accept=a=;", .websocket = true },
	{ "101 with a list and in another case", S(SWITCH "Upgrade: WebSocket\r\nConnection: keep-alive , upgrade\r\n" END), DW_PARSE_OK, 101, DW_HTTP_EXTENT_NONE, .websocket = true },
	{ "101 to something else", BAD(SWITCH "Upgrade: h2c\r\nConnection: Upgrade\r\n" END) },
	{ "101 to a list", BAD(SWITCH "Upgrade: websocket, h2c\r\nConnection: Upgrade\r\n" END) },
	{ "101 twice", BAD(SWITCH "Upgrade: websocket\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" END) },
	{ "101 without Connection", BAD(SWITCH "Upgrade: websocket\r\n" END) },
	{ "101 without Upgrade", BAD(SWITCH "Connection: Upgrade\r\n" END) },
	{ "101 in HTTP/1.0", BAD("HTTP/1.0 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" END) },
	{ "fields in their order, white space around", S(OK "B: \t1 \t\r\nA:2\r\nB: 3\r\nC:\r\n" END), DW_PARSE_OK, 200, DW_HTTP_EXTENT_CLOSE, 0, "B=1;A=2;B=3;C=;" },
	{ "those of the connection stay", S(OK "Connection: close\r\nKeep-Alive: timeout=5\r\nTE: x\r\nTrailer: X\r\nUpgrade: h2c\r\nProxy-Authenticate: x\r\nProxy-Connection: x\r\nA: b\r\n" END), DW_PARSE_OK, 200, DW_HTTP_EXTENT_CLOSE, 0, "A=b;" },
	{ "those that Connection names stay", S(OK "x-one: 1\r\nConnection: X-One,\tX-TWO\r\nX-Two: 2\r\nX-Three: 3\r\n" END), DW_PARSE_OK, 200, DW_HTTP_EXTENT_CLOSE, 0, "X-Three=3;" },
	{ "Connection can not take the framing away", S(OK "Connection: Content-Length\r\n" LENGTH END), DW_PARSE_OK, 200, DW_HTTP_EXTENT_LENGTH, 5 },
	{ "obs-text in a value", S(OK "X: \xe9\r\n" END), DW_PARSE_OK, 200, DW_HTTP_EXTENT_CLOSE, 0, "X=\xe9;" },
	{ "status 999", S("HTTP/1.1 999 x\r\n" END), DW_PARSE_OK, 999, DW_HTTP_EXTENT_CLOSE },
	{ "nothing", S(""), DW_PARSE_MORE },
	{ "a part of the version", S("HTTP/1."), DW_PARSE_MORE },
	{ "a status line", S(OK), DW_PARSE_MORE },
	{ "no empty line", S(OK LENGTH), DW_PARSE_MORE },
	{ "half a CR LF", S(OK LENGTH "\r"), DW_PARSE_MORE },
	{ "length and chunks", BAD(OK LENGTH CHUNKED END) },
	{ "chunks and length", BAD(OK CHUNKED LENGTH END) },
	{ "two lengths", BAD(OK LENGTH "Content-Length: 6\r\n" END) },
	{ "the same length twice", BAD(OK LENGTH LENGTH END) },
	{ "a list of lengths", BAD(OK "Content-Length: 5, 5\r\n" END) },
	{ "a signed length", BAD(OK "Content-Length: +5\r\n" END) },
	{ "a negative length", BAD(OK "Content-Length: -5\r\n" END) },
	{ "a length in hex", BAD(OK "Content-Length: 0x5\r\n" END) },
	{ "a leading zero", BAD(OK "Content-Length: 05\r\n" END) },
	{ "an empty length", BAD(OK "Content-Length:\r\n" END) },
	{ "a length of 2^63", BAD(OK "Content-Length: 9223372036854775808\r\n" END) },
	{ "a length of 2^64", BAD(OK "Content-Length: 18446744073709551616\r\n" END) },
	{ "a length with white space before the colon", BAD(OK "Content-Length : 5\r\n" END) },
	{ "chunked twice", BAD(OK CHUNKED CHUNKED END) },
	{ "gzip, chunked", BAD(OK "Transfer-Encoding: gzip, chunked\r\n" END) },
	{ "gzip", BAD(OK "Transfer-Encoding: gzip\r\n" END) },
	{ "chunked with a vertical tab", BAD(OK "Transfer-Encoding: \x0b" "chunked\r\n" END) },
	{ "chunked in HTTP/1.0", BAD("HTTP/1.0 200 OK\r\n" CHUNKED END) },
	{ "obs-fold", BAD(OK "X: y\r\n z\r\n" END) },
	{ "obs-fold with a tab", BAD(OK "X: y\r\n\tContent-Length: 5\r\n" END) },
	{ "a folded first field", BAD(OK " X: y\r\n" END) },
	{ "bare LF behind the status", BAD("HTTP/1.1 200 OK\nX: y\r\n" END) },
	{ "bare LF behind a field", BAD(OK "X: y\n" END) },
	{ "bare LF as the end", BAD(OK "X: y\r\n\n") },
	{ "bare CR in a value", BAD(OK "X: y\rSet-Cookie: z\r\n" END) },
	{ "NUL in a value", BAD(OK "X: y\0z\r\n" END) },
	{ "a control byte in a value", BAD(OK "X: \x01\r\n" END) },
	{ "DEL in a value", BAD(OK "X: \x7f\r\n" END) },
	{ "NUL in the reason", BAD("HTTP/1.1 200 O\0K\r\n" END) },
	{ "a field without colon", BAD(OK "X\r\n" END) },
	{ "a field without name", BAD(OK ": x\r\n" END) },
	{ "a name with a space", BAD(OK "X Y: z\r\n" END) },
	{ "a name in UTF-8", BAD(OK "\xc3\xa9: z\r\n" END) },
	{ "HTTP/2", BAD("HTTP/2 200\r\n" END) },
	{ "HTTP/1.2", BAD("HTTP/1.2 200 OK\r\n" END) },
	{ "HTTP/1.10", BAD("HTTP/1.10 200 OK\r\n" END) },
	{ "a lower-case version", BAD("http/1.1 200 OK\r\n" END) },
	{ "status 99", BAD("HTTP/1.1 099 x\r\n" END) },
	{ "a status of two digits", BAD("HTTP/1.1 20 OK\r\n" END) },
	{ "a status of four digits", BAD("HTTP/1.1 2000 OK\r\n" END) },
	{ "a status of letters", BAD("HTTP/1.1 abc OK\r\n" END) },
	{ "no status", BAD("HTTP/1.1\r\n" END) },
	{ "two spaces", BAD("HTTP/1.1  200 OK\r\n" END) },
	{ "a leading empty line", BAD("\r\n" OK END) },
	{ "a leading space", BAD(" " OK END) },
	{ "another protocol", BAD("SSH-2.0-x\r\n") },
	{ "another protocol, no line yet", BAD("220 smtp") },
	{ "HTTP/0.9", BAD("<html>") },
	/* clang-format on */
};

static void test_row(void **state)
{
	const struct row *row = *state;
	const uint8_t *data = at_guard(row->head, row->n);
	static struct dw_http_response r;
	const char *why = NULL;
	char fields[512] = "";
	size_t n = 0;
	assert_status(dw_http_response_parse(data, row->n, row->to_head, &r, &why), row->status);
	assert_int_equal(why != NULL, row->status == DW_PARSE_BAD || row->status == DW_PARSE_BIG);
	if (row->status != DW_PARSE_OK)
		return;
	for (size_t i = 0; i < r.field_n; i++)
		n += (size_t)snprintf(fields + n, sizeof(fields) - n, "%.*s=%.*s;", (int)r.field[i].name.n,
				      (const char *)r.field[i].name.p, (int)r.field[i].value.n,
				      (const char *)r.field[i].value.p);
	assert_string_equal(fields, row->fields ? row->fields : "");
	assert_int_equal(r.status, row->code);
	assert_int_equal(r.extent, row->extent);
	assert_int_equal(r.content_length, row->length);
	assert_int_equal(r.upgrade_websocket, row->websocket);
	const char *end = memmem(row->head, row->n, "\r\n\r\n", 4);
	assert_int_equal(r.head_n, end + 4 - row->head);
}

/* A head that is OK as a whole is MORE in every prefix. */
static void test_prefixes(void **state)
{
	static struct dw_http_response r, part;
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		if (rows[i].status != DW_PARSE_OK)
			continue;
		assert_status(dw_http_response_parse(rows[i].head, rows[i].n, false, &r, NULL), DW_PARSE_OK);
		for (size_t len = 0; len < r.head_n; len++)
			assert_status(dw_http_response_parse(at_guard(rows[i].head, len), len, false, &part, NULL),
				      DW_PARSE_MORE);
	}
}

static void test_limits(void **state)
{
	static char head[2 * DW_HTTP_RESPONSE_MAX];
	static struct dw_http_response r;
	for (unsigned count = DW_HTTP_RESPONSE_FIELDS_MAX; count <= DW_HTTP_RESPONSE_FIELDS_MAX + 1; count++) {
		size_t n = (size_t)sprintf(head, OK);
		for (unsigned i = 0; i < count; i++)
			n += (size_t)sprintf(head + n, "X: y\r\n");
		n += (size_t)sprintf(head + n, END);
		assert_status(dw_http_response_parse(at_guard(head, n), n, false, &r, NULL),
			      count <= DW_HTTP_RESPONSE_FIELDS_MAX ? DW_PARSE_OK : DW_PARSE_BIG);
	}
	static const char start[] = OK "X: ";
	for (size_t over = 0; over < 2; over++) {
		size_t n = DW_HTTP_RESPONSE_MAX + over;
		memset(head, 'a', n);
		memcpy(head, start, sizeof(start) - 1);
		memcpy(head + n - 4, "\r\n\r\n", 4);
		assert_status(dw_http_response_parse(at_guard(head, n), n, false, &r, NULL),
			      over ? DW_PARSE_BIG : DW_PARSE_OK);
		assert_status(dw_http_response_parse(at_guard(head, DW_HTTP_RESPONSE_MAX - 1), DW_HTTP_RESPONSE_MAX - 1,
						     false, &r, NULL),
			      DW_PARSE_MORE);
	}
}

static void test_lists(void **state)
{
	static const struct {
		const char *value;
		bool has;
	} lists[] = {
		{ "upgrade", true },   { "a, Upgrade", true }, { "UPGRADE ,b", true }, { ",,upgrade", true },
		{ "upgraded", false }, { "", false },          { "a;upgrade", false },
	};
	for (size_t i = 0; i < DW_COUNT(lists); i++) {
		const struct dw_span v = { .p = (const uint8_t *)lists[i].value, .n = strlen(lists[i].value) };
		assert_int_equal(dw_http_list_has(v, "upgrade"), lists[i].has);
	}
}

/* Data of a chunked body, however it comes. */
static void test_chunks(void **state)
{
	static const char body[] = "5\r\nhello\r\n1;x=y\r\n \r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\nmore";
	for (size_t piece = 1; piece < sizeof(body); piece++) {
		struct dw_http_chunked c = { 0 };
		enum dw_parse status = DW_PARSE_MORE;
		char got[64];
		size_t n = 0, at = 0;
		while (status == DW_PARSE_MORE) {
			struct dw_span data;
			size_t used, len = DW_MIN(piece, sizeof(body) - 1 - at);
			status = dw_http_chunked_take(&c, body + at, len, &used, &data);
			assert_true(used <= len && (used || status != DW_PARSE_MORE));
			at += used;
			memcpy(got + n, data.p, data.n);
			n += data.n;
		}
		assert_status(status, DW_PARSE_OK);
		assert_int_equal(at, sizeof(body) - 1 - 4);
		assert_int_equal(n, 16);
		assert_memory_equal(got, "hello 0123456789", 16);
	}
}

int main(void)
{
	ADD_ROWS(rows, test_row);
	add_test("every prefix of a good head is MORE", test_prefixes);
	add_test("too many fields, too many bytes", test_limits);
	add_test("lists", test_lists);
	add_test("data of chunks", test_chunks);
	return run_all("http_response");
}
