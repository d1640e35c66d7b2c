/* SPDX-License-Identifier: Apache-2.0 */
/* The first bytes of a flow, as rows; every prefix of every row is tried too. */
#include "../wire/wire_test.h"

#include <stdio.h>
#include <stdlib.h>

#include "../policy/support.h"
#include "gate/answer.h"
#include "gate/inspect.h"

#define BODY              " 0303 x32:11 [1 x32:22 ] [ 1301 1302 ] [1 00 ] "
#define HELLO(extensions) "16 0301 [ 01 [3 " BODY " [ " extensions " 000a [ [ 001d ] ] ] ] ]"
#define SNI(name)         " 0000 [ [ 00 [ " name " ] ] ] "
#define ECH               " fe0d [ 00 x40:33 ] "
#define CRLF              " 0d0a "
#define GET(host)         "s:GET 20 s:/ 20 s:HTTP/1.1" CRLF "s:Host: 20 s:" host CRLF
#define DST               "93.184.215.14"

static uint8_t scratch[DW_TLS_HELLO_MAX];
static struct opened strict, open_default;
static struct dw_pins *pins;

static const struct row {
	const char *name;
	enum dw_inspect mode;
	uint16_t port;
	const char *stream;
	enum inspect_verdict verdict; /* of inspect_first, or of inspect_head where that says HTTP */
	enum dw_reason reason;
	enum inspect_answer answer;
	uint16_t code;
	const char *seen; /* the name */
} rows[] = {
	/* clang-format off */
	{ "TLS, a name that is allowed and pinned", 0, 443, HELLO(SNI("s:ok.test")), INSPECT_PASS, DW_REASON_ALLOW_NAME, 0, 0, "ok.test" },
	{ "EC-143 upper case", 0, 443, HELLO(SNI("s:OK.Test")), INSPECT_PASS, DW_REASON_ALLOW_NAME, 0, 0, "ok.test" },
	{ "EC-008 a trailing dot", 0, 443, HELLO(SNI("s:ok.test.")), INSPECT_PASS, DW_REASON_ALLOW_NAME, 0, 0, "ok.test" },
	{ "TLS on another port", 0, 5432, HELLO(SNI("s:ok.test")), INSPECT_PASS, DW_REASON_ALLOW_NAME, 0, 0, "ok.test" },
	{ "a name that has a port", 0, 8443, HELLO(SNI("s:port.test")), INSPECT_PASS, DW_REASON_ALLOW_NAME, 0, 0, "port.test" },
	{ "EC-075 and another port", 0, 443, HELLO(SNI("s:port.test")), INSPECT_REFUSE, DW_REASON_SNI_NOT_ALLOWED, INSPECT_ANSWER_ALERT, 49, "port.test" },
	{ "EC-134 a co-tenant", 0, 443, HELLO(SNI("s:evil.test")), INSPECT_REFUSE, DW_REASON_SNI_NOT_ALLOWED, INSPECT_ANSWER_ALERT, 49, "evil.test" },
	{ "an allowed name of another address", 0, 443, HELLO(SNI("s:far.test")), INSPECT_REFUSE, DW_REASON_SNI_MISMATCH, INSPECT_ANSWER_ALERT, 49, "far.test" },
	{ "EC-132 no SNI", 0, 443, HELLO(""), INSPECT_REFUSE, DW_REASON_SNI_MISSING, INSPECT_ANSWER_ALERT, 112, "" },
	{ "no SNI on another port", 0, 5432, HELLO(""), INSPECT_REFUSE, DW_REASON_SNI_MISSING, INSPECT_ANSWER_ALERT, 112, "" },
	{ "EC-151 ECH", 0, 443, HELLO(SNI("s:ok.test") ECH), INSPECT_REFUSE, DW_REASON_ECH, INSPECT_ANSWER_ALERT, 49, "ok.test" },
	{ "EC-142 two SNI extensions", 0, 443, HELLO(SNI("s:ok.test") SNI("s:evil.test")), INSPECT_REFUSE, DW_REASON_TLS_MALFORMED, INSPECT_ANSWER_ALERT, 50, "" },
	{ "EC-143 an address as SNI", 0, 443, HELLO(SNI("s:" DST)), INSPECT_REFUSE, DW_REASON_SNI_NOT_ALLOWED, INSPECT_ANSWER_ALERT, 112, DST },
	{ "EC-006 NUL in SNI", 0, 443, HELLO(SNI("s:ok.test 00 s:.evil.test")), INSPECT_REFUSE, DW_REASON_TLS_MALFORMED, INSPECT_ANSWER_ALERT, 50, "" },
	{ "EC-145 SSH on 443", 0, 443, "s:SSH-2.0-x" CRLF, INSPECT_REFUSE, DW_REASON_TLS_REQUIRED, 0, 0, "" },
	{ "EC-145 TLS on 80", 0, 80, HELLO(SNI("s:ok.test")), INSPECT_REFUSE, DW_REASON_HTTP_REQUIRED, 0, 0, "" },
	{ "TLS alert first", 0, 443, "15 0301 0002 0100", INSPECT_REFUSE, DW_REASON_TLS_MALFORMED, INSPECT_ANSWER_ALERT, 50, "" },
	{ "an alert before the hello, on another port", 0, 8443, "15 0301 0002 01 5a" HELLO(SNI("s:evil.test")), INSPECT_REFUSE, DW_REASON_TLS_MALFORMED, INSPECT_ANSWER_ALERT, 50, "" },
	{ "a record version that Go and GnuTLS take", 0, 8443, "16 0201 [ 01 [3 " BODY " [ " SNI("s:evil.test") " ] ] ]", INSPECT_REFUSE, DW_REASON_TLS_MALFORMED, INSPECT_ANSWER_ALERT, 50, "" },
	{ "record version 0", 0, 8443, "16 0000 [ 01 [3 " BODY " [ " SNI("s:evil.test") " ] ] ]", INSPECT_REFUSE, DW_REASON_TLS_MALFORMED, INSPECT_ANSWER_ALERT, 50, "" },
	{ "a hello in SSLv2 form", 0, 8443, "80 2e 01 0303 0015 0000 0010 x37:00", INSPECT_REFUSE, DW_REASON_TLS_MALFORMED, INSPECT_ANSWER_ALERT, 50, "" },
	{ "PROXY protocol", 0, 8443, "s:PROXY 20 s:TCP4 20 s:192.0.2.1 20 s:192.0.2.2 20 s:1 20 s:2" CRLF, INSPECT_REFUSE, DW_REASON_PROXY_HEADER, 0, 0, "" },
	{ "PROXY protocol, version 2", 0, 8443, CRLF CRLF "00" CRLF "s:QUIT 0a 21 11 000c x12:00", INSPECT_REFUSE, DW_REASON_PROXY_HEADER, 0, 0, "" },
	{ "a line of white space before a request", 0, 8080, "20 09" CRLF GET("evil.test") CRLF, INSPECT_REFUSE, DW_REASON_HTTP_MALFORMED, INSPECT_ANSWER_HTTP, 400, "" },
	{ "NATS", 0, 4222, "s:CONNECT 20 s:{\"verbose\":false}" CRLF "s:PING" CRLF, INSPECT_PASS, DW_REASON_NONE, 0, 0, "" },
	{ "CONNECT that only looks like NATS", 0, 4222, "s:CONNECT 20 s:{} 20 s:HTTP/1.1" CRLF "s:Host: 20 s:evil.test" CRLF CRLF, INSPECT_REFUSE, DW_REASON_HTTP_MALFORMED, INSPECT_ANSWER_HTTP, 400, "" },
	{ "telnet", 0, 23, "ff fd 01", INSPECT_PASS, DW_REASON_NONE, 0, 0, "" },
	{ "MySQL login of 278 bytes", 0, 3306, "16 01 00 01 85 a6 ff 01", INSPECT_PASS, DW_REASON_NONE, 0, 0, "" },
	{ "SSH on 22", 0, 22, "s:SSH-2.0-x" CRLF, INSPECT_PASS, DW_REASON_NONE, 0, 0, "" },
	{ "PostgreSQL start-up", 0, 5432, "00000008 04d2162f", INSPECT_PASS, DW_REASON_NONE, 0, 0, "" },
	{ "HTTP", 0, 80, GET("ok.test") CRLF, INSPECT_PASS, DW_REASON_ALLOW_NAME, 0, 0, "ok.test" },
	{ "HTTP on another port", 0, 8080, GET("ok.test:8080") CRLF, INSPECT_PASS, DW_REASON_ALLOW_NAME, 0, 0, "ok.test" },
	{ "EC-011 HTTP, another port in Host", 0, 8080, GET("ok.test:80") CRLF, INSPECT_REFUSE, DW_REASON_HOST_MISMATCH, INSPECT_ANSWER_HTTP, 403, "ok.test" },
	{ "HTTP, a co-tenant", 0, 80, GET("evil.test") CRLF, INSPECT_REFUSE, DW_REASON_HOST_NOT_ALLOWED, INSPECT_ANSWER_HTTP, 403, "evil.test" },
	{ "HTTP, an allowed name of another address", 0, 80, GET("far.test") CRLF, INSPECT_REFUSE, DW_REASON_HOST_MISMATCH, INSPECT_ANSWER_HTTP, 403, "far.test" },
	{ "HTTP, an address as Host", 0, 80, GET(DST) CRLF, INSPECT_REFUSE, DW_REASON_HOST_NOT_ALLOWED, INSPECT_ANSWER_HTTP, 403, DST },
	{ "EC-163 HTTP/1.0 without Host", 0, 80, "s:GET 20 s:/ 20 s:HTTP/1.0" CRLF CRLF, INSPECT_REFUSE, DW_REASON_HOST_MISSING, INSPECT_ANSWER_HTTP, 400, "" },
	{ "EC-161 two Hosts", 0, 80, GET("ok.test") "s:Host: 20 s:evil.test" CRLF CRLF, INSPECT_REFUSE, DW_REASON_HTTP_MALFORMED, INSPECT_ANSWER_HTTP, 400, "" },
	{ "EC-167 both lengths", 0, 80, GET("ok.test") "s:Content-Length:3" CRLF "s:Transfer-Encoding:chunked" CRLF CRLF, INSPECT_REFUSE, DW_REASON_HTTP_MALFORMED, INSPECT_ANSWER_HTTP, 400, "" },
	{ "EC-170 CONNECT", 0, 80, "s:CONNECT 20 s:ok.test:80 20 s:HTTP/1.1" CRLF "s:Host: 20 s:ok.test:80" CRLF CRLF, INSPECT_REFUSE, DW_REASON_HTTP_METHOD, INSPECT_ANSWER_HTTP, 403, "ok.test" },
	{ "EC-169 the h2 preface", 0, 80, "s:PRI 20 s:* 20 s:HTTP/2.0" CRLF CRLF "s:SM" CRLF CRLF, INSPECT_REFUSE, DW_REASON_HTTP_UPGRADE, INSPECT_ANSWER_HTTP, 403, "" },
	{ "EC-169 h2c", 0, 80, GET("ok.test") "s:Connection:Upgrade" CRLF "s:Upgrade:h2c" CRLF CRLF, INSPECT_REFUSE, DW_REASON_HTTP_UPGRADE, INSPECT_ANSWER_HTTP, 403, "ok.test" },
	{ "EC-172 WebSocket", 0, 80, GET("ok.test") "s:Connection:Upgrade" CRLF "s:Upgrade:websocket" CRLF CRLF, INSPECT_PASS, DW_REASON_ALLOW_NAME, 0, 0, "ok.test" },
	{ "HTTP on 443", 0, 443, GET("ok.test") CRLF, INSPECT_REFUSE, DW_REASON_TLS_REQUIRED, -1, 0, NULL },
	{ "empty lines before a request", 0, 8080, CRLF CRLF GET("evil.test") CRLF, INSPECT_REFUSE, DW_REASON_HTTP_MALFORMED, INSPECT_ANSWER_HTTP, 400, "" },

	{ "observed, a co-tenant", DW_INSPECT_OBSERVE, 443, HELLO(SNI("s:evil.test")), INSPECT_REFUSE, DW_REASON_SNI_NOT_ALLOWED, INSPECT_ANSWER_ALERT, 49, "evil.test" },
	{ "observed, an allowed name", DW_INSPECT_OBSERVE, 443, HELLO(SNI("s:ok.test")), INSPECT_PASS, DW_REASON_ALLOW_NAME, 0, 0, "ok.test" },
	{ "observed, SSH on 443", DW_INSPECT_OBSERVE, 443, "s:SSH-2.0-x" CRLF, INSPECT_REFUSE, DW_REASON_TLS_REQUIRED, 0, 0, "" },
	{ "observed, no Host", DW_INSPECT_OBSERVE, 80, "s:GET 20 s:/ 20 s:HTTP/1.0" CRLF CRLF, INSPECT_REFUSE, DW_REASON_HOST_MISSING, INSPECT_ANSWER_HTTP, 400, "" },

	{ "open default, TLS", DW_INSPECT_DENY_NAMES, 443, HELLO(SNI("s:ok.test")), INSPECT_PASS, -1, 0, 0, "ok.test" },
	{ "open default, TLS of a denied name", DW_INSPECT_DENY_NAMES, 443, HELLO(SNI("s:bad.test")), INSPECT_REFUSE, DW_REASON_SNI_NOT_ALLOWED, INSPECT_ANSWER_ALERT, 49, "bad.test" },
	{ "open default, on any port", DW_INSPECT_DENY_NAMES, 7777, HELLO(SNI("s:bad.test")), INSPECT_REFUSE, DW_REASON_SNI_NOT_ALLOWED, INSPECT_ANSWER_ALERT, 49, "bad.test" },
	{ "open default, no SNI", DW_INSPECT_DENY_NAMES, 443, HELLO(""), INSPECT_PASS, -1, 0, 0, "" },
	{ "open default, ECH", DW_INSPECT_DENY_NAMES, 443, HELLO(SNI("s:ok.test") ECH), INSPECT_PASS, -1, 0, 0, "ok.test" },
	{ "open default, no TLS on 443", DW_INSPECT_DENY_NAMES, 443, "s:SSH-2.0-x" CRLF, INSPECT_PASS, -1, 0, 0, "" },
	{ "open default, a record version that Go takes", DW_INSPECT_DENY_NAMES, 443, "16 0201 [ 01 [3 " BODY " [ " SNI("s:bad.test") " ] ] ]", INSPECT_REFUSE, DW_REASON_TLS_MALFORMED, INSPECT_ANSWER_ALERT, 50, "" },
	{ "open default, PROXY protocol", DW_INSPECT_DENY_NAMES, 443, "s:PROXY 20 s:TCP4 20", INSPECT_REFUSE, DW_REASON_PROXY_HEADER, 0, 0, "" },
	{ "open default, broken TLS", DW_INSPECT_DENY_NAMES, 443, "16 0301 0000 00", INSPECT_REFUSE, DW_REASON_TLS_MALFORMED, INSPECT_ANSWER_ALERT, 50, "" },
	{ "open default, HTTP of a denied name", DW_INSPECT_DENY_NAMES, 80, GET("bad.test") CRLF, INSPECT_REFUSE, DW_REASON_HOST_NOT_ALLOWED, INSPECT_ANSWER_HTTP, 403, "bad.test" },
	{ "open default, CONNECT to a denied name", DW_INSPECT_DENY_NAMES, 3128, "s:CONNECT 20 s:bad.test:443 20 s:HTTP/1.1" CRLF "s:Host: 20 s:bad.test:443" CRLF CRLF, INSPECT_REFUSE, DW_REASON_HOST_NOT_ALLOWED, INSPECT_ANSWER_HTTP, 403, "bad.test" },
	{ "open default, no Host", DW_INSPECT_DENY_NAMES, 80, "s:GET 20 s:/ 20 s:HTTP/1.0" CRLF CRLF, INSPECT_PASS, -1, 0, 0, "" },
	{ "open default, broken HTTP", DW_INSPECT_DENY_NAMES, 80, GET("ok.test") "s:Host: 20 s:ok.test" CRLF CRLF, INSPECT_PASS, -1, 0, 0, "" },
	/* clang-format on */
};

/* As the gate does it: first bytes, then the head where they are HTTP. */
static enum inspect_verdict look(const struct inspect *in, const uint8_t *data, size_t n, struct inspect_result *r)
{
	struct dw_http_head head;
	struct dw_http_guess guess = { 0 };
	enum inspect_verdict v = inspect_first(in, at_guard(data, n), n, &guess, scratch, r);

	return v == INSPECT_HTTP ? inspect_head(in, at_guard(data, n), n, true, &head, r) : v;
}

static struct inspect context(const struct row *row)
{
	return (struct inspect){
		.policy = row->mode == DW_INSPECT_DENY_NAMES ? open_default.policy : strict.policy,
		.pins = pins,
		.dst = addr(DST),
		.port = row->port,
		.mode = row->mode,
	};
}

static void row_holds(void **state)
{
	const struct row *row = *state;
	const struct inspect in = context(row);
	struct inspect_result r, early;
	uint8_t data[2048];
	const size_t n = assemble(row->stream, data, sizeof(data));

	assert_int_equal(look(&in, data, n, &r), row->verdict);
	if ((int)row->reason != -1)
		assert_string_equal(dw_reason_name(r.decision.reason), dw_reason_name(row->reason));
	if ((int)row->answer != -1) {
		assert_int_equal(r.answer, row->answer);
		assert_int_equal(r.code, row->code);
	}
	if (row->seen)
		assert_string_equal(r.name, row->seen);
	assert_true((row->verdict == INSPECT_REFUSE) == (r.decision.verdict == DW_DENY && r.decision.reason));
	/* No prefix is decided in another way than the whole. */
	for (size_t k = 0; k < n; k++) {
		enum inspect_verdict v = look(&in, data, k, &early);
		if (v != INSPECT_MORE)
			assert_int_equal(v, row->verdict);
	}
}

static void upgrade_only_first(void **state)
{
	const struct inspect in = { strict.policy, pins, addr(DST), 80, DW_INSPECT_STRICT };
	struct dw_http_head head;
	struct inspect_result r;
	uint8_t data[512];
	size_t n = assemble(GET("ok.test") "s:Connection:Upgrade" CRLF "s:Upgrade:websocket" CRLF CRLF, data,
			    sizeof(data));

	assert_int_equal(inspect_head(&in, data, n, false, &head, &r), INSPECT_REFUSE);
	assert_int_equal(r.decision.reason, DW_REASON_HTTP_UPGRADE);
}

/* A hello that QUIC carried is judged as one in TCP. */
static void hello_by_itself(void **state)
{
	const struct inspect in = { strict.policy, pins, addr(DST), 443, DW_INSPECT_STRICT };
	struct dw_tls_hello h = { .has_sni = true, .sni = "OK.test", .sni_n = 7 };
	struct inspect_result r;

	assert_int_equal(inspect_hello(&in, &h, &r), INSPECT_PASS);
	assert_string_equal(r.name, "ok.test");
	assert_int_equal(r.proto, INSPECT_PROTO_TLS);
	h.has_ech = true;
	assert_int_equal(inspect_hello(&in, &h, &r), INSPECT_REFUSE);
	assert_int_equal(r.decision.reason, DW_REASON_ECH);
	h = (struct dw_tls_hello){ 0 };
	assert_int_equal(inspect_hello(&in, &h, &r), INSPECT_REFUSE);
	assert_int_equal(r.decision.reason, DW_REASON_SNI_MISSING);
}

static void no_pins_no_pass(void **state)
{
	const struct inspect in = { strict.policy, NULL, addr(DST), 443, DW_INSPECT_STRICT };

	assert_int_equal(inspect_name(&in, INSPECT_PROTO_TLS, "ok.test").reason, DW_REASON_SNI_MISMATCH);
	assert_int_equal(inspect_name(&in, INSPECT_PROTO_HTTP, "ok.test").reason, DW_REASON_HOST_MISMATCH);
}

static void answers(void **state)
{
	const struct inspect in = { strict.policy, pins, addr(DST), 80, DW_INSPECT_STRICT };
	struct inspect_result r = {
		.decision = { .reason = DW_REASON_HOST_NOT_ALLOWED, .rule = DW_RULE_NONE },
		.name = "a\"b\r\n",
		.answer = INSPECT_ANSWER_HTTP,
		.code = 403,
	};
	static const char json[] = "GET / HTTP/1.1\r\naccept: text/html, Application/JSON\r\n\r\n";
	static const char body[] = "POST / HTTP/1.1\r\nAccept: */*\r\n\r\nAccept: application/json\r\n";
	size_t n;

	uint8_t *p = inspect_answer_build(&in, &r, (const uint8_t *)json, strlen(json), &n);
	assert_non_null(p);
	assert_non_null(memmem(p, n, "HTTP/1.1 403 Forbidden\r\n", 24));
	assert_non_null(memmem(p, n, "\"reason\":\"host_not_allowed\"", 27));
	assert_null(memmem(p, n, "a\"b", 3));
	free(p);
	assert_false(answer_wants_json((const uint8_t *)body, strlen(body)));
	assert_false(answer_wants_json(NULL, 0));

	r.answer = INSPECT_ANSWER_ALERT;
	p = inspect_answer_build(&in, &r, NULL, 0, &n);
	assert_int_equal(n, DW_TLS_ALERT_SIZE);
	assert_int_equal(p[0], 0x15);
	free(p);
	r.answer = INSPECT_ANSWER_NONE;
	assert_null(inspect_answer_build(&in, &r, NULL, 0, &n));
}

int main(void)
{
	strict = open_policy("ok.test far.test port.test:8443", "", false);
	open_default = open_policy(NULL, "bad.test", true);
	pins = pins_of("ok.test=" DST " port.test=" DST " evil.test=" DST " far.test=93.184.215.99");
	ADD_ROWS(rows, row_holds);
	add_test("an upgrade only as the first request", upgrade_only_first);
	add_test("a hello by itself", hello_by_itself);
	add_test("without pins nothing is proven", no_pins_no_pass);
	add_test("answers", answers);
	return run_all("inspect");
}
