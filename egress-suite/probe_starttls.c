/* SPDX-License-Identifier: Apache-2.0 */
/* Section D: TLS that begins behind plain text. */
#include <string.h>

#include "probe.h"

struct dialogue {
	uint16_t port;
	bool greeting;
	struct eg_part before[2]; /* what the client says before its hello */
};

static const uint8_t postgres[] = { 0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f };
static const uint8_t mysql[36] = { 32, 0, 0, 1, 0x05, 0xae, 0xff, 0x19, 0, 0, 0, 1, 0x21 };

static void talk(struct eg_run *r, enum eg_which arm, const struct dialogue *d, const char *name)
{
	const struct eg_hello h = { .sni = name, .sni_n = name ? strlen(name) : 0, .nonce = r->nonce[arm] };
	struct eg_talk t = { .to = eg_at(r, EG_A1), .port = d->port, .greeting = d->greeting, .turns = true };
	struct eg_buf b = { 0 };
	size_t n = 0;

	eg_tls_hello(&b, &h);
	for (size_t i = 0; i < EG_COUNT(d->before) && d->before[i].n; i++)
		t.part[n++] = d->before[i];
	t.part[n] = (struct eg_part){ b.p, b.n };
	if (d->port == 3306)
		t.turns = false; /* the client goes on at once */
	eg_tcp(r, arm, &t);
	eg_free(&b);
}

static void starttls(struct eg_run *r)
{
	const struct dialogue dialogues[] = {
		{ 5432, false, { { postgres, sizeof(postgres) } } },
		{ 2525, true, { { "EHLO probe\r\n", 12 }, { "STARTTLS\r\n", 10 } } },
		{ 143, true, { { "a CAPABILITY\r\n", 14 }, { "a STARTTLS\r\n", 12 } } },
		{ 3306, true, { { mysql, sizeof(mysql) } } },
	};
	char name[160];
	struct eg_addr a[4];

	eg_resolve(r, r->config->allowed, a, EG_COUNT(a));
	eg_name(r, EG_DENIED, r->config->cotenant, name);
	eg_aim_name(r, name);
	for (size_t i = 0; i < EG_COUNT(dialogues); i++) {
		eg_aim_ip(r, IPPROTO_TCP, eg_at(r, EG_A1), dialogues[i].port);
		talk(r, EG_DENIED, &dialogues[i], name);
		talk(r, EG_CONTROL, &dialogues[i], r->config->allowed);
	}
}

const struct eg_case eg_cases_starttls[] = {
	{ 150, 'D', "PostgreSQL, SMTP, IMAP, MySQL: a denied name behind STARTTLS", starttls, 0, "sni starttls" },
	{ 0 },
};
