/* SPDX-License-Identifier: Apache-2.0 */
/* Section D: ClientHellos to the shared address, where the name in them is all that tells hosts apart. */
#include <stdio.h>
#include <string.h>

#include "probe.h"

static void begin(struct eg_run *r)
{
	struct eg_addr a[4];

	eg_resolve(r, r->config->allowed, a, EG_COUNT(a));
}

/* The name that is denied; its record is looked for by it. */
static const char *bad(struct eg_run *r, char buf[160])
{
	eg_name(r, EG_DENIED, r->config->evil, buf);
	if (r->aim_n == 0)
		eg_aim_name(r, buf);
	return buf;
}

static struct eg_hello hello(const struct eg_run *r, enum eg_which arm, const char *name)
{
	return (struct eg_hello){ .sni = name, .sni_n = strlen(name), .nonce = r->nonce[arm] };
}

static void control(struct eg_run *r)
{
	eg_tls_name(r, EG_CONTROL, 443, r->config->allowed, strlen(r->config->allowed));
	eg_tls_name(r, EG_CONTROL, eg_port(r), r->config->allowed, strlen(r->config->allowed));
}

static void no_name(struct eg_run *r)
{
	const uint16_t ports[] = { eg_port(r), 443, 8443 };

	begin(r);
	for (size_t i = 0; i < EG_COUNT(ports); i++) {
		eg_aim_ip(r, IPPROTO_TCP, eg_at(r, EG_A1), ports[i]);
		eg_tls(r, EG_DENIED, ports[i], &(struct eg_hello){ 0 });
	}
	control(r);
}

static void co_tenant(struct eg_run *r)
{
	char name[160];

	begin(r);
	eg_name(r, EG_DENIED, r->config->cotenant, name);
	eg_aim_name(r, name);
	eg_tls_name(r, EG_DENIED, 443, name, strlen(name));
	eg_tls_name(r, EG_DENIED, eg_port(r), name, strlen(name));
	control(r);
}

static void pieces(struct eg_run *r, enum eg_which arm, const char *name, size_t piece, size_t record, unsigned gap_us)
{
	const struct eg_hello h = hello(r, arm, name);
	struct eg_buf message = { 0 }, b = { 0 };

	eg_hello_message(&message, &h);
	eg_tls_records(&b, &message, record);
	const struct eg_talk t = {
		.to = eg_at(r, EG_A1), .port = 443, .part = { { b.p, b.n } }, .piece = piece, .gap_us = gap_us
	};
	eg_tcp(r, arm, &t);
	eg_free(&message);
	eg_free(&b);
}

static void byte_by_byte(struct eg_run *r)
{
	char name[160];

	begin(r);
	pieces(r, EG_DENIED, bad(r, name), 1, 16384, 1500);
	pieces(r, EG_DENIED, name, 7, 16384, 1500);
	pieces(r, EG_CONTROL, r->config->allowed, 1, 16384, 1500);
}

static void record_by_record(struct eg_run *r)
{
	static const size_t sizes[] = { 1, 2, 5, 43, 100, 120, 150 };
	char name[160];

	begin(r);
	bad(r, name);
	for (size_t i = 0; i < EG_COUNT(sizes); i++) {
		pieces(r, EG_DENIED, name, 0, sizes[i], 0);
		pieces(r, EG_CONTROL, r->config->allowed, 0, sizes[i], 0);
	}
}

static void large(struct eg_run *r)
{
	static const size_t pads[] = { 1500, 5000, 20000, 40000 };
	char name[160];

	begin(r);
	bad(r, name);
	for (size_t i = 0; i < EG_COUNT(pads); i++) {
		struct eg_hello h = hello(r, EG_DENIED, name);
		h.pad = pads[i];
		eg_tls(r, EG_DENIED, 443, &h);
		h = hello(r, EG_CONTROL, r->config->allowed);
		h.pad = pads[i];
		eg_tls(r, EG_CONTROL, 443, &h);
	}
}

static void two_names(struct eg_run *r)
{
	char name[160];

	begin(r);
	bad(r, name);
	eg_aim_ip(r, IPPROTO_TCP, eg_at(r, EG_A1), eg_port(r));
	for (int i = 0; i < 4; i++) {
		struct eg_hello h = hello(r, EG_DENIED, i & 1 ? name : r->config->allowed);
		h.sni2 = i & 1 ? r->config->allowed : name;
		h.sni2_n = strlen(h.sni2);
		h.as_second_extension = i & 2;
		eg_tls(r, EG_DENIED, eg_port(r), &h);
	}
	control(r);
}

static void odd_names(struct eg_run *r)
{
	static const char *const shapes[] = {
		"93.184.215.14", "2606:2800:21f::14", "xn--", "\xc3\xa9.test", "*", "one.allowed.test/", "-", "."
	};
	char name[160];

	begin(r);
	eg_aim_ip(r, IPPROTO_TCP, eg_at(r, EG_A1), eg_port(r));
	for (size_t i = 0; i < EG_COUNT(shapes); i++)
		eg_tls_name(r, EG_DENIED, eg_port(r), shapes[i], strlen(shapes[i]));
	/* A name of another type is no host name: the host name is missing. */
	struct eg_hello h = hello(r, EG_DENIED, eg_name(r, EG_DENIED, r->config->evil, name));
	h.name_type = 1;
	eg_tls(r, EG_DENIED, eg_port(r), &h);
	control(r);
}

static void wrong_protocol(struct eg_run *r)
{
	static const char *const first[] = { "SSH-2.0-%s\r\n", "GET /%s HTTP/1.1\r\nHost: one.allowed.test\r\n\r\n",
					     "EHLO %s\r\n", "\x01\x02%s\r\n" };
	struct eg_buf b = { 0 };

	begin(r);
	eg_aim_ip(r, IPPROTO_TCP, eg_at(r, EG_A1), 443);
	eg_aim_ip(r, IPPROTO_TCP, eg_at(r, EG_A1), 80);
	for (size_t i = 0; i < EG_COUNT(first); i++) {
		const char *mark = strstr(first[i], "%s");
		b.n = 0;
		eg_put(&b, first[i], (size_t)(mark - first[i]));
		eg_put(&b, r->nonce[EG_DENIED], EG_NONCE);
		eg_put(&b, mark + 2, strlen(mark + 2));
		eg_tcp_send(r, EG_DENIED, eg_at(r, EG_A1), 443, &b);
		if (i != 1)
			eg_tcp_send(r, EG_DENIED, eg_at(r, EG_A1), 80, &b);
	}
	eg_free(&b);
	eg_tls_name(r, EG_DENIED, 80, r->config->allowed, strlen(r->config->allowed));
	control(r);
}

static void ech(struct eg_run *r)
{
	struct eg_hello h = hello(r, EG_DENIED, r->config->allowed);

	begin(r);
	h.ech = true;
	eg_aim_ip(r, IPPROTO_TCP, eg_at(r, EG_A1), eg_port(r));
	eg_tls(r, EG_DENIED, eg_port(r), &h);
	eg_tls(r, EG_DENIED, 443, &h);
	control(r);
}

/* All of a hello but its last byte: nothing of it may have arrived; nor after the verdict. */
static void before_the_verdict(struct eg_run *r)
{
	char name[160];
	const struct eg_hello h = hello(r, EG_DENIED, bad(r, name));
	struct eg_buf b = { 0 };

	begin(r);
	eg_tls_hello(&b, &h);
	const struct eg_talk most = { .to = eg_at(r, EG_A1), .port = 443, .part = { { b.p, b.n - 1 } } };
	const struct eg_talk all = {
		.to = eg_at(r, EG_A1), .port = 443, .part = { { b.p, b.n - 1 }, { b.p + b.n - 1, 1 } }, .gap_us = 300000
	};
	const struct eg_talk sink = {
		.to = eg_at(r, EG_A2), .port = eg_port(r), .part = { { b.p, b.n } }, .no_connect = true
	};
	eg_aim_ip(r, IPPROTO_TCP, sink.to, sink.port);
	eg_tcp(r, EG_DENIED, &most);
	eg_tcp(r, EG_DENIED, &all);
	eg_tcp(r, EG_DENIED, &sink);
	eg_free(&b);
	control(r);
}

static void oversized(struct eg_run *r)
{
	struct eg_buf b = { 0 };

	begin(r);
	eg_aim_ip(r, IPPROTO_TCP, eg_at(r, EG_A1), eg_port(r));
	/* A handshake message that says it has 70,000 bytes, with an allowed name at its start. */
	eg_tls_hello(&b, &(struct eg_hello){ .sni = r->config->allowed,
					     .sni_n = strlen(r->config->allowed),
					     .nonce = r->nonce[EG_DENIED],
					     .pad = 15000 });
	b.p[6] = 1;
	b.p[7] = 0x11;
	for (int i = 0; i < 5; i++) {
		eg_put(&b, (const uint8_t[]){ 22, 3, 1, 0x40, 0 }, 5);
		eg_put_zero(&b, 16384);
	}
	eg_tcp_send(r, EG_DENIED, eg_at(r, EG_A1), eg_port(r), &b);
	eg_free(&b);
	control(r);
}

/* The server asks for another hello (HelloRetryRequest), and gets one with another name. */
static void second_hello(struct eg_run *r)
{
	const uint16_t ports[] = { 443, eg_port(r) };
	char name[160];
	struct eg_hello first = hello(r, EG_CONTROL, r->config->allowed);
	struct eg_buf a = { 0 }, b = { 0 }, c = { 0 };

	begin(r);
	const struct eg_hello bad_one = hello(r, EG_DENIED, bad(r, name));
	eg_tls_hello(&b, &bad_one);
	eg_tls_hello(&c, &first);
	first.retry = true;
	eg_tls_hello(&a, &first);
	for (size_t i = 0; i < EG_COUNT(ports); i++) {
		struct eg_talk t = {
			.to = eg_at(r, EG_A1), .port = ports[i], .part = { { a.p, a.n }, { b.p, b.n } }, .turns = true
		};
		eg_tcp(r, EG_DENIED, &t);
		t.part[1] = (struct eg_part){ c.p, c.n };
		t.tokens = 2;
		eg_tcp(r, EG_CONTROL, &t);
	}
	eg_free(&a);
	eg_free(&b);
	eg_free(&c);
}

/* The pair of name and address counts: allowed and resolved, but to another address. */
static void name_of_another_address(struct eg_run *r)
{
	struct eg_addr a[2];

	begin(r);
	eg_resolve(r, r->config->narrow, a, EG_COUNT(a));
	eg_aim_ip(r, IPPROTO_TCP, eg_at(r, EG_A1), 443);
	eg_aim_name(r, r->config->narrow);
	eg_tls_name(r, EG_DENIED, 443, r->config->narrow, strlen(r->config->narrow));
	control(r);
}

const struct eg_case eg_cases_tls[] = {
	{ 132, 'D', "no SNI", no_name, 0, "sni sni_required" },
	{ 134, 'D', "SNI of a co-tenant", co_tenant, 0, "sni" },
	{ 138, 'D', "a hello in segments of one byte", byte_by_byte, 0, "sni" },
	{ 139, 'D', "a hello over many records", record_by_record, 0, "sni" },
	{ 140, 'D', "large hellos", large, 0, "sni" },
	{ 141, 'D', "a hello over 64 KiB", oversized, 0, "tls_strict" },
	{ 142, 'D', "two SNI extensions, two names in one", two_names, 0, "tls_strict" },
	{ 143, 'D', "SNI that is no host name", odd_names, 0, "sni tls_strict" },
	{ 145, 'D', "other protocols on 443 and 80", wrong_protocol, 0, "tls_required http_required" },
	{ 148, 'D', "another name in the hello after a HelloRetryRequest", second_hello, 0, "sni" },
	{ 152, 'D', "ECH with an allowed outer name", ech, 0, "sni ech" },
	{ 154, 'D', "bytes before the verdict", before_the_verdict, 0, "flow_policy sni" },
	{ 155, 'D', "an allowed name at another name's address", name_of_another_address, 0, "sni name_pin" },
	{ 0 },
};
