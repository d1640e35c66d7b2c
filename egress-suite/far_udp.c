/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams: each that carries a nonce is answered with the token. QUIC Initials are opened, because their hello is hidden. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "build.h"
#include "crypto.h"
#include "far.h"

static const uint16_t ports[] = { 7, 123, 443, 853, 5353, 8443, 51820 };

struct endpoint {
	struct far_watch w;
	struct eg_addr addr;
	uint16_t port;
};

/* The plain payload of a client Initial, or nothing. */
static void open_initial(const uint8_t *p, size_t n, struct eg_buf *out)
{
	uint8_t packet[2048], mask[16];
	struct eg_quic_keys k;

	if (n < 64 || n > sizeof(packet) || !(p[0] & 0x80) || p[5] > 20)
		return;
	const uint32_t version = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];
	size_t at = 6 + p[5];
	at += 1u + p[at];                      /* source connection id */
	if (at + 3 + 4 + 16 > n || p[at] != 0) /* a token: none of ours */
		return;
	const size_t length = (size_t)(p[at + 1] & 0x3f) << 8 | p[at + 2];
	at += 3;
	if ((p[at - 2] & 0xc0) != 0x40 || length < 4 + 16 || at + length > n)
		return;
	memcpy(packet, p, n);
	eg_quic_initial_keys(version, p + 6, p[5], &k);
	eg_quic_mask(&k, p + at + 4, mask);
	packet[0] ^= mask[0] & 0x0f;
	const size_t number_n = (packet[0] & 3u) + 1;
	uint64_t number = 0;
	for (size_t i = 0; i < number_n; i++) {
		packet[at + i] ^= mask[1 + i];
		number = number << 8 | packet[at + i];
	}
	eg_put_zero(out, length - number_n);
	out->n = length - number_n - 16;
	if (!eg_quic_open(&k, number, packet, at + number_n, packet + at + number_n, length - number_n, out->p))
		out->n = 0;
}

static void log_initial(const struct endpoint *e, const struct eg_addr *src, const char *nonce, const uint8_t *p,
			size_t n)
{
	struct eg_buf plain = { 0 }, extra = { 0 };
	const uint8_t *sni = NULL;
	size_t sni_n = 0;

	open_initial(p, n, &plain);
	/* a CRYPTO frame as the probe makes it: type, 4 bytes of offset, 2 of length */
	if (plain.n > 7 && plain.p[0] == 6)
		far_hello_sni(plain.p + 7, plain.n - 7, &sni, &sni_n);
	eg_text(&extra, ", \"version\": %u, \"opened\": %s, \"sni\": ",
		(unsigned)p[1] << 24 | (unsigned)p[2] << 16 | (unsigned)p[3] << 8 | p[4], plain.n ? "true" : "false");
	if (sni)
		eg_json(&extra, sni, sni_n);
	else
		eg_text(&extra, "null");
	eg_u8(&extra, 0);
	far_log("initial", &e->addr, e->port, src, nonce, (const char *)extra.p);
	eg_free(&extra);
	eg_free(&plain);
}

static void on_datagram(struct far_watch *w, uint32_t events)
{
	struct endpoint *e = (struct endpoint *)w;
	static uint8_t in[65536];
	struct sockaddr_storage from;
	socklen_t from_n = sizeof(from);
	uint16_t port;
	ssize_t n;

	while ((n = recvfrom(w->fd, in, sizeof(in), MSG_DONTWAIT, (struct sockaddr *)&from, &from_n)) >= 0) {
		struct eg_addr src = eg_addr_of(&from, &port);
		char nonce[EG_NONCE + 1] = "";
		const bool found = eg_nonce_find(in, (size_t)n, 0, nonce, NULL);
		if (e->port == 443 && n > 5 && in[0] & 0x80)
			log_initial(e, &src, nonce, in, (size_t)n);
		else
			far_log("datagram", &e->addr, e->port, &src, nonce, NULL);
		struct eg_buf out = { 0 };
		eg_text(&out, EG_TOKEN "%s", nonce);
		if (found && sendto(w->fd, out.p, out.n, MSG_DONTWAIT, (struct sockaddr *)&from, from_n) < 0 &&
		    errno == EBADF)
			abort();
		eg_free(&out);
		from_n = sizeof(from);
	}
}

static int listen_on(const struct eg_addr *a, uint16_t port)
{
	struct sockaddr_storage s;
	struct endpoint *e = calloc(1, sizeof(*e));

	if (!e)
		return -1;
	*e = (struct endpoint){ .w = { .on = on_datagram }, .addr = *a, .port = port };
	e->w.fd = socket(a->family == 6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (e->w.fd < 0 || bind(e->w.fd, (struct sockaddr *)&s, eg_addr_sock(a, port, &s)) < 0)
		return -1;
	return far_watch(&e->w, EPOLLIN);
}

int far_udp_start(void)
{
	static const enum eg_place places[] = { EG_A1, EG_A2, EG_A3, EG_A4, EG_PRIVATE, EG_METADATA };

	for (size_t i = 0; i < EG_COUNT(places) * 2; i++) {
		const struct eg_addr *a = &far_state.config.at[places[i / 2]][i % 2];
		for (size_t k = 0; a->family && k < EG_COUNT(ports); k++) {
			if (listen_on(a, ports[k]) < 0)
				return -1;
		}
	}
	return 0;
}
