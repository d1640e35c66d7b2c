/* SPDX-License-Identifier: Apache-2.0 */
/* Section E: plain HTTP to the shared address. Each request of a connection has a host, and servers differ in where they look. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probe.h"

static void begin(struct eg_run *r)
{
	struct eg_addr a[4];

	eg_resolve(r, r->config->allowed, a, EG_COUNT(a));
	eg_aim_ip(r, IPPROTO_TCP, eg_at(r, EG_A1), eg_port(r));
}

/*
 * Raw bytes with marks: %n the nonce, %a the allowed name, %e a denied one with the nonce. On port 80 and on one that is the
 * case's own: there a server may speak HTTP too, and the Host names the port.
 */
static void fill(const struct eg_run *r, enum eg_which arm, uint16_t port, struct eg_buf *b, const char *shape)
{
	for (const char *p = shape; *p; p++) {
		if (*p != '%') {
			eg_u8(b, (uint8_t)*p);
			continue;
		}
		p++;
		if (*p == 'n')
			eg_text(b, "%s", r->nonce[arm]);
		else if (*p == 'g')
			eg_text(b, "%s", r->nonce[EG_CONTROL]);
		else if (*p == 'e')
			eg_text(b, "%s.%s", r->nonce[arm], r->config->evil);
		else if (*p == 'a')
			eg_text(b, "%s", r->config->allowed);
		if (*p == 'a' && port != 80)
			eg_text(b, ":%u", port);
		if (*p == '0')
			eg_u8(b, 0);
		if (*p == 'v')
			eg_u8(b, 0x0b);
	}
}

static void send_shape(struct eg_run *r, enum eg_which arm, uint16_t port, const char *shape, unsigned tokens)
{
	struct eg_buf b = { 0 };

	fill(r, arm, port, &b, shape);
	const struct eg_talk t = { .to = eg_at(r, EG_A1), .port = port, .part = { { b.p, b.n } }, .tokens = tokens };
	eg_tcp(r, arm, &t);
	eg_free(&b);
}

static void denied(struct eg_run *r, const char *shape)
{
	send_shape(r, EG_DENIED, 80, shape, 1);
	send_shape(r, EG_DENIED, eg_port(r), shape, 1);
}

static void control(struct eg_run *r)
{
	static const char get[] = "GET /%n HTTP/1.1\r\nHost: %a\r\n\r\n";

	send_shape(r, EG_CONTROL, 80, get, 1);
	send_shape(r, EG_CONTROL, eg_port(r), get, 1);
}

static void second_request(struct eg_run *r)
{
	begin(r);
	denied(r, "GET /%g HTTP/1.1\r\nHost: %a\r\n\r\nGET /%n HTTP/1.1\r\nHost: %e\r\n\r\n");
	denied(r, "POST /%g HTTP/1.1\r\nHost: %a\r\nContent-Length: 3\r\n\r\nabcGET /%n HTTP/1.1\r\nHost: %e\r\n\r\n");
	denied(r, "POST /%g HTTP/1.1\r\nHost: %a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /%n "
		  "HTTP/1.1\r\nHost: %e\r\n\r\n");
	/* in turn: the second after the first's answer */
	struct eg_buf one = { 0 }, two = { 0 };
	fill(r, EG_CONTROL, 80, &one, "GET /%n HTTP/1.1\r\nHost: %a\r\n\r\n");
	fill(r, EG_DENIED, 80, &two, "GET /%n HTTP/1.1\r\nHost: %e\r\n\r\n");
	const struct eg_talk t = {
		.to = eg_at(r, EG_A1), .port = 80, .part = { { one.p, one.n }, { two.p, two.n } }, .turns = true
	};
	eg_tcp(r, EG_DENIED, &t);
	eg_free(&one);
	eg_free(&two);
	send_shape(r, EG_CONTROL, 80, "GET /%n HTTP/1.1\r\nHost: %a\r\n\r\nGET /%n HTTP/1.1\r\nHost: %a\r\n\r\n", 2);
	control(r);
}

static void two_hosts(struct eg_run *r)
{
	begin(r);
	denied(r, "GET /%n HTTP/1.1\r\nHost: %a\r\nHost: %e\r\n\r\n");
	denied(r, "GET /%n HTTP/1.1\r\nHost: %e\r\nHost: %a\r\n\r\n");
	denied(r, "GET /%n HTTP/1.1\r\nHost: %a\r\nHost: %a\r\n\r\n");
	denied(r, "GET /%n HTTP/1.1\r\nHost: %a, %e\r\n\r\n");
	denied(r, "GET /%n HTTP/1.1\r\nHost: %a\r\n Host: %e\r\n\r\n");
	denied(r, "GET /%n HTTP/1.1\r\nHost : %a\r\n\r\n");
	control(r);
}

static void absolute_form(struct eg_run *r)
{
	begin(r);
	denied(r, "GET http://%e/ HTTP/1.1\r\nHost: %a\r\n\r\n");
	denied(r, "GET http://%a/%n HTTP/1.1\r\nHost: %e\r\n\r\n");
	denied(r, "GET http://%a@%e/ HTTP/1.1\r\nHost: %a\r\n\r\n");
	denied(r, "GET https://%e/ HTTP/1.1\r\nHost: %a\r\n\r\n");
	send_shape(r, EG_CONTROL, 80, "GET http://%a/%n HTTP/1.1\r\nHost: %a\r\n\r\n", 1);
	control(r);
}

static void no_host(struct eg_run *r)
{
	begin(r);
	denied(r, "GET /%n HTTP/1.1\r\n\r\n");
	denied(r, "GET /%n HTTP/1.0\r\n\r\n");
	denied(r, "GET /%n HTTP/1.0\r\nHost: %e\r\n\r\n");
	denied(r, "\r\nGET /%n HTTP/1.1\r\nHost: %e\r\n\r\n");
	send_shape(r, EG_DENIED, 80, "GET /%n\r\n", 1);
	send_shape(r, EG_DENIED, 80, "GET /%n HTTP/1.1\nHost: %e\n\n", 1);
	control(r);
}

static void forged_host(struct eg_run *r)
{
	char name[160];

	begin(r);
	eg_name(r, EG_DENIED, r->config->cotenant, name);
	eg_aim_name(r, name);
	eg_get(r, EG_DENIED, 80, name, NULL);
	eg_get(r, EG_DENIED, 80, name, "X-Forwarded-Host: one.allowed.test\r\n");
	eg_get(r, EG_DENIED, eg_port(r), name, NULL);
	control(r);
}

static void smuggling(struct eg_run *r)
{
	static const char *const framings[] = {
		"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
		"Transfer-Encoding: chunked\r\nContent-Length: 60\r\n",
		"Content-Length: 0\r\nContent-Length: 60\r\n",
		"Content-Length: +3\r\n",
		"Content-Length: 3, 60\r\n",
		"Content-Length: 0%v\r\n",
		"Transfer-Encoding: xchunked\r\n",
		"Transfer-Encoding: chunked, identity\r\n",
		"Transfer-Encoding:\r\n chunked\r\n",
		"Transfer-Encoding : chunked\r\n",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
		"X: a\nTransfer-Encoding: chunked\r\n",
	};
	char shape[400];

	begin(r);
	for (size_t i = 0; i < EG_COUNT(framings); i++) {
		snprintf(shape, sizeof(shape),
			 "POST /%%n HTTP/1.1\r\nHost: %%a\r\n%s\r\n0\r\n\r\nGET /%%n HTTP/1.1\r\nHost: %%e\r\n\r\n",
			 framings[i]);
		send_shape(r, EG_DENIED, i % 2 ? eg_port(r) : 80, shape, 1);
	}
	send_shape(r, EG_CONTROL, 80,
		   "POST /%n HTTP/1.1\r\nHost: %a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 1);
	control(r);
}

static void h2c(struct eg_run *r)
{
	begin(r);
	denied(r, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n%n");
	denied(r, "GET /%n HTTP/1.1\r\nHost: %a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: "
		  "h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n");
	control(r);
}

static void connect_method(struct eg_run *r)
{
	begin(r);
	denied(r, "CONNECT %e:443 HTTP/1.1\r\nHost: %e:443\r\n\r\n");
	denied(r, "CONNECT %e:443 HTTP/1.1\r\nHost: %a\r\n\r\n%n");
	denied(r, "CONNECT %a HTTP/1.1\r\nHost: %a\r\nX: %n\r\n\r\n");
	control(r);
}

static void websocket(struct eg_run *r)
{
	static const char upgrade[] =
		"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
		"dGhlIHNhbXBsZSBub25jZQ==\r\n";
	char shape[400];

	begin(r);
	snprintf(shape, sizeof(shape), "GET /%%n HTTP/1.1\r\nHost: %%e\r\n%s\r\n", upgrade);
	denied(r, shape);
	/* refused or answered without an upgrade: what follows is a request again */
	snprintf(shape, sizeof(shape), "GET /%%g HTTP/1.1\r\nHost: %%a\r\n\r\nGET /%%n HTTP/1.1\r\nHost: %%e\r\n%s\r\n",
		 upgrade);
	denied(r, shape);
	snprintf(shape, sizeof(shape), "GET /%%n HTTP/1.1\r\nHost: %%a\r\n%s\r\n", upgrade);
	send_shape(r, EG_CONTROL, 80, shape, 1);
}

static void methods(struct eg_run *r)
{
	static const char *const words[] = { "get", "PROPFIND", "X-ANY", "GET\t", "OPTIONS", "TRACE" };
	char shape[160];

	begin(r);
	for (size_t i = 0; i < EG_COUNT(words); i++) {
		snprintf(shape, sizeof(shape), "%s /%%n HTTP/1.1\r\nHost: %%e\r\n\r\n", words[i]);
		send_shape(r, EG_DENIED, 80, shape, 1);
	}
	denied(r, "GET /%n HTTP/1.1\r\nHost: %e\r\nX-HTTP-Method-Override: GET\r\n\r\n");
	send_shape(r, EG_CONTROL, 80, "PUT /%n HTTP/1.1\r\nHost: %a\r\nContent-Length: 2\r\n\r\nab", 1);
	control(r);
}

static void proxy_header(struct eg_run *r)
{
	static const char v1[] = "PROXY TCP4 1.2.3.4 5.6.7.8 1 80\r\nGET /%n HTTP/1.1\r\nHost: %e\r\n\r\n";
	static const char v2[] = "\r\n\r\n%0\r\nQUIT\n\x21\x11%0\x0c\x01\x02\x03\x04\x05\x06\x07\x08%0\x01%0\x50GET "
				 "/%n HTTP/1.1\r\nHost: %e\r\n\r\n";

	begin(r);
	denied(r, v1);
	denied(r, v2);
	send_shape(r, EG_DENIED, 443, v1, 1);
	control(r);
}

/* A head that never ends, and one that is too large, ahead of a denied host. */
static void huge_head(struct eg_run *r)
{
	struct eg_buf b = { 0 };
	char line[256];

	begin(r);
	memset(line, 'a', sizeof(line));
	eg_text(&b, "GET / HTTP/1.1\r\n");
	for (int i = 0; i < 600; i++) {
		eg_text(&b, "X-%d: ", i);
		eg_put(&b, line, sizeof(line));
		eg_text(&b, "\r\n");
	}
	eg_text(&b, "Host: %s.%s\r\n\r\n", r->nonce[EG_DENIED], r->config->evil);
	eg_tcp_send(r, EG_DENIED, eg_at(r, EG_A1), 80, &b);
	eg_tcp_send(r, EG_DENIED, eg_at(r, EG_A1), eg_port(r), &b);
	eg_free(&b);
	control(r);
}

const struct eg_case eg_cases_http[] = {
	{ 160, 'E', "a second request with another Host", second_request, 0, "http_host http_every" },
	{ 161, 'E', "two Hosts, folded and misspelt ones", two_hosts, 0, "http_strict" },
	{ 162, 'E', "absolute form against Host", absolute_form, 0, "http_strict" },
	{ 163, 'E', "no Host; HTTP/1.0, 0.9, bare line feeds", no_host, 0, "http_host http_strict host_required" },
	{ 166, 'E', "a co-tenant's Host", forged_host, 0, "http_host" },
	{ 167, 'E', "framing in two ways (CL, TE)", smuggling, 0, "http_strict" },
	{ 169, 'E', "h2c, upgrade and prior knowledge", h2c, 0, "http_host http_strict http_upgrade" },
	{ 170, 'E', "CONNECT", connect_method, 0, "http_host http_strict http_connect" },
	{ 172, 'E', "a WebSocket upgrade for a denied host", websocket, 0, "http_host http_every" },
	{ 176, 'E', "odd methods", methods, 0, "http_host http_strict" },
	{ 179, 'E', "a PROXY protocol header before the request", proxy_header, 0, "proxy_header" },
	{ 184, 'E', "a head of 160 KiB", huge_head, 0, "http_strict" },
	{ 0 },
};
