/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/target.h"

#include <string.h>

#include "cli/cli.h"

struct text {
	const char *s;
	size_t n;
};

static bool bad(const char **ret_why, const char *why)
{
	*ret_why = why;
	return false;
}

static const struct {
	const char *word;
	enum dw_proto proto;
	enum target_opening opening;
} protos[] = {
	{ "tcp", DW_PROTO_TCP, TARGET_OPAQUE }, { "udp", DW_PROTO_UDP, TARGET_OPAQUE },
	{ "tls", DW_PROTO_TCP, TARGET_TLS },    { "http", DW_PROTO_TCP, TARGET_HTTP },
	{ "quic", DW_PROTO_UDP, TARGET_QUIC },  { "icmp", DW_PROTO_ICMP, TARGET_UNSAID },
};

/* Cuts "/proto" off. */
static bool cut_proto(struct text *t, struct target *ret, const char **ret_why)
{
	const char *slash = memchr(t->s, '/', t->n);
	if (!slash)
		return true;
	const struct text word = { slash + 1, t->n - (size_t)(slash - t->s) - 1 };
	if (word.n && word.s[0] == '/')
		return bad(ret_why, "a URL (write the host name and port: example.com:443)");
	for (size_t i = 0; i < DW_COUNT(protos); i++) {
		if (strlen(protos[i].word) != word.n || memcmp(protos[i].word, word.s, word.n) != 0)
			continue;
		ret->proto = protos[i].proto;
		ret->opening = protos[i].opening;
		t->n = (size_t)(slash - t->s);
		return true;
	}
	return bad(ret_why, "what follows '/' must be tcp, udp, tls, http, quic or icmp");
}

static bool port_number(struct text t, uint16_t *ret)
{
	unsigned v = 0;
	if (t.n == 0 || t.n > 5 || t.s[0] == '0')
		return false;
	for (size_t i = 0; i < t.n; i++) {
		if (t.s[i] < '0' || t.s[i] > '9')
			return false;
		v = v * 10 + (unsigned)(t.s[i] - '0');
	}
	*ret = (uint16_t)v;
	return v <= UINT16_MAX;
}

/* Cuts ":port" off; what is left is a name or an address, without brackets. */
static bool cut_port(struct text *t, struct target *ret, const char **ret_why)
{
	struct dw_addr bare;
	const char *colon;
	bool bracketed = t->n && t->s[0] == '[';
	if (bracketed) {
		const char *close = memchr(t->s, ']', t->n);
		if (!close)
			return bad(ret_why, "a '[' without its ']'");
		colon = close + 1 < t->s + t->n ? close + 1 : NULL;
		if (colon && *colon != ':')
			return bad(ret_why, "only ':' and a port may follow ']'");
	} else {
		colon = dw_addr_parse(t->s, t->n, &bare) ? NULL : memchr(t->s, ':', t->n);
	}
	if (colon && !port_number((struct text){ colon + 1, t->n - (size_t)(colon - t->s) - 1 }, &ret->port))
		return bad(ret_why, "the port is not a number from 1 to 65535");
	if (colon)
		t->n = (size_t)(colon - t->s);
	if (bracketed) {
		t->s++;
		t->n -= 2;
		if (!dw_addr_parse(t->s, t->n, &bare) || !memchr(t->s, ':', t->n))
			return bad(ret_why, "what stands between the brackets is not an IPv6 address");
	}
	return true;
}

static bool set_name(struct text t, struct target *ret, const char **ret_why)
{
	static const char word[] = "localhost";
	if (dw_host_canon(t.s, t.n, ret->name, ret_why) != DW_HOST_OK)
		return false;
	const size_t n = strlen(ret->name), word_n = sizeof(word) - 1;
	if (n >= word_n && strcmp(ret->name + n - word_n, word) == 0 &&
	    (n == word_n || ret->name[n - word_n - 1] == '.'))
		return bad(ret_why, "localhost is the sandbox itself: no policy is asked about it");
	return true;
}

static bool check_icmp(const struct target *t, const char **ret_why)
{
	if (t->addr.family == DW_AF_NONE || *t->name || t->port)
		return bad(ret_why, "icmp goes to an address alone, without name and port");
	return true;
}

static bool check_flow(struct target *t, bool at, const char **ret_why)
{
	const bool by_name = t->addr.family == DW_AF_NONE;
	if (t->port == 0 && (!by_name || t->proto != DW_PROTO_NONE))
		return bad(ret_why, "a port is missing");
	if (t->port == 53)
		return bad(ret_why,
			   "the server's own DNS answers on port 53 whatever the address: ask about the name alone");
	if (t->port == 0) {
		t->proto = DW_PROTO_DNS;
	} else if (t->proto == DW_PROTO_NONE) {
		t->proto = DW_PROTO_TCP;
		if (by_name || at)
			t->opening = t->port == 443 ? TARGET_TLS : t->port == 80 ? TARGET_HTTP : TARGET_OPAQUE;
	}
	return true;
}

static bool parse(struct text t, struct target *ret, const char **ret_why)
{
	if (!cut_proto(&t, ret, ret_why))
		return false;
	const char *at = memchr(t.s, '@', t.n);
	if (at) {
		if (!set_name((struct text){ t.s, (size_t)(at - t.s) }, ret, ret_why))
			return false;
		t.n -= (size_t)(at - t.s) + 1;
		t.s = at + 1;
	}
	if (!cut_port(&t, ret, ret_why))
		return false;
	if (!dw_addr_parse(t.s, t.n, &ret->addr)) {
		if (at)
			return bad(ret_why, "what follows '@' is not an IP address");
		if (!set_name(t, ret, ret_why))
			return false;
	}
	return ret->proto == DW_PROTO_ICMP ? check_icmp(ret, ret_why) : check_flow(ret, at != NULL, ret_why);
}

int target_parse(const char *s, size_t n, struct target *ret, struct dw_err *err)
{
	struct target t = { 0 };
	const char *why = "it is empty";
	char shown[128];
	if (n && parse((struct text){ s, n }, &t, &why)) {
		*ret = t;
		return 0;
	}
	return dw_err_set(err, DW_ERR_INVALID, "invalid_target", "target \"%s\": %s",
			  cli_printable(s, n, shown, sizeof(shown)), why);
}
