/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/port_head.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool is(struct dw_span s, const char *name)
{
	return s.n == strlen(name) && strncasecmp((const char *)s.p, name, s.n) == 0;
}

static bool is_token(const char *s, size_t n)
{
	static const char more[] = "!#$%&'*+-.^_`|~";
	for (size_t i = 0; i < n; i++) {
		const char c = s[i];
		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      (c && strchr(more, c))))
			return false;
	}
	return n > 0;
}

static bool is_plain(const uint8_t *p, size_t n, uint8_t least)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] == 0x7f || (p[i] < least && p[i] != '\t') || (p[i] == '\t' && least > ' '))
			return false;
	return true;
}

static int invalid(struct dw_err *err, const char *why)
{
	return dw_err_set(err, DW_ERR_INVALID, "invalid_request", "the request can not be passed on: %s", why);
}

int port_number(const char *text, uint16_t *ret, struct dw_err *err)
{
	uint32_t port = 0;
	const size_t n = strlen(text);
	bool ok = n >= 1 && n <= 5 && text[0] != '0';
	for (size_t i = 0; i < n && ok; i++) {
		ok = text[i] >= '0' && text[i] <= '9';
		port = port * 10 + (uint32_t)(text[i] - '0');
	}
	if (!ok || port > UINT16_MAX)
		return dw_err_set(err, DW_ERR_INVALID, "invalid_port", "a port is a whole number between 1 and 65535");
	*ret = (uint16_t)port;
	return 0;
}

const char *port_target(const char *target, const char *id, const char *port)
{
	const char *const part[] = { "/sandboxes/", id, "/ports/", port };
	for (size_t i = 0; i < DW_COUNT(part); i++) {
		const size_t n = strlen(part[i]);
		if (strncmp(target, part[i], n) != 0)
			return NULL;
		target += n;
	}
	return !*target || *target == '/' || *target == '?' ? target : NULL;
}

bool port_host_ok(const char *host)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]";
	const size_t variable = sizeof(PORT_HOST_VARIABLE) - 1;
	size_t n = 0;
	while (*host) {
		const bool is_variable = strncmp(host, PORT_HOST_VARIABLE, variable) == 0;
		if (!is_variable && !strchr(plain, *host))
			return false;
		n += is_variable ? 5 : 1;
		host += is_variable ? variable : 1;
	}
	return n >= 1 && n <= PORT_HOST_MAX;
}

void port_host_fill(const char *host, uint16_t port, char out[static PORT_HOST_MAX + 1])
{
	const size_t variable = sizeof(PORT_HOST_VARIABLE) - 1;
	size_t n = 0;
	while (*host && n < PORT_HOST_MAX) {
		if (strncmp(host, PORT_HOST_VARIABLE, variable) == 0) {
			const int put = snprintf(out + n, PORT_HOST_MAX + 1 - n, "%u", port);
			n = DW_MIN(n + (size_t)put, (size_t)PORT_HOST_MAX);
			host += variable;
		} else {
			out[n++] = *host++;
		}
	}
	out[n] = '\0';
}

static int judge_framing(struct port_head *h, const struct dw_http_field *f, struct dw_err *err)
{
	if (is(f->name, "transfer-encoding")) {
		if (h->chunked || !is(f->value, "chunked"))
			return invalid(err, "its Transfer-Encoding is not \"chunked\"");
		h->chunked = true;
	} else if (is(f->name, "content-length")) {
		if (h->has_length || f->value.n == 0 || f->value.n > 19)
			return invalid(err, "its Content-Length is not one number");
		h->has_length = true;
		for (size_t i = 0; i < f->value.n; i++) {
			if (f->value.p[i] < '0' || f->value.p[i] > '9')
				return invalid(err, "its Content-Length is not one number");
			h->length = h->length * 10 + (uint64_t)(f->value.p[i] - '0');
		}
	}
	return 0;
}

int port_head_judge(struct port_head *h, struct dw_err *err)
{
	bool asks = false, upgrade = false, other = false;
	h->websocket = h->chunked = h->has_length = false;
	h->length = 0;
	for (size_t i = 0; i < h->field_n; i++) {
		const struct dw_http_field *f = &h->field[i];
		if (judge_framing(h, f, err) < 0)
			return -1;
		if (is(f->name, "connection"))
			asks |= dw_http_list_has(f->value, "upgrade");
		if (is(f->name, "upgrade")) {
			other |= upgrade || !is(f->value, "websocket");
			upgrade = true;
		}
	}
	if (h->chunked && h->has_length)
		return invalid(err, "it has both a Transfer-Encoding and a Content-Length");
	if (strcasecmp(h->method, "CONNECT") == 0)
		return invalid(err, "CONNECT is for proxies");
	h->websocket = asks && upgrade;
	if (h->websocket && (other || strcmp(h->method, "GET") != 0 || h->chunked || h->length))
		return dw_err_set(err, DW_ERR_INVALID, "unsupported_upgrade",
				  "the only protocol to change to is websocket, by a GET without a body");
	return 0;
}

static void put(struct dw_wr *w, const char *text)
{
	dw_wr_bytes(w, text, strlen(text));
}

static void put_span(struct dw_wr *w, struct dw_span s)
{
	dw_wr_bytes(w, s.p, s.n);
}

static void put_field(struct dw_wr *w, const char *name, const char *value)
{
	put(w, name);
	put(w, ": ");
	put(w, value);
	put(w, "\r\n");
}

/* The framing is made anew, the rest of these belongs to the connection to this server. */
static bool stays_here(const struct port_head *h, struct dw_span name)
{
	static const char *const ours[] = { "host",
					    "content-length",
					    "expect",
					    "http2-settings",
					    "x-api-key",
					    "e2b-traffic-access-token",
					    "e2b-sandbox-id",
					    "e2b-sandbox-port",
					    "x-forwarded-for",
					    "x-forwarded-proto",
					    "x-forwarded-host",
					    "x-forwarded-prefix" };
	for (size_t i = 0; i < DW_COUNT(ours); i++)
		if (is(name, ours[i]))
			return true;
	return dw_http_hop_by_hop(name) || dw_http_named(h->field, h->field_n, name);
}

static struct dw_span given(const struct port_head *h, const char *name)
{
	for (size_t i = 0; i < h->field_n; i++)
		if (is(h->field[i].name, name))
			return h->field[i].value;
	return (struct dw_span){ 0 };
}

/* What a proxy in front of this server has said stands; the addresses are a list that grows. */
static void put_forwarded(const struct port_head *h, struct dw_wr *w)
{
	static const char *const said[] = { "X-Forwarded-Proto", "X-Forwarded-Host" };
	const char *const ours[] = { h->tls ? "https" : "http", h->domain };
	put(w, "X-Forwarded-For: ");
	for (size_t i = 0; i < h->field_n; i++) {
		if (!is(h->field[i].name, "x-forwarded-for") || !h->field[i].value.n)
			continue;
		put_span(w, h->field[i].value);
		put(w, ", ");
	}
	put(w, h->client);
	put(w, "\r\n");
	for (size_t i = 0; i < DW_COUNT(said); i++) {
		const struct dw_span before = given(h, said[i]);
		put(w, said[i]);
		put(w, ": ");
		if (before.n)
			put_span(w, before);
		else
			put(w, ours[i]);
		put(w, "\r\n");
	}
	const struct dw_span prefix = given(h, "x-forwarded-prefix");
	put(w, "X-Forwarded-Prefix: ");
	put_span(w, prefix);
	put(w, h->prefix);
	put(w, "\r\n");
}

static int check_bytes(const struct port_head *h, struct dw_err *err)
{
	if (!is_token(h->method, strlen(h->method)) || strlen(h->method) > 32)
		return invalid(err, "its method is no token");
	if (!is_plain((const uint8_t *)h->target, strlen(h->target), 0x21))
		return invalid(err, "a byte in its path has no place there");
	for (size_t i = 0; i < h->field_n; i++) {
		const struct dw_http_field *f = &h->field[i];
		if (!is_token((const char *)f->name.p, f->name.n))
			return invalid(err, "the name of a header is no token");
		if (!is_plain(f->value.p, f->value.n, ' '))
			return invalid(err, "a byte in a header has no place there");
	}
	return 0;
}

int port_head_build(const struct port_head *h, struct dw_wr *w, struct dw_err *err)
{
	char length[24];
	if (check_bytes(h, err) < 0)
		return -1;
	put(w, h->method);
	put(w, h->target[0] == '/' ? " " : " /");
	put(w, h->target);
	put(w, " HTTP/1.1\r\n");
	put_field(w, "Host", h->host[0] ? h->host : h->domain);
	for (size_t i = 0; i < h->field_n; i++) {
		if (stays_here(h, h->field[i].name))
			continue;
		put_span(w, h->field[i].name);
		put(w, ": ");
		put_span(w, h->field[i].value);
		put(w, "\r\n");
	}
	put_forwarded(h, w);
	put_field(w, "Connection", h->websocket ? "Upgrade" : "close");
	if (h->websocket)
		put_field(w, "Upgrade", "websocket");
	snprintf(length, sizeof(length), "%llu", (unsigned long long)h->length);
	if (h->chunked)
		put_field(w, "Transfer-Encoding", "chunked");
	else if (h->has_length)
		put_field(w, "Content-Length", length);
	put(w, "\r\n");
	return dw_wr_ok(w) ? 0 : invalid(err, "its head is too large");
}
