/* SPDX-License-Identifier: Apache-2.0 */
#include "wire_test.h"

#include <stdio.h>

#include "core/macros.h"
#include "wire/http_head.h"

#define GET          "GET / HTTP/1.1\r\n"
#define HOST         "Host: a.test\r\n"
#define END          "\r\n"
#define POST         "POST / HTTP/1.1\r\n" HOST
#define S(literal)   literal, sizeof(literal) - 1
#define BAD(literal) S(literal), DW_PARSE_BAD

static const struct row {
	const char *name, *head;
	size_t n;
	enum dw_parse status;
	const char *host; /* NULL: none */
	uint16_t port;    /* 0: none */
	enum dw_http_body body;
	uint64_t length;
	bool absolute, connect, upgrade, websocket, preface;
} rows[] = {
	/* clang-format off */
	{ "a request", S(GET HOST END), DW_PARSE_OK, "a.test" },
	{ "bytes behind the head do not matter", S(GET HOST END "\0\1 body"), DW_PARSE_OK, "a.test" },
	{ "field names in any case, no space", S(GET "hOST:a.test\r\n" END), DW_PARSE_OK, "a.test" },
	{ "white space around the value", S(GET "Host: \t a.test \t\r\n" END), DW_PARSE_OK, "a.test" },
	{ "Host with port", S(GET "Host: a.test:8080\r\n" END), DW_PARSE_OK, "a.test", 8080 },
	{ "Host is an IPv4 address", S(GET "Host: 192.0.2.1:80\r\n" END), DW_PARSE_OK, "192.0.2.1", 80 },
	{ "Host is an IPv6 address", S(GET "Host: [2001:db8::1]\r\n" END), DW_PARSE_OK, "2001:db8::1" },
	{ "Host is an IPv6 address with port", S(GET "Host: [::1]:65535\r\n" END), DW_PARSE_OK, "::1", 65535 },
	{ "Host as it is: case and trailing dot", S(GET "Host: A.Test.\r\n" END), DW_PARSE_OK, "A.Test." },
	{ "Host with an underscore", S(GET "Host: a_b-c.test\r\n" END), DW_PARSE_OK, "a_b-c.test" },
	{ "an unknown method", S("BREW /pot HTTP/1.1\r\n" HOST END), DW_PARSE_OK, "a.test" },
	{ "a lower-case method is its own method", S("get / HTTP/1.1\r\n" HOST END), DW_PARSE_OK, "a.test" },
	{ "UTF-8 in a field value", S(GET HOST "X: \xc3\xa9\r\n" END), DW_PARSE_OK, "a.test" },
	{ "an empty field value", S(GET HOST "X:\r\n" END), DW_PARSE_OK, "a.test" },
	{ "EC-163 HTTP/1.0 without Host", S("GET / HTTP/1.0\r\n" END), DW_PARSE_OK, NULL },
	{ "HTTP/1.0 with Host", S("GET / HTTP/1.0\r\n" HOST END), DW_PARSE_OK, "a.test" },
	{ "EC-163 HTTP/1.1 without Host", BAD(GET END) },
	{ "EC-163 HTTP/0.9", BAD("GET /\r\n") },
	{ "EC-163 HTTP/0.9 with fields", BAD("GET /\r\n" HOST END) },
	{ "EC-161 two Hosts", BAD(GET HOST "Host: evil.test\r\n" END) },
	{ "EC-161 the same Host twice", BAD(GET HOST HOST END) },
	{ "Host with userinfo", BAD(GET "Host: u@a.test\r\n" END) },
	{ "Host is a list", BAD(GET "Host: a.test, evil.test\r\n" END) },
	{ "Host is empty", BAD(GET "Host:\r\n" END) },
	{ "Host is white space", BAD(GET "Host: \t\r\n" END) },
	{ "Host is a port", BAD(GET "Host: :80\r\n" END) },
	{ "Host with a path", BAD(GET "Host: a.test/evil\r\n" END) },
	{ "Host with a percent code", BAD(GET "Host: a%2etest\r\n" END) },
	{ "Host with a space", BAD(GET "Host: a test\r\n" END) },
	{ "Host with a tab", BAD(GET "Host: a.test\tevil.test\r\n" END) },
	{ "Host with NUL", BAD(GET "Host: a.test\0evil.test\r\n" END) },
	{ "Host in UTF-8", BAD(GET "Host: \xc3\xa9.test\r\n" END) },
	{ "Host with an empty port", BAD(GET "Host: a.test:\r\n" END) },
	{ "Host with port 0", BAD(GET "Host: a.test:0\r\n" END) },
	{ "Host with port 65536", BAD(GET "Host: a.test:65536\r\n" END) },
	{ "Host with a leading zero in the port", BAD(GET "Host: a.test:080\r\n" END) },
	{ "Host with two ports", BAD(GET "Host: a.test:80:81\r\n" END) },
	{ "Host with a service name", BAD(GET "Host: a.test:http\r\n" END) },
	{ "Host is IPv6 without brackets", BAD(GET "Host: ::1\r\n" END) },
	{ "Host is IPv6 without end", BAD(GET "Host: [::1\r\n" END) },
	{ "Host is IPv6 with bytes behind", BAD(GET "Host: [::1]x\r\n" END) },
	{ "Host is IPv6 with a zone", BAD(GET "Host: [fe80::1%25eth0]\r\n" END) },
	{ "Host is IPv4 in brackets", BAD(GET "Host: [192.0.2.1]\r\n" END) },
	{ "Host is a name in brackets", BAD(GET "Host: [a.test]\r\n" END) },
	{ "EC-162 absolute-form", S("GET http://a.test/x HTTP/1.1\r\n" HOST END), DW_PARSE_OK, "a.test", .absolute = true },
	{ "EC-162 absolute-form with query, no path", S("GET HTTP://a.test?x HTTP/1.1\r\n" HOST END), DW_PARSE_OK, "a.test", .absolute = true },
	{ "EC-162 absolute-form with port", S("GET http://a.test:81 HTTP/1.1\r\nHost: a.test:81\r\n" END), DW_PARSE_OK, "a.test", 81, .absolute = true },
	{ "EC-162 absolute-form for another host", BAD("GET http://evil.test/ HTTP/1.1\r\n" HOST END) },
	{ "EC-162 absolute-form with port, Host without", BAD("GET http://a.test:80/ HTTP/1.1\r\n" HOST END) },
	{ "EC-162 absolute-form in another case", BAD("GET http://A.test/ HTTP/1.1\r\n" HOST END) },
	{ "EC-162 absolute-form without Host", BAD("GET http://a.test/ HTTP/1.0\r\n" END) },
	{ "EC-162 absolute-form with userinfo", BAD("GET http://a.test@evil.test/ HTTP/1.1\r\n" HOST END) },
	{ "EC-162 absolute-form with a backslash", BAD("GET http://a.test\\@evil.test/ HTTP/1.1\r\n" HOST END) },
	{ "absolute-form without authority", BAD("GET http:///x HTTP/1.1\r\n" HOST END) },
	{ "absolute-form of another scheme", BAD("GET https://a.test/ HTTP/1.1\r\n" HOST END) },
	{ "absolute-form cut", BAD("GET http: HTTP/1.1\r\n" HOST END) },
	{ "authority-form without CONNECT", BAD("GET a.test:80 HTTP/1.1\r\n" HOST END) },
	{ "asterisk-form", S("OPTIONS * HTTP/1.1\r\n" HOST END), DW_PARSE_OK, "a.test" },
	{ "asterisk-form without OPTIONS", BAD("GET * HTTP/1.1\r\n" HOST END) },
	{ "asterisk-form with more", BAD("OPTIONS *x HTTP/1.1\r\n" HOST END) },
	{ "EC-170 CONNECT", S("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n" END), DW_PARSE_OK, "a.test", 443, .connect = true },
	{ "EC-170 CONNECT in HTTP/1.0", S("CONNECT a.test:443 HTTP/1.0\r\n" END), DW_PARSE_OK, NULL, .connect = true },
	{ "EC-171 CONNECT without port", BAD("CONNECT a.test HTTP/1.1\r\nHost: a.test\r\n" END) },
	{ "EC-171 CONNECT to another host", BAD("CONNECT evil.test:443 HTTP/1.1\r\nHost: a.test:443\r\n" END) },
	{ "CONNECT to a path", BAD("CONNECT / HTTP/1.1\r\n" HOST END) },
	{ "a fragment", BAD("GET /#x HTTP/1.1\r\n" HOST END) },
	{ "a target in UTF-8", BAD("GET /\xc3\xa9 HTTP/1.1\r\n" HOST END) },
	{ "a target with a byte some servers split at", BAD("GET /\x85 HTTP/1.1\r\n" HOST END) },
	{ "a target with a control byte", BAD("GET /\1 HTTP/1.1\r\n" HOST END) },
	{ "a target with DEL", BAD("GET /\x7f HTTP/1.1\r\n" HOST END) },
	{ "no target", BAD("GET HTTP/1.1\r\n" HOST END) },
	{ "an empty target", BAD("GET  HTTP/1.1\r\n" HOST END) },
	{ "two spaces before the version", BAD("GET /  HTTP/1.1\r\n" HOST END) },
	{ "a space behind the version", BAD("GET / HTTP/1.1 \r\n" HOST END) },
	{ "a tab between", BAD("GET\t/\tHTTP/1.1\r\n" HOST END) },
	{ "a word too many", BAD("GET / x HTTP/1.1\r\n" HOST END) },
	{ "HTTP/1.2", BAD("GET / HTTP/1.2\r\n" HOST END) },
	{ "HTTP/2.0", BAD("GET / HTTP/2.0\r\n" HOST END) },
	{ "HTTP/1.10", BAD("GET / HTTP/1.10\r\n" HOST END) },
	{ "HTTP/1", BAD("GET / HTTP/1\r\n" HOST END) },
	{ "a lower-case version", BAD("GET / http/1.1\r\n" HOST END) },
	{ "a method with a wrong byte", BAD("G(T / HTTP/1.1\r\n" HOST END) },
	{ "a method of 33 bytes", BAD("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\n" HOST END) },
	{ "a leading empty line", BAD("\r\n" GET HOST END) },
	{ "a leading LF", BAD("\n" GET HOST END) },
	{ "a leading space", BAD(" " GET HOST END) },
	{ "bare LF behind the request line", BAD("GET / HTTP/1.1\nHost: a.test\r\n" END) },
	{ "bare LF behind a field", BAD(GET "Host: a.test\n" END) },
	{ "bare LF as the end", BAD(GET HOST "\n") },
	{ "bare LF in a value", BAD(GET "Host: a.test\r\nX: y\nHost: evil.test\r\n" END) },
	{ "bare CR in a value", BAD(GET HOST "X: y\rHost: evil.test\r\n" END) },
	{ "bare CR in the request line", BAD("GET /\r HTTP/1.1\r\n" HOST END) },
	{ "CR CR LF", BAD(GET "Host: a.test\r\r\n" END) },
	{ "obs-fold", BAD(GET HOST "X: y\r\n z\r\n" END) },
	{ "obs-fold with a tab", BAD(GET HOST "X: y\r\n\tz\r\n" END) },
	{ "a folded first field", BAD(GET " X: y\r\n" HOST END) },
	{ "white space before the colon", BAD(GET "Host : a.test\r\n" END) },
	{ "a tab before the colon", BAD(GET "Host\t: a.test\r\n" END) },
	{ "a field without colon", BAD(GET HOST "X\r\n" END) },
	{ "a field without name", BAD(GET HOST ": x\r\n" END) },
	{ "NUL in a field name", BAD(GET HOST "X\0: x\r\n" END) },
	{ "NUL in a value", BAD(GET HOST "X: \0\r\n" END) },
	{ "a control byte in a value", BAD(GET HOST "X: \x0b\r\n" END) },
	{ "DEL in a value", BAD(GET HOST "X: \x7f\r\n" END) },
	{ "a non-ASCII byte in a field name", BAD(GET HOST "\xc3\xa9: x\r\n" END) },
	{ "Content-Length", S(POST "Content-Length: 17\r\n" END), DW_PARSE_OK, "a.test", 0, DW_HTTP_BODY_LENGTH, 17 },
	{ "Content-Length 0", S(POST "Content-Length: 0\r\n" END), DW_PARSE_OK, "a.test", 0, DW_HTTP_BODY_LENGTH, 0 },
	{ "Content-Length 2^63-1", S(POST "Content-Length: 9223372036854775807\r\n" END), DW_PARSE_OK, "a.test", 0, DW_HTTP_BODY_LENGTH, INT64_MAX },
	{ "chunked", S(POST "Transfer-Encoding: chunked\r\n" END), DW_PARSE_OK, "a.test", 0, DW_HTTP_BODY_CHUNKED },
	{ "EC-176 GET with a body", S(GET HOST "Content-Length: 5\r\n" END), DW_PARSE_OK, "a.test", 0, DW_HTTP_BODY_LENGTH, 5 },
	{ "EC-167 Content-Length 2^63", BAD(POST "Content-Length: 9223372036854775808\r\n" END) },
	{ "EC-167 Content-Length of 20 digits", BAD(POST "Content-Length: 18446744073709551617\r\n" END) },
	{ "EC-167 Content-Length twice", BAD(POST "Content-Length: 5\r\nContent-Length: 6\r\n" END) },
	{ "EC-167 the same Content-Length twice", BAD(POST "Content-Length: 5\r\nContent-Length: 5\r\n" END) },
	{ "EC-167 Content-Length list", BAD(POST "Content-Length: 5, 5\r\n" END) },
	{ "EC-167 Content-Length with a plus", BAD(POST "Content-Length: +5\r\n" END) },
	{ "EC-167 Content-Length negative", BAD(POST "Content-Length: -5\r\n" END) },
	{ "EC-167 Content-Length with a space inside", BAD(POST "Content-Length: 5 6\r\n" END) },
	{ "EC-167 Content-Length with 0x0b", BAD(POST "Content-Length: \x0b" "5\r\n" END) },
	{ "EC-167 Content-Length in hex", BAD(POST "Content-Length: 0x5\r\n" END) },
	{ "EC-167 Content-Length with a leading zero", BAD(POST "Content-Length: 010\r\n" END) },
	{ "EC-167 Content-Length empty", BAD(POST "Content-Length:\r\n" END) },
	{ "EC-167 both", BAD(POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" END) },
	{ "EC-167 both, the other way round", BAD(POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n" END) },
	{ "EC-167 TE.TE", BAD(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n" END) },
	{ "EC-167 chunked twice", BAD(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" END) },
	{ "EC-167 chunked in upper case", BAD(POST "Transfer-Encoding: Chunked\r\n" END) },
	{ "EC-167 chunked in quotes", BAD(POST "Transfer-Encoding: \"chunked\"\r\n" END) },
	{ "EC-167 xchunked", BAD(POST "Transfer-Encoding: xchunked\r\n" END) },
	{ "EC-167 chunked with 0x0b", BAD(POST "Transfer-Encoding: \x0b" "chunked\r\n" END) },
	{ "EC-167 chunked with a parameter", BAD(POST "Transfer-Encoding: chunked;x\r\n" END) },
	{ "EC-167 gzip, chunked", BAD(POST "Transfer-Encoding: gzip, chunked\r\n" END) },
	{ "EC-167 identity", BAD(POST "Transfer-Encoding: identity\r\n" END) },
	{ "EC-167 Transfer-Encoding empty", BAD(POST "Transfer-Encoding:\r\n" END) },
	{ "EC-167 Transfer-Encoding with a space before the colon", BAD(POST "Transfer-Encoding : chunked\r\n" END) },
	{ "EC-167 Transfer-Encoding in HTTP/1.0", BAD("POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n" END) },
	{ "Connection takes Host away", BAD(GET HOST "Connection: close, Host\r\n" END) },
	{ "Connection takes the framing away", BAD(POST "Content-Length: 5\r\nConnection: content-length\r\n" END) },
	{ "Connection keep-alive", S(GET HOST "Connection: keep-alive, TE\r\n" END), DW_PARSE_OK, "a.test" },
	{ "EC-172 WebSocket", S(GET HOST "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n" END), DW_PARSE_OK, "a.test", .upgrade = true, .websocket = true },
	{ "EC-172 WebSocket by POST", S(POST "Connection: Upgrade\r\nUpgrade: websocket\r\n" END), DW_PARSE_OK, "a.test", .upgrade = true },
	{ "EC-172 WebSocket with a body", S(GET HOST "Content-Length: 5\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" END), DW_PARSE_OK, "a.test", 0, DW_HTTP_BODY_LENGTH, 5, .upgrade = true },
	{ "EC-172 WebSocket not named in Connection", S(GET HOST "Upgrade: websocket\r\n" END), DW_PARSE_OK, "a.test", .upgrade = true },
	{ "EC-172 WebSocket in HTTP/1.0", S("GET / HTTP/1.0\r\n" HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n" END), DW_PARSE_OK, "a.test", .upgrade = true },
	{ "EC-169 Upgrade h2c", S(GET HOST "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n" END), DW_PARSE_OK, "a.test", .upgrade = true },
	{ "EC-169 Upgrade websocket, h2c", S(GET HOST "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n" END), DW_PARSE_OK, "a.test", .upgrade = true },
	{ "EC-169 two Upgrades", S(GET HOST "Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n" END), DW_PARSE_OK, "a.test", .upgrade = true },
	{ "EC-169 upgrade in Connection only", S(GET HOST "Connection: UPGRADE\r\n" END), DW_PARSE_OK, "a.test", .upgrade = true },
	{ "EC-169 the HTTP/2 preface", S("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), DW_PARSE_OK, NULL, .preface = true },
	{ "EC-169 a preface with fields", BAD("PRI * HTTP/2.0\r\n" HOST END) },
	{ "EC-169 PRI in HTTP/1.1", BAD("PRI * HTTP/1.1\r\n" HOST END) },
	{ "TLS", BAD("\x16\x03\x01") },
	{ "a wrong byte in a method that is not all there", BAD("G\xff") },
	{ "a method that does not end", BAD("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA") },
	{ "nothing yet", S(""), DW_PARSE_MORE },
	{ "half a method", S("GE"), DW_PARSE_MORE },
	{ "no empty line yet", S(GET HOST), DW_PARSE_MORE },
	{ "CR of the empty line", S(GET HOST "\r"), DW_PARSE_MORE },
	/* clang-format on */
};

static void test_row(void **state)
{
	const struct row *row = *state;
	const uint8_t *data = at_guard(row->head, row->n);
	struct dw_http_head h, before;
	const char *why = NULL;
	memset(&h, 0xa5, sizeof(h));
	before = h;
	assert_status(dw_http_head_parse(data, row->n, &h, &why), row->status);
	assert_status(dw_http_head_parse(data, row->n, &before, NULL), row->status);
	assert_int_equal(why != NULL, row->status == DW_PARSE_BAD || row->status == DW_PARSE_BIG);
	if (row->status != DW_PARSE_OK) {
		memset(&before, 0xa5, sizeof(before));
		assert_memory_equal(&h, &before, sizeof(h));
		return;
	}
	assert_int_equal(h.has_host, row->host != NULL);
	assert_int_equal(h.host.n, row->host ? strlen(row->host) : 0);
	if (row->host)
		assert_memory_equal(h.host.p, row->host, h.host.n);
	assert_int_equal(h.has_port, row->port != 0);
	assert_int_equal(h.host_port, row->port);
	assert_int_equal(h.body, row->body);
	assert_int_equal(h.content_length, row->length);
	assert_int_equal(h.absolute, row->absolute);
	assert_int_equal(h.is_connect, row->connect);
	assert_int_equal(h.is_upgrade, row->upgrade);
	assert_int_equal(h.upgrade_websocket, row->websocket);
	assert_int_equal(h.is_h2_preface, row->preface);
	const char *end = memmem(row->head, row->n, "\r\n\r\n", 4);
	assert_int_equal(h.head_n, end + 4 - row->head);
}

/* A head that is OK as a whole is MORE in every prefix. */
static void test_prefixes(void **state)
{
	struct dw_http_head h;
	for (size_t i = 0; i < DW_COUNT(rows); i++) {
		if (rows[i].status != DW_PARSE_OK)
			continue;
		assert_status(dw_http_head_parse(rows[i].head, rows[i].n, &h, NULL), DW_PARSE_OK);
		for (size_t len = 0; len < h.head_n; len++) {
			struct dw_http_head part;
			assert_status(dw_http_head_parse(at_guard(rows[i].head, len), len, &part, NULL), DW_PARSE_MORE);
		}
	}
}

static void test_spans(void **state)
{
	static const char head[] = "DELETE /a?b=c HTTP/1.0\r\nHost: a.test\r\n\r\n";
	struct dw_http_head h;
	assert_status(dw_http_head_parse(head, sizeof(head) - 1, &h, NULL), DW_PARSE_OK);
	assert_int_equal(h.method.n, 6);
	assert_memory_equal(h.method.p, "DELETE", 6);
	assert_int_equal(h.target.n, 6);
	assert_memory_equal(h.target.p, "/a?b=c", 6);
	assert_int_equal(h.minor, 0);
}

/* EC-184 */
static void test_limits(void **state)
{
	static char head[2 * DW_HTTP_HEAD_MAX];
	struct dw_http_head h;
	for (unsigned extra = 127; extra <= 128; extra++) {
		size_t n = (size_t)sprintf(head, GET HOST);
		for (unsigned i = 0; i < extra; i++)
			n += (size_t)sprintf(head + n, "X: y\r\n");
		n += (size_t)sprintf(head + n, END);
		const char *why = NULL;
		bool fits = extra < DW_HTTP_FIELDS_MAX;
		assert_status(dw_http_head_parse(at_guard(head, n), n, &h, &why), fits ? DW_PARSE_OK : DW_PARSE_BIG);
		assert_int_equal(why != NULL, !fits);
		/* Said as soon as the line is there, not only at the end. */
		assert_status(dw_http_head_parse(at_guard(head, n - 2), n - 2, &h, NULL),
			      fits ? DW_PARSE_MORE : DW_PARSE_BIG);
	}
	static const char start[] = GET HOST "X: ";
	for (size_t over = 0; over < 2; over++) {
		size_t n = DW_HTTP_HEAD_MAX + over;
		memset(head, 'a', n);
		memcpy(head, start, sizeof(start) - 1);
		memcpy(head + n - 4, "\r\n\r\n", 4);
		assert_status(dw_http_head_parse(at_guard(head, n), n, &h, NULL), over ? DW_PARSE_BIG : DW_PARSE_OK);
		assert_status(dw_http_head_parse(at_guard(head, DW_HTTP_HEAD_MAX - 1), DW_HTTP_HEAD_MAX - 1, &h, NULL),
			      DW_PARSE_MORE);
	}
}

int main(void)
{
	ADD_ROWS(rows, test_row);
	add_test("every prefix of a good head is MORE", test_prefixes);
	add_test("method and target", test_spans);
	add_test("EC-184 too many fields, too many bytes", test_limits);
	return run_all("http_head");
}
