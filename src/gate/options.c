/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

const char gate_options_help[] =
	"usage: declaw-gate --gate-netns-fd N --uplink-netns-fd N --control-fd N [OPTION]...\n"
	"\n"
	"The egress gateway of declawd; not meant to be started by hand.\n"
	"\n"
	"  --gate-netns-fd N           network namespace that holds the sandboxes' links\n"
	"  --uplink-netns-fd N         network namespace that connections leave from\n"
	"  --control-fd N              SOCK_SEQPACKET socket to declawd; the gate ends when it closes\n"
	"  --resolver ADDR[:PORT]      upstream resolver, up to 8; [ADDR]:PORT for IPv6; none: no name resolves\n"
	"  --allow-private CIDR        private range that every policy may use as if it were public, up to 64\n"
	"  --help, --version\n"
	"\n"
	"Exit codes: 0 ended in order, 1 failed, 2 wrong usage.\n";

enum option_id {
	OPT_GATE_NETNS = 256,
	OPT_UPLINK_NETNS,
	OPT_CONTROL,
	OPT_RESOLVER,
	OPT_ALLOW_PRIVATE,
	OPT_HELP,
	OPT_VERSION,
};

static const struct option option_table[] = {
	{ "gate-netns-fd", required_argument, NULL, OPT_GATE_NETNS },
	{ "uplink-netns-fd", required_argument, NULL, OPT_UPLINK_NETNS },
	{ "control-fd", required_argument, NULL, OPT_CONTROL },
	{ "resolver", required_argument, NULL, OPT_RESOLVER },
	{ "allow-private", required_argument, NULL, OPT_ALLOW_PRIVATE },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ 0 },
};

static int usage(struct dw_err *err, const char *option, const char *value, const char *want)
{
	return dw_err_set(err, DW_ERR_INVALID, "usage", "--%s %.100s: %s", option, value, want);
}

/* Plain decimal without sign or space, as strtoul would not insist on. */
static bool parse_number(const char *s, size_t n, uint32_t max, uint32_t *ret)
{
	uint32_t v = 0;

	if (n == 0 || n > 9)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		v = v * 10 + (uint32_t)(s[i] - '0');
	}
	if (v > max)
		return false;
	*ret = v;
	return true;
}

static int set_fd(int *fd, const char *option, const char *value, struct dw_err *err)
{
	uint32_t v;

	/* 0 to 2 are the standard streams: a descriptor handed over on purpose is never one of them. */
	if (!parse_number(value, strlen(value), 1u << 20, &v) || v < 3)
		return usage(err, option, value, "not a descriptor number of 3 or more");
	*fd = (int)v;
	return 0;
}

/* ADDR, ADDR:PORT (IPv4) or [ADDR]:PORT. */
static bool parse_endpoint(const char *s, struct dw_addr *ret_addr, uint16_t *ret_port)
{
	const char *end = s + strlen(s);
	const char *port = NULL;
	const char *addr = s;
	size_t addr_n = (size_t)(end - s);
	uint32_t v = 53;

	if (*s == '[') {
		const char *close = strchr(s, ']');

		if (!close || (close[1] != ':' && close[1] != '\0'))
			return false;
		addr = s + 1;
		addr_n = (size_t)(close - addr);
		port = close[1] == ':' ? close + 2 : NULL;
	} else if (strchr(s, ':') && strchr(s, ':') == strrchr(s, ':')) {
		/* Exactly one colon: IPv4 with a port. */
		addr_n = (size_t)(strchr(s, ':') - s);
		port = s + addr_n + 1;
	}
	if (port && (!parse_number(port, (size_t)(end - port), 65535, &v) || v == 0))
		return false;
	*ret_port = (uint16_t)v;
	return dw_addr_parse(addr, addr_n, ret_addr);
}

static int add_resolver(struct gate_config *c, const char *value, struct dw_err *err)
{
	size_t i = c->resolver_n;

	if (i == DW_COUNT(c->resolver))
		return usage(err, "resolver", value, "more than 8 resolvers");
	if (!parse_endpoint(value, &c->resolver[i].addr, &c->resolver[i].port))
		return usage(err, "resolver", value, "not an address, ADDR:PORT or [ADDR]:PORT");
	c->resolver_n++;
	return 0;
}

static int add_private(struct gate_config *c, const char *value, struct dw_err *err)
{
	struct dw_prefix *p = &c->allow_private[c->allow_private_n];

	if (c->allow_private_n == DW_COUNT(c->allow_private))
		return usage(err, "allow-private", value, "more than 64 ranges");
	if (!dw_prefix_parse(value, strlen(value), p)) {
		if (!dw_addr_parse(value, strlen(value), &p->addr))
			return usage(err, "allow-private", value, "not an address or CIDR");
		p->len = dw_addr_bits(&p->addr);
	}
	c->allow_private_n++;
	return 0;
}

static int check(const struct gate_config *c, int argc, char **argv, struct dw_err *err)
{
	if (optind < argc)
		return dw_err_set(err, DW_ERR_INVALID, "usage", "unexpected argument %.100s", argv[optind]);
	if (c->gate_netns_fd < 0 || c->uplink_netns_fd < 0 || c->control_fd < 0)
		return dw_err_set(err, DW_ERR_INVALID, "usage",
				  "--gate-netns-fd, --uplink-netns-fd and --control-fd are needed");
	if (c->gate_netns_fd == c->uplink_netns_fd || c->gate_netns_fd == c->control_fd ||
	    c->uplink_netns_fd == c->control_fd)
		return dw_err_set(err, DW_ERR_INVALID, "usage", "one descriptor is given for two purposes");
	return 0;
}

static int apply(struct gate_config *c, int opt, char **argv, struct dw_err *err)
{
	switch (opt) {
	case OPT_GATE_NETNS:
		return set_fd(&c->gate_netns_fd, "gate-netns-fd", optarg, err);
	case OPT_UPLINK_NETNS:
		return set_fd(&c->uplink_netns_fd, "uplink-netns-fd", optarg, err);
	case OPT_CONTROL:
		return set_fd(&c->control_fd, "control-fd", optarg, err);
	case OPT_RESOLVER:
		return add_resolver(c, optarg, err);
	case OPT_ALLOW_PRIVATE:
		return add_private(c, optarg, err);
	case ':':
		return dw_err_set(err, DW_ERR_INVALID, "usage", "%.100s needs a value", argv[optind - 1]);
	default:
		return dw_err_set(err, DW_ERR_INVALID, "usage", "unknown option %.100s", argv[optind - 1]);
	}
}

enum gate_options_result gate_options_parse(int argc, char **argv, struct gate_config *ret, struct dw_err *err)
{
	struct gate_config c = { .gate_netns_fd = -1, .uplink_netns_fd = -1, .control_fd = -1 };

	optind = 0; /* glibc: start over, for tests that parse more than once */
	for (;;) {
		int opt = getopt_long(argc, argv, ":", option_table, NULL);

		if (opt < 0)
			break;
		if (opt == OPT_HELP)
			return GATE_OPTIONS_HELP;
		if (opt == OPT_VERSION)
			return GATE_OPTIONS_VERSION;
		if (apply(&c, opt, argv, err) < 0)
			return GATE_OPTIONS_BAD;
	}
	if (check(&c, argc, argv, err) < 0)
		return GATE_OPTIONS_BAD;
	*ret = c;
	return GATE_OPTIONS_RUN;
}
