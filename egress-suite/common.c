/* SPDX-License-Identifier: Apache-2.0 */
#include "common.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *const eg_place_names[EG_PLACES] = {
	[EG_A1] = "a1",           [EG_A2] = "a2",
	[EG_A3] = "a3",           [EG_A4] = "a4",
	[EG_PRIVATE] = "private", [EG_METADATA] = "metadata",
	[EG_MANY] = "many",       [EG_RESOLVER] = "resolver",
};

bool eg_addr_parse(const char *text, struct eg_addr *ret)
{
	struct eg_addr a = { 0 };

	if (inet_pton(AF_INET, text, a.b) == 1)
		a.family = 4;
	else if (inet_pton(AF_INET6, text, a.b) == 1)
		a.family = 6;
	else
		return false;
	*ret = a;
	return true;
}

const char *eg_addr_text(const struct eg_addr *a, char *buf)
{
	if (!a->family || !inet_ntop(a->family == 6 ? AF_INET6 : AF_INET, a->b, buf, INET6_ADDRSTRLEN))
		buf[0] = '\0';
	return buf;
}

bool eg_addr_equal(const struct eg_addr *a, const struct eg_addr *b)
{
	return a->family && a->family == b->family && memcmp(a->b, b->b, a->family == 6 ? 16 : 4) == 0;
}

socklen_t eg_addr_sock(const struct eg_addr *a, uint16_t port, struct sockaddr_storage *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (a->family == 6) {
		struct sockaddr_in6 s = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
		memcpy(&s.sin6_addr, a->b, 16);
		memcpy(ret, &s, sizeof(s));
		return sizeof(s);
	}
	struct sockaddr_in s = { .sin_family = AF_INET, .sin_port = htons(port) };
	memcpy(&s.sin_addr, a->b, 4);
	memcpy(ret, &s, sizeof(s));
	return sizeof(s);
}

struct eg_addr eg_addr_of(const struct sockaddr_storage *s, uint16_t *ret_port)
{
	struct eg_addr a = { 0 };
	struct sockaddr_in6 six;
	struct sockaddr_in four;

	if (s->ss_family == AF_INET6) {
		memcpy(&six, s, sizeof(six));
		*ret_port = ntohs(six.sin6_port);
		a.family = IN6_IS_ADDR_V4MAPPED(&six.sin6_addr) ? 4 : 6;
		memcpy(a.b, six.sin6_addr.s6_addr + (a.family == 4 ? 12 : 0), a.family == 4 ? 4 : 16);
		return a;
	}
	memcpy(&four, s, sizeof(four));
	*ret_port = ntohs(four.sin_port);
	a.family = 4;
	memcpy(a.b, &four.sin_addr, 4);
	return a;
}

void eg_config_init(struct eg_config *c)
{
	memset(c, 0, sizeof(*c));
	strcpy(c->allowed, "one.allowed.test");
	strcpy(c->narrow, "narrow.allowed.test");
	strcpy(c->wild, "wild.test");
	strcpy(c->evil, "evil.test");
	strcpy(c->cotenant, "co.evil.test");
	strcpy(c->run, "00000000");
}

static bool set_text(char *to, size_t size, const char *value)
{
	return *value && (size_t)snprintf(to, size, "%s", value) < size;
}

static bool set_port(uint16_t *to, const char *value)
{
	char *end;
	unsigned long v = strtoul(value, &end, 10);

	if (!*value || *end || v == 0 || v > 65535)
		return false;
	*to = (uint16_t)v;
	return true;
}

static bool set_run(struct eg_config *c, const char *value)
{
	return strlen(value) == 8 && strspn(value, "0123456789abcdef") == 8 && set_text(c->run, sizeof(c->run), value);
}

bool eg_config_set(struct eg_config *c, const char *key, const char *value)
{
	struct eg_addr a;
	const struct {
		const char *key;
		char *to;
		size_t size;
	} texts[] = {
		{ "allowed", c->allowed, sizeof(c->allowed) },
		{ "narrow", c->narrow, sizeof(c->narrow) },
		{ "wild", c->wild, sizeof(c->wild) },
		{ "evil", c->evil, sizeof(c->evil) },
		{ "cotenant", c->cotenant, sizeof(c->cotenant) },
		{ "device", c->device, sizeof(c->device) },
	};

	for (size_t i = 0; i < EG_COUNT(texts); i++) {
		if (strcmp(key, texts[i].key) == 0)
			return set_text(texts[i].to, texts[i].size, value);
	}
	if (strcmp(key, "run") == 0)
		return set_run(c, value);
	if (strcmp(key, "peer_port") == 0)
		return set_port(&c->peer_port, value);
	if (!eg_addr_parse(value, &a))
		return false;
	if (strcmp(key, "host") == 0 && c->host_n < EG_HOSTS) {
		c->host[c->host_n++] = a;
		return true;
	}
	const size_t n = strlen(key);
	const bool six = n > 2 && strcmp(key + n - 2, "_6") == 0;
	if (six != (a.family == 6))
		return false;
	if (strncmp(key, "peer", six ? n - 2 : n) == 0 && (six ? n - 2 : n) == 4) {
		c->peer[six] = a;
		return true;
	}
	for (size_t i = 0; i < EG_PLACES; i++) {
		if (strlen(eg_place_names[i]) == (six ? n - 2 : n) &&
		    strncmp(key, eg_place_names[i], six ? n - 2 : n) == 0) {
			c->at[i][six] = a;
			return true;
		}
	}
	return false;
}

int eg_config_read(struct eg_config *c, const char *path)
{
	char line[256];
	int number = 0, r = 0;
	FILE *f = fopen(path, "re");

	if (!f) {
		fprintf(stderr, "%s: cannot be read\n", path);
		return -1;
	}
	while (r == 0 && fgets(line, sizeof(line), f)) {
		char *save = NULL;
		number++;
		line[strcspn(line, "#\n")] = '\0';
		const char *key = strtok_r(line, " \t", &save);
		const char *value = key ? strtok_r(NULL, " \t", &save) : NULL;
		if (key && (!value || !eg_config_set(c, key, value))) {
			fprintf(stderr, "%s:%d: %s: not understood\n", path, number, key);
			r = -1;
		}
	}
	fclose(f);
	return r;
}

static bool is_nonce(const uint8_t *p)
{
	if (tolower(p[0]) != 'e' || tolower(p[1]) != 'g' || tolower(p[10]) != 'x')
		return false;
	for (int i = 2; i < 10; i++) {
		if (!isxdigit(p[i]))
			return false;
	}
	return isdigit(p[11]) && isdigit(p[12]) && isdigit(p[13]) && (p[14] == '4' || p[14] == '6') &&
	       (tolower(p[15]) == 'd' || tolower(p[15]) == 'c');
}

bool eg_nonce_find(const void *p, size_t n, size_t from, char ret[EG_NONCE + 1], size_t *ret_at)
{
	const uint8_t *b = p;

	for (size_t i = from; i + EG_NONCE <= n; i++) {
		if (!is_nonce(b + i))
			continue;
		for (size_t k = 0; k < EG_NONCE; k++)
			ret[k] = (char)tolower(b[i + k]);
		ret[EG_NONCE] = '\0';
		if (ret_at)
			*ret_at = i;
		return true;
	}
	return false;
}

static void need(struct eg_buf *b, size_t n)
{
	if (b->cap - b->n >= n)
		return;
	size_t cap = b->cap ? b->cap : 256;
	while (cap - b->n < n)
		cap *= 2;
	uint8_t *p = realloc(b->p, cap);
	if (!p)
		abort();
	b->p = p;
	b->cap = cap;
}

void eg_put(struct eg_buf *b, const void *p, size_t n)
{
	need(b, n + 1);
	if (n)
		memcpy(b->p + b->n, p, n);
	b->n += n;
}

void eg_put_zero(struct eg_buf *b, size_t n)
{
	need(b, n + 1);
	memset(b->p + b->n, 0, n);
	b->n += n;
}

void eg_text(struct eg_buf *b, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	int n = vasprintf(&text, format, args);
	va_end(args);
	if (n < 0)
		abort();
	eg_put(b, text, (size_t)n);
	free(text);
}

void eg_u8(struct eg_buf *b, unsigned v)
{
	eg_put(b, (const uint8_t[]){ (uint8_t)v }, 1);
}

void eg_u16(struct eg_buf *b, unsigned v)
{
	eg_put(b, (const uint8_t[]){ (uint8_t)(v >> 8), (uint8_t)v }, 2);
}

void eg_u24(struct eg_buf *b, unsigned v)
{
	eg_put(b, (const uint8_t[]){ (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v }, 3);
}

void eg_u32(struct eg_buf *b, uint32_t v)
{
	eg_u16(b, v >> 16);
	eg_u16(b, v & 0xffff);
}

void eg_patch16(struct eg_buf *b, size_t at)
{
	size_t n = b->n - at - 2;

	b->p[at] = (uint8_t)(n >> 8);
	b->p[at + 1] = (uint8_t)n;
}

void eg_free(struct eg_buf *b)
{
	free(b->p);
	*b = (struct eg_buf){ 0 };
}

uint64_t eg_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

double eg_wall(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void eg_json(struct eg_buf *b, const void *p, size_t n)
{
	const uint8_t *s = p;

	eg_u8(b, '"');
	for (size_t i = 0; i < n; i++) {
		if (s[i] < 0x20 || s[i] > 0x7e || s[i] == '"' || s[i] == '\\')
			eg_text(b, "\\u%04x", s[i]);
		else
			eg_u8(b, s[i]);
	}
	eg_u8(b, '"');
}
