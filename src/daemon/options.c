/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/options.h"

#include <stdio.h>
#include <string.h>

#include "daemon/bounds.h"
#include "daemon/jsonx.h"
#include "daemon/limits_spec.h"

struct option {
	const char *name, *variable, *arg; /* arg NULL: a flag */
	bool list;                         /* repeatable; comma separated in the variable */
	/* Stores one value; NULL or what a good value looks like. */
	const char *(*set)(struct options *o, const char *value, size_t n);
	enum options_result result; /* of a flag */
	const char *help;
};

bool options_parse_endpoint(const char *s, size_t n, uint16_t default_port, struct options_endpoint *ret)
{
	const char *end = s + n, *host = s, *port = NULL;
	size_t host_n = n;
	if (n && s[0] == '[') {
		const char *close = memchr(s, ']', n);
		if (!close || (close + 1 != end && close[1] != ':'))
			return false;
		host = s + 1;
		host_n = (size_t)(close - host);
		port = close + 1 == end ? NULL : close + 2;
	} else {
		const char *colon = memchr(s, ':', n);
		/* Two colons without brackets: a bare IPv6 address. */
		if (colon && !memchr(colon + 1, ':', (size_t)(end - colon - 1))) {
			host_n = (size_t)(colon - s);
			port = colon + 1;
		}
	}
	struct options_endpoint e = { .port = default_port };
	if (!dw_addr_parse(host, host_n, &e.addr) || (s[0] == '[' && e.addr.family != DW_AF_6))
		return false;
	if (port) {
		char digits[8];
		size_t len = (size_t)(end - port);
		uint64_t v;
		if (len >= sizeof(digits))
			return false;
		memcpy(digits, port, len);
		digits[len] = '\0';
		if (!jsonx_uint(digits, 65535, &v))
			return false;
		e.port = (uint16_t)v;
	}
	if (!port && !default_port)
		return false;
	*ret = e;
	return true;
}

const char *options_format_endpoint(const struct options_endpoint *e, char buf[static OPTIONS_ENDPOINT_STRLEN])
{
	char addr[DW_ADDR_STRLEN];
	dw_addr_format(&e->addr, addr);
	snprintf(buf, OPTIONS_ENDPOINT_STRLEN, e->addr.family == DW_AF_6 ? "[%s]:%u" : "%s:%u", addr, e->port);
	return buf;
}

static const char *set_listen(struct options *o, const char *v, size_t n)
{
	return options_parse_endpoint(v, n, 0, &o->listen) ? NULL : "ADDR:PORT or [IPV6]:PORT";
}

static const char *set_path(char *dst, const char *v, size_t n)
{
	/* Room for a file name behind it. */
	if (!n || n > PATH_MAX - 64)
		return "a path";
	memcpy(dst, v, n);
	dst[n] = '\0';
	return NULL;
}

static const char *set_data(struct options *o, const char *v, size_t n)
{
	return set_path(o->data_dir, v, n);
}

static const char *set_key_file(struct options *o, const char *v, size_t n)
{
	return set_path(o->api_key_file, v, n);
}

static const char *set_uplink(struct options *o, const char *v, size_t n)
{
	static const char want[] = "a name below /run/netns, or a path with a slash";
	if (memchr(v, '/', n))
		return set_path(o->uplink_netns, v, n);
	if (!n || n > NAME_MAX || (n <= 2 && v[0] == '.' && v[n - 1] == '.'))
		return want;
	snprintf(o->uplink_netns, sizeof(o->uplink_netns), "/run/netns/%.*s", (int)n, v);
	return NULL;
}

static const char *set_resolver(struct options *o, const char *v, size_t n)
{
	if (o->resolver_n == OPTIONS_RESOLVERS)
		return "given at most 8 times";
	struct options_endpoint e;
	if (!options_parse_endpoint(v, n, 53, &e) || e.port == 0)
		return "ADDR, ADDR:PORT, IPV6 or [IPV6]:PORT";
	o->resolver[o->resolver_n++] = e;
	return NULL;
}

static const char *set_default_egress(struct options *o, const char *v, size_t n)
{
	bool allow = n == 5 && memcmp(v, "allow", 5) == 0;
	if (!allow && !(n == 4 && memcmp(v, "deny", 4) == 0))
		return "allow or deny";
	o->default_allow = allow;
	return NULL;
}

static const char *set_allow_private(struct options *o, const char *v, size_t n)
{
	if (o->allow_private_n == OPTIONS_ALLOW_PRIVATE)
		return "given at most 64 times";
	struct dw_prefix p;
	struct dw_addr a;
	if (dw_addr_parse(v, n, &a))
		p = (struct dw_prefix){ .addr = a, .len = dw_addr_bits(&a) };
	else if (!dw_prefix_parse(v, n, &p))
		return "an address or a CIDR";
	o->allow_private[o->allow_private_n++] = p;
	return NULL;
}

static const char *set_limit(struct options *o, const char *name, const char *v, size_t n)
{
	return limits_spec_set(&o->limits, name, v, n) ? NULL : limits_spec_range(name);
}

/* One setter per limit, as the table wants it. */
#define LIMIT_SETTER(name)                                                              \
	static const char *set_limit_##name(struct options *o, const char *v, size_t n) \
	{                                                                               \
		return set_limit(o, #name, v, n);                                       \
	}
LIMIT_SETTER(flows)
LIMIT_SETTER(half_open)
LIMIT_SETTER(flows_per_second)
LIMIT_SETTER(dns_per_second)
LIMIT_SETTER(names_per_minute)
LIMIT_SETTER(bytes)

static const char *set_flag(bool *flag, const char *v, size_t n)
{
	const bool on = n == 1 && *v == '1';
	if (!on && !(n == 1 && *v == '0'))
		return "1 or 0";
	*flag = on;
	return NULL;
}

static const char *set_no_ipv6(struct options *o, const char *v, size_t n)
{
	return set_flag(&o->no_ipv6, v, n);
}

static const char *set_strict_security(struct options *o, const char *v, size_t n)
{
	return set_flag(&o->strict_security, v, n);
}

static const char *set_tls_cert(struct options *o, const char *v, size_t n)
{
	return set_path(o->tls_cert, v, n);
}

static const char *set_tls_key(struct options *o, const char *v, size_t n)
{
	return set_path(o->tls_key, v, n);
}

static const char *set_metrics_open(struct options *o, const char *v, size_t n)
{
	return set_flag(&o->metrics_open, v, n);
}

static const char *set_volume_mb(struct options *o, const char *v, size_t n)
{
	char digits[16];
	uint64_t mb;
	_Static_assert(DAEMON_VOLUME_MB_MAX == 1048576, "as the message says");
	if (n >= sizeof(digits))
		return "between 1 and 1048576";
	memcpy(digits, v, n);
	digits[n] = '\0';
	if (!jsonx_uint(digits, DAEMON_VOLUME_MB_MAX, &mb) || mb < 1)
		return "between 1 and 1048576";
	o->volume_mb = (uint32_t)mb;
	return NULL;
}

static const char *set_number(uint32_t *number, uint32_t min, uint32_t max, const char *want, const char *v, size_t n)
{
	char digits[12];
	uint64_t value;
	if (n >= sizeof(digits))
		return want;
	snprintf(digits, sizeof(digits), "%.*s", (int)n, v);
	if (!jsonx_uint(digits, max, &value) || value < min)
		return want;
	*number = (uint32_t)value;
	return NULL;
}

static const char *set_snapshots(struct options *o, const char *v, size_t n)
{
	_Static_assert(DAEMON_SNAPSHOTS_MAX == 100000, "as the message says");
	return set_number(&o->snapshots, 1, DAEMON_SNAPSHOTS_MAX, "between 1 and 100000", v, n);
}

static const char *set_snapshot_mb(struct options *o, const char *v, size_t n)
{
	_Static_assert(DAEMON_SNAPSHOT_SPACE_MAX == 1073741824, "as the message says");
	return set_number(&o->snapshot_mb, 1, DAEMON_SNAPSHOT_SPACE_MAX, "between 1 and 1073741824", v, n);
}

static const char *set_builds(struct options *o, const char *v, size_t n)
{
	return set_number(&o->builds, 0, 64, "a number from 0 (no builds) to 64", v, n);
}

static const char *set_build_timeout(struct options *o, const char *v, size_t n)
{
	return set_number(&o->build_timeout_s, 1, 86340, "a number of seconds from 1 to 86340", v, n);
}

static const char *set_build_memory(struct options *o, const char *v, size_t n)
{
	return set_number(&o->build_memory_mb, 128, 1048576, "a number of MiB from 128 to 1048576", v, n);
}

static const char *set_build_disk(struct options *o, const char *v, size_t n)
{
	return set_number(&o->build_disk_mb, 128, 1048576, "a number of MiB from 128 to 1048576", v, n);
}

static const char *set_template_memory(struct options *o, const char *v, size_t n)
{
	_Static_assert(DAEMON_TEMPLATE_MB_MIN == 256 && DAEMON_TEMPLATE_MB_MAX == 1048576, "as the message says");
	return set_number(&o->template_mb, DAEMON_TEMPLATE_MB_MIN, DAEMON_TEMPLATE_MB_MAX,
			  "a number of MiB from 256 to 1048576", v, n);
}

static const char *set_log_requests(struct options *o, const char *v, size_t n)
{
	static const char *const words[] = {
		[OPTIONS_LOG_OFF] = "off", [OPTIONS_LOG_ERRORS] = "errors", [OPTIONS_LOG_ALL] = "all"
	};
	for (size_t i = 0; i < DW_COUNT(words); i++) {
		if (strlen(words[i]) == n && memcmp(words[i], v, n) == 0) {
			o->log_requests = (enum options_log)i;
			return NULL;
		}
	}
	return "off, errors or all";
}

/* clang-format off */
static const struct option table[] = {
	{ "--listen", "DECLAW_LISTEN", "ADDR:PORT", false, set_listen, 0,
	  "where the HTTP API listens (127.0.0.1:8080); port 0: any free port" },
	{ "--data", "DECLAW_DATA", "DIR", false, set_data, 0,
	  "templates, records and scratch space (/var/lib/declaw)" },
	{ "--api-key-file", "DECLAW_API_KEY_FILE", "FILE", false, set_key_file, 0,
	  "the key that clients must send (<data>/api-key; made at the first start)" },
	{ "--tls-cert", "DECLAW_TLS_CERT", "FILE", false, set_tls_cert, 0,
	  "serve the API over TLS with this certificate (PEM, its chain behind it); needs --tls-key" },
	{ "--tls-key", "DECLAW_TLS_KEY", "FILE", false, set_tls_key, 0,
	  "the certificate's private key (PEM, readable by its owner and group alone); both are read again on SIGHUP" },
	{ "--metrics-open", "DECLAW_METRICS_OPEN", NULL, false, set_metrics_open, OPTIONS_RUN,
	  "serve GET /metrics to those without a key too" },
	{ "--log-requests", "DECLAW_LOG_REQUESTS", "off|errors|all", false, set_log_requests, 0,
	  "which requests have a line in the log: none, those that failed, all (all)" },
	{ "--uplink-netns", "DECLAW_UPLINK_NETNS", "NAME", false, set_uplink, 0,
	  "network namespace that the gate dials from: below /run/netns, or a path (the host's)" },
	{ "--resolver", "DECLAW_RESOLVER", "ADDR[:PORT]", true, set_resolver, 0,
	  "DNS server of the gate (those of /etc/resolv.conf)" },
	{ "--default-egress", "DECLAW_DEFAULT_EGRESS", "allow|deny", false, set_default_egress, 0,
	  "what a sandbox without a network policy may reach of the public internet (allow)" },
	{ "--allow-private", "DECLAW_ALLOW_PRIVATE", "CIDR", true, set_allow_private, 0,
	  "a private range that policies may open by name" },
	{ "--no-ipv6", "DECLAW_NO_IPV6", NULL, false, set_no_ipv6, OPTIONS_RUN,
	  "sandboxes have no IPv6 at all: no address, no route, no answer to AAAA questions" },
	{ "--strict-security", "DECLAW_STRICT_SECURITY", NULL, false, set_strict_security, OPTIONS_RUN,
	  "refuse a sandbox whose security asks for what this server does not have, instead of warning" },
	{ "--snapshots", "DECLAW_SNAPSHOTS", "N", false, set_snapshots, 0,
	  "snapshots that one owner may have (100)" },
	{ "--snapshot-mb", "DECLAW_SNAPSHOT_MB", "N", false, set_snapshot_mb, 0,
	  "MiB of disk for the snapshots of everybody (10240)" },
	{ "--volume-mb", "DECLAW_VOLUME_MB", "N", false, set_volume_mb, 0,
	  "MiB that one volume may have, packed and unpacked (4096)" },
	{ "--builds", "DECLAW_BUILDS", "N", false, set_builds, 0,
	  "builds of templates at one time (2); 0: none" },
	{ "--build-timeout", "DECLAW_BUILD_TIMEOUT", "S", false, set_build_timeout, 0,
	  "seconds until a build is ended (1800)" },
	{ "--build-memory", "DECLAW_BUILD_MEMORY", "MB", false, set_build_memory, 0,
	  "memory of a build for its programs, in MiB (2048)" },
	{ "--build-disk", "DECLAW_BUILD_DISK", "MB", false, set_build_disk, 0,
	  "and for its files, which are in memory too while it runs, in MiB (8192); no template is larger" },
	{ "--template-memory", "DECLAW_TEMPLATE_MEMORY", "MB", false, set_template_memory, 0,
	  "MiB that a sandbox of a built or imported template may have, memory_mb and disk_mb together (half of the machine's memory)" },
	{ "--limit-flows", "DECLAW_LIMIT_FLOWS", "N", false, set_limit_flows, 0,
	  "flows open at one time in a sandbox whose policy does not say (1024)" },
	{ "--limit-half-open", "DECLAW_LIMIT_HALF_OPEN", "N", false, set_limit_half_open, 0,
	  "of these, without an answer or a verdict yet (256)" },
	{ "--limit-flows-per-second", "DECLAW_LIMIT_FLOWS_PER_SECOND", "N", false, set_limit_flows_per_second, 0,
	  "new flows per second (2000)" },
	{ "--limit-dns-per-second", "DECLAW_LIMIT_DNS_PER_SECOND", "N", false, set_limit_dns_per_second, 0,
	  "DNS queries per second (1000)" },
	{ "--limit-names-per-minute", "DECLAW_LIMIT_NAMES_PER_MINUTE", "N", false, set_limit_names_per_minute, 0,
	  "different names per minute under patterns such as *.host (120)" },
	{ "--limit-bytes", "DECLAW_LIMIT_BYTES", "N", false, set_limit_bytes, 0,
	  "bytes both ways in a sandbox's life (no limit)" },
	{ "--print-routes", NULL, NULL, false, NULL, OPTIONS_ROUTES, "print the method and path of each route of the API" },
	{ "--help", NULL, NULL, false, NULL, OPTIONS_HELP, "print this" },
	{ "--version", NULL, NULL, false, NULL, OPTIONS_VERSION, "print the version" },
};
/* clang-format on */

void options_print_help(void)
{
	puts("Usage: declawd [OPTION]...\nServe sandboxes over HTTP.\n");
	for (size_t i = 0; i < DW_COUNT(table); i++) {
		const struct option *op = &table[i];
		printf("  %s%s%s%s\n        %s", op->name, op->arg ? " " : "", op->arg ? op->arg : "",
		       op->list ? "  (repeatable)" : "", op->help);
		if (op->variable)
			printf("\n        variable: %s%s", op->variable,
			       op->list  ? ", comma separated"
			       : op->arg ? ""
					 : ", 1 or 0");
		putchar('\n');
	}
	puts("\nAn option on the command line wins over its variable.");
}

static int refuse(struct dw_err *err, const char *name, const char *value, size_t n, const char *want)
{
	return dw_err_set(err, DW_ERR_INVALID, "invalid_option", "%s: \"%.*s\" must be %s", name,
			  (int)DW_MIN(n, (size_t)100), value, want);
}

static int apply_env(struct options *o, const struct option *op, const char *value, struct dw_err *err)
{
	const char *at = value;
	for (;;) {
		size_t n = op->list ? strcspn(at, ",") : strlen(at);
		const char *want = op->set(o, at, n);
		if (want)
			return refuse(err, op->variable, at, n, want);
		if (at[n] == '\0')
			return 0;
		at += n + 1;
	}
}

static const struct option *find(const char *arg, size_t n)
{
	for (size_t i = 0; i < DW_COUNT(table); i++)
		if (strlen(table[i].name) == n && memcmp(table[i].name, arg, n) == 0)
			return &table[i];
	return NULL;
}

/* Reads one option at argv[*i], moving *i on when its value is the next word. OPTIONS_RUN: go on. */
static enum options_result apply_arg(struct options *o, int argc, char *const *argv, int *i, bool *seen,
				     struct dw_err *err)
{
	const char *arg = argv[*i];
	size_t n = strcspn(arg, "=");
	const struct option *op = find(arg, n);
	if (!op || (!op->arg && arg[n])) {
		dw_err_set(err, DW_ERR_INVALID, "invalid_option", "unknown option \"%.100s\" (see --help)", arg);
		return OPTIONS_BAD;
	}
	if (!op->arg) {
		seen[op - table] = true;
		if (op->set)
			op->set(o, "1", 1);
		return op->result;
	}
	if (!arg[n] && *i + 1 == argc) {
		dw_err_set(err, DW_ERR_INVALID, "invalid_option", "%s needs a value: %s", op->name, op->arg);
		return OPTIONS_BAD;
	}
	const char *value = arg[n] ? arg + n + 1 : argv[++*i];
	seen[op - table] = true;
	const char *want = op->set(o, value, strlen(value));
	if (want) {
		refuse(err, op->name, value, strlen(value), want);
		return OPTIONS_BAD;
	}
	return OPTIONS_RUN;
}

enum options_result options_parse(struct options *ret, int argc, char *const *argv, const char *(*env)(const char *),
				  struct dw_err *err)
{
	struct options *o = ret;
	bool seen[DW_COUNT(table)] = { false };
	*o = (struct options){ .default_allow = true,
			       .log_requests = OPTIONS_LOG_ALL,
			       .volume_mb = DAEMON_VOLUME_MB,
			       .builds = DAEMON_BUILDS,
			       .build_timeout_s = DAEMON_BUILD_TIMEOUT_S,
			       .build_memory_mb = DAEMON_BUILD_MEMORY_MB,
			       .build_disk_mb = DAEMON_BUILD_DISK_MB,
			       .snapshots = DAEMON_SNAPSHOTS,
			       .snapshot_mb = DAEMON_SNAPSHOT_SPACE,
			       .listen = { .port = 8080 },
			       .data_dir = "/var/lib/declaw" };
	const uint8_t loopback[4] = { 127, 0, 0, 1 };
	o->listen.addr = dw_addr_from4(loopback);
	for (int i = 1; i < argc; i++) {
		enum options_result r = apply_arg(o, argc, argv, &i, seen, err);
		if (r != OPTIONS_RUN)
			return r;
	}
	for (size_t i = 0; i < DW_COUNT(table); i++) {
		const char *value = table[i].variable && !seen[i] ? env(table[i].variable) : NULL;
		/* An empty variable is the same as none: that is how unit files switch one off. */
		if (value && *value && apply_env(o, &table[i], value, err) < 0)
			return OPTIONS_BAD;
	}
	if (!o->tls_cert[0] != !o->tls_key[0]) {
		dw_err_set(err, DW_ERR_INVALID, "invalid_option", "%s needs %s too",
			   o->tls_cert[0] ? "--tls-cert" : "--tls-key", o->tls_cert[0] ? "--tls-key" : "--tls-cert");
		return OPTIONS_BAD;
	}
	if (!o->api_key_file[0])
		snprintf(o->api_key_file, sizeof(o->api_key_file), "%.*s/api-key", PATH_MAX - 64, o->data_dir);
	return OPTIONS_RUN;
}

void options_add_resolv_conf(struct options *o, const char *text)
{
	static const char word[] = "nameserver";
	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		if (strncmp(line, word, sizeof(word) - 1) != 0)
			continue;
		const char *v = line + sizeof(word) - 1;
		size_t skip = strspn(v, " \t");
		struct options_endpoint e = { .port = 53 };
		size_t n = strcspn(v + skip, " \t\r\n");
		if (skip && o->resolver_n < OPTIONS_RESOLVERS && dw_addr_parse(v + skip, n, &e.addr))
			o->resolver[o->resolver_n++] = e;
	}
}
