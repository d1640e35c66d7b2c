/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The far side's DNS. What a name says decides the answer, so that nothing has to be set up before a case. Below the wildcard zone
 * the label next to the zone is a script: <anything>.private.wild.test answers with the private address, and so on.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "far.h"

enum { TYPE_A = 1, TYPE_CNAME = 5, TYPE_TXT = 16, TYPE_AAAA = 28, TYPE_HTTPS = 65 };
#define UDP_MAX   1232u
#define MANY      300u
#define NAME_SIZE 512

struct question {
	char name[NAME_SIZE]; /* lower case, no dot at its end */
	uint16_t type;
	size_t end; /* behind the question */
};

static bool read_question(const uint8_t *q, size_t n, struct question *ret)
{
	size_t at = 12, w = 0;

	if (n < 12 || q[4] != 0 || q[5] != 1)
		return false;
	for (;;) {
		if (at >= n)
			return false;
		unsigned len = q[at++];
		if (len == 0)
			break;
		if (len > 63 || at + len > n || w + len + 2 > NAME_SIZE)
			return false;
		for (unsigned i = 0; i < len; i++)
			ret->name[w++] = (char)tolower(q[at++]);
		ret->name[w++] = '.';
	}
	ret->name[w ? w - 1 : 0] = '\0';
	if (at + 4 > n)
		return false;
	ret->type = (uint16_t)(q[at] << 8 | q[at + 1]);
	ret->end = at + 4;
	return true;
}

/* Is name the zone, or below it? *ret_label: the label next to the zone, with its length. */
static bool below(const char *name, const char *zone, const char **ret_label, size_t *ret_n)
{
	size_t n = strlen(name), z = strlen(zone);

	*ret_label = name;
	*ret_n = 0;
	if (n == z)
		return strcmp(name, zone) == 0;
	if (n < z + 2 || name[n - z - 1] != '.' || strcmp(name + n - z, zone) != 0)
		return false;
	const char *end = name + n - z - 1, *start = end;
	while (start > name && start[-1] != '.')
		start--;
	*ret_label = start;
	*ret_n = (size_t)(end - start);
	return true;
}

static void record(struct eg_buf *b, const char *owner, uint16_t type, uint32_t ttl, const void *data, size_t n)
{
	if (!owner) {
		eg_u16(b, 0xc00c);
	} else {
		while (*owner) {
			size_t label = strcspn(owner, ".");
			eg_u8(b, (unsigned)label);
			eg_put(b, owner, label);
			owner += label + (owner[label] == '.');
		}
		eg_u8(b, 0);
	}
	eg_u16(b, type);
	eg_u16(b, 1);
	eg_u32(b, ttl);
	eg_u16(b, (unsigned)n);
	eg_put(b, data, n);
}

struct reply {
	struct eg_buf sections;
	unsigned answers, additional, rcode;
};

static void address(struct reply *r, const char *owner, uint16_t type, const struct eg_addr *a, uint32_t ttl)
{
	if (a->family != (type == TYPE_AAAA ? 6 : 4))
		return;
	record(&r->sections, owner, type, ttl, a->b, a->family == 6 ? 16 : 4);
	r->answers++;
}

static void many(struct reply *r, uint16_t type)
{
	struct eg_addr a = far_state.config.at[EG_MANY][type == TYPE_AAAA];
	const size_t last = a.family == 6 ? 15 : 3;

	for (unsigned i = 0; a.family && i < MANY; i++) {
		address(r, NULL, type, &a, 60);
		if (++a.b[last] == 0)
			a.b[last - 1]++;
	}
}

/* Priority 1, target itself, alpn h3, an address hint that no rule names, and an ECH configuration. */
static void https(struct reply *r, bool with_ech)
{
	struct eg_buf b = { 0 };

	eg_u16(&b, 1);
	eg_u8(&b, 0);
	eg_put(&b, (const uint8_t[]){ 0, 1, 0, 3, 2, 'h', '3' }, 7);
	eg_put(&b, (const uint8_t[]){ 0, 4, 0, 4 }, 4);
	eg_put(&b, far_state.config.at[EG_A2][0].b, 4);
	if (with_ech) {
		eg_u16(&b, 5);
		eg_u16(&b, 8);
		eg_put(&b, "ECHcnfig", 8);
	}
	eg_put(&b, (const uint8_t[]){ 0, 6, 0, 16 }, 4);
	eg_put(&b, far_state.config.at[EG_A2][1].b, 16);
	record(&r->sections, NULL, TYPE_HTTPS, 60, b.p, b.n);
	r->answers++;
	eg_free(&b);
}

static void cname(struct reply *r, const char *name)
{
	struct eg_buf b = { 0 };
	const char *end = strchr(name, '.');
	size_t first = end ? (size_t)(end - name) : strlen(name);

	/* <nonce>.chain.wild.test -> t<nonce>.wild.test, whose address is asked for separately */
	eg_u8(&b, (unsigned)first + 1);
	eg_u8(&b, 't');
	eg_put(&b, name, first);
	const char *zone = far_state.config.wild;
	while (*zone) {
		size_t n = strcspn(zone, ".");
		eg_u8(&b, (unsigned)n);
		eg_put(&b, zone, n);
		zone += n + (zone[n] == '.');
	}
	eg_u8(&b, 0);
	record(&r->sections, NULL, TYPE_CNAME, 60, b.p, b.n);
	r->answers++;
	eg_free(&b);
}

static void scripted(struct reply *r, const struct question *q, const char *script, size_t n)
{
	static unsigned turn;
	const struct eg_config *c = &far_state.config;
	const bool six = q->type == TYPE_AAAA;
	const struct eg_addr *a1 = &c->at[EG_A1][six];
	const struct {
		const char *word;
		enum eg_place place;
	} places[] = { { "private", EG_PRIVATE }, { "metadata", EG_METADATA } };
	struct eg_addr special;

#define IS(word) (n == sizeof(word) - 1 && memcmp(script, word, n) == 0)
	for (size_t i = 0; i < EG_COUNT(places); i++) {
		if (n == strlen(places[i].word) && memcmp(script, places[i].word, n) == 0) {
			address(r, NULL, q->type, &c->at[places[i].place][six], 60);
			return;
		}
	}
	if (IS("turn")) {
		address(r, NULL, q->type, turn++ % 2 ? &c->at[EG_PRIVATE][six] : a1, 0);
	} else if (IS("loop") && eg_addr_parse(six ? "::1" : "127.0.0.2", &special)) {
		address(r, NULL, q->type, &special, 60);
	} else if (IS("mapped") && six) {
		eg_addr_parse("::ffff:0.0.0.0", &special);
		memcpy(special.b + 12, c->at[EG_PRIVATE][0].b, 4);
		address(r, NULL, q->type, &special, 60);
	} else if (IS("foreign")) {
		address(r, NULL, q->type, a1, 60);
		address(r, c->evil, q->type, &c->at[EG_A2][six], 60);
	} else if (IS("glue")) {
		address(r, NULL, q->type, a1, 60);
		record(&r->sections, c->evil, q->type, 60, c->at[EG_A2][six].b, six ? 16 : 4);
		record(&r->sections, NULL, q->type, 60, c->at[EG_A2][six].b, six ? 16 : 4);
		r->additional = 2;
	} else if (IS("many")) {
		many(r, q->type);
	} else if (IS("chain")) {
		cname(r, q->name);
	} else {
		address(r, NULL, q->type, a1, IS("zero") ? 0 : IS("huge") ? 0x80000000u : IS("brief") ? 1 : 60);
	}
#undef IS
}

static void find(struct reply *r, const struct question *q, const char *nonce)
{
	const struct eg_config *c = &far_state.config;
	const bool six = q->type == TYPE_AAAA, addresses = six || q->type == TYPE_A;
	const char *label;
	size_t n;

	if (strcmp(q->name, c->allowed) == 0 || below(q->name, c->cotenant, &label, &n)) {
		address(r, NULL, q->type, &c->at[EG_A1][six], 60);
	} else if (strcmp(q->name, c->narrow) == 0) {
		address(r, NULL, q->type, &c->at[EG_A4][six], 60);
	} else if (below(q->name, c->evil, &label, &n)) {
		address(r, NULL, q->type, &c->at[EG_A2][six], 60);
	} else if (!below(q->name, c->wild, &label, &n) || n == 0) {
		r->rcode = 3;
	} else if (q->type == TYPE_HTTPS) {
		https(r, true);
	} else if (addresses) {
		scripted(r, q, label, n);
	} else { /* any other type carries the token: a channel, if it gets through */
		char text[64];
		int k = snprintf(text + 1, sizeof(text) - 1, EG_TOKEN "%s", nonce);
		text[0] = (char)k;
		record(&r->sections, NULL, q->type, 60, text, (size_t)k + 1);
		r->answers++;
	}
}

static void log_query(const struct question *q, const struct eg_addr *src, bool tcp, const char *nonce)
{
	struct eg_buf extra = { 0 };

	eg_text(&extra, ", \"transport\": \"%s\", \"type\": %u, \"name\": ", tcp ? "tcp" : "udp", q->type);
	eg_json(&extra, q->name, strlen(q->name));
	eg_u8(&extra, 0);
	far_log("query", NULL, 0, src, nonce, (const char *)extra.p);
	eg_free(&extra);
}

size_t far_dns_answer(const uint8_t *q, size_t n, const struct eg_addr *src, bool tcp, uint8_t *out, size_t size)
{
	struct question question = { .name = "" };
	struct reply r = { .rcode = 1 };
	char nonce[EG_NONCE + 1] = "";
	const bool ok = read_question(q, n, &question);
	size_t found = 0;
	int nonces = 0;

	for (size_t at = 0; eg_nonce_find(q, n, at, nonce, &found); at = found + 1, nonces++)
		log_query(&question, src, tcp, nonce);
	if (nonces == 0)
		log_query(&question, src, tcp, NULL);
	if (n < 12)
		return 0;
	if (ok) {
		r.rcode = 0;
		find(&r, &question, nonce);
	}
	const size_t head = ok ? question.end : 12;
	const bool cut = head + r.sections.n > (tcp ? size : UDP_MAX);
	memcpy(out, q, head);
	const uint8_t fixed[10] = {
		(uint8_t)(0x84 | (cut ? 2 : 0) | (q[2] & 1)), (uint8_t)(0x80 | r.rcode), 0, ok, 0, 0, 0, 0, 0, 0
	};
	memcpy(out + 2, fixed, sizeof(fixed));
	if (cut) {
		eg_free(&r.sections);
		return head;
	}
	out[6] = (uint8_t)(r.answers >> 8);
	out[7] = (uint8_t)r.answers;
	out[11] = (uint8_t)r.additional;
	if (r.sections.n)
		memcpy(out + head, r.sections.p, r.sections.n);
	const size_t total = head + r.sections.n;
	eg_free(&r.sections);
	return total;
}

static void on_udp(struct far_watch *w, uint32_t events)
{
	static uint8_t in[65536], out[65536];
	struct sockaddr_storage from;
	socklen_t from_n = sizeof(from);
	uint16_t port;
	ssize_t n;

	while ((n = recvfrom(w->fd, in, sizeof(in), MSG_DONTWAIT, (struct sockaddr *)&from, &from_n)) >= 0) {
		struct eg_addr src = eg_addr_of(&from, &port);
		size_t m = far_dns_answer(in, (size_t)n, &src, false, out, sizeof(out));
		if (m && sendto(w->fd, out, m, MSG_DONTWAIT, (struct sockaddr *)&from, from_n) < 0)
			return;
		from_n = sizeof(from);
	}
}

int far_dns_start(void)
{
	for (int six = 0; six < 2; six++) {
		const struct eg_addr *a = &far_state.config.at[EG_RESOLVER][six];
		struct sockaddr_storage s;
		if (!a->family)
			continue;
		struct far_watch *w = calloc(1, sizeof(*w));
		if (!w)
			return -1;
		w->fd = socket(six ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		w->on = on_udp;
		if (w->fd < 0 || bind(w->fd, (struct sockaddr *)&s, eg_addr_sock(a, 53, &s)) < 0 ||
		    far_watch(w, EPOLLIN) < 0)
			return -1;
	}
	return 0;
}
