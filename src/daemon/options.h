/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's options: one table for command line, environment, help and checks. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "core/err.h"
#include "policy/limits.h"

#define OPTIONS_RESOLVERS     8  /* what the gate takes */
#define OPTIONS_ALLOW_PRIVATE 64 /* what the gate takes */

struct options_endpoint {
	struct dw_addr addr;
	uint16_t port;
};

/* Which requests have a line in the log. */
enum options_log {
	OPTIONS_LOG_OFF = 0,
	OPTIONS_LOG_ERRORS, /* status 400 and above, and those whose client left */
	OPTIONS_LOG_ALL,
};

struct options {
	struct options_endpoint listen;
	char data_dir[PATH_MAX];
	char api_key_file[PATH_MAX]; /* "" = api-key in the data directory */
	char uplink_netns[PATH_MAX]; /* a path; "" = the daemon's own network namespace */
	struct options_endpoint resolver[OPTIONS_RESOLVERS];
	size_t resolver_n;
	bool default_allow;
	bool no_ipv6;
	bool strict_security;
	char tls_cert[PATH_MAX], tls_key[PATH_MAX]; /* both or none */
	bool metrics_open;                          /* without a key */
	enum options_log log_requests;
	uint32_t snapshots;                                               /* that an owner may have */
	uint32_t snapshot_mb;                                             /* MiB for all of them */
	uint32_t volume_mb;                                               /* of one volume */
	uint32_t builds, build_timeout_s, build_memory_mb, build_disk_mb; /* of images for templates */
	uint32_t template_mb;    /* memory and disk together of a template's sandbox; 0: half of the machine's memory */
	struct dw_limits limits; /* for networks without their own; 0: the gate's default */
	struct dw_prefix allow_private[OPTIONS_ALLOW_PRIVATE];
	size_t allow_private_n;
};

enum options_result {
	OPTIONS_BAD = 0, /* err is set */
	OPTIONS_RUN,
	OPTIONS_HELP,
	OPTIONS_VERSION,
	OPTIONS_ROUTES, /* print the routes of the API */
};

/*
 * Defaults, then the environment through env (getenv, or a test's own), then argv: an option on the command line replaces
 * what the environment says, lists included. INVALID "invalid_option", naming the option or variable.
 */
enum options_result options_parse(struct options *ret, int argc, char *const *argv, const char *(*env)(const char *),
				  struct dw_err *err);

/* "nameserver" lines of a resolv.conf text, when no resolver was given. Addresses with a zone are left out. */
void options_add_resolv_conf(struct options *o, const char *text);

/* "a.b.c.d", "a.b.c.d:port", "v6", "[v6]", "[v6]:port". Without a port default_port; 0 = a port is needed. */
bool options_parse_endpoint(const char *s, size_t n, uint16_t default_port, struct options_endpoint *ret);
/* "a.b.c.d:port" or "[v6]:port". */
#define OPTIONS_ENDPOINT_STRLEN (DW_ADDR_STRLEN + 8)
const char *options_format_endpoint(const struct options_endpoint *e, char buf[static OPTIONS_ENDPOINT_STRLEN]);

/* The --help text, from the same table; written to stdout. */
void options_print_help(void);
