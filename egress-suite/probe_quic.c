/* SPDX-License-Identifier: Apache-2.0 */
/* QUIC: the name is in the first datagrams, sealed with a key that everybody can make. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "probe.h"

static void begin(struct eg_run *r)
{
	struct eg_addr a[4];

	eg_resolve(r, r->config->allowed, a, EG_COUNT(a));
	eg_aim_ip(r, IPPROTO_UDP, eg_at(r, EG_A1), 443);
}

static void hello(struct eg_buf *message, const char *name, size_t pad)
{
	const struct eg_hello h = { .sni = name, .sni_n = name ? strlen(name) : 0, .quic = true, .pad = pad };

	eg_hello_message(message, &h);
}

static int open_flow(const struct eg_addr *to, uint16_t port)
{
	struct sockaddr_storage s;
	const socklen_t n = eg_addr_sock(to, port, &s);
	int fd = socket(to->family == 6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&s, n) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Waits for the token with this nonce. */
static enum eg_client await(int fd, const char *nonce, unsigned ms)
{
	const uint64_t end = eg_now_ms() + ms;
	uint8_t part[2048];

	for (uint64_t now = eg_now_ms(); now < end; now = eg_now_ms()) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		if (poll(&p, 1, (int)(end - now)) <= 0)
			break;
		ssize_t n = recv(fd, part, sizeof(part), MSG_DONTWAIT);
		if (n < 0)
			return eg_of_errno(errno);
		if (memmem(part, (size_t)n, nonce, EG_NONCE) && memmem(part, (size_t)n, EG_TOKEN, strlen(EG_TOKEN)))
			return EG_ANSWERED;
	}
	return EG_SILENT;
}

static void say(struct eg_run *r, enum eg_which arm, int fd, uint32_t version, uint8_t suffix, const char *name,
		size_t pad)
{
	struct eg_buf message = { 0 }, b = { 0 };
	const uint64_t start = eg_now_ms();

	hello(&message, name, pad);
	const size_t half = pad ? message.n / 2 : message.n;
	struct eg_initial i = {
		.version = version, .nonce = r->nonce[arm], .suffix = suffix, .message = &message, .to = half
	};
	eg_quic_initial(&b, &i);
	bool sent = fd >= 0 && send(fd, b.p, b.n, 0) > 0;
	if (half < message.n) {
		b.n = 0;
		i.from = half;
		i.to = message.n;
		i.number = 1;
		eg_quic_initial(&b, &i);
		sent = sent && send(fd, b.p, b.n, 0) > 0;
	}
	eg_note(r, arm, sent ? await(fd, r->nonce[arm], arm == EG_DENIED ? 500 : 4000) : EG_UNAVAILABLE,
		sent ? 0 : errno, start);
	eg_free(&b);
	eg_free(&message);
}

static void flow(struct eg_run *r, enum eg_which arm, uint32_t version, const char *name, size_t pad)
{
	static uint8_t connection; /* no two have the same id */
	int fd = open_flow(eg_at(r, EG_A1), 443);

	say(r, arm, fd, version, ++connection, name, pad);
	if (fd >= 0)
		close(fd);
}

static void denied_name(struct eg_run *r)
{
	char name[160];

	begin(r);
	eg_name(r, EG_DENIED, r->config->cotenant, name);
	eg_aim_name(r, name);
	flow(r, EG_DENIED, EG_QUIC_V1, name, 0);
	flow(r, EG_DENIED, EG_QUIC_V2, name, 0);
	flow(r, EG_DENIED, EG_QUIC_V1, name, 1500); /* over two datagrams */
	flow(r, EG_DENIED, EG_QUIC_V1, NULL, 0);
	flow(r, EG_DENIED, 0x0a0a0a0a, r->config->allowed, 0);
	flow(r, EG_DENIED, 0xff00001d, r->config->allowed, 0);
	flow(r, EG_CONTROL, EG_QUIC_V1, r->config->allowed, 0);
	flow(r, EG_CONTROL, EG_QUIC_V2, r->config->allowed, 0);
	flow(r, EG_CONTROL, EG_QUIC_V1, r->config->allowed, 1500);
}

/* One connection's hello in two halves, each from a port of its own: servers tell connections by their ids, not by ports. */
static void two_paths(struct eg_run *r, const char *name)
{
	struct eg_buf message = { 0 }, b = { 0 };

	hello(&message, name, 1500);
	for (uint32_t part = 0; part < 2; part++) {
		const uint64_t start = eg_now_ms();
		const struct eg_initial i = { .version = EG_QUIC_V1,
					      .nonce = r->nonce[EG_DENIED],
					      .suffix = 99,
					      .message = &message,
					      .from = part ? message.n / 2 : 0,
					      .to = part ? message.n : message.n / 2,
					      .number = part };
		int fd = open_flow(eg_at(r, EG_A1), 443);
		b.n = 0;
		eg_quic_initial(&b, &i);
		const bool sent = fd >= 0 && send(fd, b.p, b.n, 0) > 0;
		eg_note(r, EG_DENIED, sent ? await(fd, r->nonce[EG_DENIED], 300) : EG_UNAVAILABLE, sent ? 0 : errno,
			start);
		if (fd >= 0)
			close(fd);
	}
	eg_free(&b);
	eg_free(&message);
}

/* A second connection on a flow that proved its name; a new path of one, from another port. */
static void migration(struct eg_run *r)
{
	char name[160];
	uint8_t shorter[64] = { 0x40 };

	begin(r);
	eg_name(r, EG_DENIED, r->config->cotenant, name);
	eg_aim_name(r, name);
	int fd = open_flow(eg_at(r, EG_A1), 443);
	say(r, EG_CONTROL, fd, EG_QUIC_V1, 0, r->config->allowed, 0);
	say(r, EG_DENIED, fd, EG_QUIC_V1, 7, name, 0);
	if (fd >= 0)
		close(fd);
	two_paths(r, name);
	memcpy(shorter + 1, r->nonce[EG_DENIED], EG_NONCE);
	eg_udp(r, EG_DENIED, eg_at(r, EG_A1), 443, shorter, sizeof(shorter));
	eg_udp(r, EG_DENIED, eg_at(r, EG_A2), 443, shorter, sizeof(shorter));
}

/* What is no QUIC at all, on QUIC's port of a name. */
static void not_quic(struct eg_run *r)
{
	uint8_t bytes[1200] = { 0x16, 0xfe, 0xfd };

	begin(r);
	memcpy(bytes + 16, r->nonce[EG_DENIED], EG_NONCE);
	eg_udp(r, EG_DENIED, eg_at(r, EG_A1), 443, bytes, sizeof(bytes));
	eg_udp(r, EG_DENIED, eg_at(r, EG_A1), 443, r->nonce[EG_DENIED], EG_NONCE);
	flow(r, EG_CONTROL, EG_QUIC_V1, r->config->allowed, 0);
}

const struct eg_case eg_cases_quic[] = {
	{ 80, 'C', "QUIC to a co-tenant: versions 1, 2, unknown; no name; two datagrams", denied_name, 0,
	  "sni sni_required quic_required" },
	{ 81, 'C', "what is no QUIC on UDP port 443", not_quic, 0, "quic_required" },
	{ 82, 'C', "a second QUIC connection on a flow; a hello over two flows; migration", migration, 0,
	  "flow_policy quic_required quic_each" },
	{ 0 },
};
