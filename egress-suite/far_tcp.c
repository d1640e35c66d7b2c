/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP: one listener for each port, on all addresses. A connection's bytes are kept and read again with every arrival: which
 * nonces are in them, and whether a hello, a request or a line of a plain protocol is complete.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "build.h"
#include "far.h"

#define KEEP_MAX (256u << 10)

static const uint16_t ports[] = { 7, 9, 21, 22, 25, 80, 143, 389, 443, 853, 2525, 3306, 5432, 8000, 8080, 8443 };

enum speech { SPEECH_GUESS = 0, SPEECH_LINES, SPEECH_MYSQL, SPEECH_POSTGRES, SPEECH_DNS, SPEECH_OPAQUE };

struct conn {
	struct far_watch w;
	struct eg_addr addr, src;
	uint16_t port;
	enum speech speech;
	struct eg_buf in;
	size_t at;      /* what is read */
	size_t scanned; /* for nonces */
};

struct listener {
	struct far_watch w;
	uint16_t port;
};

static void say(struct conn *c, const void *p, size_t n)
{
	if (send(c->w.fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno == EBADF)
		abort();
}

static void drop(struct conn *c)
{
	close(c->w.fd);
	eg_free(&c->in);
	free(c);
}

static void token(struct conn *c, const char *nonce)
{
	char text[64];

	say(c, text, (size_t)snprintf(text, sizeof(text), EG_TOKEN "%s\n", nonce));
}

/* Every nonce once, as soon as its last byte is here. */
static void scan(struct conn *c)
{
	char nonce[EG_NONCE + 1];
	size_t at;

	while (eg_nonce_find(c->in.p, c->in.n, c->scanned, nonce, &at)) {
		far_log("bytes", &c->addr, c->port, &c->src, nonce, NULL);
		c->scanned = at + EG_NONCE;
		if (c->speech == SPEECH_OPAQUE)
			token(c, nonce);
	}
	if (c->in.n > EG_NONCE && c->scanned < c->in.n - EG_NONCE + 1)
		c->scanned = c->in.n - EG_NONCE + 1;
}

static bool take_tls(struct conn *c)
{
	struct eg_buf message = { 0 }, extra = { 0 }, out = { 0 };
	char nonce[EG_NONCE + 1] = "";
	const uint8_t *sni;
	size_t used, sni_n = 0;
	bool bad;

	if (!far_tls_assemble(c->in.p + c->at, c->in.n - c->at, &message, &used, &bad)) {
		eg_free(&message);
		if (bad)
			c->speech = SPEECH_OPAQUE;
		return false;
	}
	far_hello_sni(message.p, message.n, &sni, &sni_n);
	if (!sni || !eg_nonce_find(sni, sni_n, 0, nonce, NULL))
		eg_nonce_find(message.p, message.n, 0, nonce, NULL);
	eg_text(&extra, ", \"sni\": ");
	if (sni)
		eg_json(&extra, sni, sni_n);
	else
		eg_text(&extra, "null");
	eg_u8(&extra, 0);
	far_log("hello", &c->addr, c->port, &c->src, nonce, (const char *)extra.p);
	far_tls_answer(&out, &message, nonce);
	say(c, out.p, out.n);
	c->at += used;
	/* asked for another hello, it takes one; else what follows is sealed, or no TLS */
	if (message.n < 38 || memcmp(message.p + 6, EG_RETRY, strlen(EG_RETRY)) != 0)
		c->speech = SPEECH_OPAQUE;
	c->scanned = c->at;
	eg_free(&message);
	eg_free(&extra);
	eg_free(&out);
	return true;
}

static size_t body_length(const char *head)
{
	const char *line = strcasestr(head, "\ncontent-length:");

	return line ? strtoul(line + 16, NULL, 10) : 0;
}

/* One whole request, body included. */
static bool take_http(struct conn *c)
{
	const size_t n = c->in.n - c->at;
	const char *end = memmem(c->in.p + c->at, n, "\r\n\r\n", 4);
	struct eg_buf extra = { 0 };
	char nonce[EG_NONCE + 1] = "", text[160];

	if (!end)
		return false;
	size_t head_n = (size_t)(end - (const char *)c->in.p - (ptrdiff_t)c->at) + 4;
	char *head = strndup((const char *)c->in.p + c->at, head_n);
	if (!head)
		abort();
	size_t body = body_length(head);
	if (strcasestr(head, "\ntransfer-encoding:")) {
		const char *last = memmem(c->in.p + c->at + head_n, n - head_n, "0\r\n\r\n", 5);
		body = last ? (size_t)(last + 5 - (const char *)c->in.p) - c->at - head_n : SIZE_MAX - head_n;
	}
	if (body > n - head_n) {
		free(head);
		return false;
	}
	eg_nonce_find(head, strlen(head), 0, nonce, NULL);
	const char *host = strcasestr(head, "\nhost:");
	eg_text(&extra, ", \"line\": ");
	eg_json(&extra, head, strcspn(head, "\r\n"));
	eg_text(&extra, ", \"host\": ");
	if (host)
		eg_json(&extra, host + 6 + strspn(host + 6, " \t"),
			strcspn(host + 6 + strspn(host + 6, " \t"), "\r\n"));
	else
		eg_text(&extra, "null");
	eg_u8(&extra, 0);
	far_log("request", &c->addr, c->port, &c->src, nonce, (const char *)extra.p);
	eg_free(&extra);
	const bool upgrade = strcasestr(head, "\nupgrade: websocket") != NULL;
	free(head);
	say(c, text,
	    (size_t)snprintf(
		    text, sizeof(text), "HTTP/1.1 %s\r\nContent-Length: %zu\r\nX-Far: " EG_TOKEN "%s\r\n\r\n%s",
		    upgrade ? "101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade" : "200 OK",
		    upgrade ? 0 : strlen("ok"), nonce, upgrade ? "" : "ok"));
	c->at += head_n + body;
	if (upgrade)
		c->speech = SPEECH_OPAQUE;
	return true;
}

/* SMTP, IMAP and LDAP's StartTLS, by their words. */
static bool take_line(struct conn *c)
{
	const uint8_t *p = c->in.p + c->at;
	const uint8_t *end = memchr(p, '\n', c->in.n - c->at);
	char line[512];

	if (c->in.n > c->at && p[0] == 0x16) {
		c->speech = SPEECH_GUESS;
		return true;
	}
	if (!end)
		return false;
	snprintf(line, sizeof(line), "%.*s", (int)(end - p), (const char *)p);
	c->at += (size_t)(end - p) + 1;
	const bool imap = c->port == 143;
	if (strcasestr(line, "STARTTLS")) {
		say(c, imap ? "a OK go\r\n" : "220 go\r\n", imap ? 9 : 8);
		c->speech = SPEECH_GUESS;
	} else {
		static const char ehlo[] = "250-far\r\n250 STARTTLS\r\n", capability[] = "a OK done\r\n";
		say(c, imap ? capability : ehlo, imap ? sizeof(capability) - 1 : sizeof(ehlo) - 1);
	}
	return true;
}

static bool take_mysql(struct conn *c)
{
	if (c->in.n - c->at < 36)
		return false;
	c->at += 36; /* the client's SSLRequest */
	c->speech = SPEECH_GUESS;
	return true;
}

static bool take_postgres(struct conn *c)
{
	if (c->in.n - c->at < 8)
		return false;
	c->at += 8; /* SSLRequest */
	say(c, "S", 1);
	c->speech = SPEECH_GUESS;
	return true;
}

static bool guess(struct conn *c)
{
	const uint8_t *p = c->in.p + c->at;
	const size_t n = c->in.n - c->at;

	if (n == 0)
		return false;
	if (p[0] == 0x16)
		return take_tls(c);
	const uint8_t *line = memchr(p, '\n', n);
	if (line && memmem(p, (size_t)(line - p), "HTTP/", 5))
		return take_http(c);
	if (line || n > 4096 || p[0] < 0x20) {
		c->speech = SPEECH_OPAQUE;
		c->scanned = c->at;
		scan(c);
	}
	return false;
}

static bool step(struct conn *c)
{
	switch (c->speech) {
	case SPEECH_LINES:
		return take_line(c);
	case SPEECH_MYSQL:
		return take_mysql(c);
	case SPEECH_POSTGRES:
		return take_postgres(c);
	case SPEECH_GUESS:
		return guess(c);
	case SPEECH_DNS:
	case SPEECH_OPAQUE:
		break;
	}
	return false;
}

static void dns_messages(struct conn *c)
{
	static uint8_t out[65536 + 2];

	while (c->in.n - c->at >= 2) {
		const size_t n = (size_t)c->in.p[c->at] << 8 | c->in.p[c->at + 1];
		if (c->in.n - c->at - 2 < n)
			return;
		const size_t m = far_dns_answer(c->in.p + c->at + 2, n, &c->src, true, out + 2, 65535);
		out[0] = (uint8_t)(m >> 8);
		out[1] = (uint8_t)m;
		say(c, out, m + 2);
		c->at += 2 + n;
	}
}

static void on_conn(struct far_watch *w, uint32_t events)
{
	struct conn *c = (struct conn *)w;
	static uint8_t part[65536];
	ssize_t n = recv(w->fd, part, sizeof(part), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || c->in.n + (size_t)n > KEEP_MAX) {
		drop(c);
		return;
	}
	eg_put(&c->in, part, (size_t)n);
	if (c->speech == SPEECH_DNS) {
		dns_messages(c);
		return;
	}
	scan(c);
	while (step(c))
		;
}

/* What servers say first. */
static void greet(struct conn *c)
{
	static const char smtp[] = "220 far ESMTP\r\n", imap[] = "* OK far\r\n", ssh[] = "SSH-2.0-far\r\n",
			  ftp[] = "220 far\r\n";
	static const uint8_t mysql[] = { 0x31, 0, 0,    0,    10, '8', 0, 1,    0,    0,  0, 1, 2, 3, 4, 5, 6, 7,
					 8,    0, 0xff, 0xff, 8,  2,   0, 0xff, 0xdf, 21, 0, 0, 0, 0, 0, 0, 0, 0,
					 0,    0, 1,    2,    3,  4,   5, 6,    7,    8,  9, 1, 2, 3, 4, 0, 0 };

	switch (c->port) {
	case 25:
	case 2525:
		say(c, smtp, sizeof(smtp) - 1);
		c->speech = SPEECH_LINES;
		break;
	case 143:
		say(c, imap, sizeof(imap) - 1);
		c->speech = SPEECH_LINES;
		break;
	case 3306:
		say(c, mysql, sizeof(mysql));
		c->speech = SPEECH_MYSQL;
		break;
	case 5432:
		c->speech = SPEECH_POSTGRES;
		break;
	case 22:
		say(c, ssh, sizeof(ssh) - 1);
		break;
	case 21:
		say(c, ftp, sizeof(ftp) - 1);
		break;
	case 53:
		c->speech = SPEECH_DNS;
		break;
	}
}

static void on_listener(struct far_watch *w, uint32_t events)
{
	struct listener *l = (struct listener *)w;
	struct sockaddr_storage from, to;
	socklen_t from_n = sizeof(from), to_n = sizeof(to);
	int fd = accept4(w->fd, (struct sockaddr *)&from, &from_n, SOCK_CLOEXEC | SOCK_NONBLOCK);
	uint16_t port;

	if (fd < 0)
		return;
	struct conn *c = calloc(1, sizeof(*c));
	if (!c || getsockname(fd, (struct sockaddr *)&to, &to_n) < 0) {
		close(fd);
		free(c);
		return;
	}
	*c = (struct conn){ .w = { .fd = fd, .on = on_conn }, .port = l->port };
	c->addr = eg_addr_of(&to, &port);
	c->src = eg_addr_of(&from, &port);
	if (l->port != 53)
		far_log("connect", &c->addr, c->port, &c->src, NULL, NULL);
	if (far_watch(&c->w, EPOLLIN) < 0) {
		drop(c);
		return;
	}
	greet(c);
}

static int listen_on(const struct eg_addr *a, uint16_t port)
{
	const int one = 1, zero = 0;
	struct sockaddr_storage s;
	struct listener *l = calloc(1, sizeof(*l));

	if (!l)
		return -1;
	*l = (struct listener){ .w = { .on = on_listener }, .port = port };
	l->w.fd = socket(a->family == 6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->w.fd < 0 || setsockopt(l->w.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
		return -1;
	if (a->family == 6 && setsockopt(l->w.fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero)) < 0)
		return -1;
	if (bind(l->w.fd, (struct sockaddr *)&s, eg_addr_sock(a, port, &s)) < 0 || listen(l->w.fd, 1024) < 0)
		return -1;
	return far_watch(&l->w, EPOLLIN);
}

int far_tcp_start(void)
{
	const struct eg_addr any = { .family = 6 };

	for (size_t i = 0; i < EG_COUNT(ports); i++) {
		if (listen_on(&any, ports[i]) < 0)
			return -1;
	}
	for (unsigned port = EG_PORT_BASE; port < EG_PORT_BASE + EG_PORT_COUNT; port++) {
		if (listen_on(&any, (uint16_t)port) < 0)
			return -1;
	}
	for (int six = 0; six < 2; six++) {
		const struct eg_addr *a = &far_state.config.at[EG_RESOLVER][six];
		if (a->family && listen_on(a, 53) < 0)
			return -1;
	}
	return 0;
}
