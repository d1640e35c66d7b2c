/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include "daemon/port_head.h"

#define HEAD "Host: a.test\r\n"
#define FORWARDED                                                                                                   \
	"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a.test\r\nX-Forwarded-Prefix: " \
	"/p\r\n"
#define CLOSE "Connection: close\r\n"

/* fields: "name: value" lines; want: the whole head, or the code of the refusal. */
static const struct row {
	const char *name, *method, *target, *fields, *want;
} rows[] = {
	/* clang-format off */
	{ "a request", "GET", "/a?b", "", "GET /a?b HTTP/1.1\r\n" HEAD FORWARDED CLOSE "\r\n" },
	{ "nothing behind the port", "GET", "", "", "GET / HTTP/1.1\r\n" HEAD FORWARDED CLOSE "\r\n" },
	{ "a query alone", "GET", "?a", "", "GET /?a HTTP/1.1\r\n" HEAD FORWARDED CLOSE "\r\n" },
	{ "fields go on in their order", "GET", "/", "B: 1\nA: 2\nB: 3\nE: ", "GET / HTTP/1.1\r\n" HEAD "B: 1\r\nA: 2\r\nB: 3\r\nE: \r\n" FORWARDED CLOSE "\r\n" },
	{ "what is ours or the connection's does not", "GET", "/", "Host: b\nx-api-key: k\nConnection: x-one, close\nX-One: 1\nTE: x\nKeep-Alive: 1\nExpect: 100-continue\nHTTP2-Settings: x\nProxy-Authorization: x\nTrailer: x", "GET / HTTP/1.1\r\n" HEAD FORWARDED CLOSE "\r\n" },
	{ "a length", "POST", "/", "content-length: 12", "POST / HTTP/1.1\r\n" HEAD FORWARDED CLOSE "Content-Length: 12\r\n\r\n" },
	{ "a length of 0", "POST", "/", "Content-Length: 0", "POST / HTTP/1.1\r\n" HEAD FORWARDED CLOSE "Content-Length: 0\r\n\r\n" },
	{ "chunks", "POST", "/", "Transfer-Encoding: Chunked", "POST / HTTP/1.1\r\n" HEAD FORWARDED CLOSE "Transfer-Encoding: chunked\r\n\r\n" },
	{ "a WebSocket", "GET", "/", "Upgrade: WebSocket\nConnection: keep-alive, Upgrade\nSec-WebSocket-Key: k", "GET / HTTP/1.1\r\n" HEAD "Sec-WebSocket-Key: k\r\n" FORWARDED "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" },
	{ "Upgrade that Connection does not name", "GET", "/", "Upgrade: websocket", "GET / HTTP/1.1\r\n" HEAD FORWARDED CLOSE "\r\n" },
	{ "proxies before this one", "GET", "/", "X-Forwarded-For: 1.1.1.1\nX-Forwarded-For: 2.2.2.2, 3.3.3.3\nX-Forwarded-Proto: https\nX-Forwarded-Host: h\nX-Forwarded-Prefix: /q",
	  "GET / HTTP/1.1\r\n" HEAD "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: h\r\nX-Forwarded-Prefix: /q/p\r\n" CLOSE "\r\n" },
	{ "another upgrade", "GET", "/", "Upgrade: h2c\nConnection: Upgrade", "unsupported_upgrade" },
	{ "two upgrades", "GET", "/", "Upgrade: websocket\nUpgrade: h2c\nConnection: Upgrade", "unsupported_upgrade" },
	{ "a WebSocket by POST", "POST", "/", "Upgrade: websocket\nConnection: Upgrade", "unsupported_upgrade" },
	{ "a WebSocket with a body", "GET", "/", "Upgrade: websocket\nConnection: Upgrade\nContent-Length: 1", "unsupported_upgrade" },
	{ "length and chunks", "POST", "/", "Content-Length: 1\nTransfer-Encoding: chunked", "invalid_request" },
	{ "two lengths", "POST", "/", "Content-Length: 1\nContent-Length: 1", "invalid_request" },
	{ "a length with a sign", "POST", "/", "Content-Length: +1", "invalid_request" },
	{ "chunks twice", "POST", "/", "Transfer-Encoding: chunked\nTransfer-Encoding: chunked", "invalid_request" },
	{ "another coding", "POST", "/", "Transfer-Encoding: gzip, chunked", "invalid_request" },
	{ "a method that is no token", "G T", "/", "", "invalid_request" },
	{ "a method with a line's end", "GET / HTTP/1.1\r\nX:", "/", "", "invalid_request" },
	{ "an empty method", "", "/", "", "invalid_request" },
	{ "CONNECT", "CONNECT", "/", "", "invalid_request" },
	{ "a space in the path", "GET", "/a b", "", "invalid_request" },
	{ "a line's end in the path", "GET", "/a\r\nX: y", "", "invalid_request" },
	{ "a tab in the path", "GET", "/a\tb", "", "invalid_request" },
	{ "UTF-8 in the path", "GET", "/\xc3\xa9", "", "GET /\xc3\xa9 HTTP/1.1\r\n" HEAD FORWARDED CLOSE "\r\n" },
	{ "a space in a name", "GET", "/", "A B: c", "invalid_request" },
	{ "a carriage return in a value", "GET", "/", "A: b\rc", "invalid_request" },
	{ "a tab in a value", "GET", "/", "A: b\tc", "GET / HTTP/1.1\r\n" HEAD "A: b\tc\r\n" FORWARDED CLOSE "\r\n" },
	/* clang-format on */
};

static size_t read_fields(const char *text, struct dw_http_field *field)
{
	size_t n = 0;
	while (*text) {
		const size_t line = strcspn(text, "\n");
		const char *colon = memmem(text, line, ": ", 2);
		assert_non_null(colon);
		field[n].name = (struct dw_span){ .p = (const uint8_t *)text, .n = (size_t)(colon - text) };
		field[n].value =
			(struct dw_span){ .p = (const uint8_t *)colon + 2, .n = line - (size_t)(colon + 2 - text) };
		n++;
		text += line + (text[line] == '\n');
	}
	return n;
}

static void check(void **state)
{
	const struct row *row = *state;
	struct dw_http_field field[16];
	struct dw_err err = { 0 };
	char out[1024] = "";
	struct dw_wr w = dw_wr_init(out, sizeof(out) - 1);
	struct port_head h = { .method = row->method,
			       .target = row->target,
			       .host = "",
			       .domain = "a.test",
			       .prefix = "/p",
			       .client = "192.0.2.1",
			       .field = field };
	h.field_n = read_fields(row->fields, field);
	const int r = port_head_judge(&h, &err) < 0 ? -1 : port_head_build(&h, &w, &err);
	out[w.len] = '\0';
	assert_string_equal(r < 0 ? err.code : out, row->want);
}

static void too_large(void **state)
{
	struct dw_err err = { 0 };
	char out[64];
	struct dw_wr w = dw_wr_init(out, sizeof(out));
	struct port_head h = { .method = "GET", .target = "/", .host = "h", .domain = "d", .prefix = "", .client = "" };
	assert_int_equal(port_head_build(&h, &w, &err), -1);
	assert_string_equal(err.code, "invalid_request");
}

static void numbers(void **state)
{
	static const char *const bad[] = { "", "0", "65536", "99999", "100000", "080", "-1", "+1", "1 ", "1a", "a" };
	struct dw_err err = { 0 };
	uint16_t port = 0;
	for (size_t i = 0; i < DW_COUNT(bad); i++)
		assert_int_equal(port_number(bad[i], &port, &err), -1);
	assert_int_equal(port_number("1", &port, &err), 0);
	assert_int_equal(port, 1);
	assert_int_equal(port_number("65535", &port, &err), 0);
	assert_int_equal(port, 65535);
}

static void targets(void **state)
{
	static const struct {
		const char *target, *want;
	} all[] = {
		{ "/sandboxes/x/ports/80", "" },
		{ "/sandboxes/x/ports/80/", "/" },
		{ "/sandboxes/x/ports/80?a", "?a" },
		{ "/sandboxes/x/ports/80//%2F?", "//%2F?" },
		{ "/sandboxes/x/ports/8080/", NULL },
		{ "/sandboxes/x/ports/8", NULL },
		{ "/sandboxes/%78/ports/80/", NULL },
		{ "/sandboxes%2Fx/ports/80/", NULL },
		{ "http://h/sandboxes/x/ports/80/", NULL },
		{ "", NULL },
	};
	for (size_t i = 0; i < DW_COUNT(all); i++) {
		const char *got = port_target(all[i].target, "x", "80");
		assert_int_equal(got == NULL, all[i].want == NULL);
		if (got)
			assert_string_equal(got, all[i].want);
	}
}

static void hosts(void **state)
{
	static const struct {
		const char *mask, *want;
	} all[] = {
		{ "localhost", "localhost" },
		{ "localhost:${PORT}", "localhost:8080" },
		{ "${PORT}.a.test:${PORT}", "8080.a.test:8080" },
		{ "[::1]:80", "[::1]:80" },
		{ "", NULL },
		{ "a b", NULL },
		{ "a\r\nb", NULL },
		{ "a/b", NULL },
		{ "${HOST}", NULL },
		{ "${PORT", NULL },
		{ "u@h", NULL },
	};
	for (size_t i = 0; i < DW_COUNT(all); i++) {
		char out[PORT_HOST_MAX + 1];
		assert_int_equal(port_host_ok(all[i].mask), all[i].want != NULL);
		if (!all[i].want)
			continue;
		port_host_fill(all[i].mask, 8080, out);
		assert_string_equal(out, all[i].want);
	}
	char longest[PORT_HOST_MAX + 2] = { 0 };
	memset(longest, 'a', PORT_HOST_MAX);
	assert_true(port_host_ok(longest));
	longest[PORT_HOST_MAX] = 'a';
	assert_false(port_host_ok(longest));
}

int main(void)
{
	ROW_TESTS(rows, check);
	const struct CMUnitTest more[] = {
		cmocka_unit_test(too_large),
		cmocka_unit_test(numbers),
		cmocka_unit_test(targets),
		cmocka_unit_test(hosts),
	};
	return cmocka_run_group_tests_name("port heads", tests, NULL, NULL) +
	       cmocka_run_group_tests_name("ports", more, NULL, NULL);
}
