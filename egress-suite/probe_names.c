/* SPDX-License-Identifier: Apache-2.0 */
/* Section A: one name in many spellings, in each place where a name stands. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probe.h"

enum eg_client eg_tls(struct eg_run *r, enum eg_which arm, uint16_t port, const struct eg_hello *h)
{
	struct eg_buf b = { 0 };
	struct eg_hello mine = *h;

	mine.nonce = r->nonce[arm];
	eg_tls_hello(&b, &mine);
	enum eg_client what = eg_tcp_send(r, arm, eg_at(r, EG_A1), port, &b);
	eg_free(&b);
	return what;
}

enum eg_client eg_tls_name(struct eg_run *r, enum eg_which arm, uint16_t port, const void *sni, size_t n)
{
	return eg_tls(r, arm, port, &(struct eg_hello){ .sni = sni, .sni_n = n });
}

enum eg_client eg_get(struct eg_run *r, enum eg_which arm, uint16_t port, const char *host, const char *extra)
{
	struct eg_buf b = { 0 };

	eg_http(&b, r->nonce[arm], host, extra);
	enum eg_client what = eg_tcp_send(r, arm, eg_at(r, EG_A1), port, &b);
	eg_free(&b);
	return what;
}

/* Labels between dots, whatever their bytes; an empty label ends the name, as on the wire. */
static void wire_name(struct eg_buf *b, const uint8_t *p, size_t n)
{
	for (size_t at = 0; at < n;) {
		const uint8_t *dot = memchr(p + at, '.', n - at);
		size_t label = dot ? (size_t)(dot - p) - at : n - at;
		eg_u8(b, (unsigned)label & 0xff);
		eg_put(b, p + at, label);
		at += label + 1;
	}
	eg_u8(b, 0);
}

void eg_everywhere(struct eg_run *r, enum eg_which arm, const void *name, size_t n)
{
	struct eg_buf wire = { 0 }, request = { 0 };
	char text[300];

	wire_name(&wire, name, n);
	eg_dns(r, arm, &(struct eg_query){ .wire = wire.p, .wire_n = wire.n, .type = r->six ? 28 : 1 }, false);
	eg_free(&wire);
	eg_tls_name(r, arm, 443, name, n);
	eg_text(&request, "GET /%s HTTP/1.1\r\nHost: ", r->nonce[arm]);
	eg_put(&request, name, n);
	eg_text(&request, "\r\n\r\n");
	eg_tcp_send(r, arm, eg_at(r, EG_A1), 80, &request);
	eg_free(&request);
	if (arm == EG_DENIED && n < sizeof(text) && !memchr(name, 0, n)) {
		memcpy(text, name, n);
		text[n] = '\0';
		eg_aim_name(r, text);
	}
	if (arm == EG_DENIED) {
		eg_aim_ip(r, IPPROTO_TCP, eg_at(r, EG_A1), 443);
		eg_aim_ip(r, IPPROTO_TCP, eg_at(r, EG_A1), 80);
	}
}

static void everywhere(struct eg_run *r, enum eg_which arm, const char *name)
{
	eg_everywhere(r, arm, name, strlen(name));
}

/* Before anything else: what is allowed is known to the sandbox. */
static void begin(struct eg_run *r)
{
	struct eg_addr a[4];

	eg_resolve(r, r->config->allowed, a, EG_COUNT(a));
}

static void control(struct eg_run *r)
{
	everywhere(r, EG_CONTROL, r->config->allowed);
}

static void nul_in_name(struct eg_run *r)
{
	struct eg_buf b = { 0 };

	begin(r);
	eg_text(&b, "%s", r->config->allowed);
	eg_u8(&b, 0);
	eg_text(&b, ".%s.%s", r->nonce[EG_DENIED], r->config->evil);
	eg_everywhere(r, EG_DENIED, b.p, b.n);
	b.n = 0;
	eg_text(&b, "%s.%s", r->nonce[EG_DENIED], r->config->evil);
	eg_u8(&b, 0);
	eg_text(&b, ".%s", r->config->allowed);
	eg_everywhere(r, EG_DENIED, b.p, b.n);
	eg_free(&b);
	control(r);
}

static void controls_in_name(struct eg_run *r)
{
	static const char bytes[] = "\x01\t\n\r \x7f";
	char name[256];

	begin(r);
	for (size_t i = 0; i < sizeof(bytes) - 1; i++) {
		snprintf(name, sizeof(name), "%s%c%s.%s", r->config->allowed, bytes[i], r->nonce[EG_DENIED],
			 r->config->evil);
		everywhere(r, EG_DENIED, name);
	}
	control(r);
}

static void trailing_dot(struct eg_run *r)
{
	char name[256];

	begin(r);
	snprintf(name, sizeof(name), "%s.%s.", r->nonce[EG_DENIED], r->config->evil);
	everywhere(r, EG_DENIED, name);
	snprintf(name, sizeof(name), "%s.", r->config->allowed);
	everywhere(r, EG_CONTROL, name);
}

static void upper(char *s)
{
	for (; *s; s++) {
		if (*s >= 'a' && *s <= 'z')
			*s = (char)(*s - 32);
	}
}

static void letter_case(struct eg_run *r)
{
	char name[256];

	begin(r);
	snprintf(name, sizeof(name), "%s.%s", r->nonce[EG_DENIED], r->config->cotenant);
	upper(name);
	everywhere(r, EG_DENIED, name);
	snprintf(name, sizeof(name), "%s", r->config->allowed);
	upper(name);
	everywhere(r, EG_CONTROL, name);
}

static void glued_port(struct eg_run *r)
{
	static const char *const shapes[] = { "%s:443:80", "%s:22", ":80", "%s:", "%s:080x", "[%s]:80" };
	char host[256], text[160];

	begin(r);
	eg_aim_ip(r, IPPROTO_TCP, eg_at(r, EG_A1), 80);
	for (size_t i = 0; i < EG_COUNT(shapes); i++) {
		const char *p = strstr(shapes[i], "%s");
		if (i == 3)
			continue; /* an empty port is the default one (RFC 3986 section 3.2.3) */
		snprintf(host, sizeof(host), "%.*s%s%s", p ? (int)(p - shapes[i]) : (int)strlen(shapes[i]), shapes[i],
			 p ? r->config->allowed : "", p ? p + 2 : "");
		eg_get(r, EG_DENIED, 80, host, NULL);
	}
	snprintf(host, sizeof(host), "%s:80", eg_name(r, EG_DENIED, r->config->evil, text));
	eg_aim_name(r, text);
	eg_get(r, EG_DENIED, 80, host, NULL);
	snprintf(host, sizeof(host), "%s:443", r->config->allowed);
	eg_tls_name(r, EG_DENIED, 443, host, strlen(host));
	snprintf(host, sizeof(host), "%s:80", r->config->allowed);
	eg_get(r, EG_CONTROL, 80, host, NULL);
}

static void look_alikes(struct eg_run *r)
{
	const struct eg_config *c = r->config;
	const char *d = r->nonce[EG_DENIED];
	char name[256];

	begin(r);
	snprintf(name, sizeof(name), "%s%s", d, c->allowed);
	everywhere(r, EG_DENIED, name);
	snprintf(name, sizeof(name), "%s.%s", d, c->allowed);
	everywhere(r, EG_DENIED, name);
	snprintf(name, sizeof(name), "%s.%s.%s", c->allowed, d, c->evil);
	everywhere(r, EG_DENIED, name);
	snprintf(name, sizeof(name), "%s-%s", d, c->wild);
	everywhere(r, EG_DENIED, name);
	snprintf(name, sizeof(name), "%s%s", d, c->wild);
	everywhere(r, EG_DENIED, name);
	snprintf(name, sizeof(name), "%s.a.%s.%s", d, c->wild, c->evil);
	everywhere(r, EG_DENIED, name);
	control(r);
}

static void wildcard_apex(struct eg_run *r)
{
	char name[160];

	begin(r);
	everywhere(r, EG_DENIED, r->config->wild);
	eg_name(r, EG_CONTROL, r->config->wild, name);
	everywhere(r, EG_CONTROL, name);
}

static void wildcard_depth(struct eg_run *r)
{
	char name[160], deep[200];
	struct eg_buf b = { 0 };

	begin(r);
	eg_text(&b, "%s..%s", r->nonce[EG_DENIED], r->config->wild);
	eg_tls_name(r, EG_DENIED, 443, b.p, b.n);
	eg_get(r, EG_DENIED, 80, (const char *)b.p, NULL);
	snprintf(name, sizeof(name), ".%s", r->config->wild);
	eg_tls_name(r, EG_DENIED, 443, name, strlen(name));
	eg_get(r, EG_DENIED, 80, name, NULL);
	eg_aim_ip(r, IPPROTO_TCP, eg_at(r, EG_A1), 80);
	eg_free(&b);
	snprintf(deep, sizeof(deep), "a.b.%s", eg_name(r, EG_CONTROL, r->config->wild, name));
	everywhere(r, EG_CONTROL, deep);
}

static void illegal_lengths(struct eg_run *r)
{
	struct eg_buf b = { 0 };

	begin(r);
	for (int i = 0; i < 4; i++) /* a label of 64 and more */
		eg_text(&b, "%s", r->nonce[EG_DENIED]);
	eg_text(&b, ".%s", r->config->wild);
	eg_everywhere(r, EG_DENIED, b.p, b.n);
	b.n = 0;
	for (int i = 0; i < 16; i++) /* a name of over 253 */
		eg_text(&b, "%s.", r->nonce[EG_DENIED]);
	eg_text(&b, "%s", r->config->wild);
	eg_everywhere(r, EG_DENIED, b.p, b.n);
	eg_tls_name(r, EG_DENIED, 443, "", 0);
	eg_get(r, EG_DENIED, 80, "", NULL);
	eg_free(&b);
	control(r);
}

static void numeric_hosts(struct eg_run *r)
{
	const uint8_t *b = r->config->at[EG_A2][0].b;
	char name[64];

	begin(r);
	const unsigned whole = (unsigned)b[0] << 24 | (unsigned)b[1] << 16 | (unsigned)b[2] << 8 | b[3];
	static const char *const shapes[] = { "%u", "0x%x", "0%o" };
	for (size_t i = 0; i < EG_COUNT(shapes); i++) {
		if (i == 0)
			snprintf(name, sizeof(name), "%u", whole);
		else if (i == 1)
			snprintf(name, sizeof(name), "0x%x", whole);
		else
			snprintf(name, sizeof(name), "0%o", whole);
		everywhere(r, EG_DENIED, name);
	}
	snprintf(name, sizeof(name), "%u.%u", b[0], whole & 0xffffff);
	everywhere(r, EG_DENIED, name);
	everywhere(r, EG_DENIED, "127.1");
	everywhere(r, EG_DENIED, "0x7f.1");
	everywhere(r, EG_DENIED, "0177.0.0.1");
	control(r);
}

/* ::ffff:a.b.c.d as the address of a connection: judged as the IPv4 address it is. */
static void mapped_literals(struct eg_run *r)
{
	static const enum eg_place places[] = { EG_A2, EG_PRIVATE, EG_METADATA };
	struct eg_addr a;

	begin(r);
	for (size_t i = 0; i < EG_COUNT(places) + 1; i++) {
		const bool last = i == EG_COUNT(places);
		const struct eg_addr *four = &r->config->at[last ? EG_A3 : places[i]][0];
		if (!four->family)
			continue;
		a = (struct eg_addr){ .family = 6 };
		a.b[10] = a.b[11] = 0xff;
		memcpy(a.b + 12, four->b, 4);
		if (!last)
			eg_aim_ip(r, IPPROTO_TCP, four, eg_port(r));
		char line[32];
		const int n = snprintf(line, sizeof(line), "%s\n", r->nonce[last]);
		const struct eg_talk t = {
			.to = &a, .port = eg_port(r), .part = { { line, (size_t)n } }, .no_connect = !last
		};
		eg_tcp(r, last ? EG_CONTROL : EG_DENIED, &t);
	}
}

static void zone_ids(struct eg_run *r)
{
	static const char *const names[] = { "fe80::1%eth0", "[fe80::1%25eth0]", "fe80::1%25eth0", "[fe80::1]" };

	begin(r);
	eg_aim_ip(r, IPPROTO_TCP, eg_at(r, EG_A1), 80);
	eg_aim_ip(r, IPPROTO_TCP, eg_at(r, EG_A1), 443);
	for (size_t i = 0; i < EG_COUNT(names); i++) {
		eg_get(r, EG_DENIED, 80, names[i], NULL);
		eg_tls_name(r, EG_DENIED, 443, names[i], strlen(names[i]));
	}
	control(r);
}

/* The allowed name in the hello, another address under it. */
static void name_elsewhere(struct eg_run *r)
{
	const struct eg_hello h = { .sni = r->config->allowed,
				    .sni_n = strlen(r->config->allowed),
				    .nonce = r->nonce[EG_DENIED] };
	struct eg_buf b = { 0 };

	begin(r);
	eg_tls_hello(&b, &h);
	const uint16_t ports[] = { 443, eg_port(r) };
	for (size_t i = 0; i < EG_COUNT(ports); i++) {
		const struct eg_talk t = {
			.to = eg_at(r, EG_A2), .port = ports[i], .part = { { b.p, b.n } }, .no_connect = true
		};
		eg_aim_ip(r, IPPROTO_TCP, t.to, ports[i]);
		eg_tcp(r, EG_DENIED, &t);
	}
	eg_free(&b);
	eg_tls_name(r, EG_CONTROL, 443, r->config->allowed, strlen(r->config->allowed));
}

const struct eg_case eg_cases_names[] = {
	{ 6, 'A', "NUL inside a name: question, SNI, Host", nul_in_name, 0, "tls_strict http_strict" },
	{ 7, 'A', "control characters and blanks inside a name", controls_in_name, 0, "sni http_strict" },
	{ 8, 'A', "trailing dot", trailing_dot, 0, "dns_policy sni http_host" },
	{ 9, 'A', "upper case", letter_case, 0, "dns_policy sni http_host" },
	{ 11, 'A', "ports glued to the name", glued_port, 0, "sni http_host http_strict" },
	{ 13, 'A', "look-alikes of allowed names", look_alikes, 0, "dns_policy sni http_host" },
	{ 14, 'A', "the apex of a wildcard", wildcard_apex, 0, "sni http_host" },
	{ 15, 'A', "empty labels under a wildcard; deep names work", wildcard_depth, 0, "sni http_host http_strict" },
	{ 19, 'A', "labels over 63, names over 253, empty names", illegal_lengths, 0,
	  "sni tls_strict http_host http_strict" },
	{ 20, 'A', "numeric spellings of addresses", numeric_hosts, 0, "sni http_host http_strict" },
	{ 21, 'A', "IPv4-mapped literals", mapped_literals, 0, "flow_policy floor" },
	{ 23, 'A', "zone identifiers in SNI and Host", zone_ids, 0, "sni http_host http_strict" },
	{ 28, 'A', "the allowed name at an address it does not have", name_elsewhere, 0, "flow_policy" },
	{ 0 },
};
