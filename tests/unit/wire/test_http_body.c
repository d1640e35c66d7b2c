/* SPDX-License-Identifier: Apache-2.0 */
#include "wire_test.h"

#include "core/macros.h"
#include "wire/http_head.h"

#define S(literal) literal, sizeof(literal) - 1

static const struct guess_row {
	const char *name, *data;
	size_t n;
	enum dw_parse status;
} guess_rows[] = {
	/* clang-format off */
	{ "guess: a request", S("GET / HTTP/1.1\r\n"), DW_PARSE_OK },
	{ "guess: a method and a space", S("GET "), DW_PARSE_OK },
	{ "guess: a method and a tab", S("POST\t"), DW_PARSE_OK },
	{ "guess: a method of WebDAV", S("VERSION-CONTROL "), DW_PARSE_OK },
	{ "guess: the longest method", S("UPDATEREDIRECTREF "), DW_PARSE_OK },
	{ "guess: PRI", S("PRI * HTTP/2.0"), DW_PARSE_OK },
	{ "guess: HTTP/0.9", S("GET /\r\n"), DW_PARSE_OK },
	{ "guess: leading CR LF", S("\r\n\r\nGET /"), DW_PARSE_OK },
	{ "guess: leading LF and lower case", S("\nget / http/1.1\n"), DW_PARSE_OK },
	{ "guess: lower-case method with HTTP/1.1", S("get / HTTP/1.1\r\n"), DW_PARSE_OK },
	{ "guess: unknown method", S("BREW /pot HTTP/1.1\r\n"), DW_PARSE_OK },
	{ "guess: unknown method, odd case", S("brew /pot hTtP/"), DW_PARSE_OK },
	{ "guess: HHTTP/", S("brew /pot hhttp/"), DW_PARSE_OK },
	{ "guess: a line of white space", S(" \t\r\n\x0b\nGET /"), DW_PARSE_OK },
	{ "guess: CONNECT", S("CONNECT a.test:443"), DW_PARSE_OK },
	{ "guess: CONNECT, no target yet", S("CONNECT "), DW_PARSE_MORE },
	{ "guess: NATS", S("CONNECT {\"lang\": \"c\"}\r\n"), DW_PARSE_BAD },
	{ "guess: NATS with a version", S("CONNECT {} HTTP/1.1\r\n"), DW_PARSE_OK },
	{ "guess: leading space", S(" GET / HTTP/1.1"), DW_PARSE_OK },
	{ "guess: white space that Python splits at", S("GET\x0b/\x0cHTTP/1.1"), DW_PARSE_OK },
	{ "guess: 0x1c and 0x85 split too", S("get\x1c/\x85HTTP/1.1"), DW_PARSE_OK },
	{ "guess: raw bytes in the target", S("get /\xc3\xa9 HTTP/1.1"), DW_PARSE_OK },
	{ "guess: a method that is not all there", S("GE"), DW_PARSE_MORE },
	{ "guess: nothing", S(""), DW_PARSE_MORE },
	{ "guess: CR LF alone", S("\r\n"), DW_PARSE_MORE },
	{ "guess: lower case, no version yet", S("get / HTTP"), DW_PARSE_MORE },
	{ "guess: HTTP/ broken by a space", S("get / HTT P/"), DW_PARSE_MORE },
	{ "guess: HTTP/ as the method", S("HTTP/1.1 200 OK\r\n"), DW_PARSE_BAD },
	{ "guess: lower case without version", S("get /\r\n"), DW_PARSE_BAD },
	{ "guess: a longer word than the method", S("GETS / \r\n"), DW_PARSE_BAD },
	{ "guess: SSH, not all there", S("SSH-2.0-OpenSSH_9.2p1 Debian"), DW_PARSE_MORE },
	{ "guess: SSH banner", S("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"), DW_PARSE_BAD },
	{ "guess: PostgreSQL startup", S("\0\0\0\x08\x04\xd2\x16\x2f"), DW_PARSE_BAD },
	{ "guess: MySQL login", S("\x20\0\0\x01\x85"), DW_PARSE_BAD },
	{ "guess: redis array", S("*1\r\n$4\r\nPING\r\n"), DW_PARSE_BAD },
	{ "guess: redis inline", S("PING\r\n"), DW_PARSE_BAD },
	{ "guess: SMTP", S("EHLO client.test\r\n"), DW_PARSE_BAD },
	{ "guess: IRC", S("NICK x\r\n"), DW_PARSE_BAD },
	{ "guess: SIP", S("INVITE sip:a@b SIP/2.0\r\n"), DW_PARSE_BAD },
	{ "guess: XMPP", S("<?xml"), DW_PARSE_BAD },
	{ "guess: TLS", S("\x16\x03\x01"), DW_PARSE_BAD },
	{ "guess: git", S("0031git-upload-pack /x\0host="), DW_PARSE_BAD },
	{ "guess: rsync", S("@RSYNCD: 31.0\n"), DW_PARSE_BAD },
	{ "guess: MQTT", S("\x10\x0c\0\x04MQTT"), DW_PARSE_BAD },
	{ "guess: RDP", S("\x03\0\0\x13"), DW_PARSE_BAD },
	{ "guess: raw bytes in the first word", S("ab\xc3\xa9"), DW_PARSE_BAD },
	{ "guess: a control byte", S("ab \x01"), DW_PARSE_BAD },
	/* clang-format on */
};

static void test_guess(void **state)
{
	const struct guess_row *row = *state;
	assert_status(dw_http_looks_like(at_guard(row->data, row->n), row->n), row->status);
	/* What a prefix gets is MORE or the same. */
	for (size_t len = 0; len < row->n; len++) {
		enum dw_parse status = dw_http_looks_like(at_guard(row->data, len), len);
		assert_true(status == DW_PARSE_MORE || status == row->status);
	}
	/* In pieces of one byte it is the same. */
	struct dw_http_guess g = { 0 };
	enum dw_parse status = DW_PARSE_MORE;
	for (size_t len = 0; len <= row->n && status == DW_PARSE_MORE; len++)
		status = dw_http_guess_feed(&g, at_guard(row->data, len), len);
	assert_status(status, row->status);
}

static void test_guess_long(void **state)
{
	static char line[DW_HTTP_HEAD_MAX];
	memset(line, 'a', sizeof(line));
	assert_status(dw_http_looks_like(at_guard(line, sizeof(line) - 1), sizeof(line) - 1), DW_PARSE_MORE);
	assert_status(dw_http_looks_like(at_guard(line, sizeof(line)), sizeof(line)), DW_PARSE_OK);
	line[sizeof(line) - 1] = '\n';
	assert_status(dw_http_looks_like(at_guard(line, sizeof(line)), sizeof(line)), DW_PARSE_BAD);
}

#define X64  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X256 X64 X64 X64 X64

static const struct chunk_row {
	const char *name, *data;
	size_t n;
	enum dw_parse status;
	size_t used; /* OK only */
} chunk_rows[] = {
	/* clang-format off */
	{ "chunked: empty", S("0\r\n\r\n"), DW_PARSE_OK, 5 },
	{ "chunked: one chunk", S("5\r\nhello\r\n0\r\n\r\n"), DW_PARSE_OK, 15 },
	{ "chunked: what follows is not its own", S("1\r\nx\r\n0\r\n\r\nGET / HTTP/1.1\r\n"), DW_PARSE_OK, 11 },
	{ "chunked: hex in both cases, leading zeros", S("00a\r\n0123456789\r\nA\r\n0123456789\r\n000\r\n\r\n"), DW_PARSE_OK, 39 },
	{ "chunked: an extension", S("1;a=b\r\nx\r\n0;c\r\n\r\n"), DW_PARSE_OK, 17 },
	{ "chunked: an extension with a quoted value", S("1;a=\"b c\"\r\nx\r\n0\r\n\r\n"), DW_PARSE_OK, 19 },
	{ "chunked: an extension of 256 bytes", S("0;" X256 "\r\n\r\n"), DW_PARSE_OK, 262 },
	{ "chunked: an extension of 257 bytes", S("0;" X256 "x\r\n\r\n"), DW_PARSE_BAD },
	{ "chunked: trailers", S("0\r\nA: b\r\nC:\r\n\r\n"), DW_PARSE_OK, 15 },
	{ "chunked: 15 digits", S("fffffffffffffff\r\nx"), DW_PARSE_MORE },
	{ "chunked: 16 digits", S("0000000000000001\r\n"), DW_PARSE_BAD },
	{ "chunked: nothing yet", S(""), DW_PARSE_MORE },
	{ "chunked: no end yet", S("1\r\nx\r\n"), DW_PARSE_MORE },
	{ "chunked: no size", S("\r\n"), DW_PARSE_BAD },
	{ "chunked: size behind a space", S(" 1\r\n"), DW_PARSE_BAD },
	{ "chunked: a space behind the size", S("1 \r\n"), DW_PARSE_BAD },
	{ "chunked: a space before the extension", S("1 ;a\r\n"), DW_PARSE_BAD },
	{ "chunked: a signed size", S("+1\r\n"), DW_PARSE_BAD },
	{ "chunked: a negative size", S("-1\r\n"), DW_PARSE_BAD },
	{ "chunked: 0x", S("0x1\r\n"), DW_PARSE_BAD },
	{ "chunked: an underscore", S("1_0\r\n"), DW_PARSE_BAD },
	{ "chunked: no hex digit", S("g\r\n"), DW_PARSE_BAD },
	{ "chunked: no size before the extension", S(";a\r\n"), DW_PARSE_BAD },
	{ "chunked: bare LF behind the size", S("1\nx\r\n"), DW_PARSE_BAD },
	{ "chunked: bare CR behind the size", S("1\rx"), DW_PARSE_BAD },
	{ "chunked: bare LF in an extension", S("1;a\nx"), DW_PARSE_BAD },
	{ "chunked: NUL in an extension", S("1;a\0\r\n"), DW_PARSE_BAD },
	{ "chunked: data longer than said", S("1\r\nxx\r\n"), DW_PARSE_BAD },
	{ "chunked: bare LF behind data", S("1\r\nx\n0\r\n\r\n"), DW_PARSE_BAD },
	{ "chunked: bare CR behind data", S("1\r\nx\r0\r\n"), DW_PARSE_BAD },
	{ "chunked: bare LF as the end", S("0\r\n\n"), DW_PARSE_BAD },
	{ "chunked: bare CR as the end", S("0\r\n\rG"), DW_PARSE_BAD },
	{ "chunked: a folded trailer", S("0\r\nA: b\r\n c\r\n\r\n"), DW_PARSE_BAD },
	{ "chunked: a trailer without colon", S("0\r\nA\r\n\r\n"), DW_PARSE_BAD },
	{ "chunked: a trailer without name", S("0\r\n: b\r\n\r\n"), DW_PARSE_BAD },
	{ "chunked: a space before a trailer's colon", S("0\r\nA : b\r\n\r\n"), DW_PARSE_BAD },
	{ "chunked: bare LF behind a trailer", S("0\r\nA: b\n\r\n"), DW_PARSE_BAD },
	{ "chunked: a control byte in a trailer", S("0\r\nA: \1\r\n\r\n"), DW_PARSE_BAD },
	/* clang-format on */
};

/* Feeds data in pieces; returns the last status and how much was used. */
static enum dw_parse feed(const char *data, size_t n, size_t piece, size_t *ret_used)
{
	struct dw_http_chunked c = { 0 };
	enum dw_parse status = DW_PARSE_MORE;
	size_t at = 0;
	while (status == DW_PARSE_MORE && at < n) {
		size_t len = DW_MIN(piece, n - at), used = 777;
		status = dw_http_chunked_feed(&c, at_guard(data + at, len), len, &used);
		if (status == DW_PARSE_MORE)
			assert_int_equal(used, len);
		assert_true(used <= len);
		at += used;
	}
	*ret_used = at;
	if (status == DW_PARSE_OK || status == DW_PARSE_BAD) { /* they stick */
		size_t used;
		assert_status(dw_http_chunked_feed(&c, "0", 1, &used), status);
		assert_int_equal(used, 0);
	}
	return status;
}

static void test_chunked(void **state)
{
	const struct chunk_row *row = *state;
	for (size_t piece = 1; piece <= row->n + 1; piece++) {
		size_t used;
		assert_status(feed(row->data, row->n, piece, &used), row->status);
		if (row->status == DW_PARSE_OK)
			assert_int_equal(used, row->used);
	}
}

static void test_trailer_limit(void **state)
{
	static char data[10000];
	for (size_t over = 0; over < 2; over++) {
		/* Lines of 8 bytes and a CR: 8185 bytes, or 8193. */
		size_t n = 3, used;
		memcpy(data, "0\r\n", 3);
		while (n < 3 + 8184 + over * 8) {
			memcpy(data + n, "A: bcd\r\n", 8);
			n += 8;
		}
		memcpy(data + n, "\r\n", 2);
		assert_status(feed(data, n + 2, 512, &used), over ? DW_PARSE_BAD : DW_PARSE_OK);
	}
}

static void test_large_chunk(void **state)
{
	struct dw_http_chunked c = { 0 };
	static uint8_t block[65536];
	size_t used;
	assert_status(dw_http_chunked_feed(&c, "100000\r\n", 8, &used), DW_PARSE_MORE);
	for (unsigned i = 0; i < 16; i++) {
		assert_int_equal(c.left, 0x100000 - i * 65536);
		assert_status(dw_http_chunked_feed(&c, block, sizeof(block), &used), DW_PARSE_MORE);
		assert_int_equal(used, sizeof(block));
	}
	assert_status(dw_http_chunked_feed(&c, "\r\n0\r\n\r\n", 7, &used), DW_PARSE_OK);
}

static const struct status_row {
	const char *name, *data;
	size_t n;
	enum dw_parse status;
	unsigned code;
} status_rows[] = {
	/* clang-format off */
	{ "status: 200", S("HTTP/1.1 200 OK\r\n"), DW_PARSE_OK, 200 },
	{ "status: 101", S("HTTP/1.1 101 Switching Protocols\r\n"), DW_PARSE_OK, 101 },
	{ "status: HTTP/1.0", S("HTTP/1.0 404 Not Found\r\n"), DW_PARSE_OK, 404 },
	{ "status: no reason, no space", S("HTTP/1.1 204\r\n"), DW_PARSE_OK, 204 },
	{ "status: 999", S("HTTP/1.1 999 Request denied\r\n"), DW_PARSE_OK, 999 },
	{ "status: 99", S("HTTP/1.1 099 x"), DW_PARSE_BAD },
	{ "status: four digits", S("HTTP/1.1 2000 OK"), DW_PARSE_BAD },
	{ "status: two digits", S("HTTP/1.1 20 OK"), DW_PARSE_BAD },
	{ "status: HTTP/2", S("HTTP/2.0 200 OK"), DW_PARSE_BAD },
	{ "status: lower case", S("http/1.1 200 OK"), DW_PARSE_BAD },
	{ "status: ICY", S("ICY 200 OK"), DW_PARSE_BAD },
	{ "status: two spaces", S("HTTP/1.1  200 OK"), DW_PARSE_BAD },
	{ "status: not all there", S("HTTP/1.1 200"), DW_PARSE_MORE },
	{ "status: nothing yet", S(""), DW_PARSE_MORE },
	/* clang-format on */
};

static void test_status(void **state)
{
	const struct status_row *row = *state;
	unsigned code = 77;
	assert_status(dw_http_status_parse(at_guard(row->data, row->n), row->n, &code), row->status);
	assert_int_equal(code, row->status == DW_PARSE_OK ? row->code : 77);
	for (size_t len = 0; len < DW_MIN(row->n, 13); len++) {
		enum dw_parse status = dw_http_status_parse(at_guard(row->data, len), len, &code);
		assert_true(status == DW_PARSE_MORE || status == row->status);
	}
}

int main(void)
{
	ADD_ROWS(guess_rows, test_guess);
	add_test("guess: a line over the limit", test_guess_long);
	ADD_ROWS(chunk_rows, test_chunked);
	add_test("chunked: trailers over the limit", test_trailer_limit);
	add_test("chunked: a chunk of 1 MiB", test_large_chunk);
	ADD_ROWS(status_rows, test_status);
	return run_all("http_body");
}
